"""The numbers that a job leaves: its metrics, those of each step, and other figures."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from airflow_mlops.domain.job import METRIC_STEPS, METRICS
from airflow_mlops.exceptions import JobOutputError


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricStep:
    """One metric at one step of the training."""

    name: str
    value: float
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMetrics:
    """What a job measured, or why it cannot be read."""

    final: Mapping[str, float] = field(default_factory=dict)
    steps: Sequence[MetricStep] = ()
    problem: JobOutputError | None = None

    @classmethod
    def read(cls, output: Path) -> Self:
        """Read all metrics of a collected job."""
        try:
            return cls(final=read_metrics(output), steps=read_metric_steps(output))
        except JobOutputError as error:
            return cls(problem=error)


def read_metrics(output: Path) -> dict[str, float]:
    """Read ``metrics.json`` of a collected job; no file means no metrics.

    :raises JobOutputError: when it is not a flat object of finite numbers.
    """
    file = output / METRICS
    if not file.exists():
        return {}
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        msg = f"The job left a {METRICS} that is not JSON: {error}"
        raise JobOutputError(msg) from error
    if not isinstance(content, dict):
        msg = f"The job's {METRICS} must be an object of names and numbers, but is {content!r:.200}"
        raise JobOutputError(msg)
    return {str(name): _finite(name, value, METRICS) for name, value in content.items()}


def read_figures(output: Path, name: str) -> dict[str, Any] | None:
    """Read a JSON object that a collected job left, such as :data:`SERVING`; ``None`` when it left none.

    :raises JobOutputError: when it is no JSON object, or a number in it is not finite.
    """

    def finite(text: str) -> float:
        number = float(text)
        if not math.isfinite(number):
            msg = f"{text} is no finite number"
            raise ValueError(msg)
        return number

    file = output / name
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(), parse_constant=finite, parse_float=finite)
    except ValueError as error:
        msg = f"The job left a {name} that is not JSON: {error}"
        raise JobOutputError(msg) from error
    if not isinstance(content, dict):
        msg = f"The job's {name} must be an object of names and figures, but is {content!r:.200}"
        raise JobOutputError(msg)
    return content


def read_metric_steps(output: Path) -> list[MetricStep]:
    """Read ``metrics.jsonl`` of a collected job; no file means no steps.

    :raises JobOutputError: when a line is not an object with an integer ``step`` and finite numbers.
    """
    file = output / METRIC_STEPS
    if not file.exists():
        return []
    with file.open() as lines:
        return list(parse_metric_steps(lines))


def parse_metric_steps(lines: Iterable[str]) -> Iterable[MetricStep]:
    """Parse lines such as ``{"step": 3, "train_loss": 0.41}``; a line's ``time`` key is ignored."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"line {number} of {METRIC_STEPS}"
        try:
            content = json.loads(line)
        except ValueError as error:
            msg = f"The job left a {place} that is not JSON: {error}"
            raise JobOutputError(msg) from error
        if not isinstance(content, dict) or not isinstance(content.get("step"), int):
            msg = f'The job\'s {place} must be an object with an integer "step", but is {line.strip()[:200]}'
            raise JobOutputError(msg)
        for name, value in content.items():
            if name not in {"step", "time"}:
                yield MetricStep(name=name, value=_finite(name, value, place), step=content["step"])


def _finite(name: str, value: object, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        msg = f"The job reported {name} = {value!r} in {place}, but a metric must be a finite number."
        raise JobOutputError(msg)
    return float(value)
