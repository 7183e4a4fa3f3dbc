"""Score rows with any MLflow model, by the Python of any image: `python3 <this folder> score`.

    <root>/model/                        the MLflow model: of scikit-learn, or of any flavour that has `python_function`
    <root>/input/data/score/*.parquet    the rows, files read in the order of their names
    <root>/output/data/predictions.parquet
    <root>/output/failure                the reason, in words, when the exit status is 1

The worker puts this file into the job, so that all models are scored by the same code, and no image needs its own. It
runs where this package is not installed, so it imports nothing of it; of other libraries it imports MLflow, pandas,
NumPy and PyArrow, which an image with `mlflow` in it has.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    import pyarrow as pa

DEFAULT_ROOT = "/opt/ml"
CHANNEL = "score"
BATCH_ROWS = 65_536  # in memory at a time; of 20 columns they are about 10 MB
CLASSES_OF_A_BINARY_CLASSIFIER = 2


class ScoringError(Exception):
    """What the job was given cannot be used. The message is for the person who gave it, and needs no traceback."""


class Scorer:
    """A loaded model, and what it says it takes."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "MLmodel").is_file():
            message = f"{folder} holds no MLflow model: the file MLmodel is missing"
            raise ScoringError(message)
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # before MLflow is imported, which is what starts it
        with _installed("mlflow"):
            from mlflow.models import Model
        described = Model.load(str(folder))
        logging.getLogger("mlflow").setLevel(logging.ERROR)  # its hints are not for the reader of a job's log
        self.signature = described.signature
        self.model, self.native = _load(folder, described.flavors)

    @property
    def columns(self) -> list[str] | None:
        """Names of the columns that the model takes; None, meaning all of them, where it does not say."""
        if self.signature is not None and self.signature.inputs is not None and self.signature.inputs.has_input_names():
            return list(self.signature.inputs.input_names())
        names = getattr(self.native, "feature_names_in_", None)
        return None if names is None else [str(name) for name in names]

    def frame(self, batch: pa.RecordBatch) -> pd.DataFrame:
        """Make the frame that the model expects: a batch of only nulls or integers must not change a column's type."""
        import pyarrow as pa

        inputs = None if self.signature is None else self.signature.inputs
        types = {"double": pa.float64(), "float": pa.float32(), "string": pa.string()}
        specs = [] if inputs is None or inputs.is_tensor_spec() or not inputs.has_input_names() else inputs.inputs
        for position, spec in enumerate(specs):
            wanted, found = types.get(getattr(spec.type, "name", "")), batch.column(position).type
            if wanted is None or found.equals(wanted):
                continue
            name = batch.schema.names[position]
            try:
                column = batch.column(position).cast(wanted)
            except pa.ArrowException as error:
                message = (
                    f"Column {name!r} of channel {CHANNEL!r} is {found}, where the model expects {wanted}: {error}"
                )
                raise ScoringError(message) from error
            batch = batch.set_column(position, name, column)
        frame: pd.DataFrame = batch.to_pandas()
        return frame

    def predict(self, frame: pd.DataFrame) -> pa.Table:
        """Return the column `prediction` and, where the model has one to give, `probability` of the second class."""
        import pyarrow as pa

        answer = self.model.predict(frame)
        columns = {name: pa.array(values) for name, values in _answer(answer, len(frame)).items()}
        classes = getattr(self.native, "classes_", ())
        if "probability" not in columns and len(classes) == CLASSES_OF_A_BINARY_CLASSIFIER:
            with contextlib.suppress(AttributeError):  # Some classifiers have it only with certain settings.
                columns["probability"] = pa.array(self.native.predict_proba(frame)[:, 1].astype("float64"))
        return pa.table(columns)


def score(root: Path) -> None:
    """Write `predictions.parquet`. Row n of it belongs to row n of the channel. One batch is in memory at a time."""
    with _installed("pyarrow"):
        import pyarrow.parquet as pq

    scorer = Scorer(root / "model")
    results = root / "output" / "data"
    results.mkdir(parents=True, exist_ok=True)
    partial = results / ".predictions.parquet.partial"
    writer, row_count = None, 0
    try:
        for batch in _rows(root, scorer.columns):
            if batch.num_rows:
                predictions = scorer.predict(scorer.frame(batch))
                writer = writer or pq.ParquetWriter(partial, predictions.schema)
                writer.write_table(predictions)
                row_count += batch.num_rows
    finally:
        if writer is not None:
            writer.close()
    if not row_count:
        message = f"Channel {CHANNEL!r} has no rows"
        raise ScoringError(message)
    partial.replace(results / "predictions.parquet")
    print(f"Scored {row_count} rows", flush=True)  # noqa: T201 - the standard output is a container's log.


def main(arguments: list[str]) -> int:
    """Score and return the exit status: 0, or 1 with the reason in `output/failure`."""
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
        return 1
    return 0


def _load(folder: Path, flavors: dict[str, Any]) -> tuple[Any, Any]:
    """Return what predicts, and the library's own model, which may know about classes and probabilities."""
    if "sklearn" in flavors:  # by its own loader, which mlflow-skinny has, too
        import mlflow.sklearn

        model = mlflow.sklearn.load_model(str(folder))
        return model, model
    if "python_function" not in flavors:
        message = (
            f"The model has no flavour python_function, by which Python scores any model, it has: {', '.join(flavors)}"
        )
        raise ScoringError(message)
    with _installed("mlflow"):
        import mlflow.pyfunc
    model = mlflow.pyfunc.load_model(str(folder))
    try:
        return model, model.get_raw_model()
    except Exception:  # noqa: BLE001 - not every flavour has one, and each says so in its own way
        return model, None


def _answer(answer: Any, rows: int) -> dict[str, Any]:
    """Return the columns of a model's answer: one value a row, or a frame that names `prediction`."""
    import numpy as np
    import pandas as pd

    if isinstance(answer, pd.DataFrame) and "prediction" in answer.columns:
        named = [name for name in ("prediction", "probability") if name in answer.columns]
        return {name: np.asarray(answer[name]) for name in named}
    values = np.asarray(answer)
    if values.shape == (rows, 1):
        values = values[:, 0]
    if values.shape != (rows,):
        message = (
            f"The model answers {rows} rows with an array of shape {values.shape}, expected one value a row. A "
            f"model of your own may answer with a data frame of columns 'prediction' and, if you like, 'probability'"
        )
        raise ScoringError(message)
    return {"prediction": values}


def _rows(root: Path, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    """Yield the channel's rows in order: the named columns, or all of them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = root / "input" / "data" / CHANNEL
    files = sorted(folder.glob("*.parquet"), key=lambda path: path.name)
    if not files:
        message = f"Channel {CHANNEL!r} has no Parquet file: expected {folder}/*.parquet"
        raise ScoringError(message)
    for path in files:
        try:
            # Pre-buffering would keep a whole row group's columns in memory.
            with pq.ParquetFile(path, pre_buffer=False) as file:
                for column in columns or ():
                    if column not in file.schema_arrow.names:
                        found = ", ".join(file.schema_arrow.names)
                        message = f"Column {column!r} is not in {path.name} of channel {CHANNEL!r}, which has: {found}"
                        raise ScoringError(message)
                yield from file.iter_batches(batch_size=BATCH_ROWS, columns=columns)
        except (pa.ArrowException, OSError) as error:
            message = f"{path.name} of channel {CHANNEL!r} is not a readable Parquet file: {error}"
            raise ScoringError(message) from error


@contextlib.contextmanager
def _installed(library: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        message = f"This image cannot score: {error}. Install {library} in it, with all that belongs to it"
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
