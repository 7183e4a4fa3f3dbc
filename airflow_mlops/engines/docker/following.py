"""Waiting for a container over a host that may not answer for a while, and reading its log meanwhile."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.collection import LOG_TAIL_LINES, LogLines
from airflow_mlops.engines.docker.containers import NOT_FOUND

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container
    from docker.types import CancellableStream

_SAVED_LINES = 50_000
_RECONNECT_SECONDS = 1.0


class Patience:
    """Waits for a container over a host that does not answer for a while, since the job may well go on."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lost_at: float | None = None

    def wait(self, client: "DockerClient", job_id: str, seconds: float) -> bool:
        """Return whether the container has ended within this time. Docker answers at once when it does."""
        from docker.errors import APIError
        from requests.exceptions import ConnectionError as RequestConnectionError
        from requests.exceptions import ReadTimeout

        try:
            client.api.wait(job_id, timeout=max(seconds, 0.1))  # type: ignore[arg-type]  # fractions work
        except ReadTimeout:
            self._lost_at = None
            return False
        except RequestConnectionError as error:
            if "Read timed out" in str(error):  # That is how a Unix socket says the same.
                self._lost_at = None
                return False
            self._lost_at = self._lost_at or time.monotonic()
            if time.monotonic() - self._lost_at >= self._seconds:
                raise
            time.sleep(min(_RECONNECT_SECONDS, seconds))
            return False
        except APIError as error:
            if error.status_code != NOT_FOUND:
                raise
        return True


class _LogFrames:
    """The frames of a log, over a connection that is closed when nobody reads on."""

    def __init__(self, stream: "CancellableStream[bytes]") -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        finally:
            _release(self._stream)

    def close(self) -> None:
        self._stream.close()


def _release(stream: "CancellableStream[Any]") -> None:
    """Close a stream for good: the SDK's own ``close`` leaves the socket open that its response still holds."""
    with contextlib.suppress(Exception):  # It may be closed, or half open.
        stream.close()
    with contextlib.suppress(Exception):
        stream._response.close()  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other way to it


def open_log(client: "DockerClient", job_id: str, since: int, *, live: bool) -> _LogFrames:
    """Open the log, with times, from this second since 1970 on; a live one goes on until the container ends."""
    return _LogFrames(client.api.logs(job_id, stream=True, follow=live, timestamps=True, since=since or None))


def save_log(container: "Container", file: Path) -> None:
    """Write the end of the log, with times, into a file."""
    with file.open("wb") as saved:
        for frame in _LogFrames(container.logs(stream=True, follow=False, timestamps=True, tail=_SAVED_LINES)):
            saved.write(frame)


def read_tail(client: "DockerClient", job_id: str) -> list[str]:
    """Return the last lines of the log, without times."""
    lines = LogLines(lambda _: None)
    lines.feed(client.api.logs(job_id, tail=LOG_TAIL_LINES), is_last=True)
    return lines.tail
