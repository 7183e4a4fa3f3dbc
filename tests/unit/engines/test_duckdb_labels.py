"""Labels find the answers they belong to, whatever comes twice, late, in another order, or of another kind."""

import itertools
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_mlops.domain.monitoring import Window
from airflow_mlops.engines.duckdb import DuckDbLimits, JoinedAnswers, LocalSource, join_labels
from airflow_mlops.exceptions import DatasetError, EvaluationError

START = datetime(2026, 3, 1, tzinfo=UTC)
WINDOW = Window(start=START, end=START + timedelta(days=31))
Row = dict[str, Any]


def answer(prediction_id: str | None, prediction: Any = 1, **values: Any) -> Row:
    row = {
        "prediction_id": prediction_id,
        "predicted_at": START,
        "model_name": "churn",
        "model_version": "7",
        "x": 1.5,
        "prediction": prediction,
        "probability": 0.75,
    }
    return row | values


def label(prediction_id: Any, value: Any = 1, day: int | None = 1) -> Row:
    return {
        "prediction_id": prediction_id,
        "label": value,
        "labelled_at": None if day is None else START + timedelta(days=day),
    }


def join(folder: Path, answers: list[Row], *labels: list[Row], limits: DuckDbLimits | None = None) -> JoinedAnswers:
    pq.write_table(pa.Table.from_pylist(answers), folder / "log.parquet")
    sources = []
    for number, rows in enumerate(labels):
        file = folder / f"labels-{number}.parquet"
        pq.write_table(pa.Table.from_pylist(rows), file)
        sources.append(LocalSource(uri=str(file), path=file))
    return join_files(folder, [folder / "log.parquet"], sources, limits)


def join_files(
    folder: Path, log: list[Path], sources: list[LocalSource], limits: DuckDbLimits | None = None
) -> JoinedAnswers:
    return join_labels(
        log,
        sources,
        folder,
        window=WINDOW,
        model_name="churn",
        model_version="7",
        limits=limits or DuckDbLimits(threads=1),
    )


def labelled(joined: JoinedAnswers) -> dict[str, Any]:
    return {row["prediction_id"]: row["label"] for row in pq.ParquetFile(joined.labelled).read().to_pylist()}


def test_labels_join_their_answers_and_the_rest_waits(tmp_path: Path) -> None:
    joined = join(tmp_path, [answer("a"), answer("b"), answer("c")], [label("b", 0)], [label("c", 1), label("z", 1)])
    assert labelled(joined) == {"b": 0, "c": 1}
    (waiting,) = pq.ParquetFile(joined.unlabelled).read().to_pylist()
    assert (waiting["prediction_id"], waiting["x"], waiting["probability"]) == ("a", 1.5, 0.75)
    counts = joined.counts
    assert (counts.rows, counts.labelled, counts.unknown_ids) == (3, 2, 1)
    assert counts.labelled_share == pytest.approx(2 / 3)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_last_label_counts_in_whatever_order_they_come(tmp_path: Path, order: tuple[int, ...]) -> None:
    labels = [label("a", 0, 3), label("a", 1, 9), label("a", 0, 5)]
    joined = join(tmp_path, [answer("a")], [labels[index] for index in order])
    assert labelled(joined) == {"a": 1}
    assert (joined.counts.changed_labels, joined.counts.repeated_labels) == (1, 0)


def test_label_that_is_said_again_is_the_same_label(tmp_path: Path) -> None:
    joined = join(tmp_path, [answer("a")], [label("a", 1, 1), label("a", 1, 2)], [label("a", 1, 1)])
    assert labelled(joined) == {"a": 1}
    assert (joined.counts.repeated_labels, joined.counts.changed_labels) == (2, 0)


def test_labels_that_contradict_each_other_at_one_time_count_as_none(tmp_path: Path) -> None:
    joined = join(tmp_path, [answer("a"), answer("b")], [label("a", 1, 2), label("a", 0, 2), label("a", 1, 1)])
    assert labelled(joined) == {}
    assert (joined.counts.contradictory_labels, joined.counts.changed_labels) == (1, 0)
    assert "different labels of the same time" in " ".join(joined.counts.notes())


def test_labels_without_a_time_contradict_each_other_too(tmp_path: Path) -> None:
    plain = [{"prediction_id": "a", "label": 1}, {"prediction_id": "b", "label": 1}, {"prediction_id": "b", "label": 0}]
    joined = join(tmp_path, [answer("a"), answer("b")], plain)
    assert labelled(joined) == {"a": 1}
    assert joined.counts.contradictory_labels == 1


def test_label_with_a_time_is_later_than_one_without(tmp_path: Path) -> None:
    joined = join(tmp_path, [answer("a")], [label("a", 1, 2), label("a", 0, None)])
    assert labelled(joined) == {"a": 1}


def test_rows_of_other_versions_models_and_windows_are_counted_and_not_judged(tmp_path: Path) -> None:
    others = [
        answer("o", model_version="6"),
        answer("p", model_version="6"),
        answer("q", model_name="other"),
        answer("early", predicted_at=WINDOW.start - timedelta(microseconds=1)),
        answer("late", predicted_at=WINDOW.end),
    ]
    joined = join(tmp_path, [answer("a"), *others], [label(row["prediction_id"]) for row in others])
    assert labelled(joined) == {}
    assert joined.counts.other_versions == {"version 6": 2, "other version 7": 1}
    assert (joined.counts.rows, joined.counts.outside, joined.counts.unknown_ids) == (1, 2, 2)


def test_answer_whose_id_was_there_before_is_left_out(tmp_path: Path) -> None:
    later = answer("a", 0, predicted_at=START + timedelta(hours=1))
    joined = join(tmp_path, [later, answer("a", 1), answer(None), answer(None)], [label("a")])
    (row,) = pq.ParquetFile(joined.labelled).read().to_pylist()
    assert row["prediction"] == 1
    assert (joined.counts.rows, joined.counts.repeated) == (3, 1)


@pytest.mark.parametrize("probability", [None, float("nan"), -0.1, 1.1, float("inf")])
def test_answer_with_a_probability_that_is_none_is_left_out(tmp_path: Path, probability: float | None) -> None:
    joined = join(tmp_path, [answer("a"), answer("b", probability=probability)], [label("a"), label("b")])
    assert labelled(joined) == {"a": 1}
    assert (joined.counts.unusable, joined.counts.labelled) == (1, 1)


def test_model_without_probabilities_is_no_model_of_bad_ones(tmp_path: Path) -> None:
    silent = [{name: value for name, value in answer("a").items() if name != "probability"}]
    assert not join(tmp_path, silent, [label("a")]).has_probability
    joined = join(tmp_path, [answer("a", probability=None), answer("b", probability=None)], [label("a")])
    assert (joined.has_probability, joined.counts.unusable, joined.counts.labelled) == (False, 0, 1)


@pytest.mark.parametrize(
    ("said", "came", "expected"),
    [
        (1, True, 1),
        (True, 1, 1),
        (True, False, 0),
        (1, 1.0, 1.0),
        (2.5, 3, 3.0),
        ("late", "on time", "on time"),
        (1.5, float("nan"), None),
        (1.5, float("inf"), None),
    ],
)
def test_labels_of_a_kind_are_compared_in_one_type(tmp_path: Path, said: Any, came: Any, expected: Any) -> None:
    joined = join(tmp_path, [answer("a", said), answer("b", said)], [label("a", came)])
    assert labelled(joined).get("a") == expected
    table = pq.ParquetFile(joined.labelled).schema_arrow
    assert table.field("label").type == table.field("prediction").type
    assert joined.counts.odd_labels == (expected is None)


@pytest.mark.parametrize(("said", "came"), [(1, "late"), ("late", 1), (1.5, "1.5")])
def test_texts_and_numbers_cannot_be_compared(tmp_path: Path, said: Any, came: Any) -> None:
    with pytest.raises(EvaluationError, match="they cannot be compared"):
        join(tmp_path, [answer("a", said)], [label("a", came)])


def test_ids_of_csv_keep_their_zeros(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([answer("007"), answer("7")]), tmp_path / "log.parquet")
    file = tmp_path / "labels.csv"
    file.write_text("prediction_id,label,labelled_at\n007,1,2026-03-02T10:00:00Z\n")
    joined = join_files(tmp_path, [tmp_path / "log.parquet"], [LocalSource(uri=str(file), path=file)])
    assert labelled(joined) == {"007": 1}


def test_numbers_as_ids_are_taken_as_texts(tmp_path: Path) -> None:
    assert labelled(join(tmp_path, [answer("17")], [label(17)])) == {"17": 1}


def test_no_labels_at_all(tmp_path: Path) -> None:
    joined = join(tmp_path, [answer("a")])
    assert (joined.counts.labelled, joined.counts.rows, labelled(joined)) == (0, 1, {})


@pytest.mark.parametrize(
    ("missing", "of"), [("prediction_id", "prediction log"), ("predicted_at", "prediction log"), ("label", "labels")]
)
def test_column_that_the_contract_has_and_the_data_lacks_is_named(tmp_path: Path, missing: str, of: str) -> None:
    answers, labels = (
        [{name: value for name, value in row.items() if name != missing} for row in rows]
        for rows in ([answer("a")], [label("a")])
    )
    with pytest.raises(DatasetError, match=f"(?s){of}.*lacks {missing}"):
        join(tmp_path, answers, labels)


def test_times_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="labels cannot be read"):
        join(tmp_path, [answer("a")], [{"prediction_id": "a", "label": 1, "labelled_at": "soon"}])


LABELS = st.lists(
    st.builds(label, st.sampled_from("abcxyz"), st.integers(0, 1), st.one_of(st.none(), st.integers(0, 2))), max_size=12
)


@given(labels=LABELS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_join_says_the_same_as_a_loop_over_the_labels(tmp_path: Path, labels: list[Row]) -> None:
    found = labelled(join(tmp_path, [answer(name) for name in "abcd"], *([labels] if labels else [])))
    expected = {}
    for name in "abcd":
        own = [
            (row["labelled_at"] or datetime.min.replace(tzinfo=UTC), row["label"])
            for row in labels
            if row["prediction_id"] == name
        ]
        last = {value for moment, value in own if moment == max(own)[0]}
        if len(last) == 1:
            expected[name] = last.pop()
    assert found == expected


def test_memory_is_bounded(tmp_path: Path) -> None:
    rows = 100_000
    numbers = list(range(rows))
    random.Random(0).shuffle(numbers)  # noqa: S311 - no secret
    ids = pa.array([f"{number:032d}" for number in numbers])
    columns = {
        "prediction_id": ids,
        "predicted_at": pa.array([START] * rows),
        "model_name": pa.array(["churn"] * rows),
        "model_version": pa.array(["7"] * rows),
        "prediction": pa.array([1.0] * rows),
    }
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    pq.write_table(pa.table({"prediction_id": ids, "label": [0.5] * rows}), tmp_path / "labels.parquet")
    source = LocalSource(uri="labels", path=tmp_path / "labels.parquet")
    joined = join_files(tmp_path, [tmp_path / "log.parquet"], [source], DuckDbLimits(memory="60MB", threads=1))
    assert joined.counts.labelled == rows
