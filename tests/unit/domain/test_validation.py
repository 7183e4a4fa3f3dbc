import datetime as dt
import json
from typing import Any

import pytest

from airflow_mlops.domain.validation import ExpectationOutcome, Suite, ValidationReport, describe
from airflow_mlops.exceptions import SuiteError


def outcome(number: int = 0, *, success: bool = False, **values: Any) -> ExpectationOutcome:
    return ExpectationOutcome(
        type="expect_column_values_to_be_in_set",
        kwargs={"column": f"c{number}", **values.pop("kwargs", {})},
        success=success,
        severity="critical",
        **values,
    )


def report(*outcomes: ExpectationOutcome) -> ValidationReport:
    failures = sum(not item.success for item in outcomes)
    return ValidationReport(
        suite_name="flights",
        suite_digest="s" * 64,
        dataset_name="flights",
        dataset_digest="d" * 64,
        rows=10,
        success=not failures,
        expectation_count=len(outcomes),
        failure_count=failures,
        outcomes=outcomes,
        report_uri="/reports/validation.html",
    )


def test_two_hundred_failures_with_long_values_fit_in_xcom_and_are_all_counted() -> None:
    big = report(
        *(
            outcome(
                number,
                kwargs={"value_set": [f"value {i} " * 20 for i in range(1000)]},
                unexpected_count=10**6,
                unexpected_percent=99.9,
                unexpected_sample=tuple("x" * 1000 for _ in range(20)),
                notes="n" * 5000,
            )
            for number in range(200)
        )
    )
    bounded = big.bounded()
    assert len(json.dumps(bounded.to_dict())) <= 48_000
    assert bounded.failed
    assert (bounded.expectation_count, bounded.failure_count) == (200, 200)
    assert ValidationReport.from_dict(bounded.to_dict()) == bounded


def test_xcom_carries_the_failed_outcomes_only() -> None:
    bounded = report(outcome(1, success=True), outcome(2, observed=3)).bounded()
    assert [item.kwargs["column"] for item in bounded.outcomes] == ["c2"]


def test_the_summary_names_the_suite_the_data_and_what_failed() -> None:
    text = report(outcome(1, success=True), outcome(2, unexpected_count=3, unexpected_percent=30.0)).summary()
    assert "1 of 2 expectations of the suite 'flights' failed on flights (10 rows, digest dddddddddddd)" in text
    assert "expect_column_values_to_be_in_set(c2): 3 unexpected values (30 %)" in text
    assert "Report: /reports/validation.html" in text


def test_a_problem_is_told_before_numbers() -> None:
    assert describe(outcome(1, problem="The dataset has no column 'c1'.")).endswith("no column 'c1'.")


def test_dates_of_yaml_and_texts_of_json_are_the_same_suite() -> None:
    def suite(bound: object) -> dict[str, Any]:
        return {
            "name": "s",
            "expectations": [
                {"type": "expect_column_max_to_be_between", "kwargs": {"column": "t", "min_value": bound}}
            ],
        }

    yaml, json_ = (Suite.from_document(suite(bound), "s") for bound in (dt.date(2013, 1, 1), "2013-01-01"))
    assert yaml.digest == json_.digest


def test_another_bound_is_another_suite() -> None:
    digests = {
        Suite.from_document({"expectations": [{"type": "expect_x", "kwargs": {"value": value}}]}, "s").digest
        for value in (1, 2)
    }
    assert len(digests) == 2


def test_notes_come_from_the_description_or_from_meta() -> None:
    suite = Suite.from_document(
        {"expectations": [{"type": "a", "description": "why"}, {"type": "b", "meta": {"notes": ["because", "of"]}}]},
        "s",
    )
    assert [item.notes for item in suite.expectations] == ["why", "because of"]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "s.json is no expectation suite"),
        ({"expectation": []}, "a list under 'expectations'"),
        ({"expectations": []}, "has no expectations"),
        ({"expectations": [{"expectation_type": "x"}]}, "Expectation 1 of s.json must be a mapping with a 'type'"),
        ({"expectations": [{"type": "x", "kwarg": {}}]}, "unknown key 'kwarg'"),
        ({"expectations": [{"type": "x", "kwargs": [1]}]}, "must have a mapping under 'kwargs'"),
    ],
)
def test_what_is_no_suite_says_why(document: object, reason: str) -> None:
    with pytest.raises(SuiteError, match=reason):
        Suite.from_document(document, "s.json")


def outcome_of(severity: str, *, success: bool = False) -> ExpectationOutcome:
    return ExpectationOutcome(type="expect_x", kwargs={}, success=success, severity=severity)


@pytest.mark.parametrize(
    ("outcomes", "rows", "allow_empty", "success"),
    [
        ([outcome_of("critical", success=True), outcome_of("warning"), outcome_of("info")], 9, False, True),
        ([outcome_of("critical"), outcome_of("warning", success=True)], 9, False, False),
        ([outcome_of("critical", success=True)], 0, False, False),
        ([outcome_of("critical", success=True)], 0, True, True),
        ([outcome_of("critical")], 0, True, False),
        ([], 9, True, True),
    ],
)
def test_only_what_is_critical_fails_a_validation_and_no_rows_are_no_ground_to_pass(
    outcomes: list[ExpectationOutcome], rows: int, allow_empty: bool, success: bool
) -> None:
    given = Suite.from_document({"name": "s", "expectations": [{"type": "expect_x"}]}, "s")
    report = ValidationReport.judged(
        given, outcomes, rows=rows, dataset_name="d", dataset_digest="f" * 64, allow_empty=allow_empty
    )
    assert report.success is success
    assert ("no rows" in report.summary()) is (rows == 0 and not allow_empty)


def test_what_is_critical_comes_first_where_there_is_not_room_for_all() -> None:
    outcomes = [outcome_of("info"), outcome_of("warning"), outcome_of("critical")]
    report = ValidationReport.judged(
        Suite.from_document({"name": "s", "expectations": [{"type": "expect_x"}]}, "s"),
        outcomes,
        rows=1,
        dataset_name="d",
        dataset_digest="f" * 64,
    )
    assert [outcome.severity for outcome in report.bounded().outcomes] == ["critical", "warning", "info"]
    assert (report.failure_count, report.critical_count) == (3, 1)
    assert "3 of 3 expectations of the suite 's' failed (2 of them not critical)" in report.summary()
