"""A loaded MLflow model: the columns that it takes, the frame that it expects, and its answer as columns."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import pandas as pd
    import pyarrow as pa

CHANNEL = "score"
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
        with installed("mlflow"):
            from mlflow.models import Model
        described = Model.load(str(folder))
        logging.getLogger("mlflow").setLevel(logging.ERROR)  # its hints are not for the reader of a job's log
        self.signature = described.signature
        self.model, self.native = _load(folder, described.flavors)
        self.says_probability = False  # in its own answer, as a model of another library may

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
        self.says_probability = "probability" in columns
        if self._is_binary and not self.says_probability:
            with contextlib.suppress(AttributeError):  # Some classifiers have it only with certain settings.
                columns["probability"] = pa.array(self.native.predict_proba(frame)[:, 1].astype("float64"))
        return pa.table(columns)

    def values(self, frame: pd.DataFrame, name: str) -> np.ndarray[Any, Any]:
        """Return one column of what `predict` has said of other rows, at no more cost than needed."""
        import numpy as np

        if name == "probability" and self._is_binary and not self.says_probability:
            with contextlib.suppress(AttributeError):
                probability: np.ndarray[Any, Any] = self.native.predict_proba(frame)[:, 1].astype("float64")
                return probability
        return np.asarray(self.predict(frame)[name].to_pandas())

    @property
    def _is_binary(self) -> bool:
        return len(getattr(self.native, "classes_", ())) == CLASSES_OF_A_BINARY_CLASSIFIER


@contextlib.contextmanager
def installed(library: str) -> Iterator[None]:
    """Tell a library that the image lacks from an error in a program."""
    try:
        yield
    except ImportError as error:
        message = f"This image cannot score: {error}. Install {library} in it, with all that belongs to it"
        raise ScoringError(message) from error


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
    with installed("mlflow"):
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
