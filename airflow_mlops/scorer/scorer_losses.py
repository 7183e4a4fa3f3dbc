"""Losses as functions of a model's answer, for the metrics that an evaluation computes, defined as scikit-learn's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import pyarrow as pa

METRICS = {
    "binary": ("roc_auc", "log_loss", "brier_score", "accuracy"),
    "multiclass": ("accuracy",),
    "regression": ("rmse", "mae"),
}
NEED_PROBABILITY = ("roc_auc", "log_loss", "brier_score")


def loss_of(
    task: str | None, metric: str | None, answer: pa.Table, truth: np.ndarray[Any, Any]
) -> tuple[str, str, Callable[[np.ndarray[Any, Any]], float]]:
    """Return a metric, the column of the answer that it is of, and its loss of such a column, less being better.

    It is the named metric, or else the first that the answer allows.

    Raises:
        ValueError: the task has no such metric, or the answer has no probability, which it needs.
    """
    import numpy as np

    if task not in METRICS:
        message = f"the task is {task!r}, expected one of {', '.join(METRICS)}"
        raise ValueError(message)
    has_probability = "probability" in answer.column_names
    possible = [name for name in METRICS[task] if has_probability or name not in NEED_PROBABILITY]
    if metric is not None and metric not in possible:
        message = f"{metric} of a {task} model cannot be computed from its answer, but {', '.join(possible)}"
        raise ValueError(message)
    chosen = metric or possible[0]
    if chosen in ("accuracy", "rmse", "mae"):
        return chosen, "prediction", lambda said: _plain(chosen, said, truth)
    # Of two labels the greater one is positive, which may be one that only the model knows.
    positive = truth == np.unique(np.concatenate([truth, np.asarray(answer["prediction"].to_pandas())]))[-1]
    return chosen, "probability", lambda said: _of_probability(chosen, said, positive)


def _plain(metric: str, prediction: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> float:
    import numpy as np

    if metric == "accuracy":
        return float(np.mean(prediction != truth))
    error = prediction.astype(float) - truth.astype(float)
    return float(np.mean(np.abs(error))) if metric == "mae" else float(np.sqrt(np.mean(error**2)))


def _of_probability(metric: str, probability: np.ndarray[Any, Any], positive: np.ndarray[Any, Any]) -> float:
    import numpy as np
    import pandas as pd

    if metric == "brier_score":
        return float(np.mean((probability - positive) ** 2))
    if metric == "log_loss":
        clipped = np.clip(probability, np.finfo(float).eps, 1 - np.finfo(float).eps)
        return float(-np.mean(np.where(positive, np.log(clipped), np.log1p(-clipped))))
    ranks, hits = pd.Series(probability).rank().to_numpy(), int(positive.sum())
    pairs = hits * (len(positive) - hits)
    # The Mann-Whitney statistic; rows of equal probability share their mean rank.
    return 1 - float(ranks[positive].sum() - hits * (hits + 1) / 2) / pairs if pairs else float("nan")
