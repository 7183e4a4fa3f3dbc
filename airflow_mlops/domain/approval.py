"""Who may approve a promotion, how many must, by when, and why an answer may not count."""

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from airflow_mlops.domain.gates import GateMode
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import PolicyError

if TYPE_CHECKING:
    from airflow_mlops.domain.promotion import PromotionDecision

# Rules ---------------------------------------------------------------------------------------------------------------


class Risk(enum.StrEnum):
    """How much harm a bad version could do, as the author of the policy sees it."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class OnTimeout(enum.StrEnum):
    """What becomes of a question that nobody has answered by its deadline."""

    REJECT = "reject"
    """It counts as rejected: what follows is skipped."""
    FAIL = "fail"
    """The task fails."""
    APPROVE = "approve"
    """The policy approves. Only for models of low risk."""


class NoticeKind(enum.StrEnum):
    """What happens at a moment of the wait."""

    REMINDER = "reminder"
    ESCALATION = "escalation"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Document):
    """Something that happens when a question has waited so long."""

    after_hours: float
    kind: NoticeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRules(Document):
    """Who must agree before a version serves. Checked when asked, when answered, and again at promotion."""

    approvals: int = 1
    """How many different people must approve."""
    approvers: tuple[str, ...] = ()
    """Ids of the users who may approve. Without any, and without roles, whoever Airflow lets answer."""
    roles: tuple[str, ...] = ()
    """Roles of Airflow's auth manager whose members may approve too."""
    allow_self_approval: bool = False
    """Whether who started the Dag run may approve what came of it."""
    reason_codes: tuple[str, ...] = ()
    """One of these must be chosen with each answer; with none, there is no such field in the form."""
    risk: Risk = Risk.HIGH
    automatic: bool = False
    """Approve without a person when every gate passes, those of a dry run too. Only for models of low risk."""
    remind_after_hours: tuple[float, ...] = ()
    """When the notifiers of the approval task are called again, in hours since the question."""
    escalate_after_hours: float | None = None
    """When its escalation notifiers are called."""
    deadline_hours: float | None = None
    """When the question is closed; ``None`` waits for ever."""
    on_timeout: OnTimeout = OnTimeout.REJECT

    def __post_init__(self) -> None:
        """Refuse rules that nobody could meet, or that let a risky model through by themselves."""
        if wrong := self._mistakes():
            msg = f"The approval rules cannot be used: {'; '.join(wrong)}."
            raise PolicyError(msg)

    @property
    def restricts_who(self) -> bool:
        """Whether only some users may approve."""
        return bool(self.approvers or self.roles)

    @property
    def schedule(self) -> tuple[Notice, ...]:
        """Everything that happens while a question waits, in order."""
        notices = [Notice(after_hours=hours, kind=NoticeKind.REMINDER) for hours in self.remind_after_hours]
        if self.escalate_after_hours is not None:
            notices.append(Notice(after_hours=self.escalate_after_hours, kind=NoticeKind.ESCALATION))
        if self.deadline_hours is not None:
            notices.append(Notice(after_hours=self.deadline_hours, kind=NoticeKind.DEADLINE))
        return tuple(sorted(notices, key=lambda notice: notice.after_hours))

    def wait_until(self, step: int, asked_at: datetime, now: datetime) -> timedelta | None:
        """Return how long to wait for the notice of this number; ``None`` when there is none."""
        if step >= len(self.schedule):
            return None
        due = asked_at + timedelta(hours=self.schedule[step].after_hours)
        return max(due - now, timedelta(0))

    def may_approve(self, user_id: str, roles: Collection[str]) -> bool:
        """Whether a user of these roles is among the approvers."""
        if not self.restricts_who:
            return True
        return user_id in self.approvers or bool({role.lower() for role in self.roles} & {r.lower() for r in roles})

    def approves_by_itself(self, decision: "PromotionDecision") -> bool:
        """Whether nobody needs to be asked about this decision."""
        return (
            self.automatic
            and decision.passed
            and all(verdict.passed for verdict in decision.verdicts if verdict.mode is not GateMode.OFF)
        )

    def _mistakes(self) -> list[str]:
        low = self.risk is Risk.LOW
        hours = [*self.remind_after_hours, self.escalate_after_hours, self.deadline_hours]
        texts = [*self.approvers, *self.roles, *self.reason_codes]
        found = {
            f"approvals is {self.approvals}, but at least one is needed (automatic: true asks nobody)": (
                self.approvals < 1
            ),
            f"{self.approvals} approvals are wanted of {len(set(self.approvers))} approvers": (
                bool(self.approvers) and not self.roles and len(set(self.approvers)) < self.approvals
            ),
            "an approver, a role or a reason code is empty": any(not text.strip() for text in texts),
            f"automatic approval needs risk: low, but the risk is {self.risk.value}": self.automatic and not low,
            f"on_timeout: approve needs risk: low, but the risk is {self.risk.value}": (
                self.on_timeout is OnTimeout.APPROVE and not low
            ),
            "hours must be more than 0": any(hour is not None and hour <= 0 for hour in hours),
            f"reminders and the escalation must come before the deadline of {self.deadline_hours} hours": (
                self.deadline_hours is not None
                and any(hour is not None and hour >= self.deadline_hours for hour in hours[:-1])
            ),
        }
        return [mistake for mistake, is_made in found.items() if is_made]


# Answers -------------------------------------------------------------------------------------------------------------


class GivenBy(enum.StrEnum):
    """Where an answer came from."""

    PERSON = "person"
    POLICY = "policy"
    """The policy approves models of low risk that pass every gate."""
    TIMEOUT = "timeout"
    """Nobody answered by the deadline, so the policy did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval(Document):
    """An answer to one decision."""

    decision_digest: str
    model_name: str
    version: str
    approved: bool
    responder_id: str
    """Empty unless a person answered."""
    responder_name: str
    responded_at: datetime
    comment: str = ""
    reason_code: str = ""
    given_by: GivenBy = GivenBy.PERSON
    triggered_by: str = ""
    """Name of the user who started the Dag run that asked; empty when it was a schedule or an asset."""
    seat: int = 1
    """Which of several mapped approval tasks was answered."""

    @property
    def who(self) -> str:
        """How people name who answered."""
        if self.given_by is not GivenBy.PERSON:
            return f"the policy ({'after the deadline' if self.given_by is GivenBy.TIMEOUT else 'every gate passed'})"
        name, number = self.responder_name, self.responder_id
        return f"{name} ({number})" if name and name != number else number or "nobody"

    @property
    def is_of_a_person(self) -> bool:
        """Whether somebody answered."""
        return self.given_by is GivenBy.PERSON


def answer_refusals(
    rules: ApprovalRules, approval: Approval, *, roles: Mapping[str, Collection[str]], triggered_by: str = ""
) -> list[str]:
    """Return why one person's answer may not count, whatever was answered.

    :param roles: of each user by user name, as the auth manager knows them now.
    :param triggered_by: who started the Dag run that promotes, if that is another one.
    """
    reasons = []
    if not approval.responder_id:
        return ["The approval names no responder: it was not answered by a person."]
    if not rules.may_approve(approval.responder_id, roles.get(approval.responder_name, ())):
        allowed = [*rules.approvers, *(f"members of {role}" for role in rules.roles)]
        reasons.append(f"{approval.who} may not approve: the policy names {', '.join(allowed)}.")
    own = {approval.responder_id, approval.responder_name} & ({approval.triggered_by, triggered_by} - {""})
    if own and approval.approved and not rules.allow_self_approval:
        reasons.append(f"{approval.who} started the Dag run, and the policy lets nobody approve an own trigger.")
    if rules.reason_codes and approval.reason_code not in rules.reason_codes:
        reasons.append(
            f"{approval.who} gave the reason code {approval.reason_code or 'that is missing'!r}, but the policy wants "
            f"one of {', '.join(rules.reason_codes)}."
        )
    return reasons


def approval_refusals(
    rules: ApprovalRules,
    decision: "PromotionDecision",
    approvals: Sequence[Approval],
    *,
    roles: Mapping[str, Collection[str]],
    triggered_by: str = "",
) -> list[str]:
    """Return every reason why these answers do not speak for a decision."""
    if not approvals:
        return ["There is no approval: nobody answered. Was the approval task marked as success by hand?"]
    reasons: list[str] = []
    for approval in approvals:
        if not approval.approved:
            reasons.append(f"{approval.who} rejected it{': ' + approval.comment if approval.comment else '.'}")
        elif approval.decision_digest != decision.content_digest():
            reasons.append(
                f"{approval.who} approved something else: version {approval.version} of {approval.model_name} on the "
                f"decision {approval.decision_digest[:12]}, but this is version {decision.version} of "
                f"{decision.model_name} on {decision.content_digest()[:12]}. Ask for approval again."
            )
        elif approval.is_of_a_person:
            reasons += answer_refusals(rules, approval, roles=roles, triggered_by=triggered_by)
        elif not _policy_says_so(rules, decision, approval.given_by):
            reasons.append(f"The approval says that it was given by {approval.who}, but the policy does not do that.")
    return reasons or _too_few(rules, approvals)


def _policy_says_so(rules: ApprovalRules, decision: "PromotionDecision", given_by: GivenBy) -> bool:
    if given_by is GivenBy.TIMEOUT:
        return rules.on_timeout is OnTimeout.APPROVE
    return rules.approves_by_itself(decision)


def _too_few(rules: ApprovalRules, approvals: Sequence[Approval]) -> list[str]:
    people = {approval.responder_id: approval.who for approval in approvals if approval.is_of_a_person}
    if len(people) >= rules.approvals or not all(approval.is_of_a_person for approval in approvals):
        return []  # Where the policy itself has approved, it has spoken for those who have not answered.
    twice = " Nobody counts twice." if len(approvals) > len(people) else ""
    alone = (
        f"The policy wants the approval of {rules.approvals} different people, but there is that of "
        f"{' and '.join(people.values())} alone.{twice} Map the approval task over as many seats."
    )
    return [alone]
