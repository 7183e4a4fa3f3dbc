"""What each task has to tell: its result as a happening of the audit trail.

What happens before there is a model belongs to the chain of its dataset: snapshots, validations and trainings. A
model's chain begins with a registration, which names the entry of the training, and so all that led to it.

Every operator imports this, so the results that it is told of are imported for the type checker alone: a Dag that takes
a snapshot need not know what an evaluation is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.audit.entry import AuditEntry, Chain, EventKind, Happening
from airflow_mlops.domain.registry import CHAMPION, ModelVersion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops.domain.approval import Approval
    from airflow_mlops.domain.dataset import Snapshot, SnapshotManifest
    from airflow_mlops.domain.drift.report import DriftReport
    from airflow_mlops.domain.evaluation import Estimate, Evaluation, EvidenceReference
    from airflow_mlops.domain.promotion import Promotion, PromotionDecision
    from airflow_mlops.domain.training import TrainingResult
    from airflow_mlops.domain.validation import ValidationReport

_SHORT = 12
"""Characters of a digest that people compare."""
_SHOWN = 10
"""Columns and reasons that the trail keeps of a window; the drift report has them all."""
_WORST = 5
"""Slices that the trail keeps; the evaluation has them all."""

# Datasets ------------------------------------------------------------------------------------------------------------


def snapshot_taken(snapshot: Snapshot, manifest: SnapshotManifest) -> Happening:
    """Tell of a snapshot and of the files that it was read from, also when the same rows were there already."""
    found = "" if snapshot.created else " The same rows were there already."
    return Happening(
        chain=Chain.of_dataset(snapshot.dataset_name),
        event_kind=EventKind.SNAPSHOT,
        summary=(
            f"Snapshot {snapshot.digest[:_SHORT]} of {snapshot.rows:,} rows was taken of {len(manifest.sources)} "
            f"files.{found}"
        ),
        digests={"dataset": snapshot.digest},
        facts={
            "uri": snapshot.uri,
            "rows": snapshot.rows,
            "created": snapshot.created,
            "window": str(manifest.window) if manifest.window else None,
            "sources": [{"uri": source.uri, "sha256": source.digest} for source in manifest.sources],
        },
    )


def data_validated(report: ValidationReport) -> Happening:
    """Tell whether a snapshot met its expectation suite."""
    met = f"failed {report.failure_count} of" if report.failure_count or not report.success else "met"
    if report.success and report.failure_count:
        met = f"passed, but for {report.failure_count} that are not critical,"
    return Happening(
        chain=Chain.of_dataset(report.dataset_name),
        event_kind=EventKind.VALIDATION,
        summary=(
            f"Snapshot {report.dataset_digest[:_SHORT]} {met} the {report.expectation_count} expectations of the suite "
            f"{report.suite_name}."
        ),
        digests={"dataset": report.dataset_digest, "suite": report.suite_digest},
        facts={"suite_name": report.suite_name, "success": report.success, "report_uri": report.report_uri},
    )


def model_trained(training: TrainingResult) -> Happening:
    """Tell of a finished training."""
    return Happening(
        chain=Chain.of_dataset(training.dataset_name),
        event_kind=EventKind.TRAINING,
        summary=(
            f"A model was trained on snapshot {training.dataset_digest[:_SHORT]} in the MLflow run {training.run_id}."
        ),
        digests=_provenance(training),
        facts={
            "run_id": training.run_id,
            "model_uri": training.model_uri,
            "backend": training.backend.value,
            "image": training.image,
            "code_version": training.code_version,
            "job_seconds": training.job_seconds,
            "metrics": dict(training.metrics),
        },
    )


# Models --------------------------------------------------------------------------------------------------------------


def version_registered(version: ModelVersion, training: TrainingResult, description: str = "") -> Happening:
    """Tell where a new version came from."""
    return Happening(
        chain=Chain.of_model(version.model_name),
        event_kind=EventKind.REGISTRATION,
        summary=f"Version {version.version} was registered from the MLflow run {training.run_id}.",
        version=version.version,
        digests=_provenance(training),
        facts={
            "run_id": training.run_id,
            "model_uri": training.model_uri,
            "dataset_name": training.dataset_name,
            "dataset_uri": training.dataset_uri,
            "backend": training.backend.value,
            "image": training.image,
            "code_version": training.code_version,
            "description": description,
            "reasons": list(version.trained_because),
        },
    )


def model_evaluated(evaluation: Evaluation, evidence: EvidenceReference) -> Happening:
    """Tell how good a candidate was found on its holdout, and where the evidence lies."""
    against = f" against version {evaluation.champion.version}" if evaluation.champion else ", with no champion yet"
    return Happening(
        chain=Chain.of_model(evaluation.model_name),
        event_kind=EventKind.EVALUATION,
        summary=(
            f"Version {evaluation.candidate.version} was judged on {evaluation.rows:,} rows of "
            f"{evaluation.dataset_name}{against}."
        ),
        version=evaluation.candidate.version,
        digests={
            "evidence": evidence.digest,
            "model": evaluation.candidate.model_digest,
            "holdout": evaluation.dataset_digest,
        },
        facts={
            "dataset_name": evaluation.dataset_name,
            "rows": evaluation.rows,
            "champion_version": evaluation.champion.version if evaluation.champion else None,
            "confidence_level": evaluation.confidence_level,
            "evidence_uri": evidence.uri,
            "report_uri": evidence.report_uri,
            "metrics": {
                item.metric: {
                    "candidate": _estimate(item.candidate),
                    "champion": _estimate(item.champion),
                    "difference": _estimate(item.difference),
                }
                for item in evaluation.metrics
            },
            "worst_slices": _worst_slices(evaluation),
            "disparities": _disparities(evaluation),
        },
    )


def gates_judged(decision: PromotionDecision) -> Happening:
    """Tell what the gates said, each in its sentence."""
    refused = [verdict.reason for verdict in decision.verdicts if verdict.refuses]
    verdict = "passed its gates." if decision.passed else f"was refused by its gates: {' '.join(refused)}"
    return Happening(
        chain=Chain.of_model(decision.model_name),
        event_kind=EventKind.GATE,
        summary=f"Version {decision.version} {verdict}",
        version=decision.version,
        digests={
            "decision": decision.content_digest(),
            "evidence": decision.evidence_digest,
            "model": decision.model_digest,
            "policy": decision.policy_digest,
        },
        facts={
            "passed": decision.passed,
            "champion_version": decision.champion_version,
            "verdicts": [
                {"gate": item.gate, "mode": item.mode.value, "passed": item.passed, "reason": item.reason}
                for item in decision.verdicts
            ],
        },
    )


def answer_given(approval: Approval) -> Happening:
    """Tell of a person's answer. Whoever tells of the same answer again tells nothing new."""
    did = "approved" if approval.approved else "rejected"
    comment = f": {approval.comment}" if approval.comment else "."
    return Happening(
        chain=Chain.of_model(approval.model_name),
        event_kind=EventKind.APPROVAL,
        summary=f"{approval.who} {did} version {approval.version}{comment}",
        version=approval.version,
        who=approval.who,
        digests={"decision": approval.decision_digest},
        facts={
            "approved": approval.approved,
            "comment": approval.comment,
            "reason_code": approval.reason_code,
            "given_by": approval.given_by.value,
            "seat": approval.seat,
            "responded_at": approval.responded_at.isoformat(),
        },
        key=approval.content_digest(),
    )


def promotion_begun(promotion: Promotion, decision: PromotionDecision, approvals: Sequence[Approval]) -> Happening:
    """Tell that a version is about to become the champion."""
    instead = f" in place of version {promotion.previous_version}" if promotion.previous_version else ""
    return Happening(
        chain=Chain.of_model(promotion.model_name),
        event_kind=EventKind.PROMOTION,
        summary=f"Version {promotion.version} is made the {CHAMPION}{instead}.",
        version=promotion.version,
        who=_people(approvals),
        digests={
            "decision": decision.content_digest(),
            "evidence": decision.evidence_digest,
            "model": decision.model_digest,
            "policy": decision.policy_digest,
        },
        facts={"previous_version": promotion.previous_version, "comment": promotion.comment},
    )


def version_deployed(promotion: Promotion, approvals: Sequence[Approval]) -> Happening:
    """Tell that a version was seen to serve."""
    return Happening(
        chain=Chain.of_model(promotion.model_name),
        event_kind=EventKind.DEPLOYMENT,
        summary=f"Version {promotion.version} serves: the alias {CHAMPION} names it.",
        version=promotion.version,
        who=_people(approvals),
        facts={"alias": CHAMPION, "previous_version": promotion.previous_version},
    )


def drift_found(report: DriftReport, report_uri: str) -> Happening:
    """Tell of a window that is not as the reference was. Of others nothing is told: their records are enough."""
    drift = report.drift
    return Happening(
        chain=Chain.of_model(report.model_name),
        event_kind=EventKind.DRIFT,
        summary=f"Version {report.model_version} met other data from {report.window}: {' '.join(report.reasons[:1])}",
        version=report.model_version,
        digests={"window": drift.current.dataset_digest, "reference": drift.reference.dataset_digest},
        facts={
            "window_start": report.window.start.isoformat(),
            "window_end": report.window.end.isoformat(),
            "dataset_name": drift.current.dataset_name,
            "reference_name": drift.reference.dataset_name,
            "rows": drift.current.rows,
            "drift_share": drift.share,
            "drifted": [item.column for item in drift.all_drifted][:_SHOWN],
            "reasons": list(report.reasons[:_SHOWN]),
            "spec": report.spec.content_digest(),
            "engine": drift.engine,
            "report_uri": report_uri,
        },
    )


# What they stand on --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryQuery:
    """The newest entry of a chain that is of a kind and carries certain digests."""

    chain: Chain
    event_kind: EventKind
    digests: tuple[tuple[str, str], ...]

    def matches(self, entry: AuditEntry) -> bool:
        """Whether this entry is one of those that are asked for."""
        return entry.event_kind is self.event_kind and all(
            entry.happening.digests.get(name) == digest for name, digest in self.digests
        )


def stands_on(happening: Happening) -> tuple[EntryQuery, ...]:
    """Return which entries of other chains a happening must name, if they are there."""
    facts, digests = happening.facts, happening.digests
    if happening.event_kind is EventKind.REGISTRATION:
        wanted = tuple((name, digests[name]) for name in ("dataset", "model"))
        chain = Chain.of_dataset(str(facts["dataset_name"]))
        return (EntryQuery(chain=chain, event_kind=EventKind.TRAINING, digests=wanted),)
    if happening.event_kind is EventKind.EVALUATION:
        chain = Chain.of_dataset(str(facts["dataset_name"]))
        return (EntryQuery(chain=chain, event_kind=EventKind.SNAPSHOT, digests=(("dataset", digests["holdout"]),)),)
    return ()


def _provenance(training: TrainingResult) -> dict[str, str]:
    digests = {"dataset": training.dataset_digest, "model": training.model_digest, "image": training.image_digest}
    return {name: digest for name, digest in digests.items() if digest}


def _people(approvals: Sequence[Approval]) -> str:
    return ", ".join(dict.fromkeys(approval.who for approval in approvals))


def _worst_slices(evaluation: Evaluation) -> list[dict[str, Any]]:
    if evaluation.slices is None:
        return []
    return [
        {
            "slice": item.name,
            "rows": item.rows,
            "metric": evaluation.slices.metric,
            "candidate": item.metric,
            "champion": item.champion_metric,
            "surely_worse": item.is_worse(evaluation.slices.significance),
        }
        for item in evaluation.slices.worst[:_WORST]
    ]


def _disparities(evaluation: Evaluation) -> list[dict[str, Any]]:
    columns = evaluation.fairness.columns if evaluation.fairness else ()
    return [
        {"column": column.column, "measure": item.metric, "value": item.candidate.value, "between": str(item.candidate)}
        for column in columns
        for item in column.disparities
        if item.candidate is not None
    ]


def _estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else {"value": estimate.value, "low": estimate.low, "high": estimate.high}
