"""Hard columns: each gets a verdict or a sentence, and none spoils the others."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_mlops.domain.drift import ColumnRule, ComparedData, DataDrift, DriftMethod, DriftSpec, ValueKind
from airflow_mlops.domain.drift import judge_window as judge
from airflow_mlops.domain.monitoring import CheckVerdict
from airflow_mlops.domain.profile import DatasetProfile, Grid
from airflow_mlops.engines.profiles import profile_parquet
from airflow_mlops.operators.comparison import compare_profiles

PASSED, VIOLATED, UNDECIDED = CheckVerdict
ROWS = 1500
random = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def _same_rows_in_any_order_of_tests() -> None:
    random.bit_generator.state = np.random.default_rng(3).bit_generator.state


NORMAL = random.normal(0, 1, ROWS)
MOVED = random.normal(1, 1, ROWS)
MORNING = datetime(2026, 3, 1, 9, tzinfo=UTC)


def profile(folder: Path, columns: dict[str, Any], grids: dict[str, Grid] | None = None) -> DatasetProfile:
    file = folder / f"{len(list(folder.iterdir()))}.parquet"
    pq.write_table(pa.table(columns), file)
    return profile_parquet([file], grids=grids)


def compared(
    folder: Path, before: dict[str, Any], now: dict[str, Any], read: tuple[str, ...] = (), **spec: Any
) -> DataDrift:
    reference = profile(folder, before)
    current = profile(folder, now, reference.grids)
    sides = [
        (ComparedData(dataset_name=name, dataset_digest=name, rows=side.rows), side)
        for name, side in (("train", reference), ("window", current))
    ]
    return compare_profiles(sides[0], sides[1], DriftSpec(**spec), read=read)


def says(drift: DataDrift, **spec: Any) -> tuple[CheckVerdict, str]:
    verdict, reasons = judge(drift, DriftSpec(**spec), None)
    return verdict, reasons[0]


@pytest.mark.parametrize(
    ("before", "now", "drifted", "method"),
    [
        (NORMAL, NORMAL, False, "wasserstein"),
        (NORMAL, MOVED, True, "wasserstein"),
        (np.ones(ROWS), np.ones(ROWS), False, "jensenshannon"),
        (np.ones(ROWS), np.zeros(ROWS), True, "jensenshannon"),
        (np.where(NORMAL > 2, np.inf, NORMAL), np.where(NORMAL < -2, -np.inf, NORMAL), True, "wasserstein"),
        ([True, False] * 750, [True] * ROWS, True, "jensenshannon"),
        ([True, False] * 750, [True, False] * 750, False, "jensenshannon"),
        ([Decimal("1.10"), Decimal("2.20")] * 750, [Decimal("1.10")] * ROWS, True, "jensenshannon"),
        ([Decimal(index) for index in range(ROWS)], list(range(ROWS)), False, "wasserstein"),
        (list(range(ROWS)), NORMAL, True, "wasserstein"),
        (["a", "b", "a", None] * 375, ["a", "b", "a", None] * 375, False, "jensenshannon"),
        ([f"id-{index}" for index in range(ROWS)], [f"id-{index}" for index in range(ROWS)], False, "jensenshannon"),
        ([f"id-{index}" for index in range(ROWS)], [f"no-{index}" for index in range(ROWS)], True, "jensenshannon"),
    ],
    ids=[
        "equal",
        "moved",
        "constant",
        "another constant",
        "infinities",
        "truth values moved",
        "truth values",
        "decimals moved",
        "decimals and integers",
        "integers and floats",
        "texts with gaps",
        "ids",
        "other ids",
    ],
)
def test_every_kind_of_values_gets_a_verdict(
    tmp_path: Path, before: Any, now: Any, method: str, *, drifted: bool
) -> None:
    drift = compared(tmp_path, {"v": before, "good": NORMAL}, {"v": now, "good": NORMAL})
    found = {item.column: item for item in drift.columns}
    assert (found["v"].drifted, found["v"].method) == (drifted, method)
    assert found["good"].value == pytest.approx(0, abs=1e-9)
    assert drift.lost == ()


@pytest.mark.parametrize(
    ("before", "now", "note"),
    [
        ([None] * ROWS, NORMAL, "v has no values in the reference data."),
        (NORMAL, pa.array([None] * ROWS, pa.float64()), "v has no values in the current data."),
        (NORMAL, [None] * ROWS, "v has no values in the current data."),
        (NORMAL, np.full(ROWS, np.nan), "v has no values in the current data."),
        ([None] * ROWS, [None] * ROWS, "v has no values in the reference data."),
    ],
)
def test_column_without_values_is_noted_and_the_others_are_compared(
    tmp_path: Path, before: Any, now: Any, note: str
) -> None:
    drift = compared(tmp_path, {"v": before, "good": NORMAL}, {"v": now, "good": MOVED})
    assert note in drift.notes
    assert [(item.column, item.value is None, item.drifted) for item in drift.columns] == [
        ("v", True, False),
        ("good", False, True),
    ]
    assert drift.share == 1.0


def test_values_that_are_all_missing_now_violate_the_window_all_the_same(tmp_path: Path) -> None:
    drift = compared(tmp_path, {"v": NORMAL}, {"v": pa.array([None] * ROWS, pa.float64())})
    assert says(drift) == (VIOLATED, "v lacks 100.0% of its values, instead of 0.0%.")


@pytest.mark.parametrize(
    ("values", "others"),
    [
        ([date(2026, 3, 1)] * ROWS, [date(2026, 4, 1)] * ROWS),
        ([MORNING] * ROWS, [MORNING.replace(tzinfo=None)] * ROWS),
        ([[1]] * ROWS, [[2]] * ROWS),
        ([b"x"] * ROWS, [b"y"] * ROWS),
    ],
    ids=["dates", "time zones", "lists", "bytes"],
)
def test_times_and_nested_values_are_left_out_unless_they_are_named(tmp_path: Path, values: Any, others: Any) -> None:
    sides = {"v": values, "good": NORMAL}, {"v": others, "good": NORMAL}
    drift = compared(tmp_path, *sides)
    assert ([item.column for item in drift.columns], drift.lost, drift.notes) == (["good"], (), ())
    [note] = compared(tmp_path, *sides, columns=("v", "good")).notes
    assert note.startswith("v holds ")
    assert note.endswith(", which are not compared.")


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        ({"good": NORMAL}, "The window has no column v."),
        (
            {"v": ["1.5"] * ROWS, "good": NORMAL},
            "v holds numbers in the reference (double), but texts or truth values in the window (string).",
        ),
        (
            {"v": [MORNING] * ROWS, "good": NORMAL},
            "v holds numbers in the reference (double), but times in the window (timestamp[us, tz=UTC]).",
        ),
    ],
)
def test_column_that_the_model_reads_and_that_is_gone_or_of_another_type_violates(
    tmp_path: Path, now: dict[str, Any], reason: str
) -> None:
    drift = compared(tmp_path, {"v": NORMAL, "good": NORMAL}, now, read=("v", "good"))
    assert says(drift) == (VIOLATED, reason)
    assert [item.column for item in drift.columns] == ["good"]


def test_columns_that_one_side_alone_has_are_noted_where_nobody_says_that_they_matter(tmp_path: Path) -> None:
    drift = compared(tmp_path, {"x": NORMAL, "old": NORMAL}, {"x": NORMAL, "new": NORMAL, "newer": NORMAL})
    assert drift.notes == ("Only the window has new, newer.", "Only the reference has old.")
    assert (says(drift)[0], drift.lost) == (PASSED, ())


def test_one_row_and_none_are_undecided(tmp_path: Path) -> None:
    for rows in (1, 0):
        drift = compared(tmp_path, {"x": NORMAL, "c": ["a"] * ROWS}, {"x": NORMAL[:rows], "c": ["b"] * rows})
        assert says(drift)[0] is UNDECIDED
        assert says(drift)[1].startswith("The window has no rows" if rows == 0 else "The window has 1 rows")


def test_one_row_is_compared_where_the_author_wants_it(tmp_path: Path) -> None:
    drift = compared(tmp_path, {"x": NORMAL}, {"x": NORMAL[:1] + 9}, min_rows=1)
    assert says(drift, min_rows=1)[0] is VIOLATED


def test_more_categories_than_are_kept_are_counted_in_bounded_memory_and_say_so(tmp_path: Path) -> None:
    def ids(prefix: str, count: int) -> Any:
        return pa.array(np.char.add(prefix, np.arange(count).astype(str)))

    drift = compared(
        tmp_path,
        {"id": ids("a", 120_000), "x": np.arange(120_000)},
        {"id": ids("b", 120_000), "x": np.arange(120_000)},
    )
    found = {item.column: item for item in drift.columns}
    assert found["id"].drifted
    assert not found["x"].drifted
    assert any("too many to count each" in note for note in drift.notes)


def test_author_chooses_method_threshold_and_kind_of_a_column(tmp_path: Path) -> None:
    codes = random.integers(0, 40, ROWS)
    rules = {
        "code": ColumnRule(kind=ValueKind.CATEGORY, threshold=0.5),
        "x": ColumnRule(method=DriftMethod.KS, threshold=1e-9),
    }
    drift = compared(tmp_path, {"code": codes, "x": NORMAL}, {"code": codes[::-1], "x": MOVED}, by_column=rules)
    assert [(item.column, item.method, item.threshold, item.drifted) for item in drift.columns] == [
        ("code", "jensenshannon", 0.5, False),
        ("x", "ks", 1e-9, True),
    ]


def test_method_that_does_not_fit_a_column_is_noted_and_spoils_no_other(tmp_path: Path) -> None:
    rules = {"c": ColumnRule(method=DriftMethod.KS)}
    drift = compared(tmp_path, {"c": ["a"] * ROWS, "x": NORMAL}, {"c": ["a"] * ROWS, "x": NORMAL}, by_column=rules)
    assert any("ks compares numbers" in note for note in drift.notes)
    assert drift.compared == 1


def test_predictions_and_labels_of_a_log_are_judged_apart_from_the_features(tmp_path: Path) -> None:
    before = {"x": NORMAL, "probability": NORMAL, "label": ["no"] * ROWS}
    now = {"x": NORMAL, "probability": MOVED, "label": ["no"] * ROWS, "prediction_id": [str(i) for i in range(ROWS)]}
    drift = compared(tmp_path, before, now)
    assert [[item.column for item in group] for group in (drift.columns, drift.prediction, drift.label)] == [
        ["x"],
        ["probability"],
        ["label"],
    ]
    assert (drift.share, says(drift)[0]) == (0.0, VIOLATED)
    assert says(drift)[1].startswith("The prediction probability has drifted")
    assert drift.notes == ()


def test_prediction_without_anything_to_compare_it_with_is_noted(tmp_path: Path) -> None:
    drift = compared(tmp_path, {"x": NORMAL}, {"x": NORMAL, "prediction": NORMAL})
    assert drift.notes == ("The reference has no column prediction to compare with.",)
    assert says(drift)[0] is PASSED


def test_prediction_that_the_author_names_and_the_window_lacks_violates(tmp_path: Path) -> None:
    drift = compared(tmp_path, {"x": NORMAL, "score": NORMAL}, {"x": NORMAL}, prediction=("score",))
    assert says(drift, prediction=("score",)) == (VIOLATED, "The window has no column score.")
