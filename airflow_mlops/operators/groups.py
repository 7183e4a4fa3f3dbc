"""Which group each row of a holdout belongs to, by the columns that slices and fairness look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow_mlops.domain.dataset import ColumnKind
from airflow_mlops.domain.evaluation import LearningTask
from airflow_mlops.domain.slices import MISSING, Slices, SliceSpec
from airflow_mlops.exceptions import EvaluationError, TooManyGroupsError

if TYPE_CHECKING:
    from airflow_mlops.engines.numpy import Groups
    from airflow_mlops.operators.scoring import ScoredHoldout

IDENTIFIER_VALUES: Final = 10_000
"""A text column that nobody named and that has more different values is taken for an identifier."""
_ROWS_A_VALUE: Final = 10
"""So is one with more values than have slices of their own, when they stand for fewer rows than this on average."""


def measure_slices(
    scored: ScoredHoldout, spec: SliceSpec | None, target: str, task: LearningTask, confidence_level: float
) -> Slices | None:
    """Search the holdout for slices in which the candidate is worse; ``None`` when ``spec`` is."""
    from airflow_mlops.engines.numpy import find_slices

    if spec is None:
        return None
    columns, notes = slice_groups(scored.files, target, spec)
    return find_slices(
        spec=spec,
        task=task,
        truth=scored.truth,
        candidate=scored.candidate.predictions,
        champion=scored.champion.predictions if scored.champion else None,
        columns=columns,
        notes=notes,
        confidence_level=confidence_level,
    )


def slice_groups(files: Sequence[Path], target: str, spec: SliceSpec) -> tuple[list[Groups], list[str]]:
    """Return the groups of each column to search, and notes on those that were left out.

    :raises EvaluationError: when a column that ``spec`` names is not there or cannot be grouped.
    """
    from airflow_mlops.engines.pyarrow import column_kinds

    kinds = column_kinds(files[0]) if files else {}
    require_columns(spec.named, kinds, "The slices")
    skipped = {target, *spec.exclude} - set(spec.named)
    found: list[Groups] = []
    notes: list[str] = []
    for column, kind in kinds.items():
        named = column in spec.named
        if not named and (spec.search is not None or column in skipped or kind in {ColumnKind.TIME, ColumnKind.NESTED}):
            continue
        try:
            groups = group_rows(files, column, kind, bins=spec.bins, keep=spec.max_values, named=named)
        except TooManyGroupsError as error:
            notes.append(f"{column} is left out as an identifier. {error} Name it to search its most frequent values.")
        else:
            found.append(groups)
    return found, notes


def require_columns(named: Sequence[str], present: Iterable[str], what: str) -> None:
    """Refuse columns that the holdout does not have.

    :raises EvaluationError: naming the first, and those that are there.
    """
    for column in named:
        if column not in present:
            msg = f"{what} are to be by {column!r}, but the holdout has no such column. It has {', '.join(present)}."
            raise EvaluationError(msg)


def group_rows(files: Sequence[Path], column: str, kind: ColumnKind, *, bins: int, keep: int, named: bool) -> Groups:
    """Return the groups of one column: numbers in ``bins``, else the ``keep`` most frequent values and the others.

    :param named: whether the author asked for this column. Else one that identifies rows is none to group by.
    :raises TooManyGroupsError: for such a column.
    """
    from airflow_mlops.engines.numpy import bin_numbers, is_identifier, pool
    from airflow_mlops.engines.pyarrow import read_groups, read_numbers

    if kind is ColumnKind.NUMBER:
        values = read_numbers(files, column)
        if not named and is_identifier(values):
            msg = f"The column {column!r} has a whole number of its own for each row."
            raise TooManyGroupsError(msg)
        return bin_numbers(column, values, bins, MISSING)
    codes, labels = read_groups(files, column, None if named else IDENTIFIER_VALUES)
    if not named and len(labels) > keep and len(codes) < _ROWS_A_VALUE * len(labels):
        msg = f"The column {column!r} has {len(labels):,} different values in {len(codes):,} rows."
        raise TooManyGroupsError(msg)
    return pool(column, codes, labels, keep)
