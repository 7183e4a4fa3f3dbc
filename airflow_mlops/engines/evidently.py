"""Evidently: its own report on samples of two sides, to be read beside what was measured on all rows."""

import os
import warnings
from collections.abc import Sequence

from airflow_mlops.domain.drift import ColumnDrift, Sample
from airflow_mlops.domain.drift.method import NUMBER_METHODS


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


def _is_text(item: ColumnDrift) -> bool:
    return item.outside is None or item.method not in NUMBER_METHODS


def _has_values(values: Sequence[float | str | None]) -> bool:
    return any(value is not None for value in values)


def _texts(values: Sequence[float | str | None]) -> list[str | None]:
    return [None if value is None else str(value) for value in values]
