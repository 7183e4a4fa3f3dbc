"""What the plots of an evaluation show: curves, calibration, confusion and residuals, each bounded in size."""

from dataclasses import dataclass

from airflow_mlops.domain.serialization import Document

CURVE_POINTS = 101
"""Most points of a curve."""
CALIBRATION_BINS = 10
RESIDUAL_BINS = 20
CONFUSION_LABELS = 20
"""Most labels of a confusion matrix; the rarest share one row and one column."""
OTHER_LABELS = "(other)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve(Document):
    """Points of a line, from left to right."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBin(Document):
    """Rows to which the model gave nearly the same answer: what it said on average, and what came true."""

    rows: int
    predicted: float
    observed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion(Document):
    """How many rows of each label (down) were called what (across)."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualBin(Document):
    """Prediction minus truth of rows with nearly the same prediction, as quantiles (5, 25, 50, 75 and 95 %)."""

    rows: int
    predicted: float
    quantiles: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostics(Document):
    """What there is to plot of one model. What does not fit the task is empty."""

    role: str
    """``candidate`` or ``champion``."""
    roc: Curve | None = None
    """False positive rate to true positive rate."""
    precision_recall: Curve | None = None
    """Recall to precision."""
    calibration: tuple[CalibrationBin, ...] = ()
    confusion: Confusion | None = None
    residuals: tuple[ResidualBin, ...] = ()
