"""Texts and embeddings of a window against those of the reference, on the rows of their snapshots."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.drift import ColumnDrift, DriftMethod, DriftSpec
from airflow_mlops.domain.drift.method import MANY_ROWS
from airflow_mlops.domain.drift.report import ProfileReference
from airflow_mlops.domain.drift.text import TextColumn
from airflow_mlops.domain.profile import ColumnProfile, DatasetProfile
from airflow_mlops.exceptions import DatasetError
from airflow_mlops.hooks.duckdb import duckdb_limits
from airflow_mlops.operators.jobs import local_channel

if TYPE_CHECKING:
    from airflow_mlops.engines.numpy.domain_classifier import Separation

SAMPLED_ROWS: Final = 5_000
"""Rows of each side that a classifier or a discrepancy looks at, the same ones in every run."""
_LEAST_ROWS: Final = 20
"""With fewer on either side, nothing is told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnstructuredDrift:
    """What was found of texts and embeddings."""

    columns: tuple[ColumnDrift, ...] = ()
    lost: tuple[str, ...] = ()
    """Sentences about columns that should be there and are not, or that have become something else."""
    notes: tuple[str, ...] = ()
    profiles: tuple[tuple[ColumnProfile, ...], tuple[ColumnProfile, ...]] = ((), ())
    """Of the descriptors, in the reference and in the window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """The rows of one side."""

    name: str
    files: Sequence[Path]
    seed: str


_Sides = tuple[_Side, _Side]


def compare_unstructured(
    reference: Snapshot, current: Sequence[Snapshot | ProfileReference], spec: DriftSpec
) -> UnstructuredDrift:
    """Compare the columns of texts and embeddings that the spec names, one by one: an odd one spoils no other.

    The descriptors of texts are those of all rows, what tells them apart is measured on a sample of each side.

    :param current: snapshots; a profile holds no texts and no embeddings, and where it is part of the window, a note
        says that they are not compared.
    :raises InvalidInputError: when a pattern of the spec is none.
    """
    if not spec.unstructured:
        return UnstructuredDrift()
    snapshots = [part for part in current if isinstance(part, Snapshot)]
    if len(snapshots) < len(current):
        names = ", ".join(spec.unstructured)
        return UnstructuredDrift(
            notes=(f"A profile holds no texts and embeddings: {names} need snapshots as current.",)
        )
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="airflow-mlops-")))
        sides = _side("the reference", [reference], stack), _side("the window", snapshots, stack)
        found = [
            *(_texts(column, sides, spec, folder) for column in spec.texts),
            *(_embeddings(column, sides, spec) for column in spec.embeddings),
        ]
    return UnstructuredDrift(
        columns=tuple(column for item in found for column in item.columns),
        lost=tuple(sentence for item in found for sentence in item.lost),
        notes=(f"{', '.join(spec.unstructured)}: told apart on samples of up to {SAMPLED_ROWS:,} rows of each side.",),
        profiles=(
            tuple(column for item in found for column in item.profiles[0]),
            tuple(column for item in found for column in item.profiles[1]),
        ),
    )


def _texts(column: TextColumn, sides: _Sides, spec: DriftSpec, folder: Path) -> UnstructuredDrift:
    from airflow_mlops.engines.numpy.drift import measure
    from airflow_mlops.engines.numpy.ngrams import separate_texts
    from airflow_mlops.engines.pyarrow_unstructured import sample_texts

    try:
        before, now = (sample_texts(side.files, column.column, SAMPLED_ROWS, side.seed, side.name) for side in sides)
    except DatasetError as error:
        return UnstructuredDrift(lost=(str(error),))
    profiles = _describe(column, sides, folder)
    enough = min(len(before.texts), len(now.texts)) >= _LEAST_ROWS
    return UnstructuredDrift(
        columns=(
            _judged(
                column.column,
                DriftMethod.DOMAIN_CLASSIFIER,
                separate_texts(before.texts, now.texts) if enough else None,
                spec,
                (before.missing, now.missing),
            ),
            *measure(*profiles, _tests(spec, profiles[0].rows), [item.name for item in column.descriptors]),
        ),
        profiles=(profiles[0].columns, profiles[1].columns),
    )


def _embeddings(column: str, sides: _Sides, spec: DriftSpec) -> UnstructuredDrift:
    from airflow_mlops.engines.numpy.domain_classifier import separate_vectors
    from airflow_mlops.engines.numpy.mean_discrepancy import measure_discrepancy
    from airflow_mlops.engines.pyarrow_unstructured import sample_vectors

    try:
        before, now = (sample_vectors(side.files, column, SAMPLED_ROWS, side.seed, side.name) for side in sides)
    except DatasetError as error:
        return UnstructuredDrift(lost=(str(error),))
    rows, others = before.vectors, now.vectors
    enough = min(len(rows), len(others)) >= _LEAST_ROWS
    if enough and rows.shape[1] != others.shape[1]:
        return UnstructuredDrift(
            lost=(f"{column} has {rows.shape[1]} numbers a row in the reference, but {others.shape[1]} in the window.",)
        )
    method = spec.rule(column).method or DriftMethod.DOMAIN_CLASSIFIER
    measure = measure_discrepancy if method is DriftMethod.MMD else separate_vectors
    separation = measure(rows, others) if enough else None
    return UnstructuredDrift(columns=(_judged(column, method, separation, spec, (before.missing, now.missing)),))


def _tests(spec: DriftSpec, reference_rows: int) -> DriftSpec:
    """Let few rows be compared by a test that is one; the chi-square test of Evidently calls too many different."""
    if reference_rows > MANY_ROWS or spec.categories is not None:
        return spec
    return replace(spec, categories=DriftMethod.HOMOGENEITY)


def _judged(
    column: str,
    method: DriftMethod,
    separation: Separation | None,
    spec: DriftSpec,
    missing: tuple[float, float],
) -> ColumnDrift:
    """Say drift of what is beyond its threshold and more than chance makes of equal data.

    With few rows chance alone passes the threshold, with many the least difference is significant: both are asked for.
    """
    threshold = spec.threshold_of(column, method)
    base = ColumnDrift(
        column=column,
        method="",
        value=None,
        threshold=threshold,
        drifted=False,
        missing_reference=missing[0],
        missing_current=missing[1],
    )
    if separation is None:
        note = f"{column} has values in fewer than {_LEAST_ROWS} of the sampled rows of a side, too few to compare."
        return replace(base, note=note)
    drifted = method.says_drift(separation.value, threshold) and separation.p_value <= spec.significance
    return replace(base, method=method.value, value=separation.value, p_value=separation.p_value, drifted=drifted)


def _describe(column: TextColumn, sides: _Sides, folder: Path) -> tuple[DatasetProfile, DatasetProfile]:
    """Return the profiles of the descriptors of both sides."""
    from airflow_mlops.engines.duckdb.descriptors import write_descriptors
    from airflow_mlops.engines.profiles import profile_parquet

    if not column.descriptors:
        return DatasetProfile(rows=0, columns=(), engine=""), DatasetProfile(rows=0, columns=(), engine="")
    limits, file = duckdb_limits(), folder / "descriptors.parquet"
    write_descriptors(sides[0].files, column.descriptors, file, limits)
    before = profile_parquet([file], threads=limits.threads)
    write_descriptors(sides[1].files, column.descriptors, file, limits)
    return before, profile_parquet([file], grids=before.grids, threads=limits.threads)


def _side(name: str, snapshots: Sequence[Snapshot], stack: contextlib.ExitStack) -> _Side:
    folders = [stack.enter_context(local_channel(snapshot)) for snapshot in snapshots]
    return _Side(
        name=name,
        files=[file for folder in folders for file in sorted(folder.glob("*.parquet"))],
        seed="".join(sorted(snapshot.digest for snapshot in snapshots)),
    )
