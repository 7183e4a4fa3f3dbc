"""A person's answer to a promotion decision, and why an answer may not count."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_mlops.domain.serialization import Document

if TYPE_CHECKING:
    from airflow_mlops.domain.promotion import PromotionDecision


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


def approval_refusals(decision: "PromotionDecision", approval: Approval | None) -> list[str]:
    """Return why an approval does not speak for a decision."""
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
