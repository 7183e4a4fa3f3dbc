"""Performance without labels: right where probabilities come true as before, and blind where they do not."""

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.isotonic import IsotonicRegression

from airflow_mlops.domain.evaluation import METRICS, Estimate, LearningTask
from airflow_mlops.engines.numpy.estimate import Calibration, calibrate, estimate_metrics

Column = Any


def chance(x: Column) -> Column:
    return 1 / (1 + np.exp(-x))


def answers(seed: int, rows: int = 3000, *, spread: float = 1.5, slope: float = 0.6) -> tuple[Column, Column]:
    """Return probabilities of a model that is too sure of itself, and what came true."""
    random = np.random.default_rng(seed)
    x = random.normal(0, spread, rows)
    return chance(x), random.uniform(size=rows) < chance(slope * x)


def estimate(probability: Column, *, holdout: int = 0, resamples: int = 60, rows: int = 3000) -> dict[str, Estimate]:
    said, came_true = answers(holdout, rows)
    return estimate_metrics(
        probability=probability,
        called=probability > 0.5,
        holdout_probability=said,
        holdout_positive=came_true,
        resamples=resamples,
    )


def measured(probability: Column, came_true: Column) -> dict[str, float]:
    called = probability > 0.5
    return {
        "roc_auc": sk.roc_auc_score(came_true, probability),
        "average_precision": sk.average_precision_score(came_true, probability),
        "log_loss": sk.log_loss(came_true, probability),
        "brier_score": sk.brier_score_loss(came_true, probability),
        "accuracy": sk.accuracy_score(came_true, called),
        "precision": sk.precision_score(came_true, called),
        "recall": sk.recall_score(came_true, called),
        "f1": sk.f1_score(came_true, called),
    }


def calibration(said: Any, came_true: Any) -> Calibration:
    different, place = np.unique(said, return_inverse=True)
    return calibrate(different, place, came_true.astype(float), np.ones(len(said)))


def test_calibration_is_scikit_learns_isotonic_regression() -> None:
    said, came_true = answers(1, 800)
    asked = np.linspace(0, 1, 101)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(said, came_true).predict(asked)
    assert calibration(said, came_true)(asked) == pytest.approx(theirs)


@pytest.mark.parametrize("spread", [0.5, 1.5, 3.0])
def test_estimate_holds_the_truth_of_other_inputs_with_the_same_meaning(spread: float) -> None:
    probability, came_true = answers(2, spread=spread)
    found = estimate(probability)
    assert set(found) == {metric.name for metric in METRICS[LearningTask.BINARY]}
    for name, value in measured(probability, came_true).items():
        wide = 2 * (found[name].high - found[name].low)
        assert found[name].low - wide / 4 <= value <= found[name].high + wide / 4, name


def test_interval_covers_what_comes_true() -> None:
    covered = 0
    for seed in range(20):
        probability, came_true = answers(100 + seed, 1000)
        found = estimate(probability, holdout=200 + seed, resamples=80, rows=1000)["roc_auc"]
        covered += found.low <= sk.roc_auc_score(came_true, probability) <= found.high
    assert covered >= 16  # of 20 at 95 %; fewer have a chance of 0.3 %


def test_expected_values_are_the_mean_over_everything_that_may_come_true() -> None:
    probability, _ = answers(3, 400)
    said, before = answers(0)
    random = np.random.default_rng(4)
    chances = calibration(said, before)(probability)
    drawn = [measured(probability, random.uniform(size=400) < chances) for _ in range(100)]
    found = estimate(probability, resamples=1)
    for name in ("roc_auc", "brier_score", "log_loss", "accuracy", "recall"):
        values = [item[name] for item in drawn]
        assert found[name].value == pytest.approx(np.mean(values), abs=4 * np.std(values) / 100**0.5 + 0.002), name


def test_estimate_does_not_see_that_the_same_probabilities_come_true_otherwise() -> None:
    probability, came_true = answers(5, slope=0.1)
    found = estimate(probability)["roc_auc"]
    assert found.low > sk.roc_auc_score(came_true, probability) + 0.1


def test_holdout_of_one_answer_for_all_gives_no_area() -> None:
    found = estimate_metrics(
        probability=np.full(50, 0.5),
        called=np.ones(50, dtype=bool),
        holdout_probability=np.full(50, 0.5),
        holdout_positive=np.arange(50) % 2 == 0,
        resamples=10,
    )
    assert found["roc_auc"].value == pytest.approx(0.5, abs=0.01)
    assert found["accuracy"].value == pytest.approx(0.5)
