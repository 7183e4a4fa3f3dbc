import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.job import JobLimits
from airflow_mlops.exceptions import DatasetError, InvalidInputError
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.jobs import job_hyperparameters, job_limits, local_channel, local_program


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Snapshot:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    (tmp_path / "source.csv").write_text("n\n1\n2\n")
    operator = DatasetSnapshotOperator(task_id="take", dataset_name="numbers", source=str(tmp_path / "source.csv"))
    ti = SimpleNamespace(dag_id="loop", run_id="run", task_id="snapshot", map_index=-1)
    context: Any = {"ti": ti, "outlet_events": {operator.asset: SimpleNamespace(extra=None)}}
    return Snapshot.from_dict(operator.execute(context))


@pytest.fixture
def context(tmp_path: Path) -> Any:
    (tmp_path / "dags").mkdir()
    (tmp_path / "trainer").mkdir()
    (tmp_path / "dags" / "train.py").touch()
    return {"dag": SimpleNamespace(folder=str(tmp_path / "dags"))}


def test_a_channel_holds_the_parts_and_nothing_else(snapshot: Snapshot) -> None:
    with local_channel(snapshot) as channel:
        names = [path.name for path in channel.iterdir()]
    assert names == [path.name for path in Path(snapshot.uri).glob("*.parquet")]


def test_a_part_that_no_manifest_names_does_not_reach_the_job(snapshot: Snapshot) -> None:
    (Path(snapshot.uri) / "part-stray.parquet").touch()
    with local_channel(snapshot) as channel:
        assert not (channel / "part-stray.parquet").exists()


def test_another_snapshot_than_was_asked_for_is_refused(snapshot: Snapshot) -> None:
    manifest = Path(snapshot.uri) / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "digest": "other"}))
    with pytest.raises(DatasetError, match=f"holds the digest other, but {snapshot.digest} was asked for"):
        local_channel(snapshot).__enter__()


@pytest.mark.parametrize("given", [JobLimits(memory_mb=1), {"memory_mb": 1}])
def test_limits_are_given_as_a_value_or_as_a_mapping(given: Any) -> None:
    assert job_limits(given) == JobLimits(memory_mb=1)


def test_a_misspelt_limit_is_named() -> None:
    with pytest.raises(InvalidInputError, match="unknown key 'memory'"):
        job_limits({"memory": 1})


def test_hyperparameters_are_texts() -> None:
    given = {"rate": 0.05, "depth": 3, "early": True, "name": "x y", "columns": ["a"], "none": None}
    assert job_hyperparameters(given) == {
        "rate": "0.05",
        "depth": "3",
        "early": "true",
        "name": "x y",
        "columns": '["a"]',
    }


def test_paths_of_a_program_are_relative_to_the_dag(context: Any, tmp_path: Path) -> None:
    program = ("python", "-m", "train.py", "../trainer", "--config=a/b", "plain")
    assert local_program(program, context) == (
        "python",
        "-m",
        str(tmp_path / "dags" / "train.py"),
        str(tmp_path / "trainer"),
        "--config=a/b",
        "plain",
    )


@pytest.mark.parametrize("argument", ["missing.py", "../missing", "/no/such/program"])
def test_a_script_that_is_not_there_is_named(context: Any, argument: str) -> None:
    with pytest.raises(InvalidInputError, match=r"The program names .* which is not on this worker"):
        local_program(("python", argument), context)
