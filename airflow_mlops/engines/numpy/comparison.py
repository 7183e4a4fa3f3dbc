"""Candidate and champion on the same rows: metrics with bootstrap intervals, their difference, and what it is worth."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_mlops.domain.evaluation import METRICS, Estimate, LearningTask, Metric, MetricComparison, PairedTest
from airflow_mlops.engines.numpy.bootstrap import views
from airflow_mlops.engines.numpy.checks import check_predictions, check_truth, peculiarities
from airflow_mlops.engines.numpy.metrics import Array, Predictions
from airflow_mlops.engines.numpy.significance import bootstrap_test, paired_tests


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
    models = {"candidate": candidate} | ({"champion": champion} if champion else {})
    check_truth(task, truth)
    for role, predictions in models.items():
        check_predictions(role, task, truth, predictions)

    points: dict[tuple[str, str], float] = {}
    samples: dict[tuple[str, str], Array] = {}
    for view in views(task, truth, models):
        points |= view.points
        samples |= view.sample(resamples, seed)
    tests = paired_tests(task, truth, candidate, champion) if champion else {}
    found = _Found(points=points, samples=samples, tests=tests, tail=100 * (1 - confidence_level) / 2)
    return Comparison(
        metrics=tuple(item for metric in METRICS[task] if (item := found.compare(metric)) is not None),
        notes=(*peculiarities(task, models), *_undefined(task, truth, points)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Everything that was computed, by role and metric."""

    points: dict[tuple[str, str], float]
    samples: dict[tuple[str, str], Array]
    tests: dict[str, PairedTest]
    tail: float
    """Percent below the interval, and above."""

    def compare(self, metric: Metric) -> MetricComparison | None:
        ours, theirs = ("candidate", metric.name), ("champion", metric.name)
        if not self.has(ours):
            return None
        candidate = self.estimate(self.points[ours], self.samples[ours])
        if not self.has(theirs):
            return MetricComparison(metric=metric.name, higher_is_better=metric.higher_is_better, candidate=candidate)
        change = self.samples[ours] - self.samples[theirs]
        return MetricComparison(
            metric=metric.name,
            higher_is_better=metric.higher_is_better,
            candidate=candidate,
            champion=self.estimate(self.points[theirs], self.samples[theirs]),
            difference=self.estimate(self.points[ours] - self.points[theirs], change),
            test=self.tests.get(metric.name) or bootstrap_test(change),
        )

    def has(self, key: tuple[str, str]) -> bool:
        import numpy as np

        return key in self.points and bool(np.isfinite(self.points[key]))

    def estimate(self, point: float, sample: Array) -> Estimate:
        import numpy as np

        defined = sample[np.isfinite(sample)]  # A resample of few rows can lack a class.
        low, high = np.percentile(defined, [self.tail, 100 - self.tail]) if len(defined) else (point, point)
        return Estimate(value=float(point), low=float(low), high=float(high))


def _undefined(task: LearningTask, truth: Array, points: dict[tuple[str, str], float]) -> list[str]:
    import numpy as np

    names = [metric.name for metric in METRICS[task] if not np.isfinite(points.get(("candidate", metric.name), 0.0))]
    why = f"every row's truth is {truth[0]}" if len(truth) and (truth == truth[0]).all() else "there are too few rows"
    return [f"{name} is not defined on this holdout: {why}." for name in names]
