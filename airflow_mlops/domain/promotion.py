"""May this version serve? Gates judge the evidence, a person approves the verdict, and promotion checks both again.

A missing metric, a missing champion that a gate needs, or an empty list of gates is a refusal with its reason.
"""

import enum
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from airflow_mlops.domain.evaluation import Evaluation, Evidence, EvidenceReference, MetricComparison
from airflow_mlops.domain.registry import ModelVersion
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import PolicyError

# Policy --------------------------------------------------------------------------------------------------------------


class FirstModel(enum.StrEnum):
    """What holds for a candidate when there is no champion to compare with."""

    BARS_ONLY = "bars_only"
    """The metric bars decide; gates that need a champion are waived, and say so."""
    REFUSE = "refuse"
    """Gates that need a champion refuse."""


class GateMode(enum.StrEnum):
    """What follows from a gate's verdict."""

    ENFORCE = "enforce"
    """A refusal refuses the candidate."""
    DRY_RUN = "dry_run"
    """The verdict is shown and recorded, and decides nothing: for a new gate whose bar is still sought."""
    OFF = "off"
    """The gate is not asked, and the reviewer sees that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict(Document):
    """What one gate says, in a sentence: the bar, what was seen, the verdict."""

    gate: str
    passed: bool
    reason: str
    mode: GateMode = GateMode.ENFORCE

    @property
    def refuses(self) -> bool:
        """Whether this verdict alone keeps the candidate from being promoted."""
        return self.mode is GateMode.ENFORCE and not self.passed


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricGate(Document):
    """A bar that one metric of the candidate must clear."""

    kind: ClassVar[str] = "metric"

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    mode: GateMode = GateMode.ENFORCE

    def __post_init__(self) -> None:
        """Refuse a gate without a bar."""
        if self.at_least is None and self.at_most is None:
            msg = f"The gate on {self.metric!r} has no bar. Give at_least or at_most."
            raise PolicyError(msg)

    @property
    def name(self) -> str:
        """How the gate reads in a table."""
        bars = [f"≥ {self.at_least:g}"] if self.at_least is not None else []
        bars += [f"≤ {self.at_most:g}"] if self.at_most is not None else []
        return f"{self.metric} {' and '.join(bars)}"

    def judge(self, evaluation: Evaluation, first_model: FirstModel) -> GateVerdict:  # noqa: ARG002 - every gate's form
        """Compare the candidate's value with the bar; the bar itself passes."""
        found = evaluation.find(self.metric)
        if found is None:
            return _refusal(self.name, _missing(self.metric, evaluation))
        value = found.candidate.value
        if self.at_least is not None and value < self.at_least:
            return _refusal(self.name, f"{self.metric} must be at least {self.at_least:g}, but is {value:.4f}.")
        if self.at_most is not None and value > self.at_most:
            return _refusal(self.name, f"{self.metric} must be at most {self.at_most:g}, but is {value:.4f}.")
        return GateVerdict(gate=self.name, passed=True, reason=f"{self.metric} is {value:.4f}, which clears the bar.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImprovementGate(Document):
    """An improvement over the champion that one metric must show.

    The improvement is the difference to the champion in the direction that is better for the metric. It must be
    strictly positive, at least ``absolute``, and at least ``relative`` times the champion's absolute value; the bars
    are those of MLflow's ``MetricThreshold``, so a champion at zero leaves a relative bar that any improvement clears.
    With ``confidence``, all of this must hold for the lower end of the difference's interval too.

    With ``margin`` the gate asks for non-inferiority in place of improvement: the candidate may be worse, but by less
    than the margin, and with ``confidence`` surely so. A tie passes.
    """

    kind: ClassVar[str] = "improvement"

    metric: str
    absolute: float = 0.0
    relative: float = 0.0
    confidence: float | None = None
    """Confidence level of the interval, such as 0.95; the evaluation must have been made with the same level."""
    margin: float | None = None
    """How much worse than the champion is still good enough, in the metric's unit; not together with another bar."""
    mode: GateMode = GateMode.ENFORCE

    def __post_init__(self) -> None:
        """Refuse bars that are no bars."""
        if self.margin is not None and (not self.margin > 0 or self.absolute or self.relative):
            msg = (
                f"The improvement gate on {self.metric!r} has the margin {self.margin}. Give one above zero, and no "
                f"absolute or relative bar beside it: a candidate that must improve may not be worse."
            )
            raise PolicyError(msg)
        if self.absolute < 0 or self.relative < 0:
            msg = f"The improvement gate on {self.metric!r} has a negative bar. Give zero or more."
            raise PolicyError(msg)
        if self.confidence is not None and not 0 < self.confidence < 1:
            msg = (
                f"The improvement gate on {self.metric!r} has the confidence {self.confidence}. Give one such as 0.95."
            )
            raise PolicyError(msg)

    @property
    def name(self) -> str:
        """How the gate reads in a table."""
        sure = f" ({self.confidence:.0%} confidence)" if self.confidence is not None else ""
        if self.margin is not None:
            return f"{self.metric} worse than champion by less than {self.margin:g}{sure}"
        bars = [f"{self.absolute:g}"] if self.absolute else []
        bars += [f"{self.relative:.1%}"] if self.relative else []
        size = f"by {' and '.join(bars)}" if bars else "at all"
        return f"{self.metric} better than champion {size}{sure}"

    def judge(self, evaluation: Evaluation, first_model: FirstModel) -> GateVerdict:
        """Compare the improvement with the bar. A tie with the champion is not an improvement."""
        found = evaluation.find(self.metric)
        if found is None:
            return _refusal(self.name, _missing(self.metric, evaluation))
        if evaluation.champion is None:
            if first_model is FirstModel.BARS_ONLY:
                reason = "There is no champion yet, and the policy lets the metric bars alone decide on a first model."
                return GateVerdict(gate=self.name, passed=True, reason=reason)
            return _refusal(self.name, "There is no champion to compare with, and the policy asks for one.")
        return self._compare(found, evaluation)

    def _compare(self, found: MetricComparison, evaluation: Evaluation) -> GateVerdict:
        if found.champion is None or found.difference is None:
            return _refusal(self.name, f"{self.metric} was not computed for the champion, so nothing can be compared.")
        sign = 1 if found.higher_is_better else -1
        improvement = sign * found.difference.value
        certain = min(sign * found.difference.low, sign * found.difference.high)
        bar = max(self.absolute, self.relative * abs(found.champion.value))

        def clears(change: float) -> bool:
            return change > -self.margin if self.margin is not None else change > 0 and change >= bar

        seen = f"{self.metric} is {found.candidate.value:.4f} against the champion's {found.champion.value:.4f}"
        asked = f"it must be better by at least {bar:.4f}" if bar else "it must be better"
        if self.margin is not None:
            asked = f"it may be worse by less than {self.margin:g}"
        if not clears(improvement):
            return _refusal(self.name, f"{seen}; {asked}, but it is {_change(improvement)}.")
        if self.confidence is None:
            return GateVerdict(gate=self.name, passed=True, reason=f"{seen}: {_change(improvement)}.")
        if abs(self.confidence - evaluation.confidence_level) > 1e-9:  # noqa: PLR2004 - both come from decimal text
            reason = (
                f"The policy asks for {self.confidence:.0%} confidence, but the evaluation's intervals are at "
                f"{evaluation.confidence_level:.0%}."
            )
            return _refusal(self.name, reason)
        interval = f"with {self.confidence:.0%} confidence the improvement is at least {certain:.4f}"
        if not clears(certain):
            return _refusal(self.name, f"{seen}; {asked}, but {interval}.")
        return GateVerdict(gate=self.name, passed=True, reason=f"{seen}; {interval}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionPolicy(Document):
    """What a candidate must show before a person is asked."""

    gates: tuple[MetricGate | ImprovementGate, ...]
    first_model: FirstModel = FirstModel.BARS_ONLY

    def judge(self, evidence: Evidence) -> "PromotionDecision":
        """Ask every gate, whatever the others say; all that are enforced must pass, and there must be one."""
        evaluation = evidence.evaluation
        verdicts = tuple(_ask(gate, evaluation, self.first_model) for gate in self.gates)
        if not any(verdict.mode is GateMode.ENFORCE for verdict in verdicts):
            what = "enforces none of its gates" if verdicts else "has no gates"
            verdicts = (*verdicts, _refusal("policy", f"The policy {what}, so nothing speaks for this model."))
        elif evaluation.champion is None and not any(_is_bar(gate) for gate in self.gates):
            reason = "There is no champion yet, and the policy has no metric bar, so nothing speaks for a first model."
            verdicts = (*verdicts, _refusal("policy", reason))
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


def _is_bar(gate: MetricGate | ImprovementGate) -> bool:
    return isinstance(gate, MetricGate) and gate.mode is GateMode.ENFORCE


def _ask(gate: MetricGate | ImprovementGate, evaluation: Evaluation, first_model: FirstModel) -> GateVerdict:
    if gate.mode is GateMode.OFF:
        return GateVerdict(gate=gate.name, passed=False, reason="Switched off, so not asked.", mode=GateMode.OFF)
    verdict = gate.judge(evaluation, first_model)
    if gate.mode is GateMode.DRY_RUN:
        return replace(verdict, reason=f"{verdict.reason} A dry run, which decides nothing.", mode=GateMode.DRY_RUN)
    return verdict


def _refusal(gate: str, reason: str) -> GateVerdict:
    return GateVerdict(gate=gate, passed=False, reason=reason)


def _missing(metric: str, evaluation: Evaluation) -> str:
    computed = ", ".join(item.metric for item in evaluation.metrics) or "none"
    notes = f" {' '.join(evaluation.notes)}" if evaluation.notes else ""
    return f"The evaluation has no metric {metric!r} (it has {computed}).{notes}"


def _change(improvement: float) -> str:
    if improvement == 0:
        return "the same"
    return f"{abs(improvement):.4f} {'better' if improvement > 0 else 'worse'}"


# Decision, approval, promotion ---------------------------------------------------------------------------------------


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
class Approval(Document):
    """A person's answer to one decision."""

    decision_digest: str
    model_name: str
    version: str
    approved: bool
    responder_id: str
    responder_name: str
    responded_at: datetime
    comment: str = ""


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
    decision: PromotionDecision,
    approval: Approval | None,
    *,
    candidate: ModelVersion,
    champion: ModelVersion | None,
    evidence_digest: str,
) -> tuple[str, ...]:
    """Return every reason not to promote, given what the registry and the artifact store hold at this moment.

    :param candidate: the version that the decision names, as the registry has it now.
    :param champion: the version that serves now. The candidate itself is fine: an earlier try has promoted it.
    :param evidence_digest: of the evaluation that the decision names, as the artifact store has it now.
    """
    reasons = [*_approval_refusals(decision, approval)]
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


def _approval_refusals(decision: PromotionDecision, approval: Approval | None) -> list[str]:
    if approval is None:
        return ["There is no approval: nobody answered. Was the approval task marked as success by hand?"]
    if not approval.responder_id:
        return ["The approval names no responder: it was not answered by a person."]
    who = f"{approval.responder_name} ({approval.responder_id})"
    if not approval.approved:
        return [f"{who} rejected it{': ' + approval.comment if approval.comment else '.'}"]
    if approval.decision_digest != decision.content_digest():
        other = (
            f"{who} approved something else: version {approval.version} of {approval.model_name} on the decision "
            f"{approval.decision_digest[:12]}, but this is version {decision.version} of {decision.model_name} on "
            f"{decision.content_digest()[:12]}. Ask for approval again."
        )
        return [other]
    return []


def _named(version: str | None) -> str:
    return f"version {version}" if version else "no version"
