"""Gates on what serving a model costs: how long an answer takes, how many rows it scores, how large it is."""

import enum
from dataclasses import dataclass
from typing import ClassVar, Final

from airflow_mlops.domain.evaluation import Evaluation
from airflow_mlops.domain.gates.base import FirstModel, Gate, GateVerdict
from airflow_mlops.domain.serving import ModelServing, ServingFigures
from airflow_mlops.exceptions import PolicyError

_MIB: Final = 2**20
_ABSENT: Final = "The evaluation has no serving figures. Evaluate it again, with `serving` in its spec."


class LatencyFigure(enum.StrEnum):
    """What is compared with the bar."""

    P50 = "p50"
    P95 = "p95"
    P99 = "p99"
    COLD_START = "cold_start"


_FEWEST_CALLS: Final = {
    LatencyFigure.P50: 2,
    LatencyFigure.P95: 20,
    LatencyFigure.P99: 100,
    LatencyFigure.COLD_START: 0,
}
"""Below 1 / (1 - quantile) calls, a percentile is no more than the slowest of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyGate(Gate):
    """How long the candidate may take to score one row, or for its first row after a cold start."""

    kind: ClassVar[str] = "latency"

    figure: LatencyFigure = LatencyFigure.P95
    at_most_ms: float | None = None
    at_most_times_champion: float | None = None
    """Such as 1.5: half as long again as the champion, measured in the same evaluation."""

    def __post_init__(self) -> None:
        """Refuse a gate without a bar, or with one that nothing clears."""
        bars = [bar for bar in (self.at_most_ms, self.at_most_times_champion) if bar is not None]
        if not bars or not all(bar > 0 for bar in bars):
            msg = f"The latency gate on {self.figure} needs a bar: at_most_ms or at_most_times_champion, above zero."
            raise PolicyError(msg)
        if self.figure is LatencyFigure.COLD_START and self.at_most_times_champion is not None:
            msg = (
                "The latency gate compares the cold start with the champion's. Give at_most_ms: the candidate runs "
                "first, when the host has to read the image from disk, and the champion after it."
            )
            raise PolicyError(msg)

    @property
    def name(self) -> str:
        """How the gate reads in a table."""
        bars = [f"≤ {self.at_most_ms:g} ms"] if self.at_most_ms is not None else []
        bars += [f"≤ {self.at_most_times_champion:g} times champion"] if self.at_most_times_champion is not None else []
        return f"{_spoken(self.figure)} {' and '.join(bars)}"

    def judge(self, evaluation: Evaluation, first_model: FirstModel) -> GateVerdict:
        """Compare with the bars, which themselves pass; too few calls for a percentile are a refusal."""
        serving = evaluation.serving
        if serving is None:
            return self.refusal(_ABSENT)
        ours = self._measured("candidate", serving.candidate)
        if isinstance(ours, GateVerdict):
            return ours
        what = f"{_spoken(self.figure)} is {_ms(ours)}"
        if self.at_most_ms is not None and ours > self.at_most_ms:
            return self.refusal(f"{what}, but must be at most {self.at_most_ms:g} ms.")
        if self.at_most_times_champion is None:
            return self.passing(f"{what}, which clears the bar.")
        if evaluation.champion is None:
            return self.without_champion(first_model)
        return self._compare(what, ours, self.at_most_times_champion, serving)

    def _compare(self, what: str, ours: float, bar: float, serving: ServingFigures) -> GateVerdict:
        champion = serving.champion
        theirs = self._measured("champion", champion)
        if isinstance(theirs, GateVerdict):
            return theirs
        if champion and serving.candidate.place != champion.place:
            reason = f"The candidate ran as {serving.candidate.place} and the champion as {champion.place}"
            return self.refusal(f"{reason}, so their times cannot be compared.")
        seen = f"{what} against the champion's {_ms(theirs)}"
        if ours > bar * theirs:
            return self.refusal(f"{seen}, but may be at most {bar:g} times as long.")
        return self.passing(f"{seen}, which clears the bar.")

    def _measured(self, role: str, found: ModelServing | None) -> float | GateVerdict:
        """Return milliseconds, or the refusal where they are missing or say too little."""
        value = found.latency_ms(self.figure) if found else None
        if found is None or value is None:
            return self.refusal(_unmeasured(_spoken(self.figure), role, found))
        fewest = _FEWEST_CALLS[self.figure]
        if found.calls >= fewest:
            return value
        return self.refusal(
            f"The {self.figure} latency of the {role} comes from {found.calls} calls, and it takes {fewest} to say it. "
            f"Give the evaluation's spec more calls or seconds for `serving`."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughputGate(Gate):
    """How many rows a second the candidate must score in batches."""

    kind: ClassVar[str] = "throughput"

    at_least_rows_per_second: float

    @property
    def name(self) -> str:
        """How the gate reads in a table."""
        return f"throughput ≥ {self.at_least_rows_per_second:,g} rows/s"

    def judge(self, evaluation: Evaluation, first_model: FirstModel) -> GateVerdict:  # noqa: ARG002 - every gate's form
        """Compare with the bar, which itself passes."""
        if evaluation.serving is None:
            return self.refusal(_ABSENT)
        found = evaluation.serving.candidate
        if found.rows_per_second is None:
            return self.refusal(_unmeasured("throughput", "candidate", found))
        what = f"The candidate scored {found.rows:,} rows at {found.rows_per_second:,.0f} a second"
        if found.rows_per_second < self.at_least_rows_per_second:
            return self.refusal(f"{what}, but {self.at_least_rows_per_second:,g} a second are asked for.")
        return self.passing(f"{what}, which clears the bar.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSizeGate(Gate):
    """How large the candidate's model directory may be."""

    kind: ClassVar[str] = "model_size"

    at_most_mb: float
    """In MiB, as the limits of jobs are."""

    @property
    def name(self) -> str:
        """How the gate reads in a table."""
        return f"model size ≤ {self.at_most_mb:g} MiB"

    def judge(self, evaluation: Evaluation, first_model: FirstModel) -> GateVerdict:  # noqa: ARG002 - every gate's form
        """Compare with the bar, which itself passes."""
        if evaluation.serving is None:
            return self.refusal(_ABSENT)
        size = evaluation.serving.candidate.model_bytes / _MIB
        if size > self.at_most_mb:
            return self.refusal(f"The model is {size:,.2f} MiB, but must be at most {self.at_most_mb:g} MiB.")
        return self.passing(f"The model is {size:,.2f} MiB, which clears the bar.")


def _spoken(figure: LatencyFigure) -> str:
    return "cold start" if figure is LatencyFigure.COLD_START else f"{figure} latency"


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:,.0f} ms" if milliseconds >= 1000 else f"{milliseconds:.3g} ms"  # noqa: PLR2004 - digits


def _unmeasured(what: str, role: str, found: ModelServing | None) -> str:
    return f"The {what} of the {role} was not measured. {' '.join(found.notes) if found else ''}".rstrip()
