"""A log that breaks off and is read on: each entry comes once, in order."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlops.domain.collection import LogLines
from airflow_mlops.engines.docker.log import LogReader, TimedLog


def frame(second: int, text: str) -> bytes:
    return f"2026-01-31T12:00:{second:02}.123456789Z {text}\n".encode()


def since(frames: list[bytes], start: int) -> list[bytes]:
    """Return what Docker returns from a whole second on."""
    times = [1769860800 + int(item[17:19]) for item in frames]
    return [item for item, time in zip(frames, times, strict=True) if time >= start]


def test_a_line_begins_with_its_time() -> None:
    lines: list[str] = []
    TimedLog(LogLines(lines.append)).read([frame(1, "one")])
    assert lines == ["2026-01-31T12:00:01.123Z one"]


@given(st.lists(st.integers(0, 5), max_size=30).map(sorted), st.lists(st.integers(0, 10), max_size=8))
def test_a_log_is_read_on_where_it_broke_off(seconds: list[int], breaks: list[int]) -> None:
    frames = [frame(second, str(number)) for number, second in enumerate(seconds)]
    lines: list[str] = []
    log = TimedLog(LogLines(lines.append))
    for length in breaks:
        log.read(since(frames, log.since)[:length])
    log.read(since(frames, log.since))
    assert [line.split()[1] for line in lines] == [str(number) for number in range(len(seconds))]


def test_entries_out_of_order_come_once_each() -> None:
    frames = [frame(2, "a"), frame(1, "b"), frame(2, "c"), frame(3, "d")]
    lines: list[str] = []
    log = TimedLog(LogLines(lines.append))
    log.read(frames[:3])
    log.read(since(frames, log.since))
    assert [line.split()[1] for line in lines] == ["a", "b", "c", "d"]


def test_a_reader_connects_again_until_the_container_has_ended() -> None:
    frames = [frame(1, "one"), frame(2, "two")]
    lines: list[str] = []

    class Stream:
        def __init__(self, items: list[bytes]) -> None:
            self.items = items

        def __iter__(self) -> Iterator[bytes]:
            yield from self.items
            raise ConnectionError

        def close(self) -> None:
            pass

    reader = LogReader(
        TimedLog(LogLines(lines.append)), lambda start, live: Stream(since(frames, start)[: 1 if live else None])
    )
    reader.finish(5)
    assert [line.split()[-1] for line in lines][:2] == ["one", "two"]


def test_a_log_that_is_too_long_is_cut_and_shows_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_mlops.domain.collection.LOG_CHARACTERS", 5)
    shown: list[str] = []
    lines = LogLines(shown.append)
    TimedLog(lines).read([frame(1, "abc"), frame(1, "def"), frame(1, "ghi")])
    lines.show_end(["the", "end"])
    assert [line.split()[-1] for line in shown if "(" not in line] == ["abc", "def", "the", "end"]
    assert not any("ghi" in line for line in shown)
