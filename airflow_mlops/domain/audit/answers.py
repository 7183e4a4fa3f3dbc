"""What the audit trail says of the answers to a decision: which it does not know, and which rejections stand."""

from collections.abc import Iterable, Sequence

from airflow_mlops.domain.approval import Approval
from airflow_mlops.domain.audit.entry import AuditEntry, EventKind
from airflow_mlops.domain.promotion import PromotionDecision


def unrecorded_refusals(
    decision: PromotionDecision, approvals: Sequence[Approval], entries: Iterable[AuditEntry], *, run_id: str
) -> list[str]:
    """Return why the audit trail speaks against a promotion, whatever the tasks of the Dag run return now.

    Whoever may edit XComs can write an approval there, or clear a task that was answered with a rejection. The trail
    has what was answered in truth: the approval task records each answer before anything follows from it.

    :param run_id: of the Dag run that promotes: a rejection stands for the whole of it.
    """
    digest = decision.content_digest()
    answers = [
        entry
        for entry in entries
        if entry.event_kind is EventKind.APPROVAL and entry.happening.digests.get("decision") == digest
    ]
    known = {entry.event.key for entry in answers}
    given = {approval.content_digest() for approval in approvals}
    reasons = [
        f"The audit trail has no approval by {approval.who}: it was not given through the approval task. Was it "
        f"written into an XCom by hand? Clear the approval task, and let a person answer."
        for approval in approvals
        if approval.content_digest() not in known
    ]
    reasons += [
        f"{entry.happening.who or 'The policy'} rejected it in this Dag run before ({entry.event.at:%Y-%m-%d %H:%M} "
        f"UTC), and a rejection stands, also when the task is cleared. Start a new Dag run."
        for entry in answers
        if not entry.happening.facts.get("approved") and entry.event.origin.run_id == run_id
        if entry.event.key not in given
    ]
    return reasons
