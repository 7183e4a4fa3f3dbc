"""Derive an expectation suite from a snapshot, and hold other snapshots against one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from airflow.sdk import Context

from airflow_mlops.domain.dataset import Snapshot, SnapshotManifest
from airflow_mlops.domain.suggestion import SuggestionSpec, suggest_suite
from airflow_mlops.domain.validation import ExpectationOutcome, Suite, ValidationReport
from airflow_mlops.hooks.duckdb import duckdb_limits
from airflow_mlops.hooks.storage import open_storage
from airflow_mlops.operators.base import MlopsOperator, report_folder
from airflow_mlops.operators.validation import DataValidationOperator


class SuggestSuiteOperator(MlopsOperator):
    """Derive an expectation suite from a snapshot: schema, types, ranges, categories, missing values and volume.

    Writes ``suite.json`` to the task's report folder, for people to correct and keep. The suite holds for the snapshot
    itself, which is checked. Returns its address as ``suite_uri``, ``suite_name`` and ``expectation_count``.

    :param dataset: a snapshot (templated).
    :param spec: how much air to leave, a :class:`~airflow_mlops.domain.suggestion.SuggestionSpec` or the same as a
        mapping.
    """

    template_fields: Sequence[str] = ("dataset",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"dataset": "json"}

    def __init__(self, *, dataset: Any, spec: SuggestionSpec | Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.spec = as_spec(spec)

    def execute(self, context: Context) -> dict[str, Any]:
        """Profile the snapshot, and write down what it suggests."""
        from airflow_mlops.engines.snapshots import open_snapshot

        snapshot = Snapshot.from_dict(self.dataset)
        with open_snapshot(open_storage(snapshot.uri)) as local:
            suite = suggested(snapshot.dataset_name, local.parts, self.spec)
        place = report_folder(context) / "suite.json"
        place.write_json(suite)
        self.log.info("Suggested %d expectations: %s", len(suite["expectations"]), place.uri)
        return {
            "suite_uri": place.uri,
            "suite_name": suite["name"],
            "expectation_count": len(suite["expectations"]),
            "dataset_digest": snapshot.digest,
        }


class SkewCheckOperator(DataValidationOperator):
    """Hold a snapshot against a baseline: the data of serving against that of training, this month against the last.

    What the baseline suggests, with types compared one by one, is a suite, and the snapshot is validated against it:
    its columns, types, ranges, categories, missing values and number of rows. Reports, ``on_failure`` and the XComs are
    those of :class:`~airflow_mlops.operators.validation.DataValidationOperator`.

    :param baseline: the snapshot to compare with, such as that of the training (templated).
    :param spec: how much air to leave, a :class:`~airflow_mlops.domain.suggestion.SuggestionSpec` or the same as a
        mapping.
    :param ignore_columns: columns of either that are not compared, such as the label, which serving does not have.
    """

    template_fields: Sequence[str] = ("dataset", "baseline")
    template_fields_renderers: ClassVar[dict[str, str]] = {"dataset": "json", "baseline": "json"}

    def __init__(
        self,
        *,
        baseline: Any,
        spec: SuggestionSpec | Mapping[str, Any] | None = None,
        ignore_columns: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(suite={}, **kwargs)
        self.baseline = baseline
        self.spec = as_spec(spec)
        self.ignore_columns = ignore_columns

    def measure(self, context: Context) -> ValidationReport:
        """Derive the baseline's suite, run it on the snapshot, and compare the types."""
        from airflow_mlops.engines.snapshots import open_snapshot, read_manifest

        baseline = Snapshot.from_dict(self.baseline)
        with open_snapshot(open_storage(baseline.uri)) as local:
            suite = suggested(
                f"{baseline.dataset_name}@{baseline.digest[:12]}",
                local.parts,
                replace(self.spec, types=False),
                without=self.ignore_columns,
            )
            expected = local.manifest
        current = read_manifest(open_storage(Snapshot.from_dict(self.dataset).uri))
        ignored = [column.name for column in current.columns if column.name in self.ignore_columns]
        suite["expectations"][0]["kwargs"]["column_set"] += ignored
        self.suite = suite
        types = compare_types(expected, current, self.ignore_columns)
        return self._measure_snapshot(self._read_suite(context), self._moment(context), types)


def suggested(name: str, parts: Sequence[Path], spec: SuggestionSpec, *, without: Sequence[str] = ()) -> dict[str, Any]:
    """Return the suite that Parquet files suggest, without what does not hold for these files themselves."""
    from airflow_mlops.engines.great_expectations import run_suite
    from airflow_mlops.engines.profiles import profile_parquet

    profile = profile_parquet(parts, threads=duckdb_limits().threads)
    kept = tuple(column for column in profile.columns if column.name not in without)
    document = suggest_suite(name, replace(profile, columns=kept), spec)
    schema, *rest = document["expectations"]
    suite = Suite.from_document({"name": name, "expectations": rest}, "the suggested suite")
    outcomes = run_suite(suite, parts, duckdb_limits())
    holds = [item for item, outcome in zip(rest, outcomes, strict=True) if outcome.success]
    return document | {"expectations": [schema, *holds]}


def compare_types(
    expected: SnapshotManifest, found: SnapshotManifest, ignored: Sequence[str] = ()
) -> tuple[ExpectationOutcome, ...]:
    """Return an outcome for the type of each column that both have."""
    types = {column.name: column.type for column in found.columns}
    return tuple(
        ExpectationOutcome(
            type="expect_column_type_to_be",
            kwargs={"column": column.name, "type": column.type},
            success=types[column.name] == column.type,
            severity="critical",
            observed=types[column.name],
            notes="The type in the baseline.",
        )
        for column in expected.columns
        if column.name in types and column.name not in ignored
    )


def as_spec(spec: SuggestionSpec | Mapping[str, Any] | None) -> SuggestionSpec:
    """Return a spec that its author gave as a value, as a mapping, or not at all."""
    if spec is None:
        return SuggestionSpec()
    return spec if isinstance(spec, SuggestionSpec) else SuggestionSpec.from_dict(spec)
