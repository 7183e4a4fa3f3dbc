"""What is said of a window, by its numbers alone."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlops.domain.evaluation import Estimate, LearningTask
from airflow_mlops.domain.evaluation_diagnostics import CalibrationBin
from airflow_mlops.domain.monitoring import CheckVerdict, Window
from airflow_mlops.domain.performance import (
    AnswerCounts,
    Cause,
    PerformanceReport,
    PerformanceSpec,
    WindowMetric,
    difference,
    metric_of,
)
from airflow_mlops.domain.performance_html import render
from airflow_mlops.domain.performance_verdict import explain, judge
from airflow_mlops.exceptions import EvaluationError, InvalidInputError

WINDOW = Window(start=datetime(2026, 3, 1, tzinfo=UTC), end=datetime(2026, 4, 1, tzinfo=UTC))


def around(value: float, half: float = 0.0) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half)


def report(
    measured: Estimate | None = None,
    promised: Estimate | None = None,
    *,
    estimated: Estimate | None = None,
    metric: str = "roc_auc",
    labelled: int = 1000,
    rows: int = 1000,
    task: LearningTask = LearningTask.BINARY,
    **values: Any,
) -> PerformanceReport:
    spec = values.pop("spec", PerformanceSpec())
    found = WindowMetric(
        rests_on=values.pop("rests_on", None),
        metric=metric,
        higher_is_better=metric_of(task, metric).higher_is_better,
        promised=promised,
        measured=measured,
        estimated=estimated,
    )
    return PerformanceReport(
        model_name="churn",
        model_version="7",
        window=WINDOW,
        task=task,
        metric=metric,
        spec=spec,
        counts=values.pop("counts", AnswerCounts(rows=rows, labelled=labelled)),
        evidence_digest="e" * 64,
        metrics=(found,),
        **values,
    )


@pytest.mark.parametrize(
    ("measured", "promised", "spec", "verdict"),
    [
        (around(0.70), around(0.70), {}, CheckVerdict.PASSED),
        (around(0.75), around(0.70), {}, CheckVerdict.PASSED),
        (around(0.681), around(0.70), {}, CheckVerdict.PASSED),
        (around(0.679), around(0.70), {}, CheckVerdict.VIOLATED),
        (around(0.67, 0.005), around(0.70), {}, CheckVerdict.VIOLATED),
        (around(0.67, 0.02), around(0.70), {}, CheckVerdict.PASSED),
        (around(0.67, 0.005), around(0.70, 0.03), {}, CheckVerdict.PASSED),
        (around(0.67), around(0.70), {"margin": 0.05}, CheckVerdict.PASSED),
        (around(0.699), around(0.70), {"margin": 0.0}, CheckVerdict.VIOLATED),
    ],
)
def test_model_decays_when_it_is_surely_worse_by_more_than_the_margin(
    measured: Estimate, promised: Estimate, spec: dict[str, Any], verdict: CheckVerdict
) -> None:
    assert judge(report(measured, promised, spec=PerformanceSpec(**spec))).verdict is verdict


@pytest.mark.parametrize(("value", "verdict"), [(10.4, "passed"), (10.6, "violated"), (8.0, "passed")])
def test_errors_are_worse_when_they_are_greater_and_have_a_margin_of_their_promise(value: float, verdict: str) -> None:
    found = judge(report(around(value), around(10.0), metric="mae", task=LearningTask.REGRESSION))
    assert found.verdict == verdict


def test_first_reason_says_all_that_decided() -> None:
    found = judge(report(around(0.65, 0.01), around(0.70), rows=1600))
    assert found.reasons[0] == (
        "roc_auc is 0.6500 [0.6400, 0.6600], promised was 0.7000: with 95% confidence it is worse by at least 0.0400, "
        "which is more than the margin 0.02. 1,000 of 1,600 answers have a label (62.5%)."
    )


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"rows": 0, "labelled": 0}, "Version 7 has no answer in the window."),
        ({"labelled": 0}, "None of 1,000 answers has a label yet."),
        ({"labelled": 199, "rows": 199}, "fewer than the 200 that a verdict takes"),
        ({"labelled": 400}, "less than the 50% that a verdict takes"),
        (
            {"counts": AnswerCounts(rows=9, unknown_ids=7)},
            "None of 9 answers has a label yet; 7 labels are of ids that the window does not have.",
        ),
    ],
)
def test_nothing_is_decided_on_few_labels_and_the_reason_says_why(given: dict[str, Any], why: str) -> None:
    found = judge(report(around(0.1), around(0.9), **given))
    assert found.verdict is CheckVerdict.UNDECIDED
    assert why in found.reasons[0]


@pytest.mark.parametrize(
    ("metric", "rests_on", "spec", "verdict"),
    [
        ("roc_auc", 19, {}, CheckVerdict.UNDECIDED),
        ("roc_auc", 20, {}, CheckVerdict.VIOLATED),
        ("precision", 0, {}, CheckVerdict.UNDECIDED),
        ("precision", 0, {"min_of_class": 0}, CheckVerdict.VIOLATED),
        ("accuracy", None, {}, CheckVerdict.VIOLATED),
    ],
)
def test_metric_that_rests_on_few_answers_decides_nothing(
    metric: str, rests_on: int | None, spec: dict[str, Any], verdict: CheckVerdict
) -> None:
    given = report(around(0.1), around(0.9), metric=metric, rests_on=rests_on, spec=PerformanceSpec(**spec))
    assert judge(given).verdict is verdict


def test_few_answers_of_the_class_that_counts_are_said_and_an_estimate_stands_in() -> None:
    found = judge(report(around(0.1), around(0.9), metric="recall", rests_on=3, estimated=around(0.9)))
    assert found.reasons[0] == (
        "recall is 0.1000, but rests on 3 answers of the positive class, fewer than the 20 that a verdict takes "
        "(min_of_class)."
    )
    assert found.reasons[1].startswith("Estimated without labels, not measured: recall 0.9000")


def test_without_a_promise_nothing_is_decided() -> None:
    found = judge(report(around(0.7)))
    assert found.verdict is CheckVerdict.UNDECIDED
    assert "nothing was promised" in found.reasons[0]


def test_metric_that_could_not_be_measured_is_no_verdict() -> None:
    found = judge(report(None, around(0.7), notes=("Every one of the 9 labels is 0.",)))
    assert found.verdict is CheckVerdict.UNDECIDED
    assert found.reasons == ("roc_auc could not be measured.", "Every one of the 9 labels is 0.")


@pytest.mark.parametrize(
    ("estimated", "decides", "verdict"),
    [(0.60, False, "undecided"), (0.60, True, "violated"), (0.69, True, "undecided")],
)
def test_estimate_says_that_it_is_one_and_decides_only_when_asked_to(
    estimated: float, decides: bool, verdict: str
) -> None:
    spec = PerformanceSpec(estimate_decides=decides)
    found = judge(report(None, around(0.7), estimated=around(estimated, 0.01), labelled=0, spec=spec))
    assert found.verdict == verdict
    said = found.reasons[0 if verdict == "violated" else 1]
    assert said.startswith("Estimated without labels, not measured: roc_auc")


def test_estimate_never_overrules_labels() -> None:
    spec = PerformanceSpec(estimate_decides=True)
    found = judge(report(around(0.7), around(0.7), estimated=around(0.5), spec=spec))
    assert found.verdict is CheckVerdict.PASSED
    assert not any("Estimated" in reason for reason in found.reasons)


CAUSE = Cause(
    metric="roc_auc",
    change=around(-0.05, 0.01),
    concept=around(-0.04, 0.01),
    inputs=around(-0.01, 0.02),
    separation=0.6,
    overlap=0.9,
    columns=("x",),
)


@pytest.mark.parametrize(
    ("changed", "begins"),
    [
        ({}, "Concept drift:"),
        ({"concept": around(0.0, 0.01), "inputs": around(-0.05, 0.01)}, "Data drift:"),
        ({"inputs": around(-0.05, 0.01)}, "Both concept drift and data drift:"),
        ({"concept": around(-0.04, 0.06)}, "Whether the same inputs"),
        ({"concept": around(-0.004, 0.001)}, "Whether the same inputs"),
        ({"concept": around(0.0, 0.01), "change": around(0.0, 0.01)}, "Neither"),
        ({"overlap": 0.1}, "Data drift, so far that it hides whether there is concept drift: 10% of the rows"),
    ],
)
def test_cause_is_named_as_far_as_the_intervals_allow(changed: dict[str, Any], begins: str) -> None:
    assert explain(replace(CAUSE, **changed), 0.01).startswith(begins)


NUMBERS = st.floats(-1, 1)
HALVES = st.floats(0, 0.5)


def test_pairs_that_go_together_otherwise_are_told_where_concept_drift_is_named() -> None:
    told = explain(replace(CAUSE, together=("temp with pressure",)), 0.01)
    assert told.endswith(
        "other inputs: temp with pressure go together otherwise than at promotion, which counts there."
    )
    harmless = replace(CAUSE, concept=around(0.0, 0.01), together=("temp with pressure",))
    assert "together" not in explain(harmless, 0.01)


@given(now=NUMBERS, before=NUMBERS, half=HALVES, other=HALVES)
def test_difference_of_symmetric_intervals_is_that_of_the_normal_distribution(
    now: float, before: float, half: float, other: float
) -> None:
    found = difference(around(now, half), around(before, other))
    assert found.value == now - before
    assert found.high - found.value == pytest.approx((half**2 + other**2) ** 0.5, abs=1e-12)
    assert found.low <= found.value <= found.high


@given(now=NUMBERS, before=NUMBERS, half=HALVES)
def test_surer_measurement_never_turns_a_violation_into_a_pass(now: float, before: float, half: float) -> None:
    wide, narrow = (judge(report(around(now, half * share), around(before))).verdict for share in (1.0, 0.5))
    assert not (wide is CheckVerdict.VIOLATED and narrow is CheckVerdict.PASSED)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"metric": "gini", "task": "binary"}, "has no metric 'gini'"),
        ({"confidence_level": 1.0}, "between 0 and 1"),
        ({"min_labelled_share": 1.5}, "between 0 and 1"),
        ({"min_labels": 0}, "1 or more"),
        ({"margin": -0.1}, "zero or more"),
        ({"promised": float("nan")}, "no number"),
        ({"margins": 0.1}, "unknown key 'margins'"),
    ],
)
def test_spec_that_makes_no_sense_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises((EvaluationError, InvalidInputError), match=why):
        PerformanceSpec.read(given)


def test_figures_are_named_as_the_history_draws_them() -> None:
    found = report(around(0.7, 0.01), around(0.8), estimated=around(0.75, 0.02), cause=CAUSE).figures()
    assert list(found)[:4] == ["labelled_share", "roc_auc", "roc_auc.low", "roc_auc.high"]
    assert {"roc_auc.promised", "roc_auc.estimated", "roc_auc.estimated.low", "concept_effect", "input_effect"} <= set(
        found
    )


def test_report_is_read_back_as_it_was_written() -> None:
    whole = judge(report(around(0.7), around(0.8), cause=CAUSE))
    assert PerformanceReport.from_dict(whole.to_dict()) == whole


def test_page_shows_verdict_numbers_cause_and_escapes_what_it_is_given() -> None:
    bins = (CalibrationBin(rows=10, predicted=0.2, observed=0.3), CalibrationBin(rows=30, predicted=0.6, observed=0.4))
    whole = judge(
        report(
            around(0.65, 0.01),
            around(0.8),
            estimated=around(0.75, 0.02),
            cause=CAUSE,
            calibration=bins,
            calibration_promised=bins,
            notes=("<script>",),
        )
    )
    page = render(whole)
    assert '<span class="state fail">violated</span>' in page
    assert "0.6500 [0.6400,\N{NO-BREAK SPACE}0.6600]" in page
    assert "<script>" not in page
    for part in ("What the change is due to", "Calibration", "concept drift", "in the window", "at promotion"):
        assert part in page


def test_page_of_an_empty_window_has_no_empty_parts() -> None:
    page = render(judge(report(rows=0, labelled=0)))
    assert "undecided" in page
    assert "<h2>" not in page
