"""The audit trail written by many processes at once, and by ones that are killed, on a local disk and on a real S3."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_mlops.domain.audit.entry import EventKind, entry_name
from airflow_mlops.engines.ledger import Ledger
from tests.integration.ledger_writer import open_root
from tests.unit.domain.audit.trail import MODEL, event

pytest_plugins = ["tests.integration.s3"]
pytestmark = pytest.mark.integration

WRITERS = 8
EACH = 5


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a trail lies, for this process and for others."""

    root: str
    endpoint: str | None

    @property
    def ledger(self) -> Ledger:
        return Ledger(root=open_root(self.root, self.endpoint))

    @contextlib.contextmanager
    def writer(self, name: str, count: int, **arguments: Any) -> Iterator[subprocess.Popen[str]]:
        """Start a writer that waits for its start signal."""
        given = json.dumps({"root": self.root, "endpoint": self.endpoint, "name": name, "count": count, **arguments})
        command = [sys.executable, "-m", "tests.integration.ledger_writer", given]
        folder = Path(__file__).parents[2]
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        with subprocess.Popen(
            command, cwd=folder, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            try:
                assert read_line(process) == "ready"
                yield process
            finally:
                process.kill()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "local":
        return Place(root=str(tmp_path / "audit"), endpoint=None)
    endpoint = request.getfixturevalue("s3_server")
    bucket = request.getfixturevalue("s3_bucket").rpartition("@")[2]
    return Place(root=f"{bucket}/audit", endpoint=endpoint)


def test_entries_of_eight_processes_at_once_make_one_whole_chain_and_none_is_lost(place: Place) -> None:
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(place.writer(f"writer{number}", EACH)) for number in range(WRITERS)]
        for writer in writers:
            go(writer)
        assert [writer.wait() for writer in writers] == [0] * WRITERS
    record = place.ledger.read(MODEL)
    assert not record.findings
    assert [entry.sequence for entry in record.entries] == list(range(1, WRITERS * EACH + 1))
    runs = [entry.event.origin.run_id for entry in record.entries]
    assert sorted(runs) == sorted(f"writer{writer}-{number}" for writer in range(WRITERS) for number in range(EACH))
    for number in range(WRITERS):  # Each in its own order.
        assert [run for run in runs if run.startswith(f"writer{number}-")] == [
            f"writer{number}-{own}" for own in range(EACH)
        ]


@pytest.mark.parametrize(("stop", "written"), [("before", 0), ("after", 1)])
def test_a_killed_writer_leaves_a_whole_entry_or_none_and_its_retry_makes_it_one(
    place: Place, stop: str, written: int
) -> None:
    with place.writer("writer", 1, stop=stop) as process:
        go(process)
        assert read_line(process) == stop
        process.kill()
        process.wait()
    record = place.ledger.read(MODEL)
    assert (record.is_whole, len(record.entries)) == (True, written)
    retried = event(EventKind.GATE, "0", run="writer-0", hour=1)
    entry = place.ledger.append(retried)
    assert entry.sequence == 1
    record = place.ledger.read(MODEL)
    assert (record.is_whole, record.entries) == (True, (entry,))


def test_an_entry_that_is_altered_by_hand_is_found_and_named(place: Place) -> None:
    ledger = place.ledger
    for number in range(3):
        ledger.append(event(EventKind.GATE, str(number), run=f"run{number}", who="Ada (7)"))
    folder, name = ledger.root / MODEL.path, entry_name(2)
    text = folder.read_many([name])[name].decode()
    (folder / name).write_text(text.replace("Ada (7)", "Eve (8)"))
    assert [finding.sequence for finding in ledger.read(MODEL).findings] == [2]
    assert ledger.chains(MODEL.subject) == (MODEL,)
