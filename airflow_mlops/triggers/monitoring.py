"""Wait for what the checks of a watched model find."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_mlops.domain.finding import FindingCondition
from airflow_mlops.exceptions import PermanentError, TransientError
from airflow_mlops.hooks.monitoring import monitoring_records


def find_finding(condition: FindingCondition) -> dict[str, Any] | None:
    """Return what is waited for as a dict, or ``None`` while there is nothing. Blocks while the storage is asked.

    A :class:`~airflow_mlops.domain.monitoring.WindowCheck`, or of a retraining its
    :class:`~airflow_mlops.domain.retraining.RetrainDecision`.
    """
    records = monitoring_records(condition.model_name)
    if condition.retraining:
        decision = condition.retrained(records.newest_decisions(_DECISIONS))
        return decision.to_dict() if decision else None
    check = condition.violated(records.checked_since(condition.since))
    return check.bounded().to_dict() if check else None


_DECISIONS = 100
"""Decisions that are looked through for a retraining."""


class FindingTrigger(BaseTrigger):
    """Wait until a window of a watched model is violated, or a retraining of it starts.

    A storage that does not answer is waited out; the sensor's timeout ends the wait. The event is
    ``{"found": {…}, "error": None}``, or has an error in words when the records cannot be read.

    :param condition: what is waited for, a :class:`~airflow_mlops.domain.finding.FindingCondition` as a dict.
    :param poll_interval: seconds between two looks.
    """

    def __init__(self, *, condition: Mapping[str, Any], poll_interval: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self.condition = FindingCondition.from_dict(condition)
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments, as the triggerer stores them."""
        return f"{__name__}.{type(self).__name__}", {
            "condition": self.condition.to_dict(),
            "poll_interval": self.poll_interval,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when the condition is met, or cannot be."""
        while True:
            await asyncio.sleep(self.poll_interval)  # The worker has looked just before.
            try:
                found = await asyncio.to_thread(find_finding, self.condition)
            except TransientError as error:
                self.log.warning("%s Waiting on, for %s.", error, self.condition)
                continue
            except PermanentError as error:
                yield _event(error=str(error))
                return
            if found is not None:
                yield _event(found=found)
                return


def _event(*, found: dict[str, Any] | None = None, error: str | None = None) -> TriggerEvent:
    return TriggerEvent({"found": found, "error": error})  # type: ignore[no-untyped-call]  # Airflow's
