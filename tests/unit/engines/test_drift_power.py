"""What docs/drift-power.md says of methods, held by simulations that are drawn anew from fixed seeds."""

import functools

import numpy as np
import pytest

from airflow_mlops.domain.drift import Correction
from benchmarks.drift_power import Change, Discoveries, called, categories, discoveries, normal

EQUAL = Change("equal numbers", normal(), normal())
EQUAL_CATEGORIES = Change("equal categories", categories(0.01), categories(0.01), is_number=False)
REPEATS = 100
FOUR_ERRORS = 4 * np.sqrt(0.05 * 0.95 / REPEATS)


@functools.cache
def share(change: Change, rows: int, repeats: int = REPEATS) -> dict[str, float]:
    return called(change, rows, repeats)


@pytest.mark.parametrize("rows", [100, 1_000, 3_000])
def test_a_test_calls_equal_data_different_at_its_level_whatever_the_rows(rows: int) -> None:
    numbers, codes = share(EQUAL, rows), share(EQUAL_CATEGORIES, rows)
    assert numbers["ks"] == pytest.approx(0.05, abs=FOUR_ERRORS)
    assert codes["homogeneity"] < 0.05 + FOUR_ERRORS  # of 100 rows in 20 categories it is more careful


@pytest.mark.parametrize("method", ["wasserstein", "jensenshannon", "psi"])
def test_a_distance_calls_few_equal_rows_different_and_many_never(method: str) -> None:
    assert share(EQUAL, 100)[method] > 0.8
    assert share(EQUAL, 3_000)[method] == 0


def test_chi_square_as_evidently_has_it_calls_most_equal_samples_of_many_categories_different() -> None:
    found = share(EQUAL_CATEGORIES, 1_000)
    assert found["chisquare"] > 0.6
    assert found["automatic"] == found["chisquare"]


def test_of_fewer_rows_than_the_default_a_window_would_be_called_different_by_chance() -> None:
    few, enough = (
        called(Change("", normal(), normal(), reference_rows=5_000), rows, REPEATS)["automatic"] for rows in (100, 500)
    )
    assert few > 0.5
    assert enough < 0.1


def test_of_many_rows_a_test_finds_what_does_not_matter_and_an_effect_is_asked_for() -> None:
    slight = Change("slight", normal(), normal(0.05))
    assert share(slight, 20_000, 20)["ks"] > 0.9
    assert share(slight, 20_000, 20)["ks, effect ≥ 0.1"] == 0


@pytest.mark.parametrize("rows", [1_000, 20_000])
@pytest.mark.parametrize(("shift", "drifted"), [(0.05, 0), (0.5, 1)])
def test_a_test_with_a_least_effect_says_the_same_of_some_rows_and_of_many(
    rows: int, shift: float, drifted: int
) -> None:
    found = called(Change("moved", normal(), normal(shift)), rows, 20)
    assert found["ks, effect ≥ 0.1"] == pytest.approx(drifted, abs=0.1)


def many(correction: Correction, drifted: int) -> Discoveries:
    return discoveries(correction, columns=100, drifted=drifted, rows=300, windows=15, shift=0.5)


def test_benjamini_hochberg_holds_the_share_of_false_alarms_and_finds_the_drifted() -> None:
    plain, corrected = many(Correction.NONE, 10), many(Correction.BENJAMINI_HOCHBERG, 10)
    assert plain.false_share > 0.2
    assert corrected.false_share < 0.05 + 4 * 0.02  # the standard error of 15 windows with 10 to 12 alarms each
    assert corrected.found > 0.95


def test_of_100_equal_columns_one_is_called_drifted_in_nearly_every_window_unless_corrected() -> None:
    assert many(Correction.NONE, 0).any_false > 0.9
    assert many(Correction.BENJAMINI_HOCHBERG, 0).any_false < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 15)
