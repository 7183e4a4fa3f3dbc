"""From evidence to the champion: gates decide whether to ask, and promotion checks all of it again."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseXCom, Context, SkipMixin
from airflow.sdk.timezone import utcnow

from airflow_mlops.assets import model_asset
from airflow_mlops.domain.approval import Approval, approval_refusals
from airflow_mlops.domain.audit.answers import unrecorded_refusals
from airflow_mlops.domain.audit.entry import Chain
from airflow_mlops.domain.audit.events import gates_judged, promotion_begun, version_deployed
from airflow_mlops.domain.evaluation import Evidence, EvidenceReference
from airflow_mlops.domain.promotion import (
    GateMode,
    Promotion,
    PromotionDecision,
    judgement_refusals,
    promotion_refusals,
)
from airflow_mlops.domain.registry import (
    CHALLENGER,
    CHAMPION,
    TAG_APPROVAL_COMMENT,
    TAG_DECISION,
    TAG_EVIDENCE,
    TAG_PREVIOUS_CHAMPION,
    TAG_PROMOTED_AT,
    TAG_PROMOTED_BY,
    TAG_PROMOTED_BY_ID,
    ModelVersion,
)
from airflow_mlops.domain.serialization import digest_of
from airflow_mlops.exceptions import PromotionRefusedError
from airflow_mlops.hooks.audit import audit_trail
from airflow_mlops.hooks.mlflow import MlflowHook
from airflow_mlops.hooks.roles import AIRFLOW_CONNECTION, roles_of_users
from airflow_mlops.hooks.storage import open_storage
from airflow_mlops.links.mlflow import ModelVersionLink
from airflow_mlops.operators.approval import triggered_by
from airflow_mlops.operators.audit import append_version_event, refuse_rivals
from airflow_mlops.operators.base import MlopsOperator
from airflow_mlops.operators.policy import PolicySource, read_evidence, read_policy

if TYPE_CHECKING:
    from airflow_mlops.engines.mlflow import MlflowEngine


class PromotionGateOperator(MlopsOperator, SkipMixin):
    """Judge the evidence by a policy. A model that does not pass is a verdict, not an error: what follows is skipped.

    A candidate that passes gets the alias ``challenger``.

    :param evidence: what ``EvaluateModelOperator`` returned (templated).
    :param policy: a :class:`~airflow_mlops.domain.promotion.PromotionPolicy`, the same as a mapping, or the path of a
        YAML or JSON file (relative paths start at the Dag's folder; templated).
    :param mlflow_conn_id: the MLflow connection.

    Returns a :class:`~airflow_mlops.domain.promotion.PromotionDecision` as a dict, whatever the verdict.

    :raises PolicyError: when the policy cannot be used.
    :raises EvaluationError: when the stored evaluation has changed.
    """

    template_fields: Sequence[str] = ("evidence", "policy")
    operator_extra_links = (ModelVersionLink(),)
    ui_color = "#fce5cd"
    inherits_from_skipmixin = True

    def __init__(
        self,
        *,
        evidence: Any,
        policy: PolicySource,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.evidence = evidence
        self.policy = policy
        self.mlflow_conn_id = mlflow_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Measure the candidate against the policy, record the verdict, and let nothing follow a refusal."""
        decision = self.measure(context)
        self.record(decision, context)
        self.enforce(decision, context)
        return decision.to_dict()

    def measure(self, context: Context) -> PromotionDecision:
        """Ask every gate of the policy."""
        return read_policy(self.policy, context).judge(read_evidence(EvidenceReference.from_dict(self.evidence)))

    def record(self, decision: PromotionDecision, context: Context) -> None:
        """Log every verdict, keep the decision, and name the challenger."""
        for verdict in decision.verdicts:
            self.log.info(
                "%s | %s | %s",
                "REFUSE" if verdict.refuses else "pass" if verdict.mode is GateMode.ENFORCE else verdict.mode.value,
                verdict.gate,
                verdict.reason,
            )
        mlflow = MlflowHook(self.mlflow_conn_id).engine()
        ModelVersionLink.persist(context, mlflow.version_url(decision.model_name, decision.version))
        candidate = mlflow.version(decision.model_name, decision.version)
        append_version_event(context, gates_judged(decision), candidate, mlflow)
        if decision.passed:
            mlflow.set_alias(candidate, CHALLENGER)
        # Skipping ends the task without a result, so a refusal has to be kept before.
        context["ti"].xcom_push(key=BaseXCom.XCOM_RETURN_KEY, value=decision.to_dict())

    def enforce(self, decision: PromotionDecision, context: Context) -> None:
        """Skip what follows a refusal."""
        if decision.passed:
            self.log.info("Version %s of %s passed its gates.", decision.version, decision.model_name)
            return
        self.log.warning(
            "Version %s of %s is refused: %s Nothing is promoted.",
            decision.version,
            decision.model_name,
            " ".join(verdict.reason for verdict in decision.verdicts if verdict.refuses),
        )
        self.skip(ti=context["ti"], tasks=context["task"].get_direct_relatives(upstream=False))


class PromoteModelOperator(MlopsOperator):
    """Make an approved candidate the champion, if everything is still as it was judged and approved.

    Checked at this moment: the policy is the one that judged, and says the same of the stored evidence again; the
    approvals are to this decision, in the audit trail, and of as many different people, with the rights, as the policy
    wants; the version, its artifacts and the evidence are what was judged; the champion is the one that the candidate
    was compared with. Who approved it, when, why and what served before is written to the audit trail and on the
    version first, then the alias moves, and that it did is written, too. Of two promotions of a model at once one goes
    on. An event of the model's asset says so to other Dags.

    :param decision: what ``PromotionGateOperator`` returned (templated).
    :param approval: what ``PromotionApprovalOperator`` returned, or the list of what its seats did (templated).
    :param policy: the same that was given to ``PromotionGateOperator`` (templated).
    :param model_name: name of the model, for its asset; the decision's version is what is promoted.
    :param mlflow_conn_id: the MLflow connection.
    :param airflow_conn_id: connection to Airflow's API server, for policies that name roles of FAB.

    Returns a :class:`~airflow_mlops.domain.promotion.Promotion` as a dict.

    :raises PromotionRefusedError: with every reason not to promote.
    :raises PromotionUnderWayError: when another task promotes a version of this model at the same time.
    :raises AuditTrailBusyError: when the audit trail cannot be written.
    """

    template_fields: Sequence[str] = ("decision", "approval", "policy")
    operator_extra_links = (ModelVersionLink(),)
    ui_color = "#d9ead3"

    def __init__(
        self,
        *,
        decision: Any,
        approval: Any,
        policy: PolicySource,
        model_name: str,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        airflow_conn_id: str = AIRFLOW_CONNECTION,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.decision = decision
        self.approval = approval
        self.policy = policy
        self.model_name = model_name
        self.mlflow_conn_id = mlflow_conn_id
        self.airflow_conn_id = airflow_conn_id
        self.outlets = [*self.outlets, model_asset(model_name)]

    def execute(self, context: Context) -> dict[str, Any]:
        """Check everything again, record who approved what, and move the alias."""
        decision = PromotionDecision.from_dict(self.decision)
        approvals = self.read_approvals()
        mlflow = MlflowHook(self.mlflow_conn_id).engine()
        ModelVersionLink.persist(context, mlflow.version_url(decision.model_name, decision.version))
        looked = audit_trail().length(Chain.of_model(decision.model_name))
        candidate, champion = self.measure(decision, approvals, mlflow, context)
        promotion = self.describe(decision, approvals, candidate, champion)
        self.record(promotion, decision, approvals, candidate=candidate, mlflow=mlflow, context=context, looked=looked)
        self.enforce(promotion, candidate, mlflow)
        append_version_event(context, version_deployed(promotion, approvals), candidate, mlflow)
        context["outlet_events"][model_asset(self.model_name)].extra = promotion.to_dict()
        return promotion.to_dict()

    def read_approvals(self) -> list[Approval]:
        """Return the answers: one, or those of all seats. A seat that was marked as success by hand has none."""
        given = [self.approval] if isinstance(self.approval, Mapping) else list(self.approval or ())
        return [Approval.from_dict(item) for item in given if item is not None]

    def measure(
        self, decision: PromotionDecision, approvals: Sequence[Approval], mlflow: MlflowEngine, context: Context
    ) -> tuple[ModelVersion, ModelVersion | None]:
        """Return the candidate and the champion of this moment, or refuse with every reason there is."""
        candidate = mlflow.version(decision.model_name, decision.version)
        champion = mlflow.version_by_alias(decision.model_name, CHAMPION)
        policy = read_policy(self.policy, context)
        rules = policy.approval
        stored = open_storage(decision.evidence_uri).read_json()
        digest = digest_of(stored)
        roles = roles_of_users(self.airflow_conn_id) if rules.roles else {}
        reasons = [
            *approval_refusals(rules, decision, approvals, roles=roles, triggered_by=triggered_by(context)),
            *unrecorded_refusals(
                decision,
                approvals,
                audit_trail().read(Chain.of_model(decision.model_name)).entries,
                run_id=context["ti"].run_id,
            ),
            *promotion_refusals(decision, candidate=candidate, champion=champion, evidence_digest=digest),
        ]
        if digest == decision.evidence_digest:
            reasons += judgement_refusals(decision, policy, Evidence.read(stored, decision.evidence))
        if decision.model_name != self.model_name:
            reasons.append(f"The decision is about {decision.model_name}, but this task promotes {self.model_name}.")
        if reasons:
            msg = f"{candidate} is not promoted. {' '.join(reasons)}"
            raise PromotionRefusedError(msg)
        with tempfile.TemporaryDirectory(prefix="airflow-mlops-") as folder:
            mlflow.download(candidate, Path(folder))  # Refuses artifacts that are not what was registered.
        return candidate, champion

    def describe(
        self,
        decision: PromotionDecision,
        approvals: Sequence[Approval],
        candidate: ModelVersion,
        champion: ModelVersion | None,
    ) -> Promotion:
        """Return the promotion that is to be carried out. A retry returns what the first try has written down."""
        promoted_before = champion is not None and champion.version == candidate.version
        previous = candidate.tags.get(TAG_PREVIOUS_CHAMPION) if promoted_before else champion and champion.version
        promoted_at = candidate.tags.get(TAG_PROMOTED_AT) if promoted_before else None
        return Promotion(
            model_name=candidate.model_name,
            version=candidate.version,
            previous_version=previous or None,
            promoted_at=datetime.fromisoformat(promoted_at) if promoted_at else utcnow(),
            approved_by=", ".join(dict.fromkeys(approval.responder_name or approval.who for approval in approvals)),
            comment=" | ".join(approval.comment for approval in approvals if approval.comment),
            evidence_digest=decision.evidence_digest,
        )

    def record(
        self,
        promotion: Promotion,
        decision: PromotionDecision,
        approvals: Sequence[Approval],
        *,
        candidate: ModelVersion,
        mlflow: MlflowEngine,
        context: Context,
        looked: int,
    ) -> None:
        """Write the promotion to the audit trail, then on the version: the alias must not move without either.

        :param looked: length of the audit trail before the registry was looked at.
        :raises PromotionUnderWayError: when another task promotes a version of this model at the same time.
        :raises AuditTrailBusyError: when it could not be written. Nothing is promoted then.
        """
        begun = promotion_begun(promotion, decision, approvals)
        append_version_event(context, begun, candidate, mlflow, guard=refuse_rivals(context, looked))
        tags = {
            TAG_PROMOTED_BY: promotion.approved_by,
            TAG_PROMOTED_BY_ID: ", ".join(dict.fromkeys(item.responder_id for item in approvals if item.responder_id)),
            TAG_PROMOTED_AT: promotion.promoted_at.isoformat(),
            TAG_APPROVAL_COMMENT: promotion.comment,
            TAG_PREVIOUS_CHAMPION: promotion.previous_version or "",
            TAG_EVIDENCE: promotion.evidence_digest,
            TAG_DECISION: decision.content_digest(),
        }
        mlflow.set_version_tags(candidate, tags)

    def enforce(self, promotion: Promotion, candidate: ModelVersion, mlflow: MlflowEngine) -> None:
        """Move the alias, and see that it moved."""
        mlflow.set_alias(candidate, CHAMPION)
        now = mlflow.version_by_alias(candidate.model_name, CHAMPION)
        if now is None or now.version != candidate.version:
            msg = (
                f"{candidate} was made {CHAMPION}, but right after that the alias named {now or 'nothing'}: somebody "
                f"else promotes this model at the same time. Look at the registry before you go on."
            )
            raise PromotionRefusedError(msg)
        challenger = mlflow.version_by_alias(candidate.model_name, CHALLENGER)
        if challenger is not None and challenger.version == candidate.version:
            mlflow.delete_alias(candidate.model_name, CHALLENGER)
        self.log.info(
            "%s is the %s now (before: %s), approved by %s.",
            candidate,
            CHAMPION,
            promotion.previous_version or "none",
            promotion.approved_by,
        )
