"""Importances of two models: shares, drift, and what they cannot say."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from airflow_mlops.domain.explanation import (
    Explanation,
    ExplanationSpec,
    FeatureImportance,
    ModelExplanation,
    rank_correlation,
)
from airflow_mlops.exceptions import InvalidInputError, JobOutputError


def explained(**means: float) -> ModelExplanation:
    return ModelExplanation(
        metric="roc_auc",
        rows=100,
        repeats=5,
        importances=tuple(
            FeatureImportance(feature=name, mean=mean, standard_deviation=0.01) for name, mean in means.items()
        ),
    )


def test_importance_that_went_to_another_feature_is_its_share() -> None:
    explanation = Explanation.compare(explained(a=1, b=3), explained(a=6, b=2))
    assert explanation.drift is not None
    assert explanation.drift.moved == pytest.approx(0.5)
    assert [(item.feature, item.champion, item.candidate) for item in explanation.drift.changes] == [
        ("a", 0.75, 0.25),
        ("b", 0.25, 0.75),
    ]


def test_features_that_do_not_matter_move_nothing_by_chance() -> None:
    explanation = Explanation.compare(explained(a=0.2, b=-0.004, c=0.0), explained(a=0.1, b=0.0, c=-0.003))
    assert explanation.drift is not None
    assert explanation.drift.moved == 0


def test_a_feature_that_only_one_model_has_is_said_to_be_absent_from_the_other() -> None:
    explanation = Explanation.compare(explained(a=0.1, new=0.1), explained(a=0.1, old=0.1))
    assert explanation.drift is not None
    assert explanation.drift.moved == pytest.approx(0.5)
    absent = {item.feature: (item.champion, item.candidate) for item in explanation.drift.changes}
    assert absent == {"new": (None, 0.5), "old": (0.5, None), "a": (0.5, 0.5)}
    assert explanation.drift.rank_correlation is None


def test_no_more_than_the_ten_largest_changes_are_kept() -> None:
    names = [f"f{place}" for place in range(50)]
    candidate = explained(**{name: 1.0 + place for place, name in enumerate(names)})
    explanation = Explanation.compare(candidate, explained(**dict.fromkeys(names, 1.0)))
    assert explanation.drift is not None
    sizes = [change.size for change in explanation.drift.changes]
    assert len(sizes) == 10
    assert sizes == sorted(sizes, reverse=True)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30).filter(
        lambda pairs: len({x for x, _ in pairs}) > 1 and len({y for _, y in pairs}) > 1
    )
)
def test_rank_correlation_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    left, right = zip(*pairs, strict=True)
    assert rank_correlation(left, right) == pytest.approx(spearmanr(left, right).statistic)


def test_rank_correlation_of_what_does_not_vary_is_not_defined() -> None:
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None
    assert rank_correlation([1, 2], [1, 2]) is None


@given(
    st.dictionaries(st.text(max_size=3), st.floats(-1, 1), max_size=8),
    st.dictionaries(st.text(max_size=3), st.floats(-1, 1), max_size=8),
)
def test_drift_is_a_share_and_the_same_from_both_sides(left: dict[str, float], right: dict[str, float]) -> None:
    there = Explanation.compare(explained(**left), explained(**right)).drift
    back = Explanation.compare(explained(**right), explained(**left)).drift
    assert (there is None) == (back is None)
    if there is not None and back is not None:
        assert 0 <= there.moved <= 1 + 1e-9
        assert there.moved == pytest.approx(back.moved)


@pytest.mark.parametrize(
    ("champion", "reason"),
    [
        (
            ModelExplanation(notes=("It was slow.",)),
            "The champion has no importances, so they cannot be compared. It was",
        ),
        (explained(a=-0.1, b=0.0), "Shuffling makes the champion worse with no feature"),
        (replace(explained(a=0.1), metric="accuracy"), "explained by roc_auc and the champion by accuracy"),
    ],
    ids=["none", "nothing matters", "another metric"],
)
def test_what_cannot_be_compared_says_why(champion: ModelExplanation, reason: str) -> None:
    explanation = Explanation.compare(explained(a=0.1), champion)
    assert explanation.drift is None
    assert reason in explanation.notes[0]


def test_a_first_model_has_an_explanation_and_no_drift() -> None:
    assert Explanation.compare(explained(a=0.1), None) == Explanation(candidate=explained(a=0.1))


def test_explanation_survives_the_evidence() -> None:
    explanation = Explanation.compare(explained(a=0.1, b=0.2, c=0.3), explained(a=0.1, b=0.1))
    assert Explanation.from_dict(explanation.to_dict()) == explanation


def test_a_program_that_explains_nothing_is_no_error() -> None:
    found = ModelExplanation.read(None)
    assert found.notes == ("The program that scored it left no output/data/explanation.json.",)


def test_an_explanation_of_another_form_is_an_error_with_its_place() -> None:
    with pytest.raises(JobOutputError, match=r"explanation\.json cannot be read: .*'weights'"):
        ModelExplanation.read({"weights": []})


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"rows": 0}, "rows is 0, but must be above zero"),
        ({"repeats": -1}, "repeats is -1"),
        ({"seconds": float("nan")}, "seconds is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"metric": "f1"}, "metric is 'f1', but must be one of roc_auc, log_loss"),
    ],
)
def test_a_spec_that_measures_nothing_is_refused(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        ExplanationSpec(**arguments)
