"""How far groups lie apart, and which of them may be judged."""

import pytest

from airflow_mlops.domain.fairness import DISPARITIES, Fairness, FairnessColumn, FairnessGroup, FairnessSpec, GroupRate
from airflow_mlops.exceptions import EvaluationError


def column(**selected: tuple[float | None, int]) -> FairnessColumn:
    groups = tuple(
        FairnessGroup(value=name, rows=rows, candidate={"selection_rate": GroupRate(value=value, rows=rows)})
        for name, (value, rows) in selected.items()
    )
    return FairnessColumn.of("sex", groups, min_rows=100)


def test_measure_names_the_two_groups_that_lie_furthest_apart() -> None:
    found = column(f=(0.3, 500), m=(0.4, 500), x=(0.35, 500)).disparity("demographic_parity_difference", 100)
    assert found is not None
    assert found.value == pytest.approx(0.1)
    assert str(found) == "selection_rate is 0.3000 of f and 0.4000 of m"


def test_small_group_is_listed_and_not_judged() -> None:
    found = column(f=(0.3, 500), m=(0.4, 500), x=(1.0, 99))
    ratio = found.disparity("demographic_parity_ratio", 100)
    assert ratio is not None
    assert ratio.value == pytest.approx(0.75)
    assert found.small(100) == ("x",)
    assert [group.value for group in found.groups] == ["f", "m", "x"]


def test_one_group_alone_cannot_be_unequal() -> None:
    assert column(f=(0.3, 500), x=(1.0, 99)).disparity("demographic_parity_difference", 100) is None


def test_ratio_of_nothing_to_nothing_is_not_defined() -> None:
    found = column(f=(0.0, 500), m=(0.0, 500))
    assert found.disparity("demographic_parity_ratio", 100) is None
    difference = found.disparity("demographic_parity_difference", 100)
    assert difference is not None
    assert difference.value == 0


def test_signed_error_has_no_ratio() -> None:
    assert "mean_error_difference" in DISPARITIES
    assert "mean_error_ratio" not in DISPARITIES


def test_document_survives_the_way_through_json() -> None:
    fairness = Fairness(min_rows=100, columns=(column(f=(0.3, 500), m=(None, 500)),))
    assert Fairness.from_dict(fairness.to_dict()) == fairness
    assert fairness.find("sex") == fairness.columns[0]
    assert fairness.find("age") is None


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"columns": []}, "needs a sensitive column"),
        ({"columns": ["sex"], "min_rows": 0}, "min_rows 0. Give 1 or more"),
        ({"columns": ["sex"], "max_groups": 1}, "max_groups 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(given: dict[str, object], reason: str) -> None:
    with pytest.raises(EvaluationError, match=reason):
        FairnessSpec.from_dict(given)
