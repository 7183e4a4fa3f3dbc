"""How a version treated groups of people in a window, by the measures of promotion."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_mlops.domain.bias import WITHOUT_LABELS, BiasReport, BiasSpec
from airflow_mlops.domain.evaluation import LearningTask
from airflow_mlops.domain.fairness import Fairness, FairnessColumn, FairnessGroup
from airflow_mlops.exceptions import EvaluationError
from airflow_mlops.operators.answers import Answers
from airflow_mlops.operators.groups import group_rows, require_columns
from airflow_mlops.operators.promise import Promise

if TYPE_CHECKING:
    from airflow_mlops.engines.numpy import Groups


def measure_bias(spec: BiasSpec, promise: Promise, answers: Answers) -> BiasReport:
    """Return the rates of every group, of all answers and of those that have a label.

    :raises EvaluationError: when the log has no such column, or nothing says what the model predicts.
    """
    evaluation = promise.evaluation
    if spec.task is None and evaluation is None:
        msg = f"Nothing says what {answers.version} predicts. {' '.join(promise.notes)} Give the spec a task."
        raise EvaluationError(msg)
    task = spec.task or (evaluation.task if evaluation else LearningTask.BINARY)
    columns = {name: _groups(name, answers, spec) for name in spec.columns} if answers.files else {}
    return BiasReport(
        model_name=answers.version.model_name,
        model_version=answers.version.version,
        window=answers.window,
        task=task,
        spec=spec,
        counts=answers.counts,
        answers=_of_all(task, columns, answers, spec) if task is LearningTask.BINARY and columns else None,
        labelled=_of_labelled(task, columns, answers, spec) if answers.labelled else None,
        promised=evaluation.fairness if evaluation else None,
        notes=answers.notes,
    )


def _groups(name: str, answers: Answers, spec: BiasSpec) -> Groups:
    """Return the group of each answer, those with a label first."""
    from airflow_mlops.engines.pyarrow import column_kinds

    kinds = column_kinds(answers.files[0])
    require_columns([name], kinds, "Bias is")
    return group_rows(answers.files, name, kinds[name], bins=spec.bins, keep=None, named=True)


def _of_all(task: LearningTask, columns: dict[str, Groups], answers: Answers, spec: BiasSpec) -> Fairness:
    """Return the rates that need no labels, of all answers."""
    from airflow_mlops.engines.numpy import rates_by_group

    said = answers.predictions(answers.files)

    def rates(groups: Groups) -> tuple[FairnessGroup, ...]:
        found = rates_by_group(task, said.prediction, said, None, groups)
        return tuple(
            replace(group, candidate={name: rate for name, rate in group.candidate.items() if name in WITHOUT_LABELS})
            for group in found
        )

    return Fairness(
        min_rows=spec.min_rows,
        columns=tuple(_column(name, groups, spec, rates(groups)) for name, groups in columns.items()),
    )


def _of_labelled(task: LearningTask, columns: dict[str, Groups], answers: Answers, spec: BiasSpec) -> Fairness:
    """Return all rates of the answers that have a label."""
    from airflow_mlops.engines.numpy import rates_by_group

    assert answers.labelled is not None  # noqa: S101 - the caller has looked
    truth, said = answers.labels(), answers.predictions([answers.labelled])

    def rates(groups: Groups) -> tuple[FairnessGroup, ...]:
        return rates_by_group(task, truth, said, None, replace(groups, codes=groups.codes[: len(truth)]))

    return Fairness(
        min_rows=spec.min_rows,
        columns=tuple(_column(name, groups, spec, rates(groups)) for name, groups in columns.items()),
    )


def _column(name: str, groups: Groups, spec: BiasSpec, found: tuple[FairnessGroup, ...]) -> FairnessColumn:
    if len(groups.labels) > spec.max_groups:
        reason = (
            f"{name} has {len(groups.labels):,} values, more than max_groups ({spec.max_groups:,}): they are no groups "
            f"of people. Put them into groups in the log."
        )
        return FairnessColumn.of(name, (), spec.min_rows, (reason,))
    return FairnessColumn.of(name, found, spec.min_rows, (groups.note,) if groups.note else ())
