"""Who may approve, how many must, by when, and which answers do not count."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlops.domain.approval import (
    Approval,
    ApprovalRules,
    GivenBy,
    NoticeKind,
    OnTimeout,
    Risk,
    approval_refusals,
)
from airflow_mlops.domain.gates import GateMode, GateVerdict
from airflow_mlops.domain.promotion import PromotionDecision, PromotionPolicy
from airflow_mlops.exceptions import InvalidInputError, PolicyError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PASSED = GateVerdict(gate="auc", passed=True, reason="Good.")
DECISION = PromotionDecision(
    model_name="delays",
    version="2",
    model_digest="m2",
    evidence_uri="/evidence",
    evidence_digest="e",
    champion_version="1",
    policy_digest="p",
    passed=True,
    verdicts=(PASSED,),
)
ADA = Approval(
    decision_digest=DECISION.content_digest(),
    model_name="delays",
    version="2",
    approved=True,
    responder_id="7",
    responder_name="Ada",
    responded_at=NOW,
    reason_code="better",
    triggered_by="Eve",
)
GRACE = replace(ADA, responder_id="8", responder_name="Grace", seat=2)
OF_THE_POLICY = replace(ADA, responder_id="", responder_name="", given_by=GivenBy.POLICY)
AFTER_THE_DEADLINE = replace(OF_THE_POLICY, given_by=GivenBy.TIMEOUT)
LOW_RISK = ApprovalRules(risk=Risk.LOW, automatic=True)
TWO = ApprovalRules(approvals=2)


def refusals(
    rules: ApprovalRules,
    *approvals: Approval,
    decision: PromotionDecision = DECISION,
    roles: dict[str, tuple[str, ...]] | None = None,
    triggered_by: str = "",
) -> str:
    return " ".join(approval_refusals(rules, decision, approvals, roles=roles or {}, triggered_by=triggered_by))


# Which answers count -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "approvals"),
    [
        (ApprovalRules(), [ADA]),
        (ApprovalRules(approvers=("7",)), [ADA]),
        (ApprovalRules(approvers=("9",), roles=("Reviewer",)), [ADA]),
        (ApprovalRules(reason_codes=("better", "fix")), [ADA]),
        (TWO, [ADA, GRACE]),
        (LOW_RISK, [OF_THE_POLICY]),
        (ApprovalRules(risk=Risk.LOW, on_timeout=OnTimeout.APPROVE), [AFTER_THE_DEADLINE]),
        (ApprovalRules(risk=Risk.LOW, on_timeout=OnTimeout.APPROVE, approvals=2), [ADA, AFTER_THE_DEADLINE]),
        (ApprovalRules(allow_self_approval=True), [replace(ADA, triggered_by="Ada")]),
    ],
)
def test_answer_counts_that_the_rules_allow(rules: ApprovalRules, approvals: list[Approval]) -> None:
    assert refusals(rules, *approvals, roles={"Ada": ("reviewer",)}) == ""


@pytest.mark.parametrize(
    ("rules", "approvals", "reason"),
    [
        (ApprovalRules(), [], "nobody answered. Was the approval task marked as success by hand?"),
        (ApprovalRules(), [replace(ADA, responder_id="")], "names no responder"),
        (ApprovalRules(), [replace(ADA, approved=False, comment="not now")], r"Ada \(7\) rejected it: not now"),
        (ApprovalRules(), [replace(ADA, decision_digest="x" * 64)], r"Ada \(7\) approved something else"),
        (ApprovalRules(), [replace(ADA, triggered_by="Ada")], "nobody approve an own trigger"),
        (ApprovalRules(), [replace(ADA, triggered_by="7")], "nobody approve an own trigger"),
        (ApprovalRules(approvers=("8",)), [ADA], r"Ada \(7\) may not approve: the policy names 8\."),
        (ApprovalRules(approvers=("Ada",)), [ADA], "may not approve"),
        (ApprovalRules(roles=("admin",)), [ADA], r"may not approve: the policy names members of admin\."),
        (ApprovalRules(reason_codes=("fix",)), [ADA], "reason code 'better', but the policy wants one of fix"),
        (ApprovalRules(reason_codes=("fix",)), [replace(ADA, reason_code="")], "reason code 'that is missing'"),
        (TWO, [ADA], r"2 different people, but there is that of Ada \(7\) alone\. Map"),
        (TWO, [ADA, replace(ADA, seat=2)], "Nobody counts twice"),
        (TWO, [ADA, replace(GRACE, approved=False)], r"Grace \(8\) rejected it"),
        (ApprovalRules(), [OF_THE_POLICY], r"given by the policy \(every gate passed\), but the policy does not do"),
        (ApprovalRules(), [AFTER_THE_DEADLINE], r"given by the policy \(after the deadline\), but the policy does"),
        (LOW_RISK, [AFTER_THE_DEADLINE], "but the policy does not do that"),
    ],
)
def test_answer_that_does_not_count_is_named(rules: ApprovalRules, approvals: list[Approval], reason: str) -> None:
    assert re.search(reason, refusals(rules, *approvals, roles={"Ada": ("user",)}))


def test_answer_to_another_decision_does_not_count() -> None:
    assert "approved something else" in refusals(ApprovalRules(), ADA, decision=replace(DECISION, version="3"))


def test_who_starts_the_promoting_run_cannot_have_approved_either() -> None:
    assert "nobody approve an own trigger" in refusals(ApprovalRules(), ADA, triggered_by="Ada")


def test_scheduled_run_was_started_by_nobody() -> None:
    assert refusals(ApprovalRules(), replace(ADA, triggered_by="")) == ""


@pytest.mark.parametrize("mode", [GateMode.ENFORCE, GateMode.DRY_RUN])
def test_policy_approves_by_itself_only_when_every_gate_passed_those_of_a_dry_run_too(mode: GateMode) -> None:
    failed = GateVerdict(gate="cost", passed=False, reason="Dear.", mode=mode)
    decision = replace(DECISION, verdicts=(PASSED, failed))
    assert LOW_RISK.approves_by_itself(DECISION)
    assert not LOW_RISK.approves_by_itself(decision)
    approval = replace(OF_THE_POLICY, decision_digest=decision.content_digest())
    assert "the policy does not do that" in refusals(LOW_RISK, approval, decision=decision)


def test_gate_that_is_off_does_not_keep_a_policy_from_approving() -> None:
    off = GateVerdict(gate="cost", passed=False, reason="Off.", mode=GateMode.OFF)
    assert LOW_RISK.approves_by_itself(replace(DECISION, verdicts=(PASSED, off)))


people = st.sampled_from(["1", "2", "3"])


@given(wanted=st.integers(1, 3), answered=st.lists(people, min_size=1, max_size=6))
def test_as_many_different_people_are_needed_as_the_policy_says(wanted: int, answered: list[str]) -> None:
    approvals = [replace(ADA, responder_id=person, responder_name=person) for person in answered]
    is_enough = len(set(answered)) >= wanted
    assert (refusals(ApprovalRules(approvals=wanted), *approvals) == "") is is_enough


# Rules that cannot be used -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"approvals": 0}, "at least one is needed"),
        ({"approvals": 2, "approvers": ("7", "7")}, "2 approvals are wanted of 1 approvers"),
        ({"automatic": True}, "automatic approval needs risk: low, but the risk is high"),
        ({"on_timeout": OnTimeout.APPROVE, "risk": Risk.MEDIUM}, "on_timeout: approve needs risk: low"),
        ({"deadline_hours": 0.0}, "more than 0"),
        ({"deadline_hours": 2.0, "remind_after_hours": (3.0,)}, "before the deadline of 2.0 hours"),
        ({"deadline_hours": 2.0, "escalate_after_hours": 2.0}, "before the deadline"),
        ({"reason_codes": ("",)}, "is empty"),
    ],
)
def test_rules_that_make_no_sense_are_refused_when_they_are_written(rules: dict[str, Any], reason: str) -> None:
    with pytest.raises(PolicyError, match=reason):
        ApprovalRules(**rules)


def test_rules_are_read_from_plain_values() -> None:
    rules = {"approvals": 2, "roles": ["admin"], "deadline_hours": 24, "on_timeout": "fail"}
    gates = [{"kind": "metric", "metric": "auc", "at_least": 0.5}]
    assert PromotionPolicy.from_dict({"gates": gates, "approval": rules}).approval == ApprovalRules(
        approvals=2, roles=("admin",), deadline_hours=24.0, on_timeout=OnTimeout.FAIL
    )


def test_misspelt_rule_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match="unknown key 'self_approval'"):
        ApprovalRules.from_dict({"self_approval": False})


# The wait ------------------------------------------------------------------------------------------------------------


def test_notices_come_in_the_order_of_their_time() -> None:
    rules = ApprovalRules(remind_after_hours=(4.0, 1.0), escalate_after_hours=2.0, deadline_hours=8.0)
    assert [(notice.after_hours, notice.kind) for notice in rules.schedule] == [
        (1.0, NoticeKind.REMINDER),
        (2.0, NoticeKind.ESCALATION),
        (4.0, NoticeKind.REMINDER),
        (8.0, NoticeKind.DEADLINE),
    ]


def test_wait_is_until_the_next_notice_and_never_negative() -> None:
    rules = ApprovalRules(remind_after_hours=(1.0,), deadline_hours=8.0)
    assert rules.wait_until(0, NOW, NOW) == timedelta(hours=1)
    assert rules.wait_until(1, NOW, NOW + timedelta(hours=2)) == timedelta(hours=6)
    assert rules.wait_until(1, NOW, NOW + timedelta(days=2)) == timedelta(0)
    assert rules.wait_until(2, NOW, NOW) is None


def test_question_without_a_deadline_waits_for_ever() -> None:
    assert ApprovalRules().wait_until(0, NOW, NOW) is None
