"""What cannot be judged, and says why; and what can, but should be known."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_mlops.domain.evaluation import METRICS, LearningTask
from airflow_mlops.engines.numpy.metrics import Array, Predictions, encode
from airflow_mlops.exceptions import EvaluationError

_SHOWN = 5
"""Labels that a message shows."""


def check_truth(task: LearningTask, truth: Array) -> None:
    """Refuse a holdout whose target does not fit the task.

    :raises EvaluationError: when there are no rows, a value is no number or not finite where it must be, or when a
        classifier's holdout has one class only, or more than two for a binary one.
    """
    import numpy as np

    if not len(truth):
        msg = "The holdout has no rows, so nothing can be judged."
        raise EvaluationError(msg)
    if task is LearningTask.REGRESSION:
        if not _is_number(truth) or not np.isfinite(truth.astype(float)).all():
            msg = f"A regression target must be finite numbers, but the holdout's is {truth.dtype} or has NaN in it."
            raise EvaluationError(msg)
        return
    if truth.dtype.kind == "f" and not np.isfinite(truth).all():
        msg = "The holdout's target has NaN in it. Leave rows without a label out of the holdout."
        raise EvaluationError(msg)
    labels = encode(truth)[0]
    if len(labels) == 1:
        msg = (
            f"Every one of the {len(truth)} rows of the holdout has the label {labels[0]}, so nothing says how the "
            f"model tells it from another. Take a holdout that has rows of each class, such as a longer window."
        )
        raise EvaluationError(msg)
    if task is LearningTask.BINARY and len(labels) > 2:  # noqa: PLR2004 - that is what binary means
        msg = f"A binary target has two labels, but the holdout has {len(labels)} ({_shown(labels)})."
        raise EvaluationError(msg)


def check_predictions(role: str, task: LearningTask, truth: Array, predictions: Predictions) -> None:
    """Refuse predictions that cannot be compared with the truth.

    :raises EvaluationError: naming the model and what is wrong: the number of values, NaN, probabilities outside 0 to
        1, or values that are no labels of this target.
    """
    import numpy as np

    for what, values in (("prediction", predictions.prediction), ("probability", predictions.probability)):
        if values is None:
            continue
        if len(values) != len(truth):
            msg = f"The {role} gave {len(values)} values of {what} for {len(truth)} rows of the holdout."
            raise EvaluationError(msg)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).sum())
            msg = (
                f"The {role} gave {bad} values of {what} that are NaN or infinite, of {len(values)}. "
                f"Make the model answer every row, or leave rows that it cannot answer out of the holdout."
            )
            raise EvaluationError(msg)
    probability = predictions.probability
    if probability is not None and not ((probability >= 0) & (probability <= 1)).all():
        msg = f"The {role} gave probabilities outside 0 to 1: {probability.min():g} to {probability.max():g}."
        raise EvaluationError(msg)
    _check_labels(role, task, truth, predictions.prediction)


def _check_labels(role: str, task: LearningTask, truth: Array, prediction: Array) -> None:
    import numpy as np

    if task is LearningTask.REGRESSION:
        if not _is_number(prediction):
            msg = f"The {role} of a regression must predict numbers, but gave {prediction.dtype}: {prediction[0]!r}."
            raise EvaluationError(msg)
        return
    known, said = encode(truth)[0], encode(prediction)[0]
    comparable = _is_number(known) == _is_number(said)
    strange = said[~np.isin(said, known)] if comparable else said
    if (task is LearningTask.BINARY and len(strange)) or len(strange) == len(said):
        msg = (
            f"The {role} predicts {_shown(strange)}, but the holdout's labels are {_shown(known)}. The column "
            f"'prediction' must hold labels, of the same type; probabilities belong in the column 'probability'."
        )
        raise EvaluationError(msg)


def peculiarities(task: LearningTask, models: Mapping[str, Predictions]) -> list[str]:
    """Return what a reviewer must know of the predictions: probabilities that lack, answers that never change."""
    notes = []
    for role, model in models.items():
        if task is LearningTask.BINARY and model.probability is None:
            missing = ", ".join(metric.name for metric in METRICS[task] if metric.needs_probability)
            notes.append(f"The {role} gives no probabilities, so {missing} cannot be computed for it.")
        if (model.prediction == model.prediction[0]).all():
            only = model.probability is not None and not (model.probability == model.probability[0]).all()
            alone = " Its probabilities do differ." if only else " It does not look at its input."
            notes.append(f"The {role} predicts {model.prediction[0]} for every row.{alone}")
    return notes


def _is_number(values: Array) -> bool:
    return values.dtype.kind in "fiub"


def _shown(labels: Array) -> str:
    return ", ".join(map(str, labels[:_SHOWN])) + (", …" if len(labels) > _SHOWN else "")
