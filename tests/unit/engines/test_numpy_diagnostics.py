"""What the plots show is what scikit-learn computes, however many rows and labels there are."""

import json

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from airflow_mlops.domain.evaluation import LearningTask
from airflow_mlops.domain.evaluation_diagnostics import CONFUSION_LABELS, CURVE_POINTS, OTHER_LABELS, Diagnostics
from airflow_mlops.engines.numpy import Predictions, diagnose


def scored(rows: int, seed: int = 0) -> tuple[np.ndarray, Predictions]:
    random = np.random.default_rng(seed)
    probability = random.beta(1, 3, rows)
    truth = (random.random(rows) < probability).astype(int)
    return truth, Predictions(prediction=(probability > 0.5).astype(int), probability=probability)


def test_thinned_curves_enclose_the_areas_of_the_whole_ones() -> None:
    truth, said = scored(20_000)
    found = diagnose("candidate", LearningTask.BINARY, truth, said)
    assert found.roc is not None
    assert found.precision_recall is not None
    assert len(found.roc.x) <= CURVE_POINTS
    assert (found.roc.x[0], found.roc.y[0], found.roc.x[-1], found.roc.y[-1]) == (0, 0, 1, 1)
    area = sklearn_metrics.auc(found.roc.x, found.roc.y)
    assert area == pytest.approx(sklearn_metrics.roc_auc_score(truth, said.probability), abs=1e-3)
    area = sklearn_metrics.auc(found.precision_recall.x, found.precision_recall.y)
    assert area == pytest.approx(sklearn_metrics.average_precision_score(truth, said.probability), abs=1e-2)


def test_calibration_bins_hold_every_row_once() -> None:
    truth, said = scored(5000)
    found = diagnose("candidate", LearningTask.BINARY, truth, said)
    assert sum(bin_.rows for bin_ in found.calibration) == 5000
    for bin_ in found.calibration[:5]:
        assert bin_.observed == pytest.approx(bin_.predicted, abs=0.1)  # The probabilities are the true ones.


def test_confusion_equals_that_of_scikit_learn() -> None:
    truth, said = scored(500)
    found = diagnose("candidate", LearningTask.BINARY, truth, said).confusion
    assert found is not None
    assert np.array_equal(found.counts, sklearn_metrics.confusion_matrix(truth, said.prediction))


def test_a_thousand_labels_share_the_last_row_of_the_confusion() -> None:
    random = np.random.default_rng(0)
    truth = random.zipf(1.3, 20_000).clip(max=1000)
    found = diagnose("candidate", LearningTask.MULTICLASS, truth, Predictions(prediction=random.permutation(truth)))
    assert found.confusion is not None
    assert len(found.confusion.labels) == CONFUSION_LABELS
    assert found.confusion.labels[-1] == OTHER_LABELS
    assert sum(map(sum, found.confusion.counts)) == 20_000


def test_one_class_has_no_curve_and_constant_predictions_have_one_bin() -> None:
    one = np.zeros(10, dtype=int)
    found = diagnose("candidate", LearningTask.BINARY, one, Predictions(prediction=one, probability=np.full(10, 0.3)))
    assert (found.roc, found.precision_recall) == (None, None)
    assert [bin_.rows for bin_ in found.calibration] == [10]
    constant = diagnose("candidate", LearningTask.REGRESSION, np.arange(10.0), Predictions(prediction=np.full(10, 4.5)))
    assert [bin_.rows for bin_ in constant.residuals] == [10]


def test_residuals_are_the_errors_by_the_size_of_the_prediction() -> None:
    random = np.random.default_rng(0)
    said = random.uniform(0, 100, 10_000)
    truth = said - 5 + random.normal(0, 1, 10_000)
    found = diagnose("candidate", LearningTask.REGRESSION, truth, Predictions(prediction=said))
    assert sum(bin_.rows for bin_ in found.residuals) == 10_000
    assert all(bin_.quantiles[2] == pytest.approx(5, abs=0.3) for bin_ in found.residuals)


def test_diagnostics_survive_json() -> None:
    found = diagnose("candidate", LearningTask.BINARY, *scored(100))
    assert Diagnostics.from_dict(json.loads(json.dumps(found.to_dict()))) == found
