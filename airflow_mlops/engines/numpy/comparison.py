"""Metrics with bootstrap intervals, candidate and champion on the same resamples of the same rows.

Percentile intervals: Efron and Tibshirani, *An Introduction to the Bootstrap*, chapter 13.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_mlops.domain.evaluation import METRICS, Estimate, LearningTask, MetricComparison
from airflow_mlops.engines.numpy.metrics import Array, Predictions, Weighted, metric_functions
from airflow_mlops.exceptions import EvaluationError


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
        functions[name] = metric_functions(task, truth, predictions)
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


def _why_undefined(truth: Array) -> str:
    import numpy as np

    labels = np.unique(truth)
    return f"every row has the label {labels[0]}" if len(labels) == 1 else "the target does not vary enough"


def _estimate(point: float, sample: Array, tail: float) -> Estimate:
    import numpy as np

    defined = sample[np.isfinite(sample)]  # A resample of few rows can lack a class.
    low, high = np.percentile(defined, [tail, 100 - tail]) if len(defined) else (point, point)
    return Estimate(value=float(point), low=float(low), high=float(high))
