"""New data on a real S3 and in a real PostgreSQL."""
# ruff: noqa: S608 - statements of a test

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.triggers.shared_stream import AdvanceItem, AdvanceOutcome

from airflow_mlops.engines.told_data import read_batch
from airflow_mlops.hooks.storage import open_storage
from airflow_mlops.triggers.new_data import NewDataTrigger

pytest_plugins = ["tests.integration.postgres", "tests.integration.s3"]
pytestmark = pytest.mark.integration


def told(trigger: NewDataTrigger, looks: int) -> list[Any]:
    """Look in a new process so often, and have all that is told stored."""
    producer = NewDataTrigger.create_shared_stream_producer(trigger.serialize()[1])
    found = []
    for _ in range(looks):
        if batch := producer._look():
            found.append(batch)
            stored = AdvanceOutcome(acked=1, failed=0)
            asyncio.run(producer.advance([AdvanceItem(batch.batch, stored)]))
    return found


def test_objects_under_a_prefix_are_told_once_and_what_was_told_lies_on_s3_too(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", f"{s3_bucket}/artifacts")
    place = open_storage(s3_bucket)
    trigger = NewDataTrigger(address=f"{s3_bucket}/in/**/*.csv")
    assert told(trigger, 2) == []
    for name in ("1.csv", "deeper/2.csv", "3.txt"):
        (place / f"in/{name}").write_text("a")
    [batch] = told(trigger, 2)
    assert batch.files == (f"{s3_bucket}/in/1.csv", f"{s3_bucket}/in/deeper/2.csv")
    assert read_batch(open_storage(batch.list_uri)).keys() == set(batch.files)
    assert told(trigger, 3) == []
    (place / "in/1.csv").write_text("a")  # the same content, put again
    assert told(trigger, 2) == []
    (place / "in/1.csv").write_text("b")
    [changed] = told(trigger, 2)
    assert (changed.batch, changed.files) == (2, (f"{s3_bucket}/in/1.csv",))


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("id bigint", ["1", "2", "3"]),
        ("id numeric(20, 2)", ["1.5", "2.25", "11"]),
        ("id timestamptz", ["'2026-01-01 00:00:00.000001+02'", "'2026-01-02 00:00+02'", "'2026-01-10 00:00+02'"]),
        ("id date", ["'2026-01-01'", "'2026-01-02'", "'2026-01-10'"]),
    ],
)
def test_rows_of_a_grown_table_are_told_once_by_any_kind_of_column(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str, values: list[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    engine = sa.create_engine(postgres)

    def run(statement: str) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)

    run(f"CREATE TABLE events ({column})")
    run(f"INSERT INTO events VALUES ({values[0]})")
    trigger = NewDataTrigger(conn_id="postgres_tests", table="public.events", column="id")
    assert told(trigger, 2) == []
    run(f"INSERT INTO events VALUES ({values[1]}), ({values[1]})")
    [first] = told(trigger, 3)
    run(f"INSERT INTO events VALUES ({values[2]})")
    [second] = told(trigger, 3)
    assert (first.rows, second.rows, second.after, second.batch) == (2, 1, first.until, 2)
    assert told(trigger, 2) == []
    engine.dispose()
