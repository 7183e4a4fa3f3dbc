"""What a job prints and leaves comes through whole, but never without bounds."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlops.domain.collection import LOG_LINE_CHARACTERS, LOG_TAIL_LINES, MAXIMUM_FILES, LogLines, OutputBudget
from airflow_mlops.domain.job import JobLimits
from airflow_mlops.exceptions import JobOutOfDiskError


def lines_of(*chunks: bytes) -> list[str]:
    lines: list[str] = []
    log = LogLines(lines.append)
    for chunk in chunks:
        log.feed(chunk)
    log.feed(b"", is_last=True)
    return lines


def test_a_line_comes_as_soon_as_it_ends() -> None:
    lines: list[str] = []
    LogLines(lines.append).feed(b"first\nsec")
    assert lines == ["first"]


def test_the_last_line_comes_without_an_end() -> None:
    assert lines_of(b"first\nsecond") == ["first", "second"]


@given(st.binary(max_size=200), st.lists(st.integers(min_value=0, max_value=200)))
def test_lines_do_not_depend_on_how_the_bytes_are_cut(data: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(data)]
    chunks = [data[start:end] for start, end in itertools.pairwise(places)]
    assert lines_of(*chunks) == lines_of(data)


def test_bytes_that_are_not_utf8_are_shown_as_such() -> None:
    assert lines_of(b"caf\xe9\n") == ["caf�"]


def test_a_progress_bar_is_many_lines() -> None:
    assert lines_of(b"10%\r20%\r\ndone\n") == ["10%", "20%", "done"]


def test_a_line_without_an_end_is_cut() -> None:
    lines = lines_of(*[b"x" * 1000] * 10)
    assert "".join(lines) == "x" * 10_000
    assert max(map(len, lines)) == LOG_LINE_CHARACTERS


def test_the_tail_is_the_last_lines() -> None:
    log = LogLines(lambda line: None)
    log.feed("".join(f"{number}\n" for number in range(100)).encode())
    assert log.tail == [str(number) for number in range(100 - LOG_TAIL_LINES, 100)]


def test_output_may_fill_the_scratch_space_and_no_more() -> None:
    budget = OutputBudget(JobLimits(scratch_mb=1))
    budget.take(2**20)
    with pytest.raises(JobOutOfDiskError, match="more than 1 MiB"):
        budget.take(1)


def test_empty_files_are_counted_too() -> None:
    budget = OutputBudget(JobLimits())
    for _ in range(MAXIMUM_FILES):
        budget.take(0)
    with pytest.raises(JobOutOfDiskError, match="10000 files"):
        budget.take(0)
