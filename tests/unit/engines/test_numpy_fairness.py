"""Rates of groups agree with Fairlearn on the same data."""

from typing import Any

import fairlearn.metrics
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, mean_absolute_error

from airflow_mlops.domain.evaluation import LearningTask
from airflow_mlops.domain.fairness import DISPARITIES, FairnessColumn
from airflow_mlops.engines.numpy import Groups, Predictions, pool, rates_by_group

Array = np.ndarray[Any, Any]


def grouped(values: Array) -> Groups:
    labels, codes = np.unique(values, return_inverse=True)
    return pool("sex", codes, [str(label) for label in labels], 50)


def case(seed: int, rows: int = 600) -> tuple[Array, Array, Array]:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, rows)
    called = np.where(random.uniform(size=rows) < 0.7, truth, 1 - truth)
    return truth, called, random.choice(["f", "m", "x"], rows, p=[0.5, 0.4, 0.1])


def measured(truth: Array, called: Array, who: Array, task: LearningTask = LearningTask.BINARY) -> FairnessColumn:
    found = rates_by_group(task, truth, Predictions(prediction=called), None, grouped(who))
    return FairnessColumn.of("sex", found, min_rows=1)


@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=15)
def test_disparities_agree_with_fairlearn(seed: int) -> None:
    truth, called, who = case(seed)
    found = {item.metric: item.candidate for item in measured(truth, called, who).disparities}
    compared = 0
    for name, disparity in found.items():
        theirs = getattr(fairlearn.metrics, name.replace("accuracy_", "accuracy_score_"))
        expected = theirs(truth, called, sensitive_features=who)
        assert disparity is not None
        assert disparity.value == pytest.approx(expected), name
        compared += 1
    assert compared == sum("mae" not in name and "error" not in name for name in DISPARITIES)


def test_rates_of_each_group_agree_with_fairlearn() -> None:
    truth, called, who = case(1)
    names = ("selection_rate", "true_positive_rate", "false_positive_rate", "false_negative_rate")
    metrics = {name: getattr(fairlearn.metrics, name) for name in names} | {"accuracy": accuracy_score}
    frame = fairlearn.metrics.MetricFrame(metrics=metrics, y_true=truth, y_pred=called, sensitive_features=who)
    for group in measured(truth, called, who).groups:
        assert group.rows == (who == group.value).sum()
        ours = {name: rate.value for name, rate in group.candidate.items()}
        assert ours == pytest.approx(frame.by_group.loc[group.value].to_dict())


def test_regression_has_the_errors_of_each_group() -> None:
    random = np.random.default_rng(2)
    truth, who = random.normal(size=300), random.choice(["f", "m"], 300)
    said = truth + np.where(who == "f", 1.0, 0.0) + random.normal(size=300)
    found = measured(truth, said, who, LearningTask.REGRESSION)
    for group in found.groups:
        mask = who == group.value
        assert group.candidate["mae"].value == pytest.approx(mean_absolute_error(truth[mask], said[mask]))
        assert group.candidate["mean_error"].value == pytest.approx((said - truth)[mask].mean())
    assert {item.metric for item in found.disparities} == {"mae_difference", "mae_ratio", "mean_error_difference"}


def test_of_many_labels_there_is_accuracy() -> None:
    random = np.random.default_rng(3)
    truth, said, who = random.choice(list("abc"), 200), random.choice(list("abc"), 200), random.choice(["f", "m"], 200)
    found = measured(truth, said, who, LearningTask.MULTICLASS)
    for group in found.groups:
        mask = who == group.value
        assert group.candidate["accuracy"].value == pytest.approx(accuracy_score(truth[mask], said[mask]))
    assert {item.metric for item in found.disparities} == {"accuracy_difference", "accuracy_ratio"}


def test_champion_is_measured_on_the_same_groups() -> None:
    truth, called, who = case(4)
    both = rates_by_group(
        LearningTask.BINARY, truth, Predictions(prediction=called), Predictions(prediction=truth), grouped(who)
    )
    for group in both:
        assert group.champion is not None
        assert (group.champion["accuracy"].value, group.champion["false_negative_rate"].value) == (1.0, 0.0)


def test_a_group_without_positives_has_no_true_positive_rate_and_is_left_out_of_it() -> None:
    truth = np.array([1, 0, 1, 0, 0, 0])
    called = np.array([1, 0, 0, 0, 1, 0])
    found = measured(truth, called, np.array(list("aabbcc")))
    rate = found.groups[2].candidate["true_positive_rate"]
    assert (rate.value, rate.rows) == (None, 0)
    odds = found.disparity("equal_opportunity_difference", 1)
    assert odds is not None
    assert (odds.value, odds.lowest, odds.highest) == (1.0, "b", "a")


def test_order_of_rows_changes_nothing() -> None:
    truth, called, who = case(5)
    order = np.random.default_rng(5).permutation(len(truth))
    assert measured(truth[order], called[order], who[order]) == measured(truth, called, who)
