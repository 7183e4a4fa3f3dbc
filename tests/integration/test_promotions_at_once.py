"""Two processes promote two versions of one model at the same moment: exactly one wins, on local files and on S3."""

import contextlib
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from airflow_mlops.domain.audit.entry import Chain
from airflow_mlops.domain.registry import CHAMPION
from airflow_mlops.engines.mlflow import MlflowEngine
from airflow_mlops.hooks.audit import audit_trail
from tests.integration.test_promotion_operators import POLICY, Loop

pytest_plugins = ["tests.integration.s3"]
pytestmark = pytest.mark.integration
PROJECT = Path(__file__).parents[2]


class Promoter:
    """A process that is ready to promote a version."""

    def __init__(self, loop: Loop, content: bytes) -> None:
        version = loop.register(loop.train(content))
        decision = loop.gate(loop.evidence(version, 0.8))
        self.version = version.version
        given = {
            "task_id": f"promote-{version.version}",
            "decision": decision.to_dict(),
            "approval": loop.approve(decision).to_dict(),
            "policy": POLICY.to_dict(),
            "model_name": loop.model_name,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.promoter", json.dumps(given)],
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_until_ready(self) -> None:
        assert self._process.stdout is not None
        assert any(line == "ready\n" for line in self._process.stdout)

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> str:
        """Return the last line that it says."""
        assert self._process.stdout is not None
        return self._process.stdout.read().splitlines()[-1]

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(params=["local", "s3"])
def loop(mlflow_server: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loop:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": mlflow_server}))
    store = f"{request.getfixturevalue('s3_bucket')}/store" if request.param == "s3" else str(tmp_path / "store")
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", store)
    name = f"at-once-{zlib.crc32(request.node.name.encode()):08x}"
    return Loop(MlflowEngine(tracking_uri=mlflow_server), name, tmp_path)


def test_of_two_processes_that_promote_at_once_exactly_one_wins(loop: Loop) -> None:
    with contextlib.ExitStack() as stack:
        promoters = [stack.enter_context(contextlib.closing(Promoter(loop, content))) for content in (b"one", b"two")]
        for promoter in promoters:
            promoter.wait_until_ready()
        for promoter in promoters:
            promoter.go()
        ends = {promoter.version: promoter.end() for promoter in promoters}
    (winner,) = (version for version, end in ends.items() if end == "promoted")
    (loser,) = (end for end in ends.values() if end != "promoted")
    assert loser in {"PromotionUnderWayError", "PromotionRefusedError"}, ends
    assert loop.alias(CHAMPION) == winner
    record = audit_trail().read(Chain.of_model(loop.model_name))
    assert record.is_whole
    moved = [(entry.event_kind.value, entry.happening.version) for entry in record.entries[-2:]]
    assert moved == [("promotion", winner), ("deployment", winner)]
