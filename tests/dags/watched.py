"""Champions, and what they answered in production, made in a moment: what a monitoring Dag finds when it starts."""

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.prediction_log import PredictionLog
from tests.integration.test_promotion_operators import Loop

MONTHS = {month: datetime(2013, month, 1, tzinfo=UTC) for month in range(1, 13)}
ORIGINS = ("EWR", "JFK", "LGA")


def promote_champion(loop: Loop, roc_auc: float = 0.8) -> str:
    """Make a first version the champion, which has learned from a real snapshot, and return the version."""
    learned = learned_from(loop)
    known: dict[str, Any] = {
        "dataset_name": learned.dataset_name,
        "dataset_digest": learned.digest,
        "dataset_uri": learned.uri,
    }
    version = loop.register(loop.train(loop.model_name.encode(), **known))
    decision = loop.gate(loop.evidence(version, roc_auc))
    return loop.promote(decision, loop.approve(decision)).version


def learned_from(loop: Loop) -> Snapshot:
    """Return a snapshot of January, with the features that production has."""
    rows = list(answers(random.Random(1), MONTHS[1], 600, skill=1.0))  # noqa: S311 - data
    table = pa.table({"origin": [row["origin"] for row in rows], "x": [row["x"] for row in rows]})
    folder = loop.folder / f"training-{loop.model_name}"
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "rows.parquet")
    take = DatasetSnapshotOperator(task_id="take", dataset_name=f"training-{loop.model_name}", source=str(folder))
    context: Any = {"ti": SimpleNamespace(dag_id="l", run_id="r", task_id="take", map_index=-1), **_events(take)}
    return Snapshot.from_dict(take.execute(context))


def serve(production: Path, model_name: str, start: datetime, rows: int, *, skill: float, version: str = "1") -> None:
    """Write a month of answers to the prediction log, and their labels.

    :param skill: 1 is an answer that is nearly always right, 0 one that guesses.
    """
    folder, labels = production / model_name / "predictions", production / model_name / "labels"
    labels.mkdir(parents=True, exist_ok=True)
    told: dict[str, int] = {}
    with PredictionLog(
        folder,
        model_name=model_name,
        model_version=version,
        features={"origin": str, "x": float},
        prediction=int,
        has_probability=True,
    ) as log:
        for row in answers(random.Random(start.month), start, rows, skill=skill):  # noqa: S311 - data
            name = log.write(
                {"origin": row["origin"], "x": row["x"]},
                prediction=int(row["probability"] >= 0.5),
                probability=row["probability"],
                predicted_at=row["at"],
            )
            told[name] = row["label"]
    table = pa.table({"prediction_id": list(told), "label": list(told.values())})
    pq.write_table(table, labels / f"{start:%Y-%m}.parquet")


def answers(rng: random.Random, start: datetime, rows: int, *, skill: float) -> Iterable[dict[str, Any]]:
    """Yield rows of three days: what the model was asked, what it said, and what came true."""
    for number in range(rows):
        label = int(rng.random() < 0.3)
        said = (
            rng.betavariate(4, 2) if (label if rng.random() < skill else rng.random() < 0.3) else rng.betavariate(2, 4)
        )
        at = start + timedelta(days=3) * number / rows
        yield {"at": at, "origin": ORIGINS[number % 3], "x": rng.gauss(0, 1), "probability": said, "label": label}


def _events(operator: Any) -> dict[str, Any]:
    return {"outlet_events": {outlet: SimpleNamespace(extra=None) for outlet in operator.outlets}}
