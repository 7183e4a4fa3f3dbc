"""Profiles of parts, merged in any order, are the profile of the whole."""

import json
import math
from collections import Counter
from dataclasses import replace
from functools import reduce
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlops.domain.packing import pack_floats, pack_integers, unpack_floats, unpack_integers
from airflow_mlops.domain.profile import (
    Categories,
    ColumnProfile,
    DatasetProfile,
    Folded,
    Grid,
    Histogram,
    ProfileKind,
    Values,
    category,
    distribution,
    distribution_of,
    merge_profiles,
    numbers_of,
)
from airflow_mlops.exceptions import InvalidInputError

GRID = Grid(start=-10.0, width=0.5, bins=40)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture(autouse=True)
def few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small data pass the bounds from which on profiles keep less."""
    monkeypatch.setattr(distribution, "EXACT_VALUES", 6)
    monkeypatch.setattr(distribution, "EXACT_CATEGORIES", 6)
    monkeypatch.setattr(distribution, "SKETCH", 4)


def of_numbers(values: list[float | None], grid: Grid = GRID) -> ColumnProfile:
    numbers = [value for value in values if value is not None]
    mean = math.fsum(numbers) / len(numbers) if numbers else None
    return ColumnProfile(
        name="x",
        type="double",
        kind=ProfileKind.NUMBER,
        rows=len(values),
        nulls=len(values) - len(numbers),
        minimum=min(numbers, default=None),
        maximum=max(numbers, default=None),
        mean=mean,
        squares=math.fsum((number - (mean or 0)) ** 2 for number in numbers),
        grid=grid,
        distribution=numbers_of(Counter(numbers), grid, len(values)),
    )


def of_texts(values: list[str]) -> ColumnProfile:
    counts = Counter(map(category, values))
    return ColumnProfile(
        name="x", type="string", kind=ProfileKind.CATEGORY, rows=len(values), distribution=distribution_of(counts)
    )


def assert_same(one: ColumnProfile, other: ColumnProfile) -> None:
    """Both are equal, but for the last digits of the moments."""
    rounded = {"mean": None, "squares": 0.0}
    assert replace(one, **rounded) == replace(other, **rounded)  # type: ignore[arg-type]  # two fields
    assert (one.mean is None) is (other.mean is None)
    if one.mean is not None and other.mean is not None:
        scale = 1 + max(abs(one.minimum or 0), abs(one.maximum or 0))
        assert math.isclose(one.mean, other.mean, rel_tol=1e-9, abs_tol=1e-9 * scale)
        assert math.isclose(one.squares, other.squares, rel_tol=1e-9, abs_tol=1e-9 * scale**2 * one.rows)


NUMBERS = st.lists(st.one_of(st.none(), st.floats(-30, 30).map(lambda value: round(value, 2))), max_size=12)
TEXTS = st.lists(st.text(alphabet="abcdé", max_size=3), max_size=12)


@settings(deadline=None, max_examples=30)
@given(parts=st.lists(NUMBERS, min_size=1, max_size=5), order=st.randoms())
def test_numbers_of_parts_in_any_order_are_those_of_the_whole(parts: list[list[float | None]], order: Random) -> None:
    whole = of_numbers([value for part in parts for value in part])
    order.shuffle(parts)
    assert_same(reduce(ColumnProfile.merge, map(of_numbers, parts)), whole)


@settings(deadline=None, max_examples=30)
@given(parts=st.lists(TEXTS, min_size=1, max_size=5), order=st.randoms())
def test_texts_of_parts_in_any_order_are_those_of_the_whole(parts: list[list[str]], order: Random) -> None:
    whole = of_texts([value for part in parts for value in part])
    order.shuffle(parts)
    assert_same(reduce(ColumnProfile.merge, map(of_texts, parts)), whole)


@settings(deadline=None, max_examples=30)
@given(one=NUMBERS, other=NUMBERS, third=NUMBERS, few=st.booleans())
def test_merge_is_associative_and_commutative(
    one: list[float | None], other: list[float | None], third: list[float | None], few: bool
) -> None:
    a, b, c = (of_numbers(values, replace(GRID, few=few)) for values in (one, other, third))
    assert_same(a.merge(b), b.merge(a))
    assert_same(a.merge(b).merge(c), a.merge(b.merge(c)))


@settings(deadline=None, max_examples=30)
@given(value=FINITE, start=st.floats(-1e9, 1e9), width=st.floats(1e-6, 1e6))
def test_every_number_lies_between_the_edges_of_its_bin(value: float, start: float, width: float) -> None:
    grid = Grid(start=start, width=width, bins=64)
    tails = grid.tail_edges()
    edges = [-math.inf, *(start - tail for tail in reversed(tails))]
    edges += [start + width * number for number in range(65)] + [grid.end + tail for tail in tails] + [math.inf]
    position = grid.position(value)
    assert len(edges) == grid.size + 1
    slack = 1e-9 * max(abs(value), abs(start), width * 64)
    assert edges[position] - slack <= value <= edges[position + 1] + slack


@settings(deadline=None)
@given(low=FINITE, high=FINITE, whole=st.booleans())
def test_any_sample_has_a_grid_that_holds_it(low: float, high: float, whole: bool) -> None:
    low, high = sorted((low, high))
    if whole:
        low, high = float(math.floor(low)), float(math.floor(high))
    grid = Grid.of(low=low, high=high, minimum=low, maximum=high, whole=whole)
    assert grid.width > 0
    assert math.isfinite(grid.end)
    if max(abs(low), abs(high)) < 1e290:
        assert grid.start <= low
        assert high <= grid.end


def test_grid_of_few_whole_numbers_has_a_bin_for_each() -> None:
    grid = Grid.of(low=0, high=99, minimum=0, maximum=99, whole=True)
    assert grid.whole
    assert len({grid.position(number) for number in range(-20, 120)}) == 140


def test_profile_comes_back_from_json_as_it_was() -> None:
    texts = of_texts(list("abcabcdefgh"))
    assert isinstance(texts.distribution, Folded)
    columns = (of_numbers([1.5, None, 2.0]), of_numbers([*map(float, range(9))]), texts, of_texts(["b", "a"]))
    whole = DatasetProfile(rows=3, columns=columns, engine="tests")
    assert DatasetProfile.from_dict(json.loads(json.dumps(whole.to_dict()))) == whole


def test_bounds_decide_what_a_profile_keeps() -> None:
    few = replace(GRID, few=True)
    assert isinstance(of_numbers([1.0] * 20, few).distribution, Values)
    assert isinstance(of_numbers([1.0] * 20).distribution, Histogram)
    assert isinstance(of_numbers([1.0, 2.0]).distribution, Values)
    assert isinstance(of_numbers([*map(float, range(7))], few).distribution, Histogram)
    assert isinstance(of_texts(list("abcdef")).distribution, Categories)
    assert isinstance(of_texts(list("abcdefg")).distribution, Folded)


def test_folded_texts_tell_about_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "SKETCH", 1_024)
    folded = Folded.of({f"user {number}": 1 for number in range(20_000)})
    assert folded.distinct() == pytest.approx(20_000, rel=0.1)


def test_long_texts_are_kept_apart_by_a_hash() -> None:
    one, other = category("x" * 500), category("x" * 499 + "y")
    assert one != other
    assert len(one) == 128


def test_column_that_is_empty_in_one_part_takes_the_kind_of_the_other() -> None:
    empty = ColumnProfile(name="x", type="null", kind=ProfileKind.NOTHING, rows=4, nulls=4)
    assert_same(empty.merge(of_numbers([1.0])), of_numbers([None] * 4 + [1.0]))
    assert_same(of_numbers([1.0]).merge(empty), of_numbers([None] * 4 + [1.0]))


def test_parts_on_different_grids_cannot_be_merged() -> None:
    other = replace(of_numbers([1.0]), grid=Grid(start=0.0, width=1.0))
    with pytest.raises(InvalidInputError, match="different grids"):
        of_numbers([2.0]).merge(other)


def test_numbers_and_texts_cannot_be_merged() -> None:
    with pytest.raises(InvalidInputError, match="cannot be merged"):
        of_numbers([2.0]).merge(of_texts(["a"]))


def test_column_that_a_part_lacks_is_left_out_and_noted() -> None:
    both = DatasetProfile(rows=1, columns=(of_numbers([1.0]), replace(of_texts(["a"]), name="y")))
    single = DatasetProfile(rows=1, columns=(of_numbers([2.0]),))
    merged = merge_profiles([both, single])
    assert [column.name for column in merged.columns] == ["x"]
    assert merged.notes == ("Not every part has y.",)


def test_nothing_cannot_be_merged() -> None:
    with pytest.raises(InvalidInputError, match="no profile"):
        merge_profiles([])


@given(st.lists(st.integers(-(2**63), 2**63 - 1)), st.lists(st.floats(allow_nan=False)))
def test_packed_numbers_come_back_bit_by_bit(integers: list[int], floats: list[float]) -> None:
    assert list(unpack_integers(pack_integers(integers))) == integers
    assert list(unpack_floats(pack_floats(floats))) == floats


def test_text_that_holds_no_numbers_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match="Make the profile anew"):
        unpack_integers("no numbers")
