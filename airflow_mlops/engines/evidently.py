"""Evidently: how far the values of each column have moved between two samples.

The distances are chosen here and not by Evidently, whose choice depends on the number of rows: below some
thousand they are tests of significance, whose answer depends on that number as well.
"""

import os
import warnings
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from airflow_mlops.domain.drift import ColumnDrift, Sample

_MISSING = "(missing)"
NUMBERS = "wasserstein"
"""Wasserstein distance over the reference's standard deviation: by how many of them values have moved on average."""
TEXTS = "jensenshannon"
"""Jensen-Shannon distance of the shares of each value, from 0 to 0.83 (the root of ln 2); a missing one is a value."""


def measure_drift(reference: Sample, current: Sample, threshold: float) -> tuple[ColumnDrift, ...]:
    """Return the drift of each column of ``reference``, which ``current`` must have as well.

    A column of texts is compared by the shares of its values, any other as numbers, which both sides must have.

    :param threshold: from this distance on, a column has drifted.
    """
    if not reference:
        return ()
    import pandas as pd

    texts = [column for column, values in reference.items() if any(isinstance(value, str) for value in values)]
    frames = []
    for sample in (reference, current):
        data = {column: _filled(sample[column]) if column in texts else sample[column] for column in reference}
        frames.append(pd.DataFrame(data))
    values = _distances(frames[0], frames[1], texts)
    return tuple(
        _drift(column, TEXTS if column in texts else NUMBERS, values[column], threshold, (reference, current))
        for column in reference
    )


def version() -> str:
    """Return the name and version of the engine, for the evidence."""
    return f"evidently {metadata.version('evidently')}"


def _distances(reference: Any, current: Any, texts: Sequence[str]) -> dict[str, float]:
    os.environ.setdefault("DO_NOT_TRACK", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Evidently 0.7 reads NumPy by names of NumPy 1.
        from evidently import DataDefinition, Dataset, Report
        from evidently.metrics import ValueDrift

        columns = list(reference.columns)
        definition = DataDefinition(
            numerical_columns=[column for column in columns if column not in texts], categorical_columns=list(texts)
        )
        metrics = [ValueDrift(column=column, method=TEXTS if column in texts else NUMBERS) for column in columns]
        data = [Dataset.from_pandas(frame, definition) for frame in (current, reference)]
        result = Report(metrics).run(*data).dict()
    return {item["config"]["column"]: float(item["value"]) for item in result["metrics"]}


def _drift(column: str, method: str, value: float, threshold: float, samples: tuple[Sample, Sample]) -> ColumnDrift:
    before, now = (sum(item is None for item in sample[column]) / len(sample[column]) for sample in samples)
    return ColumnDrift(
        column=column,
        method=method,
        value=value,
        threshold=threshold,
        drifted=value >= threshold or abs(before - now) >= threshold,
        missing_reference=before,
        missing_current=now,
    )


def _filled(values: Sequence[float | str | None]) -> list[float | str]:
    return [_MISSING if value is None else value for value in values]
