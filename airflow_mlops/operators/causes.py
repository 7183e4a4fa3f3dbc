"""What a change between the holdout of a promotion and a window of production is due to, by the inputs of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow_mlops.domain.dataset import ColumnKind
from airflow_mlops.domain.evaluation import Evaluation, Metric
from airflow_mlops.domain.performance import Cause, PerformanceSpec
from airflow_mlops.domain.prediction_log import feature_columns
from airflow_mlops.exceptions import InvalidInputError, TooManyGroupsError
from airflow_mlops.operators.groups import group_rows
from airflow_mlops.operators.promise import holdout_files

if TYPE_CHECKING:
    from airflow_mlops.engines.numpy import Groups
    from airflow_mlops.engines.numpy.known import KnownRows
    from airflow_mlops.engines.numpy.metrics import Array

_BINS: Final = 10
_VALUES: Final = 30
_RESAMPLES: Final = 200
_KINDS: Final = frozenset({ColumnKind.NUMBER, ColumnKind.VALUE})


def look_for_cause(
    metric: Metric,
    *,
    evaluation: Evaluation,
    holdout: KnownRows,
    now: Path,
    known: KnownRows,
    spec: PerformanceSpec,
) -> tuple[Cause | None, list[str]]:
    """Return the cause, and notes on what could not be looked at.

    :param holdout: its truth and what the version said, in the order of its rows.
    :param now: the labelled answers, with the features of the log.
    :param known: their truth and what the version said.
    """
    from airflow_mlops.engines.numpy.concept import find_cause
    from airflow_mlops.engines.numpy.known import one_after_the_other, sample_positions

    if metric.needs_probability and holdout.predictions.probability is None:
        return None, ["What a change is due to is not known: the evaluation has no probabilities."]
    try:
        with holdout_files(evaluation) as before:
            ours, theirs = (
                sample_positions(len(holdout.truth), spec.sample_rows),
                sample_positions(len(known.truth), spec.sample_rows),
            )
            chosen = one_after_the_other(ours, theirs, len(holdout.truth))
            columns, notes = _shared_groups(before, now, evaluation.target, chosen)
    except InvalidInputError as error:
        return None, [f"What a change is due to is not known, since the holdout cannot be read: {error}"]
    if not columns:
        return None, [*notes, "What a change is due to is not known: the log shares no feature with the holdout."]
    cause = find_cause(
        metric=metric,
        task=evaluation.task,
        holdout=holdout.take(ours),
        window=known.take(theirs),
        columns=columns,
        confidence_level=spec.confidence_level,
        resamples=min(spec.resamples, _RESAMPLES),
    )
    return cause, notes


def _shared_groups(before: Sequence[Path], now: Path, target: str, chosen: Array) -> tuple[list[Groups], list[str]]:
    """Return the groups of each input that both have, of the chosen rows, and notes on those that were left out."""
    from airflow_mlops.engines.pyarrow import column_kinds

    kinds, kinds_now = column_kinds(before[0]), column_kinds(now)
    shared = [
        name
        for name in feature_columns(kinds_now)
        if name != target and kinds.get(name) is kinds_now[name] and kinds_now[name] in _KINDS
    ]
    found: list[Groups] = []
    notes: list[str] = []
    for name in shared:
        try:
            groups = group_rows([*before, now], name, kinds[name], bins=_BINS, keep=_VALUES, named=False)
        except TooManyGroupsError as error:
            notes.append(f"{name} is left out when looking for the cause, as an identifier. {error}")
        else:
            found.append(replace(groups, codes=groups.codes[chosen]))
    return found, notes
