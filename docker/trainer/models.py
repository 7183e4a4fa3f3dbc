"""Writing the MLflow model of a job: scikit-learn flavour, files only, no tracking server, no network."""

from __future__ import annotations

import logging
import os
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

# What another interpreter must install to load the model. Left to find out itself, MLflow takes 6 to 9 s.
REQUIRED = ("scikit-learn", "skops", "pandas", "numpy")


def save_model(estimator: Any, folder: Path, example: pd.DataFrame) -> None:
    """Write a fitted scikit-learn estimator as an MLflow model with a signature and an input example.

    The format is skops, which stores no code: what may be loaded stands readably in `MLmodel`, in place of a pickle.
    `example` is a few rows as the model will meet them; the signature's columns and types are taken from it.
    """
    _switch_telemetry_off()
    import mlflow.sklearn
    import skops.io  # type: ignore[import-untyped]  # noqa: PLC0415 - it has no types, and only a training job needs it.

    _keep_only_errors()
    # The estimator was made here a moment ago, so that its own types are trusted.
    trusted = skops.io.get_untrusted_types(data=skops.io.dumps(estimator))
    # MLflow refuses a folder with content, and the folder itself may be a mount that cannot be replaced.
    for old in folder.iterdir() if folder.is_dir() else ():
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    mlflow.sklearn.save_model(
        estimator,
        folder,
        signature=_signature(estimator, example),
        input_example=example,
        serialization_format="skops",
        skops_trusted_types=trusted,
        pip_requirements=[f"{name}=={version(name)}" for name in REQUIRED],
    )


def _signature(estimator: Any, example: pd.DataFrame) -> ModelSignature:
    """Describe every column as required: a null among the few rows of the example says nothing about the column."""
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import ColSpec, Schema

    inferred = infer_signature(example, estimator.predict(example))
    inputs = Schema([ColSpec(type=column.type, name=column.name) for column in inferred.inputs])
    return ModelSignature(inputs=inputs, outputs=inferred.outputs)


def _switch_telemetry_off() -> None:
    """Before MLflow is imported: importing it is what starts its telemetry."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"


def _keep_only_errors() -> None:
    """After MLflow is imported, which sets its own level: its hints are not for the reader of a job's log."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
