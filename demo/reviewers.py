"""Who answers an approval: a person in the terminal, the demo itself, or somebody in the browser."""

import os
import select
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

APPROVE, REJECT = "Approve", "Reject"
ANSWERS = {"a": APPROVE, "approve": APPROVE, "y": APPROVE, "yes": APPROVE, "r": REJECT, "reject": REJECT, "n": REJECT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a reviewer decided."""

    option: str
    comment: str


class Reviewer(Protocol):
    """Somebody who is shown an approval and may answer it. Polled, since the browser may be faster."""

    def ask(self) -> None:
        """Begin with a new approval."""
        ...

    def poll(self, seconds: float) -> Answer | None:
        """Wait at most so long for an answer."""
        ...


@dataclass(slots=True, kw_only=True)
class BrowserReviewer:
    """Nobody here: the answer comes from the browser."""

    wait: Callable[[float], None]

    def ask(self) -> None:
        """Say where the answer must come from."""
        print("  No terminal to ask in: waiting for your answer in the browser (or start with DEMO_APPROVE=yes).")

    def poll(self, seconds: float) -> Answer | None:
        """Let the time pass."""
        self.wait(seconds)
        return None


@dataclass(slots=True, kw_only=True)
class AutomaticReviewer:
    """Approves at once, as ``DEMO_APPROVE=yes`` wants."""

    def ask(self) -> None:
        """Say so."""
        print("  DEMO_APPROVE=yes: answering through Airflow's REST API.")

    def poll(self, seconds: float) -> Answer | None:  # noqa: ARG002 - no need to wait
        """Approve."""
        return Answer(option=APPROVE, comment="Approved by the demo, as DEMO_APPROVE=yes asked.")


@dataclass(slots=True)
class TerminalReviewer:
    """A person at the terminal, who may also turn to the browser at any moment."""

    _option: str | None = field(default=None, init=False)

    def ask(self) -> None:
        """Ask for the decision."""
        self._option = None
        self._prompt("  Approve or reject? [a/r, then Enter; or answer in the browser] ")

    def poll(self, seconds: float) -> Answer | None:
        """Take what was typed: the decision first, then a comment."""
        readable, _, _ = select.select([sys.stdin], [], [], seconds)
        if not readable:
            return None
        line = sys.stdin.readline()
        if not line:
            msg = "The terminal was closed before the approval was answered."
            raise EOFError(msg)
        if self._option is not None:
            return Answer(option=self._option, comment=line.strip())
        self._option = ANSWERS.get(line.strip().lower())
        if self._option is None:
            self._prompt("  Please type a to approve or r to reject: ")
        else:
            self._prompt("  Comment (may be empty): ")
        return None

    @staticmethod
    def _prompt(text: str) -> None:
        print(text, end="", flush=True)


def reviewer_of_this_terminal(wait: Callable[[float], None]) -> Reviewer:
    """Choose by ``DEMO_APPROVE``, then by whether there is a terminal."""
    if os.environ.get("DEMO_APPROVE") == "yes":
        return AutomaticReviewer()
    if sys.stdin is not None and sys.stdin.isatty():
        return TerminalReviewer()
    return BrowserReviewer(wait=wait)
