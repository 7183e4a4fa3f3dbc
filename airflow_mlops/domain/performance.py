"""How good a model is in production: what was promised at promotion, what labels show, and what is estimated without.

The rules are stated in words at :class:`PerformanceSpec`; ``docs/performance.md`` has them for people.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from airflow_mlops.domain.drift.found import ColumnDrift
from airflow_mlops.domain.drift.report import MOST_TIMES
from airflow_mlops.domain.evaluation import METRICS, Estimate, LearningTask, Metric
from airflow_mlops.domain.evaluation_diagnostics import CalibrationBin
from airflow_mlops.domain.monitoring import CheckVerdict, Window
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import EvaluationError

MARGIN: Final = 0.02
"""How much worse than promised is still good, for metrics whose scale is known: shares, areas and Brier scores."""
RELATIVE_MARGIN: Final = 0.05
"""The same as a share of what was promised, for metrics on a scale of their own."""
_OWN_SCALE: Final = frozenset({"rmse", "mae", "log_loss"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceSpec(Document):
    """How a window is judged.

    The model decays when its metric is surely worse than was promised, by more than the margin: when the confidence
    interval of the difference between window and promise lies beyond it. Both have an interval of their own; that of
    their difference is by the method of variance estimates recovery (Zou and Donner, "Construction of confidence
    limits about effect measures: a general approach", Statistics in Medicine 27, 2008). With fewer labels than
    ``min_labels``, or for a smaller share of the answers than ``min_labelled_share``, nothing is decided.
    """

    task: LearningTask | None = None
    """``None`` is what the champion's evaluation says."""
    metric: str | None = None
    """By which to judge; ``None`` is the first of the task that can be computed, such as ``roc_auc``."""
    promised: float | None = None
    """What was promised; ``None`` is the value of the champion's evaluation, with its interval."""
    margin: float | None = None
    """How much worse is still good, in the metric's unit. ``None`` is 0.02, and 5 % of the promise for metrics on a
    scale of their own (rmse, mae, log_loss)."""
    min_labels: int = 200
    min_labelled_share: float = 0.5
    min_of_class: int = 20
    """With fewer labelled answers of the rarer class nothing is decided by a metric that rests on them
    (:attr:`WindowMetric.rests_on`). With 2 positives among 200 answers an interval of 95 % holds the area under the ROC
    curve in half of the cases, with 20 in 9 of 10 (``tests/unit/engines/test_numpy_known.py``)."""
    confidence_level: float = 0.95
    resamples: int = 500
    """Bootstrap samples behind each interval."""
    estimate_decides: bool = False
    """Whether an estimate without labels can find decay. It cannot see that inputs come to mean something else."""
    sample_rows: int = 20_000
    """Rows of the holdout, and of the window, that estimates and causes are computed on."""

    def __post_init__(self) -> None:
        """Refuse bars that are no bars."""
        if self.task and self.metric and self.metric not in {item.name for item in METRICS[self.task]}:
            known = ", ".join(item.name for item in METRICS[self.task])
            msg = f"A {self.task.value} task has no metric {self.metric!r}. It has {known}."
            raise EvaluationError(msg)
        if not (0 < self.confidence_level < 1 and 0 <= self.min_labelled_share <= 1):
            msg = "confidence_level must be between 0 and 1, as min_labelled_share, which may be 0 or 1, too."
            raise EvaluationError(msg)
        if self.min_labels < 1 or self.min_of_class < 0 or self.resamples < 1 or self.sample_rows < 100:  # noqa: PLR2004 - nothing is known of less
            msg = "min_labels and resamples must be 1 or more, min_of_class 0 or more, and sample_rows 100 or more."
            raise EvaluationError(msg)
        if self.margin is not None and not (math.isfinite(self.margin) and self.margin >= 0):
            msg = f"The margin is {self.margin}, but must be zero or more."
            raise EvaluationError(msg)
        if self.promised is not None and not math.isfinite(self.promised):
            msg = f"The promised value is {self.promised}, which is no number to compare with."
            raise EvaluationError(msg)

    @classmethod
    def read(cls, given: "PerformanceSpec | Mapping[str, Any] | None") -> Self:
        """Return what an author gave in any of the allowed forms, or the defaults.

        :raises InvalidInputError: naming the key that is unknown or of the wrong type.
        """
        if given is None:
            return cls()
        return given if isinstance(given, cls) else cls.from_dict(given)  # type: ignore[arg-type]  # a Mapping by now

    def margin_of(self, metric: str, promised: float) -> float:
        """Return how much worse than promised is still good."""
        if self.margin is not None:
            return self.margin
        return RELATIVE_MARGIN * abs(promised) if metric in _OWN_SCALE else MARGIN


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCounts(Document):
    """What is in a window of the prediction log, and which labels have found their answer."""

    rows: int = 0
    """Answers of the version that is judged."""
    labelled: int = 0
    """Of them, those with a label that can be judged."""
    other_versions: Mapping[str, int] = field(default_factory=dict)
    """Answers of other versions and models in the window, which are not judged."""
    outside: int = 0
    """Rows of the data that are not of the window."""
    repeated: int = 0
    """Answers whose id was there before; the first of them counts."""
    unusable: int = 0
    """Answers without a prediction, or with a probability that is none."""
    unknown_ids: int = 0
    """Ids of labels that no answer of the window has: those of other windows, mostly."""
    repeated_labels: int = 0
    """Labels that say again what was known."""
    changed_labels: int = 0
    """Answers whose label was changed; the last one counts."""
    contradictory_labels: int = 0
    """Answers with different labels of the same time, which count as none."""
    odd_labels: int = 0
    """Labels that are no finite number where numbers are due."""

    @property
    def labelled_share(self) -> float:
        """Share of the answers that can be judged."""
        return self.labelled / self.rows if self.rows else 0.0

    def notes(self) -> tuple[str, ...]:
        """Return a sentence for each peculiarity that a reader must know."""
        others = sum(self.other_versions.values())
        told = {
            others: f"{others:,} answers are of {_listed(self.other_versions)}, and are not judged here.",
            self.outside: f"{self.outside:,} rows of the data lie outside the window, and are left out.",
            self.repeated: f"{self.repeated:,} answers have an id that was there before, and are left out.",
            self.unusable: f"{self.unusable:,} answers lack a prediction or have a probability that is none (missing, "
            f"NaN or outside 0 to 1), and are left out.",
            self.changed_labels: f"{self.changed_labels:,} answers got different labels; the last by labelled_at "
            f"counts.",
            self.contradictory_labels: f"{self.contradictory_labels:,} answers have different labels of the same time, "
            f"which count as none.",
            self.odd_labels: f"{self.odd_labels:,} labels are NaN or infinite, and count as none.",
        }
        return tuple(text for count, text in told.items() if count)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowMetric(Document):
    """One metric: as promised, as labels show it, and as it is estimated without them."""

    metric: str
    higher_is_better: bool
    promised: Estimate | None = None
    measured: Estimate | None = None
    estimated: Estimate | None = None
    rests_on: int | None = None
    """How many labelled answers the measured value rests on, where that is not all of them: those of the rarer class
    for an order of both, those that are positive or called so for a share of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause(Document):
    """How much of a metric's change is due to other inputs, and how much to inputs that mean something else.

    Cai, Namkoong and Yadlowsky, "Diagnosing Model Performance Under Distribution Shift" (2023), for any metric of row
    weights: holdout and window are weighted to the inputs that both have, where the metric differs only if the same
    inputs come true otherwise.
    """

    metric: str
    change: Estimate
    """Of the window against the holdout; below zero is worse, for errors, too."""
    concept: Estimate
    """The part that the same inputs have: concept drift."""
    inputs: Estimate
    """The part that comes of other inputs: data drift. Of inputs that are more frequent than they were, and of inputs
    that the holdout has few of."""
    separation: float
    """How well holdout and window can be told apart by the inputs: the classifier's area under the ROC curve."""
    overlap: float
    """Share of the rows that lie where holdout and window have inputs: 1 when both are alike, 0 when they are apart."""
    columns: tuple[str, ...]
    """The inputs that were looked at."""
    together: tuple[str, ...] = ()
    """Pairs of inputs that go together otherwise than they did, such as ``age with income``, the clearest first. What
    that does to the model is in ``concept``, since each input was looked at by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceReport(Document):
    """All that is known of one version in one window."""

    model_name: str
    model_version: str
    window: Window
    task: LearningTask
    metric: str
    spec: PerformanceSpec
    counts: AnswerCounts
    evidence_digest: str | None
    """Of the evaluation that holds the promise."""
    metrics: tuple[WindowMetric, ...] = ()
    cause: Cause | None = None
    label_drift: ColumnDrift | None = None
    """Of the labels against those of the holdout, where both are known. It is told, and decides nothing."""
    calibration_promised: tuple[CalibrationBin, ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()
    notes: tuple[str, ...] = ()
    """What could not be computed, and why."""
    verdict: CheckVerdict = CheckVerdict.UNDECIDED
    reasons: tuple[str, ...] = ()

    def find(self, metric: str) -> WindowMetric | None:
        """Return one metric, or ``None`` when nothing is known of it."""
        return next((item for item in self.metrics if item.metric == metric), None)

    def figures(self) -> dict[str, float]:
        """Return what is drawn over windows, the metric that decides first.

        Each is there as ``<metric>``, ``<metric>.promised`` and ``<metric>.estimated``, as far as it is known, with the
        ends of the intervals as ``.low`` and ``.high``. ``label_drift`` is how many times its threshold that is.
        """
        found = {"labelled_share": self.counts.labelled_share}
        if (decisive := self.find(self.metric)) is not None:
            found |= _figures(self.metric, decisive.measured)
            if decisive.promised:
                found[f"{self.metric}.promised"] = decisive.promised.value
            found |= _figures(f"{self.metric}.estimated", decisive.estimated)
        if self.cause:
            found |= _figures("concept_effect", self.cause.concept) | _figures("input_effect", self.cause.inputs)
        if self.label_drift:
            found["label_drift"] = min(self.label_drift.times_threshold, MOST_TIMES)
        for item in self.metrics:
            found |= _figures(item.metric, item.measured)
        return found


def metric_of(task: LearningTask, name: str) -> Metric:
    """Return a metric of a task.

    :raises EvaluationError: when the task has none of that name.
    """
    for metric in METRICS[task]:
        if metric.name == name:
            return metric
    msg = f"A {task.value} task has no metric {name!r}. It has {', '.join(item.name for item in METRICS[task])}."
    raise EvaluationError(msg)


def difference(now: Estimate, promised: Estimate) -> Estimate:
    """Return the difference of two independent estimates with its interval, from the intervals of both.

    Zou and Donner (2008), see :class:`PerformanceSpec`.
    """
    value = now.value - promised.value
    return Estimate(
        value=value,
        low=value - math.hypot(now.value - now.low, promised.high - promised.value),
        high=value + math.hypot(now.high - now.value, promised.value - promised.low),
    )


def _figures(name: str, estimate: Estimate | None) -> dict[str, float]:
    if estimate is None:
        return {}
    return {name: estimate.value, f"{name}.low": estimate.low, f"{name}.high": estimate.high}


def _listed(counts: Mapping[str, int]) -> str:
    ranked = sorted(counts, key=lambda name: -counts[name])
    shown = ", ".join(f"{name} ({counts[name]:,})" for name in ranked[:3])
    return f"{shown} and {len(ranked) - 3} more" if len(ranked) > 3 else shown  # noqa: PLR2004 - fits a sentence
