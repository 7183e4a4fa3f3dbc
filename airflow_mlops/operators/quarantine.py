"""Put the rows of a snapshot that fail their expectations into a snapshot of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_mlops.domain.dataset import Snapshot, SnapshotManifest, dataset_path, snapshot_path
from airflow_mlops.domain.quarantine import SUFFIX, Quarantine, refusal_of_share, refusal_of_tables
from airflow_mlops.domain.validation import Expectation, ExpectationOutcome, Severity, Suite, describe, subject
from airflow_mlops.hooks.duckdb import duckdb_limits
from airflow_mlops.hooks.storage import artifact_store

if TYPE_CHECKING:
    from airflow_mlops.engines.duckdb import MeasuredData
    from airflow_mlops.engines.snapshots import LocalSnapshot

Check = Callable[[Sequence[Path]], tuple[ExpectationOutcome, ...]]


@dataclass(frozen=True, kw_only=True)
class QuarantineTask:
    """Separates the rows of one snapshot.

    The snapshot of the rows that pass is checked again before it is published: a table that has lost rows may fail
    what it passed as a whole, such as a number of rows.
    """

    snapshot: Snapshot
    suite: Suite
    outcomes: Sequence[ExpectationOutcome]
    """Of every expectation, in the suite's order."""
    on_tables: Sequence[str]
    """Names of further checks of the whole that failed."""
    max_share: float
    check: Check
    """Finds what the whole validation finds, the times of the rows among it, in other files."""

    def run(self, local: LocalSnapshot) -> Quarantine:
        """Publish both snapshots, unless they are there, or refuse to."""
        from airflow_mlops.engines.duckdb import row_conditions, separate_rows
        from airflow_mlops.engines.snapshots import staging

        failed = [
            item
            for item, outcome in zip(self.suite.expectations, self.outcomes, strict=True)
            if not outcome.success and outcome.severity == Severity.CRITICAL
        ]
        conditions = row_conditions(local.parts, failed, duckdb_limits())
        on_tables = [_name(item) for item, condition in zip(failed, conditions, strict=True) if condition is None]
        if refusal := refusal_of_tables([*on_tables, *self.on_tables]):
            return self._refused(refusal)
        named = {
            name: " OR ".join(f"({c})" for item, c in zip(failed, conditions, strict=True) if c and _name(item) == name)
            for name in dict.fromkeys(map(_name, failed))
        }
        with contextlib.ExitStack() as stack:
            names = (self.snapshot.dataset_name, self.snapshot.dataset_name + SUFFIX)
            folders = [stack.enter_context(staging(artifact_store() / dataset_path(name))) for name in names]
            found = separate_rows(
                local.parts,
                named,
                passing=folders[0],
                failing=folders[1],
                window=local.manifest.window,
                limits=duckdb_limits(),
            )
            if found.failing is None:
                return self._refused("no single row fails")
            rows = found.failing.rows
            if refusal := refusal_of_share(rows, local.manifest.rows, self.max_share):
                return self._refused(refusal, rows)
            assert found.passing is not None  # noqa: S101 - else all rows fail, which was refused
            again = self.check([folders[0] / part for part in found.passing.parts])
            if still := [item for item in again if not item.success and item.severity == Severity.CRITICAL]:
                return self._refused(f"the rows that are left fail {describe(still[0])}", rows)
            passing = self._publish(names[0], folders[0], found.passing, local.manifest)
            quarantined = self._publish(names[1], folders[1], found.failing, local.manifest)
        return Quarantine(
            rows=rows,
            share=rows / local.manifest.rows,
            max_share=self.max_share,
            passing=passing,
            quarantined=quarantined,
        )

    def _publish(self, dataset_name: str, folder: Path, data: MeasuredData, origin: SnapshotManifest) -> Snapshot:
        from airflow_mlops.engines.snapshots import publish, seal_parts

        manifest = SnapshotManifest(
            dataset_name=dataset_name,
            digest=data.digest,
            rows=data.rows,
            columns=data.columns,
            parts=seal_parts(folder, data.parts),
            sources=origin.sources,
            window=data.window,
            created_at=datetime.now(UTC),
        )
        target = artifact_store() / snapshot_path(dataset_name, data.digest)
        created = publish(folder, manifest, target)
        return Snapshot(dataset_name=dataset_name, digest=data.digest, uri=target.uri, rows=data.rows, created=created)

    def _refused(self, refusal: str, rows: int = 0) -> Quarantine:
        return Quarantine.refused(refusal, max_share=self.max_share, rows=rows, total=self.snapshot.rows)


def _name(item: Expectation) -> str:
    about = subject(item.kwargs)
    return f"{item.type}({about})" if about else item.type
