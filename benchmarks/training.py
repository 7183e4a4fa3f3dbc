"""What a training costs beside the job itself, against DockerOperator; and what it costs to wait for many jobs at once.

    JOBS=500 REPEATS=7 SECONDS=60 python benchmarks/training.py    # 0 leaves a part out

Needs a Docker engine and busybox (Debian: busybox-static). How each is measured, is said in ``training_overhead.py``
and ``training_waiting.py``. Times are noisy: close what else runs. The last line is JSON.
"""

import json
import os
import tempfile
from pathlib import Path

_HOME = tempfile.TemporaryDirectory(prefix="airflow-mlops-benchmark-")
os.environ |= {  # Airflow reads these when it is imported.
    "AIRFLOW_HOME": _HOME.name,
    "AIRFLOW__CORE__DAGS_FOLDER": f"{_HOME.name}/dags",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME.name}/airflow.db",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    "AIRFLOW__MLOPS__ARTIFACTS_ROOT": f"{_HOME.name}/artifacts",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

from benchmarks.dags import take_snapshot  # noqa: E402
from benchmarks.docker_image import benchmark_image  # noqa: E402
from benchmarks.training_overhead import measure_overhead  # noqa: E402
from benchmarks.training_waiting import measure_waiting  # noqa: E402
from demo.mlflow import start_mlflow, wait_for_mlflow  # noqa: E402
from demo.processes import Processes  # noqa: E402

JOBS = int(os.environ.get("JOBS", "500"))
REPEATS = int(os.environ.get("REPEATS", "7"))
SECONDS = float(os.environ.get("SECONDS", "60"))


def main() -> None:
    """Measure both, and print them as one line of JSON."""
    from airflow.utils import db

    folder = Path(_HOME.name)
    result: dict[str, float] = {}
    with benchmark_image(), Processes(folder) as processes:
        uri = start_mlflow(processes, folder, processes.claim_port(0))
        os.environ["AIRFLOW_CONN_MLFLOW_DEFAULT"] = json.dumps({"conn_type": "mlflow", "host": uri})
        db.initdb()
        wait_for_mlflow(processes, uri)
        snapshot = take_snapshot(folder)
        if REPEATS:
            result["overhead_vs_docker_operator"] = round(measure_overhead(snapshot, uri, REPEATS), 3)
        if JOBS:
            result |= measure_waiting(processes, snapshot, JOBS, SECONDS)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
