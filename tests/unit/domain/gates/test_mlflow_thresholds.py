"""Where our gates and MLflow's ``MetricThreshold`` ask the same they answer the same, but for what is listed here."""

from typing import Any

import mlflow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.models import EvaluationResult
from mlflow.models.evaluation.validation import ModelValidationFailedException

from airflow_mlops.domain.gates import FirstModel, Gate, ImprovementGate, MetricGate

from .judged import comparison, evaluation


def gates(*, up: bool, threshold: float | None, absolute: float | None, relative: float | None) -> list[Gate]:
    """Return the gates that ask what a threshold of MLflow asks."""
    found: list[Gate] = []
    if threshold is not None:
        found.append(MetricGate(metric="m", at_least=threshold) if up else MetricGate(metric="m", at_most=threshold))
    if absolute is not None or relative is not None:
        found.append(ImprovementGate(metric="m", absolute=absolute or 0.0, relative=relative or 0.0))
    return found


def ours(candidate: float | None, champion: float | None, *, up: bool, **asked: float | None) -> bool:
    metrics = [] if candidate is None else [comparison(candidate, champion, name="m", up=up)]
    judged = evaluation(*metrics, champion=None if champion is None else "1")
    verdicts = [gate.judge(judged, FirstModel.REFUSE) for gate in gates(up=up, **_asked(**asked))]
    return all(verdict.passed for verdict in verdicts)


def mlflows(candidate: float | None, champion: float | None, *, up: bool, **asked: float | None) -> bool:
    given = _asked(**asked)
    threshold = mlflow.models.MetricThreshold(  # type: ignore[no-untyped-call] # MLflow's
        threshold=given["threshold"],
        min_absolute_change=given["absolute"],
        min_relative_change=given["relative"],
        greater_is_better=up,
    )
    results = [
        EvaluationResult(metrics={} if value is None else {"m": value}, artifacts={})  # type: ignore[no-untyped-call]
        for value in (candidate, champion)
    ]
    try:
        mlflow.validate_evaluation_results({"m": threshold}, results[0], None if champion is None else results[1])
    except ModelValidationFailedException:
        return False
    return True


def _asked(**asked: float | None) -> dict[str, Any]:
    return {"threshold": None, "absolute": None, "relative": None, **asked}


BASELINES = [
    # candidate, champion, what is asked, the verdict of both
    (0.8, 0.7, {"absolute": 0.05}, True),
    (0.74, 0.7, {"absolute": 0.05}, False),
    (0.6, 0.7, {"absolute": 0.05}, False),
    (0.9, 0.8, {"absolute": 0.1}, True),
    (0.78, 0.7, {"relative": 0.1}, True),
    (0.76, 0.7, {"relative": 0.1}, False),
    (0.78, 0.7, {"absolute": 0.05, "relative": 0.1}, True),
    (0.78, 0.7, {"absolute": 0.09, "relative": 0.1}, False),
    (0.78, 0.7, {"threshold": 0.8, "relative": 0.1}, False),
    (0.7, 0.7, {"relative": 0.1}, False),
    # A champion at zero: a relative bar is any improvement, an absolute one stays.
    (0.1, 0.0, {"relative": 0.5}, True),
    (0.0, 0.0, {"relative": 0.5}, False),
    (-0.1, 0.0, {"relative": 0.5}, False),
    (0.1, 0.0, {"absolute": 0.1}, True),
    (0.1, 0.0, {"absolute": 0.2, "relative": 0.5}, False),
    # A champion below zero: relative to its magnitude.
    (-1.0, -2.0, {"relative": 0.5}, True),
    (-1.5, -2.0, {"relative": 0.5}, False),
    (-2.5, -2.0, {"relative": 0.1}, False),
    (0.5, -0.5, {"relative": 1.0}, True),
    (-1.9, -2.0, {"absolute": 0.1}, True),
    (-1.95, -2.0, {"absolute": 0.1}, False),
    # No champion, or no candidate.
    (0.9, None, {"absolute": 0.05}, False),
    (0.9, None, {"relative": 0.05}, False),
    (0.9, None, {"threshold": 0.8}, True),
    (0.8, None, {"threshold": 0.8}, True),
    (0.7, None, {"threshold": 0.8}, False),
    (None, 0.7, {"threshold": 0.5}, False),
    (None, 0.7, {"absolute": 0.05}, False),
]


@pytest.mark.parametrize(("candidate", "champion", "asked", "passed"), BASELINES)
@pytest.mark.parametrize("up", [True, False])
def test_thresholds_of_mlflow_have_the_same_verdict_here(
    candidate: float | None, champion: float | None, asked: dict[str, float], passed: bool, up: bool
) -> None:
    if not up:  # Mirrored: less is better, so the same change downwards has the same verdict.
        candidate, champion = (None if value is None else -value for value in (candidate, champion))
        asked = {name: -value if name == "threshold" else value for name, value in asked.items()}
    assert mlflows(candidate, champion, up=up, **asked) is passed
    assert ours(candidate, champion, up=up, **asked) is passed


hundredths = st.integers(-300, 300).map(lambda value: value / 100)
bars = st.sampled_from([None, 0.013, 0.11, 0.77])  # no hundredths, so that rounding decides nothing


@settings(deadline=None)
@given(candidate=hundredths, champion=hundredths, absolute=bars, relative=bars, up=st.booleans())
def test_any_change_has_the_same_verdict(
    candidate: float, champion: float, absolute: float | None, relative: float | None, up: bool
) -> None:
    asked = {"absolute": absolute, "relative": relative}
    if absolute is None and relative is None:
        asked["threshold"] = 0.123
    if relative is not None and abs(abs(candidate - champion) - relative * abs(champion)) < 1e-9:
        return  # the very bar, where MLflow's division rounds as it likes
    assert ours(candidate, champion, up=up, **asked) is mlflows(candidate, champion, up=up, **asked)


@pytest.mark.parametrize("up", [True, False])
def test_tie_with_a_relative_bar_of_zero_passes_in_mlflow_and_is_no_improvement_here(up: bool) -> None:
    assert mlflows(0.7, 0.7, up=up, relative=0.0)
    assert not ours(0.7, 0.7, up=up, relative=0.0)


def test_smallest_improvement_on_a_champion_at_zero_passes_here_and_must_be_1e_10_in_mlflow() -> None:
    assert not mlflows(1e-12, 0.0, up=True, relative=0.5)
    assert ours(1e-12, 0.0, up=True, relative=0.5)


def test_missing_champion_with_a_relative_bar_of_zero_is_an_error_in_mlflow_and_a_refusal_here() -> None:
    with pytest.raises(TypeError):
        mlflows(0.9, None, up=True, relative=0.0)
    assert not ours(0.9, None, up=True, relative=0.0)


def test_first_model_is_refused_by_mlflow_and_waived_here_where_the_policy_says_so() -> None:
    assert not mlflows(0.9, None, up=True, absolute=0.05)
    gate = ImprovementGate(metric="m", absolute=0.05)
    first = evaluation(comparison(0.9, name="m"), champion=None)
    assert gate.judge(first, FirstModel.BARS_ONLY).passed
    assert not gate.judge(first, FirstModel.REFUSE).passed


def test_nan_passes_a_change_of_mlflow_and_no_gate_here() -> None:
    assert mlflows(float("nan"), 0.7, up=True, relative=0.1)
    assert not ours(float("nan"), 0.7, up=True, relative=0.1)
    assert not ours(float("nan"), 0.7, up=True, threshold=0.1)
