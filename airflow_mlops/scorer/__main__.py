"""Score rows with any MLflow model, by the Python of any image: `python3 <this folder> score`.

    <root>/model/                        the MLflow model: of scikit-learn, or of any flavour that has `python_function`
    <root>/input/data/score/*.parquet    the rows, files read in the order of their names
    <root>/input/config/hyperparameters.json   `target`, `task`, and as JSON what to measure: `serving`, `explanation`
    <root>/output/data/predictions.parquet
    <root>/output/data/serving.json      how fast the model answers, when asked for
    <root>/output/data/explanation.json  what its answers depend on, when asked for
    <root>/output/failure                the reason, in words, when the exit status is not 0

The worker puts this folder into the job, so that all models are scored by the same code, and no image needs its own. It
runs where this package is not installed, so it imports nothing of it; of other libraries it imports MLflow, pandas,
NumPy and PyArrow, which an image with `mlflow` in it has. The names of its files begin with `scorer_`, so that they
stand in the way of no module that a model imports.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from scorer_explanation import Explainer
from scorer_model import CHANNEL, Scorer, ScoringError, installed
from scorer_rows import Channel
from scorer_serving import ServingMeter

DEFAULT_ROOT = "/opt/ml"
EXIT_STOPPED = 143  # As a shell tells of a program that SIGTERM ended: the job did not fail, it was stopped.


def score(root: Path) -> None:
    """Write `predictions.parquet`, and then what else was asked for.

    Row n of it belongs to row n of the channel. In memory are one batch, and the few rows that are to be explained.
    """
    with installed("pyarrow"):
        import pyarrow.parquet as pq

    asked = _asked(root / "input" / "config" / "hyperparameters.json")
    results = root / "output" / "data"
    results.mkdir(parents=True, exist_ok=True)
    partial = results / ".predictions.parquet.partial"
    writer = None
    try:
        scorer = Scorer(root / "model")
        channel = Channel(root, scorer.columns, target=asked.get("target"))
        meter, explainer = ServingMeter(asked.get("serving")), Explainer(asked, channel.row_count)
        for rows, truth in channel.batches():
            meter.first(scorer, rows)
            predictions = scorer.predict(scorer.frame(rows))
            writer = writer or pq.ParquetWriter(partial, predictions.schema)
            writer.write_table(predictions)
            explainer.keep(scorer, rows, truth)
        meter.last(channel.row_count)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        message = f"Channel {CHANNEL!r} has no rows"
        raise ScoringError(message)
    partial.replace(results / "predictions.parquet")
    print(f"Scored {channel.row_count} rows", flush=True)  # noqa: T201 - the standard output is a container's log.
    for name, figures in (("serving", meter.figures(scorer)), ("explanation", explainer.figures(scorer))):
        if figures is not None:
            (results / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Score and return the exit status: 0, or 1 with the reason in `output/failure`, or 143 when stopped."""
    root = Path(os.environ.get("SAGEMAKER_BASE_DIR") or DEFAULT_ROOT)
    # As process 1 of a container, Python would ignore a request to stop until it is killed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if arguments != ["score"]:
            message = f"This program knows the command 'score' alone, but was given {' '.join(arguments) or 'nothing'}"
            raise ScoringError(message)  # noqa: TRY301 - it takes the way of every other reason
        score(root)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the contract: every reason reaches the failure file.
        _report(error, root)
        return EXIT_STOPPED if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _asked(file: Path) -> dict[str, Any]:
    """Read what to measure. Without a file there is nothing to measure, only rows to score."""
    try:
        given = json.loads(file.read_text(encoding="utf-8"))
        texts = {name: given[name] for name in ("target", "task") if name in given}
        return texts | {name: json.loads(given[name]) for name in ("serving", "explanation") if name in given}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as error:
        message = f"{file.name} does not say what to measure as the job contract wants it: {error}"
        raise ScoringError(message) from error


def _report(error: BaseException, root: Path) -> None:
    """Leave the reason where the contract wants it; a folder that cannot be written leaves it in the log alone."""
    if isinstance(error, ScoringError):
        reason = str(error)
    elif isinstance(error, KeyboardInterrupt):
        reason = "The job was asked to stop before it had finished"
    else:
        reason = f"{type(error).__name__}: {error}"
        traceback.print_exception(type(error), error, error.__traceback__)
    print(reason, file=sys.stderr, flush=True)  # noqa: T201 - the standard error is a container's log.
    try:
        (root / "output").mkdir(parents=True, exist_ok=True)
        (root / "output" / "failure").write_text(reason + "\n", encoding="utf-8")
    except OSError as unwritable:
        print(f"The failure file cannot be written: {unwritable}", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
