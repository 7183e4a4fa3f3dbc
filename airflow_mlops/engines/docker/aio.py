"""The part of Docker's API that following jobs needs, for an event loop: streams that wait cost a socket, no thread.

The SDK is not asynchronous, and ``aiodocker`` has neither statistics without a wait of a second, nor the size of a file
in a container, nor an error when a log breaks off. API: https://docs.docker.com/reference/api/engine/version/v1.41/
"""

import base64
import contextlib
import json
import os
import ssl
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from airflow_mlops.domain.job import BASE_DIR, LABEL_WORK_KEY, METRIC_STEPS
from airflow_mlops.engines.archive import read_member
from airflow_mlops.engines.docker.engine import DockerEngine
from airflow_mlops.exceptions import DockerUnavailableError, InvalidInputError

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

_LOCAL = "unix:///var/run/docker.sock"
_ANSWER_SECONDS = 60.0
_HEADER = struct.Struct(">BxxxL")  # stream and length, before each entry of a log
_NOT_FOUND, _CONFLICT = 404, 409
_BAD_REQUEST = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class _Address:
    """Where a Docker host is, and the certificates to use; read as the SDK reads it."""

    url: str
    ca: str | None = None
    pair: tuple[str, str] | None = None
    is_verified: bool = True
    is_tls: bool = False

    @classmethod
    def of(cls, engine: DockerEngine) -> Self:
        if engine.url is None:
            return cls._of_environment()
        cert, key = engine.client_certificate, engine.client_key
        is_tls = bool(engine.ca_certificate or cert)
        return cls(url=engine.url, ca=engine.ca_certificate, pair=(cert, key) if cert and key else None, is_tls=is_tls)

    @classmethod
    def _of_environment(cls) -> Self:
        url, folder = os.environ.get("DOCKER_HOST") or _LOCAL, os.environ.get("DOCKER_CERT_PATH")
        is_verified = bool(os.environ.get("DOCKER_TLS_VERIFY"))
        if not (folder or is_verified):
            return cls(url=url)
        path = Path(folder or "~/.docker").expanduser()
        pair = (str(path / "cert.pem"), str(path / "key.pem"))
        return cls(url=url, ca=str(path / "ca.pem"), pair=pair, is_verified=is_verified, is_tls=True)

    def context(self) -> ssl.SSLContext:
        """Return how to speak TLS.

        :raises InvalidInputError: when the certificates cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.pair:
                context.load_cert_chain(*self.pair)
        except OSError as error:  # ssl.SSLError is one, too
            msg = f"The certificates for the Docker host {self.url} cannot be used: {error}"
            raise InvalidInputError(msg) from error
        if not self.is_verified:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context


class AsyncDocker:
    """Requests to one Docker host, from one event loop. Each raises DockerUnavailableError when it does not answer."""

    def __init__(self, session: "ClientSession", base: str, name: str) -> None:
        self._session, self._base, self._name = session, base, name

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, engine: DockerEngine) -> AsyncIterator["AsyncDocker"]:
        """Give a client of the engine's host. All streams end with it.

        :raises InvalidInputError: when the address or the certificates cannot be used.
        """
        import aiohttp

        address = _Address.of(engine)
        parts = urlsplit(address.url)
        connector: aiohttp.BaseConnector
        if parts.scheme in {"unix", "http+unix"}:
            connector, root = aiohttp.UnixConnector(f"{parts.netloc}{parts.path}", limit=0), "http://docker"
        elif parts.scheme in {"tcp", "http", "https"}:
            is_tls = address.is_tls or parts.scheme == "https"
            connector = aiohttp.TCPConnector(limit=0, ssl=address.context() if is_tls else True)
            root = f"http{'s' if is_tls else ''}://{parts.netloc}{parts.path}".rstrip("/")
        else:
            msg = f"A deferred job needs a Docker host at a tcp:// or unix:// address, not {address.url}."
            raise InvalidInputError(msg)
        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            client = cls(session, root, engine.address)
            client._base = f"{root}/v{(await client._json('/version'))['ApiVersion']}"
            yield client

    async def now(self) -> datetime:
        """Return the time by the host's clock, which jobs' times are by."""
        return datetime.fromisoformat((await self._json("/info"))["SystemTime"])

    async def running(self) -> set[str]:
        """Return the ids of all jobs of this package that run on the host, whoever started them."""
        filters = {"label": [LABEL_WORK_KEY], "status": ["created", "running", "paused"]}
        return {container["Id"] for container in await self._json("/containers/json", {"filters": filters})}

    async def ends(self, since: datetime) -> AsyncGenerator[str, None]:
        """Give the id of each job that ends on the host from ``since`` on.

        It is one connection, however many jobs run. Docker remembers the last thousand or so events.
        """
        filters = {"type": ["container"], "event": ["die"], "label": [LABEL_WORK_KEY]}
        query = {"since": int(since.timestamp()), "filters": filters}
        async with self._request("GET", "/events", query, is_stream=True) as answer:
            async for line in answer.content:
                yield str(json.loads(line)["Actor"]["ID"])

    async def log(self, job_id: str, since: int, is_live: bool) -> AsyncGenerator[list[bytes], None]:  # noqa: FBT001
        """Give the entries of a log from this whole second on, as many at once as have come, each with its time."""
        query = {"stdout": 1, "stderr": 1, "timestamps": 1, "since": since, "follow": int(is_live)}
        async with self._request("GET", f"/containers/{job_id}/logs", query, is_stream=True) as answer:
            received = b""
            async for chunk in answer.content.iter_any():
                received += chunk
                entries, start = [], 0
                while len(received) >= start + _HEADER.size:
                    end = start + _HEADER.size + _HEADER.unpack_from(received, start)[1]
                    if len(received) < end:
                        break
                    entries.append(received[start + _HEADER.size : end])
                    start = end
                received = received[start:]
                yield entries

    async def stats(self, job_id: str) -> Mapping[str, Any]:
        """Return the figures of what a job has used up to now."""
        answer: Mapping[str, Any] = await self._json(f"/containers/{job_id}/stats", {"stream": 0, "one-shot": 1})
        return answer

    async def read_metrics_file(self, job_id: str, *, longer_than: int, most: int) -> bytes:
        """Return the file as it is now, if it has more than ``longer_than`` bytes and at most ``most``."""
        path = f"/containers/{job_id}/archive"
        query = {"path": f"{BASE_DIR}/{METRIC_STEPS}"}
        try:
            async with self._request("HEAD", path, query) as answer:
                size = json.loads(base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"]))["size"]
            if not longer_than < size <= most:
                return b""
            async with self._request("GET", path, query) as answer:
                return read_member(await answer.read())
        except _GoneError:
            return b""

    async def signal(self, job_id: str, name: str) -> None:
        """Send a signal to a job. Does nothing when it has ended."""
        with contextlib.suppress(_GoneError):
            async with self._request("POST", f"/containers/{job_id}/kill", {"signal": name}):
                pass

    async def _json(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        async with self._request("GET", path, query) as answer:
            return await answer.json()

    @contextlib.asynccontextmanager
    async def _request(
        self, method: str, path: str, query: Mapping[str, Any] | None = None, *, is_stream: bool = False
    ) -> AsyncIterator["ClientResponse"]:
        """Give the answer to a request, and tell a host that does not answer apart from a request that it refuses."""
        import aiohttp

        parameters = {
            name: json.dumps(value) if isinstance(value, dict) else value for name, value in (query or {}).items()
        }
        timeout = aiohttp.ClientTimeout(connect=_ANSWER_SECONDS) if is_stream else self._session.timeout
        try:
            async with self._session.request(method, self._base + path, params=parameters, timeout=timeout) as answer:
                if answer.status in {_NOT_FOUND, _CONFLICT}:
                    raise _GoneError(path)
                if answer.status >= _BAD_REQUEST:
                    msg = f"The Docker host {self._name} failed: {answer.status} {(await answer.text())[:300]}"
                    raise DockerUnavailableError(msg)
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError, RuntimeError) as error:
            msg = f"The Docker host {self._name} does not answer: {error or type(error).__name__}"
            raise DockerUnavailableError(msg) from error


class _GoneError(DockerUnavailableError):
    """There is no such container, or it has ended."""
