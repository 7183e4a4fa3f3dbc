"""Two profiles become the drift of columns: of features, and apart from them of predictions and labels."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_mlops.domain.drift import ComparedData, DataDrift, DriftSpec
from airflow_mlops.domain.drift.columns import Sides, choose
from airflow_mlops.domain.profile import DatasetProfile


def compare_profiles(
    reference: tuple[ComparedData, DatasetProfile],
    current: tuple[ComparedData, DatasetProfile],
    spec: DriftSpec,
    *,
    read: Sequence[str],
    apart: DatasetProfile | None = None,
    sides: Sides = Sides(),  # noqa: B008 - frozen
) -> DataDrift:
    """Return the drift of every column that is to be compared, with a sentence on each that cannot be.

    :param current: profiled on the grids of ``reference``.
    :param read: names of the model's inputs, as far as they are known.
    :param apart: the reference of those predictions and labels that ``reference`` does not have.
    """
    from airflow_mlops.engines.numpy.drift import measure

    before, now = reference[1], current[1]
    chosen = choose(before, now, spec, read, sides)
    with_apart = _joined(before, apart)
    columns = measure(before, now, spec, chosen.columns)
    said, truth = (
        measure(with_apart, now, spec, [name for name in names if now.column(name) and with_apart.column(name)])
        for names in (chosen.prediction, chosen.label)
    )
    found = (*columns, *said, *truth)
    unknown = [name for name in (*chosen.prediction, *chosen.label) if now.column(name) and not with_apart.column(name)]
    return DataDrift(
        reference=reference[0],
        current=current[0],
        columns=columns,
        prediction=said,
        label=truth,
        engine=now.engine,
        lost=chosen.lost,
        notes=(
            *chosen.notes,
            *(item.note for item in found if item.note),
            *(f"The {sides.reference} has no column {name} to compare with." for name in unknown),
            *before.notes,
            *now.notes,
        ),
    )


def _joined(reference: DatasetProfile, apart: DatasetProfile | None) -> DatasetProfile:
    if apart is None:
        return reference
    known = {column.name for column in reference.columns}
    more = tuple(column for column in apart.columns if column.name not in known)
    return DatasetProfile(rows=reference.rows, columns=(*reference.columns, *more), engine=reference.engine)
