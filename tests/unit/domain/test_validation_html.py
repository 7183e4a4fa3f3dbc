import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from airflow_mlops.domain.dataset import ColumnSummary
from airflow_mlops.domain.quarantine import Quarantine
from airflow_mlops.domain.validation import ExpectationOutcome, ValidationReport
from airflow_mlops.domain.validation_html import render


def page(*outcomes: ExpectationOutcome, columns: Sequence[ColumnSummary] = (), **known: Any) -> str:
    failures = sum(not outcome.success for outcome in outcomes)
    report = ValidationReport(
        suite_name="suite <b>",
        suite_digest="s" * 64,
        dataset_name="flights",
        dataset_digest="d" * 64,
        rows=12345,
        success=failures == 0,
        expectation_count=len(outcomes),
        failure_count=failures,
        outcomes=outcomes,
        **known,
    )
    return render(report, datetime(2013, 1, 1, tzinfo=UTC), columns)


BAD = ExpectationOutcome(
    type="expect_column_values_to_be_in_set",
    kwargs={"column": "<script>alert(1)</script>", "value_set": ["a"]},
    success=False,
    severity="critical",
    unexpected_count=2,
    unexpected_percent=20.0,
    unexpected_sample=("<img src=x>", None, {"a": 1}),
    notes="Why <i>",
)


def test_nothing_is_loaded_from_elsewhere() -> None:
    assert not re.search(r"(?i)https?://|<script|<link|<img|url\(|@import", page(BAD))


def test_values_of_the_data_are_text_and_never_markup() -> None:
    html = page(BAD)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "&lt;img src=x&gt;" in html
    assert "suite &lt;b&gt;" in html


def test_what_failed_comes_before_what_passed() -> None:
    good = ExpectationOutcome(type="expect_good", kwargs={}, success=True, severity="info", observed=3)
    html = page(good, BAD)
    assert html.index("expect_column_values_to_be_in_set") < html.index("expect_good")
    assert "1 of 2 expectations" in html


def test_a_check_that_broke_is_not_shown_as_bad_data() -> None:
    crashed = ExpectationOutcome(
        type="expect_x", kwargs={}, success=False, severity="critical", problem="It broke.", is_crashed=True
    )
    assert "Not checked" in page(crashed)


def column(**known: Any) -> ColumnSummary:
    given: dict[str, Any] = {"type": "BIGINT", "nulls": 0, "distinct": 3} | known
    return ColumnSummary(**given)


def test_expectations_stand_by_column_with_its_facts_and_a_small_histogram() -> None:
    columns = (
        column(name="n", minimum=0, maximum=1500, mean=2.5, histogram=(4, 0, 2)),
        column(name="word", type="VARCHAR", counts={"a<b": 7, "c": 1}),
    )
    outcomes = [
        ExpectationOutcome(type=f"expect_{name}_{i}", kwargs={"column": name}, success=True, severity="info")
        for i in range(2)
        for name in ("n", "word")
    ]
    html = page(*outcomes, columns=columns)
    assert html.count('<section class="column"') == 2
    assert re.findall(r"<code>(expect_\w+)</code>", html) == [
        "expect_n_0",
        "expect_n_1",
        "expect_word_0",
        "expect_word_1",
    ]
    assert "BIGINT, 0 missing, about 3 different values, 0 to 1,500, mean 2.5" in html
    assert re.findall(r'<path d="([^"]*)"', html)[0].count("M") == 2  # An empty bin has no bar.
    assert 'aria-label="word: a&lt;b 7; c 1"' in html


def test_a_page_of_two_hundred_expectations_is_below_one_megabyte_whatever_is_in_them() -> None:
    long = "é" * 1000
    outcomes = [
        replace(
            BAD,
            kwargs={"column": f"column {i}", "value_set": [long] * 100},
            unexpected_sample=(long,) * 20,
            notes=long,
        )
        for i in range(200)
    ]
    columns = [column(name=f"column {i}", minimum=0, maximum=1, histogram=tuple(range(1, 21))) for i in range(200)]
    assert len(page(*outcomes, columns=columns).encode()) < 1_000_000


def test_what_a_quarantine_did_is_told_with_the_verdict() -> None:
    html = page(BAD, quarantine=Quarantine.refused("no row passes <b>", max_share=0.1))
    assert html.index("No rows were quarantined: no row passes &lt;b&gt;.") < html.index("<dl>")


def test_light_and_dark_are_both_styled() -> None:
    assert "prefers-color-scheme: dark" in page(BAD)
