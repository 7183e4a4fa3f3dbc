"""Which columns can be compared, and what a comparison says."""

from airflow_mlops.domain.drift import (
    ColumnDrift,
    ComparedData,
    DataDrift,
    furthest_first,
)


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
