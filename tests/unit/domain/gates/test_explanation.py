"""The gate on explanations: one must be there, and may have a bar for what has moved since the champion."""

from dataclasses import replace

import pytest

from airflow_mlops.domain.evaluation import Evaluation
from airflow_mlops.domain.explanation import Explanation, FeatureImportance, ModelExplanation
from airflow_mlops.domain.gates import ExplanationGate, FirstModel
from airflow_mlops.domain.promotion import PromotionPolicy
from airflow_mlops.exceptions import PolicyError

from .test_serving import FAST, evaluation


def explained(**means: float) -> ModelExplanation:
    found = [FeatureImportance(feature=name, mean=mean, standard_deviation=0.0) for name, mean in means.items()]
    return ModelExplanation(metric="roc_auc", rows=10, repeats=1, importances=tuple(found))


def judged(candidate: ModelExplanation, champion: ModelExplanation | None = None) -> Evaluation:
    shown = Explanation.compare(candidate, champion)
    return replace(evaluation(FAST, FAST if champion else None), explanation=shown)


def test_an_explained_candidate_passes_by_its_first_feature() -> None:
    verdict = ExplanationGate().judge(judged(explained(hour=0.1, temp=0.2)), FirstModel.BARS_ONLY)
    assert verdict.passed
    assert verdict.reason == "2 features are explained by roc_auc, temp first."


def test_evidence_that_explains_nothing_is_refused() -> None:
    verdict = ExplanationGate().judge(evaluation(), FirstModel.BARS_ONLY)
    assert not verdict.passed
    assert verdict.reason == "The evaluation explains nothing. Evaluate it again, with `explain` in its spec."


def test_a_candidate_without_importances_is_refused_with_the_reason() -> None:
    verdict = ExplanationGate().judge(judged(ModelExplanation(notes=("It is a rule.",))), FirstModel.BARS_ONLY)
    assert not verdict.passed
    assert verdict.reason == "The candidate is not explained. It is a rule."


@pytest.mark.parametrize(("bar", "passed"), [(0.5, True), (0.4, False)])
def test_importance_that_moved_is_compared_with_the_bar(bar: float, passed: bool) -> None:
    both = judged(explained(hour=1, temp=3), explained(hour=6, temp=2))
    verdict = ExplanationGate(drift_at_most=bar).judge(both, FirstModel.BARS_ONLY)
    assert verdict.passed is passed
    seen = "50% of the importance is on other features than the champion's, most of it with hour (75% before, 25% now)"
    assert verdict.reason.startswith(seen)


def test_a_champion_that_is_not_explained_is_a_refusal_where_drift_is_asked_for() -> None:
    both = judged(explained(hour=1), ModelExplanation())
    assert ExplanationGate().judge(both, FirstModel.BARS_ONLY).passed
    verdict = ExplanationGate(drift_at_most=0.5).judge(both, FirstModel.BARS_ONLY)
    assert not verdict.passed
    assert verdict.reason.startswith("The drift of importances is not known. The champion has no importances")


@pytest.mark.parametrize(("first_model", "passed"), [(FirstModel.BARS_ONLY, True), (FirstModel.REFUSE, False)])
def test_a_first_model_has_no_drift(first_model: FirstModel, passed: bool) -> None:
    verdict = ExplanationGate(drift_at_most=0.5).judge(judged(explained(hour=1)), first_model)
    assert verdict.passed is passed


@pytest.mark.parametrize("bar", [0.0, -0.1, 1.1])
def test_a_bar_that_decides_nothing_is_refused(bar: float) -> None:
    with pytest.raises(PolicyError, match="Give a share such as"):
        ExplanationGate(drift_at_most=bar)


def test_a_policy_file_names_it_by_its_kind() -> None:
    policy = PromotionPolicy.from_dict({"gates": [{"kind": "explanation", "drift_at_most": 0.3}]})
    assert policy.gates == (ExplanationGate(drift_at_most=0.3),)
    assert policy.gates[0].name == "explained, importance moved ≤ 30%"
