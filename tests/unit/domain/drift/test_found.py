"""Which columns can be compared, and what a comparison says."""

import pytest

from airflow_mlops.domain.dataset import ColumnKind
from airflow_mlops.domain.drift import (
    ColumnDrift,
    ComparedData,
    DataDrift,
    choose_columns,
    furthest_first,
    without_values,
)

NUMBER, VALUE, TIME = ColumnKind.NUMBER, ColumnKind.VALUE, ColumnKind.TIME


@pytest.mark.parametrize(
    ("asked", "read", "chosen", "notes"),
    [
        ((), ("x", "c"), ("x", "c"), ()),
        ((), ("x", "at"), ("x",), ()),  # times always move on
        (("at",), ("x",), (), ("at holds times or nested values, which are not compared.",)),
        (("c",), ("x",), ("c",), ()),
        ((), ("x", "old"), ("x",), ("The production data has no column old.",)),
        ((), ("new",), (), ("The training data has no column new.",)),
        ((), ("turned",), (), ("turned holds numbers in the training data, but texts in the production data.",)),
    ],
)
def test_columns_that_should_be_compared_and_cannot_are_named(
    asked: tuple[str, ...], read: tuple[str, ...], chosen: tuple[str, ...], notes: tuple[str, ...]
) -> None:
    before = {"x": NUMBER, "c": VALUE, "at": TIME, "old": NUMBER, "turned": NUMBER}
    now = {"x": NUMBER, "c": VALUE, "at": TIME, "new": NUMBER, "turned": VALUE}
    assert choose_columns(before, now, asked=asked, read=read) == (chosen, notes)


def test_column_without_any_value_on_one_side_cannot_be_compared() -> None:
    found = without_values({"x": [1.0], "y": [None], "z": [1.0]}, {"x": [2.0, None], "y": [1.0], "z": []})
    assert found == {"y": "y has no values in the training data.", "z": "z has no values in the production data."}


def test_share_is_of_the_columns_that_were_compared() -> None:
    side = ComparedData(dataset_name="d", dataset_digest="d", rows=1)
    found = tuple(
        ColumnDrift(column=name, method="psi", value=value, threshold=0.1, drifted=value >= 0.1)
        for name, value in (("a", 0.2), ("b", 0.0), ("c", 0.4), ("d", 0.0))
    )
    drift = DataDrift(reference=side, current=side, columns=found, engine="e")
    assert ([item.column for item in drift.drifted], drift.share) == (["c", "a"], 0.5)
    assert DataDrift(reference=side, current=side, columns=(), engine="e").share == 0


def test_columns_of_different_methods_are_sorted_by_how_far_they_are_beyond_their_thresholds() -> None:
    found = [
        ColumnDrift(column=name, method=method, value=value, threshold=threshold, drifted=value != 0.9)
        for name, method, value, threshold in (
            ("twice", "psi", 0.2, 0.1),
            ("stayed", "ks", 0.9, 0.05),
            ("surely", "ks", 0.0, 0.05),
            ("ten times", "ks", 0.005, 0.05),
        )
    ]
    assert [item.column for item in furthest_first(found)] == ["surely", "ten times", "twice", "stayed"]
