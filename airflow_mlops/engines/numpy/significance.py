"""Is the difference between two models on the same rows more than chance? A paired, two-sided test for each metric.

The test is the one that the field knows for the metric, and the bootstrap where there is none. All take the rows as
independent. The p-values of several metrics are not adjusted for being several: decide by one that was named before.
"""

from __future__ import annotations

import math

from airflow_mlops.domain.evaluation import LearningTask, PairedTest, TestMethod
from airflow_mlops.engines.numpy.metrics import Array, Predictions, encode, log_losses

_TINY = 1e-300


def paired_tests(
    task: LearningTask, truth: Array, candidate: Predictions, champion: Predictions
) -> dict[str, PairedTest]:
    """Return the tests of the metrics that have one of their own, by name."""
    if task is LearningTask.REGRESSION:
        return _numbers(truth.astype(float), candidate.prediction.astype(float), champion.prediction.astype(float))
    ours, theirs = candidate.prediction == truth, champion.prediction == truth
    tests: dict[str, PairedTest] = {"accuracy": mcnemar(ours, theirs)}
    if task is LearningTask.MULTICLASS:
        return tests
    positive = truth == encode(truth)[0][-1]
    tests["recall"] = mcnemar(ours[positive], theirs[positive])
    if candidate.probability is None or champion.probability is None:
        return tests
    said, before = candidate.probability.astype(float), champion.probability.astype(float)
    tests["log_loss"] = paired_t(log_losses(positive, said) - log_losses(positive, before))
    tests["brier_score"] = paired_t((said - positive) ** 2 - (before - positive) ** 2)
    tests["roc_auc"] = delong(positive, said, before)
    return tests


def _numbers(truth: Array, said: Array, before: Array) -> dict[str, PairedTest]:
    import numpy as np

    # On the same rows, rmse and r2 are equal where the means of the squared errors are.
    squared = paired_t((said - truth) ** 2 - (before - truth) ** 2)
    return {"rmse": squared, "r2": squared, "mae": paired_t(np.abs(said - truth) - np.abs(before - truth))}


def delong(positive: Array, said: Array, before: Array) -> PairedTest:
    """Compare two areas under the ROC curve.

    DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
    characteristic curves", Biometrics 44 (1988). With ranks as in Sun and Xu, "Fast implementation of DeLong's
    algorithm", IEEE Signal Processing Letters 21 (2014), so a sort and not all pairs.
    """
    import numpy as np

    ours, theirs = _placements(positive, said), _placements(positive, before)
    change = float(ours[0].mean() - theirs[0].mean())
    variance = sum(_variance(one - other) / len(one) for one, other in zip(ours, theirs, strict=True))
    if not change or not np.isfinite(variance):
        return PairedTest(method=TestMethod.DELONG, p_value=1.0)
    z = abs(change) / math.sqrt(variance) if variance > 0 else math.inf
    return PairedTest(method=TestMethod.DELONG, p_value=math.erfc(z / math.sqrt(2)))


def _placements(positive: Array, score: Array) -> tuple[Array, Array]:
    """Return the share of negative rows below each positive one, and of positive ones above each negative; ties half.

    The mean of either is the area.
    """
    import numpy as np

    high, low = score[positive], score[~positive]
    ranked_high, ranked_low = np.sort(high), np.sort(low)

    def share_below(ranked: Array, values: Array) -> Array:
        return (np.searchsorted(ranked, values, "left") + np.searchsorted(ranked, values, "right")) / (2 * len(ranked))

    return share_below(ranked_low, high), 1 - share_below(ranked_high, low)


def mcnemar(ours: Array, theirs: Array) -> PairedTest:
    """Compare two shares of right answers by the rows on which just one model is right; exact, with the mid-p value.

    McNemar, Psychometrika 12 (1947). The mid-p value keeps its level without being as shy as the plain exact test:
    Fagerland, Lydersen and Laake, BMC Medical Research Methodology 13:91 (2013).
    """
    won, lost = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    return PairedTest(method=TestMethod.MCNEMAR, p_value=_mid_p(min(won, lost), won + lost))


def _mid_p(fewer: int, rows: int) -> float:
    """Return twice the chance of as few heads in ``rows`` throws of a coin, the case itself counted half."""
    import numpy as np

    if not rows:
        return 1.0
    heads = np.arange(1, fewer + 1)
    log_ways = np.r_[0.0, np.cumsum(np.log((rows - heads + 1) / heads))]
    chance = np.exp(log_ways - rows * math.log(2))
    return min(1.0, float(2 * chance.sum() - chance[-1]))


def paired_t(difference: Array) -> PairedTest:
    """Compare two means of losses by the differences of the rows: Student's paired t-test.

    Of many rows the mean is nearly normal, however the losses are distributed.
    """
    rows = len(difference)
    mean, variance = float(difference.mean()), _variance(difference)
    if not mean or rows < 2:  # noqa: PLR2004 - one row has no variance
        return PairedTest(method=TestMethod.PAIRED_T, p_value=1.0)
    t_squared = mean**2 * rows / variance if variance > 0 else math.inf
    freedom = rows - 1
    p_value = _incomplete_beta(freedom / (freedom + t_squared), freedom / 2, 0.5) if variance > 0 else 0.0
    return PairedTest(method=TestMethod.PAIRED_T, p_value=p_value)


def bootstrap_test(differences: Array) -> PairedTest | None:
    """Return the level at which the percentile interval of the bootstrap differences would just reach zero.

    Davison and Hinkley, *Bootstrap Methods and their Application* (1997), sections 4.4 and 5.4: with r samples the
    smallest value is 2 / (r + 1).
    """
    import numpy as np

    defined = differences[np.isfinite(differences)]
    if not len(defined):
        return None
    side = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return PairedTest(method=TestMethod.BOOTSTRAP, p_value=min(1.0, 2 * (side + 1) / (len(defined) + 1)))


def _variance(values: Array) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else math.nan


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function, by its continued fraction (DLMF 8.17.22) and Lentz's method."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    lower = 1 / (1 - (a + b) * x / (a + 1) or _TINY)
    upper, fraction = 1.0, lower
    for step in range(1, 10_000):
        end = a + 2 * step
        even = step * (b - step) * x / ((end - 1) * end)
        odd = -(a + step) * (a + b + step) * x / (end * (end + 1))
        for term in (even, odd):
            lower = 1 / (1 + term * lower or _TINY)
            upper = 1 + term / upper or _TINY
            fraction *= lower * upper
        if abs(lower * upper - 1) < 1e-15:  # noqa: PLR2004 - as near as floats come
            break
    return front * fraction
