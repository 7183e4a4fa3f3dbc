"""Metrics with bootstrap intervals, candidate and champion on the same resamples of the same rows.

Each metric is a function of row weights. A bootstrap sample of n rows with replacement is a vector of n counts, so what
is expensive (sorting scores, taking logarithms) happens once, and a resample costs a few passes over the rows.
Percentile intervals: Efron and Tibshirani, *An Introduction to the Bootstrap*, chapter 13.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_mlops.domain.evaluation import METRICS, Estimate, LearningTask, MetricComparison
from airflow_mlops.exceptions import EvaluationError

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The metrics of one evaluation, and what could not be computed."""

    metrics: tuple[MetricComparison, ...]
    notes: tuple[str, ...]


def compare(
    *,
    task: LearningTask,
    truth: Array,
    candidate: Predictions,
    champion: Predictions | None,
    confidence_level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Compute the task's metrics of the candidate and the champion, each with a bootstrap percentile interval.

    :param truth: the labels or numbers, one a row, none missing. Of two labels the greater one is the positive class.
    :param resamples: number of bootstrap samples; the same ones serve both models, so their difference is paired.
    :raises EvaluationError: when the rows do not match, a prediction is not finite, or the labels do not fit the task.
    """
    import numpy as np

    _check_truth(task, truth)
    scored = {"candidate": candidate} | ({"champion": champion} if champion else {})
    functions: dict[str, dict[str, Weighted]] = {}
    notes: list[str] = []
    for name, predictions in scored.items():
        _check_predictions(name, truth, predictions)
        functions[name] = _metric_functions(task, truth, predictions)
        missing = [metric.name for metric in METRICS[task] if metric.name not in functions[name]]
        if missing:
            notes.append(f"The {name} gives no probabilities, so {', '.join(missing)} cannot be computed for it.")

    keys = [(model, metric) for model, metrics in functions.items() for metric in metrics]
    ones = np.ones(len(truth))
    points = {(model, metric): functions[model][metric](ones) for model, metric in keys}
    samples = {key: np.empty(resamples) for key in keys}
    random = np.random.default_rng(seed)
    for index in range(resamples):
        weights = np.bincount(random.integers(0, len(truth), len(truth)), minlength=len(truth)).astype(float)
        for model, metric in keys:
            samples[model, metric][index] = functions[model][metric](weights)

    tail = 100 * (1 - confidence_level) / 2
    comparisons: list[MetricComparison] = []
    for known in METRICS[task]:
        ours, theirs = ("candidate", known.name), ("champion", known.name)
        if ours not in points:
            continue
        if not np.isfinite(points[ours]):
            notes.append(f"{known.name} is not defined on this holdout: {_why_undefined(truth)}.")
            continue
        both = theirs in points and bool(np.isfinite(points[theirs]))
        comparisons.append(
            MetricComparison(
                metric=known.name,
                higher_is_better=known.higher_is_better,
                candidate=_estimate(points[ours], samples[ours], tail),
                champion=_estimate(points[theirs], samples[theirs], tail) if both else None,
                difference=(
                    _estimate(points[ours] - points[theirs], samples[ours] - samples[theirs], tail) if both else None
                ),
            )
        )
    return Comparison(metrics=tuple(comparisons), notes=tuple(notes))


def _check_truth(task: LearningTask, truth: Array) -> None:
    import numpy as np

    if not len(truth):
        msg = "The holdout has no rows, so nothing can be judged."
        raise EvaluationError(msg)
    if task is LearningTask.REGRESSION:
        if truth.dtype.kind not in "fiu" or not np.isfinite(truth.astype(float)).all():
            msg = f"A regression target must be finite numbers, but the holdout's is {truth.dtype} or has NaN in it."
            raise EvaluationError(msg)
    elif truth.dtype.kind == "f" and not np.isfinite(truth).all():
        msg = "The holdout's target has NaN in it. Leave rows without a label out of the holdout."
        raise EvaluationError(msg)
    if task is LearningTask.BINARY and len(np.unique(truth)) > 2:  # noqa: PLR2004 - that is what binary means
        shown = ", ".join(map(str, np.unique(truth)[:5]))
        msg = f"A binary target has two labels, but the holdout has {len(np.unique(truth))} ({shown}, …)."
        raise EvaluationError(msg)


def _check_predictions(name: str, truth: Array, predictions: Predictions) -> None:
    import numpy as np

    for what, values in (("prediction", predictions.prediction), ("probability", predictions.probability)):
        if values is None:
            continue
        if len(values) != len(truth):
            msg = f"The {name} gave {len(values)} values of {what} for {len(truth)} rows of the holdout."
            raise EvaluationError(msg)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).sum())
            msg = f"The {name} gave {bad} values of {what} that are NaN or infinite, of {len(values)}."
            raise EvaluationError(msg)
    probability = predictions.probability
    if probability is not None and not ((probability >= 0) & (probability <= 1)).all():
        msg = f"The {name} gave probabilities outside 0 to 1: {probability.min():g} to {probability.max():g}."
        raise EvaluationError(msg)


def _metric_functions(task: LearningTask, truth: Array, predictions: Predictions) -> dict[str, Weighted]:
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


def _why_undefined(truth: Array) -> str:
    import numpy as np

    labels = np.unique(truth)
    return f"every row has the label {labels[0]}" if len(labels) == 1 else "the target does not vary enough"


def _estimate(point: float, sample: Array, tail: float) -> Estimate:
    import numpy as np

    defined = sample[np.isfinite(sample)]  # A resample of few rows can lack a class.
    low, high = np.percentile(defined, [tail, 100 - tail]) if len(defined) else (point, point)
    return Estimate(value=float(point), low=float(low), high=float(high))
