"""What a single row costs, so that models can be compared on the rows of a slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from airflow_mlops.domain.evaluation import LearningTask
from airflow_mlops.domain.slices import Loss
from airflow_mlops.engines.numpy.metrics import Array, Predictions, log_losses
from airflow_mlops.exceptions import EvaluationError

LOSSES: Final = {
    LearningTask.BINARY: (Loss.BRIER_SCORE, Loss.LOG_LOSS, Loss.ZERO_ONE_LOSS),
    LearningTask.MULTICLASS: (Loss.ZERO_ONE_LOSS,),
    LearningTask.REGRESSION: (Loss.SQUARED_ERROR, Loss.ABSOLUTE_ERROR),
}
"""The losses of each task, its default first."""


def choose_loss(asked: Loss | None, task: LearningTask, models: Sequence[Predictions]) -> tuple[Loss, str]:
    """Return the loss and, when the default had to give way, why.

    :raises EvaluationError: when the loss that was asked for cannot be computed.
    """
    fitting = LOSSES[task]
    if asked is not None and asked not in fitting:
        msg = f"The slices' loss {asked.value} does not fit a {task.value} task, which has {', '.join(fitting)}."
        raise EvaluationError(msg)
    loss = asked or fitting[0]
    needs_probability = loss in {Loss.BRIER_SCORE, Loss.LOG_LOSS}
    if not needs_probability or all(model.probability is not None for model in models):
        return loss, ""
    reason = f"Not every model gives probabilities, so slices cannot be compared by {loss.value}"
    if asked is not None:
        msg = f"{reason}. Ask for {Loss.ZERO_ONE_LOSS.value}, or leave the loss to the evaluation."
        raise EvaluationError(msg)
    return Loss.ZERO_ONE_LOSS, f"{reason}; they are by {Loss.ZERO_ONE_LOSS.value}."


def row_losses(loss: Loss, truth: Array, said: Predictions) -> Array:
    """Return the loss of each row. Of two labels the greater one is the positive class."""
    import numpy as np

    cost: Array
    if loss is Loss.ZERO_ONE_LOSS:
        cost = (said.prediction != truth).astype(float)
    elif loss in {Loss.SQUARED_ERROR, Loss.ABSOLUTE_ERROR}:
        error = said.prediction.astype(float) - truth.astype(float)
        cost = np.square(error) if loss is Loss.SQUARED_ERROR else np.abs(error)
    elif said.probability is None:
        msg = f"{loss.value} needs probabilities, which the model does not give."
        raise EvaluationError(msg)
    else:
        positive = is_positive(truth, truth, said.prediction)
        probability = said.probability.astype(float)
        cost = np.square(probability - positive) if loss is Loss.BRIER_SCORE else log_losses(positive, probability)
    return cost


def is_positive(labels: Array, *occurring: Array) -> Array:
    """Return which labels are the positive class: the greatest of all that occur, unless 0 alone occurs."""
    import numpy as np

    greatest = np.unique(np.concatenate(occurring))[-1]
    positive: Array = (labels == greatest) & bool(greatest)
    return positive
