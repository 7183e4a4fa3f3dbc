"""What the integration tests share: an image that is made in a moment, and plays any job as a shell script."""

import io
import os
import shutil
import tarfile
from collections.abc import Iterator

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
