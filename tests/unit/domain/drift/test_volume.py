"""How many rows are to be expected in a window."""

from datetime import UTC, datetime, timedelta

import pytest

from airflow_mlops.domain.dataset import TimeWindow
from airflow_mlops.domain.drift import volume_of
from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, Window, WindowCheck

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def window(day: int, days: int = 1) -> Window:
    return Window(start=START + day * DAY, end=START + (day + days) * DAY)


def check(day: int, rows: int, days: int = 1, kind: CheckKind = CheckKind.DATA_DRIFT) -> WindowCheck:
    return WindowCheck(
        kind=kind,
        window=window(day, days),
        verdict=CheckVerdict.PASSED,
        model_name="m",
        model_version="1",
        rows=rows,
    )


def test_median_of_the_windows_before_is_expected() -> None:
    found = volume_of(window(0), 50, recent=[check(-1, 100), check(-2, 1), check(-3, 120), check(-4, 90)])
    assert found is not None
    assert (found.expected, found.ratio) == pytest.approx((95, 50 / 95))
    assert found.basis == "the median of the 4 windows before"


def test_windows_of_other_length_count_by_their_rows_per_time() -> None:
    found = volume_of(window(0, days=7), 700, recent=[check(-1, 100), check(-3, 200, days=2), check(-4, 100)])
    assert found is not None
    assert found.ratio == pytest.approx(1)


def test_only_the_last_eight_drift_checks_that_ended_before_count() -> None:
    recent = [check(-day, 100) for day in range(1, 9)]
    others = [check(-9, 9999), check(0, 9999), check(1, 9999), check(-1, 9999, kind=CheckKind.DECAY), check(-2, 0)]
    found = volume_of(window(0), 100, recent=[*others, *recent])
    assert found is not None
    assert (found.expected, found.basis) == (100, "the median of the 8 windows before")


def test_reference_says_what_to_expect_until_there_are_three_windows() -> None:
    reference = TimeWindow(column="t", start=START - 10 * DAY, end=START)
    found = volume_of(
        window(0), 50, recent=[check(-1, 1), check(-2, 1)], reference_rows=1000, reference_window=reference
    )
    assert found is not None
    assert (found.expected, found.basis) == (100, "the rows per time of the reference")
    assert str(found) == "50 instead of about 100 (0.50 times), by the rows per time of the reference"


@pytest.mark.parametrize(
    "reference",
    [
        None,
        TimeWindow(column="t"),
        TimeWindow(column="t", first=START, last=START),
        TimeWindow(column="t", first=datetime(2026, 1, 1), end=START),  # noqa: DTZ001 - as a column without zone has it
    ],
)
def test_nothing_is_expected_where_nothing_says_what(reference: TimeWindow | None) -> None:
    assert volume_of(window(0), 50, recent=[], reference_rows=1000, reference_window=reference) is None
