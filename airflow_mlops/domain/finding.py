"""What a Dag that follows a watched model waits for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from airflow_mlops.domain.moment import utc
from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, WindowCheck
from airflow_mlops.domain.retraining import KIND_NAMES, RetrainDecision, WindowOutcome
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import InvalidInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingCondition(Document):
    """A window of a model that ends after a time is violated, or made a retraining start."""

    model_name: str
    since: datetime
    kinds: tuple[CheckKind, ...] = (CheckKind.DATA_DRIFT,)
    retraining: bool = False
    """Whether a retraining for one of the kinds is waited for, and not a violated window."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "since", utc(self.since))
        if not self.kinds:
            msg = "No kind of finding is named, so that none could be waited for. Give at least one."
            raise InvalidInputError(msg)

    def violated(self, outcomes: Sequence[WindowOutcome]) -> WindowCheck | None:
        """Return the first check that is waited for, of windows that are given oldest first."""
        return next(
            (
                check
                for outcome in outcomes
                if outcome.window.end > self.since
                for check in outcome.findings()
                if check.kind in self.kinds and check.verdict is CheckVerdict.VIOLATED
            ),
            None,
        )

    def retrained(self, decisions: Sequence[RetrainDecision]) -> RetrainDecision | None:
        """Return the first retraining that is waited for, of decisions that are given oldest first."""
        return next(
            (
                decision
                for decision in decisions
                if decision.is_retraining and decision.window.end > self.since and set(decision.kinds) & set(self.kinds)
            ),
            None,
        )

    def __str__(self) -> str:
        """Return what is waited for, for people."""
        kinds = " or ".join(KIND_NAMES[kind] for kind in self.kinds)
        what = "a retraining" if self.retraining else "a window"
        return f"{what} of {self.model_name} with {kinds} after {self.since.isoformat()}"
