"""Rates within the groups of a sensitive column, all groups at once from counts of rows.

Fairlearn computes the same; it takes a call of Python for each group and rate, and two seconds to import. Tests hold
these numbers to Fairlearn's.
"""

from __future__ import annotations

from airflow_mlops.domain.evaluation import LearningTask
from airflow_mlops.domain.fairness import FairnessGroup, GroupRate
from airflow_mlops.engines.numpy.groups import Groups
from airflow_mlops.engines.numpy.losses import is_positive
from airflow_mlops.engines.numpy.metrics import Array, Predictions


def rates_by_group(
    task: LearningTask, truth: Array, candidate: Predictions, champion: Predictions | None, groups: Groups
) -> tuple[FairnessGroup, ...]:
    """Return the rates of each group that has rows."""
    import numpy as np

    rows = np.bincount(groups.codes, minlength=len(groups.labels))
    ours = _rates(task, truth, candidate.prediction, groups)
    theirs = _rates(task, truth, champion.prediction, groups) if champion else None
    return tuple(
        FairnessGroup(
            value=label,
            rows=int(rows[code]),
            candidate=_of_group(ours, code),
            champion=_of_group(theirs, code) if theirs else None,
        )
        for code, label in enumerate(groups.labels)
        if rows[code]
    )


def _rates(task: LearningTask, truth: Array, prediction: Array, groups: Groups) -> dict[str, tuple[Array, Array]]:
    """Return of each rate the sum and the number of rows that it is over, by group."""
    import numpy as np

    count = len(groups.labels)

    def total(weights: Array) -> Array:
        summed: Array = np.bincount(groups.codes, weights=weights, minlength=count)
        return summed

    rows = np.bincount(groups.codes, minlength=count)
    if task is LearningTask.REGRESSION:
        error = prediction.astype(float) - truth.astype(float)
        return {"mae": (total(np.abs(error)), rows), "mean_error": (total(error), rows)}
    if task is LearningTask.MULTICLASS:
        return {"accuracy": (total(prediction == truth), rows)}
    positive, called = (is_positive(labels, truth, prediction) for labels in (truth, prediction))
    cells = np.bincount(groups.codes.astype(np.int64) * 4 + positive * 2 + called, minlength=count * 4).reshape(
        count, 4
    )
    right_no, false_alarm, missed, hit = cells.T
    return {
        "selection_rate": (hit + false_alarm, rows),
        "true_positive_rate": (hit, hit + missed),
        "false_positive_rate": (false_alarm, false_alarm + right_no),
        "false_negative_rate": (missed, hit + missed),
        "accuracy": (hit + right_no, rows),
    }


def _of_group(rates: dict[str, tuple[Array, Array]], code: int) -> dict[str, GroupRate]:
    return {
        name: GroupRate(value=float(sums[code] / over[code]) if over[code] else None, rows=int(over[code]))
        for name, (sums, over) in rates.items()
    }
