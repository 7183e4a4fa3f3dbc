"""Ask people whether a candidate may become the champion, by the rules of the policy that judged it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import BaseNotifier, BaseXCom, Context, Param, conf
from airflow.sdk.exceptions import TaskAwaitingInput
from airflow.sdk.execution_time.hitl import HITLUser
from airflow.sdk.timezone import utcnow

from airflow_mlops.domain.approval import (
    Approval,
    ApprovalRules,
    GivenBy,
    Notice,
    NoticeKind,
    OnTimeout,
    answer_refusals,
)
from airflow_mlops.domain.audit.events import answer_given
from airflow_mlops.domain.promotion import PromotionDecision, judgement_refusals
from airflow_mlops.domain.promotion_changes import TrainedVersion, changes_since
from airflow_mlops.domain.promotion_summary import approval_summary
from airflow_mlops.domain.registry import CHAMPION, TAG_DATASET_URI, ModelVersion
from airflow_mlops.exceptions import InvalidInputError, PolicyError, PromotionRefusedError
from airflow_mlops.hooks.mlflow import MlflowHook
from airflow_mlops.hooks.roles import AIRFLOW_CONNECTION, roles_of_users
from airflow_mlops.hooks.storage import open_storage
from airflow_mlops.links.mlflow import ModelVersionLink
from airflow_mlops.operators.audit import append_event
from airflow_mlops.operators.base import permanent_errors_fail
from airflow_mlops.operators.policy import PolicySource, read_evidence, read_policy

if TYPE_CHECKING:
    from airflow_mlops.engines.mlflow import MlflowEngine

_SHORTEST_WAIT = timedelta(seconds=10)
"""Airflow kills a task that is resumed while the process that parked it still ends."""

Notifiers = Sequence[BaseNotifier] | BaseNotifier


class PromotionApprovalOperator(ApprovalOperator):
    """Ask a person, on Airflow's Required Actions page, whether a candidate may become the champion.

    Who may answer, by when, and what happens then, is in the policy's
    :class:`~airflow_mlops.domain.approval.ApprovalRules`; ``PromoteModelOperator`` checks it again. Where two people
    must agree, map the task: ``PromotionApprovalOperator.partial(…).expand(seat=[1, 2])``.

    The answer is bound to the decision that was shown: the form carries its digest, so an answer over the REST API has
    to send ``params_input`` with all that the request's ``params`` hold. Airflow keeps what it asked first when a task
    is cleared. When the decision has changed since, an answer would be to the old question, so it is refused.

    :param decision: what ``PromotionGateOperator`` returned (templated).
    :param policy: the same that was given to ``PromotionGateOperator`` (templated).
    :param seat: which of several people is asked.
    :param notifiers: told of the question, and reminded as the policy says. Their templates find ``approval`` in the
        context: a mapping of ``kind`` (``question``, ``reminder``, ``escalation``), ``subject``, ``url`` and ``hours``.
    :param escalation_notifiers: told when the policy's ``escalate_after_hours`` have passed.
    :param mlflow_conn_id: the MLflow connection.
    :param airflow_conn_id: connection to Airflow's API server, for policies that name roles of FAB.

    A rejection skips what follows. ``assigned_users``, ``defaults`` and ``response_timeout`` of ``ApprovalOperator``
    are refused: the policy says who and by when.

    Returns an :class:`~airflow_mlops.domain.approval.Approval` as a dict.

    :raises PromotionRefusedError: when the gates refused the candidate, the policy has changed, or the answer does not
        count.
    """

    FIXED_ARGS = [*ApprovalOperator.FIXED_ARGS, "assigned_users", "defaults", "response_timeout"]  # noqa: RUF012 - Airflow's
    template_fields: Sequence[str] = ("decision", "policy", *ApprovalOperator.template_fields)
    operator_extra_links = (ModelVersionLink(),)
    ui_color = "#fce5cd"

    def __init__(
        self,
        *,
        decision: Any,
        policy: PolicySource,
        seat: int = 1,
        escalation_notifiers: Notifiers = (),
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        airflow_conn_id: str = AIRFLOW_CONNECTION,
        subject: str = "Promote a model version",
        **kwargs: Any,
    ) -> None:
        permanent_errors_fail(kwargs)
        super().__init__(subject=subject, **kwargs)
        self.decision = decision
        self.policy = policy
        self.seat = seat
        self.escalation_notifiers = escalation_notifiers
        self.mlflow_conn_id = mlflow_conn_id
        self.airflow_conn_id = airflow_conn_id

    def execute(self, context: Context) -> Any:
        """Show what is known of the candidate and wait for an answer, or let the policy approve."""
        decision, rules = self.read(context)
        if not decision.passed:
            msg = f"Version {decision.version} of {decision.model_name} did not pass its gates, so nobody is asked."
            raise PromotionRefusedError(msg)
        mlflow = MlflowHook(self.mlflow_conn_id).engine()
        ModelVersionLink.persist(context, mlflow.version_url(decision.model_name, decision.version))
        if rules.approves_by_itself(decision):
            return self.record(self._by_policy(decision, context, GivenBy.POLICY, approved=True), context).to_dict()
        self._write_question(decision, rules, mlflow, context)
        asked_at = utcnow()
        wait = rules.wait_until(0, asked_at, asked_at)
        self.response_timeout = wait and max(wait, _SHORTEST_WAIT)
        self._tell(context, "question", 0.0)
        given = self.notifiers
        self.notifiers = _fresh(given)
        try:
            return super().execute(context)
        except TaskAwaitingInput as parked:
            parked.kwargs = {"asked_at": asked_at.isoformat(), "step": 0}
            raise
        finally:
            self.notifiers = given

    def read(self, context: Context) -> tuple[PromotionDecision, ApprovalRules]:
        """Return the decision and the rules of the policy that made it, or refuse when one of them has changed."""
        decision = PromotionDecision.from_dict(self.decision)
        policy = read_policy(self.policy, context)
        if reasons := judgement_refusals(decision, policy, read_evidence(decision.evidence)):
            msg = f"Version {decision.version} of {decision.model_name} cannot be approved. {' '.join(reasons)}"
            raise PromotionRefusedError(msg)
        return decision, policy.approval

    def summarise(self, decision: PromotionDecision, mlflow: MlflowEngine, context: Context) -> str:
        """Return the Markdown that the reviewer reads."""
        evidence = read_evidence(decision.evidence)
        candidate = mlflow.version(decision.model_name, decision.version)
        number = decision.champion_version
        champion = mlflow.version(decision.model_name, number) if number else None
        links = {
            "Evaluation report": decision.report_url,
            "Candidate in MLflow": mlflow.version_url(decision.model_name, decision.version),
            "Champion in MLflow": mlflow.version_url(decision.model_name, number) if number else "",
            "Dag run": _dag_run_url(context),
        }
        changes = changes_since(_trained(candidate, mlflow), _trained(champion, mlflow) if champion else None)
        return approval_summary(decision, evidence.evaluation, candidate, links, changes)

    def execute_complete(
        self, context: Context, event: dict[str, Any], asked_at: str | None = None, step: int = 0
    ) -> Any:
        """Record the answer and skip what follows a rejection, or remind, and wait on."""
        decision, rules = self.read(context)
        self._add_fields(decision, rules)
        if event.get("error_type") == "timeout" and step < len(rules.schedule):
            since = datetime.fromisoformat(asked_at) if asked_at else utcnow()
            event = self._wait_on(context, decision, rules, since, step)
        if "error" in event:
            return super().execute_complete(context, event)
        if event["responded_by_user"] is None and event.get("timedout"):
            approval = self._by_policy(
                decision, context, GivenBy.TIMEOUT, approved=event["chosen_options"] == [self.APPROVE]
            )
        else:
            approval = self.measure(decision, rules, event, context)
        self.record(approval, context)
        super().execute_complete(context, event)
        return approval.to_dict()

    def measure(
        self, decision: PromotionDecision, rules: ApprovalRules, event: Mapping[str, Any], context: Context
    ) -> Approval:
        """Turn Airflow's answer into an approval of the decision that was shown, if the policy lets it count."""
        given = event["params_input"] or {}
        shown = given.get("decision")
        if shown != decision.content_digest():
            msg = (
                f"The answer is to the decision {shown or 'that it does not name'}, but the gates' decision is "
                f"{decision.content_digest()}. Airflow shows a cleared task's first question again: start a new Dag "
                f"run. Over the REST API, send the params of the request back in params_input."
            )
            raise PromotionRefusedError(msg)
        user = event["responded_by_user"] or {}
        approval = Approval(
            decision_digest=shown,
            model_name=decision.model_name,
            version=decision.version,
            approved=event["chosen_options"] == [self.APPROVE],
            responder_id=str(user.get("id") or ""),
            responder_name=str(user.get("name") or ""),
            responded_at=event["responded_at"],
            comment=str(given.get("comment") or ""),
            reason_code=str(given.get("reason_code") or ""),
            triggered_by=triggered_by(context),
            seat=self.seat,
        )
        roles = roles_of_users(self.airflow_conn_id) if rules.roles else {}
        if reasons := answer_refusals(rules, approval, roles=roles):
            msg = f"The answer does not count. {' '.join(reasons)} Clear the task to ask again."
            raise PromotionRefusedError(msg)
        return approval

    def record(self, approval: Approval, context: Context) -> Approval:
        """Keep the answer. A rejection skips, which ends the task without a result, so this comes before.

        An answer that is not in the audit trail does not count.

        :raises AuditTrailBusyError: when it could not be recorded: a retry asks again.
        """
        append_event(context, answer_given(approval))
        context["ti"].xcom_push(key=BaseXCom.XCOM_RETURN_KEY, value=approval.to_dict())
        self.log.info("%s %s.", approval.who, "approved" if approval.approved else "rejected")
        return approval

    # The question ----------------------------------------------------------------------------------------------------

    def _write_question(
        self, decision: PromotionDecision, rules: ApprovalRules, mlflow: MlflowEngine, context: Context
    ) -> None:
        self.subject = self._subject(decision, rules)
        self.body = self.summarise(decision, mlflow, context)
        self.assigned_users = self._assignees(rules, triggered_by(context)) or None
        self._add_fields(decision, rules)

    def _subject(self, decision: PromotionDecision, rules: ApprovalRules) -> str:
        seat = f" (seat {self.seat} of {rules.approvals})" if rules.approvals > 1 else ""
        return f"Promote version {decision.version} of {decision.model_name} to {CHAMPION}?{seat}"

    def _add_fields(self, decision: PromotionDecision, rules: ApprovalRules) -> None:
        digest = decision.content_digest()
        if rules.reason_codes:
            self.params["reason_code"] = Param(
                "", type="string", enum=["", *rules.reason_codes], title="Reason code", description="Choose one."
            )
        self.params["comment"] = Param(
            "", type=["null", "string"], title="Comment", description="Recorded with the model version.", maxLength=2000
        )
        self.params["decision"] = Param(
            digest, type="string", enum=[digest], title="Decision", description="What your answer is bound to."
        )

    def _assignees(self, rules: ApprovalRules, started_by: str) -> list[HITLUser]:
        """Return who may answer, for Airflow to refuse all others. It cannot be told of members whose id is unknown."""
        if not rules.restricts_who:
            return []
        roles = roles_of_users(self.airflow_conn_id) if rules.roles else {}
        members = [user for user, held in roles.items() if rules.may_approve(user, held)]
        names = [
            name
            for name in dict.fromkeys([*rules.approvers, *members])
            if rules.allow_self_approval or name != started_by
        ]
        if len(names) < rules.approvals:
            msg = (
                f"The policy wants {rules.approvals} approvals, but only {', '.join(names) or 'nobody'} could give "
                f"one: it names {', '.join([*rules.approvers, *rules.roles])}, and the Dag run was started by "
                f"{started_by or 'nobody'}. Change the policy, or let somebody else start it."
            )
            raise PolicyError(msg)
        return [] if has_opaque_ids() and members else [HITLUser(id=name, name=name) for name in names]

    # The wait --------------------------------------------------------------------------------------------------------

    def _wait_on(
        self, context: Context, decision: PromotionDecision, rules: ApprovalRules, asked_at: datetime, step: int
    ) -> dict[str, Any]:
        """Do what is due and park the task again; at the deadline, return how the question ends."""
        wait = rules.wait_until(step, asked_at, utcnow())
        while wait == timedelta(0):  # Several are due at once when the scheduler was down.
            notice = rules.schedule[step]
            if notice.kind is NoticeKind.DEADLINE:
                return self._close(rules, notice)
            self._send(context, decision, rules, notice)
            step += 1
            wait = rules.wait_until(step, asked_at, utcnow())
        # Parking alone: asking anew would wipe out an answer that came meanwhile. Airflow resumes at once if one did.
        raise TaskAwaitingInput(
            method_name="execute_complete",
            kwargs={"asked_at": asked_at.isoformat(), "step": step},
            timeout=wait and max(wait, _SHORTEST_WAIT),
        )

    def _send(self, context: Context, decision: PromotionDecision, rules: ApprovalRules, notice: Notice) -> None:
        notifiers = self.escalation_notifiers if notice.kind is NoticeKind.ESCALATION else self.notifiers
        self.subject = self._subject(decision, rules)
        self._tell(context, notice.kind.value, notice.after_hours)
        self.log.info("Nobody has answered for %g hours: %s.", notice.after_hours, notice.kind.value)
        for notifier in _fresh(notifiers):
            try:
                notifier(context)
            except Exception:
                # The question must outlive a mail server: a failed task would ask anew and lose an answer on its way.
                self.log.exception("The %s could not be sent by %s.", notice.kind.value, type(notifier).__name__)

    def _close(self, rules: ApprovalRules, notice: Notice) -> dict[str, Any]:
        """Return the event that ends the question.

        Airflow lets no task look at its question. So an answer of the seconds in which this runs comes too late.
        """
        comment = f"Nobody answered within {notice.after_hours:g} hours."
        self.log.warning("%s The policy says: %s.", comment, rules.on_timeout.value)
        if rules.on_timeout is OnTimeout.FAIL:
            raise PromotionRefusedError(comment)  # A retry would ask anew.
        return {
            "chosen_options": [self.APPROVE if rules.on_timeout is OnTimeout.APPROVE else self.REJECT],
            "params_input": {},
            "responded_at": utcnow(),
            "responded_by_user": None,
            "timedout": True,
        }

    def _by_policy(
        self, decision: PromotionDecision, context: Context, given_by: GivenBy, *, approved: bool
    ) -> Approval:
        return Approval(
            decision_digest=decision.content_digest(),
            model_name=decision.model_name,
            version=decision.version,
            approved=approved,
            responder_id="",
            responder_name="",
            responded_at=utcnow(),
            given_by=given_by,
            triggered_by=triggered_by(context),
            seat=self.seat,
        )

    def _tell(self, context: Context, kind: str, hours: float) -> None:
        """Put into the context what templates of notifiers need."""
        notice = {
            "kind": kind,
            "subject": self.subject,
            "hours": hours,
            "url": self.generate_link_to_ui(task_instance=context["ti"])
            if conf.get("api", "base_url", fallback="")
            else "",
        }
        cast("dict[str, Any]", context)["approval"] = notice  # Airflow's type knows its own keys alone


def _fresh(notifiers: Notifiers) -> list[BaseNotifier]:
    """Return copies to be called, since rendering overwrites a notifier's templates: the next message needs them."""
    return [copy.copy(notifier) for notifier in ([notifiers] if isinstance(notifiers, BaseNotifier) else notifiers)]


def _trained(version: ModelVersion, mlflow: MlflowEngine) -> TrainedVersion:
    from airflow_mlops.engines.snapshots import read_manifest

    manifest = None
    with contextlib.suppress(InvalidInputError):  # Somebody has cleaned up: the rest is worth showing.
        manifest = read_manifest(open_storage(version.tags.get(TAG_DATASET_URI, "")))
    return TrainedVersion(version=version, params=mlflow.run_record(version.run_id).params, manifest=manifest)


def _dag_run_url(context: Context) -> str:
    base, ti = str(conf.get("api", "base_url", fallback="")).rstrip("/"), context["ti"]
    return f"{base}/dags/{ti.dag_id}/runs/{quote(ti.run_id, safe='')}" if base else ""


def triggered_by(context: Context) -> str:
    """Return the name of the user who started the Dag run; empty when no user did, or the operator runs by hand."""
    run: Any = context.get("dag_run")
    return str(getattr(run, "triggering_user_name", None) or "")


def has_opaque_ids() -> bool:
    """Whether the auth manager's user ids are not the user names that its roles are told by."""
    return not str(conf.get("core", "auth_manager", fallback="")).endswith(".SimpleAuthManager")
