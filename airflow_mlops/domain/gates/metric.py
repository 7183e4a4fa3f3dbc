"""Gates on the metrics of the holdout: a bar that the candidate must clear, an improvement that it must show."""

import math
from dataclasses import dataclass
from typing import ClassVar

from airflow_mlops.domain.evaluation import Evaluation, MetricComparison, PairedTest
from airflow_mlops.domain.gates.base import FirstModel, Gate, GateVerdict
from airflow_mlops.exceptions import PolicyError


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricGate(Gate):
    """A bar that one metric of the candidate must clear."""

    kind: ClassVar[str] = "metric"
    is_bar: ClassVar[bool] = True

    metric: str
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        """Refuse a gate without a bar."""
        if self.at_least is None and self.at_most is None:
            msg = f"The gate on {self.metric!r} has no bar. Give at_least or at_most."
            raise PolicyError(msg)

    @property
    def name(self) -> str:
        """How the gate reads in a table."""
        bars = [f"≥ {self.at_least:g}"] if self.at_least is not None else []
        bars += [f"≤ {self.at_most:g}"] if self.at_most is not None else []
        return f"{self.metric} {' and '.join(bars)}"

    def judge(self, evaluation: Evaluation, first_model: FirstModel) -> GateVerdict:  # noqa: ARG002 - every gate's form
        """Compare the candidate's value with the bar; the bar itself passes."""
        found = evaluation.find(self.metric)
        if found is None:
            return self.refusal(_missing(self.metric, evaluation))
        value = found.candidate.value
        if not math.isfinite(value):
            return self.refusal(f"{self.metric} is {value}, which is no number that clears a bar.")
        if self.at_least is not None and value < self.at_least:
            return self.refusal(f"{self.metric} must be at least {self.at_least:g}, but is {value:.4f}.")
        if self.at_most is not None and value > self.at_most:
            return self.refusal(f"{self.metric} must be at most {self.at_most:g}, but is {value:.4f}.")
        return self.passing(f"{self.metric} is {value:.4f}, which clears the bar.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImprovementGate(Gate):
    """An improvement over the champion that one metric must show.

    The improvement is the difference to the champion in the direction that is better for the metric. It must be
    strictly positive, at least ``absolute``, and at least ``relative`` times the champion's absolute value; the bars
    are those of MLflow's ``MetricThreshold``, so a champion at zero leaves a relative bar that any improvement clears.
    With ``confidence``, all of this must hold for the lower end of the difference's interval too.

    With ``margin`` the gate asks for non-inferiority in place of improvement: the candidate may be worse, but by less
    than the margin, and with ``confidence`` surely so. A tie passes.

    With ``significance`` the paired test of the evaluation must also find that the difference is no accident: its
    two-sided p-value may be at most this. The test is of no difference at all, so a bar is asked of the value alone.
    """

    kind: ClassVar[str] = "improvement"

    metric: str
    absolute: float = 0.0
    relative: float = 0.0
    confidence: float | None = None
    """Confidence level of the interval, such as 0.95; the evaluation must have been made with the same level."""
    margin: float | None = None
    """How much worse than the champion is still good enough, in the metric's unit; not together with another bar."""
    significance: float | None = None
    """Largest p-value, such as 0.05; not together with a margin, which the test says nothing of."""

    def __post_init__(self) -> None:
        """Refuse bars that are no bars."""
        if self.margin is not None and (not self.margin > 0 or self.absolute or self.relative):
            msg = (
                f"The improvement gate on {self.metric!r} has the margin {self.margin}. Give one above zero, and no "
                f"absolute or relative bar beside it: a candidate that must improve may not be worse."
            )
            raise PolicyError(msg)
        if self.significance is not None and (not 0 < self.significance < 1 or self.margin is not None):
            msg = (
                f"The improvement gate on {self.metric!r} has the significance {self.significance}. Give one such as "
                f"0.05, and no margin beside it: the test is of no difference. For a margin, give a confidence."
            )
            raise PolicyError(msg)
        if self.absolute < 0 or self.relative < 0:
            msg = f"The improvement gate on {self.metric!r} has a negative bar. Give zero or more."
            raise PolicyError(msg)
        if self.confidence is not None and not 0 < self.confidence < 1:
            msg = (
                f"The improvement gate on {self.metric!r} has the confidence {self.confidence}. Give one such as 0.95."
            )
            raise PolicyError(msg)

    @property
    def name(self) -> str:
        """How the gate reads in a table."""
        sure = f" ({self.confidence:.0%} confidence)" if self.confidence is not None else ""
        if self.margin is not None:
            return f"{self.metric} worse than champion by less than {self.margin:g}{sure}"
        bars = [f"{self.absolute:g}"] if self.absolute else []
        bars += [f"{self.relative:.1%}"] if self.relative else []
        size = f"by {' and '.join(bars)}" if bars else "at all"
        if self.significance is not None:
            sure += f" (p ≤ {self.significance:g})"
        return f"{self.metric} better than champion {size}{sure}"

    def judge(self, evaluation: Evaluation, first_model: FirstModel) -> GateVerdict:
        """Compare the improvement with the bar. A tie with the champion is not an improvement."""
        found = evaluation.find(self.metric)
        if found is None:
            return self.refusal(_missing(self.metric, evaluation))
        if evaluation.champion is None:
            return self.without_champion(first_model)
        return self._compare(found, evaluation)

    def _compare(self, found: MetricComparison, evaluation: Evaluation) -> GateVerdict:
        if found.champion is None or found.difference is None:
            return self.refusal(f"{self.metric} was not computed for the champion, so nothing can be compared.")
        sign = 1 if found.higher_is_better else -1
        improvement = sign * found.difference.value
        bar = max(self.absolute, self.relative * abs(found.champion.value))
        seen = f"{self.metric} is {found.candidate.value:.4f} against the champion's {found.champion.value:.4f}"
        asked = f"it must be better by at least {bar:.4f}" if bar else "it must be better"
        if self.margin is not None:
            asked = f"it may be worse by less than {self.margin:g}"
        if not self._clears(improvement, bar):
            return self.refusal(f"{seen}; {asked}, but it is {_change(improvement)}.")
        if accident := self._accident(found.test):
            return self.refusal(f"{seen}: {_change(improvement)}, but {accident}.")
        seen += f" (p {found.test})" if self.significance is not None else ""
        if self.confidence is None:
            return self.passing(f"{seen}: {_change(improvement)}.")
        if abs(self.confidence - evaluation.confidence_level) > 1e-9:  # noqa: PLR2004 - both come from decimal text
            return self.refusal(
                f"The policy asks for {self.confidence:.0%} confidence, but the evaluation's intervals are at "
                f"{evaluation.confidence_level:.0%}."
            )
        certain = min(sign * found.difference.low, sign * found.difference.high)
        interval = f"with {self.confidence:.0%} confidence the improvement is at least {certain:.4f}"
        is_sure = self._clears(certain, bar)
        return self.passing(f"{seen}; {interval}.") if is_sure else self.refusal(f"{seen}; {asked}, but {interval}.")

    def _clears(self, change: float, bar: float) -> bool:
        if self.margin is not None:
            return change > -self.margin and not _is_same(change, -self.margin)
        return change > 0 and (change >= bar or _is_same(change, bar))

    def _accident(self, test: PairedTest | None) -> str:
        """Say why the difference may be an accident, or nothing."""
        if self.significance is None:
            return ""
        if test is None:
            return "the difference was not tested, as the policy asks for"
        if test.p_value <= self.significance:
            return ""
        return f"that may be an accident: p is {test}, and may be at most {self.significance:g}"


def _is_same(change: float, bar: float) -> bool:
    """Whether the two differ by no more than the rounding of a difference: 0.9 - 0.8 is less than 0.1."""
    return math.isclose(change, bar, rel_tol=1e-9)


def _missing(metric: str, evaluation: Evaluation) -> str:
    computed = ", ".join(item.metric for item in evaluation.metrics) or "none"
    notes = f" {' '.join(evaluation.notes)}" if evaluation.notes else ""
    return f"The evaluation has no metric {metric!r} (it has {computed}).{notes}"


def _change(improvement: float) -> str:
    if improvement == 0:
        return "the same"
    return f"{abs(improvement):.4f} {'better' if improvement > 0 else 'worse'}"
