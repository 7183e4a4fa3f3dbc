"""Follow many jobs of one Docker host in one event loop: their ends, their logs, what they use and what they measure.

Ends come as events, over one connection a host; each log is a stream of its own, which waits without a thread. What a
job uses, and its metrics file, are asked for by one sampler a host that goes round, a job at a time, and rests three
times as long as it has asked: a host or a triggerer that is loaded is asked less often, instead of more at once.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta

from airflow_mlops.domain.collection import LogLines
from airflow_mlops.domain.job import JobHandle, JobLimits
from airflow_mlops.domain.job_figures import MetricStep
from airflow_mlops.domain.polling import afollow, sampling_seconds
from airflow_mlops.domain.progress import METRICS_BYTES, METRICS_SECONDS, JobProgress, MetricTail
from airflow_mlops.engines.docker.aio import AsyncDocker
from airflow_mlops.engines.docker.engine import DockerEngine
from airflow_mlops.engines.docker.log import Pace, TimedLog, follow_log
from airflow_mlops.engines.docker.scratch import seconds_to_next
from airflow_mlops.engines.docker.usage import UsageMeter
from airflow_mlops.exceptions import DockerUnavailableError, JobOutputError, MlopsError

_log = logging.getLogger(__name__)
_RECONNECT_SECONDS = 1.0
_LIST_SECONDS = 30.0
_LOG_SECONDS = 5.0  # for the rest of the log when a job has ended; who collects it reads what is then missing
_REST = 3
_FAILURES = 10
_NOTHING_DUE_SECONDS = 0.25


async def follow_job(
    engine: DockerEngine,
    handle: JobHandle,
    limits: JobLimits,
    *,
    log: Callable[[str], None],
    show: Callable[[list[MetricStep]], Awaitable[None]],
) -> JobProgress:
    """Do what :meth:`DockerEngine.follow` does, without blocking, and return what to go on with.

    :param log: takes each line that the job prints.
    :param show: takes the steps that the job has added to ``metrics.jsonl``. It must not fail.
    :raises DockerUnavailableError: when the host has not answered for the engine's ``patience_seconds``.
    """
    timed = TimedLog(LogLines(log))
    async with HostWatch.of(engine).job(handle) as job:
        reading = asyncio.create_task(job.read_log(timed))
        showing = asyncio.create_task(job.show_metrics(show))
        try:
            await afollow(
                engine.wall_limit(limits.wall_seconds),
                elapsed=job.elapsed,
                wait=job.wait,
                stop=lambda: job.signal("SIGTERM"),
                kill=lambda: job.signal("SIGKILL"),
            )
            await asyncio.wait([reading], timeout=_LOG_SECONDS)
        finally:
            reading.cancel()
            showing.cancel()
            await asyncio.gather(reading, showing, return_exceptions=True)
        return JobProgress(log=timed.position, usage=job.meter.last)


class WatchedJob:
    """One job of a watched host."""

    def __init__(self, watch: "HostWatch", handle: JobHandle) -> None:
        self._watch = watch
        self._handle = handle
        self._has_ended = asyncio.Event()
        self._error: DockerUnavailableError | None = None
        self._tail = MetricTail()
        self._steps: asyncio.Queue[list[MetricStep]] = asyncio.Queue()
        self._metrics_at = -math.inf
        self._failures = 0
        self.meter = UsageMeter(handle.started_at)
        self.due = 0.0
        """When to measure it next, by the monotonic clock."""

    @property
    def has_ended(self) -> bool:
        """Whether it was seen to end."""
        return self._has_ended.is_set()

    @property
    def id(self) -> str:
        """The container's id."""
        return self._handle.job_id

    def elapsed(self) -> float:
        """Return for how long it has run, by its host's clock."""
        return self._watch.elapsed(self._handle.started_at)

    async def wait(self, seconds: float) -> bool:
        """Return whether it has ended within this time.

        :raises DockerUnavailableError: when its host has not answered for long.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._has_ended.wait(), seconds)
        if self._error is not None:
            raise self._error
        return self.has_ended

    def end(self, error: DockerUnavailableError | None = None) -> None:
        """Tell that it has ended, or that nobody knows."""
        self._error = error
        self._has_ended.set()

    async def signal(self, name: str) -> None:
        """Send a signal. A host that does not answer is asked again, by whoever waits for the job."""
        if (client := self._watch.client) is not None:
            with contextlib.suppress(DockerUnavailableError):
                await client.signal(self.id, name)

    async def read_log(self, log: TimedLog) -> None:
        """Pass on the log until the job has ended, over connections that are lost."""

        async def connect(since: int, is_live: bool) -> AsyncGenerator[list[bytes], None]:  # noqa: FBT001
            client = self._watch.client
            if client is None:
                raise DockerUnavailableError(self._watch.lost)
            async with contextlib.aclosing(client.log(self.id, since, is_live)) as entries:
                async for some in entries:
                    yield some

        await follow_log(log, connect=connect, has_ended=self._has_ended, pace=self._watch.pace)

    async def show_metrics(self, show: Callable[[list[MetricStep]], Awaitable[None]]) -> None:
        """Hand over steps as they come, one after another."""
        while True:
            steps = await self._steps.get()
            while not self._steps.empty():
                steps = steps + self._steps.get_nowait()
            await show(steps)

    async def measure(self, client: AsyncDocker) -> None:
        """Ask once what it has used and measured. To fail at it must not end the job, only the measuring."""
        try:
            await self._measure(client)
            self._failures = 0
            self.due = time.monotonic() + sampling_seconds(self.elapsed())
        except JobOutputError:  # Its task will say so, when it collects the file.
            self._metrics_at = math.inf
        except Exception as error:  # noqa: BLE001 - whatever it is, the figures are then those of the last sample
            self._failures += 1
            self.due = math.inf if self._failures >= _FAILURES else time.monotonic() + _RECONNECT_SECONDS
            _log.info("The job %s cannot be measured: %s", self.id, error)

    async def _measure(self, client: AsyncDocker) -> None:
        self.meter.add(await client.stats(self.id))
        if time.monotonic() - self._metrics_at >= METRICS_SECONDS:
            content = await client.read_metrics_file(self.id, longer_than=self._tail.length, most=METRICS_BYTES)
            self._metrics_at = time.monotonic()
            if steps := self._tail.take(content):
                self._steps.put_nowait(steps)


class HostWatch:
    """Follows one Docker host, for all jobs that this process waits for.

    Whenever a job is added, the connection was lost, or half a minute has passed, the running jobs are listed with one
    request, so that no end is missed, whatever happens to an event, and a host that is gone is noticed.
    """

    _watches: "dict[tuple[int, DockerEngine], HostWatch]" = {}  # noqa: RUF012 - one for each event loop and host

    @classmethod
    def of(cls, engine: DockerEngine) -> "HostWatch":
        """Return the one watch of this host in this event loop."""
        key = (id(asyncio.get_running_loop()), engine)
        return cls._watches.setdefault(key, cls(engine, key))

    def __init__(self, engine: DockerEngine, key: "tuple[int, DockerEngine]") -> None:
        self._engine = engine
        self._key = key
        self._jobs: set[WatchedJob] = set()
        self._is_unlisted = asyncio.Event()
        self._is_connected = asyncio.Event()
        self._ahead = 0.0
        self._task: asyncio.Task[None] | None = None
        self.client: AsyncDocker | None = None
        """The connection to the host, while there is one."""
        self.pace = Pace()

    @contextlib.asynccontextmanager
    async def job(self, handle: JobHandle) -> AsyncIterator[WatchedJob]:
        """Give a job to wait for. The host is watched for as long as there is one."""
        job = WatchedJob(self, handle)
        self._jobs.add(job)
        self._is_unlisted.set()
        if self._task is None:
            self._task = asyncio.create_task(self._watch(), name="docker-host-watch")
        try:
            while not (self._is_connected.is_set() or await job.wait(_RECONNECT_SECONDS / 10)):
                pass  # Until the host's clock is known, or the host is lost
            yield job
        finally:
            self._jobs.discard(job)
            if not self._jobs and self._task is not None:
                self._watches.pop(self._key, None)
                self._task.cancel()
                self._task = None

    @property
    def lost(self) -> str:
        """What to say while there is no connection."""
        return f"The Docker host {self._engine.address} is not connected at this moment."

    def elapsed(self, started_at: datetime) -> float:
        """Return the seconds since a time of the host's clock."""
        return time.time() + self._ahead - started_at.timestamp()

    async def _watch(self) -> None:
        """Follow the host until nobody waits any more. Connect again when it is lost, with patience."""
        lost_at: float | None = None
        while True:
            try:
                async with AsyncDocker.connect(self._engine) as self.client:
                    now = await self.client.now()
                    self._ahead = (now - datetime.now(now.tzinfo)) / timedelta(seconds=1)
                    self._is_connected.set()
                    lost_at = None
                    await self._follow(self.client, now)
            except DockerUnavailableError as error:
                if lost_at is None:
                    _log.info("The Docker host %s is connected to again: %s", self._engine.address, error)
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > self._engine.patience_seconds:
                    self._end(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
                _log.exception("The Docker host %s cannot be watched", self._engine.address)
                self._end(DockerUnavailableError(str(error)))
            finally:
                self.client = None
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _follow(self, client: AsyncDocker, now: datetime) -> None:
        """Tell jobs of their ends, and measure them, until the connection is lost."""
        await self._list(client)
        tasks = [
            asyncio.create_task(work)
            for work in (self._read_events(client, now), self._list_on(client), self._measure(client), self._guard())
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_events(self, client: AsyncDocker, now: datetime) -> None:
        async for job_id in client.ends(now):
            self._end(None, {job_id})
        msg = f"The Docker host {self._engine.address} has closed the connection."
        raise DockerUnavailableError(msg)

    async def _list(self, client: AsyncDocker) -> None:
        self._is_unlisted.clear()
        known = {job.id for job in self._jobs}
        self._end(None, known - await client.running())

    async def _list_on(self, client: AsyncDocker) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_unlisted.wait(), _LIST_SECONDS)
            await self._list(client)

    async def _measure(self, client: AsyncDocker) -> None:
        while True:
            begun = time.monotonic()
            job = min((job for job in self._jobs if not job.has_ended), key=lambda job: job.due, default=None)
            if job is None or job.due > begun:
                await asyncio.sleep(min(_NOTHING_DUE_SECONDS, job.due - begun if job else _NOTHING_DUE_SECONDS))
                continue
            await job.measure(client)
            await asyncio.sleep(_REST * (time.monotonic() - begun))

    async def _guard(self) -> None:
        """Hold all jobs of the host to their scratch space, by one request for all of them."""
        took = 0.0
        while True:
            youngest = min((job.elapsed() for job in self._jobs), default=0.0)
            await asyncio.sleep(seconds_to_next(youngest, took))
            begun = time.monotonic()
            with contextlib.suppress(MlopsError):  # Whoever watches the host hears it, too.
                await asyncio.to_thread(self._engine.stop_overfull)
            took = time.monotonic() - begun

    def _end(self, error: DockerUnavailableError | None, job_ids: set[str] | None = None) -> None:
        for job in self._jobs:
            if job_ids is None or job.id in job_ids:
                job.end(error)
