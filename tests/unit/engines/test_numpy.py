"""Metrics equal scikit-learn's, intervals cover what they promise, and what cannot be judged says why."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from airflow_mlops.domain.evaluation import METRICS, LearningTask
from airflow_mlops.engines.numpy import Predictions, compare
from airflow_mlops.exceptions import EvaluationError


def values(**arguments: Any) -> dict[str, float]:
    found = compare(champion=None, resamples=2, **arguments)
    return {item.metric: item.candidate.value for item in found.metrics}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(5, 200), decimals=st.sampled_from([1, 3, 12]))
def test_binary_metrics_equal_those_of_scikit_learn(seed: int, rows: int, decimals: int) -> None:
    random = np.random.default_rng(seed)
    truth = np.r_[0, 1, random.integers(0, 2, rows)]
    probability = np.clip(random.random(rows + 2).round(decimals), 0.0, 1.0)
    prediction = (probability > 0.5).astype(int)
    found = values(
        task=LearningTask.BINARY, truth=truth, candidate=Predictions(prediction=prediction, probability=probability)
    )
    expected = {
        "roc_auc": sklearn_metrics.roc_auc_score(truth, probability),
        "average_precision": sklearn_metrics.average_precision_score(truth, probability),
        "log_loss": sklearn_metrics.log_loss(truth, probability),
        "brier_score": sklearn_metrics.brier_score_loss(truth, probability),
        "accuracy": sklearn_metrics.accuracy_score(truth, prediction),
        "precision": sklearn_metrics.precision_score(truth, prediction, zero_division=0),
        "recall": sklearn_metrics.recall_score(truth, prediction),
        "f1": sklearn_metrics.f1_score(truth, prediction),
    }
    assert found == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(10, 200))
def test_multiclass_metrics_equal_those_of_scikit_learn(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.choice(np.array(["a", "b", "c"]), rows)
    prediction = np.where(random.random(rows) < 0.6, truth, random.permutation(truth))
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(truth, prediction),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(truth, prediction),
        "f1_macro": sklearn_metrics.f1_score(truth, prediction, average="macro"),
    }
    found = values(task=LearningTask.MULTICLASS, truth=truth, candidate=Predictions(prediction=prediction))
    assert found == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(3, 200))
def test_regression_metrics_equal_those_of_scikit_learn(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.normal(100, 20, rows)
    prediction = truth + random.normal(0, 5, rows)
    expected = {
        "rmse": sklearn_metrics.root_mean_squared_error(truth, prediction),
        "mae": sklearn_metrics.mean_absolute_error(truth, prediction),
        "r2": sklearn_metrics.r2_score(truth, prediction),
    }
    found = values(task=LearningTask.REGRESSION, truth=truth, candidate=Predictions(prediction=prediction))
    assert found == pytest.approx(expected, rel=1e-6)


def test_every_metric_that_a_policy_may_name_is_computed() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 50)
    everything = Predictions(prediction=truth, probability=random.random(50))
    for task, known in METRICS.items():
        assert set(values(task=task, truth=truth, candidate=everything)) == {metric.name for metric in known}


def test_difference_is_paired_so_it_is_narrower_than_its_parts() -> None:
    random = np.random.default_rng(2)
    truth = random.integers(0, 2, 400)
    champion = np.where(random.random(400) < 0.7, truth, 1 - truth)
    candidate = champion.copy()
    wrong = np.flatnonzero(champion != truth)[:20]
    candidate[wrong] = truth[wrong]
    found = compare(
        task=LearningTask.MULTICLASS,
        truth=truth,
        candidate=Predictions(prediction=candidate),
        champion=Predictions(prediction=champion),
        resamples=300,
    ).metrics[0]
    assert found.difference is not None
    assert found.difference.value == pytest.approx(20 / 400)
    assert found.difference.low > 0
    assert found.difference.high - found.difference.low < found.candidate.high - found.candidate.low


def test_same_model_differs_by_nothing() -> None:
    truth = np.array([0, 1, 1, 0, 1, 0])
    same = Predictions(prediction=truth[::-1].copy(), probability=np.linspace(0, 1, 6))
    for item in compare(task=LearningTask.BINARY, truth=truth, candidate=same, champion=same, resamples=20).metrics:
        assert item.difference is not None
        assert (item.difference.value, item.difference.low, item.difference.high) == (0, 0, 0)


def test_regression_target_that_never_changes_has_no_r2_and_says_so() -> None:
    truth = np.full(10, 7.0)
    found = compare(
        task=LearningTask.REGRESSION,
        truth=truth,
        candidate=Predictions(prediction=truth + 1),
        champion=None,
        resamples=5,
    )
    assert {item.metric for item in found.metrics} == {"rmse", "mae"}
    assert found.notes == (
        "The candidate predicts 8.0 for every row. It does not look at its input.",
        "r2 is not defined on this holdout: every row's truth is 7.0.",
    )


@pytest.mark.parametrize("task", [LearningTask.BINARY, LearningTask.MULTICLASS])
def test_holdout_of_one_class_is_refused_with_the_remedy(task: LearningTask) -> None:
    truth = np.zeros(10, dtype=int)
    with pytest.raises(EvaluationError, match=r"Every one of the 10 rows .* has the label 0, .* a longer window"):
        compare(task=task, truth=truth, candidate=Predictions(prediction=truth), champion=None, resamples=5)


def test_constant_predictions_rank_nothing_and_are_noted() -> None:
    truth = np.array([0, 1, 0, 1, 0])
    constant = Predictions(prediction=np.zeros(5, dtype=int), probability=np.full(5, 0.4))
    sure = Predictions(prediction=np.zeros(5, dtype=int), probability=truth / 3)
    found = compare(task=LearningTask.BINARY, truth=truth, candidate=constant, champion=sure, resamples=5)
    assert found.notes == (
        "The candidate predicts 0 for every row. It does not look at its input.",
        "The champion predicts 0 for every row. Its probabilities do differ.",
    )
    values = {item.metric: item.candidate.value for item in found.metrics}
    assert (values["roc_auc"], values["average_precision"], values["precision"]) == (0.5, 0.4, 0.0)


def test_champion_without_probabilities_is_compared_on_the_rest() -> None:
    truth = np.array([0, 1, 0, 1])
    found = compare(
        task=LearningTask.BINARY,
        truth=truth,
        candidate=Predictions(prediction=truth, probability=truth.astype(float)),
        champion=Predictions(prediction=truth),
        resamples=5,
    )
    by_name = {item.metric: item for item in found.metrics}
    assert by_name["roc_auc"].champion is None
    assert by_name["accuracy"].champion is not None
    assert any(note.startswith("The champion gives no probabilities") for note in found.notes)


@pytest.mark.parametrize(
    ("truth", "candidate", "task", "message"),
    [
        ([], Predictions(prediction=np.array([])), LearningTask.BINARY, "has no rows"),
        ([0, 1], Predictions(prediction=np.array([0])), LearningTask.BINARY, "1 values of prediction for 2 rows"),
        ([0, 1], Predictions(prediction=np.array([0.0, np.nan])), LearningTask.BINARY, "1 values .* NaN or infinite"),
        (
            [0, 1],
            Predictions(prediction=np.array([0, 1]), probability=np.array([0.5, 1.5])),
            LearningTask.BINARY,
            "outside 0 to 1",
        ),
        ([0, 1, 2], Predictions(prediction=np.array([0, 1, 2])), LearningTask.BINARY, "has 3 "),
        ([0.0, np.nan], Predictions(prediction=np.array([0, 1])), LearningTask.BINARY, "target has NaN"),
        (["a", "b"], Predictions(prediction=np.array([0, 1])), LearningTask.REGRESSION, "must be finite numbers"),
        ([1.0, 2.0], Predictions(prediction=np.array(["a", "b"])), LearningTask.REGRESSION, "must predict numbers"),
        (
            [0, 1],
            Predictions(prediction=np.array([0.2, 0.7])),
            LearningTask.BINARY,
            "predicts 0.2, 0.7, but",
        ),
        ([0, 1], Predictions(prediction=np.array(["0", "1"])), LearningTask.BINARY, "of the same type"),
        (["a", "b"], Predictions(prediction=np.array(["c", "c"])), LearningTask.MULTICLASS, "predicts c, but"),
    ],
)
def test_what_cannot_be_judged_is_an_error_with_its_reason(
    truth: list[Any], candidate: Predictions, task: LearningTask, message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        compare(task=task, truth=np.array(truth), candidate=candidate, champion=None, resamples=2)


def test_labels_as_texts_are_judged_like_labels_as_numbers() -> None:
    random = np.random.default_rng(3)
    truth, said, before = (random.integers(0, 4, 300) for _ in range(3))
    names = np.array(["a", "b", "c", "d"], dtype=object)
    numbers, texts = (
        compare(
            task=LearningTask.MULTICLASS,
            truth=code[truth],
            candidate=Predictions(prediction=code[said]),
            champion=Predictions(prediction=code[before]),
            resamples=50,
        )
        for code in (np.arange(4), names)
    )
    assert numbers == texts
