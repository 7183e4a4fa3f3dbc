"""Write the prediction log from a serving process: a few lines around the model, and nothing that can break an answer.

It needs PyArrow and the standard library only (and fsspec for a log in an object store); no Airflow is imported. Rows
are gathered in memory and written by a thread of their own as small Parquet files, each whole or not at all::

    log = PredictionLog(
        "/var/lib/churn/predictions", model_name="churn", model_version="7",
        features={"age": int, "plan": str}, prediction=int, has_probability=True,
    )
    prediction_id = log.write({"age": 33, "plan": "basic"}, prediction=1, probability=0.83)
    log.close()

What is wrong with a row, or with the place that is written to, is logged and counted, and never raised.
"""

import atexit
import contextlib
import io
import logging
import os
import threading
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from airflow_mlops.domain.prediction_log import (
    MODEL_NAME,
    MODEL_VERSION,
    PREDICTED_AT,
    PREDICTION_ID,
    PredictionSchema,
    Value,
    ValueType,
    log_folder,
)
from airflow_mlops.exceptions import InvalidInputError

if TYPE_CHECKING:
    import pyarrow as pa

_CLOSE_SECONDS = 10.0
_SILENCE_SECONDS = 60.0
"""A trouble that goes on is told once in that time."""
_log = logging.getLogger(__name__)

Row = dict[str, Value | None]


class PredictionLog:
    """A prediction log that one model version of this process writes to, from any number of threads.

    :param folder: an absolute path, or an address that fsspec knows, such as ``s3://bucket/churn``.
    :param model_name: the registered model.
    :param model_version: the version that answers.
    :param features: the type of each feature: ``float``, ``int``, ``str``, ``bool`` or ``datetime``.
    :param prediction: the type of what the model says.
    :param has_probability: whether it gives the probability of the positive class.
    :param flush_rows: a file is written when that many rows wait.
    :param flush_seconds: and at the latest after that time. So much is lost when the process is killed.
    :param max_rows: of rows that wait while the place cannot be written to; beyond it the oldest are dropped.
    :param storage_options: of fsspec, for object stores.
    :raises InvalidInputError: when a parameter makes no sense. Nothing is raised later.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        model_name: str,
        model_version: str,
        features: Mapping[str, type | str],
        prediction: type | str = float,
        has_probability: bool = False,
        flush_rows: int = 10_000,
        flush_seconds: float = 60.0,
        max_rows: int = 1_000_000,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        if not 1 <= flush_rows <= max_rows or flush_seconds <= 0:
            msg = f"flush_rows {flush_rows} must be from 1 to max_rows {max_rows}, and flush_seconds above 0."
            raise InvalidInputError(msg)
        self.schema = PredictionSchema(
            features={name: ValueType.of(kind) for name, kind in features.items()},
            prediction=ValueType.of(prediction),
            has_probability=has_probability,
        )
        self._fixed: Row = {MODEL_NAME: str(model_name), MODEL_VERSION: str(model_version)}
        self._place = _place(str(folder), dict(storage_options or {}))
        self._arrow = _arrow_schema(self.schema)
        _parquet([], self._arrow)  # What it imports cannot be imported any more when the interpreter ends.
        self._flush_rows, self._flush_seconds, self._max_rows = flush_rows, flush_seconds, max_rows
        self._begin()
        _open_logs.add(self)

    def _begin(self) -> None:
        """Start from an empty buffer; the thread comes with the first row."""
        self.written = 0
        """Rows that are in files."""
        self.refused = 0
        """Rows that were not as the log's schema has them."""
        self.dropped = 0
        """Rows that were good and are lost, since the log could not be written for too long, or was closed."""
        self._told: dict[str, float] = {}
        self._rows: deque[Row] = deque()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._due = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    def write(
        self,
        features: Mapping[str, object],
        *,
        prediction: object,
        probability: object = None,
        prediction_id: str | int | uuid.UUID | None = None,
        predicted_at: datetime | None = None,
    ) -> str:
        """Take down one answer, and return its id, by which its label will find it. Does no I/O and never raises.

        :param features: a value for each; ``None`` where it is not known.
        :param prediction_id: unique over all versions and time, such as the request's id; made when it is not given.
        :param predicted_at: now, when it is not given. A time without a zone is UTC.
        """
        given = uuid.uuid4().hex if prediction_id is None else str(prediction_id)
        try:
            moment = ValueType.TIME.read(predicted_at or datetime.now(UTC))
            row: Row = {PREDICTION_ID: given, PREDICTED_AT: moment, **self._fixed}
            row |= self.schema.read_features(features)
            row |= self.schema.read_answer(prediction, probability)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the row, the answer goes out
            self.refused += 1
            self._tell("A prediction was not logged: %s", error)
            return given
        try:
            self._add(row)
        except Exception as error:  # noqa: BLE001 - such as no thread to be had
            self._tell("The prediction log cannot be written: %s", error)
        return given

    def flush(self) -> bool:
        """Write what waits, now and in this thread, and return whether nothing is left. Never raises."""
        with self._writing:
            with self._lock:
                rows, self._rows = self._rows, deque()
                self._due.clear()
            left = self._write_files(list(rows))
            with self._lock:
                self._rows.extendleft(reversed(left))
                self._drop_oldest()
            return not left

    def close(self) -> None:
        """Write what waits and end. Called by itself when the interpreter ends; later rows are dropped."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._due.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSE_SECONDS)
        self.flush()
        with self._lock:
            self.dropped += len(self._rows)
            self._rows.clear()
        _open_logs.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _add(self, row: Row) -> None:
        with self._lock:
            if self._closed:
                self.dropped += 1
                self._tell("A prediction was not logged: %s", "the log is closed")
                return
            self._rows.append(row)
            self._drop_oldest()
            is_due = len(self._rows) >= self._flush_rows
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
                self._thread.start()
        if is_due:
            self._due.set()

    def _run(self) -> None:
        while not self._closed:
            self._due.wait(self._flush_seconds)
            self.flush()

    def _drop_oldest(self) -> None:
        while len(self._rows) > self._max_rows:
            self._rows.popleft()
            self.dropped += 1

    def _write_files(self, rows: list[Row]) -> list[Row]:
        """Write a file for each day, and return the rows that could not be written."""
        days: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            moment, version = row[PREDICTED_AT], row[MODEL_VERSION]
            assert isinstance(moment, datetime)  # noqa: S101 - write has read it
            days[log_folder(str(version), moment)].append(row)
        left: list[Row] = []
        for folder, of_day in days.items():
            good, data = self._encode(of_day)
            try:
                if good:
                    self._place.put(f"{folder}/part-{datetime.now(UTC):%H%M%S%f}-{uuid.uuid4().hex}.parquet", data)
            except Exception as error:  # noqa: BLE001 - whatever it is, the rows wait for a better moment
                self._tell("The prediction log cannot be written, so rows wait: %s", error)
                left += good
            else:
                self.written += len(good)
        return left

    def _encode(self, rows: list[Row]) -> tuple[list[Row], bytes]:
        """Return the content of a file, and the rows that are in it: those that Parquet can hold."""
        try:
            return rows, _parquet(rows, self._arrow)
        except Exception as error:  # noqa: BLE001 - such as a text that is no Unicode
            if len(rows) == 1:
                self.refused += 1
                self._tell("A prediction was not logged: %s", error)
                return [], b""
        good = [row for row in rows if self._encode([row])[0]]
        return good, _parquet(good, self._arrow)

    def _tell(self, message: str, error: object) -> None:
        now = time.monotonic()
        if now - self._told.get(message, -_SILENCE_SECONDS) >= _SILENCE_SECONDS:
            self._told[message] = now
            _log.warning(message + " (%d written, %d refused, %d dropped)", error, *self._counts())

    def _counts(self) -> tuple[int, int, int]:
        return self.written, self.refused, self.dropped


_open_logs: set[PredictionLog] = set()


def _close_all() -> None:
    for log in list(_open_logs):
        with contextlib.suppress(Exception):
            log.close()


def _begin_all() -> None:
    """Give a forked process empty logs: the rows that wait are its parent's, and threads are not inherited."""
    for log in list(_open_logs):
        log._begin()  # noqa: SLF001 - this is its own module


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_all)


def _arrow_schema(schema: PredictionSchema) -> "pa.Schema":
    import pyarrow as pa

    types = {
        ValueType.NUMBER: pa.float64(),
        ValueType.INTEGER: pa.int64(),
        ValueType.TEXT: pa.string(),
        ValueType.FLAG: pa.bool_(),
        ValueType.TIME: pa.timestamp("us", tz="UTC"),
    }
    return pa.schema([(name, types[kind]) for name, kind in schema.columns.items()])


def _parquet(rows: list[Row], schema: "pa.Schema") -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    table = pa.table({name: [row[name] for row in rows] for name in schema.names}, schema=schema)
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


class _Disk:
    """A folder of this machine. A file gets its name when it is whole, so a crash leaves a hidden file at most."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, name: str, data: bytes) -> None:
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        hidden = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with hidden.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            hidden.rename(target)
        except BaseException:
            with contextlib.suppress(OSError):
                hidden.unlink(missing_ok=True)
            raise


class _ObjectStore:
    """An object store, which puts whole objects."""

    def __init__(self, address: str, options: dict[str, Any]) -> None:
        import fsspec

        self.filesystem, self.path = fsspec.core.url_to_fs(address, **options)

    def put(self, name: str, data: bytes) -> None:
        self.filesystem.pipe_file(f"{self.path.rstrip('/')}/{name}", data)


def _place(address: str, options: dict[str, Any]) -> "_Disk | _ObjectStore":
    if "://" in address and not address.startswith("file://"):
        return _ObjectStore(address, options)
    folder = Path(address.removeprefix("file://"))
    if not folder.is_absolute():
        msg = f"The folder {address!r} is relative. Give an absolute path, or an address such as s3://bucket/churn."
        raise InvalidInputError(msg)
    return _Disk(folder)
