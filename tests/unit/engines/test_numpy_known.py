"""How many answers a metric rests on, and from how many on its interval holds the truth as often as it says."""

import numpy as np
import pytest
from scipy import stats

from airflow_mlops.domain.evaluation import LearningTask
from airflow_mlops.engines.numpy import Predictions, compare
from airflow_mlops.engines.numpy.known import KnownRows, rests_on

STRENGTH = 1.2


def answers(positive: int, rows: int, random: np.random.Generator) -> KnownRows:
    truth = (np.arange(rows) < positive).astype(int)
    score = random.normal(0, 1, rows) + STRENGTH * truth
    probability = 1 / (1 + np.exp(-STRENGTH * (score - STRENGTH / 2)))
    said = Predictions(prediction=(probability > 0.5).astype(int), probability=probability)
    return KnownRows(truth=truth, predictions=said)


def coverage(positive: int, rows: int, trials: int) -> float:
    """Return how often the interval of 95 % holds the area under the ROC curve."""
    random, true_area = np.random.default_rng(positive), stats.norm.cdf(STRENGTH / np.sqrt(2))
    found = 0
    for _ in range(trials):
        known = answers(positive, rows, random)
        measured = compare(
            task=LearningTask.BINARY, truth=known.truth, candidate=known.predictions, champion=None, resamples=100
        )
        [area] = [item.candidate for item in measured.metrics if item.metric == "roc_auc"]
        found += area.low <= true_area <= area.high
    return found / trials


def test_interval_of_a_ranking_says_too_much_of_2_positives_and_not_of_the_20_that_a_verdict_takes() -> None:
    assert coverage(2, 200, trials=100) < 0.75
    assert coverage(20, 200, trials=100) > 0.84


def test_answers_that_a_metric_rests_on_are_those_of_its_denominator() -> None:
    known = KnownRows(
        truth=np.array(["no"] * 7 + ["yes"] * 3),
        predictions=Predictions(prediction=np.array(["no"] * 5 + ["yes"] * 5), probability=None),
    )
    assert rests_on(known) == {"roc_auc": 3, "average_precision": 3, "precision": 5, "recall": 3, "f1": 4}


@pytest.mark.parametrize("called", [0, 1])
def test_precision_of_a_model_that_says_yes_to_nothing_rests_on_nothing(called: int) -> None:
    said = np.zeros(100, dtype=int)
    said[:called] = 1
    known = KnownRows(truth=np.arange(100) % 2, predictions=Predictions(prediction=said, probability=None))
    assert rests_on(known)["precision"] == called
