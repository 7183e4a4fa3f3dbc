"""Whether a holdout is one: rows that the models have not seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.facts import Signature
from airflow_mlops.domain.overlap import Overlap, apart_in_time
from airflow_mlops.domain.registry import TAG_DATASET_DIGEST, TAG_DATASET_URI, ModelVersion
from airflow_mlops.exceptions import DatasetError, EvaluationError
from airflow_mlops.hooks.duckdb import duckdb_limits
from airflow_mlops.hooks.storage import open_storage


def refuse_seen(candidate: ModelVersion, holdout: Snapshot) -> None:
    """Refuse the very data that the candidate learned from.

    :raises EvaluationError: naming both.
    """
    if candidate.tags.get(TAG_DATASET_DIGEST) == holdout.digest:
        msg = (
            f"The holdout {holdout.digest[:12]} is the very data that {candidate} learned from, which says nothing "
            f"of how good it is. Take a snapshot of rows that it has not seen."
        )
        raise EvaluationError(msg)


def look_for_overlap(role: str, version: ModelVersion, holdout: Snapshot, files: Sequence[Path]) -> Overlap:
    """Return how many rows of the holdout are in a version's training data: by their times, else by their values.

    :param files: the holdout's Parquet parts.
    """
    from airflow_mlops.engines.duckdb import count_shared_rows
    from airflow_mlops.engines.snapshots import open_snapshot, read_manifest

    digest = version.tags.get(TAG_DATASET_DIGEST, "")

    def found(rows: int | None, how: str) -> Overlap:
        share = None if rows is None else rows / holdout.rows
        return Overlap(role=role, training_digest=digest, rows=rows, share=share, how=how)

    if digest == holdout.digest:
        return found(holdout.rows, "it is the very same snapshot")
    if TAG_DATASET_URI not in version.tags:
        return found(None, f"{version} does not say where its training data is")
    training = open_storage(version.tags[TAG_DATASET_URI])
    try:
        manifest = read_manifest(training)
        if manifest.digest != digest:
            return found(None, f"{training.uri} is another snapshot now, {manifest.digest[:12]}")
        if apart := apart_in_time(manifest, read_manifest(open_storage(holdout.uri))):
            return found(0, apart)
        with open_snapshot(training) as local:
            shared = count_shared_rows(files, local.parts, duckdb_limits())
    except DatasetError as error:
        return found(None, str(error).rstrip("."))
    return found(shared.rows, f"compared by {_listed(shared.columns)}")


def refuse_overlap(overlap: Overlap, most: float) -> None:
    """Refuse a holdout of which the candidate has seen more than a share.

    :raises EvaluationError: naming the share and the remedy.
    """
    if overlap.share is not None and overlap.share > most:
        msg = (
            f"{overlap} At most {most:.2%} may be, since a model that remembers them looks better than it is. Take a "
            f"holdout of other rows, such as a later window. Where different events look alike in these columns, add "
            f"one that tells them apart, or allow more in the spec's max_overlap."
        )
        raise EvaluationError(msg)


def refuse_missing_columns(who: str, signature: Signature, found: Sequence[str]) -> None:
    """Refuse a holdout that lacks a column which a model says it takes.

    :param who: the model, such as ``champion, flights version 3,``.
    :raises EvaluationError: naming the columns.
    """
    missing = [column.name for column in signature.inputs if column.required and column.name not in {"", *found}]
    if missing:
        msg = (
            f"The {who} takes {_listed(missing)}, which the holdout does not have; it has {', '.join(found)}. Both "
            f"models are judged on the same rows, so take a holdout with the columns of both. Where the data of an "
            f"old champion is no more, take its alias away, and judge the candidate as a first model."
        )
        raise EvaluationError(msg)


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(columns[:5])
    return shown if len(columns) <= 5 else f"{shown} and {len(columns) - 5} more columns"  # noqa: PLR2004 - enough
