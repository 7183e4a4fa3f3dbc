"""Whether what comes true is distributed as it was: labels of a window against those of the holdout."""

from __future__ import annotations

from airflow_mlops.domain.drift import ColumnDrift, DriftMethod, DriftSpec, automatic_method
from airflow_mlops.domain.evaluation import LearningTask
from airflow_mlops.domain.prediction_log import LABEL
from airflow_mlops.engines.numpy import drift_shares, drift_tests
from airflow_mlops.engines.numpy.drift_sides import Numbers, Shares
from airflow_mlops.engines.numpy.metrics import Array, encode


def compare_labels(task: LearningTask, holdout: Array, window: Array) -> ColumnDrift:
    """Return the drift of the labels, by the method and the threshold that a drift check takes by itself.

    But of few labels of more than two classes by ``homogeneity``, since Evidently's ``chisquare`` takes the shares of
    the holdout for certain, and calls equal labels different.
    """
    import numpy as np

    both = np.concatenate([holdout, window])
    names, codes = encode(both)
    is_number = task is LearningTask.REGRESSION
    method = automatic_method(is_number=is_number, reference_values=len(holdout), distinct=len(names))
    method = DriftMethod.HOMOGENEITY if method is DriftMethod.CHI_SQUARE else method
    sides = [np.bincount(part, minlength=len(names)) for part in (codes[: len(holdout)], codes[len(holdout) :])]
    shares = Shares(names=tuple(names.tolist()), reference=sides[0], current=sides[1])
    if method is DriftMethod.WASSERSTEIN:
        value, _ = drift_tests.wasserstein(_numbers(holdout), _numbers(window))
    elif method is DriftMethod.KS:
        value, _ = drift_tests.ks(_numbers(holdout), _numbers(window))
    else:
        of = {
            DriftMethod.Z: drift_shares.z,
            DriftMethod.HOMOGENEITY: drift_shares.homogeneity,
            DriftMethod.JENSEN_SHANNON: drift_shares.jensen_shannon,
        }
        value = of[method](shares)
    threshold = DriftSpec().threshold_of(LABEL, method)
    return ColumnDrift(
        column=LABEL,
        method=method.value,
        value=value,
        threshold=threshold,
        drifted=method.says_drift(value, threshold),
        error=0.0,
        effect=drift_shares.total_variation(shares) if not is_number else None,
    )


def _numbers(values: Array) -> Numbers:
    import numpy as np

    points, counts = np.unique(values.astype(float), return_counts=True)
    return Numbers(
        left=points, right=points, counts=counts, standard_deviation=float(values.astype(float).std()), whole=False
    )
