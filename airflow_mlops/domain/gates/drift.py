"""A gate on data drift: a model that learned from another world than the one it will meet is no safe choice."""

from dataclasses import dataclass
from typing import ClassVar

from airflow_mlops.domain.drift import ColumnDrift
from airflow_mlops.domain.evaluation import Evaluation
from airflow_mlops.domain.gates.base import FirstModel, Gate, GateVerdict
from airflow_mlops.exceptions import PolicyError

_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftGate(Gate):
    """How much the production data may differ from the candidate's training data.

    What counts as drift of a column is said by the evaluation (``production.threshold``), which must have been told to
    measure it.
    """

    kind: ClassVar[str] = "drift"

    max_share: float = 0.5
    """Largest share of columns that may have drifted. Half is Evidently's default for a whole data set."""
    stable: tuple[str, ...] = ()
    """Columns that must not have drifted at all, such as those that matter most to the model."""

    def __post_init__(self) -> None:
        """Refuse a bar that is none."""
        if not 0 <= self.max_share < 1:
            msg = f"The drift gate has the max_share {self.max_share}. Give a share from 0 to below 1."
            raise PolicyError(msg)

    @property
    def name(self) -> str:
        """How the gate reads in a table."""
        stable = f", none of {', '.join(self.stable)}" if self.stable else ""
        return f"≤ {self.max_share:.0%} of columns drifted{stable}"

    def judge(self, evaluation: Evaluation, first_model: FirstModel) -> GateVerdict:  # noqa: ARG002 - every gate's form
        """Count the columns that have drifted."""
        drift = evaluation.drift
        if drift is None:
            return self.refusal("Drift was not measured. Evaluate with spec={'production': {}}.")
        if drift.refused or not drift.compared:
            return self.refusal(" ".join(drift.refused) or "There was no column to compare.")
        if unknown := sorted(set(self.stable) - {item.column for item in drift.columns}):
            known = ", ".join(item.column for item in drift.columns)
            return self.refusal(f"The drift of {', '.join(unknown)} was not measured (only that of {known}).")
        seen = (
            f"{len(drift.drifted)} of {len(drift.columns)} columns differ between {drift.reference.dataset_name} and "
            f"{drift.current.dataset_name}{_furthest(drift.drifted)}"
        )
        if moved := [item.column for item in drift.drifted if item.column in self.stable]:
            return self.refusal(f"{seen}; {', '.join(moved)} must not.")
        if drift.share > self.max_share:
            return self.refusal(f"{seen}; at most {self.max_share:.0%} may.")
        return self.passing(f"{seen}.")


def _furthest(drifted: tuple[ColumnDrift, ...]) -> str:
    if not drifted:
        return ""
    shown = ", ".join(f"{item.column} {item.value or 0:.2f}" for item in drifted[:_SHOWN])
    return f" ({shown}{', …' if len(drifted) > _SHOWN else ''})"
