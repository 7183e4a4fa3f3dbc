"""Maximum mean discrepancy: how far two samples are from each other by the means of a kernel's features.

Gretton et al., *A Kernel Two-Sample Test* (2012). The kernel is ``exp(-|x - y|² / m)`` with the median ``m`` of the
squared distances, as Evidently has it; in place of all pairs of rows, random Fourier features are summed.
"""

from __future__ import annotations

from airflow_mlops.engines.numpy.domain_classifier import Separation
from airflow_mlops.engines.numpy.metrics import Array
from airflow_mlops.engines.numpy.permutations import PERMUTATIONS, permutation_p_value, permuted_labels
from airflow_mlops.engines.numpy.random_features import fourier_features, median_distance, standardize

FREQUENCIES = 512
"""The standard error that they leave in the squared discrepancy of equal samples vanishes with the rows' own."""


def measure_discrepancy(
    reference: Array, current: Array, *, permutations: int = PERMUTATIONS, seed: int = 0, frequencies: int = FREQUENCIES
) -> Separation:
    """Return the unbiased estimate of the squared discrepancy, about 0 for equal data and at most 2.

    Time and memory grow with the rows, not with their square.

    :param reference: rows by numbers, all finite; at least two.
    :param current: as many numbers a row; at least two.
    """
    import numpy as np

    rows = standardize(np.concatenate([reference, current]), seed)
    features = fourier_features(rows, median_distance(rows, seed), frequencies, seed)
    labels = permuted_labels(len(reference), len(current), permutations, seed)
    now = features.T @ labels
    before = features.sum(axis=0)[:, None] - now
    values = (
        _mean_of_pairs(before, len(reference))
        + _mean_of_pairs(now, len(current))
        - 2 * (before * now).sum(axis=0) / (len(reference) * len(current))
    )
    return Separation(value=float(values[0]), p_value=permutation_p_value(values))


def _mean_of_pairs(sums: Array, rows: int) -> Array:
    """Return the mean inner product of two different rows, whose own products are 1 each."""
    import numpy as np

    means: Array = (np.square(sums).sum(axis=0) - rows) / (rows * (rows - 1))
    return means
