"""What the evidence says of the models beside their predictions, from a real registry and real snapshots."""

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.evaluation import Evaluation, EvidenceReference
from airflow_mlops.domain.facts import Facts
from airflow_mlops.domain.gates import CostGate, DriftGate, FreshnessGate, Gate, SignatureGate
from airflow_mlops.domain.promotion import FirstModel
from airflow_mlops.domain.registry import CHAMPION, ModelVersion
from airflow_mlops.operators.dataset import DatasetSnapshotOperator

from .test_evaluation_operator import evaluate, holdout, loop
from .test_promotion_operators import Loop

__all__ = ["holdout", "loop"]  # fixtures
pytestmark = pytest.mark.integration


def snapshot(loop: Loop, name: str, lines: list[str], **arguments: Any) -> Snapshot:
    (loop.folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    take = DatasetSnapshotOperator(
        task_id="take", dataset_name=name, source=str(loop.folder / f"{name}.csv"), **arguments
    )
    ti = SimpleNamespace(dag_id="loop", run_id="run", task_id="snapshot", map_index=-1)
    context: Any = {"ti": ti, "outlet_events": {take.asset: SimpleNamespace(extra=None)}}
    return Snapshot.from_dict(take.execute(context))


@pytest.fixture
def training(loop: Loop) -> Snapshot:
    """Two days of February, in which x was above 5: not as in the holdout, where it is around 1."""
    rows = [f"2026-02-0{1 + x % 2}T0{x % 10}:00:00Z,{5 + x / 10},0,1.0" for x in range(60)]
    return snapshot(loop, "train", ["at,x,late,delay", *rows], time_column="at")


def trained(loop: Loop, content: bytes, training: Snapshot, **arguments: Any) -> ModelVersion:
    known: dict[str, Any] = {"dataset_name": "train", "dataset_digest": training.digest, "dataset_uri": training.uri}
    return loop.register(loop.train(content, **known, **arguments))


def judged(reference: EvidenceReference) -> Evaluation:
    return Evaluation.from_dict(json.loads(Path(reference.uri).read_text()))


def measured(loop: Loop, version: ModelVersion, holdout: Snapshot, **arguments: Any) -> Evaluation:
    return judged(evaluate(loop, version, holdout, target="late", program=("python", "./binary.py"), **arguments))


def facts_of(evaluation: Evaluation) -> Facts:
    assert evaluation.facts is not None
    return evaluation.facts


def says(gate: Gate, evaluation: Evaluation) -> tuple[bool, str]:
    verdict = gate.judge(evaluation, FirstModel.BARS_ONLY)
    return verdict.passed, verdict.reason


def test_evidence_holds_the_age_of_the_training_data_when_the_run_was_due(
    loop: Loop, holdout: Snapshot, training: Snapshot
) -> None:
    version = trained(loop, b"1.5", training)
    loop.mlflow.log_metrics(version.run_id, {"system/cpu_seconds": 12.5, "system/job_seconds": 20.0})
    evaluation = measured(loop, version, holdout)
    facts = facts_of(evaluation)
    assert facts.as_of == datetime(2026, 3, 1, tzinfo=UTC)
    assert facts.training.data_until == datetime(2026, 2, 2, 9, tzinfo=UTC)
    assert facts.training.trained_at is not None
    assert (facts.training.code_version, facts.training.dataset_digest) == ("abc123", training.digest)
    assert (facts.training.cpu_seconds, facts.training.wall_seconds) == (12.5, 20.0)
    passed, reason = says(FreshnessGate(max_data_age_days=14), evaluation)
    assert (passed, "26.6 days before 2026-03-01, but may be at most 14" in reason) == (False, True)
    assert says(CostGate(max_cpu_seconds=12.5, max_wall_seconds=60), evaluation)[0]
    assert says(CostGate(max_peak_memory_mb=64), evaluation) == (False, "The training's peak memory was not counted.")


def test_author_may_name_the_moment_at_which_ages_are_measured(
    loop: Loop, holdout: Snapshot, training: Snapshot
) -> None:
    evaluation = measured(loop, trained(loop, b"1.5", training), holdout, spec={"as_of": "2026-02-03T09:00:00"})
    passed, reason = says(FreshnessGate(max_data_age_days=1), evaluation)
    assert (passed, reason) == (True, "The newest training data is of 2026-02-02 09:00, 1.0 days before 2026-02-03.")


def test_candidate_that_takes_other_values_than_the_champion_is_refused(
    loop: Loop, holdout: Snapshot, training: Snapshot
) -> None:
    loop.mlflow.set_alias(trained(loop, b"-1.0", training), CHAMPION)
    same = measured(loop, trained(loop, b"1.5", training), holdout)
    assert says(SignatureGate(), same) == (True, "It takes the champion's 1 inputs, and gives the same outputs.")
    other = measured(loop, trained(loop, b"2.5", training, takes="string"), holdout)
    passed, reason = says(SignatureGate(), other)
    assert (passed, "x must be string, but they send double" in reason) == (False, True)


def test_training_data_that_is_gone_is_said_and_its_age_unknown(loop: Loop, holdout: Snapshot) -> None:
    version = loop.register(loop.train(b"1.5", dataset_uri=str(loop.folder / "gone")))
    evaluation = measured(loop, version, holdout, spec={"production": {}})
    facts = facts_of(evaluation)
    assert "holds no snapshot" in facts.notes[0]
    assert says(FreshnessGate(max_data_age_days=9), evaluation)[0] is False
    passed, reason = says(DriftGate(), evaluation)
    assert (passed, "The training data cannot be read" in reason) == (False, True)


def test_drift_is_measured_between_the_training_data_and_the_holdout_when_asked_for(
    loop: Loop, holdout: Snapshot, training: Snapshot
) -> None:
    evaluation = measured(loop, trained(loop, b"1.5", training), holdout, spec={"production": {}})
    assert evaluation.drift is not None
    assert [item.column for item in evaluation.drift.columns] == ["x"]  # what the model reads
    assert (evaluation.drift.reference.rows, evaluation.drift.current.rows) == (60, 80)
    passed, reason = says(DriftGate(max_share=0.9), evaluation)
    assert (passed, "1 of 1 columns differ between train and holdout (x" in reason) == (False, True)
    assert measured(loop, trained(loop, b"1.5", training), holdout).drift is None


def test_drift_is_measured_against_the_production_data_that_is_named(
    loop: Loop, holdout: Snapshot, training: Snapshot
) -> None:
    recent = snapshot(loop, "recent", ["x,late", *(f"{5 + x / 10},?" for x in range(60))])
    spec = {"production": {"snapshot": recent.to_dict(), "columns": ["x", "late", "delay", "y"]}}
    evaluation = measured(loop, trained(loop, b"1.5", training), holdout, spec=spec)
    assert evaluation.drift is not None
    assert evaluation.drift.current.rows == 60
    assert evaluation.drift.lost == (
        "late holds numbers in the training data (int64), but texts or truth values in the production data (string).",
        "The production data has no column delay.",
        "The training data has no column y.",
    )
    assert says(DriftGate(), evaluation) == (False, " ".join(evaluation.drift.lost))
