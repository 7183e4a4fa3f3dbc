"""A gate on how many rows the verdict rests on."""

from dataclasses import dataclass
from typing import ClassVar

from airflow_mlops.domain.evaluation import Evaluation
from airflow_mlops.domain.gates.base import FirstModel, Gate, GateVerdict
from airflow_mlops.exceptions import PolicyError


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsGate(Gate):
    """How many rows the holdout must have."""

    kind: ClassVar[str] = "rows"

    at_least: int

    def __post_init__(self) -> None:
        """Refuse a bar that is none."""
        if self.at_least < 1:
            msg = f"The rows gate has the bar {self.at_least}. Give at least 1."
            raise PolicyError(msg)

    @property
    def name(self) -> str:
        """How the gate reads in a table."""
        return f"holdout ≥ {self.at_least:,} rows"

    def judge(self, evaluation: Evaluation, first_model: FirstModel) -> GateVerdict:  # noqa: ARG002 - every gate's form
        """Count the rows that were judged."""
        if evaluation.rows < self.at_least:
            return self.refusal(f"The holdout must have at least {self.at_least:,} rows, but has {evaluation.rows:,}.")
        return self.passing(f"The holdout has {evaluation.rows:,} rows.")
