"""Labels of a window against those of the holdout."""

from typing import Any

import numpy as np
import pytest

from airflow_mlops.domain.evaluation import LearningTask
from airflow_mlops.engines.numpy.label_drift import compare_labels

random = np.random.default_rng(3)
BINARY, MULTICLASS, REGRESSION = LearningTask


def binary(rows: int, share: float) -> Any:
    return (np.arange(rows) < share * rows).astype(int)


CASES = {
    "few binary": (BINARY, binary(600, 0.2), binary(500, 0.2), "z", False),
    "few binary that rise": (BINARY, binary(600, 0.2), binary(500, 0.3), "z", True),
    "many binary": (BINARY, binary(5000, 0.2), binary(900, 0.22), "jensenshannon", False),
    "many binary that rise": (BINARY, binary(5000, 0.2), binary(900, 0.4), "jensenshannon", True),
    "texts": (MULTICLASS, random.choice([*"abcd"], 900), random.choice([*"abcd"], 900), "homogeneity", False),
    "a new text": (MULTICLASS, random.choice([*"abcd"], 900), random.choice([*"abcde"], 900), "homogeneity", True),
    "few numbers": (REGRESSION, random.normal(0, 1, 900), random.normal(0, 1, 900), "ks", False),
    "numbers": (REGRESSION, random.normal(0, 1, 3000), random.normal(0, 1, 900), "wasserstein", False),
    "numbers that rise": (REGRESSION, random.normal(0, 1, 3000), random.normal(0.3, 1, 900), "wasserstein", True),
}


@pytest.mark.parametrize("case", CASES)
def test_labels_are_compared_as_a_drift_check_compares_a_column(case: str) -> None:
    task, holdout, window, method, drifted = CASES[case]
    found = compare_labels(task, holdout, window)
    assert (found.method, found.drifted) == (method, drifted)


def test_distance_of_numbers_is_in_standard_deviations_of_the_holdout() -> None:
    holdout = random.normal(0, 5, 4000)
    assert compare_labels(REGRESSION, holdout, holdout + 10).value == pytest.approx(10 / holdout.std())
