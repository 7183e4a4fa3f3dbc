"""The search for slices of the holdout in which a model is worse: every cell of one or two columns, one correction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from airflow_mlops.domain.evaluation import METRICS, LearningTask, Metric
from airflow_mlops.domain.slices import (
    Against,
    Loss,
    Slice,
    SliceCondition,
    Slices,
    SliceSpec,
    SliceTable,
    benjamini_hochberg,
)
from airflow_mlops.engines.numpy.groups import Groups, combine
from airflow_mlops.engines.numpy.losses import choose_loss, is_positive, row_losses
from airflow_mlops.engines.numpy.metrics import Array, Predictions, metric_functions
from airflow_mlops.engines.numpy.slice_tests import CellTests, PairedTests, RestTests

PAIR_COLUMNS = 20
"""Of how many columns all pairs are searched."""
TABLE_ROWS = 200
"""Most slices that one table of named columns shows: the largest."""


def find_slices(
    *,
    spec: SliceSpec,
    task: LearningTask,
    truth: Array,
    candidate: Predictions,
    champion: Predictions | None,
    columns: Sequence[Groups],
    notes: Sequence[str] = (),
    confidence_level: float = 0.95,
) -> Slices:
    """Compare the models in every slice of the columns, and return the worst slices and those that ``spec`` names.

    The test in each slice is exact by McNemar for 0/1 loss, else Student's paired t. Without a champion each slice is
    compared with all other rows by Welch's t.

    :param columns: those to search; the ones that ``spec`` names are among them.
    :param notes: on columns that were left out.
    :raises EvaluationError: when the loss that ``spec`` asks for does not fit the task or the predictions.
    """
    models = [candidate, champion] if champion else [candidate]
    loss, gave_way = choose_loss(spec.loss, task, models)
    ours = row_losses(loss, truth, candidate)
    tests: PairedTests | RestTests
    if champion:
        exact = loss is Loss.ZERO_ONE_LOSS
        name = "McNemar's exact test" if exact else "paired t-test"
        theirs = row_losses(loss, truth, champion)
        tests = PairedTests(ours=ours, theirs=theirs, exact=exact, confidence_level=confidence_level)
    else:
        name = "Welch's t-test"
        tests = RestTests(ours=ours, confidence_level=confidence_level)
    shown = _SliceMetric.of(task, truth, models)
    found = _Found.of([_Combination.of(groups, tests, spec.min_rows) for groups in _to_search(columns, spec)])
    significance = round(1 - confidence_level, 12)
    return Slices(
        loss=loss,
        against=Against.CHAMPION if champion else Against.REST,
        test=name,
        metric=shown.metric.name,
        higher_is_better=shown.metric.higher_is_better,
        min_rows=spec.min_rows,
        significance=significance,
        columns=tuple(item.column for item in columns),
        judged=len(found.adjusted),
        worse=found.count_worse(significance),
        worst=tuple(found.slice(index, shown) for index in found.worst(spec.worst, significance)),
        extremes=tuple(found.slice(index) for index in found.extremes(significance)),
        tables=tuple(found.table(names, shown) for names in [*((name,) for name in spec.columns), *spec.intersections]),
        notes=(
            *notes,
            *([gave_way] if gave_way else []),
            *(item.note for item in columns if item.note),
            *_left_out(columns, spec),
        ),
    )


def _to_search(columns: Sequence[Groups], spec: SliceSpec) -> Iterator[tuple[Groups, ...]]:
    by_name = {item.column: item for item in columns}
    yield from ((item,) for item in columns)
    yield from (tuple(by_name[name] for name in names) for names in spec.intersections)
    named = {frozenset(names) for names in spec.intersections}
    if spec.max_depth > 1:
        for pair in combinations(columns[:PAIR_COLUMNS], 2):
            if frozenset(item.column for item in pair) not in named:
                yield pair


def _left_out(columns: Sequence[Groups], spec: SliceSpec) -> Iterator[str]:
    if spec.max_depth > 1 and len(columns) > PAIR_COLUMNS:
        names = ", ".join(item.column for item in columns[:PAIR_COLUMNS])
        yield (
            f"Of {len(columns)} columns, pairs were searched of the first {PAIR_COLUMNS} only: {names}. Name the "
            f"columns to search in others."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Combination:
    """All cells of some columns."""

    groups: tuple[Groups, ...]
    cells: Array
    """Of each cell the code in each column."""
    tests: CellTests
    judged: Array
    """Indices of the cells that have the rows for it."""

    @classmethod
    def of(cls, groups: tuple[Groups, ...], tests: PairedTests | RestTests, min_rows: int) -> _Combination:
        import numpy as np

        codes, cells = combine(groups)
        tested = tests.run(codes, len(cells))
        enough = tested.rows >= min_rows
        if isinstance(tests, RestTests):
            enough &= len(codes) - tested.rows >= min_rows
        return cls(groups=groups, cells=cells, tests=tested, judged=np.flatnonzero(enough))

    def slice(self, cell: int) -> Slice:
        def number(values: Array) -> float | None:
            return float(values[cell]) if values[cell] == values[cell] else None  # not NaN

        tests = self.tests
        return Slice(
            conditions=tuple(
                SliceCondition(column=item.column, value=item.labels[code])
                for item, code in zip(self.groups, self.cells[cell], strict=True)
            ),
            rows=int(tests.rows[cell]),
            loss=float(tests.loss[cell]),
            baseline=number(tests.baseline),
            difference=number(tests.difference),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """All combinations, and their judged cells side by side: ``combination`` and ``cell`` say which is which."""

    combinations: list[_Combination]
    combination: Array
    cell: Array
    rows: Array
    loss: Array
    difference: Array
    low: Array
    adjusted: Array

    @classmethod
    def of(cls, found: list[_Combination]) -> _Found:
        import numpy as np

        def joined(name: str) -> Array:
            return np.concatenate([np.zeros(0), *(getattr(item.tests, name)[item.judged] for item in found)])

        return cls(
            combinations=found,
            combination=np.repeat(np.arange(len(found)), [len(item.judged) for item in found]),
            cell=np.concatenate([np.zeros(0, dtype=int), *(item.judged for item in found)]),
            rows=joined("rows").astype(int),
            loss=joined("loss"),
            difference=joined("difference"),
            low=joined("low"),
            adjusted=np.array(benjamini_hochberg(joined("p_value").tolist())),
        )

    def is_worse(self, significance: float) -> Array:
        worse: Array = (self.adjusted <= significance) & (self.difference > 0)
        return worse

    def count_worse(self, significance: float) -> int:
        return int(self.is_worse(significance).sum())

    def worst(self, count: int, significance: float) -> list[int]:
        """Return the significantly worse first, and of equals the one that is worse by more at the least.

        A slice of the very rows of one that is listed already says nothing new.
        """
        import numpy as np

        order = np.lexsort((-self.low, ~self.is_worse(significance)))
        listed: dict[tuple[int, float, float], int] = {}
        for index in order.tolist():
            # The sort is stable and single columns come first, so the shortest name stays.
            listed.setdefault((int(self.rows[index]), float(self.loss[index]), float(self.difference[index])), index)
            if len(listed) == count:
                break
        return list(listed.values())

    def extremes(self, significance: float) -> list[int]:
        """Return the judged cells that no cell of as many rows exceeds, in loss or in significant difference."""
        import numpy as np

        kept: list[int] = []
        for values, among in (
            (self.loss, np.full(len(self.rows), fill_value=True)),
            (self.difference, self.is_worse(significance)),
        ):
            chosen = np.flatnonzero(among)
            order = chosen[np.lexsort((-values[chosen], -self.rows[chosen]))]
            best = np.maximum.accumulate(values[order]) if len(order) else values[order]
            rises = np.r_[True, best[1:] > best[:-1]][: len(order)]
            kept += order[rises].tolist()
        return list(dict.fromkeys(kept))

    def slice(self, index: int, shown: _SliceMetric | None = None) -> Slice:
        combination, cell = self.combinations[self.combination[index]], int(self.cell[index])
        judged = self._judged(combination, cell, float(self.adjusted[index]))
        if shown is None:
            return judged
        codes, _ = combine(combination.groups)
        return shown.add_to(judged, codes == cell)

    def table(self, names: tuple[str, ...], shown: _SliceMetric) -> SliceTable:
        """Return every slice of these columns that has rows, the largest when there are too many."""
        import numpy as np

        number, combination = next(
            (number, item)
            for number, item in enumerate(self.combinations)
            if tuple(groups.column for groups in item.groups) == names
        )
        adjusted = dict(
            zip(
                self.cell[self.combination == number].tolist(),
                self.adjusted[self.combination == number].tolist(),
                strict=True,
            )
        )
        filled = np.flatnonzero(combination.tests.rows)
        chosen = filled
        if len(filled) > TABLE_ROWS:
            chosen = np.sort(filled[np.argsort(-combination.tests.rows[filled], kind="stable")[:TABLE_ROWS]])
        codes, _ = combine(combination.groups)
        order = np.argsort(codes, kind="stable")
        ends = np.cumsum(combination.tests.rows)
        slices = [
            shown.add_to(
                self._judged(combination, cell, adjusted[cell]) if cell in adjusted else combination.slice(cell),
                order[ends[cell] - combination.tests.rows[cell] : ends[cell]],
            )
            for cell in chosen.tolist()
        ]
        note = f"The {TABLE_ROWS} largest of {len(filled):,} slices." if len(filled) > TABLE_ROWS else ""
        return SliceTable(columns=names, slices=tuple(slices), note=note)

    @staticmethod
    def _judged(combination: _Combination, cell: int, adjusted: float) -> Slice:
        tests = combination.tests
        return replace(
            combination.slice(cell),
            low=float(tests.low[cell]),
            high=float(tests.high[cell]),
            p_value=float(tests.p_value[cell]),
            adjusted_p=adjusted,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _SliceMetric:
    """The task's main metric, of the rows of a slice."""

    metric: Metric
    task: LearningTask
    truth: Array
    models: list[Predictions]

    @classmethod
    def of(cls, task: LearningTask, truth: Array, models: list[Predictions]) -> _SliceMetric:
        ranked = all(model.probability is not None for model in models)
        metric = next(item for item in METRICS[task] if ranked or not item.needs_probability)
        if task is LearningTask.BINARY:  # A slice of one class must not take it for the positive one.
            occurring = [truth, *(model.prediction for model in models)]
            models = [replace(model, prediction=is_positive(model.prediction, *occurring)) for model in models]
            truth = is_positive(truth, *occurring)
        return cls(metric=metric, task=task, truth=truth, models=models)

    def add_to(self, found: Slice, rows: Array) -> Slice:
        """Return the slice with its metric, or with the reason that it has none."""
        import numpy as np

        truth = self.truth[rows]
        values = []
        for model in self.models:
            probability = None if model.probability is None else model.probability[rows]
            said = Predictions(prediction=model.prediction[rows], probability=probability)
            value = metric_functions(self.task, truth, said)[self.metric.name](np.ones(len(truth)))
            values.append(value if np.isfinite(value) else None)
        why = "" if values[0] is not None else self._why_undefined(truth)
        return replace(found, metric=values[0], champion_metric=values[1] if len(values) > 1 else None, no_metric=why)

    def _why_undefined(self, truth: Array) -> str:
        import numpy as np

        return (
            "one class only"
            if self.task is not LearningTask.REGRESSION or len(np.unique(truth)) > 1
            else "one value only"
        )
