"""A window that lies in PostgreSQL is profiled there, and judged as the same rows in files."""

import json

import numpy as np
import pytest
import sqlalchemy as sa

from airflow_mlops.domain.drift.report import ProfileReference
from airflow_mlops.domain.monitoring import CheckVerdict
from airflow_mlops.exceptions import DatasetError, InvalidInputError
from airflow_mlops.operators.profile import SqlProfileOperator

from .test_drift_operator import check, promoted, report_of, rows, snapshot
from .test_evaluation_operator import loop
from .test_promotion_operators import Loop

__all__ = ["loop"]  # a fixture
pytest_plugins = ["tests.integration.postgres"]
pytestmark = pytest.mark.integration


@pytest.fixture
def window(postgres: str) -> dict[str, list[float | str]]:
    """Fill a table with a window, and return its columns."""
    random = np.random.default_rng(11)
    columns: dict[str, list[float | str]] = {
        "x": random.normal(0.4, 1, 3000).tolist(),
        "plan": random.choice(["basic", "pro", "new plan"], 3000).tolist(),
    }
    engine = sa.create_engine(postgres)
    with engine.begin() as connection:
        connection.exec_driver_sql("create table log (x double precision, plan text, at timestamptz)")
        connection.execute(
            sa.text("insert into log values (:x, :plan, now())"),
            [{"x": x, "plan": plan} for x, plan in zip(*columns.values(), strict=True)],
        )
    engine.dispose()
    return columns


def test_window_in_postgresql_is_judged_as_the_same_rows_in_a_file(
    loop: Loop, window: dict[str, list[float | str]]
) -> None:
    promoted(loop, snapshot(loop, "train", rows()))
    spec = {"columns": ["x", "plan"]}
    operator = SqlProfileOperator(
        task_id="window", conn_id="postgres_tests", query="select * from log;", model_name=loop.model_name
    )
    found = ProfileReference.from_dict(json.loads(json.dumps(operator.execute(loop.context(operator)))))
    assert found.rows == 3000
    there = check(loop, found, spec=spec, evidently_report=True)
    here = check(loop, snapshot(loop, "window", dict(window)), day=1, spec=spec)
    assert there.verdict is here.verdict is CheckVerdict.VIOLATED
    assert there.figures == {name: pytest.approx(here.figures[name]) for name in there.figures}
    assert there.reasons == here.reasons
    assert [item.new_categories for item in report_of(there).drift.columns if item.column == "plan"] == [("new plan",)]


def test_query_that_the_database_refuses_is_said(loop: Loop, window: dict[str, list[float | str]]) -> None:
    assert window
    operator = SqlProfileOperator(task_id="window", conn_id="postgres_tests", query="select nothing from log")
    with pytest.raises(DatasetError, match="nothing"):
        operator.execute(loop.context(operator))


def test_other_databases_are_refused_with_what_to_do(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LITE", json.dumps({"conn_type": "sqlite", "host": ":memory:"}))
    operator = SqlProfileOperator(task_id="window", conn_id="lite", table="log")
    with pytest.raises(InvalidInputError, match="only PostgreSQL counts by itself"):
        operator.execute(loop.context(operator))
