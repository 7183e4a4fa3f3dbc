"""Mean absolute SHAP values of each column (Lundberg and Lee, 2017), where the image has the library `shap`.

They say how far a column moves an answer, whichever way and whether or not that is right; permutation importance says
how much worse the answers are without it. The explainer asks the model alone, so any model will do.
"""

from __future__ import annotations

import time
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    import pandas as pd
    from scorer_model import Scorer

EXPLAINED_ROWS = 100
BACKGROUND_ROWS = 50  # what a column is replaced by when it is taken away


def mean_absolute_shap(
    scorer: Scorer, frame: pd.DataFrame, task: str | None, asked: Mapping[str, Any]
) -> tuple[dict[str, float], int, list[str]]:
    """Return the values by column, the number of rows behind them, and notes: why there are none or fewer.

    The frame's rows must be in random order: the first are the background, the last are explained.
    """
    if not asked["shap"]:
        return {}, 0, []
    try:
        import shap
    except ImportError:
        return {}, 0, ["The image has no library shap, so there are no SHAP values"]
    output = "probability" if "probability" in scorer.predict(frame[:1]).column_names else "prediction"
    if task != "regression" and output == "prediction":
        return {}, 0, ["SHAP explains numbers, and this model answers with labels alone"]
    try:
        return _explained(shap, scorer, frame, output, asked)
    except Exception as error:  # noqa: BLE001 - the model and the library may raise anything
        return {}, 0, [f"SHAP could not explain the model: {type(error).__name__}: {error}"]


def _explained(
    shap: ModuleType, scorer: Scorer, frame: pd.DataFrame, output: str, asked: Mapping[str, Any]
) -> tuple[dict[str, float], int, list[str]]:
    import numpy as np

    numbers, restore = _as_numbers(frame)
    background, rows = numbers[:BACKGROUND_ROWS], numbers[-EXPLAINED_ROWS:]
    explain = shap.explainers.Permutation(
        lambda coded: scorer.values(restore(coded), output).astype(float),
        shap.maskers.Independent(background, max_samples=len(background)),
        seed=asked["seed"],
    )
    values: list[np.ndarray[Any, Any]] = []
    limit = time.monotonic() + asked["seconds"]
    for place in range(len(rows)):
        values.append(explain(rows[place : place + 1], max_evals=2 * len(frame.columns) + 1, silent=True).values)
        if time.monotonic() > limit:
            break
    means = np.abs(np.concatenate(values)).mean(axis=0)
    notes = [] if len(values) == len(rows) else [f"In {asked['seconds']:g} s SHAP explained {len(values)} rows"]
    return {str(name): float(mean) for name, mean in zip(frame.columns, means, strict=True)}, len(values), notes


def _as_numbers(frame: pd.DataFrame) -> tuple[np.ndarray[Any, Any], Callable[[np.ndarray[Any, Any]], pd.DataFrame]]:
    """Return the frame as an array of numbers, texts as codes, and what makes such an array a frame again."""
    import numpy as np
    import pandas as pd

    known: dict[Any, list[Any]] = {}
    columns = []
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
            columns.append(column.to_numpy(dtype=float, na_value=np.nan))
            continue
        codes, uniques = pd.factorize(column)
        known[name] = [*uniques, None]  # The code of a missing value is -1, the last one.
        columns.append(codes.astype(float))

    def restore(coded: np.ndarray[Any, Any]) -> pd.DataFrame:
        restored = {}
        for place, name in enumerate(frame.columns):
            values: Any = coded[:, place]
            if name in known:
                values = pd.Series([known[name][int(code)] for code in values], dtype=object)
            restored[name] = pd.Series(values).astype(frame[name].dtype)
        return pd.DataFrame(restored)

    return np.column_stack(columns), restore
