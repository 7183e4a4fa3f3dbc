"""Gates on metrics: what passes, what is refused, and what they say."""

from typing import Any

import pytest

from airflow_mlops.domain.gates import FirstModel, ImprovementGate, MetricGate
from airflow_mlops.exceptions import PolicyError

from .judged import comparison, evaluation


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


@pytest.mark.parametrize("gate", [MetricGate(metric="auc", at_least=0.1), MetricGate(metric="auc", at_most=0.9)])
def test_metric_that_is_no_number_clears_no_bar(gate: MetricGate) -> None:
    verdict = gate.judge(evaluation(comparison(float("nan"))), FirstModel.BARS_ONLY)
    assert not verdict.passed
    assert "auc is nan" in verdict.reason


@pytest.mark.parametrize(("candidate", "champion", "bar"), [(0.9, 0.8, 0.1), (0.4, 0.3, 0.1), (0.8, 0.7, 0.1)])
def test_bar_that_is_met_but_for_rounding_is_met(candidate: float, champion: float, bar: float) -> None:
    judged = evaluation(comparison(candidate, champion))
    assert ImprovementGate(metric="auc", absolute=bar).judge(judged, FirstModel.BARS_ONLY).passed
    worse = evaluation(comparison(champion, candidate))
    assert not ImprovementGate(metric="auc", margin=bar).judge(worse, FirstModel.BARS_ONLY).passed


@pytest.mark.parametrize(("p_value", "passed"), [(0.001, True), (0.05, True), (0.051, False), (float("nan"), False)])
def test_improvement_that_may_be_an_accident_is_refused_when_significance_is_asked(
    p_value: float, passed: bool
) -> None:
    judged = evaluation(comparison(0.75, 0.7, p_value=p_value))
    verdict = ImprovementGate(metric="auc", significance=0.05).judge(judged, FirstModel.BARS_ONLY)
    assert verdict.passed is passed
    assert ("that may be an accident: p is" in verdict.reason) is not passed


def test_significantly_worse_is_no_improvement() -> None:
    judged = evaluation(comparison(0.65, 0.7, p_value=0.001))
    assert not ImprovementGate(metric="auc", significance=0.05).judge(judged, FirstModel.BARS_ONLY).passed


def test_difference_that_was_not_tested_is_refused_when_significance_is_asked() -> None:
    judged = evaluation(comparison(0.75, 0.7))
    verdict = ImprovementGate(metric="auc", significance=0.05).judge(judged, FirstModel.BARS_ONLY)
    assert not verdict.passed
    assert "the difference was not tested" in verdict.reason


@pytest.mark.parametrize("wrong", [{"significance": 0.0}, {"significance": 1.0}, {"significance": 0.05, "margin": 0.1}])
def test_impossible_significance_is_refused_when_it_is_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match="significance"):
        ImprovementGate(metric="auc", **wrong)
