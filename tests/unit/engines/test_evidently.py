"""Distances between two samples, as SciPy has them."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from airflow_mlops.engines.evidently import measure_drift, version

random = np.random.default_rng(7)
NUMBERS = {"before": random.normal(0, 2, 3000).tolist(), "now": random.normal(0.6, 2, 2000).tolist()}
TEXTS = {"before": ["a"] * 60 + ["b"] * 40, "now": ["a"] * 20 + ["b"] * 20 + ["c"] * 10}


def test_numbers_are_compared_by_the_wasserstein_distance_in_standard_deviations() -> None:
    [found] = measure_drift({"x": NUMBERS["before"]}, {"x": NUMBERS["now"]}, 0.1)
    expected = wasserstein_distance(NUMBERS["before"], NUMBERS["now"]) / np.std(NUMBERS["before"])
    assert found.value == pytest.approx(expected)
    assert (found.column, found.method, found.drifted, found.threshold) == ("x", "wasserstein", True, 0.1)
    assert not measure_drift({"x": NUMBERS["before"]}, {"x": NUMBERS["now"]}, 0.5)[0].drifted


def test_texts_are_compared_by_the_jensen_shannon_distance_of_their_shares() -> None:
    [found] = measure_drift({"c": TEXTS["before"]}, {"c": TEXTS["now"]}, 0.1)
    assert found.value == pytest.approx(jensenshannon([0.6, 0.4, 0], [0.4, 0.4, 0.2]))
    assert (found.method, found.drifted) == ("jensenshannon", True)


def test_the_same_data_has_not_drifted() -> None:
    sample = {"x": NUMBERS["before"], "c": ["a", "b", None] * 1000, "one": [1.0] * 3000}
    assert [(item.value, item.drifted) for item in measure_drift(sample, sample, 0.1)] == [(0.0, False)] * 3


def test_values_that_are_missing_now_are_drift_by_themselves() -> None:
    before, now = [1.0, 2.0] * 50, [1.0, 2.0, None, None] * 25
    [found] = measure_drift({"x": before}, {"x": now}, 0.4)
    assert found.value == pytest.approx(0.0)
    assert (found.missing_reference, found.missing_current, found.drifted) == (0.0, 0.5, True)


def test_no_column_is_no_drift() -> None:
    assert measure_drift({}, {}, 0.1) == ()
    assert version().startswith("evidently 0.7")
