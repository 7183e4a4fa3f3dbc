"""Scoring with any MLflow model of the scikit-learn flavour: rows of the channel `score` in, predictions out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from job import Job, JobError
from models import load_model
from rows import stream_channel

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from mlflow.models import ModelSignature

CHANNEL = "score"
CLASSES_OF_A_BINARY_CLASSIFIER = 2


def score(job: Job) -> None:
    """Write `predictions.parquet`: the column `prediction` and, of a binary classifier, `probability`.

    Row n belongs to row n of the channel, files taken by name. `probability` is that of the second class. One batch of
    rows is in memory at a time.

    Raises:
        JobError: the model or a file cannot be read, a column that the model needs is missing or of another type.
    """
    import pyarrow.parquet as pq

    estimator, signature = load_model(job.model_folder)
    partial = job.results_folder / ".predictions.parquet.partial"
    writer, row_count = None, 0
    try:
        for batch in stream_channel(job, CHANNEL, _input_columns(estimator, signature)):
            if batch.num_rows:
                predictions = _predict(estimator, _frame(batch, signature))
                writer = writer or pq.ParquetWriter(partial, predictions.schema)
                writer.write_table(predictions)
                row_count += batch.num_rows
    finally:
        if writer is not None:
            writer.close()
    if not row_count:
        message = f"Channel {CHANNEL!r} has no rows"
        raise JobError(message)
    partial.replace(job.predictions_file)
    job.log(f"Scored {row_count} rows")


def _input_columns(estimator: Any, signature: ModelSignature | None) -> list[str] | None:
    """Name the columns that the model takes; None, meaning all of them, where it does not say."""
    if signature is not None and signature.inputs is not None and signature.inputs.has_input_names():
        return list(signature.inputs.input_names())
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def _frame(batch: pa.RecordBatch, signature: ModelSignature | None) -> pd.DataFrame:
    """Make the frame that the model expects: a batch of only nulls, or of integers, must not change a column's type."""
    import pyarrow as pa

    if signature is None or signature.inputs is None or signature.inputs.is_tensor_spec():
        return _to_pandas(batch)
    types = {"double": pa.float64(), "float": pa.float32(), "string": pa.string()}
    for position, spec in enumerate(signature.inputs.inputs):
        wanted = types.get(getattr(spec.type, "name", ""))
        name = batch.schema.names[position]
        if wanted is not None and not batch.column(position).type.equals(wanted):
            try:
                column = batch.column(position).cast(wanted)
            except pa.ArrowException as error:
                found = batch.column(position).type
                message = (
                    f"Column {name!r} of channel {CHANNEL!r} is {found}, where the model expects {wanted}: {error}"
                )
                raise JobError(message) from error
            batch = batch.set_column(position, name, column)
    return _to_pandas(batch)


def _to_pandas(batch: pa.RecordBatch) -> pd.DataFrame:
    frame: pd.DataFrame = batch.to_pandas()
    return frame


def _predict(estimator: Any, frame: pd.DataFrame) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    predicted = np.asarray(estimator.predict(frame))
    if predicted.shape != (len(frame),):
        message = (
            f"The model answers {len(frame)} rows with an array of shape {predicted.shape}, expected one value a row"
        )
        raise JobError(message)
    columns = {"prediction": pa.array(predicted)}
    classes = np.shape(getattr(estimator, "classes_", ()))
    if classes == (CLASSES_OF_A_BINARY_CLASSIFIER,) and hasattr(estimator, "predict_proba"):
        columns["probability"] = pa.array(estimator.predict_proba(frame)[:, 1].astype("float64"))
    return pa.table(columns)
