"""Who answers an approval, and how a person is asked in a real (pseudo) terminal."""

import os
import pty
import sys
from collections.abc import Iterator

import pytest

from demo.reviewers import (
    APPROVE,
    REJECT,
    Answer,
    AutomaticReviewer,
    BrowserReviewer,
    TerminalReviewer,
    reviewer_of_this_terminal,
)


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Put a terminal at standard input and give the file descriptor that types into it."""
    keyboard, terminal = pty.openpty()
    with open(terminal) as stdin:  # noqa: PTH123 - a file descriptor has no path
        monkeypatch.setattr(sys, "stdin", stdin)
        yield keyboard
    os.close(keyboard)


def no_wait(_seconds: float) -> None:
    """Stand for the pause of the demo."""


def test_a_person_decides_and_then_comments(keyboard: int) -> None:
    reviewer = TerminalReviewer()
    reviewer.ask()
    assert reviewer.poll(0) is None
    os.write(keyboard, b"a\n")
    assert reviewer.poll(5) is None
    os.write(keyboard, "schöner Juli\n".encode())
    assert reviewer.poll(5) == Answer(option=APPROVE, comment="schöner Juli")


def test_an_unclear_answer_is_asked_again(keyboard: int, capsys: pytest.CaptureFixture[str]) -> None:
    reviewer = TerminalReviewer()
    reviewer.ask()
    for line in (b"perhaps\n", b"Reject\n", b"\n"):
        os.write(keyboard, line)
        answer = reviewer.poll(5)
    assert answer == Answer(option=REJECT, comment="")
    assert "Please type a to approve or r to reject" in capsys.readouterr().out


def test_a_new_approval_forgets_a_half_given_answer(keyboard: int) -> None:
    reviewer = TerminalReviewer()
    reviewer.ask()
    os.write(keyboard, b"a\n")
    reviewer.poll(5)
    reviewer.ask()
    os.write(keyboard, b"r\n")
    assert reviewer.poll(5) is None


def test_the_terminal_is_asked_where_there_is_one(keyboard: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEMO_APPROVE", raising=False)
    assert isinstance(reviewer_of_this_terminal(no_wait), TerminalReviewer)


def test_the_demo_answers_itself_when_told(keyboard: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_APPROVE", "yes")
    reviewer = reviewer_of_this_terminal(no_wait)
    assert isinstance(reviewer, AutomaticReviewer)
    answer = reviewer.poll(0)
    assert answer is not None
    assert answer.option == APPROVE


def test_without_a_terminal_the_browser_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEMO_APPROVE", raising=False)
    with open(os.devnull) as nothing:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdin", nothing)
        reviewer = reviewer_of_this_terminal(no_wait)
    assert isinstance(reviewer, BrowserReviewer)
    assert reviewer.poll(1) is None
