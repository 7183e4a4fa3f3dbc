"""Profiles of Parquet files, of hard columns too: each is a verdict or a note, and spoils no other column."""

import datetime as dt
import decimal
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_mlops.domain.drift import ColumnDrift, DriftSpec
from airflow_mlops.domain.profile import (
    EXACT_CATEGORIES,
    DatasetProfile,
    Folded,
    Histogram,
    ProfileKind,
    Values,
    merge_profiles,
)
from airflow_mlops.engines.numpy.drift import measure
from airflow_mlops.engines.profiles import profile_parquet
from airflow_mlops.exceptions import DatasetError

ROWS = 2_000
GOOD = np.random.default_rng(0).normal(0, 1, ROWS)


def write(folder: Path, columns: dict[str, Any], name: str = "data", **options: Any) -> Path:
    file = folder / f"{name}.parquet"
    pq.write_table(pa.table(columns), file, **options)
    return file


def judge(folder: Path, reference: dict[str, Any], current: dict[str, Any]) -> dict[str, ColumnDrift]:
    before = profile_parquet([write(folder, reference, "reference")])
    now = profile_parquet([write(folder, current, "current")], grids=before.grids)
    names = list(dict.fromkeys([*reference, *current]))
    return {item.column: item for item in measure(before, now, DriftSpec(), names)}


def typed(values: list[Any], kind: pa.DataType | None = None) -> pa.Array:
    return pa.array((values * ROWS)[:ROWS], kind)


TIMES = [dt.datetime(2026, 1, day, tzinfo=dt.UTC) for day in range(1, 20)]
HARD: dict[str, tuple[Any, Any, str]] = {
    "all null now": (GOOD, typed([None], pa.float64()), "no values in the current data"),
    "all null before": (typed([None], pa.float64()), GOOD, "no values in the reference data"),
    "null type": (GOOD, pa.nulls(ROWS), "no values in the current data"),
    "all infinite": (GOOD, typed([float("inf")]), "no values in the current data"),
    "text for number": (GOOD, typed(["a", "b"]), "holds numbers (double) in the reference data, but categories"),
    "dates": (typed([moment.date() for moment in TIMES]), typed([TIMES[0].date()]), "holds dates or times"),
    "times": (typed(TIMES), typed(TIMES), "holds dates or times"),
    "huge": (GOOD * 1e300, GOOD * 1e300, "too large for a standard deviation"),
    "lists": (typed([[1.0], [2.0]]), typed([[1.0]]), "nested values"),
    "bytes": (typed([b"a"]), typed([b"b"]), "nested values or bytes"),
}


@pytest.mark.parametrize("case", HARD)
def test_column_that_cannot_be_compared_says_why_and_spoils_no_other(tmp_path: Path, case: str) -> None:
    before, now, note = HARD[case]
    found = judge(tmp_path, {"odd": before, "good": GOOD}, {"odd": now, "good": GOOD + 1})
    assert found["odd"].value is None
    assert not found["odd"].drifted
    assert note in found["odd"].note
    assert found["good"].drifted
    assert found["good"].value == pytest.approx(1, abs=0.05)


VERDICTS: dict[str, tuple[Any, Any, bool]] = {
    "constant": (typed([3.0]), typed([3.0]), False),
    "constant that moved": (typed([3.0]), typed([4.0]), True),
    "constant that begins to vary": (typed([3.0]), GOOD, True),
    "some infinite": (GOOD, np.where(np.arange(ROWS) % 7 == 0, np.inf, GOOD), False),
    "some not a number": (GOOD, np.where(np.arange(ROWS) % 7 == 0, np.nan, GOOD), False),
    "integers become floats": (typed([1, 2, 3, 4, 5, 6, 7]), typed([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]), False),
    "smaller integers": (typed([*range(100)], pa.int64()), typed([*range(100)], pa.int8()), False),
    "decimals": (
        typed([decimal.Decimal(number) / 8 for number in range(99)]),
        typed([decimal.Decimal(number) / 8 + 9 for number in range(99)]),
        True,
    ),
    "truth values": (typed([True, False]), typed([True, True, True, False]), True),
    "dictionary": (typed(["a", "b"]).dictionary_encode(), typed(["a", "b"]), False),
    "dictionary of numbers": (pa.array(GOOD).dictionary_encode(), GOOD, False),
    "greatest of all floats among others": (
        GOOD,
        np.where(np.arange(ROWS) % 7 == 0, sys.float_info.max, GOOD),
        True,
    ),
    "tiny": (GOOD * 1e-300, GOOD * 1e-300, False),
    "far from zero": (GOOD + 1e15, GOOD + 1e15, False),
    "one row now": (GOOD, GOOD[:1], True),
    "integers beyond floats": (typed([2**62, 2**62 + 1]), typed([2**62, 2**62 + 1]), False),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_hard_column_has_its_verdict(tmp_path: Path, case: str) -> None:
    before, now, drifted = VERDICTS[case]
    found = judge(tmp_path, {"x": before}, {"x": now})["x"]
    assert found.note == ""
    assert found.value is not None
    assert found.drifted is drifted


def test_reference_equal_to_current_has_not_moved(tmp_path: Path) -> None:
    columns = {"number": GOOD, "whole": typed([*range(50)]), "text": typed(list("abcde")), "flag": typed([True, False])}
    assert [item.value for item in judge(tmp_path, columns, columns).values()] == pytest.approx([0.0] * 4, abs=1e-12)


def test_empty_window_is_said_of_each_column(tmp_path: Path) -> None:
    found = judge(tmp_path, {"x": GOOD, "y": typed(["a"])}, {"x": GOOD[:0], "y": pa.array([], pa.string())})
    assert {item.note for item in found.values()} == {"The current data has no rows."}


def test_new_and_missing_columns_are_noted(tmp_path: Path) -> None:
    found = judge(tmp_path, {"old": GOOD, "x": GOOD}, {"new": GOOD, "x": GOOD})
    assert found["old"].note == "The current data has no column old."
    assert found["new"].note == "The reference data has no column new."
    assert found["x"].value is not None


def test_ranges_missing_values_and_new_categories_are_told(tmp_path: Path) -> None:
    found = judge(
        tmp_path,
        {"x": typed([*range(1, 9)]), "y": typed(["a", "b"])},
        {"x": typed([0, 5, 5, None]), "y": typed(["a", "c", "c", "d"])},
    )
    assert found["x"].outside == pytest.approx(1 / 3, abs=1e-3)
    assert found["x"].missing_current == 0.25
    assert found["y"].new_categories == ("c", "d")
    assert found["y"].new_share == 0.75


def test_a_million_categories_are_folded_and_the_distance_is_at_least_what_is_said(tmp_path: Path) -> None:
    count = EXACT_CATEGORIES + 50_000
    before = pa.array([f"user {number}" for number in range(count)])
    now = pa.array([f"user {number}" for number in range(count // 2, count + count // 2)])
    found = judge(tmp_path, {"id": before, "x": np.zeros(count)}, {"id": now, "x": np.zeros(count)})
    assert "different values, too many" in found["id"].note
    assert found["id"].value is not None
    # Half of the categories are new, so that the exact distance is the root of ln(2) / 2.
    assert 0.1 < found["id"].value < np.sqrt(np.log(2) / 2)
    assert found["id"].error is None
    assert found["x"].value == 0.0


def test_parts_are_the_whole_whatever_threads_and_row_groups(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    columns: dict[str, Any] = {
        "normal": random.normal(5, 2, 40_000),
        "heavy": random.standard_cauchy(40_000),
        "whole": random.integers(0, 1000, 40_000),
        "few": random.choice([0.5, 2.5], 40_000),
        "text": [f"t{number}" for number in random.integers(0, 300, 40_000)],
    }
    whole = profile_parquet([write(tmp_path, columns)], threads=1)
    parts = [
        write(tmp_path, {name: values[start : start + 9_000] for name, values in columns.items()}, f"part-{start}")
        for start in range(0, 40_000, 9_000)
    ]
    several = profile_parquet(parts, grids=whole.grids, threads=3)
    merged = merge_profiles(profile_parquet([part], grids=whole.grids) for part in reversed(parts))
    for found in (several, merged):
        for ours, theirs in zip(found.columns, whole.columns, strict=True):
            assert ours.distribution == theirs.distribution, ours.name
            assert (ours.rows, ours.minimum, ours.maximum) == (theirs.rows, theirs.minimum, theirs.maximum)
            assert ours.mean == pytest.approx(theirs.mean)
            assert ours.squares == pytest.approx(theirs.squares)


@pytest.mark.parametrize("rows", [2_000, 30_000], ids=["by value", "in bins"])
def test_numbers_too_large_to_be_squared_have_a_profile_that_is_kept_and_merged(tmp_path: Path, rows: int) -> None:
    huge = np.random.default_rng(4).normal(0, 1e300, rows)
    profile = profile_parquet([write(tmp_path, {"huge": huge, "good": np.arange(float(rows))})])
    kept = DatasetProfile.from_dict(json.loads(json.dumps(profile.to_dict(), allow_nan=False)))
    for found in (kept, merge_profiles([kept, kept])):
        [column, good] = found.columns
        assert (column.mean, column.standard_deviation) == (None, None)
        assert (column.minimum, column.maximum) == (huge.min(), huge.max())
        assert good.mean == pytest.approx((rows - 1) / 2)


def test_moments_and_extremes_are_those_of_all_rows(tmp_path: Path) -> None:
    values = np.random.default_rng(4).gamma(2, 3, 50_000)
    found = profile_parquet([write(tmp_path, {"x": values}, row_group_size=9_999)]).columns[0]
    assert isinstance(found.distribution, Histogram)
    assert (found.minimum, found.maximum) == (values.min(), values.max())
    assert found.mean == pytest.approx(values.mean())
    assert found.standard_deviation == pytest.approx(values.std())
    assert sum(found.distribution.bins()) == len(values)


def test_more_different_numbers_than_the_sample_shows_go_into_bins(tmp_path: Path) -> None:
    values = np.concatenate([np.zeros(30_000), np.random.default_rng(5).normal(0, 1, 30_000)])
    found = profile_parquet([write(tmp_path, {"x": values}, row_group_size=60_000)]).columns[0]
    assert isinstance(found.distribution, Histogram)
    assert sum(found.distribution.bins()) == len(values)
    assert found.standard_deviation == pytest.approx(values.std())


def test_few_different_numbers_are_kept_by_their_value(tmp_path: Path) -> None:
    found = profile_parquet([write(tmp_path, {"x": np.tile([0.1, 0.2, 0.7], 9_000)})]).columns[0]
    assert isinstance(found.distribution, Values)
    assert found.distribution.items() == {0.1: 9_000, 0.2: 9_000, 0.7: 9_000}


def test_only_the_columns_that_are_asked_for_are_read(tmp_path: Path) -> None:
    found = profile_parquet([write(tmp_path, {"x": GOOD, "y": GOOD, "z": GOOD})], columns=["z", "x"])
    assert [column.name for column in found.columns] == ["x", "z"]


def test_no_files_have_a_profile_without_columns() -> None:
    assert profile_parquet([]) == DatasetProfile(rows=0, columns=(), engine=profile_parquet([]).engine)


def test_file_that_is_no_parquet_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_text("no Parquet")
    with pytest.raises(DatasetError, match=r"broken\.parquet cannot be read as Parquet"):
        profile_parquet([tmp_path / "broken.parquet"])


def test_kinds_are_told_apart(tmp_path: Path) -> None:
    columns = {"n": typed([1]), "c": typed(["a"]), "t": typed(TIMES), "o": typed([[1]]), "nothing": pa.nulls(ROWS)}
    found = profile_parquet([write(tmp_path, columns)])
    assert [column.kind for column in found.columns] == list(ProfileKind)
    assert not any(isinstance(column.distribution, Folded) for column in found.columns)


def test_profile_does_not_wait_for_pandas(tmp_path: Path) -> None:
    # PyArrow imports it for to_numpy(), array() and scalar(): longer than to count a million rows.
    file = tmp_path / "made.parquet"
    table = pa.table({"x": [1.5, None, 3.0], "n": [1, 2, 3], "c": ["a", "b", None], "b": [True, False, None]})
    pq.write_table(table, file, row_group_size=2)
    code = (
        "import sys, pathlib; from airflow_mlops.engines.profiles import profile_parquet; "
        f"profile_parquet([pathlib.Path({str(file)!r})]); print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
