"""The explanation part of a report: bars of both models, the drift, and every number in a table."""

import re

import pytest

from airflow_mlops.domain.explanation import Explanation, FeatureImportance, ModelExplanation
from airflow_mlops.domain.explanation_html import explanation_section
from airflow_mlops.domain.svg_bars import bar_chart


def explained(*means: tuple[str, float], shap: float | None = None) -> ModelExplanation:
    found = [FeatureImportance(feature=name, mean=mean, standard_deviation=0.001, shap=shap) for name, mean in means]
    shap_rows = 0 if shap is None else 100
    return ModelExplanation(metric="roc_auc", rows=2000, repeats=5, importances=tuple(found), shap_rows=shap_rows)


def test_nothing_explained_is_no_section() -> None:
    assert explanation_section(None) == ""


def test_bars_and_numbers_are_of_both_models_and_no_name_becomes_markup() -> None:
    both = Explanation.compare(
        explained(("hour", 0.03), ("<b>", -0.002), shap=0.25), explained(("hour", 0.01), ("wind", 0.01))
    )
    html = explanation_section(both)
    assert "<b>50%</b> of the importance is on other features than the champion's." in html
    assert "wind 50% → not a feature" in html
    assert len(re.findall(r'<rect class="bar candidate"', html)) == 2
    assert len(re.findall(r'<rect class="bar champion"', html)) == 2
    assert "<td>&lt;b&gt;</td>" in html
    assert "+0.03 ± 0.001" in html
    assert "SHAP of 100 rows" in html
    assert "Loss of roc_auc when the feature is shuffled" in html


def test_what_could_not_be_explained_is_said_without_a_chart() -> None:
    html = explanation_section(Explanation(candidate=ModelExplanation(notes=("The image has no <library>.",))))
    assert "Candidate: The image has no &lt;library&gt;." in html
    assert "<svg" not in html


def test_only_the_first_features_have_bars_but_all_have_numbers() -> None:
    many = explained(*((f"f{place}", 1.0 / (place + 1)) for place in range(30)))
    html = explanation_section(Explanation(candidate=many))
    assert html.count('<rect class="bar') == 20
    assert "The first 20 of 30 features." in html
    assert "<td>f29</td>" in html


@pytest.mark.parametrize("values", [[0.0], [-1.0, 2.0], [0.5, 0.25]])
def test_every_bar_begins_at_zero_and_stays_within_the_chart(values: list[float]) -> None:
    svg = bar_chart("A chart", "Loss", [(f"f{place}", {"candidate": value}) for place, value in enumerate(values)])
    boxes = [
        (float(x), float(width)) for x, width in re.findall(r'<rect [^>]*x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', svg)
    ]
    zero = float(re.findall(r'class="axis" fill="none" d="M([\d.]+)', svg)[0])
    assert len(boxes) == len(values)
    for (x, width), value in zip(boxes, values, strict=True):
        assert 190 <= x <= x + width <= 704
        assert (x if value >= 0 else x + width) == pytest.approx(zero, abs=0.2)
