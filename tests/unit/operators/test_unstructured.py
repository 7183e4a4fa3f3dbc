"""Texts and embeddings of real snapshots against each other."""

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.drift import ColumnDrift, ColumnRule, DriftMethod, DriftSpec
from airflow_mlops.domain.drift.report import ProfileReference
from airflow_mlops.domain.drift.text import TextColumn
from airflow_mlops.exceptions import InvalidInputError
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.unstructured import UnstructuredDrift, compare_unstructured

PARCELS = "the parcel was late and its box arrived damaged. please send my money back."
LOGINS = "the login of this app asks for a password. its screen stays black."
Names = Sequence[str]


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))


def snapshot(folder: Path, seed: int, **columns: Any) -> Snapshot:
    """Take a snapshot of the columns, and of an id that tells it from others."""
    rows = len(next(iter(columns.values())))
    file = folder / f"{seed}.parquet"
    pq.write_table(pa.table({"id": range(seed * 10_000, seed * 10_000 + rows), **columns}), file)
    operator = DatasetSnapshotOperator(task_id="take", dataset_name="d", source=str(file))
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="take", map_index=-1)
    context: Any = {"ti": ti, "outlet_events": defaultdict(lambda: SimpleNamespace(extra=None))}
    return Snapshot.from_dict(operator.execute(context))


def texts(rows: int, seed: int, about: str = PARCELS) -> list[str]:
    source = random.Random(seed)  # noqa: S311 - texts
    return [" ".join(source.choices(about.split(), k=12)) for _ in range(rows)]


def vectors(rows: int, seed: int, mean: float = 0, width: int = 8) -> pa.Array:
    values = np.random.default_rng(seed).normal(mean, 1, (rows, width)).astype(np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), width)


def named(found: UnstructuredDrift) -> dict[str, ColumnDrift]:
    return {item.column: item for item in found.columns}


def compare(before: Snapshot, now: Snapshot | list[Snapshot], **spec: Any) -> UnstructuredDrift:
    return compare_unstructured(before, now if isinstance(now, list) else [now], DriftSpec(**spec))


def test_comments_on_something_else_and_moved_embeddings_have_drifted(tmp_path: Path) -> None:
    before = snapshot(tmp_path, 1, comment=texts(300, 1), vector=vectors(300, 1))
    now = snapshot(tmp_path, 2, comment=texts(300, 2, LOGINS), vector=vectors(300, 2, 0.5))
    found = named(compare(before, now, text=("comment",), embeddings=("vector",)))
    for column in ("comment", "vector"):
        item = found[column]
        assert (item.method, item.threshold, item.drifted, item.p_value) == ("domain_classifier", 0.55, True, 0.005)
        assert item.value is not None
        assert item.value > 0.8
    assert not found["comment.word_count"].drifted  # as many words, and others


def test_equal_comments_and_embeddings_have_not_drifted(tmp_path: Path) -> None:
    before = snapshot(tmp_path, 1, comment=texts(600, 1), vector=vectors(600, 1))
    now = [snapshot(tmp_path, seed, comment=texts(300, seed), vector=vectors(300, seed)) for seed in (2, 3)]
    found = compare(before, now, text=("comment",), embeddings=("vector",), by_column={"vector": MMD})
    assert {item.column: item.drifted for item in found.columns} == {
        "comment": False,
        "comment.text_length": False,
        "comment.word_count": False,
        "comment.sentence_count": False,
        "vector": False,
    }
    assert named(found)["vector"].threshold == 0.015
    assert found.lost == ()
    assert found.notes == ("comment, vector: told apart on samples of up to 5,000 rows of each side.",)


MMD = ColumnRule(method=DriftMethod.MMD)


def test_a_column_may_have_its_own_method_and_threshold(tmp_path: Path) -> None:
    before, now = (snapshot(tmp_path, seed, vector=vectors(300, seed, seed / 3)) for seed in (1, 2))
    rules = {"vector": ColumnRule(method=DriftMethod.MMD, threshold=1.5)}
    item = compare(before, now, embeddings=("vector",), by_column=rules).columns[0]
    assert item.value is not None
    assert (item.method, item.p_value, item.drifted) == ("mmd", 0.005, False)
    assert 0.015 < item.value < 1.5


def test_what_is_watched_of_a_text_is_compared_like_any_column(tmp_path: Path) -> None:
    before = snapshot(tmp_path, 1, comment=texts(300, 1))
    now = snapshot(tmp_path, 2, comment=[f"{text} refund AB123" for text in texts(300, 2)])
    column = TextColumn(column="comment", contains=("refund",), patterns={"order": "[A-Z]{2}[0-9]{3}"}, is_json=True)
    found = compare(before, now, text=(column,))
    drifted = {item.column for item in found.columns if item.drifted}
    assert {"comment.contains(refund)", "comment.matches(order)", "comment.word_count"} <= drifted
    assert "comment.is_valid_json" not in drifted
    assert {profile.name for profile in found.profiles[1]} == {item.name for item in column.descriptors}


def test_missing_texts_and_vectors_are_counted_and_not_compared(tmp_path: Path) -> None:
    before = snapshot(tmp_path, 1, comment=texts(100, 1), vector=vectors(100, 1))
    half = [text if number % 2 else None for number, text in enumerate(texts(100, 2))]
    holes = pa.array([row if number % 4 else None for number, row in enumerate(vectors(100, 2).to_pylist())])
    now = snapshot(tmp_path, 2, comment=half, vector=holes)
    found = named(compare(before, now, text=("comment",), embeddings=("vector",)))
    assert (found["comment"].missing_current, found["vector"].missing_current) == (0.5, 0.25)
    assert found["comment.text_length"].missing_current == 0.5
    assert not found["comment"].drifted


def test_too_few_values_are_not_told_apart(tmp_path: Path) -> None:
    before, now = (snapshot(tmp_path, rows, vector=vectors(rows, 1)) for rows in (50, 19))
    item = compare(before, now, embeddings=("vector",)).columns[0]
    assert (item.value, item.drifted, item.method) == (None, False, "")
    assert "vector has values in fewer than 20 of the sampled rows" in item.note


def test_a_column_that_is_lost_or_has_become_something_else_spoils_no_other(tmp_path: Path) -> None:
    before = snapshot(tmp_path, 1, comment=texts(50, 1), gone=texts(50, 1), vector=vectors(50, 1), flat=vectors(50, 1))
    now = snapshot(tmp_path, 2, comment=texts(50, 2), vector=vectors(50, 2, width=16), flat=range(50))
    found = compare(before, now, text=("gone", "comment"), embeddings=("vector", "flat"))
    assert named(found).keys() == {"comment", "comment.text_length", "comment.word_count", "comment.sentence_count"}
    assert found.lost == (
        "There is no column 'gone' in the window; it has id, comment, vector, flat.",
        "vector has 8 numbers a row in the reference, but 16 in the window.",
        "The column 'flat' of the window holds int64, no lists of numbers.",
    )


def test_a_pattern_that_is_none_is_the_authors_to_change(tmp_path: Path) -> None:
    before, now = (snapshot(tmp_path, seed, comment=texts(30, seed)) for seed in (1, 2))
    with pytest.raises(InvalidInputError, match=r"comment\.matches"):
        compare(before, now, text=(TextColumn(column="comment", patterns={"p": "("}),))


def test_a_spec_without_texts_reads_no_snapshot() -> None:
    nowhere = Snapshot(dataset_name="d", digest="0", uri="/nowhere", rows=0, created=False)
    assert compare(nowhere, nowhere) == UnstructuredDrift()


def test_profiles_hold_no_texts_and_a_note_says_so() -> None:
    profile = ProfileReference(dataset_name="d", digest="0", uri="/nowhere", rows=0)
    nowhere = Snapshot(dataset_name="d", digest="0", uri="/nowhere", rows=0, created=False)
    found = compare_unstructured(nowhere, [profile], DriftSpec(embeddings=("v",)))
    assert found.notes == ("A profile holds no texts and embeddings: v need snapshots as current.",)


def test_the_spec_reads_names_and_columns_from_json() -> None:
    spec = DriftSpec.from_dict({"text": ["a", {"column": "b", "contains": ["x"]}], "embeddings": ["v"]})
    assert spec.texts == (TextColumn(column="a"), TextColumn(column="b", contains=("x",)))
    assert spec.unstructured == ("a", "b", "v")
    assert DriftSpec.from_dict(spec.to_dict()) == spec
