"""Rows of both sides for Evidently's own report."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.drift import Sample
from airflow_mlops.domain.serialization import digest_of
from airflow_mlops.exceptions import MlopsError
from airflow_mlops.hooks.storage import open_storage
from airflow_mlops.operators.jobs import local_channel

if TYPE_CHECKING:
    from airflow_mlops.domain.drift.report import DriftReport, ProfileReference
    from airflow_mlops.domain.profile import DatasetProfile

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedWindow:
    """What was found, and what it was found in."""

    report: DriftReport
    reference: DatasetProfile
    current: DatasetProfile
    reference_snapshot: Snapshot
    parts: tuple[Snapshot | ProfileReference, ...]


def evidently_page(compared: ComparedWindow) -> str:
    """Return Evidently's report on a sample of both sides; "" where there are no rows to draw, or it cannot be made.

    What Evidently cannot do with a column is no reason to lose the verdict, which does not rest on it.
    """
    from airflow_mlops.engines.evidently import drift_page

    parts = [part for part in compared.parts if isinstance(part, Snapshot)]
    drift, spec = compared.report.drift, compared.report.spec
    by_rows = {*spec.unstructured, *(item.name for column in spec.texts for item in column.descriptors)}
    columns = [item for item in drift.columns if item.value is not None and item.column not in by_rows]
    if len(parts) < len(compared.parts) or not columns or not drift.current.rows:
        return ""
    names = [item.column for item in columns]
    before = _kept_sample(compared.reference_snapshot, names, spec.sample_rows)
    share = min(1.0, spec.sample_rows / drift.current.rows)
    drawn = [_draw(part, names, math.ceil(part.rows * share)) for part in parts]
    now = {name: [value for sample in drawn for value in sample[name]] for name in names}
    try:
        return drift_page(before, now, columns, spec.drift_share)
    except Exception as error:  # noqa: BLE001 - whatever a column does to it, the verdict does not rest on it
        _log.warning("Evidently cannot make its report: %s", error)
        return ""


def _draw(snapshot: Snapshot, columns: Sequence[str], rows: int) -> Sample:
    from airflow_mlops.engines.pyarrow import read_sample

    with local_channel(snapshot) as channel:
        return read_sample(sorted(channel.glob("*.parquet")), columns, rows, snapshot.digest)


def _kept_sample(snapshot: Snapshot, columns: Sequence[str], rows: int) -> Sample:
    """Return the sample of the reference, which is kept with it, so that no check reads the whole of it again."""
    file = open_storage(snapshot.uri) / f"_sample-{digest_of([rows, *columns])[:16]}.json"
    if file.exists():
        kept: Sample = file.read_json()
        return kept
    sample = _draw(snapshot, columns, rows)
    try:
        file.write_text(json.dumps({name: [_finite(value) for value in values] for name, values in sample.items()}))
    except MlopsError as error:  # A store that may only be read.
        _log.warning("The sample of %s cannot be kept with it: %s", snapshot.dataset_name, error)
    return sample


def _finite(value: float | str | None) -> float | str | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value
