"""What an evaluation records of two versions beside their predictions, and how far the data has moved since."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.drift import ComparedData, DataDrift, DriftSpec, Sample, choose_columns, without_values
from airflow_mlops.domain.facts import Facts, Signature, training_facts, utc
from airflow_mlops.domain.registry import TAG_DATASET_DIGEST, TAG_DATASET_NAME, TAG_DATASET_URI, ModelVersion
from airflow_mlops.exceptions import InvalidInputError
from airflow_mlops.hooks.storage import open_storage
from airflow_mlops.operators.jobs import local_channel

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
    """Compare the candidate's training data with recent production data, on a sample of each.

    Training data that is gone is no error, but evidence without columns, which a gate refuses with its reason.

    :raises DatasetError: when the production data cannot be read.
    """
    if spec is None:
        return None
    current, reference = spec.snapshot or scored.snapshot, _training_snapshot(scored.candidate.version)
    with contextlib.ExitStack() as stack:
        now = _parts(stack.enter_context(local_channel(current)))
        try:
            before = _parts(stack.enter_context(local_channel(reference)))
        except InvalidInputError as error:
            return _compared(reference, current, ({}, {}), (f"The training data cannot be read: {error}",), spec)
        read = [column.name for column in signature.inputs if column.name] if signature else []
        columns, notes = _choose(before, now, spec, read, target)
        samples = _draw(reference, before, columns, spec), _draw(current, now, columns, spec)
    return _compared(reference, current, samples, notes, spec)


def _choose(
    before: Sequence[Path], now: Sequence[Path], spec: DriftSpec, read: Sequence[str], target: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    from airflow_mlops.engines.pyarrow import column_kinds

    kinds, kinds_now = column_kinds(before[0]), column_kinds(now[0])
    shared = [name for name in kinds if name in kinds_now and name != target]
    return choose_columns(kinds, kinds_now, asked=spec.columns, read=read or shared)


def _draw(snapshot: Snapshot, files: Sequence[Path], columns: Sequence[str], spec: DriftSpec) -> Sample:
    from airflow_mlops.engines.pyarrow import read_sample

    return read_sample(files, columns, spec.sample_rows, snapshot.digest)


def _compared(
    reference: Snapshot, current: Snapshot, samples: tuple[Sample, Sample], notes: Sequence[str], spec: DriftSpec
) -> DataDrift:
    from airflow_mlops.engines import evidently

    empty = without_values(*samples)
    before, now = ({name: values for name, values in sample.items() if name not in empty} for sample in samples)
    return DataDrift(
        reference=_side(reference, samples[0]),
        current=_side(current, samples[1]),
        columns=evidently.measure_drift(before, now, spec.threshold),
        engine=evidently.version(),
        notes=(*notes, *empty.values()),
    )


def _side(snapshot: Snapshot, sample: Sample) -> ComparedData:
    return ComparedData(
        dataset_name=snapshot.dataset_name,
        dataset_digest=snapshot.digest,
        rows=max(map(len, sample.values()), default=0),
    )


def _training_snapshot(version: ModelVersion) -> Snapshot:
    """Return the snapshot that a version learned from, as its tags name it; they do not say how many rows it has."""
    return Snapshot(
        dataset_name=version.tags.get(TAG_DATASET_NAME, ""),
        digest=version.tags.get(TAG_DATASET_DIGEST, ""),
        uri=version.tags.get(TAG_DATASET_URI, ""),
        rows=0,
        created=False,
    )


def _parts(channel: Path) -> list[Path]:
    return sorted(channel.glob("*.parquet"))
