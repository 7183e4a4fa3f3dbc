"""Wait for what the checks of a watched model find, so that other Dags act on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import BaseSensorOperator, Context, PokeReturnValue, conf
from airflow.sdk.exceptions import AirflowSkipException

from airflow_mlops.domain.finding import FindingCondition
from airflow_mlops.domain.monitoring import CheckKind
from airflow_mlops.exceptions import InvalidInputError
from airflow_mlops.operators.base import permanent_errors_fail
from airflow_mlops.triggers.monitoring import FindingTrigger, find_finding


class DriftSensor(BaseSensorOperator):
    """Wait until a window of a watched model has drifted, or a retraining starts; or until ``timeout`` has passed.

    It reads what the check operators write down of each window, and ``RetrainDecisionOperator`` of its decisions. A
    window whose data failed its validation has no drift. Where a Dag should start on each retraining, schedule it on
    ``retraining_asset(model_name)`` instead.

    :param model_name: the model that is watched; one that no record is of yet is waited for (templated).
    :param since: only windows that end after this time, in ISO 8601 (templated).
    :param kinds: what is waited for: ``data_drift``, ``decay``, ``bias`` or ``quality``; one of several suffices.
    :param retraining: wait for a retraining that has one of these kinds as its reason, not for a single window.
    :param deferrable: free the worker; a triggerer looks then, at ``poke_interval``. Default is
        ``[operators] default_deferrable``.

    Returns the first :class:`~airflow_mlops.domain.monitoring.WindowCheck` that is violated, as a dict; with
    ``retraining`` the :class:`~airflow_mlops.domain.retraining.RetrainDecision`.

    :raises InvalidInputError: when ``since`` is no time, or the records cannot be read.
    """

    template_fields: Sequence[str] = ("model_name", "since")
    ui_color = "#d0e0e3"

    def __init__(
        self,
        *,
        model_name: str,
        since: datetime | str,
        kinds: Sequence[str] = (CheckKind.DATA_DRIFT.value,),
        retraining: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        permanent_errors_fail(kwargs)
        super().__init__(**kwargs)
        self.model_name = model_name
        self.since = since
        self.kinds = kinds
        self.retraining = retraining
        self.deferrable = deferrable

    def condition(self) -> FindingCondition:
        """Return what is waited for, from the rendered parameters."""
        since = self.since.isoformat() if isinstance(self.since, datetime) else self.since
        return FindingCondition.from_dict(
            {
                "model_name": self.model_name,
                "since": since,
                "kinds": [self.kinds] if isinstance(self.kinds, str) else list(self.kinds),
                "retraining": self.retraining,
            }
        )

    def execute(self, context: Context) -> Any:
        """Look once, and leave the rest to a triggerer, or look until there is something."""
        if not self.deferrable:
            return super().execute(context)
        condition = self.condition()
        if (found := find_finding(condition)) is not None:
            return found
        self.log.info("Waiting for %s.", condition)
        return self.defer(
            trigger=FindingTrigger(condition=condition.to_dict(), poll_interval=self.poke_interval),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )

    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002 - Airflow's
        """Look once."""
        condition = self.condition()
        found = find_finding(condition)
        if found is None:
            self.log.info("Waiting for %s.", condition)
        return PokeReturnValue(is_done=found is not None, xcom_value=found)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - Airflow's
        """Return what the trigger has found, or fail as a look of one's own would have."""
        if event["error"]:
            if self.never_fail:
                msg = f"Skipping, since never_fail is set: {event['error']}"
                raise AirflowSkipException(msg)
            raise InvalidInputError(event["error"])
        found: dict[str, Any] = event["found"]
        return found
