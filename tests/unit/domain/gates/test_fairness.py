"""A gate on fairness names the groups, and refuses what it cannot know."""

from dataclasses import replace

import pytest

from airflow_mlops.domain.evaluation import Evaluation, JudgedModel, LearningTask
from airflow_mlops.domain.fairness import Fairness, FairnessColumn, FairnessGroup, GroupRate
from airflow_mlops.domain.gates import FairnessGate, FirstModel
from airflow_mlops.domain.promotion import PromotionPolicy
from airflow_mlops.exceptions import PolicyError


def group(name: str, rows: int, selected: float, champion: float) -> FairnessGroup:
    return FairnessGroup(
        value=name,
        rows=rows,
        candidate={"selection_rate": GroupRate(value=selected, rows=rows)},
        champion={"selection_rate": GroupRate(value=champion, rows=rows)},
    )


def measured(*groups: FairnessGroup, notes: tuple[str, ...] = ()) -> Evaluation:
    model = JudgedModel(version="2", run_id="r", model_digest="m")
    return Evaluation(
        model_name="loans",
        candidate=model,
        champion=None,
        dataset_name="july",
        dataset_digest="d",
        target="paid",
        task=LearningTask.BINARY,
        rows=10_000,
        confidence_level=0.95,
        resamples=100,
        metrics=(),
        fairness=Fairness(min_rows=100, columns=(FairnessColumn.of("sex", groups, 100, notes),)),
    )


FEMALE, MALE, OTHER = group("f", 500, 0.31, 0.40), group("m", 600, 0.44, 0.45), group("x", 20, 0.9, 0.9)


def gate(metric: str = "demographic_parity_difference", column: str = "sex", **bar: float) -> FairnessGate:
    return FairnessGate.from_dict({"column": column, "metric": metric, **bar})


def test_refusal_names_both_groups_the_champion_and_who_was_not_judged() -> None:
    verdict = gate(at_most=0.1).judge(measured(FEMALE, MALE, OTHER), FirstModel.BARS_ONLY)
    assert not verdict.passed
    assert verdict.reason == (
        "By sex, selection_rate is 0.3100 of f and 0.4400 of m: demographic_parity_difference is 0.1300, the "
        "champion's 0.0500, but must be at most 0.1. Not judged, of fewer than 100 rows: x."
    )


def test_bar_itself_passes() -> None:
    assert (
        gate("demographic_parity_ratio", at_least=0.31 / 0.44).judge(measured(FEMALE, MALE), FirstModel.REFUSE).passed
    )


def test_gate_may_judge_smaller_groups_than_the_evaluation() -> None:
    evaluation = measured(FEMALE, MALE, OTHER)
    assert gate(at_most=0.2).judge(evaluation, FirstModel.REFUSE).passed
    refused = gate(at_most=0.2, min_rows=20).judge(evaluation, FirstModel.REFUSE)
    assert not refused.passed
    assert "0.9000 of x" in refused.reason


def test_rate_is_asked_of_every_group() -> None:
    evaluation = measured(FEMALE, MALE)
    assert gate("selection_rate", at_least=0.3, at_most=0.5).judge(evaluation, FirstModel.REFUSE).passed
    refused = gate("selection_rate", at_least=0.4).judge(evaluation, FirstModel.REFUSE)
    assert "selection_rate is 0.3100 of f to 0.4400 of m, but must be at least 0.4" in refused.reason
    assert not gate("selection_rate", at_most=0.4).judge(evaluation, FirstModel.REFUSE).passed


@pytest.mark.parametrize(
    ("evaluation", "reason"),
    [
        (replace(measured(FEMALE, MALE), fairness=None), "Name 'sex' as sensitive in its spec"),
        (measured(FEMALE, OTHER), "it takes two groups with selection_rate of at least 100 rows"),
        (measured(notes=("sex has 1,000 values, more than max_groups (50).",)), "sex has 1,000 values"),
    ],
)
def test_what_was_not_measured_is_refused(evaluation: Evaluation, reason: str) -> None:
    verdict = gate(at_most=1.0).judge(evaluation, FirstModel.BARS_ONLY)
    assert not verdict.passed
    assert reason in verdict.reason


def test_other_column_and_other_task_are_refused() -> None:
    evaluation = measured(FEMALE, MALE)
    other = gate(at_most=1.0, column="age").judge(evaluation, FirstModel.REFUSE)
    assert (other.passed, other.reason) == (False, "Fairness was not measured by 'age', only by sex.")
    odds = gate("equalized_odds_difference", at_most=1.0).judge(evaluation, FirstModel.REFUSE)
    assert not odds.passed
    assert "The task has no true_positive_rate" in odds.reason


@pytest.mark.parametrize(
    ("metric", "bar", "reason"),
    [
        ("demographic_parity", {"at_most": 0.1}, "unknown metric 'demographic_parity'"),
        ("mean_error_ratio", {"at_most": 0.1}, "unknown metric"),
        ("selection_rate", {}, "has no bar"),
        ("selection_rate", {"at_most": float("nan")}, "has the bar nan"),
        ("selection_rate", {"at_most": 0.1, "min_rows": 0}, "Give 1 or more"),
    ],
)
def test_gate_that_asks_for_nothing_is_refused(metric: str, bar: dict[str, float], reason: str) -> None:
    with pytest.raises(PolicyError, match=reason):
        FairnessGate.from_dict({"column": "sex", "metric": metric, **bar})


def test_policy_holds_the_gate_by_its_kind() -> None:
    policy = PromotionPolicy(gates=(gate(at_most=0.1),))
    assert policy.to_dict()["gates"][0]["kind"] == "fairness"
    assert PromotionPolicy.from_dict(policy.to_dict()) == policy
