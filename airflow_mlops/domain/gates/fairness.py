"""A gate on how far apart a model's treatment of groups of people may be."""

import math
from dataclasses import dataclass
from typing import ClassVar

from airflow_mlops.domain.evaluation import Evaluation
from airflow_mlops.domain.fairness import DISPARITIES, RATES, Fairness, FairnessColumn
from airflow_mlops.domain.gates.base import FirstModel, Gate, GateVerdict
from airflow_mlops.exceptions import PolicyError


@dataclass(frozen=True, slots=True, kw_only=True)
class FairnessGate(Gate):
    """A bar on a measure between the groups of a sensitive column, or on a rate that every group must meet.

    It judges the candidate alone, so it holds for a first model, too.
    """

    kind: ClassVar[str] = "fairness"

    column: str
    metric: str
    """Such as ``demographic_parity_difference`` or ``equalized_odds_ratio``; or a rate such as ``false_negative_rate``,
    which then is asked of each group."""
    at_least: float | None = None
    at_most: float | None = None
    min_rows: int | None = None
    """Rates of fewer rows are not judged; ``None`` is as the evaluation has it."""

    def __post_init__(self) -> None:
        """Refuse a gate without a bar, or on nothing."""
        if self.metric not in {*DISPARITIES, *RATES}:
            msg = (
                f"The fairness gate on {self.column!r} has the unknown metric {self.metric!r}. Known are "
                f"{', '.join([*DISPARITIES, *RATES])}."
            )
            raise PolicyError(msg)
        if self.at_least is None and self.at_most is None:
            msg = f"The fairness gate on {self.metric!r} by {self.column!r} has no bar. Give at_least or at_most."
            raise PolicyError(msg)
        for bar in (self.at_least, self.at_most):
            if bar is not None and not math.isfinite(bar):
                msg = (
                    f"The fairness gate on {self.metric!r} by {self.column!r} has the bar {bar}. Give a finite number."
                )
                raise PolicyError(msg)
        if self.min_rows is not None and self.min_rows < 1:
            msg = f"The fairness gate on {self.column!r} has min_rows {self.min_rows}. Give 1 or more."
            raise PolicyError(msg)

    @property
    def name(self) -> str:
        """How the gate reads in a table."""
        bars = [f"≥ {self.at_least:g}"] if self.at_least is not None else []
        bars += [f"≤ {self.at_most:g}"] if self.at_most is not None else []
        return f"{self.metric} by {self.column} {' and '.join(bars)}"

    def judge(self, evaluation: Evaluation, first_model: FirstModel) -> GateVerdict:  # noqa: ARG002 - every gate's form
        """Compare the measure with the bar; the bar itself passes."""
        if evaluation.fairness is None:
            return self.refusal(f"The evaluation measured no fairness. Name {self.column!r} as sensitive in its spec.")
        return self.judge_fairness(evaluation.fairness)

    def judge_fairness(self, fairness: Fairness) -> GateVerdict:
        """Compare what was measured, of a holdout or of production, with the bar."""
        found = fairness.find(self.column)
        if found is None:
            measured = ", ".join(item.column for item in fairness.columns)
            return self.refusal(f"Fairness was not measured by {self.column!r}, only by {measured}.")
        min_rows = self.min_rows or fairness.min_rows
        seen = self.observe(fairness)
        if seen is None:
            return self.refusal(self._why_unknown(found, min_rows))
        lowest, highest, told = seen
        if self.at_least is not None and lowest < self.at_least:
            return self.refusal(f"{told}, but must be at least {self.at_least:g}.{_unjudged(found, min_rows)}")
        if self.at_most is not None and highest > self.at_most:
            return self.refusal(f"{told}, but must be at most {self.at_most:g}.{_unjudged(found, min_rows)}")
        return self.passing(f"{told}, which clears the bar.{_unjudged(found, min_rows)}")

    def observe(self, fairness: Fairness) -> tuple[float, float, str] | None:
        """Return the lowest and the highest value that must meet the bar, and a sentence of them without its end.

        ``None`` where it was not measured, or is not defined.
        """
        found = fairness.find(self.column)
        if found is None:
            return None
        min_rows = self.min_rows or fairness.min_rows
        if self.metric in RATES:
            rates = found.rate(self.metric, min_rows)
            if not rates:
                return None
            lowest, highest = min(rates, key=rates.__getitem__), max(rates, key=rates.__getitem__)
            span = f"{rates[lowest]:.4f} of {lowest} to {rates[highest]:.4f} of {highest}"
            told = f"By {self.column}, {self.metric} is {span}"
            return rates[lowest], rates[highest], told
        disparity = found.disparity(self.metric, min_rows)
        if disparity is None:
            return None
        champion = found.disparity(self.metric, min_rows, of_champion=True)
        beside = f", the champion's {champion.value:.4f}" if champion else ""
        told = f"By {self.column}, {disparity}: {self.metric} is {disparity.value:.4f}{beside}"
        return disparity.value, disparity.value, told

    def _why_unknown(self, found: FairnessColumn, min_rows: int) -> str:
        if not found.groups:
            return " ".join(found.notes) or f"{self.column!r} has no groups."
        rates = DISPARITIES[self.metric][0] if self.metric in DISPARITIES else (self.metric,)
        if lacking := [rate for rate in rates if rate not in found.groups[0].candidate]:
            has = ", ".join(found.groups[0].candidate)
            return f"The task has no {lacking[0]}, so {self.metric} cannot be judged; it has {has}."
        return (
            f"{self.metric} by {self.column} is not defined: it takes two groups with {' and '.join(rates)} of at "
            f"least {min_rows:,} rows, and for a ratio one above zero. There are {len(found.groups)} groups."
        )


def _unjudged(found: FairnessColumn, min_rows: int) -> str:
    small = found.small(min_rows)
    return f" Not judged, of fewer than {min_rows:,} rows: {', '.join(small)}." if small else ""
