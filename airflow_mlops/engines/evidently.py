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
from airflow_mlops.domain.drift.method import NUMBER_METHODS

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


def drift_page(reference: Sample, current: Sample, columns: Sequence[ColumnDrift], drift_share: float) -> str:
    """Return Evidently's own report on two samples, as one HTML page without outside resources, of 4 to 5 MB.

    :param columns: which to report on, by the methods and thresholds that were taken for all rows. One that has no
        value in a sample is left out.
    :raises ValueError: when Evidently cannot compare a column.
    """
    import pandas as pd

    names = [item.column for item in columns if all(_has_values(side[item.column]) for side in (reference, current))]
    texts = [item.column for item in columns if item.column in names and _is_text(item)]
    frames = [
        pd.DataFrame({name: _texts(side[name]) if name in texts else side[name] for name in names})
        for side in (current, reference)
    ]
    os.environ.setdefault("DO_NOT_TRACK", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of NumPy 1 and of pandas: nothing that its reader can change.
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        numbers = [name for name in names if name not in texts]
        definition = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
        preset = DataDriftPreset(
            columns=names,
            drift_share=drift_share,
            per_column_method={item.column: item.method for item in columns if item.column in names},
            per_column_threshold={item.column: item.threshold for item in columns if item.column in names},
        )
        result = Report([preset]).run(*(Dataset.from_pandas(frame, definition) for frame in frames))
        page: str = result.get_html_str(as_iframe=False)
    return page


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


def _is_text(item: ColumnDrift) -> bool:
    return item.outside is None or item.method not in NUMBER_METHODS


def _has_values(values: Sequence[float | str | None]) -> bool:
    return any(value is not None for value in values)


def _texts(values: Sequence[float | str | None]) -> list[str | None]:
    return [None if value is None else str(value) for value in values]


def _filled(values: Sequence[float | str | None]) -> list[float | str]:
    return [_MISSING if value is None else value for value in values]
