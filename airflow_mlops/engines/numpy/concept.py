"""Whether a model is worse because other inputs came, or because the same inputs come true otherwise.

Cai, Namkoong and Yadlowsky, "Diagnosing Model Performance Under Distribution Shift" (DISDE, 2023). A classifier tells
holdout and window apart by the inputs. Rows of the holdout are then weighted by the chance that they are of the window,
and rows of the window by the chance that they are of the holdout: both stand for the same inputs, those that both have.
What differs there is concept drift, the rest is data drift. The classifier is a logistic regression on the groups of
each column (values, or bins of numbers), fitted on one half of the rows and asked about the other. It does not look at
pairs of columns: on data such as weather, with pairs of it every day is one of a kind, and nothing is left to compare.
Which pairs go together otherwise than they did is told instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from airflow_mlops.domain.evaluation import Estimate, LearningTask, Metric
from airflow_mlops.domain.performance import Cause
from airflow_mlops.engines.numpy.groups import Groups
from airflow_mlops.engines.numpy.known import KnownRows
from airflow_mlops.engines.numpy.metrics import Array, Measure, labelling, regression, scoring

_RIDGE = 1.0
"""Penalty on the squares of the coefficients, so that a group of few rows says little."""
_STEPS = 100
_MOST_PAIRS = 3
_CELLS = 5
"""Groups of a column in a pair: neighbours are taken together."""
_CHANCE = 0.001
"""A pair is told when chance finds one like it among all pairs this rarely."""


def find_cause(
    *,
    metric: Metric,
    task: LearningTask,
    holdout: KnownRows,
    window: KnownRows,
    columns: Sequence[Groups],
    confidence_level: float = 0.95,
    resamples: int = 200,
    seed: int = 0,
) -> Cause | None:
    """Split the change of a metric between holdout and window; ``None`` when it is not defined on one of them.

    The intervals are of samples of the rows; the weights are taken as they are.

    :param columns: of the inputs, the rows of the holdout first and then those of the window.
    """
    import numpy as np

    size = len(holdout.truth)
    is_window = np.arange(size + len(window.truth)) >= size
    chance = _chances(columns, is_window, seed)
    weights = chance[:size], 1 - chance[size:]
    measures = [_measure(task, metric, rows) for rows in (holdout, window)]
    sign = 1 if metric.higher_is_better else -1
    random = np.random.default_rng(seed)

    def split(counts: Sequence[Array]) -> tuple[float, float]:
        before, after = (measure(count)[metric.name] for measure, count in zip(measures, counts, strict=True))
        shared, now = (
            measure(count * weight)[metric.name]
            for measure, count, weight in zip(measures, counts, weights, strict=True)
        )
        return sign * (after - before), sign * (now - shared)

    change, concept = split([np.ones(len(weight)) for weight in weights])
    if not np.isfinite([change, concept]).all():
        return None
    drawn = np.array(
        [
            split([np.bincount(random.integers(0, len(item), len(item)), minlength=len(item)) for item in weights])
            for _ in range(resamples)
        ]
    )
    tail = 100 * (1 - confidence_level) / 2
    return Cause(
        metric=metric.name,
        change=_around(change, drawn[:, 0], tail),
        concept=_around(concept, drawn[:, 1], tail),
        inputs=_around(change - concept, drawn[:, 0] - drawn[:, 1], tail),
        separation=scoring(is_window, chance)(np.ones(len(chance)))["roc_auc"],
        overlap=min(1.0, *(2 * float(weight.mean()) for weight in weights)),
        columns=tuple(column.column for column in columns),
        together=_together(columns, is_window),
    )


def _measure(task: LearningTask, metric: Metric, rows: KnownRows) -> Measure:
    if task is LearningTask.REGRESSION:
        return regression(rows.truth, rows.predictions.prediction)
    if metric.needs_probability:
        probability = rows.predictions.probability
        assert probability is not None  # noqa: S101 - the caller has measured this metric
        return scoring(rows.truth == rows.positive, probability)
    return labelling(task, rows.truth, rows.predictions.prediction)


def _chances(columns: Sequence[Groups], is_window: Array, seed: int) -> Array:
    """Return of each row the chance that it is of the window, if half of all rows were."""
    import numpy as np

    half = np.random.default_rng(seed).permutation(len(is_window)) % 2 == 0
    chance = np.empty(len(is_window))
    for fitted, asked in ((half, ~half), (~half, half)):
        coefficients = _fit([column.codes[fitted] for column in columns], columns, is_window[fitted])
        chance[asked] = _sigmoid(_scores([column.codes[asked] for column in columns], columns, coefficients))
    return chance


def _together(columns: Sequence[Groups], is_window: Array) -> tuple[str, ...]:
    """Return the pairs of columns that tell the sides apart beyond what each column does alone, the clearest first.

    By the score test of logistic regression for a pair's cells: the sum of residuals of each, squared, over its
    variance under the model without pairs (Rao 1948).
    """
    import numpy as np
    from scipy import stats

    codes = [column.codes for column in columns]
    chance = _sigmoid(_scores(codes, columns, _fit(codes, columns, is_window)))
    weight = _weights(is_window)
    residual, variance = weight * (is_window - chance), weight**2 * chance * (1 - chance)
    tested = list(combinations([_coarse(column) for column in columns if len(column.labels) > 1], 2))
    found: list[tuple[float, str]] = []
    for one, other in tested:
        size = len(one.labels) * len(other.labels)
        cells = one.codes.astype(np.int64) * len(other.labels) + other.codes
        sums, spread = (np.bincount(cells, weights=of, minlength=size) for of in (residual, variance))
        seen = spread > 0
        statistic = float((sums[seen] ** 2 / spread[seen]).sum())
        freedom = (len(one.labels) - 1) * (len(other.labels) - 1)
        if statistic > stats.chi2.isf(_CHANCE / len(tested), freedom):
            found.append((statistic, f"{one.column} with {other.column}"))
    return tuple(pair for _, pair in sorted(found, reverse=True)[:_MOST_PAIRS])


def _coarse(column: Groups) -> Groups:
    import numpy as np

    size = len(column.labels)
    if size <= _CELLS:
        return column
    place = np.arange(size) * _CELLS // size
    return Groups(column=column.column, codes=place[column.codes], labels=tuple(map(str, range(_CELLS))))


def _weights(is_window: Array) -> Array:
    """Return weights by which both sides weigh the same, as many rows as they have together."""
    import numpy as np

    share = max(is_window.mean(), 1e-9)
    weights: Array = np.where(is_window, 0.5 / share, 0.5 / max(1 - share, 1e-9))
    return weights


def _fit(codes: Sequence[Array], columns: Sequence[Groups], is_window: Array) -> Array:
    import numpy as np
    from scipy.optimize import minimize

    ends = np.cumsum([1, *(len(column.labels) for column in columns)])
    weight = _weights(is_window)

    def loss(coefficients: Array) -> tuple[float, Array]:
        score = _scores(codes, columns, coefficients)
        residual = weight * (_sigmoid(score) - is_window)
        value = np.einsum("i,i->", weight, np.logaddexp(0, score) - is_window * score)
        gradient = np.empty_like(coefficients)
        gradient[0] = residual.sum()
        for column, code, start in zip(columns, codes, ends, strict=False):  # The last end starts nothing.
            size = len(column.labels)
            gradient[start : start + size] = np.bincount(code, weights=residual, minlength=size)
        gradient[1:] += _RIDGE * coefficients[1:]
        return float(value + _RIDGE / 2 * np.einsum("i,i->", coefficients[1:], coefficients[1:])), gradient

    found = minimize(loss, np.zeros(ends[-1]), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS})
    coefficients: Array = found.x
    return coefficients


def _scores(codes: Sequence[Array], columns: Sequence[Groups], coefficients: Array) -> Array:
    import numpy as np

    score = np.full(len(codes[0]) if codes else 0, coefficients[0])
    start = 1
    for column, code in zip(columns, codes, strict=True):
        score += coefficients[start : start + len(column.labels)][code]
        start += len(column.labels)
    return score


def _sigmoid(score: Array) -> Array:
    import numpy as np

    chance: Array = 1 / (1 + np.exp(-np.clip(score, -30, 30)))
    return chance


def _around(value: float, sample: Array, tail: float) -> Estimate:
    import numpy as np

    defined = sample[np.isfinite(sample)]
    low, high = np.percentile(defined, [tail, 100 - tail]) if len(defined) else (value, value)
    return Estimate(value=float(value), low=float(low), high=float(high))
