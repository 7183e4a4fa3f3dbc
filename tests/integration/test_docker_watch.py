"""Jobs that are followed in an event loop, over each kind of address, and over connections that break."""

import asyncio
import contextlib
import datetime as dt
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_mlops.domain.job import Job, JobCommand, JobHandle, JobLimits, JobState
from airflow_mlops.domain.job_figures import MetricStep
from airflow_mlops.domain.progress import JobProgress
from airflow_mlops.engines.docker import DockerEngine
from airflow_mlops.engines.docker.watch import HostWatch, follow_job

pytestmark = [pytest.mark.integration, pytest.mark.docker]

LIMITS = JobLimits(memory_mb=64, cpus=1, scratch_mb=64, wall_seconds=60)
COUNTING = "i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo line $i; sleep 0.1; done"


@pytest.fixture
def submit(shell_image: str, tmp_path: Path) -> Iterator[Callable[[str], JobHandle]]:
    engine = DockerEngine()
    handles: list[JobHandle] = []
    (tmp_path / "channel").mkdir()
    (tmp_path / "channel/part.parquet").write_bytes(b"rows")

    def start(script: str) -> JobHandle:
        job = Job(
            work_key=uuid4().hex,
            command=JobCommand.TRAIN,
            hyperparameters={},
            channels={"train": tmp_path / "channel"},
            image=shell_image,
            program=("sh", "-c", script),
            limits=LIMITS,
        )
        handles.append(engine.submit(job))
        return handles[-1]

    yield start
    for handle in handles:
        engine.remove(handle.work_key)


class Proxy:
    """A way to the Docker engine over TCP, which can be cut."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.port = 0

    @contextlib.asynccontextmanager
    async def open(self, context: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            self.cut()
            server.close()

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(DockerEngine().address.removeprefix("unix://"))
        self.writers += [writer, back]
        with contextlib.suppress(OSError):
            await asyncio.gather(self._copy(reader, back), self._copy(there, writer))

    @staticmethod
    async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while chunk := await source.read(2**16):
            target.write(chunk)
            await target.drain()
        target.close()


async def nothing(_: list[MetricStep]) -> None:
    pass


def numbers(lines: list[str]) -> list[int]:
    return [int(found[1]) for line in lines if (found := re.search(r"line (\d+)$", line))]


def certificates(folder: Path) -> None:
    """Write a key and a certificate for 127.0.0.1 that is its own authority, for both sides."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encryption = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    (folder / "key.pem").write_bytes(private)


@pytest.mark.parametrize("kind", ["unix", "tcp", "tls"])
def test_a_job_is_followed_over_each_kind_of_address(
    submit: Callable[[str], JobHandle], tmp_path: Path, kind: str
) -> None:
    lines: list[str] = []

    async def follow() -> JobProgress:
        proxy, context = Proxy(), None
        tls: dict[str, Any] = {}
        if kind == "tls":
            certificates(tmp_path)
            cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=cert)
            context.load_cert_chain(cert, key)
            context.verify_mode = ssl.CERT_REQUIRED
            tls = {"ca_certificate": cert, "client_certificate": cert, "client_key": key}
        async with proxy.open(context):
            url = None if kind == "unix" else f"tcp://127.0.0.1:{proxy.port}"
            handle = submit("echo line 1; sleep 2; echo line 2")
            return await follow_job(DockerEngine(url=url, **tls), handle, LIMITS, log=lines.append, show=nothing)

    progress = asyncio.run(follow())
    assert numbers(lines) == [1, 2]
    assert progress.log.is_whole
    assert progress.usage is not None
    assert not HostWatch._watches


def test_a_connection_that_breaks_costs_no_line_and_repeats_none(submit: Callable[[str], JobHandle]) -> None:
    lines: list[str] = []

    async def follow() -> JobProgress:
        proxy = Proxy()
        async with proxy.open():
            engine = DockerEngine(url=f"tcp://127.0.0.1:{proxy.port}")
            following = asyncio.create_task(
                follow_job(engine, submit(COUNTING), LIMITS, log=lines.append, show=nothing)
            )
            for count in (5, 15, 25):
                while len(lines) < count:  # noqa: ASYNC110 - a log has no event
                    await asyncio.sleep(0.02)
                proxy.cut()
            return await following

    progress = asyncio.run(follow())
    assert numbers(lines) == list(range(1, 51))
    assert progress.log.is_whole


def test_a_worker_prints_what_a_triggerer_has_not(submit: Callable[[str], JobHandle], tmp_path: Path) -> None:
    before: list[str] = []
    handle = submit(COUNTING)
    progress: list[JobProgress] = []

    async def follow_for_a_while() -> None:
        from airflow_mlops.domain.collection import LogLines
        from airflow_mlops.engines.docker.log import TimedLog

        log = TimedLog(LogLines(before.append))
        async with HostWatch.of(DockerEngine()).job(handle) as job:
            reading = asyncio.create_task(job.read_log(log))
            while len(before) < 20:  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.02)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        progress.append(JobProgress(log=log.position, usage=job.meter.last))

    asyncio.run(follow_for_a_while())
    after: list[str] = []
    result = DockerEngine().resume(handle, LIMITS, tmp_path / "output", after.append, progress[0])
    assert result.state is JobState.SUCCEEDED
    assert numbers(before + after) == list(range(1, 51))
    assert result.usage is not None
    assert result.usage.cpu_seconds is not None


def test_a_job_that_prints_very_much_is_followed_to_its_end(
    submit: Callable[[str], JobHandle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_mlops.domain.collection.LOG_CHARACTERS", 100_000)
    lines: list[str] = []
    handle = submit("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done")
    progress = asyncio.run(follow_job(DockerEngine(), handle, LIMITS, log=lines.append, show=nothing))
    assert not progress.log.is_whole
    DockerEngine().resume(handle, LIMITS, tmp_path / "output", lines.append, progress)
    shown = numbers(lines)
    last = shown.index(19_981)
    assert shown[:last] == list(range(1, last + 1))
    assert shown[last:] == list(range(19_981, 20_001))


def test_steps_come_while_the_job_runs(submit: Callable[[str], JobHandle]) -> None:
    shown: list[Any] = []
    script = """
        for i in 1 2 3; do
            echo "{\\"step\\": $i, \\"loss\\": 0.5}" >> /opt/ml/output/data/metrics.jsonl
            sleep 4
        done
    """

    async def show(steps: list[MetricStep]) -> None:
        shown.extend(steps)

    asyncio.run(follow_job(DockerEngine(), submit(script), LIMITS, log=lambda _: None, show=show))
    assert [step.step for step in shown][:2] == [1, 2]
