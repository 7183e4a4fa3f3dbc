"""How fast a model answered where it ran, what it needed there, and how large it is.

The figures are measured, so two evaluations of the same model differ, and with them the digest of their evidence.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from airflow_mlops.domain.job import SERVING
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import InvalidInputError, JobOutputError


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSpec(Document):
    """How long to time a model after it has scored the holdout: until either is reached."""

    calls: int = 200
    """Single rows that are timed at most. A percentile needs enough of them: p99 at least 100."""
    seconds: float = 5.0
    """Wall time that they may take at most."""

    def __post_init__(self) -> None:
        """Refuse a measurement without an end or without a beginning."""
        if self.calls < 1 or not (math.isfinite(self.seconds) and self.seconds > 0):
            msg = (
                f"ServingSpec has {self.calls} calls in {self.seconds} seconds. Give one or more, and a time above "
                f"zero; to measure nothing, give `serving: null`."
            )
            raise InvalidInputError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelServing(Document):
    """The figures of one model. What could not be measured is ``None``, and the notes say why."""

    model_bytes: int
    """Size of the MLflow model directory."""
    place: str
    """``docker`` or ``process``: what it was scored in."""
    cold_start_seconds: float | None = None
    """From the start of the process to the first prediction: interpreter, libraries, loading the model, one row."""
    calls: int = 0
    """Single rows behind the percentiles, one after the other, after the model was warm."""
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    rows: int = 0
    """Rows behind the throughput: the holdout."""
    rows_per_second: float | None = None
    """In batches: reading the rows, scoring them and writing the answers."""
    peak_memory_bytes: int | None = None
    """Most memory that was resident until the holdout was scored, libraries included."""
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, content: Mapping[str, Any] | None, *, model_bytes: int, place: str) -> Self:
        """Read what the scoring job left in ``serving.json``; ``None`` when it left none, which is no error.

        :raises JobOutputError: when a key is unknown, or a value of the wrong type.
        """
        known = {"model_bytes": model_bytes, "place": place}
        if content is None:
            note = f"The program that scored it left no {SERVING}, so nothing but its size was measured."
            return cls(model_bytes=model_bytes, place=place, notes=(note,))
        try:
            return cls.from_dict({**content, **known})
        except InvalidInputError as error:
            msg = f"The job's {SERVING} cannot be read: {error}"
            raise JobOutputError(msg) from error

    def latency_ms(self, figure: str) -> float | None:
        """Return one of ``p50``, ``p95``, ``p99`` and ``cold_start`` in milliseconds."""
        if figure == "cold_start":
            return None if self.cold_start_seconds is None else 1000 * self.cold_start_seconds
        found: dict[str, float | None] = {"p50": self.p50_ms, "p95": self.p95_ms, "p99": self.p99_ms}
        return found[figure]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingFigures(Document):
    """Both models within the same limits, one after the other; they compare with each other, and with nothing else."""

    candidate: ModelServing
    champion: ModelServing | None = None
    cpus: float
    """CPUs that each job might use."""
    memory_mb: int
    """Memory limit of each job in MiB."""
