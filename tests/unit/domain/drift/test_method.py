"""Which statistic is taken by itself, and how many p-values at once are corrected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from airflow_mlops.domain.drift import DriftMethod, automatic_method, benjamini_hochberg


@pytest.mark.parametrize(
    ("is_number", "values", "distinct", "method"),
    [
        (True, 1000, 6, DriftMethod.KS),
        (True, 1000, 5, DriftMethod.CHI_SQUARE),
        (True, 1000, 2, DriftMethod.Z),
        (True, 1001, 6, DriftMethod.WASSERSTEIN),
        (True, 1001, 5, DriftMethod.JENSEN_SHANNON),
        (False, 1000, 3, DriftMethod.CHI_SQUARE),
        (False, 1000, 2, DriftMethod.Z),
        (False, 1000, 1, DriftMethod.Z),
        (False, 1001, 900, DriftMethod.JENSEN_SHANNON),
    ],
)
def test_method_is_chosen_by_kind_and_size(*, is_number: bool, values: int, distinct: int, method: DriftMethod) -> None:
    assert automatic_method(is_number=is_number, reference_values=values, distinct=distinct) is method


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("is_number", [True, False])
@pytest.mark.parametrize("rows", [999, 1000, 1001, 1500])
@pytest.mark.parametrize("distinct", [1, 2, 3, 5, 6, 40])
def test_choice_is_that_of_evidently(rows: int, distinct: int, *, is_number: bool) -> None:
    import pandas as pd
    from evidently.legacy.calculations.stattests.registry import get_stattest

    values = pd.Series([index % distinct for index in range(rows)], dtype=float if is_number else str)
    chosen = get_stattest(values, values[:50], "num" if is_number else "cat", None)
    assert automatic_method(is_number=is_number, reference_values=rows, distinct=distinct).value == chosen.name


@pytest.mark.parametrize("method", DriftMethod)
def test_value_at_its_threshold_says_drift_whichever_way_the_method_counts(method: DriftMethod) -> None:
    assert method.says_drift(0.1, 0.1)
    assert method.says_drift(0.09, 0.1) is method.is_p_value
    assert method.says_drift(0.11, 0.1) is not method.is_p_value


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_correction_is_that_of_scipy(p_values: list[float]) -> None:
    assert benjamini_hochberg(p_values) == pytest.approx(list(false_discovery_control(p_values)))


def test_correction_of_nothing_is_nothing() -> None:
    assert benjamini_hochberg([]) == []
