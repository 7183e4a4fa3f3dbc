"""Significance by permutation: how often rows that are dealt out at random differ as much as the two samples do."""

from __future__ import annotations

from airflow_mlops.engines.numpy.metrics import Array

PERMUTATIONS = 199
"""The smallest p-value is 1 in 200."""


def permuted_labels(reference: int, current: int, permutations: int = PERMUTATIONS, seed: int = 0) -> Array:
    """Return which rows are current (1): one column where the first rows are the reference, and one a permutation."""
    import numpy as np

    random = np.random.default_rng(seed)
    labels = np.zeros((reference + current, 1 + permutations))
    labels[reference:, 0] = 1
    for column in range(1, 1 + permutations):
        labels[random.permutation(len(labels))[:current], column] = 1
    return labels


def permutation_p_value(statistics: Array) -> float:
    """Return the share of all columns, the first included, whose statistic is at least the first one's.

    It is right for any number of rows: Phipson and Smyth, *Permutation P-values Should Never Be Zero* (2010).
    """
    import numpy as np

    observed = statistics[0]
    return float(np.mean(statistics >= observed - 1e-12 * abs(observed)))
