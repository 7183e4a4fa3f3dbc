"""Windows against the champion's training data, with a real registry, real snapshots and real reports."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_mlops.domain.audit.entry import Chain, EventKind
from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.drift.report import DriftReport
from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, WindowCheck, check_path
from airflow_mlops.domain.registry import CHAMPION, ModelVersion
from airflow_mlops.hooks.audit import audit_trail
from airflow_mlops.hooks.storage import artifact_store
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.drift import DriftCheckOperator

from .test_evaluation_operator import loop
from .test_promotion_operators import Loop

__all__ = ["loop"]  # a fixture
pytestmark = pytest.mark.integration

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
PASSED, VIOLATED, UNDECIDED = CheckVerdict
random = np.random.default_rng(6)


def snapshot(loop: Loop, name: str, columns: dict[str, Any], **arguments: Any) -> Snapshot:
    """Take a snapshot of columns."""
    pq.write_table(pa.table(columns), loop.folder / f"{name}.parquet")
    take = DatasetSnapshotOperator(
        task_id="take", dataset_name=name, source=str(loop.folder / f"{name}.parquet"), **arguments
    )
    ti = SimpleNamespace(dag_id="loop", run_id="run", task_id="snapshot", map_index=-1)
    context: Any = {"ti": ti, "outlet_events": {take.asset: SimpleNamespace(extra=None)}}
    return Snapshot.from_dict(take.execute(context))


def rows(count: int = 2000, *, shift: float = 0.0, **more: Any) -> dict[str, Any]:
    return {"x": random.normal(shift, 1, count), "plan": random.choice(["basic", "pro"], count), **more}


def promoted(loop: Loop, training: Snapshot) -> ModelVersion:
    """Make a version that takes ``x`` and was trained on a snapshot the champion."""
    known = {
        "dataset_name": training.dataset_name,
        "dataset_digest": training.digest,
        "dataset_uri": training.uri,
    }
    version = loop.register(loop.train(b"1.5", **known))
    loop.mlflow.set_alias(version, CHAMPION)
    return version


def check(loop: Loop, current: Any, *, day: int = 0, days: int = 1, **arguments: Any) -> WindowCheck:
    arguments.setdefault("evidently_report", False)
    operator = DriftCheckOperator(
        task_id=arguments.pop("task_id", f"drift-{day}"),
        model_name=loop.model_name,
        current=[item.to_dict() for item in current] if isinstance(current, list) else current and current.to_dict(),
        window_start=START + day * DAY,
        window_end=START + (day + days) * DAY,
        **arguments,
    )
    found = operator.execute(loop.context(operator))
    return WindowCheck.from_dict(json.loads(json.dumps(found)))


def report_of(found: WindowCheck) -> DriftReport:
    return DriftReport.from_dict(json.loads(Path(str(found.report_uri)).with_name("drift.json").read_text()))


def drift_entries(loop: Loop) -> list[Any]:
    entries = audit_trail().read(Chain.of_model(loop.model_name)).entries
    return [entry for entry in entries if entry.event_kind is EventKind.DRIFT]


def test_window_like_the_training_data_passes_and_another_is_violated_and_told(loop: Loop) -> None:
    version = promoted(loop, snapshot(loop, "train", rows()))
    same = check(loop, snapshot(loop, "same", rows()))
    assert (same.verdict, same.kind, same.rows, same.model_version) == (
        PASSED,
        CheckKind.DATA_DRIFT,
        2000,
        version.version,
    )
    assert same.reasons == ("0 of 1 columns have drifted (0%), below the drift_share of 50%.",)
    assert drift_entries(loop) == []
    moved = check(loop, snapshot(loop, "moved", rows(shift=0.5)), day=1)
    assert moved.verdict is VIOLATED
    assert moved.figures["drift_share"] == 1.0
    assert moved.figures["drift.x"] == pytest.approx(0.5, abs=0.1)
    [entry] = drift_entries(loop)
    assert entry.happening.version == version.version
    assert entry.happening.facts["drifted"] == ["x"]
    assert entry.happening.facts["report_uri"] == moved.report_uri
    record = artifact_store() / check_path(moved)
    assert WindowCheck.from_dict(record.read_json()) == moved


def test_texts_and_embeddings_of_a_window_are_compared_and_shown(loop: Loop) -> None:
    def talk(words: str, mean: float) -> dict[str, Any]:
        comments = [" ".join(random.choice(words.split(), 9)) for _ in range(300)]
        return rows(300, comment=comments, vector=list(random.normal(mean, 1, (300, 6))))

    promoted(loop, snapshot(loop, "train-talk", talk("parcel late box damaged refund driver", 0)))
    spec = {"text": ["comment"], "embeddings": ["vector"], "stable": ["vector"]}
    same = check(loop, snapshot(loop, "same-talk", talk("parcel late box damaged refund driver", 0)), spec=spec)
    assert same.verdict is PASSED, same.reasons
    moved = check(
        loop,
        snapshot(loop, "moved-talk", talk("login password screen black update app", 1)),
        day=1,
        spec=spec,
        evidently_report=True,
    )
    assert moved.verdict is VIOLATED
    assert moved.reasons[0].startswith("vector must not drift, and has: ")
    assert min(moved.figures["drift.comment"], moved.figures["drift.vector"]) > 0.9
    found = {item.column: item for item in report_of(moved).drift.columns}
    assert {"x", "comment", "comment.text_length", "comment.word_count", "vector"} <= found.keys()
    page = Path(str(moved.report_uri)).read_text()
    assert "domain_classifier" in page
    assert "by chance 0.005" in page
    assert Path(str(moved.report_uri)).with_name("evidently.html").exists()
