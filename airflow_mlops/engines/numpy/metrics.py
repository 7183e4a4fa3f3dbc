"""The metrics of each learning task, as functions of row weights.

A bootstrap sample of n rows with replacement is a vector of n counts, so what is expensive (sorting scores, taking
logarithms) happens once, and a resample costs a few passes over the rows. Nothing here calls BLAS: its threads would
fight over the cores that other tasks of the worker use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_mlops.domain.evaluation import METRICS, LearningTask

if TYPE_CHECKING:
    import numpy as np

Array: TypeAlias = "np.ndarray[Any, Any]"
Weighted: TypeAlias = Callable[[Array], float]
"""A metric of row weights; NaN where it is not defined, such as a ROC of one class."""
Measure: TypeAlias = Callable[[Array], dict[str, float]]
"""Metrics that are computed together, by name, of row weights."""

_CHUNK_ROWS = 65_536
"""Rows whose weights are made floats at a time: they stay in the processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What a model said about each row of the holdout."""

    prediction: Array
    probability: Array | None = None
    """Of the positive class, for binary classifiers."""


def metric_functions(task: LearningTask, truth: Array, predictions: Predictions) -> dict[str, Weighted]:
    """Return the metrics that can be computed, by name: without probabilities, those that need them are left out."""
    plain = tuple(metric.name for metric in METRICS[task] if not metric.needs_probability)
    if task is LearningTask.REGRESSION:
        return _separate(regression(truth, predictions.prediction), plain)
    functions = _separate(labelling(task, truth, predictions.prediction), plain)
    if task is LearningTask.BINARY and predictions.probability is not None:
        positive = truth == positive_label(truth, predictions.prediction)
        others = tuple(metric.name for metric in METRICS[task] if metric.needs_probability)
        functions |= _separate(scoring(positive, predictions.probability), others)
    return functions


def _separate(measure: Measure, names: Sequence[str]) -> dict[str, Weighted]:
    def one(name: str) -> Weighted:
        return lambda weights: measure(weights)[name]

    return {name: one(name) for name in names}


def regression(truth: Array, prediction: Array) -> Measure:
    """Return rmse, mae and r2."""
    import numpy as np

    actual = truth.astype(float)
    error = prediction.astype(float) - actual
    centred = actual - actual.mean()  # Sums of squares of large numbers would cancel.
    columns = (error**2, np.abs(error), centred, centred**2)

    def measure(weights: Array) -> dict[str, float]:
        rows, (squared, absolute, total, total_squared) = weighted_sums(weights, columns)
        spread = total_squared - total**2 / rows if rows else 0.0
        return {
            "rmse": (squared / rows) ** 0.5 if rows else np.nan,
            "mae": absolute / rows if rows else np.nan,
            "r2": 1 - squared / spread if spread > 0 else np.nan,
        }

    return measure


def labelling(task: LearningTask, truth: Array, prediction: Array) -> Measure:
    """Return the metrics of called labels: of two or of many."""
    if task is LearningTask.MULTICLASS:
        return _many_labels(truth, prediction)
    positive = positive_label(truth, prediction)
    return _two_labels(truth == positive, prediction == positive)


def positive_label(truth: Array, prediction: Array) -> object:
    """Return the greater of the labels that occur, which is scikit-learn's order, too."""
    label: object = max(encode(truth)[0][-1], encode(prediction)[0][-1])
    return label


def encode(*columns: Array) -> tuple[Array, Array]:
    """Return the distinct labels of all columns, in order, and the code of each row, one column after the other."""
    import numpy as np

    values = np.concatenate(columns)
    if values.dtype.kind != "O":
        return np.unique(values, return_inverse=True)
    said = values.tolist()  # Python's hash of a text is quicker than NumPy's sort of a million of them.
    labels = sorted(set(said))
    code = {label: index for index, label in enumerate(labels)}
    return np.array(labels, dtype=object), np.fromiter((code[label] for label in said), np.int64, len(said))


def _two_labels(positive: Array, called: Array) -> Measure:
    import numpy as np

    cells = positive * 2 + called

    def measure(weights: Array) -> dict[str, float]:
        quiet, alarm, miss, hit = np.bincount(cells, weights=weights, minlength=4).tolist()
        rows = quiet + alarm + miss + hit
        return {
            "accuracy": (quiet + hit) / rows if rows else np.nan,
            # scikit-learn's zero_division=0: precision without a positive call is 0, as is recall without a positive.
            "precision": hit / (hit + alarm) if hit + alarm else 0.0,
            "recall": hit / (hit + miss) if hit + miss else 0.0,
            "f1": 2 * hit / (2 * hit + alarm + miss) if hit + alarm + miss else 0.0,
        }

    return measure


def _many_labels(truth: Array, prediction: Array) -> Measure:
    import numpy as np

    labels, codes = encode(truth, prediction)
    size, rows = len(labels), len(truth)
    actual, called = codes[:rows], codes[rows:]
    right = actual == called

    def measure(weights: Array) -> dict[str, float]:
        of_label = np.bincount(actual, weights=weights, minlength=size)
        of_call = np.bincount(called, weights=weights, minlength=size)
        hits = np.bincount(actual[right], weights=weights[right], minlength=size)
        total, present, seen = of_label.sum(), of_label > 0, of_label + of_call > 0
        return {
            "accuracy": float(hits.sum() / total) if total else np.nan,
            "balanced_accuracy": float((hits[present] / of_label[present]).mean()) if total else np.nan,
            "f1_macro": float((2 * hits[seen] / (of_label + of_call)[seen]).mean()) if total else np.nan,
        }

    return measure


def scoring(positive: Array, probability: Array) -> Measure:
    """Return the metrics of probabilities of the positive class."""
    probability = probability.astype(float)
    columns = (log_losses(positive, probability), (probability - positive) ** 2)
    ranking = _ranking(positive, probability)

    def measure(weights: Array) -> dict[str, float]:
        rows, (loss, squared) = weighted_sums(weights, columns)
        return ranking(weights) | {
            "log_loss": loss / rows if rows else float("nan"),
            "brier_score": squared / rows if rows else float("nan"),
        }

    return measure


def log_losses(positive: Array, probability: Array) -> Array:
    """Return what each row costs: at most 36, as in scikit-learn, where a certain answer is wrong."""
    import numpy as np

    clipped = np.clip(probability, np.finfo(float).eps, 1 - np.finfo(float).eps)
    costs: Array = -np.where(positive, np.log(clipped), np.log1p(-clipped))
    return costs


def _ranking(positive: Array, probability: Array) -> Measure:
    """Return roc_auc (the share of pairs that are ranked rightly, ties half) and average_precision.

    For each positive row it is known how many negative rows stand below it and how many beside it, so sums of weights
    up to these positions are all that a resample needs.
    """
    import numpy as np

    order = np.argsort(probability, kind="stable")
    is_positive = positive[order]
    negatives, positives = order[~is_positive], order[is_positive]
    below = np.searchsorted(probability[negatives], probability[positives], side="left")
    upto = np.searchsorted(probability[negatives], probability[positives], side="right")
    lower = np.searchsorted(probability[positives], probability[positives], side="left")

    def measure(weights: Array) -> dict[str, float]:
        weight = weights.take(positives)
        misses, hits = _running_total(weights.take(negatives)), _running_total(weight)
        passed = misses.take(below)
        above = hits[-1] - hits.take(lower)
        called = above + (misses[-1] - passed)
        pairs = float(hits[-1]) * float(misses[-1])
        precision = np.divide(above, called, out=np.zeros(len(above)), where=called > 0)
        return {
            "roc_auc": _dot(weight, passed + misses.take(upto)) / 2 / pairs if pairs else np.nan,
            "average_precision": _dot(weight, precision) / float(hits[-1]) if hits[-1] else np.nan,
        }

    return measure


def _running_total(weights: Array) -> Array:
    """Return 0 and the sums of the first one, two, … weights."""
    import numpy as np

    total = np.zeros(len(weights) + 1, dtype=float if weights.dtype.kind == "f" else np.int64)
    np.cumsum(weights, out=total[1:])
    return total


def _dot(weights: Array, values: Array) -> float:
    import numpy as np

    return float(np.einsum("i,i->", weights.astype(float), values.astype(float)))


def weighted_sums(weights: Array, columns: Sequence[Array]) -> tuple[float, list[float]]:
    """Return the sum of the weights, and the weighted sum of each column."""
    import numpy as np

    total, sums = 0.0, [0.0] * len(columns)
    for start in range(0, len(weights), _CHUNK_ROWS):
        chunk = weights[start : start + _CHUNK_ROWS].astype(float)
        total += float(chunk.sum())
        for index, column in enumerate(columns):
            sums[index] += float(np.einsum("i,i->", chunk, column[start : start + _CHUNK_ROWS]))
    return total, sums
