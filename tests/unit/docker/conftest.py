"""A tree as the job contract wants it, filled with flights, and the job as a child process over it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from demo.flights import write_months

ROOT = Path(__file__).parents[3]
PROGRAMS = {"train": ROOT / "docker" / "trainer", "score": ROOT / "airflow_mlops" / "scorer"}
FEATURES = "carrier,origin,dest,distance,hour,weekday,temp,wind_gust,pressure"
HYPERPARAMETERS = {
    "target": "late",
    "features": FEATURES,
    "time_column": "scheduled_departure",
    "max_iterations": "25",
    "min_samples_leaf": "5",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The tree of one job."""

    root: Path

    def give(self, channel: str, frame: pd.DataFrame, file_name: str = "part-0.parquet") -> None:
        folder = self.root / "input" / "data" / channel
        folder.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(folder / file_name)

    def configure(self, hyperparameters: Mapping[str, object]) -> None:
        folder = self.root / "input" / "config"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hyperparameters.json").write_text(json.dumps(dict(hyperparameters)))

    def run(self, command: str, **environment: str) -> int:
        """Run the job as an engine would, in a folder of its own, and return the exit status."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        finished = subprocess.run(
            [sys.executable, PROGRAMS[command], command],
            cwd=self.root,
            env=clean | {"SAGEMAKER_BASE_DIR": str(self.root)} | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        sys.stdout.write(finished.stdout + finished.stderr)  # pytest shows it where a test fails.
        return finished.returncode

    @property
    def failure(self) -> str:
        return (self.root / "output" / "failure").read_text()

    @property
    def metrics(self) -> dict[str, float]:
        metrics: dict[str, float] = json.loads((self.root / "output" / "data" / "metrics.json").read_text())
        return metrics

    @property
    def steps(self) -> list[dict[str, float]]:
        lines = (self.root / "output" / "data" / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    @property
    def predictions(self) -> pd.DataFrame:

        return pd.read_parquet(self.root / "output" / "data" / "predictions.parquet")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(root=tmp_path)


@pytest.fixture(scope="session")
def flights(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Every tenth flight of January, in order."""

    january = write_months(tmp_path_factory.mktemp("months"))[0]
    return pd.read_parquet(january)[::10].reset_index(drop=True)
