"""The metrics of each learning task, as functions of row weights.

A bootstrap sample of n rows with replacement is a vector of n counts, so what is expensive (sorting scores, taking
logarithms) happens once, and a resample costs a few passes over the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_mlops.domain.evaluation import LearningTask

if TYPE_CHECKING:
    import numpy as np

Array: TypeAlias = "np.ndarray[Any, Any]"
Weighted: TypeAlias = Callable[[Array], float]
"""A metric of row weights; NaN where it is not defined, such as a ROC of one class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What a model said about each row of the holdout."""

    prediction: Array
    probability: Array | None = None
    """Of the positive class, for binary classifiers."""


def metric_functions(task: LearningTask, truth: Array, predictions: Predictions) -> dict[str, Weighted]:
    """Return the metrics that can be computed, by name: without probabilities, those that need them are left out."""
    if task is LearningTask.REGRESSION:
        return _regression(truth, predictions.prediction)
    if task is LearningTask.MULTICLASS:
        return _multiclass(truth, predictions.prediction)
    return _binary(truth, predictions)


def _regression(truth: Array, prediction: Array) -> dict[str, Weighted]:
    import numpy as np

    truth = truth.astype(float)
    error = prediction.astype(float) - truth
    squared, absolute, truth_squared = error**2, np.abs(error), truth**2

    def r2(weights: Array) -> float:
        total = weights.sum()
        spread = weights @ truth_squared - (weights @ truth) ** 2 / total
        return float(1 - weights @ squared / spread) if spread > 0 else float("nan")

    return {
        "rmse": lambda weights: float(np.sqrt(weights @ squared / weights.sum())),
        "mae": lambda weights: float(weights @ absolute / weights.sum()),
        "r2": r2,
    }


def _multiclass(truth: Array, prediction: Array) -> dict[str, Weighted]:
    import numpy as np

    labels, codes = np.unique(np.concatenate([truth, prediction]), return_inverse=True)
    size = len(labels)
    cells = codes[: len(truth)] * size + codes[len(truth) :]

    def confusion(weights: Array) -> Array:
        return np.bincount(cells, weights=weights, minlength=size * size).reshape(size, size)

    def balanced_accuracy(weights: Array) -> float:
        matrix = confusion(weights)
        present = matrix.sum(axis=1) > 0
        return float((matrix.diagonal()[present] / matrix.sum(axis=1)[present]).mean())

    def f1_macro(weights: Array) -> float:
        matrix = confusion(weights)
        both = matrix.sum(axis=0) + matrix.sum(axis=1)
        seen = both > 0
        return float((2 * matrix.diagonal()[seen] / both[seen]).mean())

    return {
        "accuracy": lambda weights: float(confusion(weights).trace() / weights.sum()),
        "balanced_accuracy": balanced_accuracy,
        "f1_macro": f1_macro,
    }


def _binary(truth: Array, predictions: Predictions) -> dict[str, Weighted]:
    import numpy as np

    labels = np.unique(np.concatenate([truth, predictions.prediction]))
    positive = truth == labels[-1]
    called = predictions.prediction == labels[-1]
    hit, right = (positive & called).astype(float), (positive == called).astype(float)

    def ratio(over: Array) -> Weighted:
        # scikit-learn's zero_division=0: precision without a positive call is 0, as is recall without a positive.
        def value(weights: Array) -> float:
            total = weights @ over
            return float(weights @ hit / total) if total else 0.0

        return value

    functions: dict[str, Weighted] = {
        "accuracy": lambda weights: float(weights @ right / weights.sum()),
        "precision": ratio(called.astype(float)),
        "recall": ratio(positive.astype(float)),
        "f1": ratio((positive.astype(float) + called.astype(float)) / 2),
    }
    if predictions.probability is not None:
        functions |= _ranking(positive, predictions.probability.astype(float))
    return functions


def _ranking(positive: Array, probability: Array) -> dict[str, Weighted]:
    import numpy as np

    order = np.argsort(-probability, kind="stable")
    ranked = positive[order].astype(float)
    # Rows of equal score are one step of the curve; `steps` are the positions where a new score begins.
    steps = np.flatnonzero(np.r_[True, np.diff(probability[order]) != 0])
    clipped = np.clip(probability, np.finfo(float).eps, 1 - np.finfo(float).eps)
    loss = -np.where(positive, np.log(clipped), np.log1p(-clipped))
    squared = (probability - positive) ** 2

    def curve(weights: Array) -> tuple[Array, Array]:
        sorted_weights = weights[order]
        hits = np.add.reduceat(sorted_weights * ranked, steps)
        return hits, np.add.reduceat(sorted_weights, steps) - hits

    def roc_auc(weights: Array) -> float:
        hits, misses = curve(weights)
        pairs = hits.sum() * misses.sum()
        below = misses.sum() - np.cumsum(misses) + misses / 2
        return float(hits @ below / pairs) if pairs else float("nan")

    def average_precision(weights: Array) -> float:
        hits, misses = curve(weights)
        called = np.cumsum(hits + misses)
        precision = np.divide(np.cumsum(hits), called, out=np.zeros_like(called), where=called > 0)
        return float(hits @ precision / hits.sum()) if hits.sum() else float("nan")

    return {
        "roc_auc": roc_auc,
        "average_precision": average_precision,
        "log_loss": lambda weights: float(weights @ loss / weights.sum()),
        "brier_score": lambda weights: float(weights @ squared / weights.sum()),
    }
