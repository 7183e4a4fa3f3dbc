"""Gates: what passes, what is refused, and what they say. Promotion: everything that must still be true."""

import re
from dataclasses import replace
from typing import Any

import pytest

from airflow_mlops.domain.approval import ApprovalRules
from airflow_mlops.domain.evaluation import Evidence
from airflow_mlops.domain.promotion import (
    FirstModel,
    GateMode,
    ImprovementGate,
    MetricGate,
    PromotionDecision,
    PromotionPolicy,
    judgement_refusals,
    promotion_refusals,
)
from airflow_mlops.domain.promotion_summary import approval_summary
from airflow_mlops.domain.registry import (
    TAG_BACKEND,
    TAG_DATASET_DIGEST,
    TAG_DATASET_NAME,
    TAG_MODEL_DIGEST,
    TAG_TRAINED_BECAUSE,
    ModelVersion,
)
from airflow_mlops.domain.serialization import digest_of
from airflow_mlops.exceptions import EvaluationError, InvalidInputError

from .gates.judged import AS_OF, comparison, evaluation, evidence, facts

# Policies ------------------------------------------------------------------------------------------------------------


def test_policy_without_gates_refuses() -> None:
    decision = PromotionPolicy(gates=()).judge(evidence(comparison(1.0, 0.0)))
    assert not decision.passed
    assert "no gates" in decision.verdicts[0].reason


def test_dry_run_is_shown_and_decides_nothing() -> None:
    tried = MetricGate(metric="auc", at_least=0.9, mode=GateMode.DRY_RUN)
    decision = PromotionPolicy(gates=(MetricGate(metric="auc", at_least=0.5), tried)).judge(evidence(comparison(0.7)))
    assert decision.passed
    assert (decision.verdicts[1].passed, decision.verdicts[1].refuses) == (False, False)
    assert decision.verdicts[1].reason.endswith("but is 0.7000. A dry run, which decides nothing.")


def test_gate_that_is_off_is_not_asked_and_says_so() -> None:
    off = MetricGate(metric="no such metric", at_least=0.9, mode=GateMode.OFF)
    decision = PromotionPolicy(gates=(MetricGate(metric="auc", at_least=0.5), off)).judge(evidence(comparison(0.7)))
    assert decision.passed
    assert decision.verdicts[1].reason == "Switched off, so not asked."


@pytest.mark.parametrize("mode", [GateMode.DRY_RUN, GateMode.OFF])
def test_policy_that_enforces_nothing_refuses(mode: GateMode) -> None:
    policy = PromotionPolicy(gates=(MetricGate(metric="auc", at_least=0.1, mode=mode),))
    decision = policy.judge(evidence(comparison(0.7)))
    assert not decision.passed
    assert "enforces none of its gates" in decision.verdicts[-1].reason


def test_unknown_mode_of_a_policy_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match=r"'enforce', 'dry_run', 'off'"):
        PromotionPolicy.from_dict({"gates": [{"kind": "metric", "metric": "auc", "at_least": 0.6, "mode": "on"}]})


def test_policy_is_read_from_plain_values() -> None:
    policy = PromotionPolicy.from_dict(
        {
            "gates": [
                {"kind": "metric", "metric": "auc", "at_least": 0.6},
                {"kind": "improvement", "metric": "auc", "relative": 0.01, "confidence": 0.95},
            ],
            "first_model": "refuse",
        }
    )
    assert policy == PromotionPolicy(
        gates=(
            MetricGate(metric="auc", at_least=0.6),
            ImprovementGate(metric="auc", relative=0.01, confidence=0.95),
        ),
        first_model=FirstModel.REFUSE,
    )


def test_misspelt_key_of_a_policy_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match=r"gates\[0\] \(metric\) has the unknown key 'atleast'"):
        PromotionPolicy.from_dict({"gates": [{"kind": "metric", "metric": "auc", "atleast": 0.6}]})


# Promotion -----------------------------------------------------------------------------------------------------------

POLICY = PromotionPolicy(gates=(MetricGate(metric="auc", at_least=0.5), ImprovementGate(metric="auc")))
EVIDENCE = evidence(comparison(0.8, 0.7))
DECISION = POLICY.judge(EVIDENCE)
CANDIDATE = ModelVersion(
    model_name="delays",
    version="2",
    run_id="r2",
    source="models:/m-2",
    tags={TAG_MODEL_DIGEST: "m2", TAG_BACKEND: "docker", TAG_DATASET_NAME: "flights", TAG_DATASET_DIGEST: "f" * 64},
)
CHAMPION = replace(CANDIDATE, version="1", tags={TAG_MODEL_DIGEST: "m1"})


def refusals(
    *,
    decision: PromotionDecision = DECISION,
    candidate: ModelVersion = CANDIDATE,
    champion: ModelVersion | None = CHAMPION,
    seen: Evidence = EVIDENCE,
) -> str:
    return " ".join(promotion_refusals(decision, candidate=candidate, champion=champion, evidence_digest=seen.digest))


def test_decision_is_followed_when_nothing_has_changed() -> None:
    assert refusals() == ""


def test_retry_after_the_alias_has_moved_is_no_refusal() -> None:
    assert refusals(champion=CANDIDATE) == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"candidate": replace(CANDIDATE, tags={TAG_MODEL_DIGEST: "other"})}, "has changed since it was judged"),
        ({"champion": replace(CHAMPION, version="9")}, "The champion is version 9 now, .* compared with version 1"),
        ({"champion": None}, "The champion is no version now"),
        ({"seen": evidence(comparison(0.9, 0.1))}, "The evidence has changed"),
    ],
)
def test_promotion_is_refused_with_its_reason(change: dict[str, object], reason: str) -> None:
    assert re.search(reason, refusals(**change))  # type: ignore[arg-type] # a test's table


def test_candidate_that_its_gates_refused_is_not_promoted() -> None:
    refused = POLICY.judge(evidence(comparison(0.6, 0.7)))
    assert "The gates refused it" in refusals(decision=refused)


def test_decision_that_the_policy_takes_again_is_followed() -> None:
    assert judgement_refusals(DECISION, POLICY, EVIDENCE) == ()


def test_policy_that_changed_since_the_gates_ran_is_refused() -> None:
    lenient = replace(POLICY, gates=(MetricGate(metric="auc", at_least=0.1),))
    (reason,) = judgement_refusals(DECISION, lenient, EVIDENCE)
    assert "The policy has changed since the gates ran" in reason


def test_rules_of_approval_are_part_of_the_policy_that_was_judged() -> None:
    alone = replace(POLICY, approval=ApprovalRules(allow_self_approval=True))
    assert judgement_refusals(DECISION, alone, EVIDENCE) != ()


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        ({"passed": True}, "the gates say otherwise of the same evidence: auc better than champion at all"),
        ({"passed": True, "verdicts": ()}, "the gates say otherwise of the same evidence: auc ≥ 0.5, auc better"),
    ],
)
def test_decision_that_was_edited_is_refused(edit: dict[str, Any], reason: str) -> None:
    seen = evidence(comparison(0.6, 0.7))
    honest = POLICY.judge(seen)
    verdicts = tuple(replace(verdict, passed=True) for verdict in honest.verdicts)
    (said,) = judgement_refusals(replace(honest, **{"verdicts": verdicts, **edit}), POLICY, seen)
    assert reason in said


def test_decision_that_names_another_champion_than_its_evidence_is_refused() -> None:
    (said,) = judgement_refusals(replace(DECISION, champion_version="7"), POLICY, EVIDENCE)
    assert "it names other things. Was it edited?" in said


def test_evidence_that_was_edited_is_not_accepted() -> None:
    edited = evaluation(comparison(0.99, 0.7)).to_dict()
    with pytest.raises(EvaluationError, match="was changed"):
        Evidence.read(edited, EVIDENCE.reference())


def test_evidence_of_an_earlier_release_is_accepted_under_the_digest_that_it_was_stored_by() -> None:
    earlier = {key: value for key, value in EVIDENCE.evaluation.to_dict().items() if key != "diagnostics"}
    reference = replace(EVIDENCE.reference(), digest=digest_of(earlier))
    assert Evidence.read(earlier, reference).evaluation == EVIDENCE.evaluation


def test_first_model_needs_a_bar_that_speaks_for_it() -> None:
    first = evidence(comparison(0.8), champion=None)
    refused = PromotionPolicy(gates=(ImprovementGate(metric="auc"),)).judge(first)
    assert not refused.passed
    assert "no metric bar" in refused.verdicts[-1].reason
    assert (
        PromotionPolicy(gates=(ImprovementGate(metric="auc"), MetricGate(metric="auc", at_least=0.1)))
        .judge(first)
        .passed
    )


def test_reviewer_reads_the_verdicts_the_numbers_and_where_the_model_came_from() -> None:
    text = approval_summary(DECISION, EVIDENCE.evaluation, CANDIDATE, {"Candidate in MLflow": "http://mlflow/2"})
    assert "version 2" in text
    assert "| ✅ | auc better than champion at all | auc is 0.8000 against the champion's 0.7000" in text
    assert "| auc ↑ | 0.8000 [0.7900, 0.8100] | 0.7000 [0.6900, 0.7100] | +0.1000 [+0.0900, +0.1100] |" in text
    assert "flights `ffffffffffff`" in text
    assert "[Candidate in MLflow](http://mlflow/2)" in text


def test_reviewer_reads_why_monitoring_asked_for_it_and_no_links_of_whoever_wrote_that() -> None:
    because = {**CANDIDATE.tags, TAG_TRAINED_BECAUSE: '["roc_auc fell.", "[Approve](http://evil)<b>\\n# now"]'}
    text = approval_summary(DECISION, EVIDENCE.evaluation, replace(CANDIDATE, tags=because), {})
    assert "### Why it was trained\n\n- roc_auc fell.\n- \\[Approve](http://evil)&lt;b> # now\n\n### Gates" in text
    assert "Why it was trained" not in approval_summary(DECISION, EVIDENCE.evaluation, CANDIDATE, {})


def test_reviewer_sees_which_verdicts_decide_nothing() -> None:
    tried = MetricGate(metric="auc", at_least=0.9, mode=GateMode.DRY_RUN)
    off = MetricGate(metric="auc", at_least=0.9, mode=GateMode.OFF)
    decision = PromotionPolicy(gates=(MetricGate(metric="auc", at_least=0.5), tried, off)).judge(EVIDENCE)
    text = approval_summary(decision, EVIDENCE.evaluation, CANDIDATE, {})
    assert "### Gates: 1 of 1 passed" in text
    assert "**These decide nothing**: 1 on trial, 1 of which would refuse; 1 off." in text
    assert "| ✅ | auc ≥ 0.5 |" in text
    assert "| dry run ❌ | auc ≥ 0.9 |" in text
    assert "| off | auc ≥ 0.9 | Switched off, so not asked. |" in text


def test_approval_of_twelve_gates_puts_what_decides_first_and_each_in_one_row() -> None:
    modes = [GateMode.OFF, GateMode.DRY_RUN, GateMode.ENFORCE] * 4
    gates = tuple(
        MetricGate(metric="auc", at_least=bar / 20, mode=mode) for bar, mode in zip(range(1, 13), modes, strict=True)
    )
    decision = PromotionPolicy(gates=gates).judge(EVIDENCE)
    text = approval_summary(decision, EVIDENCE.evaluation, CANDIDATE, {})
    rows = [line.split("|")[1].strip() for line in text.splitlines() if "auc ≥" in line]
    assert rows == ["✅"] * 4 + ["dry run ✅"] * 4 + ["off"] * 4
    assert "### Gates: 4 of 4 passed" in text
    assert "4 on trial, 0 of which would refuse; 4 off" in text


def test_reviewer_sees_how_old_the_candidate_is() -> None:
    known = facts(data_until=AS_OF, trained_at=AS_OF)
    text = approval_summary(DECISION, evaluation(comparison(0.8, 0.7), facts=known), CANDIDATE, {})
    assert "| Training data until | 2026-03-01 00:00 UTC |" in text
    assert "| Trained | 2026-03-01 00:00 UTC |" in text
