"""What one process leaves for the next that goes on with a job, and metrics that are read as they are written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlops.domain.collection import LogLines
from airflow_mlops.domain.progress import JobProgress, LogPosition, MetricTail
from airflow_mlops.exceptions import JobOutputError


@given(st.text(alphabet="aé€\n\r😀", max_size=40), st.integers(0, 120))
def test_a_log_that_is_handed_over_in_the_middle_of_a_character_has_the_same_lines(text: str, cut: int) -> None:
    content = text.encode()
    whole: list[str] = []
    LogLines(whole.append).feed(content, is_last=True)
    lines: list[str] = []
    first = LogLines(lines.append)
    first.feed(content[:cut])
    stored = json.dumps(first.position(since=3, seen=2, is_whole=False).to_dict())
    second = LogLines(lines.append, LogPosition.from_dict(json.loads(stored)))
    second.feed(content[cut:], is_last=True)
    assert lines == whole


def test_a_line_that_is_handed_over_keeps_its_time() -> None:
    lines: list[str] = []
    first = LogLines(lines.append)
    first.feed(b"half", time="12:00")
    LogLines(lines.append, first.position(since=0, seen=0, is_whole=False)).feed(b"", is_last=True)
    assert lines == ["12:00 half"]


def test_a_log_is_as_long_over_a_hand_over_as_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_mlops.domain.collection.LOG_CHARACTERS", 4)
    first = LogLines(list[str]().append)
    first.feed(b"abc\n")
    second = LogLines(list[str]().append, first.position(since=0, seen=0, is_whole=False))
    assert not second.is_full
    second.feed(b"d\n")
    assert second.is_full


def test_nothing_is_known_of_a_job_that_nobody_followed() -> None:
    assert JobProgress.from_dict(json.loads(json.dumps(JobProgress().to_dict()))) == JobProgress()


def test_steps_come_once_and_a_line_that_is_being_written_comes_later() -> None:
    tail = MetricTail()
    first = b'{"step": 1, "loss": 0.5}\n{"step": 2, "lo'
    assert [(step.name, step.step) for step in tail.take(first)] == [("loss", 1)]
    assert tail.take(first) == []
    assert [step.step for step in tail.take(first + b'ss": 0.25}\n')] == [2]


def test_a_line_that_is_no_metric_is_told() -> None:
    with pytest.raises(JobOutputError, match="not JSON"):
        MetricTail().take(b"loss\n")
