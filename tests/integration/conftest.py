"""What the integration tests share: an image that is made in a moment, and plays any job as a shell script."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SHELL_IMAGE = f"airflow-mlops/shell:test-{os.getpid()}"
"""Of this test session alone: another may run on the same engine."""
SHELL_REVISION = "4f2d1c"
"""What the image says it was built from."""
_APPLETS = ("cat", "chmod", "dd", "echo", "id", "kill", "ls", "mkdir", "mount", "printf", "rm", "sh", "sleep", "wget")


@pytest.fixture(scope="session")
def shell_image(docker_engine: None) -> Iterator[str]:
    """Import a busybox as an image. Give scripts as ``program=("sh", "-c", script)``."""
    import docker

    busybox = shutil.which("busybox")
    assert busybox, "The Docker tests need /bin/busybox: apt-get install busybox-static"
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(busybox, "bin/busybox")
        for applet in _APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    client = docker.from_env()
    client.api.import_image_from_data(
        stream.getvalue(),
        repository=SHELL_IMAGE.partition(":")[0],
        tag=SHELL_IMAGE.partition(":")[2],
        changes=[f"LABEL org.opencontainers.image.revision={SHELL_REVISION}"],
    )
    yield SHELL_IMAGE
    client.images.remove(SHELL_IMAGE, force=True)
    client.close()


TRAINER_IMAGE = "airflow-mlops/trainer:test"
BUILD_TRAINER = Path(__file__).parents[2] / "docker" / "build-trainer.sh"


def build_trainer() -> str:
    """Build the trainer image, unless it is up to date, and return what the script says."""
    environment = {"PYTHON": sys.executable} | os.environ
    finished = subprocess.run(
        [BUILD_TRAINER, TRAINER_IMAGE], env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture(scope="session")
def trainer_image(docker_engine: None) -> str:
    build_trainer()
    return TRAINER_IMAGE


Registry = Callable[[int, str], str]


@pytest.fixture
def registry(docker_engine: None) -> Iterator[Registry]:
    """Start image registries that answer with an HTTP status, and give the name of an image in each.

    What is asked for by its digest is only asked for once the image itself was found. The engine speaks HTTP to a
    registry on its own machine.
    """
    with contextlib.ExitStack() as servers:

        def start(status: int, code: str) -> str:
            server = servers.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), _answering(status, code)))
            threading.Thread(target=server.serve_forever).start()
            servers.callback(server.shutdown)
            return f"127.0.0.1:{server.server_port}/team/trainer:1"

        yield start


def _answering(status: int, code: str) -> type[BaseHTTPRequestHandler]:
    refusal = json.dumps({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}).encode()
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    part = {
        "mediaType": "application/octet-stream",
        "size": 7,
        "digest": f"sha256:{hashlib.sha256(b'missing').hexdigest()}",
    }
    manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": part, "layers": [part]}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_found = "/manifests/" in self.path and code == "BLOB_UNKNOWN"
            content = b"{}" if self.path == "/v2/" else manifest if is_found else refusal
            self.send_response(200 if content != refusal else status)
            self.send_header("Content-Type", kind if is_found else "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815 - the name that the server looks for

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
