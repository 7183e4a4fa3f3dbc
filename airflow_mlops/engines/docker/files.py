"""Files in containers, which need not run: folders that are copied out, small files that are read, secrets wiped."""

import base64
import contextlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.collection import OutputBudget
from airflow_mlops.domain.job import BASE_DIR, LABEL_INPUT_BYTES, LABEL_SECRETS, JobLimits
from airflow_mlops.engines.archive import CHUNK_BYTES, pack_wiped, read_member, unpack, unpack_parts
from airflow_mlops.engines.docker.containers import NOT_FOUND
from airflow_mlops.engines.docker.settings import JOB_USER
from airflow_mlops.exceptions import JobOutOfDiskError

if TYPE_CHECKING:
    from docker.models.containers import Container
    from requests import Response

_BYTES_ALONG = 2**20
"""What costs less to read and pass over than another request."""


@contextlib.contextmanager
def _archive(container: "Container", path: str) -> Iterator[Iterator[bytes]]:
    """Give a tar stream out of a container, and close its connection, also if it is not read to its end.

    What the SDK's ``get_archive`` gives can not be closed: the garbage collector would do it, some day.

    :raises NotFound: when there is no such container or path.
    """
    from docker.errors import create_api_error_from_http_exception
    from requests.exceptions import HTTPError

    with _request(container, "get", path, stream=True) as answer:
        try:
            answer.raise_for_status()
        except HTTPError as error:
            create_api_error_from_http_exception(error)
        yield answer.iter_content(CHUNK_BYTES)


def _request(container: "Container", method: str, path: str, **settings: Any) -> "Response":
    """Ask for a path in a container: its content, or with ``head`` what it is."""
    client = container.client
    assert client is not None  # noqa: S101 - the SDK gave the container
    address = f"{client.api.base_url}/v{client.api.api_version}/containers/{container.id}/archive"
    return client.api.request(method, address, params={"path": path}, timeout=client.api.timeout, **settings)


def read_file(container: "Container", path: str, *, longer_than: int, most: int) -> bytes:
    """Return a small file of a container, if it has grown. Its size is asked first, which costs next to nothing."""
    answer = _request(container, "head", path)
    if answer.status_code == NOT_FOUND:
        return b""
    answer.raise_for_status()
    description = json.loads(base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"]))
    if not longer_than < description["size"] <= most:
        return b""
    with _archive(container, path) as chunks:
        return read_member(b"".join(chunks))


def wipe_secrets(container: "Container") -> None:
    """Empty the files that held secrets: the container may be kept for long, and its volume is on the host's disk."""
    names = [name for name in container.labels.get(LABEL_SECRETS, "").split(",") if name]
    if names and not container.attrs["State"]["Running"]:
        container.put_archive(BASE_DIR, pack_wiped(names, owner=JOB_USER))


def fetch_folder(container: "Container", folder: str, output: Path, budget: OutputBudget) -> None:
    """Copy a folder out of the container. The job can empty it, but not remove it."""
    with _archive(container, f"{BASE_DIR}/{folder}") as chunks:
        unpack(chunks, output, budget)


def fetch_folders(container: "Container", folders: Sequence[str], output: Path, limits: JobLimits) -> None:
    """Copy folders out of the container, by one request where little else comes along: to begin one takes its time.

    :raises JobOutOfDiskError: when they hold too much. As many as can be are whole then.
    """
    if len(folders) > 1 and int(container.labels.get(LABEL_INPUT_BYTES, _BYTES_ALONG)) < _BYTES_ALONG:
        with contextlib.suppress(JobOutOfDiskError), _archive(container, BASE_DIR) as chunks:
            if unpack_parts(chunks, folders, output, OutputBudget(limits), most_else=_BYTES_ALONG):
                return
    budget = OutputBudget(limits)
    with ThreadPoolExecutor(len(folders)) as pool:
        fetching = [pool.submit(fetch_folder, container, folder, output, budget) for folder in folders]
    for fetched in fetching:
        fetched.result()
