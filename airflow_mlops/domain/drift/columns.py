"""Which columns of two profiles are compared, and in sentences why others are not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from airflow_mlops.domain.drift.spec import DriftSpec
from airflow_mlops.domain.prediction_log import (
    LABEL,
    MODEL_NAME,
    MODEL_VERSION,
    PREDICTION,
    PROBABILITY,
    RESERVED_COLUMNS,
)
from airflow_mlops.domain.profile import Categories, ColumnProfile, DatasetProfile, ProfileKind

_KINDS: Final = {
    ProfileKind.NUMBER: "numbers",
    ProfileKind.CATEGORY: "texts or truth values",
    ProfileKind.TIME: "times",
    ProfileKind.OTHER: "lists, structs or bytes",
    ProfileKind.NOTHING: "nothing",
}
_COMPARED: Final = {ProfileKind.NUMBER, ProfileKind.CATEGORY, ProfileKind.NOTHING}
_MOSTLY_DIFFERENT: Final = 0.5
"""``infer_column_type`` in ``evidently/core/datasets.py``."""
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
    asked = spec.columns or read
    wanted = tuple(name for name in asked if name not in (spec.unstructured if spec.columns else apart))
    lost = [f"The {sides.current} has no column {name}." for name in (*prediction, *label) if name not in now]
    notes: list[str] = []
    chosen: list[str] = []
    shared = [name for name in before if name in now and name not in apart and name not in RESERVED_COLUMNS]
    for name in wanted if asked else shared:
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
    notes += _unshared(before, now, asked, sides, apart)
    return ChosenColumns(
        columns=tuple(chosen), prediction=prediction, label=label, lost=tuple(lost), notes=tuple(notes)
    )


def free_texts(
    reference: DatasetProfile, current: DatasetProfile, spec: DriftSpec, read: Sequence[str]
) -> tuple[str, ...]:
    """Return the columns that Evidently takes for texts by itself: more than half of the window's values differ.

    Their shares say nothing: of ids each is new. A method or a kind that the author gives is left as it is.
    """
    if spec.categories is not None:
        return ()
    found = (current.column(name) for name in choose(reference, current, spec, read).columns)
    return tuple(
        column.name
        for column in found
        if column is not None
        and column.kind is ProfileKind.CATEGORY
        and column.type != "bool"
        and (column.distinct() or 0) > column.count * _MOSTLY_DIFFERENT
        and (spec.rule(column.name).method, spec.rule(column.name).kind) == (None, None)
    )


def notes_on_free_texts(columns: Sequence[str]) -> tuple[str, ...]:
    """Say how such columns are compared, if there are any."""
    note = (
        f"{', '.join(columns)}: more than half of the texts differ, so that a classifier tells the sides apart, as in "
        "Evidently, and not their shares. Name ids in ignore, and categories in by_column with the kind category."
    )
    return (note,) if columns else ()


def without_mixed_predictions(
    current: DatasetProfile, spec: DriftSpec, model_name: str, version: str
) -> tuple[DriftSpec, tuple[str, ...]]:
    """Return the spec without predictions where another model or version gave some of the answers, and say so.

    Two models that answer side by side differ without any drift, as after a promotion or beside a canary.
    """
    names, _ = prediction_and_label(current, spec)
    others = max(_others(current, MODEL_NAME, model_name), _others(current, MODEL_VERSION, version))
    if not others or not names:
        return spec, ()
    note = (
        f"{others:,} of {current.rows:,} answers are not of version {version}, so that no {' or '.join(names)} is "
        f"compared. Take the window of that version alone, by PredictionWindowOperator's model_version."
    )
    return replace(spec, prediction=(), ignore=(*spec.ignore, *names)), (note,)


def _others(current: DatasetProfile, column: str, name: str) -> int:
    """Return how many rows of a log's column say something else."""
    found = current.column(column)
    counts = found.distribution if found else None
    return sum(rows for said, rows in counts.counts.items() if said != name) if isinstance(counts, Categories) else 0


def prediction_and_label(current: DatasetProfile, spec: DriftSpec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns of predictions and of labels: those that the author names, or those of a prediction log."""
    now = {column.name for column in current.columns}
    said = tuple(name for name in (PREDICTION, PROBABILITY) if name in now)
    truth = tuple(name for name in (LABEL,) if name in now)
    return said if spec.prediction is None else spec.prediction, truth if spec.label is None else spec.label


def _differ(one: ColumnProfile, other: ColumnProfile) -> bool:
    return one.kind is not other.kind and ProfileKind.NOTHING not in (one.kind, other.kind)


def _unshared(
    before: Iterable[str], now: Iterable[str], asked: Sequence[str], sides: Sides, apart: set[str]
) -> list[str]:
    """Return notes about columns that one side alone has, where nothing says whether they matter."""
    expected = {*asked, *apart, *RESERVED_COLUMNS}
    new = [name for name in now if name not in {*before} and name not in expected]
    gone = [] if asked else [name for name in before if name not in {*now} and name not in expected]
    return [
        f"Only the {side} has {', '.join(names[:_NAMED])}{', …' if len(names) > _NAMED else ''}."
        for side, names in ((sides.current, new), (sides.reference, gone))
        if names
    ]
