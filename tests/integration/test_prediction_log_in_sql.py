"""A prediction log and its labels in a real PostgreSQL: made by the documented DDL, read by snapshots, joined."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from airflow_mlops.domain.monitoring import Window
from airflow_mlops.domain.prediction_log import PredictionSchema, ValueType
from airflow_mlops.engines.duckdb import DuckDbLimits, LocalSource, join_labels

from .test_sql_snapshot import POSTGRES_CONNECTION, run, take

pytest_plugins = ["tests.integration.postgres"]
pytestmark = pytest.mark.integration


def test_log_in_postgresql_is_read_and_its_labels_find_their_answers(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    schema = PredictionSchema(
        features={"age": ValueType.INTEGER, "Plan of 2026": ValueType.TEXT, "since": ValueType.TIME},
        prediction=ValueType.INTEGER,
        has_probability=True,
    )
    run(
        postgres,
        schema.ddl("churn_predictions"),
        schema.labels_ddl("churn_labels"),
        """INSERT INTO churn_predictions
        SELECT 'a' || n, timestamptz '2026-02-28 12:00+05' + n * interval '1 day', 'churn', '7', n, NULL, '2020-01-01Z',
            n % 2, 0.5
        FROM generate_series(1, 28) AS n""",
        "INSERT INTO churn_labels VALUES ('a1', 0, '2026-04-01Z'), ('a1', 1, '2026-04-02Z'), ('a2', 1, '2026-04-01Z')",
    )
    window = Window.parse("2026-03-01", "2026-03-15")
    bounds = {"time_column": "predicted_at", "start": window.start.isoformat(), "end": window.end.isoformat()}
    log, _ = take(POSTGRES_CONNECTION, table="churn_predictions", **bounds)
    labels, _ = take(POSTGRES_CONNECTION, table="churn_labels")
    joined = join_labels(
        sorted(Path(log.uri).glob("*.parquet")),
        [LocalSource(uri=str(file), path=file) for file in Path(labels.uri).glob("*.parquet")],
        tmp_path,
        window=window,
        model_name="churn",
        model_version="7",
        limits=DuckDbLimits(),
    )
    assert (joined.counts.rows, joined.counts.labelled, joined.counts.changed_labels) == (14, 2, 1)
    rows = pq.ParquetFile(joined.labelled).read().to_pylist()
    assert [(row["prediction_id"], row["label"], row["prediction"]) for row in rows] == [("a1", 1, 1), ("a2", 1, 0)]
