"""Two processes promote two versions of one model at the same moment: exactly one wins, on local files and on S3."""

import contextlib
import json
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from airflow_mlops.domain.registry import CHAMPION
from airflow_mlops.engines.mlflow import MlflowEngine
from tests.integration.test_promotion_operators import POLICY, Loop

pytest_plugins = ["tests.integration.s3"]
pytestmark = pytest.mark.integration
PROJECT = Path(__file__).parents[2]


class Promoter:
    """A process that is ready to promote a version."""

    def __init__(self, loop: Loop, content: bytes) -> None:
        version = loop.register(loop.train(content))
        decision = loop.gate(loop.evidence(version, 0.8))
        arguments = {
            "decision": decision.to_dict(),
            "approval": loop.approve(decision).to_dict(),
            "model_name": loop.model_name,
        }
        self.version = version.version
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.promoter"],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.send(json.dumps({"arguments": arguments, "policy": POLICY.to_dict(), "run_id": f"run-{self.version}"}))

    def send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        """Return what it says next."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("PROMOTER "):
                return line.removeprefix("PROMOTER ").strip()
        return f"ended with {self._process.wait()}"

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
        assert [promoter.hear() for promoter in promoters] == ["ready", "ready"]
        for promoter in promoters:
            promoter.send("go")
        said = [promoter.hear() for promoter in promoters]
    winners = [promoter.version for promoter, text in zip(promoters, said, strict=True) if text.startswith("promoted")]
    assert winners == [loop.alias(CHAMPION)], said
    (loser,) = (text for text in said if not text.startswith("promoted"))
    assert loser.startswith(("PromotionUnderWayError", "PromotionRefusedError: ")), loser
