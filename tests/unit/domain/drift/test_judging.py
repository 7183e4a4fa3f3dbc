"""From measured columns to the verdict on a window."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlops.domain.drift import (
    ColumnDrift,
    ComparedData,
    Correction,
    DataDrift,
    DriftSpec,
    Volume,
    judge_columns,
    judge_window,
)
from airflow_mlops.domain.monitoring import CheckVerdict

PASSED, VIOLATED, UNDECIDED = CheckVerdict
BH = Correction.BENJAMINI_HOCHBERG


def column(name: str = "x", value: float | None = 0.0, **fields: Any) -> ColumnDrift:
    method = fields.pop("method", "wasserstein")
    threshold = 0.05 if method in {"ks", "chisquare", "z"} else 0.1
    drifted = value is not None and (value <= threshold if threshold == 0.05 else value >= threshold)
    return ColumnDrift(column=name, method=method, value=value, threshold=threshold, drifted=drifted, **fields)


def drift(*columns: ColumnDrift, rows: int = 1000, **fields: Any) -> DataDrift:
    side = ComparedData(dataset_name="d", dataset_digest="d", rows=rows)
    return DataDrift(reference=side, current=side, columns=columns, engine="by hand", **fields)


def says(found: DataDrift, volume: Volume | None = None, **spec: Any) -> tuple[CheckVerdict, tuple[str, ...]]:
    return judge_window(found, DriftSpec(**spec), volume)


# Columns -------------------------------------------------------------------------------------------------------------


def test_many_columns_at_once_are_corrected_for() -> None:
    tests = [column(f"c{index}", value, method="ks") for index, value in enumerate((0.001, 0.04, 0.3, 0.9))]
    assert [item.drifted for item in judge_columns(tests, DriftSpec())] == [True, True, False, False]
    corrected = judge_columns(tests, DriftSpec(correction=BH))
    assert [item.drifted for item in corrected] == [True, False, False, False]
    assert [item.adjusted for item in corrected] == pytest.approx([0.004, 0.08, 0.4, 0.9])


def test_distances_and_columns_without_a_value_are_no_tests_that_are_corrected_for() -> None:
    found = judge_columns(
        [column("x", 0.04, method="ks"), column("y", 0.2), column("z", None)], DriftSpec(correction=BH)
    )
    assert [(item.drifted, item.adjusted) for item in found] == [(True, 0.04), (True, None), (False, None)]


def test_chance_of_texts_and_embeddings_is_one_of_the_tests_that_are_corrected_for() -> None:
    def told(p_value: float, value: float = 0.6) -> ColumnDrift:
        return ColumnDrift(
            column="t", method="domain_classifier", value=value, threshold=0.55, drifted=False, p_value=p_value
        )

    few = [column("x", 0.9, method="ks"), told(0.04), told(0.005), told(0.005, value=0.5)]
    assert [item.drifted for item in judge_columns(few, DriftSpec())] == [False, True, True, False]
    found = judge_columns(few, DriftSpec(correction=BH))
    assert [item.adjusted for item in found] == pytest.approx([0.9, 0.16 / 3, 0.01, 0.01])
    assert [item.drifted for item in found] == [False, False, True, False]


@pytest.mark.parametrize(("effect", "drifted"), [(0.01, False), (0.05, True), (None, True)])
def test_sure_difference_that_is_too_small_to_matter_is_no_drift(effect: float | None, *, drifted: bool) -> None:
    [found] = judge_columns([column(value=1e-9, method="ks", effect=effect)], DriftSpec(min_effect=0.05))
    assert found.drifted is drifted


def test_least_effect_is_asked_of_tests_only_since_a_distance_is_one() -> None:
    [found] = judge_columns([column(value=0.2, effect=0.01)], DriftSpec(min_effect=0.05))
    assert found.drifted


# Windows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (0, "The window has no rows, so nothing can be said of it. Did the data arrive?"),
        (1, "The window has 1 rows, and nothing is said of fewer than 500 (min_rows): chance moves them."),
    ],
)
def test_window_without_enough_rows_is_undecided(rows: int, reason: str) -> None:
    assert says(drift(column(value=9.0), rows=rows)) == (UNDECIDED, (reason,))


def test_window_is_violated_from_the_share_of_evidently_on() -> None:
    stayed, moved = column("x", 0.01), column("y", 0.2)
    assert says(drift(stayed, moved)) == (
        VIOLATED,
        ("1 of 2 columns have drifted (50%), which reaches the drift_share of 50%: y 0.20.",),
    )
    assert says(drift(stayed, moved, column("z", None))) == says(drift(stayed, moved))  # one odd column spoils nothing
    assert says(drift(stayed, stayed, moved)) == (
        PASSED,
        ("1 of 3 columns have drifted (33%), below the drift_share of 50%: y 0.20.",),
    )


@pytest.mark.parametrize(
    ("found", "spec", "reason"),
    [
        (
            drift(column("x"), column("y"), column("z", 0.2)),
            {"stable": ("z",)},
            "z must not drift, and has: 0.20 (wasserstein ≥ 0.1).",
        ),
        (
            drift(column("x"), prediction=(column("p", 0.01, method="ks"),)),
            {},
            "The prediction p has drifted: p 0.01 (ks ≤ 0.05).",
        ),
        (drift(column("x"), label=(column("late", 0.3),)), {}, "The label late has drifted: 0.30 (wasserstein ≥ 0.1)."),
        (drift(column("x"), lost=("The window has no column y.",)), {}, "The window has no column y."),
        (
            drift(column("x", missing_reference=0.05, missing_current=0.25)),
            {},
            "x lacks 25.0% of its values, instead of 5.0%.",
        ),
        (
            drift(column("c", method="jensenshannon", new_share=0.06, new_categories=("a", "b"))),
            {},
            "6.0% of the rows have a category of c that the reference does not know, such as a, b.",
        ),
        (drift(column("x", outside=0.2)), {}, "20.0% of the rows have a x outside the reference's range."),
    ],
)
def test_violation_names_the_column_and_what_is_wrong_with_it(
    found: DataDrift, spec: dict[str, Any], reason: str
) -> None:
    assert says(found, **spec) == (VIOLATED, (reason,))


@pytest.mark.parametrize(
    ("found", "spec"),
    [
        (drift(column(missing_current=0.9)), {"missing_change": None}),
        (drift(column(missing_current=0.09)), {}),
        (drift(column(new_share=0.9)), {"new_category_share": None}),
        (drift(column(new_share=0.0)), {"new_category_share": 0.0}),
        (drift(column(outside=0.9)), {"outside_share": None}),
        (drift(column(outside=0.04)), {}),
    ],
)
def test_what_the_spec_allows_is_no_violation(found: DataDrift, spec: dict[str, Any]) -> None:
    assert says(found, **spec)[0] is PASSED


@pytest.mark.parametrize(
    ("rows", "start", "spec"),
    [
        (49, "Too few rows came: 49 instead of about 100 (0.49 times), by guess.", {}),
        (201, "Too many rows came: 201 instead of about 100 (2.01 times), by guess.", {}),
        (50, None, {}),
        (200, None, {}),
        (1, None, {"least_volume": None}),
        (9999, None, {"most_volume": None}),
    ],
)
def test_volume_is_judged_by_how_many_times_the_expected_rows_came(
    rows: int, start: str | None, spec: dict[str, Any]
) -> None:
    verdict, reasons = says(drift(column()), Volume(rows=rows, expected=100.0, basis="guess"), **spec)
    assert (verdict, reasons[0]) == (VIOLATED, start) if start else verdict is PASSED


def test_window_without_anything_to_compare_is_undecided_and_says_why() -> None:
    found = drift(column(value=None), notes=("x has no values.",))
    assert says(found) == (UNDECIDED, ("There was no column to compare.", "x has no values."))


def test_most_important_reason_comes_first_and_a_thousand_columns_are_counted() -> None:
    many = tuple(column(f"c{index:03}", 0.5, missing_current=0.5) for index in range(1000))
    _, reasons = says(drift(*many, prediction=(column("p", 0.2),)))
    assert reasons[0].startswith("The prediction p has drifted")
    assert reasons[1].startswith("1000 of 1000 columns have drifted (100%)")
    assert reasons[-1] == "So it is with 995 more columns."
    assert len(reasons) == 8


columns = st.builds(
    column, st.sampled_from("abcdef"), st.none() | st.floats(0, 1), method=st.sampled_from(["ks", "wasserstein", "psi"])
)


@given(st.lists(columns, max_size=8), st.sampled_from(Correction), st.none() | st.floats(0, 1))
def test_correction_and_least_effect_only_ever_take_drift_away(
    found: list[ColumnDrift], correction: Correction, effect: float | None
) -> None:
    plain = judge_columns(found, DriftSpec())
    strict = judge_columns(found, DriftSpec(correction=correction, min_effect=effect))
    assert all(before.drifted or not after.drifted for before, after in zip(plain, strict, strict=True))
    assert [replace(item, adjusted=None, drifted=False) for item in strict] == [
        replace(item, adjusted=None, drifted=False) for item in plain
    ]
