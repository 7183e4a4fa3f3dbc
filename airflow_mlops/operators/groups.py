"""Which group each row of a holdout belongs to, by the columns that slices and fairness look at."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow_mlops.domain.dataset import ColumnKind
from airflow_mlops.domain.evaluation import LearningTask
from airflow_mlops.domain.facts import Facts
from airflow_mlops.domain.fairness import Fairness, FairnessColumn, FairnessSpec
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
    scored: ScoredHoldout,
    spec: SliceSpec | None,
    facts: Facts,
    *,
    target: str,
    task: LearningTask,
    confidence_level: float,
) -> Slices | None:
    """Search the holdout for slices in which the candidate is worse; ``None`` when ``spec`` is.

    :param facts: what the models read. A column that came to be after the outcome, such as the minutes of a delay,
        would show slices in which any other model must be worse.
    :raises EvaluationError: when a column that ``spec`` names is not there or cannot be grouped.
    """
    from airflow_mlops.engines.numpy import find_slices

    if spec is None:
        return None
    signatures = [item for item in (facts.signature, facts.champion_signature) if item]
    inputs = {column.name for item in signatures for column in item.inputs if column.name}
    columns, notes = slice_groups(scored.files, target, spec, inputs)
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


def measure_fairness(scored: ScoredHoldout, spec: FairnessSpec | None, task: LearningTask) -> Fairness | None:
    """Measure the rates of the groups of each sensitive column; ``None`` when ``spec`` is.

    :raises EvaluationError: when the holdout has no such column.
    """
    if spec is None:
        return None
    columns = tuple(_fairness_by(column, scored, spec, task) for column in spec.columns)
    return Fairness(min_rows=spec.min_rows, columns=columns)


def _fairness_by(column: str, scored: ScoredHoldout, spec: FairnessSpec, task: LearningTask) -> FairnessColumn:
    from airflow_mlops.engines.numpy import rates_by_group
    from airflow_mlops.engines.pyarrow import column_kinds

    kinds = column_kinds(scored.files[0])
    require_columns([column], kinds, "Fairness is")
    groups = group_rows(scored.files, column, kinds[column], bins=spec.bins, keep=None, named=True)
    if len(groups.labels) > spec.max_groups:
        reason = (
            f"{column} has {len(groups.labels):,} values, more than max_groups ({spec.max_groups:,}), so fairness is "
            f"not measured by it: they are no groups of people. Put them into groups in the dataset."
        )
        return FairnessColumn.of(column, (), spec.min_rows, (reason,))
    champion = scored.champion.predictions if scored.champion else None
    found = rates_by_group(task, scored.truth, scored.candidate.predictions, champion, groups)
    notes = [groups.note] if groups.note else []
    notes += [
        f"{group.rows:,} rows have no value of {column}: they are the group {MISSING}."
        for group in found
        if group.value == MISSING
    ]
    if task is LearningTask.MULTICLASS:
        notes.append("Demographic parity and equalized odds are defined for two labels: of more there is accuracy.")
    return FairnessColumn.of(column, found, spec.min_rows, tuple(notes))


def slice_groups(
    files: Sequence[Path], target: str, spec: SliceSpec, inputs: Collection[str] = ()
) -> tuple[list[Groups], list[str]]:
    """Return the groups of each column to search, and notes on those that were left out.

    :param inputs: the columns that the models read; none are those of models that do not say.
    :raises EvaluationError: when a column that ``spec`` names is not there or cannot be grouped.
    """
    from airflow_mlops.engines.pyarrow import column_kinds

    kinds = column_kinds(files[0]) if files else {}
    require_columns(spec.named, kinds, "Slices are")
    fitting = [column for column, kind in kinds.items() if kind in {ColumnKind.NUMBER, ColumnKind.VALUE}]
    chosen = {column for column in fitting if not inputs or column in inputs} if spec.search is None else set()
    chosen = (chosen - {target, *spec.exclude}) | set(spec.named)
    found: list[Groups] = []
    notes: list[str] = []
    unread = [column for column in fitting if column not in {*chosen, *inputs, target, *spec.exclude}]
    if spec.search is None and unread:
        notes.append(f"Not searched, as no model reads them: {', '.join(unread)}. Name those that are of interest.")
    for column, kind in kinds.items():
        named = column in spec.named
        if column not in chosen:
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
            msg = f"{what} to be by {column!r}, but the holdout has no such column. It has {', '.join(present)}."
            raise EvaluationError(msg)


def group_rows(
    files: Sequence[Path], column: str, kind: ColumnKind, *, bins: int, keep: int | None, named: bool
) -> Groups:
    """Return the groups of one column: numbers in ``bins``, else the ``keep`` most frequent values and the others.

    :param keep: ``None`` keeps all.
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
    if not named and keep is not None and len(labels) > keep and len(codes) < _ROWS_A_VALUE * len(labels):
        msg = f"The column {column!r} has {len(labels):,} different values in {len(codes):,} rows."
        raise TooManyGroupsError(msg)
    return pool(column, codes, labels, len(labels) if keep is None else keep)
