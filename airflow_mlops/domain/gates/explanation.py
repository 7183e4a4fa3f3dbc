"""A gate on explanations: that the candidate has one, and that it depends on what the champion depended on."""

from dataclasses import dataclass
from typing import ClassVar

from airflow_mlops.domain.evaluation import Evaluation
from airflow_mlops.domain.explanation import Explanation
from airflow_mlops.domain.gates.base import FirstModel, Gate, GateVerdict
from airflow_mlops.exceptions import PolicyError


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationGate(Gate):
    """That the candidate's features have importances and, with a bar, that they are much like the champion's."""

    kind: ClassVar[str] = "explanation"

    drift_at_most: float | None = None
    """Share of the importance that may have moved to other features, above 0 and at most 1."""

    def __post_init__(self) -> None:
        """Refuse a bar that no drift, or any, clears."""
        if self.drift_at_most is not None and not 0 < self.drift_at_most <= 1:
            msg = f"The explanation gate has drift_at_most {self.drift_at_most}. Give a share such as 0.3."
            raise PolicyError(msg)

    @property
    def name(self) -> str:
        """How the gate reads in a table."""
        return "explained" if self.drift_at_most is None else f"explained, importance moved ≤ {self.drift_at_most:.0%}"

    def judge(self, evaluation: Evaluation, first_model: FirstModel) -> GateVerdict:
        """Look for importances, and compare what has moved with the bar, which itself passes."""
        explanation = evaluation.explanation
        if explanation is None:
            return self.refusal("The evaluation explains nothing. Evaluate it again, with `explain` in its spec.")
        ranked = explanation.candidate.ranked
        if not ranked:
            return self.refusal(f"The candidate is not explained. {' '.join(explanation.candidate.notes)}".rstrip())
        first = f"{len(ranked)} features are explained by {explanation.candidate.metric}, {ranked[0].feature} first"
        if self.drift_at_most is None:
            return self.passing(f"{first}.")
        if evaluation.champion is None:
            return self.without_champion(first_model)
        return self._compare(explanation, self.drift_at_most)

    def _compare(self, explanation: Explanation, bar: float) -> GateVerdict:
        drift = explanation.drift
        if drift is None:
            return self.refusal(f"The drift of importances is not known. {' '.join(explanation.notes)}".rstrip())
        largest = drift.changes[0]
        seen = (
            f"{drift.moved:.0%} of the importance is on other features than the champion's, most of it with "
            f"{largest.feature} ({_share(largest.champion)} before, {_share(largest.candidate)} now)"
        )
        if drift.moved > bar:
            return self.refusal(f"{seen}, but at most {bar:.0%} may be.")
        return self.passing(f"{seen}.")


def _share(share: float | None) -> str:
    return "not a feature" if share is None else f"{share:.0%}"
