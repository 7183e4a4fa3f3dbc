"""``airflow mlops audit`` and ``lineage``, as people and scripts call them."""

import json
import os
import subprocess
import sysconfig
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from airflow_mlops.domain.audit.chain import Trail
from airflow_mlops.domain.audit.entry import Chain, EventKind, Subject, entry_name
from airflow_mlops.domain.registry import CHAMPION, TAG_AUDIT_HEAD
from airflow_mlops.engines.mlflow import MlflowEngine
from tests.unit.domain.audit.test_export import made
from tests.unit.domain.audit.trail import MODEL, event, seal

pytestmark = pytest.mark.integration


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    return tmp_path / "store" / "audit"


def keep(trail: Trail, store: Path) -> None:
    for chain, record in trail.records.items():
        folder = store / chain.path
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in record.files.items():
            (folder / name).write_bytes(data)


def airflow(*arguments: str) -> tuple[int, str]:
    """Run the real command, which takes seconds to start."""
    folder = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = Path(sysconfig.get_path("scripts")) / "airflow"
    done = subprocess.run(
        [command, "mlops", *arguments], capture_output=True, text=True, check=False, env=environment, cwd=folder
    )
    return done.returncode, done.stdout + done.stderr


def run(capsys: pytest.CaptureFixture[str], **arguments: Any) -> tuple[int, str]:
    """Run the command's function in this process."""
    from airflow_mlops.cli.audit import audit

    given = {
        "model": MODEL.name, "at": None, "verify": False, "head": None, "offline": False, "export": None,
        "output": None, "mlflow_conn_id": "mlflow_default", "verbose": False,
    }  # fmt: skip
    status = 0
    try:
        audit(Namespace(**given | arguments))
    except SystemExit as end:
        status = int(str(end.code))
    written = capsys.readouterr()
    return status, written.out + written.err


def test_the_real_command_tells_where_a_file_went_and_names_an_entry_that_was_altered_by_hand(store: Path) -> None:
    keep(made(), store)
    status, text = airflow("lineage", "--source", "/data/1.csv")
    assert (status, text.strip()) == (0, "flight-delays@3  trained on flights dddddddddddd")
    file = store / MODEL.path / entry_name(4)
    file.write_text(file.read_text().replace("Ada approved", "Eve approved"))
    status, text = airflow("audit", MODEL.name, "--verify", "--offline")
    assert status == 1
    assert "BROKEN: Entry 4 of models/flight-delays was altered" in text


def test_a_whole_trail_tells_its_heads_and_a_head_that_was_written_down_finds_a_cut(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(made(), store)
    status, text = run(capsys, verify=True, offline=True)
    assert (status, "entries that were cut off at the end would not be missed" in text) == (0, True)
    head = next(line for line in text.splitlines() if line.startswith("models/")).rpartition("head ")[2]
    (store / MODEL.path / entry_name(5)).unlink()
    assert run(capsys, verify=True, offline=True)[0] == 0
    status, text = run(capsys, verify=True, offline=True, head=[head])
    assert (status, "BROKEN: Entry 5 of models/flight-delays is missing: you saw" in text) == (1, True)


def test_what_served_then_and_exports_to_a_file(
    store: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    keep(made(), store)
    assert "version 3 of flight-delays served" in run(capsys, at="2026-03-01T02:00")[1]
    assert "No version of flight-delays is recorded" in run(capsys, at="2026-03-01T01:59+00:00")[1]
    for kind, begins in (("json", "{"), ("csv", "chain,"), ("md", "---"), ("html", "<!doctype html>")):
        file = tmp_path / f"card.{kind}"
        assert run(capsys, export=kind, output=str(file)) == (0, "")
        assert file.read_text().startswith(begins)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"model": "nobody"}, "Models with an audit trail: flight-delays"),
        ({"at": "noon"}, "--at is 'noon'"),
        ({"model": "flight-delays@9", "export": "md"}, "version 9 is in the audit trail"),
        ({"verify": True, "offline": True, "head": ["12"]}, "is no head of a chain"),
    ],
)
def test_what_cannot_be_answered_is_said_in_a_line(
    store: Path, capsys: pytest.CaptureFixture[str], arguments: dict[str, Any], reason: str
) -> None:
    keep(made(), store)
    status, text = run(capsys, **arguments)
    assert (status, reason in text, text.count("\n")) == (2, True, 1)


def test_a_registry_that_does_not_answer_leaves_the_chain_proved_and_the_rest_open(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(made(), store)
    status, text = run(capsys, verify=True, mlflow_conn_id="nowhere")
    assert (status, "models/flight-delays: whole" in text, "--offline to do without" in text) == (2, True, True)
    monkeypatch.setenv("AIRFLOW_CONN_NOWHERE", json.dumps({"conn_type": "mlflow", "host": "http://127.0.0.1:9"}))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    status, text = run(capsys, verify=True, mlflow_conn_id="nowhere")
    assert (status, "does not answer" in text) == (2, True)
    (store / MODEL.path / entry_name(3)).unlink()
    status, text = run(capsys, verify=True, mlflow_conn_id="nowhere")
    assert (status, "BROKEN: Entry 3 of models/flight-delays is missing" in text) == (1, True)


def test_the_registry_finds_a_cut_at_the_end_and_an_alias_that_was_moved_by_hand(
    store: Path, capsys: pytest.CaptureFixture[str], mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": mlflow_server}))
    name = "audited-by-command"
    chain = Chain(subject=Subject.MODEL, name=name)
    client = MlflowClient(mlflow_server, mlflow_server)
    client.create_registered_model(name)
    for _ in range(2):
        client.create_model_version(name, "s3://nowhere/model")
    mlflow = MlflowEngine(tracking_uri=mlflow_server)
    events = [event(EventKind.PROMOTION, "1", chain=chain), event(EventKind.DEPLOYMENT, "1", chain=chain, hour=1)]
    entries = seal(events, chain)
    folder = store / chain.path
    folder.mkdir(parents=True)
    for entry in entries:
        (folder / entry_name(entry.sequence)).write_text(entry.to_text())
    mlflow.set_version_tags(mlflow.version(name, "1"), {TAG_AUDIT_HEAD: str(entries[1].head)})
    mlflow.set_alias(mlflow.version(name, "1"), CHAMPION)
    status, text = run(capsys, model=name, verify=True)
    assert (status, "The registry agrees: 1 remembered heads" in text) == (0, True)

    mlflow.set_alias(mlflow.version(name, "2"), CHAMPION)
    status, text = run(capsys, model=name, verify=True)
    assert (status, "champion is version 2, but the trail says that version 1 serves" in text) == (1, True)

    (folder / entry_name(2)).unlink()
    status, text = run(capsys, model=name, verify=True)
    assert (status, "Entry 2 of models/audited-by-command is missing: the tag of version 1" in text) == (1, True)
