"""When to wait for a job, ask it to stop, and kill it: one decision for every way of waiting. Time is passed in."""

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


class Action(enum.StrEnum):
    """What to do with a job that still runs."""

    WAIT = "wait"
    STOP = "stop"
    KILL = "kill"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What to do now, and when to look again at the latest."""

    action: Action
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WallLimit:
    """A limit of wall time, with a grace between the request to stop and the kill."""

    wall_seconds: float
    grace_seconds: float = 30.0
    poll_seconds: float = 30.0
    """Longest wait until the job is looked at again, which finds out that its host is gone."""

    def is_reached(self, seconds: float) -> bool:
        """Whether a job that has run so long has come to its limit. That decides why it ended, whoever saw it end."""
        return seconds >= self.wall_seconds

    def next_step(self, elapsed_seconds: float) -> Step:
        """Return what to do with a job that has run for ``elapsed_seconds`` and still runs.

        It depends on nothing else, so that it is the same decision after a restart of whoever waits.
        """
        until_stop = self.wall_seconds - elapsed_seconds
        until_kill = until_stop + self.grace_seconds
        if until_stop > 0:
            return Step(action=Action.WAIT, seconds=min(until_stop, self.poll_seconds))
        if until_kill > 0:
            return Step(action=Action.STOP, seconds=min(until_kill, self.poll_seconds))
        return Step(action=Action.KILL, seconds=self.poll_seconds)


def sampling_seconds(elapsed_seconds: float) -> float:
    """Return how long to wait until what a job uses is measured again.

    A share of the time that it has run, so that what its last moments use, which nobody measures, stays a small part of
    the whole. Half a minute at most, so that peaks are seen, and not too often for the host of many jobs.
    """
    return min(max(elapsed_seconds / 20, 0.25), 30.0)


def follow(
    limit: WallLimit,
    *,
    elapsed: Callable[[], float],
    wait: Callable[[float], bool],
    stop: Callable[[], None],
    kill: Callable[[], None],
) -> bool:
    """Block until a job has ended, and return whether the limit ended it.

    :param elapsed: seconds since the job started.
    :param wait: waits so many seconds at most, and returns whether the job has ended.
    :param stop: asks the job to stop. Called again for as long as the grace lasts.
    :param kill: ends the job.
    """
    while True:
        step = limit.next_step(elapsed())
        if step.action is Action.STOP:
            stop()
        elif step.action is Action.KILL:
            kill()
        if wait(step.seconds):
            return step.action is not Action.WAIT


async def afollow(
    limit: WallLimit,
    *,
    elapsed: Callable[[], float],
    wait: Callable[[float], Awaitable[bool]],
    stop: Callable[[], Awaitable[None]],
    kill: Callable[[], Awaitable[None]],
) -> bool:
    """Do what :func:`follow` does without blocking."""
    while True:
        step = limit.next_step(elapsed())
        if step.action is Action.STOP:
            await stop()
        elif step.action is Action.KILL:
            await kill()
        if await wait(step.seconds):
            return step.action is not Action.WAIT
