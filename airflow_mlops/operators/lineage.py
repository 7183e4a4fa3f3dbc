"""What OpenLineage is told of snapshots and validations. Called by its provider alone, where that is installed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_mlops.domain.dataset import Snapshot, SnapshotManifest, SourceFile
from airflow_mlops.domain.validation import ExpectationOutcome, Severity, ValidationReport

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

_NAMESPACE = "mlops"
"""That of datasets whose versions are snapshots: the scheme of their assets."""
_TEXT_LENGTH = 500


def snapshot_lineage(snapshot: Snapshot, manifest: SnapshotManifest) -> OperatorLineage[Any, Any]:
    """Tell of the sources of a snapshot, and of the version that it is: its digest."""
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import dataset_version_dataset, output_statistics_output_dataset, schema_dataset

    fields = [schema_dataset.SchemaDatasetFacetFields(name=item.name, type=item.type) for item in manifest.columns]
    sources: list[Any] = [
        InputDataset(
            *_source_name(source),
            facets={"version": dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=source.digest)},
        )
        for source in manifest.sources
    ]
    taken: Any = OutputDataset(
        _NAMESPACE,
        _name(snapshot.dataset_name),
        facets={
            "version": dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=snapshot.digest),
            "schema": schema_dataset.SchemaDatasetFacet(fields=fields),
        },
        outputFacets={
            "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
                rowCount=manifest.rows, size=sum(part.size_bytes for part in manifest.parts)
            )
        },
    )
    return OperatorLineage(inputs=sources, outputs=[taken])


def validation_lineage(report: ValidationReport) -> OperatorLineage[Any, Any]:
    """Tell what was expected of a dataset and what was found, and into which versions a quarantine has split it."""
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import (
        data_quality_assertions_dataset,
        data_quality_metrics_input_dataset,
        dataset_version_dataset,
    )

    def version(digest: str) -> dict[str, Any]:
        return {"version": dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=digest)}

    assertions = [data_quality_assertions_dataset.Assertion(**_assertion(outcome)) for outcome in report.outcomes]
    validated: Any = InputDataset(
        *_validated_name(report),
        facets=version(report.dataset_digest),
        inputFacets={
            "dataQualityAssertions": data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
                assertions=assertions
            ),
            "dataQualityMetrics": data_quality_metrics_input_dataset.DataQualityMetricsInputDatasetFacet(
                rowCount=report.rows, columnMetrics={}
            ),
        },
    )
    split = (report.quarantine.passing, report.quarantine.quarantined) if report.quarantine else ()
    outputs: list[Any] = [
        OutputDataset(_NAMESPACE, _name(snapshot.dataset_name), facets=version(snapshot.digest))
        for snapshot in split
        if snapshot
    ]
    return OperatorLineage(inputs=[validated], outputs=outputs)


def _assertion(outcome: ExpectationOutcome) -> dict[str, Any]:
    column = outcome.kwargs.get("column")
    expected = {key: value for key, value in outcome.kwargs.items() if key != "column"}
    found = outcome.unexpected_count if outcome.unexpected_count is not None else outcome.observed
    return {
        "assertion": outcome.type,
        "success": outcome.success,
        "column": column if isinstance(column, str) else None,
        "severity": "error" if outcome.severity == Severity.CRITICAL else "warn",
        "description": outcome.notes or None,
        "expected": _text(expected) if expected else None,
        "actual": outcome.problem or (None if found is None else _text(found)),
    }


def _validated_name(report: ValidationReport) -> tuple[str, str]:
    if report.dataset_uri and report.dataset_uri.startswith("sql://"):
        return _address_name(report.dataset_uri)
    return _NAMESPACE, _name(report.dataset_name)


def _source_name(source: SourceFile) -> tuple[str, str]:
    return _address_name(source.uri)


def _address_name(address: str) -> tuple[str, str]:
    """Return namespace and name by OpenLineage's conventions; the connection in an address is none of its business.

    A database is known here by its connection, whose host and name are not asked for again when the task has ended.
    """
    if "://" not in address:
        return "file", address
    parts = urlsplit(address)
    if parts.scheme == "file":
        return "file", parts.path
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}", parts.path.lstrip("/") or "/"


def _name(dataset_name: str) -> str:
    return f"datasets/{dataset_name}"


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _TEXT_LENGTH else f"{text[: _TEXT_LENGTH - 1]}…"
