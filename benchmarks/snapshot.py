"""Throughput and peak memory of a snapshot, against DuckDB's plain copy of the same Parquet file.

    ROWS=1000000 python benchmarks/snapshot.py

Each runs in a process of its own with the same limits. Times are noisy, the ratio holds. The last line is JSON.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from airflow_mlops.domain.dataset import CsvDialect
from airflow_mlops.engines.duckdb import DuckDbLimits, LocalSource, take_snapshot
from airflow_mlops.engines.duckdb.connection import connect

ROWS = int(os.environ.get("ROWS", "1000000"))
REPEATS = int(os.environ.get("REPEATS", "3"))
LIMITS = DuckDbLimits(memory=os.environ.get("MEMORY", "1GB"))
TABLE = """
select
    range as id,
    timestamp '2013-01-01' + to_minutes(range) as event_time,
    'c' || (hash(range) % 20) as category,
    'user-' || (hash(range + 1) % 100000) as user_name,
    (hash(range + 2) % 1000)::integer as amount,
    case when hash(range + 3) % 10 = 0 then null else (hash(range + 3) % 1000000) / 1000 end as price,
    (hash(range + 4) % 1000000) / 7.0 as score_1,
    (hash(range + 5) % 1000000) / 7.0 as score_2,
    (hash(range + 6) % 1000000) / 7.0 as score_3,
    hash(range + 7) % 2 = 0 as is_late
from range({rows})
"""


def make_source(file: Path) -> None:
    with connect(LIMITS) as connection:
        connection.execute(f"copy ({TABLE.format(rows=ROWS)}) to '{file}' (format parquet)")


def plain_copy(source: Path, folder: Path) -> None:
    with connect(LIMITS) as connection:
        connection.execute(
            f"copy (from read_parquet('{source}')) to '{folder / 'copy.parquet'}' (format parquet, compression zstd)"
        )


def snapshot(source: Path, folder: Path) -> None:
    data = take_snapshot(
        [LocalSource(uri=str(source), path=source)], folder, dialect=CsvDialect(), window=None, limits=LIMITS
    )
    assert data.rows == ROWS  # noqa: S101


def measure(name: str, source: Path) -> None:
    """Run one of them in this process, and print its seconds and its peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        {"copy": plain_copy, "snapshot": snapshot}[name](source, Path(folder))
        seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def run(name: str, source: Path) -> dict[str, float]:
    command = [sys.executable, __file__, name, str(source)]
    runs = [json.loads(subprocess.check_output(command, text=True).splitlines()[-1]) for _ in range(REPEATS)]
    best: dict[str, float] = min(runs, key=lambda item: item["seconds"])
    print(f"{name:9} {best['seconds']:6.2f} s  {ROWS / best['seconds']:12,.0f} rows/s  {best['peak_mb']:6.0f} MB")
    return best


def main() -> None:
    if len(sys.argv) > 1:
        measure(sys.argv[1], Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.parquet"
        make_source(source)
        copy, taken = run("copy", source), run("snapshot", source)
    result = {
        "rows": ROWS,
        "memory_limit": LIMITS.memory,
        "threads": LIMITS.threads,
        "copy_seconds": round(copy["seconds"], 2),
        "copy_peak_mb": round(copy["peak_mb"]),
        "snapshot_seconds": round(taken["seconds"], 2),
        "snapshot_peak_mb": round(taken["peak_mb"]),
        "snapshot_to_copy": round(taken["seconds"] / copy["seconds"], 2),
        "snapshot_rows_per_second": round(ROWS / taken["seconds"]),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
