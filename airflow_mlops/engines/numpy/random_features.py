"""Random Fourier features: rows whose inner products are, on average, a Gaussian kernel.

Rahimi and Recht, *Random Features for Large-Scale Kernel Machines* (2007). What would need a matrix of all pairs of
rows needs one of rows by features.
"""

from __future__ import annotations

from airflow_mlops.engines.numpy.metrics import Array

FREQUENCIES = 128
"""Each makes two features, a cosine and a sine."""
MOST_COLUMNS = 512
"""Wider rows are projected to so many random directions, which keeps their distances to within some percent."""
_ROWS_OF_MEDIAN = 1_000


def standardize(rows: Array, seed: int = 0) -> Array:
    """Return rows with a mean of 0 and a standard deviation of 1 in each column, and at most :data:`MOST_COLUMNS`.

    Constant columns become 0.
    """
    import numpy as np

    scaled: Array = rows.astype(np.float64)
    scaled -= scaled.mean(axis=0)
    spread = scaled.std(axis=0)
    scaled /= np.where(spread > 0, spread, 1)
    if scaled.shape[1] <= MOST_COLUMNS:
        return scaled
    directions = np.random.default_rng(seed).normal(size=(scaled.shape[1], MOST_COLUMNS)) / np.sqrt(MOST_COLUMNS)
    projected: Array = scaled @ directions
    return projected


def median_distance(rows: Array, seed: int = 0) -> float:
    """Return the median of the squared distances of pairs among a thousand rows; 1 where all rows are the same."""
    import numpy as np

    chosen = rows[np.random.default_rng(seed).permutation(len(rows))[:_ROWS_OF_MEDIAN]]
    squares = np.square(chosen).sum(axis=1)
    pairs = squares[:, None] + squares[None, :] - 2 * chosen @ chosen.T
    median = float(np.median(pairs[np.triu_indices(len(chosen), 1)])) if len(chosen) > 1 else 0.0
    return median if median > np.finfo(np.float64).eps * float(squares.max()) else 1.0


def fourier_features(rows: Array, squared_width: float, frequencies: int = FREQUENCIES, seed: int = 0) -> Array:
    """Return features whose inner products estimate ``exp(-|x - y|² / squared_width)``; each row has the length 1."""
    import numpy as np

    random = np.random.default_rng(seed)
    angles = rows @ (random.normal(size=(rows.shape[1], frequencies)) * np.sqrt(2 / squared_width))
    features: Array = np.hstack([np.cos(angles), np.sin(angles)]) / np.sqrt(frequencies)
    return features
