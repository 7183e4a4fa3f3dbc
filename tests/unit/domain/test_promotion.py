"""Gates: what passes, what is refused, and what they say. Promotion: everything that must still be true."""

import random
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlops.domain.approval import Approval
from airflow_mlops.domain.evaluation import Estimate, Evaluation, Evidence, JudgedModel, LearningTask, MetricComparison
from airflow_mlops.domain.promotion import (
    FirstModel,
    GateMode,
    ImprovementGate,
    MetricGate,
    PromotionDecision,
    PromotionPolicy,
    promotion_refusals,
)
from airflow_mlops.domain.promotion_summary import approval_summary
from airflow_mlops.domain.registry import (
    TAG_BACKEND,
    TAG_DATASET_DIGEST,
    TAG_DATASET_NAME,
    TAG_MODEL_DIGEST,
    ModelVersion,
)
from airflow_mlops.domain.serialization import digest_of
from airflow_mlops.exceptions import EvaluationError, InvalidInputError, PolicyError


def comparison(
    candidate: float, champion: float | None = None, *, name: str = "auc", up: bool = True, width: float = 0.01
) -> MetricComparison:
    def around(value: float) -> Estimate:
        return Estimate(value=value, low=value - width, high=value + width)

    return MetricComparison(
        metric=name,
        higher_is_better=up,
        candidate=around(candidate),
        champion=None if champion is None else around(champion),
        difference=None if champion is None else around(candidate - champion),
    )


def evaluation(*metrics: MetricComparison, champion: str | None = "1") -> Evaluation:
    return Evaluation(
        model_name="delays",
        candidate=JudgedModel(version="2", run_id="r2", model_digest="m2"),
        champion=JudgedModel(version=champion, run_id="r1", model_digest="m1") if champion else None,
        dataset_name="holdout",
        dataset_digest="d",
        target="late",
        task=LearningTask.BINARY,
        rows=100,
        confidence_level=0.95,
        resamples=10,
        metrics=metrics,
    )


def evidence(*metrics: MetricComparison, champion: str | None = "1") -> Evidence:
    judged = evaluation(*metrics, champion=champion)
    return Evidence(uri="/evidence", digest=judged.content_digest(), evaluation=judged)


# Metric gates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "value", "passed"),
    [
        (MetricGate(metric="auc", at_least=0.7), 0.7, True),
        (MetricGate(metric="auc", at_least=0.7), 0.6999, False),
        (MetricGate(metric="auc", at_most=0.7), 0.7, True),
        (MetricGate(metric="auc", at_most=0.7), 0.7001, False),
        (MetricGate(metric="auc", at_least=0.5, at_most=0.7), 0.6, True),
        (MetricGate(metric="auc", at_least=0.5, at_most=0.7), 0.4, False),
    ],
)
def test_bar_itself_clears_the_bar(gate: MetricGate, value: float, passed: bool) -> None:
    verdict = gate.judge(evaluation(comparison(value)), FirstModel.BARS_ONLY)
    assert verdict.passed is passed
    assert f"{value:.4f}" in verdict.reason


def test_missing_metric_is_a_refusal_that_says_what_there_is() -> None:
    verdict = MetricGate(metric="auk", at_least=0.1).judge(evaluation(comparison(1.0)), FirstModel.BARS_ONLY)
    assert not verdict.passed
    assert "no metric 'auk' (it has auc)" in verdict.reason


def test_gate_without_a_bar_is_refused_when_it_is_written() -> None:
    with pytest.raises(PolicyError, match="has no bar"):
        MetricGate(metric="auc")


# Improvement gates ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("candidate", "champion", "up", "absolute", "relative", "passed"),
    [
        (0.71, 0.70, True, 0.0, 0.0, True),
        (0.70, 0.70, True, 0.0, 0.0, False),
        (0.69, 0.70, True, 0.0, 0.0, False),
        (0.75, 0.70, True, 0.04, 0.0, True),
        (0.73, 0.70, True, 0.04, 0.0, False),
        (0.30, 0.40, False, 0.05, 0.0, True),
        (0.40, 0.30, False, 0.0, 0.0, False),
        (0.78, 0.70, True, 0.0, 0.10, True),
        (0.76, 0.70, True, 0.0, 0.10, False),
        (-1.0, -2.0, True, 0.0, 0.5, True),
        (-1.5, -2.0, True, 0.0, 0.5, False),
        (0.001, 0.0, True, 0.0, 0.5, True),
        (0.0, 0.0, True, 0.0, 0.5, False),
        (-0.001, 0.0, True, 0.0, 0.5, False),
        (0.72, 0.70, True, 0.01, 0.10, False),
    ],
)
def test_improvement_is_measured_on_the_absolute_value_of_the_champion(  # noqa: PLR0917 - a table
    candidate: float,
    champion: float,
    up: bool,
    absolute: float,
    relative: float,
    passed: bool,
) -> None:
    gate = ImprovementGate(metric="auc", absolute=absolute, relative=relative)
    verdict = gate.judge(evaluation(comparison(candidate, champion, up=up)), FirstModel.BARS_ONLY)
    assert verdict.passed is passed, verdict.reason


def test_tie_with_champion_is_not_an_improvement() -> None:
    verdict = ImprovementGate(metric="auc").judge(evaluation(comparison(0.7, 0.7)), FirstModel.BARS_ONLY)
    assert not verdict.passed
    assert "it is the same" in verdict.reason


def test_improvement_within_the_noise_is_refused_when_confidence_is_asked() -> None:
    judged = evaluation(comparison(0.71, 0.70, width=0.02))
    assert ImprovementGate(metric="auc").judge(judged, FirstModel.BARS_ONLY).passed
    verdict = ImprovementGate(metric="auc", confidence=0.95).judge(judged, FirstModel.BARS_ONLY)
    assert not verdict.passed
    assert "with 95% confidence the improvement is at least -0.0100" in verdict.reason


def test_lower_end_of_the_interval_must_clear_the_margin_too() -> None:
    judged = evaluation(comparison(0.75, 0.70, width=0.02))
    assert ImprovementGate(metric="auc", absolute=0.02, confidence=0.95).judge(judged, FirstModel.BARS_ONLY).passed
    assert not ImprovementGate(metric="auc", absolute=0.04, confidence=0.95).judge(judged, FirstModel.BARS_ONLY).passed


def test_confidence_of_a_loss_looks_at_the_right_end() -> None:
    judged = evaluation(comparison(0.30, 0.35, up=False, width=0.02))
    assert ImprovementGate(metric="auc", absolute=0.02, confidence=0.95).judge(judged, FirstModel.BARS_ONLY).passed
    assert not ImprovementGate(metric="auc", absolute=0.04, confidence=0.95).judge(judged, FirstModel.BARS_ONLY).passed


def test_confidence_that_the_evaluation_did_not_compute_is_a_refusal() -> None:
    gate = ImprovementGate(metric="auc", confidence=0.99)
    verdict = gate.judge(evaluation(comparison(0.9, 0.1)), FirstModel.BARS_ONLY)
    assert not verdict.passed
    assert "intervals are at 95%" in verdict.reason


def test_first_model_is_judged_by_its_bars_alone() -> None:
    first = evaluation(comparison(0.7), champion=None)
    assert ImprovementGate(metric="auc").judge(first, FirstModel.BARS_ONLY).passed
    refusal = ImprovementGate(metric="auc").judge(first, FirstModel.REFUSE)
    assert not refusal.passed
    assert "no champion to compare with" in refusal.reason


def test_metric_that_only_the_candidate_has_is_no_improvement() -> None:
    verdict = ImprovementGate(metric="auc").judge(evaluation(comparison(0.7)), FirstModel.BARS_ONLY)
    assert not verdict.passed
    assert "was not computed for the champion" in verdict.reason


@pytest.mark.parametrize(
    ("candidate", "champion", "up", "margin", "passed"),
    [
        (0.70, 0.70, True, 0.01, True),
        (0.695, 0.70, True, 0.01, True),
        (0.68, 0.70, True, 0.01, False),
        (0.50, 0.75, True, 0.25, False),
        (0.305, 0.30, False, 0.01, True),
        (0.32, 0.30, False, 0.01, False),
    ],
)
def test_candidate_within_the_margin_is_good_enough(
    candidate: float, champion: float, up: bool, margin: float, passed: bool
) -> None:
    gate = ImprovementGate(metric="auc", margin=margin)
    verdict = gate.judge(evaluation(comparison(candidate, champion, up=up)), FirstModel.BARS_ONLY)
    assert verdict.passed is passed, verdict.reason


def test_non_inferiority_that_is_not_sure_is_refused_when_confidence_is_asked() -> None:
    judged = evaluation(comparison(0.70, 0.70, width=0.02))
    assert ImprovementGate(metric="auc", margin=0.03, confidence=0.95).judge(judged, FirstModel.BARS_ONLY).passed
    verdict = ImprovementGate(metric="auc", margin=0.01, confidence=0.95).judge(judged, FirstModel.BARS_ONLY)
    assert not verdict.passed
    assert "it may be worse by less than 0.01, but with 95% confidence the improvement is at least -0.0200" in (
        verdict.reason
    )


@pytest.mark.parametrize("wrong", [{"margin": 0.0}, {"margin": -0.1}, {"margin": 0.1, "absolute": 0.1}])
def test_margin_beside_a_bar_is_refused_when_it_is_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match="margin"):
        ImprovementGate(metric="auc", **wrong)


@pytest.mark.parametrize("wrong", [{"absolute": -1.0}, {"relative": -0.1}, {"confidence": 1.0}, {"confidence": 0.0}])
def test_impossible_bars_are_refused_when_they_are_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match="'auc'"):
        ImprovementGate(metric="auc", **wrong)


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


gates = st.lists(
    st.builds(MetricGate, metric=st.sampled_from(["auc", "other"]), at_least=st.floats(0, 1))
    | st.builds(ImprovementGate, metric=st.just("auc"), absolute=st.floats(0, 0.5)),
    min_size=1,
    max_size=5,
)
gates_of_any_mode = st.lists(
    st.builds(MetricGate, metric=st.just("auc"), at_least=st.floats(0, 1), mode=st.sampled_from(GateMode)), max_size=5
)
values = st.floats(0, 1)


@given(gates=gates, candidate=values, champion=values, order=st.randoms(use_true_random=False))
def test_order_of_gates_changes_nothing(
    gates: list[MetricGate | ImprovementGate],
    candidate: float,
    champion: float,
    order: random.Random,
) -> None:
    seen = evidence(comparison(candidate, champion))
    shuffled = list(gates)
    order.shuffle(shuffled)
    assert (
        PromotionPolicy(gates=tuple(gates)).judge(seen).passed
        is PromotionPolicy(gates=tuple(shuffled)).judge(seen).passed
    )


@given(gates=gates, more=gates_of_any_mode, candidate=values, champion=values)
def test_another_gate_never_turns_a_refusal_into_a_pass(
    gates: list[MetricGate | ImprovementGate],
    more: list[MetricGate],
    candidate: float,
    champion: float,
) -> None:
    seen = evidence(comparison(candidate, champion))
    if not PromotionPolicy(gates=tuple(gates)).judge(seen).passed:
        assert not PromotionPolicy(gates=(*gates, *more)).judge(seen).passed


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
APPROVAL = Approval(
    decision_digest=DECISION.content_digest(),
    model_name="delays",
    version="2",
    approved=True,
    responder_id="7",
    responder_name="Ada",
    responded_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def refusals(
    *,
    decision: PromotionDecision = DECISION,
    approval: Approval | None = APPROVAL,
    candidate: ModelVersion = CANDIDATE,
    champion: ModelVersion | None = CHAMPION,
    seen: Evidence = EVIDENCE,
) -> str:
    return " ".join(
        promotion_refusals(decision, approval, candidate=candidate, champion=champion, evidence_digest=seen.digest)
    )


def test_approved_candidate_is_promoted_when_nothing_has_changed() -> None:
    assert refusals() == ""


def test_retry_after_the_alias_has_moved_is_no_refusal() -> None:
    assert refusals(champion=CANDIDATE) == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"approval": None}, "nobody answered. Was the approval task marked as success by hand?"),
        ({"approval": replace(APPROVAL, responder_id="")}, "names no responder"),
        ({"approval": replace(APPROVAL, approved=False, comment="not now")}, r"Ada \(7\) rejected it: not now"),
        ({"approval": replace(APPROVAL, decision_digest="x" * 64)}, "approved something else"),
        ({"decision": replace(DECISION, version="3")}, "approved something else"),
        ({"candidate": replace(CANDIDATE, tags={TAG_MODEL_DIGEST: "other"})}, "has changed since it was judged"),
        ({"champion": replace(CHAMPION, version="9")}, "The champion is version 9 now, .* compared with version 1"),
        ({"champion": None}, "The champion is no version now"),
        ({"seen": evidence(comparison(0.9, 0.1))}, "The evidence has changed"),
    ],
)
def test_promotion_is_refused_with_its_reason(change: dict[str, object], reason: str) -> None:
    assert re.search(reason, refusals(**change))  # type: ignore[arg-type] # a test's table


def test_candidate_that_its_gates_refused_is_not_promoted_whatever_was_approved() -> None:
    refused = POLICY.judge(evidence(comparison(0.6, 0.7)))
    approval = replace(APPROVAL, decision_digest=refused.content_digest())
    assert "The gates refused it" in refusals(decision=refused, approval=approval)


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


def test_reviewer_sees_which_verdicts_decide_nothing() -> None:
    tried = MetricGate(metric="auc", at_least=0.9, mode=GateMode.DRY_RUN)
    off = MetricGate(metric="auc", at_least=0.9, mode=GateMode.OFF)
    decision = PromotionPolicy(gates=(MetricGate(metric="auc", at_least=0.5), tried, off)).judge(EVIDENCE)
    text = approval_summary(decision, EVIDENCE.evaluation, CANDIDATE, {})
    assert "| ✅ | auc ≥ 0.5 |" in text
    assert "| dry run ❌ | auc ≥ 0.9 |" in text
    assert "| off | auc ≥ 0.9 | Switched off, so not asked. |" in text
