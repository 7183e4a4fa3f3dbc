"""What a model's answers depend on: the loss that comes of shuffling a column (Breiman, Random Forests, 2001).

It is scikit-learn's `permutation_importance` for a model of any library, with three differences: it runs on a sample of
the rows, it ends in bounded time, and a column is shuffled in the same way for every model that has it, so that two
models can be compared on the same rows.
"""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING, Any

from scorer_losses import loss_of
from scorer_shap import mean_absolute_shap

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from scorer_model import Scorer


class Explainer:
    """Keeps a sample of the rows while they are scored, and explains the scorer on it; without being asked, nothing."""

    def __init__(self, asked: Mapping[str, Any], row_count: int) -> None:
        """Take `explanation` (`rows`, `repeats`, `seconds`, `seed`, `shap`, `metric`) and the `task`."""
        import numpy as np

        self.asked = asked.get("explanation")
        self.task = asked.get("task")
        self.target = asked.get("target")
        self.frames: list[pd.DataFrame] = []
        self.truths: list[pd.Series[Any]] = []
        self.seen = 0
        if self.asked is not None:
            random, most = np.random.default_rng(self.asked["seed"]), min(row_count, self.asked["rows"])
            self.sampled: np.ndarray[Any, Any] = np.sort(random.choice(row_count, most, replace=False))

    def keep(self, scorer: Scorer, rows: pa.RecordBatch, truth: pa.Array | None) -> None:
        """Keep the rows of a batch that are in the sample."""
        import numpy as np

        if self.asked is None:
            return
        low, high = np.searchsorted(self.sampled, [self.seen, self.seen + rows.num_rows])
        places = self.sampled[low:high] - self.seen
        self.seen += rows.num_rows
        if truth is not None and len(places):
            self.frames.append(scorer.frame(rows.take(places)))
            self.truths.append(truth.take(places).to_pandas())

    def figures(self, scorer: Scorer) -> dict[str, Any] | None:
        """Return the importance of each column; in place of it the reason, where there can be none."""
        if self.asked is None:
            return None
        try:
            return self._explained(scorer)
        except Exception as error:  # noqa: BLE001 - the model may raise anything, and its predictions are worth more
            return {"notes": [f"The model could not be explained: {type(error).__name__}: {error}"]}

    def _explained(self, scorer: Scorer) -> dict[str, Any]:
        import numpy as np
        import pandas as pd

        assert self.asked is not None  # noqa: S101 - the caller has looked
        if not self.frames:
            return {"notes": [f"The rows have no column {self.target!r} to compare the answers with"]}
        # In the random order in which SHAP takes its rows; the channel's may be that of time.
        order = np.random.default_rng(self.asked["seed"]).permutation(sum(map(len, self.frames)))
        frame = pd.concat(self.frames, ignore_index=True).take(order).reset_index(drop=True)
        truth = np.concatenate([np.asarray(values) for values in self.truths])[order]
        metric, output, loss = loss_of(self.task, self.asked["metric"], scorer.predict(frame), truth)
        base = loss(scorer.values(frame, output))
        if not np.isfinite(base):
            return {"notes": [f"{metric} is not defined on the sample of {len(frame)} rows"]}
        rises: dict[str, list[float]] = {str(name): [] for name in frame.columns}
        limit = time.monotonic() + self.asked["seconds"]
        for repeat, name in ((repeat, name) for repeat in range(self.asked["repeats"]) for name in frame.columns):
            if time.monotonic() > limit:
                break
            seed = [self.asked["seed"], repeat, zlib.crc32(str(name).encode())]
            shuffled = frame.copy(deep=False)
            shuffled[name] = frame[name].take(np.random.default_rng(seed).permutation(len(frame))).array
            rises[str(name)].append(loss(scorer.values(shuffled, output)) - base)
        notes = _unfinished(rises, self.asked)
        shap, shap_rows, shap_notes = mean_absolute_shap(scorer, frame, self.task, self.asked)
        return {
            "metric": metric,
            "rows": len(frame),
            "repeats": self.asked["repeats"],
            "importances": [
                {
                    "feature": name,
                    "mean": float(np.mean(values)),
                    "standard_deviation": float(np.std(values)),
                    "shap": shap.get(name),
                }
                for name, values in rises.items()
                if values
            ],
            "shap_rows": shap_rows,
            "notes": [*notes, *shap_notes],
        }


def _unfinished(rises: Mapping[str, list[float]], asked: Mapping[str, Any]) -> list[str]:
    """Say what the time did not suffice for."""
    measured = [name for name, values in rises.items() if values]
    if len(measured) < len(rises):
        return [f"In {asked['seconds']:g} s only {len(measured)} of {len(rises)} features could be shuffled once"]
    if any(len(values) < asked["repeats"] for values in rises.values()):
        fewest = min(len(values) for values in rises.values())
        return [f"In {asked['seconds']:g} s the features could be shuffled {fewest} times, not {asked['repeats']}"]
    return []
