"""Evidently's own report, made by the methods and thresholds that were taken for all rows."""

import re

import numpy as np
import pytest

from airflow_mlops.domain.drift import ColumnDrift
from airflow_mlops.engines.evidently import drift_page

random = np.random.default_rng(7)


@pytest.fixture(autouse=True)
def _same_rows_in_any_order_of_tests() -> None:
    random.bit_generator.state = np.random.default_rng(7).bit_generator.state


BEFORE = {
    "x": [*random.normal(0, 1, 400).tolist(), None],
    "code": [float(index % 3) for index in range(401)],
    "plan": [*(["basic", "pro"] * 200), None],
    "gone": [1.0] * 401,
}
NOW = {
    "x": [*random.normal(0.5, 1, 300).tolist(), None],
    "code": [float(index % 3) for index in range(301)],
    "plan": ["basic"] * 300 + [None],
    "gone": [None] * 301,
}


def column(name: str, method: str, *, threshold: float = 0.1, outside: float | None = 0.0) -> ColumnDrift:
    return ColumnDrift(column=name, method=method, value=0.0, threshold=threshold, drifted=False, outside=outside)


@pytest.fixture(scope="module")
def page() -> str:
    columns = [
        column("x", "ks", threshold=0.01),
        column("code", "chisquare"),
        column("plan", "psi", outside=None),
        column("gone", "wasserstein"),
    ]
    return drift_page(BEFORE, NOW, columns, 0.7)


def test_report_names_the_methods_that_were_taken(page: str) -> None:
    assert all(method in page for method in ("K-S p_value", "chi-square p_value", "PSI"))
    assert "drift detection threshold is 0.7" in page.lower()


def test_column_without_values_on_one_side_is_left_out(page: str) -> None:
    assert "Wasserstein" not in page


def test_report_asks_for_nothing_from_outside(page: str) -> None:
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']https?:", page)
