"""The bars of a report: shares of both sides, few enough to be read."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlops.domain.drift.shapes import Shape, shape_of
from airflow_mlops.domain.packing import pack_integers
from airflow_mlops.domain.profile import (
    Categories,
    ColumnProfile,
    Folded,
    Grid,
    Histogram,
    ProfileKind,
    Values,
    binned,
)

GRID = Grid(start=0.0, width=0.01)


def numbers(counts: dict[float, int], grid: Grid | None = None) -> ColumnProfile:
    found = Values.of(counts) if grid is None else Histogram(grid=grid, counts=pack_integers(binned(counts, grid)))
    rows = sum(counts.values())
    return ColumnProfile(
        name="x", type="double", kind=ProfileKind.NUMBER, rows=rows, grid=grid or GRID, distribution=found
    )


def texts(counts: dict[str, int]) -> ColumnProfile:
    rows = sum(counts.values())
    return ColumnProfile(
        name="c", type="string", kind=ProfileKind.CATEGORY, rows=rows, distribution=Categories(counts=counts)
    )


def test_few_numbers_have_a_bar_each() -> None:
    assert shape_of(numbers({1.0: 3, 2.0: 1}), numbers({2.0: 5, 7.5: 5})) == Shape(
        labels=("1", "2", "7.5"), reference=(0.75, 0.25, 0.0), current=(0.0, 0.5, 0.5), is_number=True
    )


def test_many_numbers_share_24_bars_and_an_outlier_does_not_flatten_them() -> None:
    many = {float(number): 10 for number in range(1000)}
    shape = shape_of(numbers(many), numbers(many | {1e300: 1, -1e300: 1}))
    assert shape is not None
    assert len(shape.labels) == 24
    assert shape.reference == pytest.approx([1 / 24] * 24, abs=0.01)
    assert shape.current == pytest.approx(shape.reference, abs=0.001)


def test_counts_in_bins_are_drawn_as_the_numbers_themselves() -> None:
    spread = {index / 40: 1 + index % 7 for index in range(1600)}
    exact, counted = shape_of(numbers(spread), numbers(spread)), shape_of(numbers(spread, GRID), numbers(spread))
    assert exact is not None
    assert counted is not None
    assert counted.reference == pytest.approx(exact.reference, abs=0.01)


def test_the_least_frequent_of_many_categories_share_a_bar() -> None:
    before = {f"c{number:02}": 100 - number for number in range(30)}
    shape = shape_of(texts(before), texts({"new": 10}))
    assert shape is not None
    assert shape.labels[:2] == ("new", "c00")
    assert shape.labels[-1] == "19 others"
    assert (len(shape.labels), shape.current[0]) == (13, 1.0)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (None, numbers({1.0: 1})),
        (numbers({}), numbers({1.0: 1})),
        (texts({}), texts({"a": 1})),
        (texts({"a": 1}), numbers({1.0: 1})),
        (
            ColumnProfile(name="c", type="string", kind=ProfileKind.CATEGORY, rows=1, distribution=Folded.of({"a": 1})),
            texts({"a": 1}),
        ),
    ],
    ids=["no column", "no numbers", "no texts", "another kind", "too many texts"],
)
def test_nothing_is_drawn_where_a_side_has_nothing_to_draw(before: ColumnProfile | None, now: ColumnProfile) -> None:
    assert shape_of(before, now) is None


counts = st.dictionaries(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 9), min_size=1, max_size=60)


@given(counts, counts)
def test_all_rows_are_in_the_bars_whatever_the_numbers(before: dict[float, int], now: dict[float, int]) -> None:
    shape = shape_of(numbers(before), numbers(now))
    assert shape is not None
    assert math.isclose(sum(shape.reference), 1)
    assert math.isclose(sum(shape.current), 1)
