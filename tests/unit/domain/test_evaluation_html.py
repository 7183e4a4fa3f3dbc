"""The report of an evaluation stands alone, hides nothing, and lets no value of the data become markup."""

import re

from airflow_mlops.domain.evaluation import (
    Estimate,
    Evaluation,
    JudgedModel,
    LearningTask,
    MetricComparison,
    PairedTest,
    TestMethod,
)
from airflow_mlops.domain.evaluation_diagnostics import (
    CalibrationBin,
    Confusion,
    Curve,
    Diagnostics,
    ResidualBin,
)
from airflow_mlops.domain.evaluation_html import render


def page(*, has_champion: bool = True, difference: tuple[float, float, float] = (0.1, 0.05, 0.15)) -> str:
    def estimate(value: float, low: float, high: float) -> Estimate:
        return Estimate(value=value, low=low, high=high)

    metric = MetricComparison(
        metric="roc_auc",
        higher_is_better=True,
        candidate=estimate(0.8, 0.75, 0.85),
        champion=estimate(0.7, 0.65, 0.75) if has_champion else None,
        difference=estimate(*difference) if has_champion else None,
        test=PairedTest(method=TestMethod.DELONG, p_value=0.0312) if has_champion else None,
    )
    diagnostics = Diagnostics(
        role="candidate",
        roc=Curve(x=(0.0, 0.5, 1.0), y=(0.0, 0.8, 1.0)),
        precision_recall=Curve(x=(0.0, 1.0), y=(1.0, 0.2)),
        calibration=(CalibrationBin(rows=1234, predicted=0.25, observed=0.5),),
        confusion=Confusion(labels=("<b>no</b>", "yes"), counts=((3, 1), (0, 0))),
        residuals=(ResidualBin(rows=5, predicted=1.0, quantiles=(-2.0, -1.0, 0.0, 1.0, 2.0)),),
    )
    judged = JudgedModel(version="2", run_id="r2", model_digest="m2")
    evaluation = Evaluation(
        model_name="delays",
        candidate=judged,
        champion=JudgedModel(version="1", run_id="r1", model_digest="m1") if has_champion else None,
        dataset_name="<script>alert(1)</script>",
        dataset_digest="d" * 64,
        target="late",
        task=LearningTask.BINARY,
        rows=12345,
        confidence_level=0.95,
        resamples=1000,
        metrics=(metric,),
        notes=("The champion <i>gives no probabilities.",),
        diagnostics=(diagnostics,),
    )
    return render(evaluation, "e" * 64)


def test_nothing_is_loaded_from_elsewhere() -> None:
    assert not re.search(r"(?i)https?://|<script|<link|<img|url\(|@import", page())


def test_values_of_the_data_are_text_and_never_markup() -> None:
    html = page()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "&lt;b&gt;no&lt;/b&gt;" in html
    assert "The champion &lt;i&gt;gives no probabilities." in html


def test_report_is_tied_to_the_evidence() -> None:
    assert "e" * 64 in page()


def test_difference_is_called_by_what_its_interval_allows() -> None:
    assert ">better</td>" in page(difference=(0.1, 0.05, 0.15))
    assert ">worse</td>" in page(difference=(-0.1, -0.15, -0.05))
    assert ">not clearly different</td>" in page(difference=(0.1, -0.05, 0.15))


def test_difference_shows_how_it_was_tested() -> None:
    assert ">0.0312 (DeLong)</td>" in page()
    assert "chance alone" in page()
    assert "chance alone" not in page(has_champion=False)


def test_first_model_is_shown_alone() -> None:
    html = page(has_champion=False)
    assert "delays version 2 against no champion" in html
    assert "Difference" not in html


def test_every_plot_is_drawn_and_explained() -> None:
    html = page()
    for name in ("ROC", "Precision and recall", "Calibration", "Residuals"):
        assert f'aria-label="{name}"' in html
    assert "said 0.25, came true 0.5, 1,234 rows" in html


def test_row_of_a_label_that_never_occurs_is_no_division_by_zero() -> None:
    assert "3 (75%)" in page()
    assert ">0</td>" in page()
