"""The report on slices and fairness says what was found and what was not judged, and lets no value become markup."""

from dataclasses import replace

from airflow_mlops.domain.fairness import Fairness, FairnessColumn, FairnessGroup, GroupRate
from airflow_mlops.domain.fairness_html import fairness_section
from airflow_mlops.domain.slices import Against, Loss, Slice, SliceCondition, Slices, SliceTable
from airflow_mlops.domain.slices_html import slices_section

WORSE = Slice(
    conditions=(SliceCondition(column="carrier", value="<b>EV"), SliceCondition(column="origin", value="LGA")),
    rows=2345,
    loss=0.1921,
    baseline=0.1541,
    difference=0.0380,
    low=0.03,
    high=0.046,
    p_value=1e-15,
    adjusted_p=1e-12,
    metric=0.61,
    champion_metric=0.7,
)
ALONE = Slice(
    conditions=(SliceCondition(column="carrier", value="HA"),),
    rows=1,
    loss=0.4,
    baseline=0.2,
    difference=0.2,
    no_metric="one class only",
)
SLICES = Slices(
    loss=Loss.BRIER_SCORE,
    against=Against.CHAMPION,
    test="paired t-test",
    metric="roc_auc",
    higher_is_better=True,
    min_rows=100,
    significance=0.05,
    columns=("carrier", "origin"),
    judged=812,
    worse=1,
    worst=(WORSE, replace(WORSE, adjusted_p=0.2)),
    tables=(SliceTable(columns=("carrier",), slices=(ALONE,), note="The 200 largest of 900 slices."),),
    notes=("dest is <left> out.",),
)


def test_no_slices_are_no_section() -> None:
    assert slices_section(None) == ""
    assert fairness_section(None) == ""


def test_worst_slices_are_told_with_what_is_a_finding_and_what_is_none() -> None:
    html = slices_section(SLICES)
    assert "Of 812 slices of at least 100 rows, 1 is significantly worse than the champion." in html
    assert "<td>carrier = &lt;b&gt;EV and origin = LGA</td><td>worse</td>" in html
    assert "+0.0380 [+0.0300,\N{NO-BREAK SPACE}+0.0460]" in html
    assert "&lt; 0.0001" in html
    assert html.count("<td>not clearly worse</td>") == 1


def test_slice_of_one_row_says_why_it_has_no_verdict() -> None:
    html = slices_section(SLICES)
    assert "<td>carrier = HA</td><td>too few rows</td>" in html
    assert "one class only" in html
    assert "The 200 largest of 900 slices." in html


def test_notes_are_text() -> None:
    assert "dest is &lt;left&gt; out." in slices_section(SLICES)


def test_first_model_is_shown_beside_its_other_rows() -> None:
    html = slices_section(replace(SLICES, against=Against.REST, worse=0))
    assert "none is significantly worse than on all other rows" in html
    assert "Other rows" in html
    assert "Champion" not in html


def test_search_without_enough_rows_says_so() -> None:
    html = slices_section(replace(SLICES, judged=0, worst=(), worse=0))
    assert "No slice of the holdout has the 100 rows that it takes to be judged." in html


def group(name: str, rows: int, *, value: float | None = 0.25) -> FairnessGroup:
    rate = {"selection_rate": GroupRate(value=value, rows=rows)}
    return FairnessGroup(value=name, rows=rows, candidate=rate, champion=rate)


def test_fairness_shows_every_group_of_both_models_and_marks_those_not_judged() -> None:
    groups = (group("f", 500), group("<i>m", 600, value=0.5), group("x", 20))
    column = FairnessColumn.of("sex", groups, 100, ("7 rows have no <value>.",))
    html = fairness_section(Fairness(min_rows=100, columns=(column,)))
    assert "<h3>By sex</h3>" in html
    assert "demographic_parity_difference" in html
    assert "selection_rate is 0.2500 of f and 0.5000 of &lt;i&gt;m" in html
    assert html.count("0.2500 †") == 2
    assert "7 rows have no &lt;value&gt;." in html


def test_column_without_groups_says_why() -> None:
    column = FairnessColumn.of("city", (), 100, ("city has 1,000 values.",))
    html = fairness_section(Fairness(min_rows=100, columns=(column,)))
    assert "city has 1,000 values." in html
    assert "<table" not in html


def test_group_without_rows_for_a_rate_is_told_so() -> None:
    column = FairnessColumn.of("sex", (group("f", 0, value=None), group("m", 500)), 100)
    html = fairness_section(Fairness(min_rows=100, columns=(column,)))
    assert "no rows" in html
    assert "not judged" in html
