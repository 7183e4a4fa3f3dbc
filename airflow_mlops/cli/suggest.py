"""``airflow mlops suggest-suite``."""

import contextlib
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from airflow_mlops.cli.command import command
from airflow_mlops.domain.dataset import MANIFEST, CsvDialect
from airflow_mlops.domain.suggestion import SuggestionSpec
from airflow_mlops.engines.duckdb import LocalSource, take_snapshot
from airflow_mlops.engines.fsspec import Storage
from airflow_mlops.engines.snapshots import find_sources, open_snapshot
from airflow_mlops.engines.yaml import format_document
from airflow_mlops.hooks.duckdb import duckdb_limits
from airflow_mlops.hooks.storage import open_storage
from airflow_mlops.operators.suggestion import suggested


@command
def suggest_suite(args: Namespace) -> int:
    """Write the suite that a snapshot, a file or a folder suggests."""
    spec = SuggestionSpec(
        range_margin=args.range_margin, null_margin=args.null_margin, max_categories=args.max_categories
    )
    place = open_storage(args.source if "://" in args.source else str(Path(args.source).resolve()))
    with _parquet(place) as (name, parts):
        suite = suggested(args.name or name, parts, spec)
    text = format_document(suite, is_json=bool(args.output and args.output.endswith(".json")))
    if args.output:
        Path(args.output).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{len(suite['expectations'])} expectations were written to {args.output}.\n")
    else:
        sys.stdout.write(text)
    return 0


@contextlib.contextmanager
def _parquet(place: Storage) -> Iterator[tuple[str, list[Path]]]:
    """Give a name and the Parquet files of a snapshot, or of CSV and Parquet files, which are read as a snapshot is."""
    if (place / MANIFEST).exists():
        with open_snapshot(place) as local:
            yield local.manifest.dataset_name, local.parts
        return
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="airflow-mlops-")))
        files = [(file, stack.enter_context(file.local())) for file in find_sources(place)]
        sources = [LocalSource(uri=file.uri, path=path) for file, path in files]
        data = take_snapshot(sources, folder, dialect=CsvDialect(), window=None, limits=duckdb_limits())
        yield Path(place.path).name.split(".")[0], [folder / part for part in data.parts]
