"""Which columns are compared one by one, which by their rows, and which not at all."""

from typing import Any

import pytest

from airflow_mlops.domain.drift import ColumnRule, DriftMethod, DriftSpec, ValueKind
from airflow_mlops.domain.drift.columns import choose, free_texts, without_mixed_predictions
from airflow_mlops.domain.profile import Categories, ColumnProfile, DatasetProfile, ProfileKind


def texts(name: str, rows: int, different: int) -> ColumnProfile:
    counts = {f"{name}{number}": rows // different for number in range(different)}
    return ColumnProfile(
        name=name, type="string", kind=ProfileKind.CATEGORY, rows=rows, distribution=Categories(counts=counts)
    )


def data(*columns: ColumnProfile, rows: int = 100) -> DatasetProfile:
    return DatasetProfile(rows=rows, columns=columns, engine="by hand")


def named(name: str, counts: dict[str, int]) -> ColumnProfile:
    return ColumnProfile(
        name=name, type="string", kind=ProfileKind.CATEGORY, rows=100, distribution=Categories(counts=counts)
    )


@pytest.mark.parametrize(
    ("different", "spec", "expected"),
    [
        (100, {}, ("id",)),
        (50, {}, ()),
        (2, {}, ()),
        (100, {"ignore": ("id",)}, ()),
        (100, {"text": ("id",)}, ()),
        (100, {"categories": DriftMethod.PSI}, ()),
        (100, {"by_column": {"id": ColumnRule(method=DriftMethod.PSI)}}, ()),
        (100, {"by_column": {"id": ColumnRule(kind=ValueKind.CATEGORY)}}, ()),
        (100, {"by_column": {"id": ColumnRule(threshold=0.7)}}, ("id",)),
    ],
)
def test_texts_of_which_more_than_half_differ_are_texts_unless_the_author_says_otherwise(
    different: int, spec: dict[str, Any], expected: tuple[str, ...]
) -> None:
    side = data(texts("id", 100, different), texts("plan", 100, 2))
    assert free_texts(side, side, DriftSpec(**spec), []) == expected


def test_only_texts_that_are_named_leave_nothing_else_to_compare() -> None:
    side = data(texts("comment", 100, 100), texts("plan", 100, 2))
    assert choose(side, side, DriftSpec(columns=("comment",), text=("comment",)), []).columns == ()
    assert choose(side, side, DriftSpec(text=("comment",)), ["comment"]).columns == ()
    assert choose(side, side, DriftSpec(text=("comment",)), []).columns == ("plan",)


def test_predictions_that_several_versions_gave_are_not_compared() -> None:
    said = texts("prediction", 100, 2)
    alone = data(said, named("model_name", {"churn": 100}), named("model_version", {"8": 100}))
    assert without_mixed_predictions(alone, DriftSpec(), "churn", "8") == (DriftSpec(), ())
    mixed = data(said, named("model_name", {"churn": 100}), named("model_version", {"7": 30, "8": 70}))
    spec, [note] = without_mixed_predictions(mixed, DriftSpec(), "churn", "8")
    assert choose(mixed, mixed, spec, []).prediction == ()
    assert "prediction" not in choose(mixed, mixed, spec, []).columns
    assert note.startswith("30 of 100 answers are not of version 8, so that no prediction is compared.")
    other = data(said, named("model_name", {"churn": 90, "fraud": 10}), named("model_version", {"8": 100}))
    assert without_mixed_predictions(other, DriftSpec(), "churn", "8")[1]
    assert without_mixed_predictions(data(said), DriftSpec(), "churn", "8") == (DriftSpec(), ())
