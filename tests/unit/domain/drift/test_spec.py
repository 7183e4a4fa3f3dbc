"""What an author may say of drift, and which rule each column gets."""

from typing import Any

import pytest

from airflow_mlops.domain.drift import ColumnRule, Correction, DriftMethod, DriftSpec
from airflow_mlops.exceptions import InvalidInputError

KS, WASSERSTEIN, PSI = DriftMethod.KS, DriftMethod.WASSERSTEIN, DriftMethod.PSI


@pytest.mark.parametrize(
    "wrong", [{"threshold": 0}, {"significance": 0}, {"drift_share": 0}, {"sample_rows": 0}, {"min_rows": 0}]
)
def test_impossible_comparison_is_refused_when_it_is_written(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidInputError, match=f"DriftSpec.{next(iter(wrong))} is 0"):
        DriftSpec.from_dict(wrong)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"numbers": "chisquare"}, "numbers is chisquare, which does not compare numbers"),
        ({"categories": "ks"}, "categories is ks, which does not compare categories"),
        ({"numbers": "magic"}, "must be one of 'ks'"),
        ({"by_column": {"x": {"threshold": 0}}}, "ColumnRule.threshold is 0"),
        ({"by_column": {"x": {"how": "ks"}}}, "unknown key 'how'"),
    ],
)
def test_method_that_does_not_fit_is_named(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        DriftSpec.read(wrong)


def test_rule_of_a_column_goes_before_that_of_its_kind_which_goes_before_the_automatic_one() -> None:
    spec = DriftSpec(numbers=PSI, by_column={"x": ColumnRule(method=KS)})
    assert [
        spec.method(name, WASSERSTEIN, is_number=number) for name, number in (("x", True), ("y", True), ("c", False))
    ] == [
        KS,
        PSI,
        WASSERSTEIN,
    ]


def test_threshold_is_that_of_the_column_or_else_of_what_the_method_measures() -> None:
    spec = DriftSpec(threshold=0.2, significance=0.01, by_column={"x": ColumnRule(threshold=0.7)})
    assert [spec.threshold_of(*pair) for pair in (("x", KS), ("y", KS), ("y", PSI))] == [0.7, 0.01, 0.2]


def test_spec_of_a_dag_reads_as_the_document_that_was_written() -> None:
    spec = DriftSpec(
        columns=("x",),
        by_column={"x": ColumnRule(method=KS, threshold=0.01)},
        correction=Correction.BENJAMINI_HOCHBERG,
        least_volume=None,
    )
    assert DriftSpec.from_dict(spec.to_dict()) == spec
    assert DriftSpec.read(spec) is spec
    assert DriftSpec.read(None) == DriftSpec()
