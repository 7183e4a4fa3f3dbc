"""The split of a change into concept drift and data drift, on data whose cause is known."""

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder

from airflow_mlops.domain.evaluation import METRICS, LearningTask
from airflow_mlops.domain.performance import Cause, metric_of
from airflow_mlops.engines.numpy import Predictions, bin_numbers
from airflow_mlops.engines.numpy.concept import _fit, find_cause
from airflow_mlops.engines.numpy.groups import Groups
from airflow_mlops.engines.numpy.known import KnownRows

ROWS = 4000
Column = Any


def chance(x: Column) -> Column:
    return 1 / (1 + np.exp(-x))


def rows(seed: int, *, mean: float = 0.0, spread: float = 1.5, slope: float = 1.0) -> tuple[Column, KnownRows]:
    random = np.random.default_rng(seed)
    x = random.normal(mean, spread, ROWS)
    truth = (random.uniform(size=ROWS) < chance(slope * x)).astype(int)
    return x, KnownRows(truth=truth, predictions=Predictions(prediction=(x > 0).astype(int), probability=chance(x)))


def cause(
    window: tuple[Column, KnownRows],
    *,
    metric: str = "roc_auc",
    task: LearningTask = LearningTask.BINARY,
    holdout: tuple[Column, KnownRows] | None = None,
) -> Cause:
    before = holdout or rows(1)
    noise = np.random.default_rng(9).normal(size=2 * ROWS)
    columns = [
        bin_numbers("x", np.concatenate([before[0], window[0]]), 10, "(missing)"),
        bin_numbers("noise", noise, 10, "(missing)"),
    ]
    found = find_cause(
        metric=metric_of(task, metric), task=task, holdout=before[1], window=window[1], columns=columns, resamples=60
    )
    assert found is not None
    return found


def test_nothing_that_changed_has_no_cause() -> None:
    found = cause(rows(2))
    assert found.concept.low < 0 < found.concept.high
    assert found.overlap > 0.95
    assert found.separation == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("metric", [metric.name for metric in METRICS[LearningTask.BINARY]])
def test_other_meaning_of_the_same_inputs_is_concept_drift_by_every_metric(metric: str) -> None:
    found = cause(rows(3, slope=0.2), metric=metric)
    assert found.concept.high < 0
    assert abs(found.inputs.value) < abs(found.concept.value) / 5
    assert found.change.value == pytest.approx(found.concept.value + found.inputs.value)


@pytest.mark.parametrize("metric", ["roc_auc", "brier_score", "accuracy", "log_loss"])
def test_harder_inputs_are_data_drift(metric: str) -> None:
    found = cause(rows(4, spread=0.7), metric=metric)
    assert found.inputs.high < 0
    assert abs(found.concept.value) < abs(found.inputs.value) / 3


def test_both_are_told_apart_when_both_happen() -> None:
    found = cause(rows(5, spread=0.7, slope=0.3))
    assert found.concept.high < 0
    assert found.inputs.high < 0


def test_inputs_that_are_apart_leave_no_overlap() -> None:
    assert cause(rows(6, mean=12.0, slope=0.0)).overlap < 0.05


def test_errors_of_numbers_have_causes_too() -> None:
    random = np.random.default_rng(7)
    x, later = random.normal(size=ROWS), random.normal(size=ROWS)

    def said(values: Column, slope: float, of: Column) -> KnownRows:
        truth = slope * values + of.normal(size=ROWS)
        return KnownRows(truth=truth, predictions=Predictions(prediction=2.0 * values))

    holdout = x, said(x, 2.0, random)
    found = cause((later, said(later, 3.0, random)), metric="mae", task=LearningTask.REGRESSION, holdout=holdout)
    assert found.change.value < 0
    assert found.concept.high < 0


def test_false_alarms_of_concept_drift_are_as_rare_as_their_level() -> None:
    alarms = sum(cause(rows(2 * seed + 10), holdout=rows(2 * seed + 11)).concept.high < 0 for seed in range(10))
    assert alarms <= 2  # 2.5 % of 10 below zero; more than 2 has a chance of 0.2 %


def test_classifier_is_the_logistic_regression_of_the_field() -> None:
    random = np.random.default_rng(8)
    codes = random.integers(0, 5, size=(2, 3000)).astype(np.uint8)
    is_window = random.uniform(size=3000) < chance(0.5 * codes[0] - 0.3 * codes[1] - 1.2)
    columns = [Groups(column=name, codes=code, labels=tuple("abcde")) for name, code in zip("xy", codes, strict=True)]
    ours = _fit(list(codes), columns, is_window)
    encoded = OneHotEncoder().fit_transform(codes.T)
    weights = np.where(is_window, 0.5 / is_window.mean(), 0.5 / (1 - is_window.mean()))
    theirs = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(encoded, is_window, sample_weight=weights)
    assert ours[1:] == pytest.approx(theirs.coef_[0], abs=2e-3)
    assert ours[0] == pytest.approx(theirs.intercept_[0], abs=2e-3)


def paired(seed: int, correlation: float) -> tuple[list[Column], KnownRows]:
    """Return two inputs of unchanging distributions, and a model that knows nothing of what they do together."""
    random = np.random.default_rng(seed)
    first, second = random.normal(size=(2, ROWS))
    second = correlation * first + np.sqrt(1 - correlation**2) * second
    truth = (random.uniform(size=ROWS) < chance(first + first * second)).astype(int)
    said = Predictions(prediction=(first > 0).astype(int), probability=chance(first))
    return [first, second], KnownRows(truth=truth, predictions=said)


@pytest.mark.parametrize(("correlation", "told"), [(0.0, ()), (-0.5, ("x with y",))])
def test_columns_that_go_together_otherwise_are_told(correlation: float, told: tuple[str, ...]) -> None:
    (before, holdout), (now, window) = paired(1, 0.0), paired(2, correlation)
    columns = [
        bin_numbers(name, np.concatenate(pair), 10, "(missing)")
        for name, pair in zip("xy", zip(before, now, strict=True), strict=True)
    ]
    metric = metric_of(LearningTask.BINARY, "log_loss")
    found = find_cause(
        metric=metric, task=LearningTask.BINARY, holdout=holdout, window=window, columns=columns, resamples=20
    )
    assert found is not None
    assert found.together == told
