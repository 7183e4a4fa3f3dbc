"""Paired tests agree with SciPy and with definitions written out, keep their level, and find what is there."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from airflow_mlops.domain.evaluation import METRICS, LearningTask, TestMethod
from airflow_mlops.engines.numpy import Predictions, compare
from airflow_mlops.engines.numpy.metrics import Array
from airflow_mlops.engines.numpy.significance import bootstrap_test, delong, mcnemar, paired_t


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.sampled_from([2, 3, 10, 500, 200_000]), shift=st.floats(-1, 1))
def test_paired_t_equals_that_of_scipy(seed: int, rows: int, shift: float) -> None:
    random = np.random.default_rng(seed)
    ours = random.exponential(size=rows)
    theirs = random.exponential(size=rows) + shift / math.sqrt(rows)
    expected = stats.ttest_rel(ours, theirs).pvalue
    assert paired_t(ours - theirs).p_value == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_difference_that_is_the_same_in_every_row_is_sure() -> None:
    assert paired_t(np.full(5, 0.5)).p_value == 0
    assert paired_t(np.zeros(5)).p_value == 1
    assert paired_t(np.array([0.5])).p_value == 1


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (0, 3), (7, 2), (40, 60), (3000, 3200), (5, 5)])
def test_mcnemar_is_the_mid_p_value_of_a_fair_coin(won: int, lost: int) -> None:
    ours = np.r_[np.ones(won), np.zeros(lost), np.ones(11), np.zeros(4)].astype(bool)
    theirs = np.r_[np.zeros(won), np.ones(lost), np.ones(11), np.zeros(4)].astype(bool)
    coin = stats.binom(won + lost, 0.5)
    fewer = min(won, lost)
    expected = min(1.0, 2 * coin.cdf(fewer) - coin.pmf(fewer)) if won + lost else 1.0
    assert mcnemar(ours, theirs).p_value == pytest.approx(expected)
    assert mcnemar(theirs, ours).p_value == pytest.approx(expected)


def area(high: Array, low: Array) -> float:
    pairs = [(above > below) + (above == below) / 2 for above, below in itertools.product(high, low)]
    return float(np.mean(pairs))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), decimals=st.sampled_from([1, 8]))
def test_delong_is_what_the_paper_defines(seed: int, decimals: int) -> None:
    """Equations 3 to 8 of DeLong, DeLong and Clarke-Pearson (1988), by all pairs and with covariance matrices."""
    random = np.random.default_rng(seed)
    positive = np.r_[True, True, False, False, random.random(60) < 0.4]
    scores = [(positive * s + random.normal(size=64)).round(decimals) for s in (1.0, 0.6)]
    structural = [
        [
            [area(np.array([x]), score[~positive]) for x in score[positive]],
            [area(score[positive], np.array([y])) for y in score[~positive]],
        ]
        for score in scores
    ]
    high, low = (np.cov([model[part] for model in structural]) for part in (0, 1))
    covariance = high / positive.sum() + low / (~positive).sum()
    contrast = np.array([1.0, -1.0])
    change = np.diff([area(score[positive], score[~positive]) for score in scores])[0]
    expected = 2 * stats.norm.sf(abs(change) / math.sqrt(contrast @ covariance @ contrast))
    assert delong(positive, scores[0], scores[1]).p_value == pytest.approx(expected, rel=1e-6)


def test_same_ranking_is_no_difference() -> None:
    positive, score = np.array([True, False, True, False]), np.array([0.9, 0.1, 0.4, 0.5])
    assert delong(positive, score, score**3).p_value == 1


def test_bootstrap_test_is_the_level_at_which_the_interval_reaches_zero() -> None:
    differences = np.linspace(-0.05, 0.95, 1001)  # 51 of them are zero or less
    found = bootstrap_test(differences)
    assert found is not None
    assert found.p_value == pytest.approx(2 * 52 / 1002)
    low = np.percentile(differences, 100 * found.p_value / 2)
    assert low == pytest.approx(0, abs=0.002)
    assert bootstrap_test(np.full(10, np.nan)) is None
    assert bootstrap_test(np.zeros(10)) is not None


@pytest.mark.parametrize("task", list(LearningTask))
def test_tests_keep_their_level_when_no_model_is_better(task: LearningTask) -> None:
    """Of 5 % significance, each test must be wrong in at most 5 % of cases, within four standard errors."""
    random, trials, rows = np.random.default_rng(11), 200, 150
    wrong: dict[str, int] = {metric.name: 0 for metric in METRICS[task]}
    for trial in range(trials):
        truth = random.integers(0, 2, rows) if task is not LearningTask.REGRESSION else random.normal(size=rows)
        models = []
        for _ in range(2):
            signal = truth + random.normal(size=rows)
            probability = 1 / (1 + np.exp(0.5 - signal)) if task is LearningTask.BINARY else None
            said = (signal > 0.5).astype(int) if task is not LearningTask.REGRESSION else signal
            models.append(Predictions(prediction=said, probability=probability))
        found = compare(task=task, truth=truth, candidate=models[0], champion=models[1], resamples=200, seed=trial)
        for item in found.metrics:
            assert item.test is not None
            wrong[item.metric] += item.test.p_value < 0.05
    most = trials * 0.05 + 4 * math.sqrt(trials * 0.05 * 0.95)
    assert {name: count for name, count in wrong.items() if count > most} == {}
    assert sum(wrong.values()) > 0


def test_each_metric_has_the_test_that_the_field_knows_for_it() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 400)
    better = Predictions(prediction=truth, probability=np.clip(truth + random.normal(0, 0.2, 400), 0, 1))
    worse = Predictions(prediction=random.integers(0, 2, 400), probability=random.random(400))
    found = compare(task=LearningTask.BINARY, truth=truth, candidate=better, champion=worse, resamples=99).metrics
    tests = {item.metric: item.test for item in found if item.test is not None}
    assert {name: test.method for name, test in tests.items()} == {
        "roc_auc": TestMethod.DELONG,
        "average_precision": TestMethod.BOOTSTRAP,
        "log_loss": TestMethod.PAIRED_T,
        "brier_score": TestMethod.PAIRED_T,
        "accuracy": TestMethod.MCNEMAR,
        "precision": TestMethod.BOOTSTRAP,
        "recall": TestMethod.MCNEMAR,
        "f1": TestMethod.BOOTSTRAP,
    }
    assert all(test.p_value <= 0.02 for test in tests.values())
    assert str(tests["roc_auc"]) == "< 0.0001 (DeLong)"
