"""A job under a wall time limit, with a clock that the test moves."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlops.domain.polling import Action, WallLimit, follow, sampling_seconds

LIMIT = WallLimit(wall_seconds=100, grace_seconds=10, poll_seconds=30)


@pytest.mark.parametrize(
    ("elapsed", "action", "seconds"),
    [
        (0, Action.WAIT, 30),
        (95, Action.WAIT, 5),
        (100, Action.STOP, 10),
        (104, Action.STOP, 6),
        (110, Action.KILL, 30),
        (10_000, Action.KILL, 30),
    ],
)
def test_a_job_is_stopped_at_its_limit_and_killed_after_the_grace(
    elapsed: float, action: Action, seconds: float
) -> None:
    step = LIMIT.next_step(elapsed)
    assert (step.action, step.seconds) == (action, seconds)


@given(st.floats(min_value=0, max_value=1e6), st.floats(min_value=0.01, max_value=1e6))
def test_every_step_waits_and_none_longer_than_a_poll(elapsed: float, wall: float) -> None:
    step = WallLimit(wall_seconds=wall, poll_seconds=30).next_step(elapsed)
    assert 0 < step.seconds <= 30


@dataclass
class FakeJob:
    """A job that ends after some seconds, or when it is stopped or killed; waiting for it moves its clock."""

    seconds: float
    obeys: bool = True
    clock: float = 0.0
    signals: list[tuple[float, str]] = field(default_factory=list)

    def wait(self, seconds: float) -> bool:
        end = max(self.clock, min(self.seconds, self.clock + seconds))
        self.clock = end
        return self.clock >= self.seconds

    def stop(self) -> None:
        self.signals.append((self.clock, "stop"))
        if self.obeys:
            self.seconds = self.clock + 1

    def kill(self) -> None:
        self.signals.append((self.clock, "kill"))
        self.seconds = self.clock

    def follow(self) -> bool:
        return follow(LIMIT, elapsed=lambda: self.clock, wait=self.wait, stop=self.stop, kill=self.kill)


def test_a_job_that_ends_in_time_gets_no_signal() -> None:
    job = FakeJob(seconds=99)
    assert not job.follow()
    assert job.signals == []


def test_a_job_that_obeys_is_only_asked_to_stop() -> None:
    job = FakeJob(seconds=1000)
    assert job.follow()
    assert job.signals == [(100, "stop")]


def test_a_job_that_does_not_obey_is_killed() -> None:
    job = FakeJob(seconds=1000, obeys=False)
    assert job.follow()
    assert job.signals == [(100, "stop"), (110, "kill")]


def test_a_job_found_after_its_limit_is_not_given_a_second_one() -> None:
    job = FakeJob(seconds=1000, obeys=False, clock=500)
    assert job.follow()
    assert job.signals == [(500, "kill")]


def test_what_the_last_sample_misses_is_a_small_part_of_a_long_job_and_half_a_minute_at_most() -> None:
    assert [sampling_seconds(elapsed) for elapsed in (0, 5, 60, 600, 86400)] == [0.25, 0.25, 3, 30, 30]
