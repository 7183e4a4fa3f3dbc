"""Bootstrap samples: metrics of weighted rows equal scikit-learn's, and intervals cover as often as they promise."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sklearn_metrics

from airflow_mlops.domain.evaluation import Estimate, LearningTask, MetricComparison
from airflow_mlops.engines.numpy import Predictions, compare
from airflow_mlops.engines.numpy.bootstrap import views
from airflow_mlops.engines.numpy.metrics import Array, metric_functions


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(5, 300), decimals=st.sampled_from([1, 2, 12]))
def test_metrics_of_weighted_rows_equal_those_of_scikit_learn(seed: int, rows: int, decimals: int) -> None:
    random = np.random.default_rng(seed)
    truth = np.r_[0, 1, random.integers(0, 2, rows)]
    probability = np.clip(random.random(rows + 2).round(decimals), 0.0, 1.0)
    prediction = (probability > 0.5).astype(int)
    weights = np.r_[1, 1, random.poisson(1.0, rows)]
    functions = metric_functions(
        LearningTask.BINARY, truth, Predictions(prediction=prediction, probability=probability)
    )
    expected = {
        "roc_auc": sklearn_metrics.roc_auc_score(truth, probability, sample_weight=weights),
        "average_precision": sklearn_metrics.average_precision_score(truth, probability, sample_weight=weights),
        "log_loss": sklearn_metrics.log_loss(truth, probability, sample_weight=weights),
        "brier_score": sklearn_metrics.brier_score_loss(truth, probability, sample_weight=weights),
        "accuracy": sklearn_metrics.accuracy_score(truth, prediction, sample_weight=weights),
        "precision": sklearn_metrics.precision_score(truth, prediction, sample_weight=weights, zero_division=0),
        "recall": sklearn_metrics.recall_score(truth, prediction, sample_weight=weights),
        "f1": sklearn_metrics.f1_score(truth, prediction, sample_weight=weights),
    }
    assert {name: function(weights) for name, function in functions.items()} == pytest.approx(expected)


def test_rows_that_look_alike_are_one_row_with_a_count_and_vary_as_before() -> None:
    random = np.random.default_rng(5)
    truth = random.choice(np.array(["a", "b", "c"]), 900)
    prediction = np.where(random.random(900) < 0.7, truth, "a")
    (view,) = views(LearningTask.MULTICLASS, truth, {"candidate": Predictions(prediction=prediction)})
    assert len(view.counts) <= 9
    assert view.counts.sum() == 900
    accuracy = view.sample(2000, seed=1)["candidate", "accuracy"]
    share = float((truth == prediction).mean())
    assert accuracy.mean() == pytest.approx(share, abs=0.002)
    assert accuracy.std() == pytest.approx(math.sqrt(share * (1 - share) / 900), rel=0.08)


def test_resample_counts_sum_to_the_rows_of_the_holdout() -> None:
    truth = np.arange(2000) % 2
    scores = Predictions(prediction=truth, probability=np.linspace(0, 1, 2000))
    seen = []
    for view in views(LearningTask.BINARY, truth, {"candidate": scores}):
        weights = view._draw(np.random.default_rng(3))
        seen.append(int(weights.sum()))
        assert weights.max() > 1
    assert seen == [2000, 2000]


def covered(trials: int, promised: float, look: Callable[[int], tuple[Estimate, float]]) -> None:
    """Check how often an interval contains the truth, within what a percentile bootstrap of so few rows may lack.

    Four standard errors of a binomial, and 2 % for the interval's own first-order error.
    """
    hits = 0
    for trial in range(trials):
        found, actual = look(trial)
        hits += found.low <= actual <= found.high
    tolerance = 4 * math.sqrt(promised * (1 - promised) / trials) + 0.02
    assert abs(hits / trials - promised) < tolerance, f"{hits} of {trials} intervals at {promised:.0%} hold the truth"


def by_name(found: tuple[MetricComparison, ...], name: str) -> MetricComparison:
    return next(item for item in found if item.metric == name)


def binormal(random: np.random.Generator, rows: int, *strengths: float) -> tuple[Array, list[Predictions]]:
    """Return labels and scores whose true areas are known: those of two normals, half of them of shared noise."""
    truth = np.r_[0, 1, (random.random(rows - 2) < 0.4).astype(int)]
    shared = random.normal(size=rows)
    models = []
    for strength in strengths:
        score = truth * strength + (shared + random.normal(size=rows)) / math.sqrt(2)
        probability = 1 / (1 + np.exp(-score))
        models.append(Predictions(prediction=(score > strength / 2).astype(int), probability=probability))
    return truth, models


def true_area(strength: float) -> float:
    return float(stats.norm.cdf(strength / math.sqrt(2)))


def test_intervals_of_a_mean_cover_as_promised() -> None:
    def look(trial: int) -> tuple[Estimate, float]:
        random = np.random.default_rng(trial)
        truth = random.normal(size=250)
        said = Predictions(prediction=truth + random.exponential(2.0, 250))
        found = compare(
            task=LearningTask.REGRESSION,
            truth=truth,
            candidate=said,
            champion=None,
            resamples=200,
            confidence_level=0.9,
        )
        return by_name(found.metrics, "mae").candidate, 2.0

    covered(200, 0.9, look)


def test_intervals_of_accuracy_cover_as_promised() -> None:
    def look(trial: int) -> tuple[Estimate, float]:
        random = np.random.default_rng(trial)
        truth = random.integers(0, 3, 400)
        said = np.where(random.random(400) < 0.8, truth, (truth + 1) % 3)
        found = compare(
            task=LearningTask.MULTICLASS,
            truth=truth,
            candidate=Predictions(prediction=said),
            champion=None,
            resamples=200,
        )
        return by_name(found.metrics, "accuracy").candidate, 0.8

    covered(200, 0.95, look)


def test_intervals_of_roc_auc_cover_as_promised() -> None:
    def look(trial: int) -> tuple[Estimate, float]:
        truth, (model,) = binormal(np.random.default_rng(trial), 250, 1.0)
        found = compare(
            task=LearningTask.BINARY, truth=truth, candidate=model, champion=None, resamples=200, confidence_level=0.9
        )
        return by_name(found.metrics, "roc_auc").candidate, true_area(1.0)

    covered(200, 0.9, look)


def test_intervals_of_a_paired_difference_cover_as_promised() -> None:
    def look(trial: int) -> tuple[Estimate, float]:
        truth, (ours, theirs) = binormal(np.random.default_rng(trial), 250, 1.2, 0.9)
        found = compare(task=LearningTask.BINARY, truth=truth, candidate=ours, champion=theirs, resamples=200)
        difference = by_name(found.metrics, "roc_auc").difference
        assert difference is not None
        return difference, true_area(1.2) - true_area(0.9)

    covered(200, 0.95, look)
