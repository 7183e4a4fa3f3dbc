"""Bootstrap samples of the rows, the same ones for candidate and champion.

Efron and Tibshirani, *An Introduction to the Bootstrap* (1993): the percentile interval is of chapter 13. One sample is
in memory at a time, as a count for each row. Rows of which all models say the same label are one row with its count: of
labels, a sample of a million rows is a handful of numbers, drawn from the multinomial distribution that it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow_mlops.domain.evaluation import LearningTask
from airflow_mlops.engines.numpy.metrics import Array, Measure, Predictions, encode, labelling, regression, scoring


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The rows as some of the metrics see them, and these metrics of each model (by its role)."""

    counts: Array
    """How often each row occurs."""
    measures: Mapping[str, Measure]

    @property
    def points(self) -> dict[tuple[str, str], float]:
        """The metrics of the rows themselves, by role and name."""
        return self._measure(self.counts)

    def sample(self, resamples: int, seed: int) -> dict[tuple[str, str], Array]:
        """Return the metrics of each bootstrap sample, by role and name."""
        import numpy as np

        random = np.random.default_rng(seed)
        found = [self._measure(self._draw(random)) for _ in range(resamples)]
        return {key: np.array([values[key] for values in found]) for key in self.points}

    def _measure(self, weights: Array) -> dict[tuple[str, str], float]:
        return {
            (role, name): value for role, measure in self.measures.items() for name, value in measure(weights).items()
        }

    def _draw(self, random: object) -> Array:
        import numpy as np

        assert isinstance(random, np.random.Generator)  # noqa: S101 - its type cannot be named without importing NumPy
        distinct, rows = len(self.counts), int(self.counts.sum())
        if distinct < rows:
            return random.multinomial(rows, self.counts / rows)
        drawn = np.bincount(random.integers(0, rows, rows), minlength=rows)
        return drawn.astype(np.uint8)  # No row is drawn 256 times: for that, chance is below 1e-500.


def views(task: LearningTask, truth: Array, models: Mapping[str, Predictions]) -> list[View]:
    """Return the rows as numbers, or as labels and, where models give them, as probabilities."""
    import numpy as np

    alone = np.ones(len(truth), dtype=np.uint8)
    if task is LearningTask.REGRESSION:
        said = {role: regression(truth, model.prediction) for role, model in models.items()}
        return [View(counts=alone, measures=said)]
    found = [_labels(task, truth, {role: model.prediction for role, model in models.items()})]
    if task is LearningTask.BINARY:
        positive = truth == encode(truth)[0][-1]
        scored = {
            role: scoring(positive, model.probability)
            for role, model in models.items()
            if model.probability is not None
        }
        found += [View(counts=alone, measures=scored)] if scored else []
    return found


def _labels(task: LearningTask, truth: Array, said: Mapping[str, Array]) -> View:
    import numpy as np

    joint = np.zeros(len(truth), dtype=np.int64)
    for column in (truth, *said.values()):
        labels, codes = encode(column)
        # Numbered anew each time, so that no number of labels overflows.
        joint = np.unique(joint * len(labels) + codes, return_inverse=True)[1]
    _, first, counts = np.unique(joint, return_index=True, return_counts=True)
    return View(
        counts=counts,
        measures={role: labelling(task, truth[first], prediction[first]) for role, prediction in said.items()},
    )
