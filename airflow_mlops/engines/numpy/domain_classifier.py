"""Two samples of rows, told apart by a classifier: the better it can, the further they are from each other."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_mlops.engines.numpy.metrics import Array
from airflow_mlops.engines.numpy.permutations import PERMUTATIONS, permutation_p_value, permuted_labels
from airflow_mlops.engines.numpy.random_features import fourier_features, median_distance, standardize

_FOLDS = 5
_ROUNDING = 1e-10
"""What is left of a constant after its mean is taken off, as a share of it, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """How far two samples are from each other."""

    value: float
    p_value: float
    """The chance of such a value where both samples come from the same source."""


def separate_vectors(
    reference: Array, current: Array, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> Separation:
    """Tell two samples of embeddings apart: the area under the ROC curve, 0.5 where nothing tells them.

    The classifier sees the standardized numbers, which tell that a mean has moved, and random Fourier features of
    them, which tell that the spread or the shape has changed. Time and memory grow with the rows, not their square.

    :param reference: rows by numbers, all finite.
    :param current: as many numbers a row.
    """
    import numpy as np

    rows = standardize(np.concatenate([reference, current]), seed)
    kernel = fourier_features(rows, median_distance(rows, seed), seed=seed)
    features = np.hstack([rows / np.sqrt(max(rows.shape[1], 1)), kernel * np.sqrt(2)])
    return separate(features, len(reference), permutations=permutations, seed=seed)


def separate(features: Array, reference: int, *, permutations: int = PERMUTATIONS, seed: int = 0) -> Separation:
    """Return how well ridge regression tells the first ``reference`` rows from the rest, on rows that it has not seen.

    The AUC is that of five folds together, pairs of rows of one fold only. Ridge regression is linear in the labels,
    so that all permutations of them are solved at once; their p-value holds for any number of rows, since folds and
    penalty do not depend on the labels. The penalty is the mean variance of a feature.
    """
    import numpy as np

    labels = permuted_labels(reference, len(features) - reference, permutations, seed)
    largest = np.abs(features).max(axis=0, initial=0)
    features = features - features.mean(axis=0)
    features[:, np.abs(features).max(axis=0, initial=0) <= _ROUNDING * largest] = 0  # A constant tells nothing.
    width = features.shape[1]
    if len(features) < width:
        features = _rotated(features)
    fold = np.random.default_rng(seed + 1).permutation(len(features)) % _FOLDS
    squares, products = features.T @ features, features.T @ labels
    wins, pairs = np.zeros(labels.shape[1]), np.zeros(labels.shape[1])
    for number in range(_FOLDS):
        held, held_labels = features[fold == number], labels[fold == number]
        rows = max(len(features) - len(held), 1)
        mean = -held.sum(axis=0) / rows  # of the other folds: all rows together have a mean of 0
        share = (labels.sum(axis=0) - held_labels.sum(axis=0)) / rows
        spread = squares - held.T @ held - rows * np.outer(mean, mean)
        penalty = max(float(np.trace(spread)) / width, np.finfo(np.float64).tiny)
        weights = np.linalg.solve(
            spread + penalty * np.eye(len(spread)), products - held.T @ held_labels - rows * np.outer(mean, share)
        )
        won, of = _won_pairs(held @ weights, held_labels)
        wins, pairs = wins + won, pairs + of
    with np.errstate(invalid="ignore"):
        areas = np.where(pairs > 0, wins / pairs, 0.5)
    return Separation(value=float(areas[0]), p_value=permutation_p_value(areas))


def _rotated(features: Array) -> Array:
    """Return as many columns as rows, with the same inner products of rows: to ridge regression it is the same."""
    import numpy as np

    squares, directions = np.linalg.eigh((features @ features.T).astype(np.float64))
    rotated: Array = directions * np.sqrt(np.maximum(squares, 0))
    return rotated


def _won_pairs(scores: Array, labels: Array) -> tuple[Array, Array]:
    """Return by column in how many pairs the current row has the higher score, a tie as a half, and of how many."""
    import numpy as np
    from scipy.stats import rankdata

    current = labels.sum(axis=0)
    ranks = rankdata(np.round(scores, 12), axis=0)
    return (ranks * labels).sum(axis=0) - current * (current + 1) / 2, current * (len(labels) - current)
