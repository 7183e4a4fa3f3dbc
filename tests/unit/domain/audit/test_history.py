"""What served when, and which promotion must wait for another."""

from datetime import timedelta

import pytest

from airflow_mlops.domain.audit.entry import EventKind, Origin
from airflow_mlops.domain.audit.history import PROMOTION_TIME, rival, serving_at, serving_history, unfinished
from airflow_mlops.domain.audit.story import serving_text
from tests.unit.domain.audit.trail import START, event, seal

PROMOTE, DEPLOY, ROLLBACK = EventKind.PROMOTION, EventKind.DEPLOYMENT, EventKind.ROLLBACK
ENTRIES = seal(
    [
        event(PROMOTE, "1", hour=1, run="one"),
        event(DEPLOY, "1", hour=2, run="one", who="Ada (7)"),
        event(DEPLOY, "1", hour=3, run="again"),
        event(PROMOTE, "2", hour=4, run="two"),
        event(DEPLOY, "2", hour=5, run="two", who="Bob (8)"),
        event(PROMOTE, "3", hour=6, run="three"),
    ]
)
SELF = Origin(dag_id="loop", run_id="own", task_id="promotion")


def test_a_version_serves_from_its_deployment_to_the_next() -> None:
    served = [(item.version, item.since, item.until, item.decided_by) for item in serving_history(ENTRIES)]
    assert served == [
        ("1", START + timedelta(hours=2), START + timedelta(hours=5), "Ada (7)"),
        ("2", START + timedelta(hours=5), None, "Bob (8)"),
    ]


@pytest.mark.parametrize(
    ("hour", "version", "not_sure"),
    [(0, None, ()), (1.5, None, ("1",)), (2, "1", ()), (4.5, "1", ("2",)), (5, "2", ()), (99, "2", ("3",))],
)
def test_what_served_at_a_moment_and_what_may_have(hour: float, version: str | None, not_sure: tuple[str, ...]) -> None:
    found = serving_at(ENTRIES, START + timedelta(hours=hour))
    assert (found.serving.version if found.serving else None, found.unfinished) == (version, not_sure)


def test_the_answer_to_what_served_is_a_sentence() -> None:
    assert serving_text("m", serving_at(ENTRIES, START + timedelta(hours=4.5))).splitlines() == [
        (
            "At 2026-03-01T04:30:00+00:00 version 1 of m served: since 2026-03-01T02:00:00+00:00 until "
            "2026-03-01T05:00:00+00:00, approved by Ada (7) (entry 2)."
        ),
        "Not sure: the promotion of version 2 had begun, and nobody had seen it finish.",
    ]
    assert serving_text("m", serving_at((), START)).startswith("No version of m is recorded to have served")


def test_a_promotion_that_nobody_saw_finish_is_told() -> None:
    assert [entry.sequence for entry in unfinished(ENTRIES)] == [6]


def test_a_rollback_counts_as_a_promotion_does() -> None:
    entries = seal([event(ROLLBACK, "1", run="back")])
    assert unfinished(entries) == tuple(entries)
    assert rival(entries, SELF, looked=1, now=START) == entries[0]


def test_a_promotion_waits_for_one_that_began_just_now_but_not_for_one_that_died() -> None:
    begun = ENTRIES[5].event.at
    assert rival(ENTRIES, SELF, looked=6, now=begun + timedelta(seconds=1)) == ENTRIES[5]
    assert rival(ENTRIES, SELF, looked=6, now=begun + PROMOTION_TIME) is None


def test_a_promotion_gives_way_to_whatever_came_since_it_looked_at_the_registry() -> None:
    finished = ENTRIES[:5]
    assert rival(finished, SELF, looked=3, now=START + timedelta(days=9)) == finished[4]
    assert rival(finished, SELF, looked=5, now=START + timedelta(days=9)) is None


def test_a_retry_is_no_rival_of_its_first_try() -> None:
    own = ENTRIES[5].event.origin
    assert rival(ENTRIES, own, looked=0, now=ENTRIES[5].event.at) == ENTRIES[4]
    assert rival(ENTRIES, own, looked=5, now=ENTRIES[5].event.at) is None
