"""A gate on age: how old the newest training data is, and the training itself."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from airflow_mlops.domain.evaluation import Evaluation
from airflow_mlops.domain.gates.base import FirstModel, Gate, GateVerdict
from airflow_mlops.exceptions import PolicyError

_SECONDS_OF_A_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessGate(Gate):
    """How old a candidate may be at the moment that the evaluation names, so that the verdict stays what it was."""

    kind: ClassVar[str] = "freshness"

    max_data_age_days: float | None = None
    """Of the newest row that it learned from. Its snapshot needs a time column."""
    max_training_age_days: float | None = None
    """Since its training ended."""

    def __post_init__(self) -> None:
        """Refuse a gate without a bar."""
        bars = [bar for bar in (self.max_data_age_days, self.max_training_age_days) if bar is not None]
        if not bars or not all(bar > 0 for bar in bars):
            msg = "The freshness gate needs max_data_age_days or max_training_age_days, above zero."
            raise PolicyError(msg)

    @property
    def name(self) -> str:
        """How the gate reads in a table."""
        bars = [f"data ≤ {self.max_data_age_days:g} days old"] if self.max_data_age_days is not None else []
        bars += (
            [f"training ≤ {self.max_training_age_days:g} days old"] if self.max_training_age_days is not None else []
        )
        return " and ".join(bars)

    def judge(self, evaluation: Evaluation, first_model: FirstModel) -> GateVerdict:  # noqa: ARG002 - every gate's form
        """Compare the ages with the bars; the bar itself passes."""
        facts = evaluation.facts
        if facts is None or facts.as_of is None:
            return self.refusal("The evaluation does not say as of when it is. Evaluate with this release.")
        said, refused = [], False
        for what, time, most, remedy in (
            ("newest training data", facts.training.data_until, self.max_data_age_days, "Snapshot with a time_column."),
            ("training", facts.training.trained_at, self.max_training_age_days, "Its MLflow run has no end."),
        ):
            if most is None:
                continue
            if time is None:
                said.append(f"Nobody knows how old the {what} is. {remedy}")
                refused = True
                continue
            days = _age_days(time, facts.as_of)
            is_old = days > most
            refused = refused or is_old
            bar = f", but may be at most {most:g}" if is_old else ""
            said.append(f"The {what} is of {time:%Y-%m-%d %H:%M}, {days:.1f} days before {facts.as_of:%Y-%m-%d}{bar}.")
        return self.refusal(" ".join(said)) if refused else self.passing(" ".join(said))


def _age_days(time: datetime, as_of: datetime) -> float:
    """Return the age in days; a backfill looks at a moment before the training, which then is of no age."""
    return max(0.0, (as_of - time).total_seconds() / _SECONDS_OF_A_DAY)
