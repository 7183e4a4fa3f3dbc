"""What the plots of a report show, computed on all rows and then thinned to a bounded number of points."""

from __future__ import annotations

from airflow_mlops.domain.evaluation import LearningTask
from airflow_mlops.domain.evaluation_diagnostics import (
    CALIBRATION_BINS,
    CONFUSION_LABELS,
    CURVE_POINTS,
    OTHER_LABELS,
    RESIDUAL_BINS,
    CalibrationBin,
    Confusion,
    Curve,
    Diagnostics,
    ResidualBin,
)
from airflow_mlops.engines.numpy.metrics import Array, Predictions, encode, positive_label


def diagnose(role: str, task: LearningTask, truth: Array, predictions: Predictions) -> Diagnostics:
    """Return what there is to plot of a model whose predictions :func:`compare` has accepted."""
    if task is LearningTask.REGRESSION:
        said = predictions.prediction.astype(float)
        return Diagnostics(
            role=role,
            calibration=_calibration(said, truth.astype(float), _quantile_bins(said, CALIBRATION_BINS)),
            residuals=_residuals(said, said - truth.astype(float)),
        )
    confusion = _confusion(truth, predictions.prediction)
    if task is LearningTask.MULTICLASS or predictions.probability is None:
        return Diagnostics(role=role, confusion=confusion)
    positive: Array = truth == positive_label(truth, predictions.prediction)
    probability = predictions.probability.astype(float)
    bins = (probability * CALIBRATION_BINS).astype(int).clip(max=CALIBRATION_BINS - 1)
    roc, precision_recall = _curves(positive, probability)
    return Diagnostics(
        role=role,
        roc=roc,
        precision_recall=precision_recall,
        calibration=_calibration(probability, positive.astype(float), bins),
        confusion=confusion,
    )


def _curves(positive: Array, probability: Array) -> tuple[Curve | None, Curve | None]:
    """Return ROC and precision-recall; neither is defined where only one class occurs."""
    import numpy as np

    total = int(positive.sum())
    if total in {0, len(positive)}:
        return None, None
    order = np.argsort(-probability, kind="stable")
    last = np.flatnonzero(np.r_[np.diff(probability[order]) != 0, True])  # the end of each run of equal scores
    hits = np.cumsum(positive[order])[last]
    called = last + 1
    false_rate = np.r_[0.0, (called - hits) / (len(positive) - total)]
    recall = hits / total
    return (
        _thinned(false_rate, np.r_[0.0, recall]),
        _thinned(np.r_[0.0, recall], np.r_[hits[0] / called[0], hits / called]),
    )


def _thinned(x: Array, y: Array) -> Curve:
    """Keep the points nearest to an even grid over x and y, the ends among them."""
    import numpy as np

    keep = np.arange(len(x))
    if len(x) > CURVE_POINTS:
        length = np.r_[0.0, np.cumsum(np.hypot(np.diff(x), np.diff(y)))]
        keep = np.unique(np.searchsorted(length, np.linspace(0, length[-1], CURVE_POINTS)).clip(max=len(x) - 1))
    return Curve(x=_rounded(x[keep]), y=_rounded(y[keep]))


def _quantile_bins(values: Array, count: int) -> Array:
    import numpy as np

    edges = np.unique(np.quantile(values, np.linspace(0, 1, count + 1)[1:-1]))
    bins: Array = np.searchsorted(edges, values, side="left")
    return bins


def _calibration(said: Array, came_true: Array, bins: Array) -> tuple[CalibrationBin, ...]:
    import numpy as np

    rows = np.bincount(bins)
    filled = np.flatnonzero(rows)
    predicted, observed = np.bincount(bins, weights=said), np.bincount(bins, weights=came_true)
    return tuple(
        CalibrationBin(
            rows=int(rows[index]),
            predicted=float(predicted[index] / rows[index]),
            observed=float(observed[index] / rows[index]),
        )
        for index in filled
    )


def _residuals(said: Array, residual: Array) -> tuple[ResidualBin, ...]:
    import numpy as np

    bins = _quantile_bins(said, RESIDUAL_BINS)
    return tuple(
        ResidualBin(
            rows=int(chosen.sum()),
            predicted=float(said[chosen].mean()),
            quantiles=_rounded(np.quantile(residual[chosen], [0.05, 0.25, 0.5, 0.75, 0.95])),
        )
        for index in np.unique(bins)
        for chosen in [bins == index]
    )


def _confusion(truth: Array, prediction: Array) -> Confusion:
    import numpy as np

    labels, codes = encode(truth, prediction)
    names = [str(label) for label in labels]
    if len(labels) > CONFUSION_LABELS:
        frequent = np.sort(np.argsort(-np.bincount(codes), kind="stable")[: CONFUSION_LABELS - 1])
        place = np.full(len(labels), len(frequent))
        place[frequent] = np.arange(len(frequent))
        codes, names = place[codes], [*(names[index] for index in frequent), OTHER_LABELS]
    size = len(names)
    cells = np.bincount(codes[: len(truth)] * size + codes[len(truth) :], minlength=size * size)
    return Confusion(labels=tuple(names), counts=tuple(tuple(row) for row in cells.reshape(size, size).tolist()))


def _rounded(values: Array) -> tuple[float, ...]:
    """Return plain numbers with as many digits as a plot can show."""
    return tuple(float(f"{value:.6g}") for value in values.tolist())
