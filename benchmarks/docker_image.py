"""A tiny image for the benchmarks: one static busybox, so that what is measured is the machinery around the job."""

import io
import os
import shutil
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager

IMAGE = f"airflow-mlops/benchmark:{os.getpid()}"
"""Of this process alone: another benchmark may run on the same engine."""


@contextmanager
def benchmark_image() -> Iterator[str]:
    """Import the image, and remove it in the end."""
    import docker

    busybox = shutil.which("busybox")
    if busybox is None:
        sys.exit("The benchmark's jobs need /bin/busybox: apt-get install busybox-static")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(busybox, "bin/busybox")
        link = tarfile.TarInfo("bin/sh")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        archive.addfile(link)
    with closing(docker.from_env()) as client:
        repository, _, tag = IMAGE.partition(":")
        client.api.import_image_from_data(stream.getvalue(), repository=repository, tag=tag)
        try:
            yield IMAGE
        finally:
            client.images.remove(IMAGE, force=True)
