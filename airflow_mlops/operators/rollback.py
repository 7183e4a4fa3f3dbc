"""Return to what served before, by the deployments that the audit trail has recorded."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import AssetAlias, Context

from airflow_mlops.assets import model_asset
from airflow_mlops.domain.audit.entry import AuditEntry, Chain, EventKind
from airflow_mlops.domain.registry import CHAMPION, ModelVersion
from airflow_mlops.domain.rollback import (
    PREVIOUS,
    Rollback,
    RollbackPlan,
    further_back,
    plan_of,
    plan_rollback,
    rollback_begun,
    rollback_seen,
)
from airflow_mlops.exceptions import RegistryError, RollbackRefusedError
from airflow_mlops.hooks.audit import audit_trail
from airflow_mlops.hooks.mlflow import MlflowHook
from airflow_mlops.links.mlflow import ModelVersionLink
from airflow_mlops.operators.approval import triggered_by
from airflow_mlops.operators.audit import append_version_event, origin_of, refuse_rivals
from airflow_mlops.operators.base import MlopsOperator

if TYPE_CHECKING:
    from airflow_mlops.domain.audit.chain import ChainRecord
    from airflow_mlops.engines.mlflow import MlflowEngine


ROLLED_BACK = AssetAlias("mlops-rollbacks")
"""Through it comes the event of a model whose name is not known when the Dag is read."""


class RollbackModelOperator(MlopsOperator):
    """Make a version the champion again that served before, if it is still what it was.

    What served is read from the audit trail. Where the registry says otherwise (the alias was moved by hand, a
    promotion died on its way) or the trail is broken, nothing is done, until the drift is accepted; then it is recorded
    with the rollback. The version's artifacts are verified against the digest that was recorded. The rollback is
    written to the audit trail first, then the alias moves, and that it did is written, too. Of two promotions or
    rollbacks of a model at once one goes on. An event of the model's asset says so to other Dags.

    :param model_name: the registered model (templated). Where a template names it, the event of its asset comes through
        the asset alias ``mlops-rollbacks``.
    :param reason: why, for the records (templated).
    :param to: ``previous``, a version that served, the entry of its deployment (``#7``), or an ISO 8601 time: what
        served then (templated).
    :param accept_drift: go on although records and registry differ, and record it (templated: ``True`` or a text such
        as ``{{ params.accept_drift }}``).
    :param mlflow_conn_id: the MLflow connection.

    Returns a :class:`~airflow_mlops.domain.rollback.Rollback` as a dict.

    :raises RollbackRefusedError: when there is nothing to return to, or something is not as it was recorded.
    :raises PromotionUnderWayError: when another task promotes or rolls back this model at the same time.
    :raises AuditTrailBusyError: when the audit trail cannot be written.
    """

    template_fields: Sequence[str] = ("model_name", "reason", "to", "accept_drift")
    operator_extra_links = (ModelVersionLink(),)
    ui_color = "#f4cccc"

    def __init__(
        self,
        *,
        model_name: str,
        reason: str,
        to: str = PREVIOUS,
        accept_drift: bool | str = False,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_name = model_name
        self.reason = reason
        self.to = to
        self.accept_drift = accept_drift
        self.mlflow_conn_id = mlflow_conn_id
        is_known = isinstance(model_name, str) and "{{" not in model_name
        self.outlets = [*self.outlets, model_asset(model_name) if is_known else ROLLED_BACK]

    def execute(self, context: Context) -> dict[str, Any]:
        """Find what served before, check it, record what is about to be done, and move the alias."""
        mlflow = MlflowHook(self.mlflow_conn_id).engine()
        trail = audit_trail().read(Chain.of_model(self.model_name))
        begun = self.begun_before(trail, context)
        plan = plan_of(begun) if begun else self.measure(trail, mlflow)
        ModelVersionLink.persist(context, mlflow.version_url(plan.model_name, plan.version))
        target = self.verify(plan, trail, mlflow)
        begun = self.record(plan, target, mlflow, context, looked=(begun or trail).head.sequence)
        self.enforce(plan, target, mlflow)
        who = begun.happening.who
        append_version_event(context, rollback_seen(plan, who), target, mlflow)
        rollback = Rollback(
            model_name=plan.model_name,
            version=plan.version,
            previous_version=plan.previous_version,
            deployment=plan.deployment,
            reason=plan.reason,
            rolled_back_at=begun.event.at,
            approved_by=who,
            drift=plan.drift,
        )
        self.tell_others(rollback, context)
        return rollback.to_dict()

    def begun_before(self, trail: ChainRecord, context: Context) -> AuditEntry | None:
        """Return the rollback that an earlier try of this task has begun: a retry carries out the same one."""
        own = origin_of(context)
        return next(
            (
                entry
                for entry in reversed(trail.entries)
                if entry.event_kind is EventKind.ROLLBACK
                and entry.event.origin.work_key == own.work_key
                and entry.event.origin.clear_number == own.clear_number
            ),
            None,
        )

    def measure(self, trail: ChainRecord, mlflow: MlflowEngine) -> RollbackPlan:
        """Return what is to be done, or refuse."""
        champion = mlflow.version_by_alias(self.model_name, CHAMPION)
        plan = plan_rollback(
            trail.entries,
            trail.findings,
            model_name=self.model_name,
            to=self.to,
            reason=self.reason,
            champion=champion.version if champion else None,
            versions=[version.version for version in mlflow.versions(self.model_name)],
        )
        for drift in plan.drift:
            self.log.warning("DRIFT | %s", drift)
        if plan.drift and not _is_true(self.accept_drift):
            msg = (
                f"{self.model_name} is not rolled back, since the records and the registry do not agree. "
                f"{' '.join(plan.drift)} Look who moved it. To go on all the same, to version {plan.version}, start "
                f"again with accept_drift: it will be recorded."
            )
            raise RollbackRefusedError(msg)
        return plan

    def verify(self, plan: RollbackPlan, trail: ChainRecord, mlflow: MlflowEngine) -> ModelVersion:
        """Return the version as the registry has it, if its artifacts are those that were recorded."""
        try:
            target = mlflow.version(plan.model_name, plan.version)
            if target.model_digest != plan.model_digest:
                msg = (
                    f"{target} has another digest than was recorded: {target.model_digest}, but the records say "
                    f"{plan.model_digest}."
                )
                raise RegistryError(msg)  # noqa: TRY301 - told as the other reasons are
            with tempfile.TemporaryDirectory(prefix="airflow-mlops-") as folder:
                mlflow.download(target, Path(folder))  # Refuses artifacts that are not what was registered.
        except RegistryError as error:
            champion = mlflow.version_by_alias(plan.model_name, CHAMPION)
            instead = further_back(
                trail.entries,
                plan.deployment,
                champion=champion.version if champion else None,
                versions=[version.version for version in mlflow.versions(plan.model_name)],
            )
            msg = f"{plan.model_name} is not rolled back to version {plan.version}. {error} {instead}"
            raise RollbackRefusedError(msg) from error
        return target

    def record(
        self, plan: RollbackPlan, target: ModelVersion, mlflow: MlflowEngine, context: Context, *, looked: int
    ) -> AuditEntry:
        """Write the rollback to the audit trail: the alias must not move without it.

        :param looked: number of the last entry when the plan was made.
        """
        guard = refuse_rivals(context, looked)
        begun = append_version_event(context, rollback_begun(plan, self.who(context)), target, mlflow, guard=guard)
        # What an earlier try has written is found without asking the guard.
        guard(audit_trail().read(Chain.of_model(plan.model_name)).entries)
        return begun

    def who(self, context: Context) -> str:
        """Return the person who decided it: the one who started the Dag run."""
        return triggered_by(context)

    def enforce(self, plan: RollbackPlan, target: ModelVersion, mlflow: MlflowEngine) -> None:
        """Move the alias, and see that it moved."""
        before = mlflow.version_by_alias(plan.model_name, CHAMPION)
        named = before.version if before else None
        if named not in {plan.previous_version, plan.version}:
            msg = (
                f"The alias {CHAMPION} of {plan.model_name} names {before or 'no version'} now, but it named "
                f"{plan.previous_version or 'none'} when the rollback was planned: somebody has moved it meanwhile. "
                f"Nothing was done. Look at the registry, then start again."
            )
            raise RollbackRefusedError(msg)
        mlflow.set_alias(target, CHAMPION)
        now = mlflow.version_by_alias(plan.model_name, CHAMPION)
        if now is None or now.version != plan.version:
            msg = (
                f"{target} was made {CHAMPION} again, but right after that the alias named {now or 'nothing'}: "
                f"somebody moves it at the same time. Look at the registry before you go on."
            )
            raise RollbackRefusedError(msg)
        self.log.info("%s is the %s again (before: %s): %s", target, CHAMPION, named or "none", plan.reason)

    def tell_others(self, rollback: Rollback, context: Context) -> None:
        """Emit the event of the model's asset, also where the model is known only now."""
        asset, events = model_asset(rollback.model_name), context["outlet_events"]
        if ROLLED_BACK in self.outlets:
            events[ROLLED_BACK].add(asset, extra=rollback.to_dict())
        else:
            events[asset].extra = rollback.to_dict()


def _is_true(value: bool | str) -> bool:  # noqa: FBT001 - a template gives a text
    return str(value).strip().lower() in {"true", "1", "yes"}
