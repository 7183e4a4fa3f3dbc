"""A gate on what the training used."""

from dataclasses import dataclass
from typing import ClassVar

from airflow_mlops.domain.evaluation import Evaluation
from airflow_mlops.domain.gates.base import FirstModel, Gate, GateVerdict
from airflow_mlops.exceptions import PolicyError

_MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class CostGate(Gate):
    """The most that the training job may have used, as its engine counted it."""

    kind: ClassVar[str] = "cost"

    max_cpu_seconds: float | None = None
    """User and system time of all its processes."""
    max_wall_seconds: float | None = None
    max_peak_memory_mb: float | None = None
    """In MiB, as the job's limits are."""

    def __post_init__(self) -> None:
        """Refuse a gate without a bar."""
        bars = [
            bar for bar in (self.max_cpu_seconds, self.max_wall_seconds, self.max_peak_memory_mb) if bar is not None
        ]
        if not bars or not all(bar > 0 for bar in bars):
            msg = "The cost gate needs max_cpu_seconds, max_wall_seconds or max_peak_memory_mb, above zero."
            raise PolicyError(msg)

    @property
    def name(self) -> str:
        """How the gate reads in a table."""
        bars = ((self.max_cpu_seconds, "CPU s"), (self.max_wall_seconds, "s"), (self.max_peak_memory_mb, "MiB"))
        return f"training ≤ {' and '.join(f'{bar:,g} {unit}' for bar, unit in bars if bar is not None)}"

    def judge(self, evaluation: Evaluation, first_model: FirstModel) -> GateVerdict:  # noqa: ARG002 - every gate's form
        """Compare what was counted with the bars; the bar itself passes."""
        if evaluation.facts is None:
            return self.refusal("The evaluation says nothing of the training. Evaluate with this release.")
        used = evaluation.facts.training
        memory = None if used.peak_memory_bytes is None else used.peak_memory_bytes / _MIB
        said, refused = [], False
        for what, value, most, unit in (
            ("CPU time", used.cpu_seconds, self.max_cpu_seconds, "s"),
            ("wall time", used.wall_seconds, self.max_wall_seconds, "s"),
            ("peak memory", memory, self.max_peak_memory_mb, "MiB"),
        ):
            if most is None:
                continue
            if value is None:
                said.append(f"The training's {what} was not counted.")
            elif value > most:
                said.append(f"The training's {what} was {value:,.1f} {unit}, but may be at most {most:,g} {unit}.")
            else:
                said.append(f"The training's {what} was {value:,.1f} {unit}.")
                continue
            refused = True
        return self.refusal(" ".join(said)) if refused else self.passing(" ".join(said))
