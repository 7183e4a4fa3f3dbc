"""Two samples of embeddings or texts, told apart."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from airflow_mlops.engines.numpy.domain_classifier import Separation, separate, separate_vectors
from airflow_mlops.engines.numpy.mean_discrepancy import measure_discrepancy
from airflow_mlops.engines.numpy.ngrams import hash_ngrams, separate_texts
from airflow_mlops.engines.numpy.random_features import fourier_features, median_distance, standardize

Rows = NDArray[np.float64]
MEASURES = pytest.mark.parametrize("measure", [separate_vectors, measure_discrepancy], ids=["classifier", "mmd"])


def normal(rows: int, columns: int, seed: int, mean: float = 0, spread: float = 1) -> Rows:
    return np.random.default_rng(seed).normal(mean, spread, (rows, columns))


def exact_discrepancy(reference: Rows, current: Rows) -> float:
    """Return the squared discrepancy from all pairs of rows (Gretton et al. 2012, lemma 6)."""
    rows = standardize(np.concatenate([reference, current]))
    kernel = np.exp(-cdist(rows, rows, "sqeuclidean") / median_distance(rows))
    split, others = len(reference), len(current)
    before, now, between = kernel[:split, :split], kernel[split:, split:], kernel[:split, split:]
    return float(
        (before.sum() - split) / (split * (split - 1))
        + (now.sum() - others) / (others * (others - 1))
        - 2 * between.mean()
    )


@pytest.mark.parametrize(("rows", "others", "columns"), [(50, 80, 2), (200, 200, 16), (150, 60, 64)])
@pytest.mark.parametrize("change", [(0, 1), (0.3, 1), (0, 1.5)])
def test_the_discrepancy_is_that_of_all_pairs(
    rows: int, others: int, columns: int, change: tuple[float, float]
) -> None:
    reference, current = normal(rows, columns, 1), normal(others, columns, 2, *change)
    exact = exact_discrepancy(reference, current)
    found = [measure_discrepancy(reference, current, permutations=1, seed=seed).value for seed in range(10)]
    assert np.mean(found) == pytest.approx(exact, abs=0.002 + 0.05 * abs(exact))
    assert found[0] == pytest.approx(exact, abs=0.006 + 0.2 * abs(exact))


def test_fourier_features_estimate_the_kernel() -> None:
    rows = normal(30, 5, 0)
    found = fourier_features(rows, 8.0, frequencies=20_000)
    np.testing.assert_allclose(found @ found.T, np.exp(-cdist(rows, rows, "sqeuclidean") / 8.0), atol=0.03)


@pytest.mark.parametrize("columns", [6, 150], ids=["fewer columns than rows", "more"])
def test_the_classifier_is_ridge_regression_on_folds_that_it_has_not_seen(columns: int) -> None:
    features = np.concatenate([normal(40, columns, 1), normal(60, columns, 2, 0.2)])
    labels = np.repeat([0, 1], [40, 60])
    fold = np.random.default_rng(1).permutation(100) % 5
    wins = pairs = 0.0
    for number in range(5):
        seen, held = fold != number, fold == number
        penalty = np.square(features[seen] - features[seen].mean(axis=0)).sum() / columns
        scores = Ridge(alpha=penalty).fit(features[seen], labels[seen]).predict(features[held])
        of = float(labels[held].sum() * (1 - labels[held]).sum())
        wins, pairs = wins + of * roc_auc_score(labels[held], scores), pairs + of
    assert separate(features, 40, permutations=1).value == pytest.approx(wins / pairs)


@MEASURES
@pytest.mark.parametrize(("rows", "others"), [(30, 30), (60, 20)])
def test_equal_data_is_called_different_as_often_as_the_level_says(measure: object, rows: int, others: int) -> None:
    assert callable(measure)
    found = [
        measure(normal(rows, 8, seed), normal(others, 8, seed + 10_000), permutations=39, seed=seed).p_value
        for seed in range(100)
    ]
    for level in (0.05, 0.25, 0.5):  # within four standard errors
        assert np.mean(np.array(found) <= level) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 100))


def test_equal_texts_are_called_different_as_often_as_the_level_says() -> None:
    found = [separate_texts(write(30, seed), write(30, seed + 10_000), permutations=39).p_value for seed in range(100)]
    assert np.mean(np.array(found) <= 0.05) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 100)
    assert np.mean(np.array(found) <= 0.5) == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / 100))


@MEASURES
@pytest.mark.parametrize("change", [(0.3, 1), (0, 1.3)], ids=["mean", "spread"])
def test_a_moved_mean_and_a_wider_spread_are_found(measure: object, change: tuple[float, float]) -> None:
    assert callable(measure)
    found = measure(normal(500, 32, 1), normal(500, 32, 2, *change))
    assert found.p_value == 0.005


def test_data_that_nothing_has_in_common_is_told_apart_wholly() -> None:
    far = normal(100, 4, 1), normal(100, 4, 2, 50)
    assert separate_vectors(*far).value == 1
    assert 1 < measure_discrepancy(*far).value <= 2


@MEASURES
@given(
    rows=st.integers(2, 12),
    others=st.integers(2, 12),
    columns=st.integers(1, 4),
    constant=st.booleans(),
    scale=st.sampled_from([1e-30, 1.0, 1e30]),
)
@settings(max_examples=25, deadline=None)
def test_any_finite_numbers_have_a_finite_separation(
    measure: object, rows: int, others: int, columns: int, *, constant: bool, scale: float
) -> None:
    assert callable(measure)
    everything = np.full((rows + others, columns), scale) if constant else normal(rows + others, columns, 0) * scale
    found = measure(everything[:rows], everything[rows:], permutations=9)
    assert isinstance(found, Separation)
    assert np.isfinite(found.value)
    assert 0 < found.p_value <= 1
    if constant:
        assert found.p_value == 1


@MEASURES
def test_wide_embeddings_are_projected_and_the_change_is_still_found(measure: object) -> None:
    assert callable(measure)
    assert standardize(normal(20, 2_000, 0)).shape == (20, 512)
    assert measure(normal(200, 2_000, 1), normal(200, 2_000, 2, 0.15)).p_value == 0.005
    assert measure(normal(200, 2_000, 1), normal(200, 2_000, 2)).p_value > 0.01


@MEASURES
def test_the_same_rows_give_the_same_numbers(measure: object) -> None:
    assert callable(measure)
    assert measure(normal(50, 3, 1), normal(50, 3, 2)) == measure(normal(50, 3, 1), normal(50, 3, 2))


WORDS = "the parcel was late and its box arrived damaged please send my money back thank you".split()  # noqa: SIM905


def write(rows: int, seed: int, words: list[str] = WORDS) -> list[str]:
    source = random.Random(seed)  # noqa: S311 - texts
    return [" ".join(source.choices(words, k=10)) for _ in range(rows)]


def test_texts_on_something_else_are_told_apart() -> None:
    others = write(200, 2, "the login of this app asks for a password and its screen stays black".split())  # noqa: SIM905
    assert separate_texts(write(200, 1), others).value > 0.95
    mixed = separate_texts(write(500, 1), [*write(350, 2), *others[:150]])
    assert (mixed.value > 0.6, mixed.p_value) == (True, 0.005)


def test_case_and_white_space_make_no_difference() -> None:
    np.testing.assert_array_equal(hash_ngrams(["  Good\n morning "]), hash_ngrams(["good MORNING"]))


def test_a_run_does_not_reach_into_the_next_text() -> None:
    np.testing.assert_array_equal(
        hash_ngrams(["abcd", "efgh"]), np.concatenate([hash_ngrams([text]) for text in ("abcd", "efgh")])
    )


def test_all_letters_count_and_an_empty_text_has_none() -> None:
    rows = hash_ngrams(["東京タワー", "Привет мир", "🤦🏼‍♂️👍", "", "   "])
    np.testing.assert_allclose(np.square(rows).sum(axis=1), [1, 1, 1, 0, 0], atol=1e-6)


def test_the_same_text_has_the_same_row_in_every_process() -> None:
    assert np.flatnonzero(hash_ngrams(["abc"])[0]).tolist() == [257, 350, 455, 926, 945, 990]
