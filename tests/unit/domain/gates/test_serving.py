"""Gates on serving: what they let through, and why they refuse."""

from dataclasses import replace
from typing import Any

import pytest

from airflow_mlops.domain.evaluation import Evaluation, JudgedModel, LearningTask
from airflow_mlops.domain.gates import FirstModel, Gate, LatencyFigure, LatencyGate, ModelSizeGate, ThroughputGate
from airflow_mlops.domain.promotion import PromotionPolicy
from airflow_mlops.domain.serving import ModelServing, ServingFigures
from airflow_mlops.exceptions import PolicyError

FAST = ModelServing(
    model_bytes=3 * 2**20,
    place="docker",
    cold_start_seconds=2.0,
    calls=200,
    p50_ms=5.0,
    p95_ms=10.0,
    p99_ms=20.0,
    rows=1000,
    rows_per_second=5000.0,
)
SLOW = replace(FAST, p50_ms=10.0, p95_ms=20.0, p99_ms=40.0)


def evaluation(candidate: ModelServing | None = FAST, champion: ModelServing | None = None) -> Evaluation:
    judged = JudgedModel(version="2", run_id="r", model_digest="m")
    return Evaluation(
        model_name="delays",
        candidate=judged,
        champion=replace(judged, version="1") if champion else None,
        dataset_name="flights",
        dataset_digest="d",
        target="late",
        task=LearningTask.BINARY,
        rows=1000,
        confidence_level=0.95,
        resamples=10,
        metrics=(),
        serving=ServingFigures(candidate=candidate, champion=champion, cpus=1, memory_mb=512) if candidate else None,
    )


@pytest.mark.parametrize(
    ("gate", "judged", "passed", "reason"),
    [
        (LatencyGate(at_most_ms=10), evaluation(), True, "p95 latency is 10 ms, which clears the bar."),
        (LatencyGate(at_most_ms=9.9), evaluation(), False, "p95 latency is 10 ms, but must be at most 9.9 ms."),
        (
            LatencyGate(figure=LatencyFigure.COLD_START, at_most_ms=1000),
            evaluation(),
            False,
            "cold start is 2,000 ms, but must be at most 1000 ms.",
        ),
        (
            LatencyGate(figure=LatencyFigure.P99, at_most_ms=30),
            evaluation(replace(FAST, calls=99)),
            False,
            "The p99 latency of the candidate comes from 99 calls, and it takes 100 to say it.",
        ),
        (
            LatencyGate(at_most_times_champion=1.5),
            evaluation(SLOW, FAST),
            False,
            "p95 latency is 20 ms against the champion's 10 ms, but may be at most 1.5 times as long.",
        ),
        (
            LatencyGate(at_most_times_champion=2),
            evaluation(SLOW, FAST),
            True,
            "p95 latency is 20 ms against the champion's 10 ms, which clears the bar.",
        ),
        (
            LatencyGate(at_most_times_champion=1.5),
            evaluation(FAST, replace(FAST, place="process")),
            False,
            "The candidate ran as docker and the champion as process, so their times cannot be compared.",
        ),
        (
            LatencyGate(at_most_times_champion=1.5),
            evaluation(FAST, ModelServing(model_bytes=1, place="docker", notes=("It has its own program.",))),
            False,
            "The p95 latency of the champion was not measured. It has its own program.",
        ),
        (ThroughputGate(at_least_rows_per_second=5000), evaluation(), True, "scored 1,000 rows at 5,000 a second"),
        (
            ThroughputGate(at_least_rows_per_second=6000),
            evaluation(),
            False,
            "scored 1,000 rows at 5,000 a second, but 6,000 a second are asked for.",
        ),
        (ModelSizeGate(at_most_mb=3), evaluation(), True, "The model is 3.00 MiB, which clears the bar."),
        (ModelSizeGate(at_most_mb=2.5), evaluation(), False, "The model is 3.00 MiB, but must be at most 2.5 MiB."),
    ],
)
def test_verdict_is_a_sentence_about_what_was_measured(
    gate: Gate, judged: Evaluation, passed: bool, reason: str
) -> None:
    verdict = gate.judge(judged, FirstModel.BARS_ONLY)
    assert verdict.passed is passed
    assert reason in verdict.reason


GATES = (LatencyGate(at_most_ms=1e9), ThroughputGate(at_least_rows_per_second=0), ModelSizeGate(at_most_mb=1e9))


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.kind)
def test_evidence_without_serving_figures_is_refused(gate: Gate) -> None:
    verdict = gate.judge(evaluation(None), FirstModel.BARS_ONLY)
    assert not verdict.passed
    assert verdict.reason == "The evaluation has no serving figures. Evaluate it again, with `serving` in its spec."


@pytest.mark.parametrize("gate", GATES[:2], ids=lambda gate: gate.kind)
def test_a_program_that_measures_nothing_is_refused_with_its_note(gate: Gate) -> None:
    verdict = gate.judge(evaluation(ModelServing.read(None, model_bytes=1, place="docker")), FirstModel.BARS_ONLY)
    assert not verdict.passed
    assert "was not measured. The program that scored it left no output/data/serving.json" in verdict.reason


@pytest.mark.parametrize(("first_model", "passed"), [(FirstModel.BARS_ONLY, True), (FirstModel.REFUSE, False)])
def test_a_first_model_has_nothing_to_be_compared_with(first_model: FirstModel, passed: bool) -> None:
    gate = LatencyGate(at_most_ms=10, at_most_times_champion=1.2)
    assert gate.judge(evaluation(), first_model).passed is passed
    assert not LatencyGate(at_most_ms=9, at_most_times_champion=1.2).judge(evaluation(), first_model).passed


@pytest.mark.parametrize(
    "arguments", [{}, {"at_most_ms": 0.0}, {"figure": LatencyFigure.COLD_START, "at_most_times_champion": 2.0}]
)
def test_a_latency_gate_needs_a_bar_that_says_something(arguments: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match="latency gate"):
        LatencyGate(**arguments)


def test_a_policy_file_names_them_by_their_kinds() -> None:
    policy = PromotionPolicy.from_dict(
        {
            "gates": [
                {"kind": "latency", "figure": "p99", "at_most_ms": 50},
                {"kind": "throughput", "at_least_rows_per_second": 1000},
                {"kind": "model_size", "at_most_mb": 200},
            ]
        }
    )
    assert [gate.name for gate in policy.gates] == [
        "p99 latency ≤ 50 ms",
        "throughput ≥ 1,000 rows/s",
        "model size ≤ 200 MiB",
    ]
    assert PromotionPolicy.from_dict(policy.to_dict()) == policy
