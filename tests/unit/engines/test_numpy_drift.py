"""The statistics from profiles against Evidently's own, on the same data."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlops.domain.drift import ColumnDrift, DriftMethod, DriftSpec
from airflow_mlops.engines.numpy.drift import measure
from airflow_mlops.engines.profiles import profile_parquet

Columns = dict[str, Any]


def compare(
    folder: Path, reference: Columns, current: Columns, spec: DriftSpec | None = None, group_rows: int = 10_000
) -> dict[str, ColumnDrift]:
    for name, columns in (("reference", reference), ("current", current)):
        pq.write_table(pa.table(columns), folder / f"{name}.parquet", row_group_size=group_rows)
    before = profile_parquet([folder / "reference.parquet"])
    now = profile_parquet([folder / "current.parquet"], grids=before.grids)
    names = list(dict.fromkeys([*reference, *current]))
    return {item.column: item for item in measure(before, now, spec or DriftSpec(), names)}


def evidently(reference: Any, current: Any, *, is_number: bool, method: str | None = None) -> tuple[str, float, bool]:
    """Return the method, the value and the verdict of Evidently's own code."""
    import warnings

    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently.legacy.calculations.stattests import get_stattest
        from evidently.legacy.core import ColumnType

        kind = ColumnType.Numerical if is_number else ColumnType.Categorical
        sides = [pd.Series(side).replace([-np.inf, np.inf], np.nan).dropna() for side in (reference, current)]
        test = get_stattest(*sides, kind, method)
        result = test(*sides, kind, None)
    return test.name, float(result.drift_score), bool(result.drifted)


SHAPES: dict[str, Any] = {
    "normal": lambda random, rows: random.normal(50, 7, rows),
    "skewed": lambda random, rows: random.lognormal(0, 1, rows),
    "heavy": lambda random, rows: random.standard_t(2, rows),
    "uniform": lambda random, rows: random.uniform(-1, 1, rows),
    "offset": lambda random, rows: 1e6 + random.normal(0, 1e-3, rows),
    "integers": lambda random, rows: random.integers(0, 300, rows),
    "wide integers": lambda random, rows: random.integers(0, 10**7, rows),
    "mostly zero": lambda random, rows: np.where(random.random(rows) < 0.9, 0.0, random.exponential(3, rows)),
    "few": lambda random, rows: random.choice([0.5, 1.5, 7.0], rows),
    "two": lambda random, rows: random.choice([0.5, 1.5], rows),
    "rounded": lambda random, rows: np.round(random.normal(0, 3, rows), 1),
    "odd": lambda random, rows: np.where(random.random(rows) < 0.1, np.nan, random.normal(0, 1, rows)),
}


@pytest.mark.parametrize("rows", [(200, 150), (5_000, 4_000), (40_000, 300)], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_automatic_choice_and_value_are_evidentlys(tmp_path: Path, shape: str, rows: tuple[int, int]) -> None:
    random = np.random.default_rng(rows)
    reference, current = (SHAPES[shape](random, count) for count in rows)
    found = compare(tmp_path, {"x": reference}, {"x": current})["x"]
    method, value, drifted = evidently(reference, current, is_number=True)
    assert found.method == method
    assert found.value is not None
    assert found.error is not None
    assert abs(found.value - value) <= found.error + 1e-9
    assert abs(found.value - value) <= 1e-3
    assert found.drifted is drifted or abs(value - found.threshold) <= found.error


@pytest.mark.parametrize("rows", [200, 5_000])
@pytest.mark.parametrize("categories", [2, 3, 40])
def test_categories_are_compared_as_evidently_does(tmp_path: Path, categories: int, rows: int) -> None:
    random = np.random.default_rng(categories)
    reference, current = ([f"c{number}" for number in random.integers(0, categories, rows)] for _ in range(2))
    found = compare(tmp_path, {"x": reference}, {"x": current})["x"]
    assert (found.method, found.value, found.drifted) == pytest.approx(evidently(reference, current, is_number=False))


@pytest.mark.parametrize("method", ["jensenshannon", "psi", "kl_div", "hellinger"])
def test_distances_of_binned_numbers_are_evidentlys(tmp_path: Path, method: str) -> None:
    random = np.random.default_rng(1)
    reference, current = random.normal(0, 1, 30_000), random.normal(0.2, 1.1, 20_000)
    spec = DriftSpec(numbers=DriftMethod(method))
    found = compare(tmp_path, {"x": reference}, {"x": current}, spec)["x"]
    _, value, _ = evidently(reference, current, is_number=True, method=method)
    assert found.value == pytest.approx(value, abs=2e-3)


@settings(deadline=None, max_examples=15, derandomize=True)
@given(
    shapes=st.tuples(st.sampled_from(sorted(SHAPES)), st.sampled_from(sorted(SHAPES))),
    rows=st.tuples(st.integers(30, 2_500), st.integers(30, 2_500)),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_two_shapes_are_judged_as_evidently_judges_them(
    shapes: tuple[str, str], rows: tuple[int, int], seed: int
) -> None:
    random = np.random.default_rng(seed)
    reference, current = (SHAPES[shape](random, count) for shape, count in zip(shapes, rows, strict=True))
    is_code = current.dtype.kind == "i" and len(np.unique(current)) <= 10
    method, value, drifted = evidently(reference, current, is_number=not is_code)
    with tempfile.TemporaryDirectory() as folder:
        found = compare(Path(folder), {"x": reference}, {"x": current})["x"]
    assert found.value is not None
    assert found.error is not None
    assert found.method == method
    assert found.value == pytest.approx(value, rel=1e-6, abs=found.error + 1e-9)
    assert found.drifted is drifted or abs(value - found.threshold) <= found.error


@settings(deadline=None, max_examples=10, derandomize=True)
@given(
    shape=st.sampled_from(sorted(SHAPES)),
    rows=st.integers(11_000, 30_000),
    moved=st.floats(-0.5, 0.5),
    seed=st.integers(0, 2**32 - 1),
)
def test_bounds_of_large_data_hold_against_scipy(shape: str, rows: int, moved: float, seed: int) -> None:
    from scipy import stats

    random = np.random.default_rng(seed)
    reference, current = (SHAPES[shape](random, count).astype(float) for count in (rows, rows // 2))
    kept = [side[np.isfinite(side)] for side in (reference, current)]
    current = current + moved * kept[0].std()
    kept[1] = current[np.isfinite(current)]
    exact = {
        DriftMethod.WASSERSTEIN: stats.wasserstein_distance(*kept) / max(kept[0].std(), 0.001),
        DriftMethod.KS: stats.ks_2samp(*kept, method="asymp").pvalue,
    }
    with tempfile.TemporaryDirectory() as folder:
        for method, value in exact.items():
            found = compare(Path(folder), {"x": reference}, {"x": current}, DriftSpec(numbers=method))["x"]
            assert found.value is not None
            assert found.error is not None
            assert found.value == pytest.approx(value, rel=1e-6, abs=found.error + 1e-9)
            if method is DriftMethod.WASSERSTEIN:
                assert abs(found.value - value) < 5e-3  # a spike anywhere in its bin
                assert found.error < 0.05
