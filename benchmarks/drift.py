"""The drift of 20 columns of numbers and 5 of categories between two Parquet files: seconds and peak memory.

    ROWS=1000000 python benchmarks/drift.py
    make bench-drift ROWS=10000000

- `ours`: both files are profiled, and the profiles compared.
- `kept`: the reference's profile is read from the file that it is kept in; the window is profiled, and both compared.
- `scan`, `scan window`: DuckDB reads every value of both files, or of the window alone, and computes one sum or maximum
  a column.
- `evidently`: its default preset on pandas frames; left out above EVIDENTLY_ROWS, since it runs out of memory.
- `nannyml`, `whylogs`: in environments of their own, which are made with uv; what cannot be installed is left out.

Each runs in a process of its own. The first four run REPEATS times, in turn, and the fastest counts; the others take
minutes and run once. The clock starts when the libraries are imported, for all ways alike, and stops at the verdicts;
the seconds of imports are printed beside, and those of the processor, which are steadier on a busy machine.
Half of the columns have moved. The last line is JSON.
"""

import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROWS = int(os.environ.get("ROWS", "1000000"))
REPEATS = int(os.environ.get("REPEATS", "5"))
THREADS = int(os.environ.get("THREADS", "2"))
EVIDENTLY_ROWS = int(os.environ.get("EVIDENTLY_ROWS", "2000000"))
SECONDS = int(os.environ.get("SECONDS", "3600"))
GROUP_ROWS = 122_880
NUMBERS, CATEGORIES = 20, 5
HERE = Path(__file__).parent
ISOLATED = {"nannyml": ("nannyml statsmodels", "3.11"), "whylogs": ("whylogs[viz] setuptools<81", "3.11")}


def make_file(file: Path, seed: int, moved: float) -> None:
    """Write a file as snapshots are written: by DuckDB, in row groups of 122,880, with Zstandard."""
    import duckdb
    import numpy as np
    import pyarrow as pa

    random = np.random.default_rng(seed)
    shapes: tuple[Callable[[int], Any], ...] = (
        lambda rows: random.normal(0, 1, rows),
        lambda rows: random.lognormal(0, 1, rows),
        lambda rows: random.exponential(1, rows),
        lambda rows: random.uniform(-2, 2, rows),
        lambda rows: random.integers(0, 500, rows),
    )

    def batch(rows: int) -> pa.RecordBatch:
        columns: dict[str, Any] = {}
        for number in range(NUMBERS):
            values = shapes[number % len(shapes)](rows)
            shift = moved * (1 + number / NUMBERS) if number % 2 else 0.0
            scale = 144 if values.dtype.kind == "i" else 1
            columns[f"n{number}"] = values + values.dtype.type(shift * scale)
        for number in range(CATEGORIES):
            size = (3, 10, 50, 200, 1000)[number]
            weights = np.arange(1, size + 1) ** -(0.7 + (moved if number % 2 else 0.0))
            codes = random.choice(size, rows, p=weights / weights.sum())
            names = pa.array([f"value {code}" for code in range(size)])
            columns[f"c{number}"] = pa.DictionaryArray.from_arrays(codes.astype(np.int32), names).cast(pa.string())
        return pa.record_batch(columns)

    sizes = [min(GROUP_ROWS, ROWS - start) for start in range(0, ROWS, GROUP_ROWS)]
    reader = pa.RecordBatchReader.from_batches(batch(0).schema, map(batch, sizes))
    with duckdb.connect(config={"threads": "1", "memory_limit": "1GB"}) as connection:
        connection.register("made", reader)
        connection.execute(f"COPY made TO '{file}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {GROUP_ROWS})")


def ours(root: Path) -> dict[str, bool]:
    from airflow_mlops.engines.profiles import profile_parquet

    reference = profile_parquet([root / "reference.parquet"], threads=THREADS)
    return verdicts(reference, root)


def kept(root: Path) -> dict[str, bool]:
    from airflow_mlops.domain.profile import DatasetProfile

    return verdicts(DatasetProfile.from_dict(json.loads((root / "profile.json").read_text())), root)


def verdicts(reference: Any, root: Path) -> dict[str, bool]:
    from airflow_mlops.domain.drift import DriftSpec
    from airflow_mlops.engines.numpy.drift import measure
    from airflow_mlops.engines.profiles import profile_parquet

    current = profile_parquet([root / "current.parquet"], grids=reference.grids, threads=THREADS)
    found = measure(reference, current, DriftSpec(), [column.name for column in reference.columns])
    return {item.column: item.drifted for item in found}


def keep(root: Path) -> dict[str, bool]:
    from airflow_mlops.engines.profiles import profile_parquet

    profile = profile_parquet([root / "reference.parquet"], threads=THREADS)
    (root / "profile.json").write_text(json.dumps(profile.to_dict()))
    return {}


def scan(root: Path) -> dict[str, bool]:
    return scanned([root / "reference.parquet", root / "current.parquet"])


def scan_window(root: Path) -> dict[str, bool]:
    return scanned([root / "current.parquet"])


def scanned(files: list[Path]) -> dict[str, bool]:
    import duckdb

    sums = [f"sum(n{number})" for number in range(NUMBERS)] + [f"max(c{number})" for number in range(CATEGORIES)]
    with duckdb.connect(config={"threads": str(THREADS), "memory_limit": "1GB"}) as connection:
        for file in files:
            connection.execute(f"SELECT {', '.join(sums)} FROM '{file}'").fetchall()  # noqa: S608 - own names
    return {}


def evidently(root: Path) -> dict[str, bool]:
    import pandas as pd
    from evidently import Dataset, Report
    from evidently.presets import DataDriftPreset

    sides = [Dataset.from_pandas(pd.read_parquet(root / f"{name}.parquet")) for name in ("current", "reference")]
    result = Report([DataDriftPreset()], include_tests=True).run(*sides).dict()
    found = {}
    for item in result["tests"]:
        config = item["metric_config"]["params"]
        if "column" in config and config["type"].endswith("ValueDrift"):
            found[config["column"]] = str(getattr(item["status"], "value", item["status"])) == "FAIL"
    return found


def nannyml(root: Path) -> dict[str, bool]:
    import nannyml as nml
    import pandas as pd

    reference, current = (pd.read_parquet(root / f"{name}.parquet") for name in ("reference", "current"))
    names = [column for column in reference.columns if column.startswith("c")]
    for frame in (reference, current):
        frame[names] = frame[names].astype("category")
    calculator = nml.UnivariateDriftCalculator(
        column_names=list(reference.columns),
        continuous_methods=["wasserstein"],
        categorical_methods=["jensen_shannon"],
        chunk_number=1,
    )
    calculator.fit(reference).calculate(current).to_df()
    return {}


def whylogs(root: Path) -> dict[str, bool]:
    import pandas as pd
    import whylogs as why
    from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores

    views = [why.log(pd.read_parquet(root / f"{name}.parquet")).view() for name in ("current", "reference")]
    calculate_drift_scores(*views, with_thresholds=True)
    return {}


OURS = ("numpy", "scipy.stats", "pyarrow.compute", "pyarrow.parquet", "airflow_mlops.engines.numpy.drift")
WAYS: dict[str, tuple[tuple[str, ...], Callable[[Path], dict[str, bool]]]] = {
    "ours": (OURS, ours),
    "kept": (OURS, kept),
    "keep": (OURS, keep),
    "scan": (("duckdb",), scan),
    "scan window": (("duckdb",), scan_window),
    "evidently": (("pandas", "evidently.presets"), evidently),
    "nannyml": (("pandas", "nannyml"), nannyml),
    "whylogs": (("pandas", "whylogs", "whylogs.viz.drift.column_drift_algorithms"), whylogs),
}
"""What each way imports before its clock starts."""


RATIOS = (("vs_scan", "ours", "scan"), ("vs_scan_kept", "kept", "scan window"))


def measure_way(name: str, root: Path) -> None:
    """Run one way in this process, and print its seconds, its peak memory and its verdicts."""
    start = time.perf_counter()
    for module in WAYS[name][0]:
        importlib.import_module(module)
    imported = time.perf_counter()
    processor = time.process_time()
    found = WAYS[name][1](root)
    seconds, processor = time.perf_counter() - imported, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    times = {"seconds": seconds, "processor": processor, "imports": imported - start}
    print(json.dumps(times | {"peak_mb": peak, "verdicts": found}), flush=True)


def run(name: str, root: Path, python: str = sys.executable) -> dict[str, Any]:
    environment = os.environ | {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1", "PYTHONWARNINGS": "ignore"}
    command = [python, str(HERE / "drift.py"), name, str(root)]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=SECONDS)
    found: dict[str, Any] = json.loads(output.stdout.splitlines()[-1])
    return found


def fastest(names: list[str], root: Path, repeats: int) -> dict[str, dict[str, Any]]:
    """Run several ways in turn, so that a busy moment of the machine meets all, and keep the fastest of each."""
    found: dict[str, dict[str, Any]] = {}
    for _ in range(repeats):
        for name in names:
            this = run(name, root)
            peak = max(this["peak_mb"], found.get(name, this)["peak_mb"])
            processor = min(this["processor"], found.get(name, this)["processor"])
            best = min(this, found.get(name, this), key=lambda item: float(item["seconds"]))
            found[name] = best | {"peak_mb": peak, "processor": processor}
    for name in names:
        say(name, found[name])
    return found


def say(name: str, found: dict[str, Any]) -> None:
    others = f"processor {found['processor']:7.2f} s  imports {found['imports']:4.1f} s"
    print(f"{name:12} {found['seconds']:8.2f} s  {found['peak_mb']:6.0f} MB  {others}", flush=True)


def run_isolated(name: str, root: Path, folder: Path) -> dict[str, Any] | None:
    """Run a way in an environment of its own; where that cannot be made or the way fails, say so."""
    packages, version = ISOLATED[name]
    uv = os.environ.get("UV", "uv")
    try:
        subprocess.run([uv, "venv", "--quiet", "--python", version, str(folder / name)], check=True, timeout=600)
        python = str(folder / name / "bin/python")
        install = [uv, "pip", "install", "--quiet", "--python", python, *packages.split(), "pyarrow", "pandas<3"]
        subprocess.run(install, check=True, timeout=1200)
        found = run(name, root, python)
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or error
        print(f"{name:12} is left out: {' '.join(str(reason).split())[-300:]}", flush=True)
        return None
    say(name, found)
    return found


def main() -> None:
    if len(sys.argv) > 1:
        measure_way(sys.argv[1], Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_file(root / "reference.parquet", 1, 0.0)
        make_file(root / "current.parquet", 2, 0.2)
        size = sum(file.stat().st_size for file in root.glob("*.parquet")) / 1e6
        print(
            f"{ROWS:,} rows, {NUMBERS + CATEGORIES} columns, {size:,.0f} MB in two files, {THREADS} threads", flush=True
        )
        run("keep", root)
        found = fastest(["ours", "scan", "kept", "scan window"], root, REPEATS)
        others: dict[str, dict[str, Any] | None] = {"evidently": None}
        if ROWS <= EVIDENTLY_ROWS:
            others["evidently"] = run("evidently", root)
            say("evidently", others["evidently"])
        else:
            print(
                f"evidently    is left out: of {ROWS:,} rows it needs more memory than EVIDENTLY_ROWS allows",
                flush=True,
            )
        for name in ISOLATED:
            others[name] = run_isolated(name, root, root)
    mine = found["ours"]["seconds"]
    reference = others["evidently"]
    result: dict[str, Any] = {
        "rows": ROWS,
        "seconds": round(mine, 2),
        **{f"vs_{name}": round(other["seconds"] / mine, 1) if other else None for name, other in others.items()},
        **{
            f"{key}{suffix}": round(found[one][what] / found[other][what], 2)
            for key, one, other in RATIOS
            for suffix, what in (("", "seconds"), ("_processor", "processor"))
        },
        "peak_mb": round(max(found["ours"]["peak_mb"], found["kept"]["peak_mb"])),
        "drifted": sum(found["ours"]["verdicts"].values()),
        "same_verdicts": found["ours"]["verdicts"] == found["kept"]["verdicts"]
        and (reference["verdicts"] == found["ours"]["verdicts"] if reference else None),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
