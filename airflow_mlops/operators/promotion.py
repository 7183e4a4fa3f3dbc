"""From evidence to the champion: gates decide whether to ask, a person answers, and promotion checks both again."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import BaseXCom, Context, Param, SkipMixin
from airflow.sdk.timezone import utcnow

from airflow_mlops.assets import model_asset
from airflow_mlops.domain.approval import Approval
from airflow_mlops.domain.evaluation import Evidence, EvidenceReference
from airflow_mlops.domain.promotion import (
    GateMode,
    Promotion,
    PromotionDecision,
    PromotionPolicy,
    promotion_refusals,
)
from airflow_mlops.domain.promotion_summary import approval_summary
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
from airflow_mlops.exceptions import InvalidInputError, PolicyError, PromotionRefusedError
from airflow_mlops.hooks.mlflow import MlflowHook
from airflow_mlops.hooks.storage import open_storage
from airflow_mlops.links.mlflow import ModelVersionLink
from airflow_mlops.operators.base import MlopsOperator, dag_file, permanent_errors_fail

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
        policy: PromotionPolicy | Mapping[str, Any] | str,
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
        return self.read_policy(context).judge(read_evidence(EvidenceReference.from_dict(self.evidence)))

    def read_policy(self, context: Context) -> PromotionPolicy:
        """Return the policy, from wherever it was given."""
        from airflow_mlops.engines.yaml import read_document

        if isinstance(self.policy, PromotionPolicy):
            return self.policy
        try:
            document = read_document(dag_file(self.policy, context)) if isinstance(self.policy, str) else self.policy
            return PromotionPolicy.from_dict(document)
        except InvalidInputError as error:
            msg = f"The promotion policy cannot be used: {error}"
            raise PolicyError(msg) from error

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
        if decision.passed:
            mlflow.set_alias(mlflow.version(decision.model_name, decision.version), CHALLENGER)
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


class PromotionApprovalOperator(ApprovalOperator):
    """Ask a person, on Airflow's Required Actions page, whether a candidate may become the champion.

    The reviewer sees the candidate against the champion, every gate's verdict, the data and links, and may leave a
    comment. The answer is bound to the decision that was shown: the form carries its digest, so an answer over the REST
    API has to send ``params_input`` with ``comment`` and the ``decision`` that the request's ``params`` hold.

    Airflow keeps what it asked first when a task is cleared. When the decision has changed since, an answer would be to
    the old question, so it is refused: start a new Dag run.

    :param decision: what ``PromotionGateOperator`` returned (templated).
    :param mlflow_conn_id: the MLflow connection.

    Further parameters are those of ``ApprovalOperator``, such as ``assigned_users``, ``notifiers`` and
    ``response_timeout``. A rejection skips what follows.

    Returns an :class:`~airflow_mlops.domain.promotion.Approval` as a dict.

    :raises PromotionRefusedError: when the gates refused the candidate, or the answer is to another decision.
    """

    template_fields: Sequence[str] = ("decision", *ApprovalOperator.template_fields)
    operator_extra_links = (ModelVersionLink(),)
    ui_color = "#fce5cd"

    def __init__(
        self,
        *,
        decision: Any,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        subject: str = "Promote a model version",
        **kwargs: Any,
    ) -> None:
        permanent_errors_fail(kwargs)
        super().__init__(subject=subject, **kwargs)
        self.decision = decision
        self.mlflow_conn_id = mlflow_conn_id

    def execute(self, context: Context) -> Any:
        """Show what is known of the candidate, and wait for an answer."""
        decision = PromotionDecision.from_dict(self.decision)
        if not decision.passed:
            msg = f"Version {decision.version} of {decision.model_name} did not pass its gates, so nobody is asked."
            raise PromotionRefusedError(msg)
        mlflow = MlflowHook(self.mlflow_conn_id).engine()
        ModelVersionLink.persist(context, mlflow.version_url(decision.model_name, decision.version))
        self.subject = f"Promote version {decision.version} of {decision.model_name} to {CHAMPION}?"
        self.body = self.summarise(decision, mlflow)
        self._ask_for(decision)
        return super().execute(context)

    def summarise(self, decision: PromotionDecision, mlflow: MlflowEngine) -> str:
        """Return the Markdown that the reviewer reads."""
        evidence = read_evidence(decision.evidence)
        candidate = mlflow.version(decision.model_name, decision.version)
        links = {
            "Evaluation report": decision.report_url,
            "Candidate in MLflow": mlflow.version_url(decision.model_name, decision.version),
            "Champion in MLflow": (
                mlflow.version_url(decision.model_name, decision.champion_version) if decision.champion_version else ""
            ),
        }
        return approval_summary(decision, evidence.evaluation, candidate, links)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Record the answer, and skip what follows a rejection."""
        decision = PromotionDecision.from_dict(self.decision)
        self._ask_for(decision)
        if "error" not in event:
            approval = self.measure(decision, event)
            # A rejection skips, which ends the task without a result, so the answer has to be kept before.
            context["ti"].xcom_push(key=BaseXCom.XCOM_RETURN_KEY, value=approval.to_dict())
            super().execute_complete(context, event)
            return approval.to_dict()
        return super().execute_complete(context, event)

    def measure(self, decision: PromotionDecision, event: dict[str, Any]) -> Approval:
        """Turn Airflow's answer into an approval of the decision that was shown."""
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
        return Approval(
            decision_digest=shown,
            model_name=decision.model_name,
            version=decision.version,
            approved=event["chosen_options"] == [self.APPROVE],
            responder_id=str(user.get("id") or ""),
            responder_name=str(user.get("name") or ""),
            responded_at=event["responded_at"],
            comment=str(given.get("comment") or ""),
        )

    def _ask_for(self, decision: PromotionDecision) -> None:
        digest = decision.content_digest()
        self.params["comment"] = Param(
            "", type=["null", "string"], title="Comment", description="Recorded with the model version.", maxLength=2000
        )
        self.params["decision"] = Param(
            digest, type="string", enum=[digest], title="Decision", description="What your answer is bound to."
        )


class PromoteModelOperator(MlopsOperator):
    """Make an approved candidate the champion, if everything is still as it was judged and approved.

    Checked at this moment: the approval has a responder and is to this decision; the version, its artifacts and the
    evidence are what was judged; the champion is the one that the candidate was compared with. Who approved it, when,
    why and what served before is written on the version first, then the alias moves. An event of the model's asset says
    so to other Dags.

    :param decision: what ``PromotionGateOperator`` returned (templated).
    :param approval: what ``PromotionApprovalOperator`` returned (templated).
    :param model_name: name of the model, for its asset; the decision's version is what is promoted.
    :param mlflow_conn_id: the MLflow connection.

    Returns a :class:`~airflow_mlops.domain.promotion.Promotion` as a dict.

    :raises PromotionRefusedError: with every reason not to promote.
    """

    template_fields: Sequence[str] = ("decision", "approval")
    operator_extra_links = (ModelVersionLink(),)
    ui_color = "#d9ead3"

    def __init__(
        self,
        *,
        decision: Any,
        approval: Any,
        model_name: str,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.decision = decision
        self.approval = approval
        self.model_name = model_name
        self.mlflow_conn_id = mlflow_conn_id
        self.outlets = [*self.outlets, model_asset(model_name)]

    def execute(self, context: Context) -> dict[str, Any]:
        """Check everything again, record who approved what, and move the alias."""
        decision = PromotionDecision.from_dict(self.decision)
        approval = Approval.from_dict(self.approval) if self.approval else None
        mlflow = MlflowHook(self.mlflow_conn_id).engine()
        ModelVersionLink.persist(context, mlflow.version_url(decision.model_name, decision.version))
        candidate, champion = self.measure(decision, approval, mlflow)
        promotion = self.record(decision, approval, candidate, champion, mlflow)
        self.enforce(promotion, candidate, mlflow)
        context["outlet_events"][model_asset(self.model_name)].extra = promotion.to_dict()
        return promotion.to_dict()

    def measure(
        self, decision: PromotionDecision, approval: Approval | None, mlflow: MlflowEngine
    ) -> tuple[ModelVersion, ModelVersion | None]:
        """Return the candidate and the champion of this moment, or refuse with every reason there is."""
        candidate = mlflow.version(decision.model_name, decision.version)
        champion = mlflow.version_by_alias(decision.model_name, CHAMPION)
        stored = digest_of(open_storage(decision.evidence_uri).read_json())
        reasons = list(
            promotion_refusals(decision, approval, candidate=candidate, champion=champion, evidence_digest=stored)
        )
        if decision.model_name != self.model_name:
            reasons.append(f"The decision is about {decision.model_name}, but this task promotes {self.model_name}.")
        if reasons:
            msg = f"{candidate} is not promoted. {' '.join(reasons)}"
            raise PromotionRefusedError(msg)
        with tempfile.TemporaryDirectory(prefix="airflow-mlops-") as folder:
            mlflow.download(candidate, Path(folder))  # Refuses artifacts that are not what was registered.
        return candidate, champion

    def record(
        self,
        decision: PromotionDecision,
        approval: Approval | None,
        candidate: ModelVersion,
        champion: ModelVersion | None,
        mlflow: MlflowEngine,
    ) -> Promotion:
        """Write the promotion on the version. A retry writes what the first try wrote."""
        if approval is None:
            raise PromotionRefusedError  # `measure` has refused it already, with a reason.
        promoted_before = champion is not None and champion.version == candidate.version
        previous = candidate.tags.get(TAG_PREVIOUS_CHAMPION) if promoted_before else champion and champion.version
        promoted_at = candidate.tags.get(TAG_PROMOTED_AT) if promoted_before else None
        promotion = Promotion(
            model_name=candidate.model_name,
            version=candidate.version,
            previous_version=previous or None,
            promoted_at=datetime.fromisoformat(promoted_at) if promoted_at else utcnow(),
            approved_by=approval.responder_name or approval.responder_id,
            comment=approval.comment,
            evidence_digest=decision.evidence_digest,
        )
        tags = {
            TAG_PROMOTED_BY: promotion.approved_by,
            TAG_PROMOTED_BY_ID: approval.responder_id,
            TAG_PROMOTED_AT: promotion.promoted_at.isoformat(),
            TAG_APPROVAL_COMMENT: promotion.comment,
            TAG_PREVIOUS_CHAMPION: promotion.previous_version or "",
            TAG_EVIDENCE: promotion.evidence_digest,
            TAG_DECISION: decision.content_digest(),
        }
        mlflow.set_version_tags(candidate, tags)
        return promotion

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


def read_evidence(reference: EvidenceReference) -> Evidence:
    """Return the evidence that an evaluation has left in the artifact store.

    :raises EvaluationError: when it is not what the evaluation wrote.
    """
    return Evidence.read(open_storage(reference.uri).read_json(), reference)
