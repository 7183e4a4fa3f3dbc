"""Performance of a binary classifier without labels, from its own probabilities: an estimate, and only that.

Confidence-based performance estimation, as NannyML names it (https://nannyml.readthedocs.io, *How it works:
Confidence-based Performance Estimation*): if probabilities are calibrated, an answer of probability p is a positive one
with chance p, so every metric has an expected value. They are calibrated on the holdout of the promotion by isotonic
regression (Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability estimates", 2002).
It sees what other inputs do to a model, and it cannot see that the same inputs come true otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow_mlops.domain.evaluation import Estimate, LearningTask
from airflow_mlops.engines.numpy.metrics import Array, Measure, labelling, scoring


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How often answers of a probability came true: a rising line through some points, level at its ends."""

    said: Array
    came_true: Array

    def __call__(self, probability: Array) -> Array:
        """Return the calibrated probabilities."""
        import numpy as np

        return np.interp(probability, self.said, self.came_true)


def calibrate(said: Array, place: Array, came_true: Array, weights: Array) -> Calibration:
    """Return the isotonic regression of what came true on what was said.

    :param said: all different probabilities, in order.
    :param place: of each answer, the place of its probability in ``said``.
    :param came_true: of each answer, whether it came true, as 0 or 1.
    :param weights: how often each answer counts.
    """
    import numpy as np
    from scipy.optimize import isotonic_regression

    rows = np.bincount(place, weights=weights, minlength=len(said))
    hits = np.bincount(place, weights=weights * came_true, minlength=len(said))
    seen = rows > 0
    fitted = isotonic_regression(hits[seen] / rows[seen], weights=rows[seen])
    return Calibration(said=said[seen], came_true=fitted.x)


def estimate_metrics(
    *,
    probability: Array,
    called: Array,
    holdout_probability: Array,
    holdout_positive: Array,
    confidence_level: float = 0.95,
    resamples: int = 200,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Return every metric of a binary task as it is to be expected of answers without labels, by name.

    The intervals are of samples of the holdout, on which the calibration rests, of the answers, and of what comes true
    of them by chance.

    :param probability: of the positive class, for each answer of the window.
    :param called: which answers say the positive class.
    :param holdout_probability: the same of the holdout of the promotion, whose truth is known.
    :param holdout_positive: which rows of the holdout are positive.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    rows, of_holdout = len(probability), len(holdout_probability)
    said, place = np.unique(holdout_probability.astype(float), return_inverse=True)
    came_true = holdout_positive.astype(float)
    measures = _measures(probability.astype(float), called)
    points = _measure(measures, calibrate(said, place, came_true, np.ones(of_holdout))(probability))
    samples: dict[str, list[float]] = {name: [] for name in points}
    for _ in range(resamples):
        drawn = np.bincount(random.integers(0, of_holdout, of_holdout), minlength=of_holdout)
        chance = calibrate(said, place, came_true, drawn)(probability)
        happened = random.uniform(size=rows) < chance
        counts = np.bincount(random.integers(0, rows, rows), minlength=rows)
        for name, value in _measure(measures, happened.astype(float), counts).items():
            samples[name].append(value)
    tail = 100 * (1 - confidence_level) / 2
    return {name: _around(value, np.array(samples[name]), tail) for name, value in points.items() if np.isfinite(value)}


def _measures(probability: Array, called: Array) -> list[Measure]:
    """Return metrics of weights of rows that occur twice: each as a positive one, then each as a negative one."""
    import numpy as np

    positive = np.repeat([True, False], len(probability))
    return [
        scoring(positive, np.tile(probability, 2)),
        labelling(LearningTask.BINARY, positive.astype(int), np.tile(called.astype(int), 2)),
    ]


def _measure(measures: list[Measure], chance: Array, counts: Array | None = None) -> Mapping[str, float]:
    import numpy as np

    weights = np.concatenate([chance, 1 - chance])
    if counts is not None:
        weights = weights * np.tile(counts, 2)
    return {name: value for measure in measures for name, value in measure(weights).items()}


def _around(value: float, sample: Array, tail: float) -> Estimate:
    import numpy as np

    defined = sample[np.isfinite(sample)]
    low, high = np.percentile(defined, [tail, 100 - tail]) if len(defined) else (value, value)
    return Estimate(value=float(value), low=min(float(low), float(value)), high=max(float(high), float(value)))
