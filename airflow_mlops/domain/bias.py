"""Whether a model treats groups of people as alike in production as its bars ask, by the measures of promotion."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from airflow_mlops.domain.evaluation import LearningTask
from airflow_mlops.domain.fairness import DISPARITIES, RATES, Fairness
from airflow_mlops.domain.gates.fairness import FairnessGate
from airflow_mlops.domain.monitoring import CheckVerdict, Window
from airflow_mlops.domain.performance import AnswerCounts
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import EvaluationError

WITHOUT_LABELS = frozenset({"selection_rate"})
"""Rates that are of answers alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasSpec(Document):
    """The bars of a window: those of promotion, as its policy writes them."""

    bars: tuple[FairnessGate, ...]
    task: LearningTask | None = None
    """``None`` is what the champion's evaluation says."""
    min_rows: int = 100
    """A rate of fewer rows is listed and not judged."""
    max_groups: int = 50
    """A column of more values is not measured: they are no groups of people."""
    bins: int = 4
    """Into how many bins of equal size numbers are put."""
    min_labels: int = 200
    """With fewer labels, measures that need them are not judged."""
    min_labelled_share: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a spec that judges nothing."""
        if not self.bars:
            msg = "A check of bias needs a bar: a column, a metric such as demographic_parity_difference, and at_most."
            raise EvaluationError(msg)
        if self.min_rows < 1 or self.max_groups < 2 or self.bins < 2 or self.min_labels < 1:  # noqa: PLR2004
            msg = "min_rows and min_labels must be 1 or more, max_groups and bins 2 or more."
            raise EvaluationError(msg)

    @classmethod
    def read(cls, given: "BiasSpec | Mapping[str, Any]") -> Self:
        """Return what an author gave in any of the allowed forms.

        :raises InvalidInputError: naming the key that is unknown or of the wrong type.
        """
        return given if isinstance(given, cls) else cls.from_dict(given)  # type: ignore[arg-type]  # a Mapping by now

    @property
    def columns(self) -> tuple[str, ...]:
        """The sensitive columns, each once."""
        return tuple(dict.fromkeys(bar.column for bar in self.bars))


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedBar(Document):
    """One bar, and what the window says of it."""

    bar: str
    verdict: CheckVerdict
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasReport(Document):
    """All that is known of how one version treated groups in one window."""

    model_name: str
    model_version: str
    window: Window
    task: LearningTask
    spec: BiasSpec
    counts: AnswerCounts
    answers: Fairness | None
    """Rates of all answers, which need no label."""
    labelled: Fairness | None
    """Rates of the answers that have one."""
    promised: Fairness | None = None
    """What the evaluation of the promotion found."""
    notes: tuple[str, ...] = ()
    bars: tuple[JudgedBar, ...] = ()
    verdict: CheckVerdict = CheckVerdict.UNDECIDED
    reasons: tuple[str, ...] = ()

    def figures(self) -> dict[str, float]:
        """Return what is drawn over windows: each bar's measure as ``<metric>.<column>``."""
        found = {"labelled_share": self.counts.labelled_share}
        for bar in self.spec.bars:
            seen = bar.observe(fairness) if (fairness := self.measured_by(bar)) is not None else None
            if seen is not None:
                found[f"{bar.metric}.{bar.column}"] = seen[1] if bar.at_most is not None else seen[0]
        return found

    def measured_by(self, bar: FairnessGate) -> Fairness | None:
        """Return the rates by which a bar is judged."""
        return self.labelled if needs_labels(bar) else self.answers


def needs_labels(bar: FairnessGate) -> bool:
    """Whether a bar is on a measure that needs labels."""
    rates = (bar.metric,) if bar.metric in RATES else DISPARITIES[bar.metric][0]
    return not WITHOUT_LABELS.issuperset(rates)
