"""An evaluation of two binary models: seconds and peak memory of the parts that depend on the rows of the holdout.

    ROWS=1000000 RESAMPLES=1000 python benchmarks/evaluation.py

- `score`: the scorer that is put into jobs, over a file of 20 columns, with a logistic regression.
- `judge`: what the worker does then: read the truth and both predictions, all metrics with bootstrap intervals and
  tests, and the plots.
- `sklearn`: the intervals of the same eight metrics as one would write them, a scikit-learn call for each metric, model
  and resample. It is timed on a few resamples, and scaled up.

Each runs in a process of its own. Times are noisy, the ratio holds. The last line is JSON.
"""

import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from airflow_mlops.domain.evaluation import LearningTask
from airflow_mlops.engines.numpy import Predictions, compare, diagnose
from airflow_mlops.engines.pyarrow import read_column
from airflow_mlops.operators.jobs import SCORER

ROWS = int(os.environ.get("ROWS", "1000000"))
RESAMPLES = int(os.environ.get("RESAMPLES", "1000"))
SKLEARN_RESAMPLES = int(os.environ.get("SKLEARN_RESAMPLES", "2"))
FEATURES = [f"feature_{number}" for number in range(20)]
BATCH_ROWS = 100_000
HOLDOUT = "input/data/score/holdout.parquet"


def make_holdout(root: Path) -> None:
    random = np.random.default_rng(0)
    file = root / HOLDOUT
    file.parent.mkdir(parents=True)
    schema = pa.schema([*((name, pa.float64()) for name in FEATURES), ("late", pa.int64())])
    with pq.ParquetWriter(file, schema) as writer:
        for start in range(0, ROWS, BATCH_ROWS):
            features = random.normal(size=(min(BATCH_ROWS, ROWS - start), len(FEATURES)))
            late = features[:, :5].sum(axis=1) + random.normal(-3, 3, len(features)) > 0
            writer.write_table(pa.table([*features.T, late.astype(np.int64)], schema=schema))


def make_model(root: Path, columns: int) -> None:
    """Train on the first rows, with as many of the five columns that tell something."""
    import mlflow  # here, so that it counts in no part's memory
    from sklearn.linear_model import LogisticRegression

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    rows = next(pq.ParquetFile(root / HOLDOUT).iter_batches(20_000)).to_pandas()
    features = rows[FEATURES].mul([1.0] * columns + [0.0] * (len(FEATURES) - columns))
    model = LogisticRegression().fit(features, rows["late"])
    signature = mlflow.models.infer_signature(rows[FEATURES], np.array([0]))
    mlflow.sklearn.save_model(
        model, root / "model", signature=signature, pip_requirements=[], serialization_format="cloudpickle"
    )


def score(root: Path) -> None:
    environment = os.environ | {"SAGEMAKER_BASE_DIR": str(root)}
    subprocess.run([sys.executable, str(SCORER), "score"], env=environment, check=True, stdout=subprocess.DEVNULL)


def read(root: Path) -> tuple[pa.Table, Predictions, Predictions]:
    said = []
    for name in ("candidate", "champion"):
        files = [root / name / "output/data/predictions.parquet"]
        prediction, probability = (read_column(files, column, name) for column in ("prediction", "probability"))
        said.append(Predictions(prediction=prediction, probability=probability))
    return read_column([root / "candidate" / HOLDOUT], "late", "holdout"), said[0], said[1]


def judge(root: Path) -> None:
    truth, ours, theirs = read(root)
    compare(task=LearningTask.BINARY, truth=truth, candidate=ours, champion=theirs, resamples=RESAMPLES)
    for said in (ours, theirs):
        diagnose("candidate", LearningTask.BINARY, truth, said)


def sklearn(root: Path) -> None:
    from sklearn import metrics

    truth, ours, theirs = read(root)
    random = np.random.default_rng(0)
    for _ in range(SKLEARN_RESAMPLES):
        rows = random.integers(0, len(truth), len(truth))
        for said in (ours, theirs):
            actual, label, probability = truth[rows], said.prediction[rows], said.probability[rows]
            for metric in (
                metrics.roc_auc_score,
                metrics.average_precision_score,
                metrics.log_loss,
                metrics.brier_score_loss,
            ):
                metric(actual, probability)
            for metric in (metrics.accuracy_score, metrics.precision_score, metrics.recall_score, metrics.f1_score):
                metric(actual, label)


PARTS = {"score": score, "judge": judge, "sklearn": sklearn}


def measure(name: str, root: Path) -> None:
    """Run one part in this process, and print its seconds and its peak memory, or that of the program it started."""
    start = time.perf_counter()
    PARTS[name](root)
    seconds = time.perf_counter() - start
    who = resource.RUSAGE_CHILDREN if name == "score" else resource.RUSAGE_SELF
    print(json.dumps({"seconds": seconds, "peak_mb": resource.getrusage(who).ru_maxrss / 1024}))


def run(name: str, root: Path) -> dict[str, float]:
    output = subprocess.check_output([sys.executable, __file__, name, str(root)], text=True)
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    print(f"{name:9} {found['seconds']:8.1f} s  {found['peak_mb']:6.0f} MB")
    return found


def main() -> None:
    if len(sys.argv) > 1:
        measure(sys.argv[1], Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        candidate, champion = Path(folder) / "candidate", Path(folder) / "champion"
        make_holdout(candidate)
        (champion / "input/data/score").mkdir(parents=True)
        (champion / HOLDOUT).symlink_to(candidate / HOLDOUT)
        for root, columns in ((candidate, 5), (champion, 4)):
            make_model(root, columns)
            scored = run("score", root)
        judged, reference = run("judge", Path(folder)), run("sklearn", Path(folder))
    scaled = reference["seconds"] * RESAMPLES / SKLEARN_RESAMPLES
    result = {
        "rows": ROWS,
        "resamples": RESAMPLES,
        "score_seconds": round(scored["seconds"], 1),
        "score_peak_mb": round(scored["peak_mb"]),
        "judge_seconds": round(judged["seconds"], 1),
        "judge_peak_mb": round(judged["peak_mb"]),
        "sklearn_seconds": round(scaled, 1),
        "sklearn_to_judge": round(scaled / judged["seconds"], 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
