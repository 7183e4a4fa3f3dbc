from datetime import UTC, datetime, timedelta, timezone

import pytest

from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, Window, WindowCheck, check_path
from airflow_mlops.exceptions import InvalidInputError

MARCH = Window.parse("2013-03-01", "2013-04-01T00:00:00+00:00")


def test_a_window_is_in_utc_whatever_it_was_given_in() -> None:
    east = timezone(timedelta(hours=2))
    same = Window(start=datetime(2013, 3, 1, 2, tzinfo=east), end=datetime(2013, 4, 1, tzinfo=UTC))
    assert same == MARCH
    assert same.key == MARCH.key == "20130301T000000.000000Z--20130401T000000.000000Z"


@pytest.mark.parametrize("bounds", [("2013-04-01", "2013-04-01"), ("", "2013-04-01"), ("None", "2013-04-01")])
def test_a_window_without_an_inside_is_refused(bounds: tuple[str, str]) -> None:
    with pytest.raises(InvalidInputError, match=r"start must be before end|must be an ISO 8601 time"):
        Window.parse(*bounds)


def test_a_check_survives_json_and_knows_its_place() -> None:
    check = WindowCheck(
        kind=CheckKind.DECAY,
        window=MARCH,
        verdict=CheckVerdict.UNDECIDED,
        model_name="a/b",
        model_version="1",
        rows=3,
        reasons=("No labels have arrived.",),
        figures={"roc_auc": 0.7},
    )
    assert WindowCheck.from_dict(check.to_dict()) == check
    assert check_path(check) == f"monitoring/a%2Fb/windows/{MARCH.key}/decay.json"


def test_a_bounded_check_keeps_the_first_reasons_and_figures() -> None:
    check = WindowCheck(
        kind=CheckKind.DATA_DRIFT,
        window=MARCH,
        verdict=CheckVerdict.VIOLATED,
        model_name="m",
        model_version="1",
        rows=3,
        reasons=tuple(map(str, range(99))),
        figures={f"drift.{number}": 1.0 for number in range(99)},
    )
    bounded = check.bounded()
    assert (len(bounded.reasons), len(bounded.figures)) == (10, 50)
    assert bounded.reasons[0] == "0"


def test_figure_that_is_no_number_is_left_out_so_that_the_record_can_be_read() -> None:
    check = WindowCheck(
        kind=CheckKind.DECAY,
        window=MARCH,
        verdict=CheckVerdict.UNDECIDED,
        model_name="m",
        model_version="1",
        rows=3,
        figures={"roc_auc": float("nan"), "volume": float("inf"), "labelled_share": 0.5},
    )
    assert WindowCheck.from_dict(check.to_dict()).figures == {"labelled_share": 0.5}
