"""What an evaluation records of two versions beside their predictions, and how far the data has moved since."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.drift import ColumnDrift, ComparedData, DataDrift, DriftMethod, DriftSpec, judge_columns
from airflow_mlops.domain.drift.columns import Sides, free_texts, notes_on_free_texts
from airflow_mlops.domain.facts import Facts, Signature, training_facts
from airflow_mlops.domain.moment import utc
from airflow_mlops.domain.registry import TAG_DATASET_DIGEST, TAG_DATASET_NAME, TAG_DATASET_URI, ModelVersion
from airflow_mlops.exceptions import InvalidInputError
from airflow_mlops.hooks.storage import open_storage
from airflow_mlops.operators.comparison import compare_profiles
from airflow_mlops.operators.kept_profiles import profile_snapshot
from airflow_mlops.operators.unstructured import compare_unstructured
from airflow_mlops.operators.watched import training_snapshot

if TYPE_CHECKING:
    from airflow_mlops.operators.scoring import Bench, ScoredHoldout


def gather_facts(scored: ScoredHoldout, bench: Bench, as_of: datetime | None) -> Facts:
    """Ask the registry, the candidate's run, the models' files and the manifest of the training snapshot.

    :param as_of: the moment at which ages are measured; ``None`` is when the Dag run was due, so that a retry and a
        cleared task say the same.
    """
    from airflow_mlops.engines.snapshots import read_manifest

    version, mlflow = scored.candidate.version, bench.mlflow
    notes: tuple[str, ...] = ()
    try:
        manifest = read_manifest(open_storage(version.tags.get(TAG_DATASET_URI, "")))
    except InvalidInputError as error:  # Somebody has cleaned up: the model may still be good.
        manifest, notes = None, (f"The training data cannot be read: {error}",)
    dag_run = bench.context.get("dag_run")
    moment = as_of or (dag_run.run_after if dag_run else None)
    return Facts(
        as_of=moment and utc(moment),
        training=training_facts(version, mlflow.run_record(version.run_id), manifest),
        signature=mlflow.signature(str(scored.candidate.model)),
        champion_signature=mlflow.signature(str(scored.champion.model)) if scored.champion else None,
        notes=notes,
    )


def gather_drift(
    scored: ScoredHoldout, spec: DriftSpec | None, signature: Signature | None, target: str
) -> DataDrift | None:
    """Compare the candidate's training data with recent production data, by the profiles of all rows.

    Where the author names no method, it is a distance whatever the number of rows: a candidate must not pass for having
    learned from few. Training data that is gone is no error, but evidence that a gate refuses with its reason.

    :raises DatasetError: when the production data cannot be read.
    """
    if spec is None:
        return None
    asked = replace(
        spec,
        numbers=spec.numbers or DriftMethod.WASSERSTEIN,
        categories=spec.categories or DriftMethod.JENSEN_SHANNON,
        prediction=(),
        label=(),
        ignore=(*spec.ignore, target),
    )
    current = spec.snapshot or scored.snapshot
    try:
        reference = training_snapshot(scored.candidate.version)
        before = profile_snapshot(reference)
    except InvalidInputError as error:
        return _without_training_data(scored.candidate.version, current, f"The training data cannot be read: {error}")
    now = profile_snapshot(current, before.profile.grids)
    read = [column.name for column in signature.inputs if column.name] if signature else []
    by_rows = free_texts(before.profile, now.profile, replace(asked, categories=spec.categories), read)
    asked = asked.with_texts(by_rows)
    drift = compare_profiles(
        (before.data, before.profile),
        (now.data, now.profile),
        asked,
        read=read,
        sides=Sides(reference="training data", current="production data"),
    )
    of_rows = compare_unstructured(reference, (current,), asked)
    columns = tuple(_judged(item, spec) for item in judge_columns((*drift.columns, *of_rows.columns), asked))
    lost = (*drift.lost, *of_rows.lost)
    unsaid = {*spec.columns} - {item.column for item in columns} - {name for name in spec.columns if name in str(lost)}
    refused = [note for note in drift.notes if note.split(" ")[0] in unsaid]
    return replace(
        drift,
        columns=columns,
        lost=(*lost, *refused),
        notes=(*drift.notes, *of_rows.notes, *notes_on_free_texts(by_rows)),
    )


def _judged(item: ColumnDrift, spec: DriftSpec) -> ColumnDrift:
    """Count a column that has lost its values as drifted, since its distance is that of the values that are left."""
    change = abs(item.missing_current - item.missing_reference)
    return replace(item, drifted=item.drifted or (spec.missing_change is not None and change >= spec.missing_change))


def _without_training_data(version: ModelVersion, current: Snapshot, reason: str) -> DataDrift:
    name, digest = version.tags.get(TAG_DATASET_NAME, ""), version.tags.get(TAG_DATASET_DIGEST, "")
    return DataDrift(
        reference=ComparedData(dataset_name=name, dataset_digest=digest, rows=0),
        current=ComparedData(dataset_name=current.dataset_name, dataset_digest=current.digest, rows=current.rows),
        columns=(),
        engine="",
        lost=(reason,),
    )
