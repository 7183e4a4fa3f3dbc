"""Gates of our own, beside the Dags. A policy names one by its path: ``kind: own_gates.BalanceGate``."""

from dataclasses import dataclass

from airflow_mlops.domain.evaluation import Evaluation
from airflow_mlops.domain.gates import FirstModel, Gate, GateVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceGate(Gate):
    """Alarms are worth as much as their weaker half: precision and recall may not be far apart."""

    at_most: float = 0.2

    @property
    def name(self) -> str:
        """How it reads in a table."""
        return f"precision and recall within {self.at_most:g}"

    def judge(self, evaluation: Evaluation, first_model: FirstModel) -> GateVerdict:
        """Compare the two; a metric that is not there is a refusal, as in every gate."""
        precision, recall = evaluation.find("precision"), evaluation.find("recall")
        if precision is None or recall is None:
            return self.refusal("The evaluation lacks precision or recall: it is not of a binary model.")
        values = precision.candidate.value, recall.candidate.value
        seen = f"Precision is {values[0]:.2f} and recall {values[1]:.2f}"
        if not abs(values[0] - values[1]) <= self.at_most:
            return self.refusal(f"{seen}; they may be at most {self.at_most:g} apart.")
        return self.passing(f"{seen}.")
