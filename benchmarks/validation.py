"""A suite of 20 expectations on a Parquet file of 25 columns: seconds and peak memory, side by side with other ways.

    make bench-validation            # 1,000,000 rows
    ROWS=10000000 make bench-validation

- `ours`: what `DataValidationOperator` runs: DuckDB measures in bounded memory, Great Expectations judges.
- `duckdb_sql`: the same checks written by hand as DuckDB SQL, under the same limits.
- `gx_pandas`: Great Expectations on pandas, as its documentation begins.
- `gx_sqlalchemy`: Great Expectations on DuckDB by way of SQLAlchemy, on a view of the file.
- `pandera`, `pointblank`: on Polars. They and `gx_sqlalchemy` run in an environment of their own, made for the
  run from PyPI, and are left out with a sentence where that cannot be. None of these has all 20 checks: each runs those
  that it has, and says how many.

Each way runs in a process of its own. Its seconds are those of reading and checking, without imports, which are shown
beside; peak memory is that of the whole process. `small` is the operator on 10,000 rows: the JSON, which is the last
line, tells its seconds after imports, and how many of them are not spent on running the suite.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROWS = int(os.environ.get("ROWS", "1000000"))
SMALL_ROWS = 10_000
WAYS = Path(__file__).with_name("validation_ways.py")
OURS = ("ours", "duckdb_sql", "gx_pandas")
PEERS = ("gx_sqlalchemy", "pandera", "pointblank")
PACKAGES = (
    "great-expectations",
    "duckdb-engine",
    "duckdb>=2.0",
    "pandas<3",
    "pandera[polars]",
    "pointblank",
    "pyarrow",
)
ONLY = tuple(filter(None, os.environ.get("WAYS", "").split(",")))
"""Run only these, such as WAYS=ours,duckdb_sql for 50 million rows, which would not fit in memory on pandas."""


def make_peers(folder: Path) -> Path | None:
    """Make an environment with the peers, and return its Python, or say why there is none."""
    python = folder / "bin/python"
    uv = os.environ.get("UV") or shutil.which("uv")
    try:
        if uv:
            subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
            subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *PACKAGES], check=True)
        else:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"The peers are left out, since they cannot be installed: {error}")
        return None
    return python


def run(way: str, data: Path, python: str | Path = sys.executable) -> dict[str, float] | None:
    finished = subprocess.run([python, WAYS, way, data], check=False, text=True, capture_output=True)
    if finished.returncode:
        reason = finished.stderr.strip().splitlines()[-1:] or [f"it ended with {finished.returncode}"]
        print(f"{way:14} could not run: {reason[0]:.200}", flush=True)
        return None
    found: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    print(
        f"{way:14} {found['seconds']:8.2f} s  {found['peak_mb']:7.0f} MB  (imports {found['import_seconds']:.1f} s, "
        f"{found['checks']} checks, {found['failed']} failed)",
        flush=True,
    )
    return found


def main() -> None:
    ways = [way for way in (*OURS, *PEERS) if not ONLY or way in ONLY]
    with tempfile.TemporaryDirectory() as folder:
        data, small = Path(folder) / "flights.parquet", Path(folder) / "small.parquet"
        for file, rows in ((data, ROWS), (small, SMALL_ROWS)):
            subprocess.run([sys.executable, WAYS, "make", file, str(rows)], check=True)
        print(f"{ROWS:,} rows by 25 columns, {data.stat().st_size / 1e6:.0f} MB of Parquet")
        found = {way: run(way, data) for way in ways if way in OURS}
        if set(ways) & set(PEERS) and (python := make_peers(Path(folder) / "peers")):
            found |= {way: run(way, data, python) for way in ways if way in PEERS}
        small_run = run("small", small)
    ours = found["ours"]
    if ours is None:
        sys.exit("There is nothing to compare with.")
    result: dict[str, object] = {"rows": ROWS}
    if pandas := found.get("gx_pandas"):
        result["vs_gx_pandas"] = round(pandas["seconds"] / ours["seconds"], 2)
    if sql := found.get("duckdb_sql"):
        result["vs_duckdb_sql"] = round(ours["seconds"] / sql["seconds"], 2)
    result["peak_mb"] = round(ours["peak_mb"])
    result["peaks_mb"] = {way: round(item["peak_mb"]) for way, item in found.items() if item}
    result["seconds"] = {way: round(item["seconds"], 2) for way, item in found.items() if item}
    if small_run:
        result["small_seconds"] = round(small_run["seconds"], 3)
        result["small_overhead_seconds"] = round(small_run["overhead_seconds"], 3)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
