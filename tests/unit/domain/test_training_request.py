from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlops.domain.monitoring import Window
from airflow_mlops.domain.training_request import (
    LONGEST_REASON,
    MOST_REASONS,
    RetrainingEvent,
    RollingMonths,
    TrainingRequest,
    months_before,
    retraining_events,
)
from airflow_mlops.exceptions import InvalidInputError

EARLIEST, LATEST = datetime(1990, 1, 1), datetime(2090, 1, 1)  # noqa: DTZ001 - as hypothesis wants them
times = st.datetimes(EARLIEST, LATEST, timezones=st.just(UTC))


def event(end: str, *reasons: str, model_name: str = "late") -> RetrainingEvent:
    last = datetime.fromisoformat(end).replace(tzinfo=UTC)
    window = Window(start=last - timedelta(days=1), end=last)
    return RetrainingEvent(model_name=model_name, model_version="1", window=window, reasons=reasons)


def test_last_month_before_the_windows_end_judges_and_the_two_before_it_teach() -> None:
    request = TrainingRequest.of_events([event("2013-09-01", "It is worse.")], RollingMonths())
    assert request == TrainingRequest(
        train_start="2013-06-01T00:00:00+00:00",
        train_end="2013-08-01T00:00:00+00:00",
        holdout_end="2013-09-01T00:00:00+00:00",
        reasons=("It is worse.",),
    )


def test_of_several_events_the_latest_window_says_the_dates_and_all_reasons_are_kept_once() -> None:
    events = [event("2013-05-01", "worse in April", "twice"), event("2013-07-01", "twice", "worse in June")]
    for order in (events, events[::-1]):
        request = TrainingRequest.of_events(order, RollingMonths(training=3, holdout=1))
        assert request.holdout_end.startswith("2013-07-01")
        assert request.train_start.startswith("2013-03-01")
        assert request.reasons == ("twice", "worse in June", "worse in April")


def test_reasons_are_as_many_and_as_long_as_a_person_reads() -> None:
    many = event("2013-05-01", *(f"{number} {'worse ' * 200}" for number in range(100)))
    reasons = TrainingRequest.of_events([many], RollingMonths()).reasons
    assert len(reasons) == MOST_REASONS
    assert all(LONGEST_REASON - 10 < len(reason) <= LONGEST_REASON for reason in reasons)
    assert reasons[0].endswith("worse …")


@pytest.mark.parametrize(
    ("moment", "months", "before"),
    [
        ("2013-09-01", 1, "2013-08-01"),
        ("2013-01-15", 1, "2012-12-15"),
        ("2013-03-31", 1, "2013-02-28"),
        ("2016-03-31", 1, "2016-02-29"),
        ("2013-12-31", 12, "2012-12-31"),
    ],
)
def test_month_before_has_the_same_day_or_its_last(moment: str, months: int, before: str) -> None:
    assert f"{months_before(datetime.fromisoformat(moment).replace(tzinfo=UTC), months):%Y-%m-%d}" == before


@given(end=times, training=st.integers(1, 40), holdout=st.integers(1, 40))
def test_training_ends_where_the_holdout_begins_and_both_have_rows(end: datetime, training: int, holdout: int) -> None:
    start, boundary, last = RollingMonths(training=training, holdout=holdout).dates(end)
    assert start < boundary < last == end


@given(st.lists(times, min_size=1, max_size=5), st.randoms())
def test_order_of_the_events_does_not_matter_for_the_dates(ends: list[datetime], random: Random) -> None:
    events = [event(end.replace(tzinfo=None).isoformat(), str(end)) for end in ends]
    shuffled = random.sample(events, len(events))
    one, other = (TrainingRequest.of_events(order, RollingMonths()) for order in (events, shuffled))
    assert (one.train_start, one.train_end, one.holdout_end) == (other.train_start, other.train_end, other.holdout_end)
    assert set(one.reasons) == set(other.reasons)


@pytest.mark.parametrize("months", [{"training": 0}, {"holdout": 0}, {"training": -1}])
def test_rolling_without_a_month_is_refused(months: dict[str, int]) -> None:
    with pytest.raises(InvalidInputError, match="at least 1"):
        RollingMonths(**months)


def test_event_of_another_model_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="asks for a training of churn, but this Dag trains late"):
        retraining_events([event("2013-05-01", "", model_name="churn").to_dict()], "late")


def test_event_that_somebody_made_up_is_refused_with_what_it_lacks() -> None:
    with pytest.raises(InvalidInputError, match="RetrainingEvent lacks the key 'model_name'"):
        retraining_events([{}], "late")
