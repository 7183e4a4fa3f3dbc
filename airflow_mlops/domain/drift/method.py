"""How two distributions of a column are compared, and which way is taken where nobody names one: Evidently's choice."""

import enum
from collections.abc import Sequence
from typing import Final

MANY_ROWS: Final = 1000
"""Above so many values of the reference Evidently takes a distance, since a test would find the least difference."""
FEW_VALUES: Final = 5
"""Numbers of at most so many distinct values are compared value by value."""
INTEGER_CATEGORIES: Final = 10
"""A column of integers with at most so many distinct values holds categories for Evidently."""


class DriftMethod(enum.StrEnum):
    """A statistic, by Evidently's name where it has one."""

    KS = "ks"
    """p-value of the two-sample Kolmogorov-Smirnov test; numbers."""
    CHI_SQUARE = "chisquare"
    """p-value of Pearson's chi-square test of the window's counts against the reference's shares; categories. It takes
    these for certain, so that it is no p-value unless the reference is far larger than the window: of two equal samples
    of 20 categories and as many rows each it calls 7 in 10 different. Evidently has it so; see ``HOMOGENEITY``."""
    HOMOGENEITY = "homogeneity"
    """p-value of Pearson's chi-square test that both sides come from the same shares; categories. Not one of
    Evidently's."""
    Z = "z"
    """p-value of the test of two proportions; two categories."""
    WASSERSTEIN = "wasserstein"
    """Wasserstein distance over the reference's standard deviation: how many of them values have moved on average."""
    JENSEN_SHANNON = "jensenshannon"
    """Jensen-Shannon distance of the shares of each value or bin, from 0 to 0.83 (the root of ln 2)."""
    PSI = "psi"
    """Population stability index, the sum of (p - q) ln(p / q) over values or bins."""
    HELLINGER = "hellinger"
    """Hellinger distance of the shares, from 0 to 1."""
    KL_DIVERGENCE = "kl_div"
    """Kullback-Leibler divergence of the shares."""

    DOMAIN_CLASSIFIER = "domain_classifier"
    """How well a classifier tells the sides apart: the area under the ROC curve of rows new to it, 0.5 for not at all;
    texts and embeddings."""
    MMD = "mmd"
    """The squared maximum mean discrepancy of a Gaussian kernel, 0 for none; embeddings."""

    @property
    def is_p_value(self) -> bool:
        """Whether a small value means drift. What is no p-value is a distance, of which a large one does."""
        return self in {DriftMethod.KS, *_CATEGORY_TESTS}

    def says_drift(self, value: float, threshold: float) -> bool:
        """Whether the value is beyond its threshold."""
        return value <= threshold if self.is_p_value else value >= threshold


_CATEGORY_TESTS: Final = frozenset({DriftMethod.CHI_SQUARE, DriftMethod.HOMOGENEITY, DriftMethod.Z})
SEPARATIONS: Final = {DriftMethod.DOMAIN_CLASSIFIER: 0.55, DriftMethod.MMD: 0.015}
"""How samples of texts and embeddings are compared, and from which value on they have drifted: Evidently's defaults."""
NUMBER_METHODS: Final = frozenset(DriftMethod) - _CATEGORY_TESTS - set(SEPARATIONS)
CATEGORY_METHODS: Final = frozenset(DriftMethod) - set(SEPARATIONS) - {DriftMethod.KS, DriftMethod.WASSERSTEIN}


def automatic_method(*, is_number: bool, reference_values: int, distinct: int) -> DriftMethod:
    """Return the method that Evidently 0.7 takes by itself.

    Its rule is ``_get_default_stattest`` in ``evidently/legacy/calculations/stattests/registry.py``.

    :param reference_values: of the reference, without missing and infinite ones.
    :param distinct: different values of both sides together.
    """
    if reference_values > MANY_ROWS:
        return DriftMethod.WASSERSTEIN if is_number and distinct > FEW_VALUES else DriftMethod.JENSEN_SHANNON
    if is_number and distinct > FEW_VALUES:
        return DriftMethod.KS
    return DriftMethod.CHI_SQUARE if distinct > 2 else DriftMethod.Z  # noqa: PLR2004 - two are proportions


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted so that those below a level hold that share of false alarms at most.

    Benjamini and Hochberg, "Controlling the False Discovery Rate", J. R. Statist. Soc. B 57 (1995): of ``m`` tests the
    adjusted value of the ``i``-th smallest is the least ``p_j m / j`` over all ``j >= i``, and 1 at most.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__, reverse=True)
    adjusted, least = [0.0] * len(p_values), 1.0
    for rank, index in zip(range(len(p_values), 0, -1), order, strict=True):
        least = min(least, p_values[index] * len(p_values) / rank)
        adjusted[index] = least
    return adjusted
