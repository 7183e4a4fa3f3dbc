"""May this version serve? Gates judge the evidence, a person approves the verdict, and promotion checks both again.

A missing metric, a missing champion that a gate needs, or an empty list of gates is a refusal with its reason.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime

from airflow_mlops.domain.approval import ApprovalRules
from airflow_mlops.domain.evaluation import Evaluation, Evidence, EvidenceReference
from airflow_mlops.domain.gates import FirstModel, Gate, GateMode, GateVerdict, ImprovementGate, MetricGate
from airflow_mlops.domain.registry import ModelVersion
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import PolicyError

__all__ = [
    "ApprovalRules",
    "FirstModel",
    "GateMode",
    "GateVerdict",
    "ImprovementGate",
    "MetricGate",
    "Promotion",
    "PromotionDecision",
    "PromotionPolicy",
    "judgement_refusals",
    "promotion_refusals",
]

# Policy --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionPolicy(Document):
    """What a candidate must show before a person is asked."""

    gates: tuple[Gate, ...]
    first_model: FirstModel = FirstModel.BARS_ONLY
    approval: ApprovalRules = field(default_factory=ApprovalRules)
    """Who must agree, once the gates have passed."""

    def judge(self, evidence: Evidence) -> "PromotionDecision":
        """Ask every gate, whatever the others say; all that are enforced must pass, and there must be one."""
        evaluation = evidence.evaluation
        verdicts = tuple(_ask(gate, evaluation, self.first_model) for gate in self.gates)
        if not any(verdict.mode is GateMode.ENFORCE for verdict in verdicts):
            what = "enforces none of its gates" if verdicts else "has no gates"
            verdicts = (*verdicts, _silence(f"The policy {what}, so nothing speaks for this model."))
        elif evaluation.champion is None and not any(
            gate.is_bar and gate.mode is GateMode.ENFORCE for gate in self.gates
        ):
            reason = "There is no champion yet, and the policy has no metric bar, so nothing speaks for a first model."
            verdicts = (*verdicts, _silence(reason))
        return PromotionDecision(
            model_name=evaluation.model_name,
            version=evaluation.candidate.version,
            model_digest=evaluation.candidate.model_digest,
            evidence_uri=evidence.uri,
            evidence_digest=evidence.digest,
            report_uri=evidence.report_uri,
            report_url=evidence.report_url,
            champion_version=evaluation.champion.version if evaluation.champion else None,
            policy_digest=self.content_digest(),
            passed=not any(verdict.refuses for verdict in verdicts),
            verdicts=verdicts,
        )


def _ask(gate: Gate, evaluation: Evaluation, first_model: FirstModel) -> GateVerdict:
    if gate.mode is GateMode.OFF:
        return GateVerdict(gate=gate.name, passed=False, reason="Switched off, so not asked.", mode=GateMode.OFF)
    verdict: object = gate.judge(evaluation, first_model)
    if not isinstance(verdict, GateVerdict):
        msg = f"The gate {gate.kind} must return a GateVerdict from judge, but returned {verdict!r:.200}"
        raise PolicyError(msg)
    if gate.mode is GateMode.DRY_RUN:
        return replace(verdict, reason=f"{verdict.reason} A dry run, which decides nothing.", mode=GateMode.DRY_RUN)
    return replace(verdict, mode=GateMode.ENFORCE)


def _silence(reason: str) -> GateVerdict:
    return GateVerdict(gate="policy", passed=False, reason=reason)


# Decision, promotion ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionDecision(Document):
    """The verdict of a policy, bound to exactly what was judged. Its content digest is what an approval answers."""

    model_name: str
    version: str
    model_digest: str
    evidence_uri: str
    evidence_digest: str
    champion_version: str | None
    """The version that the candidate was compared with, and that it may replace."""
    policy_digest: str
    passed: bool
    verdicts: tuple[GateVerdict, ...]
    report_uri: str = ""
    """The readable report of the evidence, in the artifact store."""
    report_url: str = ""
    """The same report in the MLflow UI."""

    @property
    def evidence(self) -> EvidenceReference:
        """Where the evaluation that was judged lies, and which one it is."""
        return EvidenceReference(
            model_name=self.model_name,
            version=self.version,
            uri=self.evidence_uri,
            digest=self.evidence_digest,
            report_uri=self.report_uri,
            report_url=self.report_url,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion(Document):
    """A promotion that was carried out."""

    model_name: str
    version: str
    previous_version: str | None
    promoted_at: datetime
    approved_by: str
    comment: str
    evidence_digest: str


def promotion_refusals(
    decision: PromotionDecision, *, candidate: ModelVersion, champion: ModelVersion | None, evidence_digest: str
) -> tuple[str, ...]:
    """Return every reason not to follow a decision, given what the registry and the artifact store hold at this moment.

    :param candidate: the version that the decision names, as the registry has it now.
    :param champion: the version that serves now. The candidate itself is fine: an earlier try has promoted it.
    :param evidence_digest: of the evaluation that the decision names, as the artifact store has it now.
    """
    reasons = []
    if not decision.passed:
        failed = [verdict.reason for verdict in decision.verdicts if verdict.refuses]
        reasons.append(f"The gates refused it: {' '.join(failed)}")
    if candidate.model_digest != decision.model_digest:
        reasons.append(
            f"{candidate} has changed since it was judged: its model digest is {candidate.model_digest}, "
            f"but {decision.model_digest} was judged."
        )
    if evidence_digest != decision.evidence_digest:
        reasons.append(f"The evidence has changed since the gates ran: {evidence_digest} is not what they judged.")
    serving = champion.version if champion else None
    if serving not in {decision.champion_version, decision.version}:
        reasons.append(
            f"The champion is {_named(serving)} now, but the candidate was compared with "
            f"{_named(decision.champion_version)}. Evaluate it against the new champion."
        )
    return tuple(reasons)


def judgement_refusals(decision: PromotionDecision, policy: PromotionPolicy, evidence: Evidence) -> tuple[str, ...]:
    """Return why a decision is not what this policy says of its evidence: one of them was changed since."""
    if (now := policy.content_digest()) != decision.policy_digest:
        changed = (
            f"The policy has changed since the gates ran: it is {now[:12]} now, but {decision.policy_digest[:12]} "
            f"judged. Start a new Dag run, which judges by the new one."
        )
        return (changed,)
    again = policy.judge(evidence)
    if again == decision:
        return ()
    differ = [verdict.gate for verdict in again.verdicts if verdict not in decision.verdicts]
    what = f"the gates say otherwise of the same evidence: {', '.join(differ)}" if differ else "it names other things"
    return (f"The decision is not what the policy says: {what}. Was it edited? Start a new Dag run.",)


def _named(version: str | None) -> str:
    return f"version {version}" if version else "no version"
