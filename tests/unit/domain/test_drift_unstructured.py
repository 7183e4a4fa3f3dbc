"""Texts and embeddings in a drift specification."""

import pytest

from airflow_mlops.domain.drift.unstructured import (
    EmbeddingColumn,
    SeparationMethod,
    TextColumn,
    as_embeddings,
    as_texts,
    judge_separation,
)
from airflow_mlops.exceptions import InvalidInputError


def test_a_name_alone_is_a_column_with_the_defaults() -> None:
    assert as_texts(["a", TextColumn(column="b", is_json=True)]) == (
        TextColumn(column="a"),
        TextColumn(column="b", is_json=True),
    )
    assert as_embeddings(["v"]) == (EmbeddingColumn(column="v", method=SeparationMethod.DOMAIN_CLASSIFIER),)


def test_a_text_has_a_column_for_each_descriptor() -> None:
    column = TextColumn(column="c", contains=("refund",), patterns={"order": "[A-Z]{2}"}, is_json=True)
    assert [item.name for item in column.descriptors] == [
        "c.text_length",
        "c.word_count",
        "c.sentence_count",
        "c.is_valid_json",
        "c.contains(refund)",
        "c.matches(order)",
    ]


@pytest.mark.parametrize("method", SeparationMethod)
def test_each_method_has_the_threshold_of_evidently(method: SeparationMethod) -> None:
    expected = {SeparationMethod.DOMAIN_CLASSIFIER: 0.55, SeparationMethod.MMD: 0.015}
    assert EmbeddingColumn(column="v", method=method).beyond == expected[method]
    assert EmbeddingColumn(column="v", method=method, threshold=0.7).beyond == 0.7


@pytest.mark.parametrize("threshold", [0.5, 0.0, 1.1, float("nan")])
def test_a_threshold_that_a_coin_reaches_is_refused(threshold: float) -> None:
    with pytest.raises(InvalidInputError, match=r"threshold of c is .* above 0\.5"):
        TextColumn(column="c", threshold=threshold)
    with pytest.raises(InvalidInputError, match="threshold of v"):
        EmbeddingColumn(column="v", threshold=threshold)


def test_a_discrepancy_of_zero_is_no_threshold() -> None:
    with pytest.raises(InvalidInputError, match="equal data has 0"):
        EmbeddingColumn(column="v", method=SeparationMethod.MMD, threshold=0)


@pytest.mark.parametrize(
    ("value", "p_value", "drifted"),
    [(0.55, 0.05, True), (0.54, 0.005, False), (0.7, 0.06, False)],
    ids=["far and significant", "significant but near", "far by chance"],
)
def test_drift_is_both_beyond_the_threshold_and_more_than_chance(
    value: float, p_value: float, *, drifted: bool
) -> None:
    found = judge_separation(
        "v",
        SeparationMethod.DOMAIN_CLASSIFIER,
        value=value,
        p_value=p_value,
        threshold=0.55,
        significance=0.05,
        missing=(0.0, 0.25),
    )
    assert (found.drifted, found.method, found.missing_current) == (drifted, "domain_classifier", 0.25)
