"""Which columns of two profiles are compared, and in sentences why others are not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from airflow_mlops.domain.drift.spec import DriftSpec
from airflow_mlops.domain.prediction_log import LABEL, PREDICTION, PROBABILITY, RESERVED_COLUMNS
from airflow_mlops.domain.profile import ColumnProfile, DatasetProfile, ProfileKind

_KINDS: Final = {
    ProfileKind.NUMBER: "numbers",
    ProfileKind.CATEGORY: "texts or truth values",
    ProfileKind.TIME: "times",
    ProfileKind.OTHER: "lists, structs or bytes",
    ProfileKind.NOTHING: "nothing",
}
_COMPARED: Final = {ProfileKind.NUMBER, ProfileKind.CATEGORY, ProfileKind.NOTHING}
_NAMED: Final = 10
"""New columns that a note names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """How the two sides are called in sentences."""

    reference: str = "reference"
    current: str = "window"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenColumns:
    """What is compared."""

    columns: tuple[str, ...]
    prediction: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    """Sentences about columns that should be comparable and are not."""
    notes: tuple[str, ...] = ()


def choose(
    reference: DatasetProfile,
    current: DatasetProfile,
    spec: DriftSpec,
    read: Sequence[str],
    sides: Sides = Sides(),
) -> ChosenColumns:
    """Return which features are compared: those that the author names, or the model reads, or both sides have.

    Predictions and labels are none of them. Times always move on, and so do ids: neither is compared unless named.

    :param read: names of the model's inputs; empty where nobody knows them.
    """
    before = {column.name: column for column in reference.columns}
    now = {column.name: column for column in current.columns}
    prediction, label = prediction_and_label(current, spec)
    apart = {*spec.ignore, *spec.unstructured, *prediction, *label}
    named = tuple(name for name in spec.columns if name not in spec.unstructured)
    wanted = named or tuple(name for name in read if name not in apart)
    lost = [f"The {sides.current} has no column {name}." for name in (*prediction, *label) if name not in now]
    notes: list[str] = []
    chosen: list[str] = []
    for name in wanted or [
        name for name in before if name in now and name not in apart and name not in RESERVED_COLUMNS
    ]:
        one, other = before.get(name), now.get(name)
        if one is None:
            lost.append(f"The {sides.reference} has no column {name}.")
        elif other is None:
            lost.append(f"The {sides.current} has no column {name}.")
        elif _differ(one, other):
            lost.append(
                f"{name} holds {_KINDS[one.kind]} in the {sides.reference} ({one.type}), but {_KINDS[other.kind]} in "
                f"the {sides.current} ({other.type})."
            )
        elif one.kind in _COMPARED and other.kind in _COMPARED:
            chosen.append(name)
        elif name in spec.columns:
            notes.append(f"{name} holds {_KINDS[one.kind]}, which are not compared.")
    notes += _unshared(before, now, wanted, sides, apart)
    return ChosenColumns(
        columns=tuple(chosen), prediction=prediction, label=label, lost=tuple(lost), notes=tuple(notes)
    )


def prediction_and_label(current: DatasetProfile, spec: DriftSpec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns of predictions and of labels: those that the author names, or those of a prediction log."""
    now = {column.name for column in current.columns}
    said = tuple(name for name in (PREDICTION, PROBABILITY) if name in now)
    truth = tuple(name for name in (LABEL,) if name in now)
    return said if spec.prediction is None else spec.prediction, truth if spec.label is None else spec.label


def _differ(one: ColumnProfile, other: ColumnProfile) -> bool:
    return one.kind is not other.kind and ProfileKind.NOTHING not in (one.kind, other.kind)


def _unshared(
    before: Iterable[str], now: Iterable[str], wanted: Sequence[str], sides: Sides, apart: set[str]
) -> list[str]:
    """Return notes about columns that one side alone has, where nothing says whether they matter."""
    expected = {*wanted, *apart, *RESERVED_COLUMNS}
    new = [name for name in now if name not in {*before} and name not in expected]
    gone = [] if wanted else [name for name in before if name not in {*now} and name not in expected]
    return [
        f"Only the {side} has {', '.join(names[:_NAMED])}{', …' if len(names) > _NAMED else ''}."
        for side, names in ((sides.current, new), (sides.reference, gone))
        if names
    ]
