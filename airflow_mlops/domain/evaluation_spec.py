"""What an evaluation looks at besides the metrics. Each part has a small document of its own, and needs one to run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from airflow_mlops.domain.drift import DriftSpec
from airflow_mlops.domain.explanation import ExplanationSpec
from airflow_mlops.domain.fairness import FairnessSpec
from airflow_mlops.domain.serialization import Document
from airflow_mlops.domain.serving import ServingSpec
from airflow_mlops.domain.slices import SliceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSpec(Document):
    """What to analyse besides the metrics of the task."""

    slices: SliceSpec | None = field(default_factory=SliceSpec)
    """Which slices to look at: by default all columns are searched. ``None`` looks at none."""
    serving: ServingSpec | None = field(default_factory=ServingSpec)
    """How long to time each model; ``None`` measures neither times nor sizes."""
    explain: ExplanationSpec | None = field(default_factory=ExplanationSpec)
    """How thoroughly to explain each model; ``None`` explains nothing."""
    production: DriftSpec | None = None
    """Compare the candidate's training data with recent production data. ``{}`` takes the holdout for that."""
    as_of: datetime | None = None
    """The moment at which the age of the candidate is measured; ``None`` is when the Dag run was due."""
    sensitive: FairnessSpec | None = None
    """By which columns to measure fairness. ``None`` measures none: nobody but the author knows which are sensitive."""

    max_overlap: float = 0.01
    """Largest share of the holdout that may be in the candidate's training data, too, before it is refused."""

    @classmethod
    def read(cls, given: "EvaluationSpec | Mapping[str, Any] | None") -> Self:
        """Return what an author gave in any of the allowed forms, or the defaults.

        :raises InvalidInputError: naming the key that is unknown or of the wrong type.
        """
        if given is None:
            return cls()
        return given if isinstance(given, cls) else cls.from_dict(given)  # type: ignore[arg-type]  # a Mapping by now
