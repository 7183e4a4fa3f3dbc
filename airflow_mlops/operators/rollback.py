"""Return to what served before, by the deployments that the audit trail has recorded."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import AssetAlias, Context

from airflow_mlops.assets import model_asset
from airflow_mlops.domain.approval import Approval, ApprovalRules, approval_refusals
from airflow_mlops.domain.audit.answers import unrecorded_refusals
from airflow_mlops.domain.audit.entry import AuditEntry, Chain, EventKind
from airflow_mlops.domain.promotion import PromotionDecision
from airflow_mlops.domain.registry import CHAMPION, ModelVersion
from airflow_mlops.domain.rollback import (
    PREVIOUS,
    Rollback,
    RollbackPlan,
    further_back,
    plan_of,
    plan_rollback,
    rollback_begun,
    rollback_decision,
    rollback_seen,
    rollback_summary,
)
from airflow_mlops.exceptions import RegistryError, RollbackRefusedError
from airflow_mlops.hooks.audit import audit_trail
from airflow_mlops.hooks.mlflow import MlflowHook
from airflow_mlops.hooks.roles import AIRFLOW_CONNECTION, roles_of_users
from airflow_mlops.links.mlflow import ModelVersionLink
from airflow_mlops.operators.approval import PromotionApprovalOperator, triggered_by
from airflow_mlops.operators.audit import append_version_event, origin_of, refuse_rivals
from airflow_mlops.operators.base import MlopsOperator

if TYPE_CHECKING:
    from airflow_mlops.domain.audit.chain import ChainRecord
    from airflow_mlops.engines.mlflow import MlflowEngine


Rules = ApprovalRules | Mapping[str, Any]

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
    :param approval: what ``RollbackApprovalOperator`` returned, or the list of what its seats did (templated).
    :param rules: :class:`~airflow_mlops.domain.approval.ApprovalRules`, or the same as a mapping: who must have
        approved. Without them nobody is asked for.
    :param mlflow_conn_id: the MLflow connection.
    :param airflow_conn_id: connection to Airflow's API server, for rules that name roles of FAB.

    Returns a :class:`~airflow_mlops.domain.rollback.Rollback` as a dict.

    :raises RollbackRefusedError: when there is nothing to return to, or something is not as it was recorded.
    :raises PromotionUnderWayError: when another task promotes or rolls back this model at the same time.
    :raises AuditTrailBusyError: when the audit trail cannot be written.
    """

    template_fields: Sequence[str] = ("model_name", "reason", "to", "accept_drift", "approval")
    operator_extra_links = (ModelVersionLink(),)
    ui_color = "#f4cccc"

    def __init__(
        self,
        *,
        model_name: str,
        reason: str,
        to: str = PREVIOUS,
        accept_drift: bool | str = False,
        approval: Any = None,
        rules: Rules | None = None,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        airflow_conn_id: str = AIRFLOW_CONNECTION,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_name = model_name
        self.reason = reason
        self.to = to
        self.accept_drift = accept_drift
        self.approval = approval
        self.rules = rules
        self.mlflow_conn_id = mlflow_conn_id
        self.airflow_conn_id = airflow_conn_id
        is_known = isinstance(model_name, str) and "{{" not in model_name
        self.outlets = [*self.outlets, model_asset(model_name) if is_known else ROLLED_BACK]

    def execute(self, context: Context) -> dict[str, Any]:
        """Find what served before, check it, record what is about to be done, and move the alias."""
        mlflow = MlflowHook(self.mlflow_conn_id).engine()
        trail = audit_trail().read(Chain.of_model(self.model_name))
        begun = self.begun_before(trail, context)
        plan = plan_of(begun) if begun else self.measure(trail, mlflow, context)
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

    def measure(self, trail: ChainRecord, mlflow: MlflowEngine, context: Context) -> RollbackPlan:
        """Return what is to be done, or refuse."""
        plan = _plan(self, trail, mlflow)
        if self.rules is not None:
            rules = _rules(self.rules)
            decision = rollback_decision(plan, rules)
            approvals = self.read_approvals()
            roles = roles_of_users(self.airflow_conn_id) if rules.roles else {}
            reasons = [
                *approval_refusals(rules, decision, approvals, roles=roles, triggered_by=triggered_by(context)),
                *unrecorded_refusals(decision, approvals, trail.entries, run_id=context["ti"].run_id),
            ]
            if reasons:
                msg = f"{self.model_name} is not rolled back to version {plan.version}. {' '.join(reasons)}"
                raise RollbackRefusedError(msg)
        return plan

    def read_approvals(self) -> list[Approval]:
        """Return the answers: one, or those of all seats. A seat that was marked as success by hand has none."""
        given = [self.approval] if isinstance(self.approval, Mapping) else list(self.approval or ())
        return [Approval.from_dict(item) for item in given if item is not None]

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
        """Return the people who decided it: those who approved it, else the one who started the Dag run."""
        approved = self.read_approvals() if self.rules is not None else []
        return ", ".join(dict.fromkeys(approval.who for approval in approved)) or triggered_by(context)

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


class RollbackApprovalOperator(PromotionApprovalOperator):
    """Ask people, on Airflow's Required Actions page, whether to roll back, by rules as those of a promotion.

    The answer is bound to the plan that was shown: to which version, in place of which, why, and with which drift.
    Where two people must agree, map the task: ``RollbackApprovalOperator.partial(…).expand(seat=[1, 2])``.

    :param model_name, reason, to, accept_drift: the same that are given to ``RollbackModelOperator`` (templated).
    :param rules: :class:`~airflow_mlops.domain.approval.ApprovalRules`, or the same as a mapping.

    Further parameters: see :class:`~airflow_mlops.operators.approval.PromotionApprovalOperator`.

    Returns an :class:`~airflow_mlops.domain.approval.Approval` as a dict.

    :raises RollbackRefusedError: when there is nothing to return to; nobody is asked then.
    """

    template_fields: Sequence[str] = (
        "model_name",
        "reason",
        "to",
        "accept_drift",
        *ApprovalOperator.template_fields,
    )

    def __init__(
        self,
        *,
        model_name: str,
        reason: str,
        rules: Rules,
        to: str = PREVIOUS,
        accept_drift: bool | str = False,
        subject: str = "Roll back a model",
        **kwargs: Any,
    ) -> None:
        super().__init__(decision=None, policy={}, subject=subject, **kwargs)
        self.model_name = model_name
        self.reason = reason
        self.rules = rules
        self.to = to
        self.accept_drift = accept_drift

    def plan(self) -> RollbackPlan:
        """Return what the rollback would do at this moment, or refuse."""
        mlflow = MlflowHook(self.mlflow_conn_id).engine()
        return _plan(self, audit_trail().read(Chain.of_model(self.model_name)), mlflow)

    def read(self, context: Context) -> tuple[PromotionDecision, ApprovalRules]:  # noqa: ARG002 - of the base
        """Return the question and the rules."""
        rules = _rules(self.rules)
        return rollback_decision(self.plan(), rules), rules

    def summarise(self, decision: PromotionDecision, mlflow: MlflowEngine, context: Context) -> str:  # noqa: ARG002 - of the base
        """Return the Markdown that the reviewer reads."""
        number = decision.champion_version
        links = {
            "Back to, in MLflow": mlflow.version_url(decision.model_name, decision.version),
            "Now, in MLflow": mlflow.version_url(decision.model_name, number) if number else "",
        }
        return rollback_summary(self.plan(), links)

    def _subject(self, decision: PromotionDecision, rules: ApprovalRules) -> str:
        seat = f" (seat {self.seat} of {rules.approvals})" if rules.approvals > 1 else ""
        return f"Roll {decision.model_name} back to version {decision.version}?{seat}"


def _plan(
    asked: RollbackModelOperator | RollbackApprovalOperator, trail: ChainRecord, mlflow: MlflowEngine
) -> RollbackPlan:
    """Return what is to be done by the records and the registry of this moment, or refuse."""
    champion = mlflow.version_by_alias(asked.model_name, CHAMPION)
    plan = plan_rollback(
        trail.entries,
        trail.findings,
        model_name=asked.model_name,
        to=asked.to,
        reason=asked.reason,
        champion=champion.version if champion else None,
        versions=[version.version for version in mlflow.versions(asked.model_name)],
    )
    for drift in plan.drift:
        asked.log.warning("DRIFT | %s", drift)
    if plan.drift and not _is_true(asked.accept_drift):
        msg = (
            f"{asked.model_name} is not rolled back, since the records and the registry do not agree. "
            f"{' '.join(plan.drift)} Look who moved it. To go on all the same, to version {plan.version}, start "
            f"again with accept_drift: it will be recorded."
        )
        raise RollbackRefusedError(msg)
    return plan


def _rules(rules: Rules) -> ApprovalRules:
    return rules if isinstance(rules, ApprovalRules) else ApprovalRules.from_dict(rules)


def _is_true(value: bool | str) -> bool:  # noqa: FBT001 - a template gives a text
    return str(value).strip().lower() in {"true", "1", "yes"}
