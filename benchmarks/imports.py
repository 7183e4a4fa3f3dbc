"""CPU time that importing every operator adds to importing the task SDK, as every parsing of a Dag pays it.

    python benchmarks/imports.py

Each import runs in an interpreter of its own, with bytecode already written. The last line is JSON: the medians in
milliseconds, and the ratio, which holds where the times are noisy.
"""

import json
import os
import statistics
import subprocess
import sys

from airflow_mlops.get_provider_info import get_provider_info

RUNS = int(os.environ.get("RUNS", "7"))
CODE = """
import importlib, time
start = time.process_time()
from airflow.sdk import BaseOperator
sdk = time.process_time()
for name in {modules!r}: importlib.import_module(name)
print(sdk - start, time.process_time() - sdk)
"""


def measure(modules: list[str]) -> tuple[float, float]:
    """Return the CPU seconds of the SDK and of the modules in a new interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", CODE.format(modules=modules)]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    sdk, operators = map(float, output.splitlines()[-1].split())
    return sdk, operators


def main() -> None:
    """Measure and print."""
    modules = [module for entry in get_provider_info()["operators"] for module in entry["python-modules"]]
    measure(modules)  # writes the bytecode
    sdk, operators = (
        statistics.median(values) * 1000 for values in zip(*(measure(modules) for _ in range(RUNS)), strict=True)
    )
    print(f"airflow.sdk {sdk:.0f} ms, all operators {operators:.0f} ms more (the goal is at most 50)")
    print(json.dumps({"sdk_ms": round(sdk), "operators_ms": round(operators), "ratio": round(operators / sdk, 3)}))


if __name__ == "__main__":
    main()
