import re
from datetime import UTC, datetime

from airflow_mlops.domain.validation import ExpectationOutcome, ValidationReport
from airflow_mlops.domain.validation_html import render


def page(*outcomes: ExpectationOutcome) -> str:
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
    )
    return render(report, datetime(2013, 1, 1, tzinfo=UTC))


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


def test_light_and_dark_are_both_styled() -> None:
    assert "prefers-color-scheme: dark" in page(BAD)
