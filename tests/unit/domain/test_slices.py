"""Which slices may be searched, and what the correction for many tests promises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from airflow_mlops.domain.slices import Loss, SliceSpec, benjamini_hochberg
from airflow_mlops.exceptions import EvaluationError, InvalidInputError

p_values = st.lists(st.floats(0, 1), max_size=60)


@given(p_values)
def test_correction_agrees_with_scipy(values: list[float]) -> None:
    expected = stats.false_discovery_control(values).tolist() if values else []
    assert list(benjamini_hochberg(values)) == pytest.approx(expected)


@given(p_values)
def test_correction_keeps_the_order_and_never_lowers_a_p_value(values: list[float]) -> None:
    adjusted = benjamini_hochberg(values)
    assert all(raw <= corrected <= 1 for raw, corrected in zip(values, adjusted, strict=True))
    ranked = sorted(zip(values, adjusted, strict=True))
    assert [corrected for _, corrected in ranked] == sorted(adjusted)


@given(p_values)
def test_another_test_that_finds_nothing_makes_no_other_more_significant(values: list[float]) -> None:
    with_another = benjamini_hochberg([*values, 1.0])
    assert all(more >= less for more, less in zip(with_another, benjamini_hochberg(values), strict=False))


def test_spec_survives_the_way_through_json() -> None:
    spec = SliceSpec(columns=("a",), intersections=(("a", "b"),), search=(), loss=Loss.LOG_LOSS)
    assert SliceSpec.from_dict(spec.to_dict()) == spec
    assert spec.named == ("a", "b")


@pytest.mark.parametrize(
    ("given_spec", "reason"),
    [
        ({"min_rows": 1}, "min_rows is 1, but must be 2 to"),
        ({"max_depth": 3}, "max_depth is 3, but must be 1 to 2"),
        ({"bins": 1}, "bins is 1"),
        ({"worst": 0}, "worst is 0"),
        ({"intersections": [["a"]]}, "must be of two or more different columns"),
        ({"intersections": [["a", "a"]]}, "must be of two or more different columns"),
    ],
)
def test_what_cannot_be_searched_is_refused(given_spec: dict[str, object], reason: str) -> None:
    with pytest.raises(EvaluationError, match=reason):
        SliceSpec.from_dict(given_spec)


def test_misspelt_key_is_named() -> None:
    with pytest.raises(InvalidInputError, match="unknown key 'column'"):
        SliceSpec.from_dict({"column": ["a"]})
