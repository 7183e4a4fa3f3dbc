"""Where the time went, as the demo tells it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from demo.airflow import Run, Task


@dataclass(slots=True, kw_only=True)
class Watch:
    """One Dag run and what became of it."""

    run_id: str
    started: float = field(default_factory=time.monotonic)
    run: Run | None = None
    seconds_to_approval: float | None = None
    seconds_of_review: float = 0.0
    """How long a person took to answer."""
    is_promoted: bool = False

    @property
    def tasks(self) -> Sequence[Task]:
        """The tasks as they stood at the last look."""
        return self.run.tasks if self.run else ()

    @property
    def has_ended(self) -> bool:
        """Whether the run has ended."""
        return self.run is not None and self.run.has_ended

    def elapsed(self) -> float:
        """Return the seconds since the trigger."""
        return time.monotonic() - self.started


class Timetable:
    """Collects the seconds of each part.

    :param began: when the command was typed, in seconds since 1970.
    """

    def __init__(self, began: float) -> None:
        self._began = began
        self._lines = ["", "WHERE THE TIME WENT (seconds)"]
        self.add("from the command to the start of the servers", self._since_began())

    def add_start(self, seconds: Mapping[str, float]) -> None:
        """Add the start of the stack.

        :param seconds: when each part was ready; they start side by side.
        """
        self.add("servers, data and image, side by side", max(seconds.values()))
        for what, took in seconds.items():
            self.add(f"    {what}", took)

    def until_approval(self, watch: Watch) -> str:
        """Note that a run waits for a person, and return how long it took to get there."""
        watch.seconds_to_approval = watch.elapsed()
        return (
            f"  Reached {watch.seconds_to_approval:.0f} s after the trigger, "
            f"{self._since_began():.0f} s after the command."
        )

    def add_round(self, watch: Watch) -> None:
        """Add a finished run."""
        self.add(f"{watch.run_id} without the review", watch.elapsed() - watch.seconds_of_review)
        if watch.seconds_to_approval is not None:
            self.add("    from the trigger to the approval", watch.seconds_to_approval)
        for task in watch.tasks:
            if task.state == "success" and task.seconds is not None:
                self.add(f"        {task.task_id}", task.seconds)

    def __str__(self) -> str:
        return "\n".join(self._lines)

    def add(self, what: str, seconds: float) -> None:
        """Add a line."""
        self._lines.append(f"  {what:<56} {seconds:7.1f}")

    def _since_began(self) -> float:
        return time.time() - self._began
