"""What an author says of drift: which columns, by which method, from which value on, and what else may not change."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.drift.method import CATEGORY_METHODS, NUMBER_METHODS, SEPARATIONS, DriftMethod
from airflow_mlops.domain.drift.text import TextColumn
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import InvalidInputError


class Correction(enum.StrEnum):
    """What is done about many tests at once, of which some find something by chance."""

    NONE = "none"
    BENJAMINI_HOCHBERG = "benjamini-hochberg"
    """Of the columns that are said to have drifted, at most the share ``significance`` are false alarms."""


class ValueKind(enum.StrEnum):
    """How the values of a column are taken."""

    NUMBER = "number"
    CATEGORY = "category"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnRule(Document):
    """What is different for one column. What is ``None`` is as the spec says for all."""

    method: DriftMethod | None = None
    threshold: float | None = None
    """Drift from this distance on, or up to this p-value."""
    kind: ValueKind | None = None
    """Such as ``category`` for a number that is a code. By itself, integers of at most 10 values are categories."""

    def __post_init__(self) -> None:
        """Refuse what would call equal data drifted."""
        if self.threshold is not None and not self.threshold > 0:
            msg = f"ColumnRule.threshold is {self.threshold}, but must be above zero: equal data would have drifted."
            raise InvalidInputError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSpec(Document):
    """How current data is compared with the reference. The defaults decide as Evidently's preset does."""

    snapshot: Snapshot | None = None
    """In an evaluation: recent production data; ``None`` is the holdout. The drift check has it as ``current``."""
    columns: tuple[str, ...] = ()
    """Which to compare; none named are those of the model's signature, or else all that both sides have."""
    ignore: tuple[str, ...] = ()
    """Columns to leave out, such as ids."""
    stable: tuple[str, ...] = ()
    """Columns that must not drift at all, whatever the share of others."""
    prediction: tuple[str, ...] | None = None
    """Columns of what the model said. They are judged apart from the features, and must not drift. ``None`` are
    ``prediction`` and ``probability`` of a prediction log, if the window has them."""
    label: tuple[str, ...] | None = None
    """Columns of the truth. They are judged apart from the features, and must not drift. ``None`` is ``label``, if the
    window has it."""

    text: tuple[TextColumn | str, ...] = ()
    """Columns of texts that people or models write. Their descriptors, such as the number of words, are compared like
    numbers, and what they are about by a classifier. A column of which more than half of the values differ is taken for
    one by itself, without descriptors."""
    embeddings: tuple[str, ...] = ()
    """Columns of lists of numbers. They are compared by a classifier, or by ``mmd`` where ``by_column`` says so."""

    numbers: DriftMethod | None = None
    """Method for numbers; ``None`` chooses by the number of rows and of distinct values, as Evidently does."""
    categories: DriftMethod | None = None
    """Method for texts, truth values and codes; ``None`` chooses."""
    threshold: float = 0.1
    """A column has drifted from this distance on. 0.1 is Evidently's default for all of its distances."""
    significance: float = 0.05
    """A column has drifted up to this p-value, which is Evidently's default for its tests."""
    by_column: Mapping[str, ColumnRule] = field(default_factory=dict)
    """What is different for one column, by its name."""
    correction: Correction = Correction.NONE
    """Of the p-values, when there are many columns."""
    min_effect: float | None = None
    """Where a test says drift, this effect is asked for as well (see :attr:`ColumnDrift.effect`): of many rows, a
    test finds differences that do not matter."""

    drift_share: float = 0.5
    """The window is violated from this share of drifted features on. 0.5 is Evidently's default."""
    missing_change: float | None = 0.1
    """The share of missing values may change by less than this in each column; ``None`` does not judge it."""
    new_category_share: float | None = 0.05
    """Less than this share of the rows may hold a category that the reference does not know."""
    outside_share: float | None = 0.05
    """Less than this share of the rows may hold a number below or above all of the reference."""
    least_volume: float | None = 0.5
    """At least this many times the expected rows must have come."""
    most_volume: float | None = 2.0
    """At most this many times the expected rows may have come."""
    min_rows: int = 500
    """Of fewer rows nothing is said: chance alone moves 7 in 10 columns of 100 normal numbers by a Wasserstein distance
    of 0.1 from a large reference, 1 in 10 columns of 300 and 1 in 25 of 500 (docs/drift-power.md)."""
    sample_rows: int = 10_000
    """Rows of each side that Evidently's own report is made of, the same ones in every run."""

    def __post_init__(self) -> None:
        """Refuse what would call equal data drifted, or nothing."""
        above_zero = {name: getattr(self, name) for name in ("threshold", "significance", "drift_share")}
        for name, value in above_zero.items():
            if not value > 0:
                msg = f"DriftSpec.{name} is {value}, but must be above zero: equal data would have drifted."
                raise InvalidInputError(msg)
        for name in ("sample_rows", "min_rows"):
            if (rows := getattr(self, name)) < 1:
                msg = f"DriftSpec.{name} is {rows}, but must be at least 1."
                raise InvalidInputError(msg)
        for name, allowed in (("numbers", NUMBER_METHODS), ("categories", CATEGORY_METHODS)):
            if (method := getattr(self, name)) is not None and method not in allowed:
                known = ", ".join(sorted(item.value for item in allowed))
                msg = f"DriftSpec.{name} is {method.value}, which does not compare {name}. Take one of {known}."
                raise InvalidInputError(msg)

    @classmethod
    def read(cls, given: "DriftSpec | Mapping[str, Any] | None") -> Self:
        """Return what an author gave in any of the allowed forms, or the defaults.

        :raises InvalidInputError: naming the key that is unknown or of the wrong type.
        """
        if given is None:
            return cls()
        return given if isinstance(given, cls) else cls.from_dict(given)  # type: ignore[arg-type]  # a Mapping by now

    def rule(self, column: str) -> ColumnRule:
        """Return what the author says of one column."""
        return self.by_column.get(column, ColumnRule())

    def method(self, column: str, automatic: DriftMethod, *, is_number: bool) -> DriftMethod:
        """Return the method for a column.

        :param automatic: what is taken where the author says nothing.
        """
        of_kind = self.numbers if is_number else self.categories
        return self.rule(column).method or of_kind or automatic

    def threshold_of(self, column: str, method: DriftMethod) -> float:
        """Return from which value on a column has drifted."""
        own = self.rule(column).threshold
        if own is not None:
            return own
        return SEPARATIONS.get(method, self.significance if method.is_p_value else self.threshold)

    def with_texts(self, columns: Sequence[str]) -> Self:
        """Return the spec with more columns of texts, of which the form is not watched."""
        return replace(self, text=(*self.text, *(TextColumn(column=name, described=False) for name in columns)))

    @property
    def texts(self) -> tuple[TextColumn, ...]:
        """What is said of each column of texts, where only its name may be."""
        return tuple(TextColumn(column=item) if isinstance(item, str) else item for item in self.text)

    @property
    def unstructured(self) -> tuple[str, ...]:
        """The columns of texts and embeddings, which are not compared value by value."""
        return (*(item.column for item in self.texts), *self.embeddings)
