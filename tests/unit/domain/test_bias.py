"""What is said of groups of people in a window, by its rates alone."""

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_mlops.domain.bias import BiasReport, BiasSpec, needs_labels
from airflow_mlops.domain.bias_html import render_bias
from airflow_mlops.domain.bias_verdict import judge_bias
from airflow_mlops.domain.evaluation import LearningTask
from airflow_mlops.domain.fairness import DISPARITIES, RATES, Fairness, FairnessColumn, FairnessGroup, GroupRate
from airflow_mlops.domain.gates import FairnessGate
from airflow_mlops.domain.monitoring import CheckVerdict, Window
from airflow_mlops.domain.performance import AnswerCounts
from airflow_mlops.exceptions import InvalidInputError

PARITY = FairnessGate(column="sex", metric="demographic_parity_difference", at_most=0.1)
OPPORTUNITY = FairnessGate(column="sex", metric="equal_opportunity_difference", at_most=0.1)
EVERY_GROUP = FairnessGate(column="sex", metric="selection_rate", at_least=0.3)


def fairness(rates: dict[str, dict[str, float]], rows: int = 1000) -> Fairness:
    groups = tuple(
        FairnessGroup(value=group, rows=rows, candidate={n: GroupRate(value=v, rows=rows) for n, v in found.items()})
        for group, found in rates.items()
    )
    return Fairness(min_rows=100, columns=(FairnessColumn.of("sex", groups, 100),))


def report(*bars: FairnessGate, gap: float = 0.0, labelled: int = 2000, rows: int = 2000, **values: Any) -> BiasReport:
    rates = {"f": {"selection_rate": 0.5}, "m": {"selection_rate": 0.5 - gap}}
    known = {group: {**found, "true_positive_rate": found["selection_rate"]} for group, found in rates.items()}
    return BiasReport(
        model_name="churn",
        model_version="7",
        window=Window(start=datetime(2026, 3, 1, tzinfo=UTC), end=datetime(2026, 4, 1, tzinfo=UTC)),
        task=LearningTask.BINARY,
        spec=BiasSpec(bars=bars),
        counts=AnswerCounts(rows=rows, labelled=labelled),
        answers=values.pop("answers", fairness(rates)),
        labelled=values.pop("known", fairness(known)),
        **values,
    )


def test_only_demographic_parity_and_its_rate_need_no_labels() -> None:
    bars = [FairnessGate(column="sex", metric=metric, at_most=1.0) for metric in (*DISPARITIES, *RATES)]
    assert {bar.metric for bar in bars if not needs_labels(bar)} == {
        "demographic_parity_difference", "demographic_parity_ratio", "selection_rate", "selection_rate_difference",
        "selection_rate_ratio",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("bars", "values", "verdict"),
    [
        ((PARITY,), {"gap": 0.05}, CheckVerdict.PASSED),
        ((PARITY,), {"gap": 0.15}, CheckVerdict.VIOLATED),
        ((PARITY,), {"gap": 0.15, "labelled": 0}, CheckVerdict.VIOLATED),
        ((OPPORTUNITY,), {"gap": 0.15}, CheckVerdict.VIOLATED),
        ((OPPORTUNITY,), {"gap": 0.15, "labelled": 0}, CheckVerdict.UNDECIDED),
        ((OPPORTUNITY,), {"gap": 0.15, "labelled": 500}, CheckVerdict.UNDECIDED),
        ((PARITY, OPPORTUNITY), {"gap": 0.05, "labelled": 0}, CheckVerdict.UNDECIDED),
        ((PARITY, OPPORTUNITY), {"gap": 0.15, "labelled": 0}, CheckVerdict.VIOLATED),
        ((EVERY_GROUP,), {"gap": 0.15}, CheckVerdict.PASSED),
        ((EVERY_GROUP,), {"gap": 0.25}, CheckVerdict.VIOLATED),
        ((PARITY,), {"rows": 0, "labelled": 0}, CheckVerdict.UNDECIDED),
        ((PARITY,), {"answers": None}, CheckVerdict.UNDECIDED),
        ((PARITY,), {"answers": fairness({"f": {"selection_rate": 0.5}})}, CheckVerdict.UNDECIDED),
        (
            (PARITY,),
            {"answers": fairness({"f": {"selection_rate": 0.9}, "m": {"selection_rate": 0.1}}, rows=9)},
            "undecided",
        ),
    ],
)
def test_worst_bar_decides(bars: tuple[FairnessGate, ...], values: dict[str, Any], verdict: CheckVerdict) -> None:
    judged = judge_bias(report(*bars, **values))
    assert judged.verdict == verdict
    assert judged.bars[0].bar
    assert judged.reasons


def test_reason_names_the_groups_and_what_it_was_at_promotion() -> None:
    promised = fairness({"f": {"selection_rate": 0.5}, "m": {"selection_rate": 0.48}})
    (reason,) = judge_bias(report(PARITY, gap=0.15, promised=promised)).reasons
    assert reason == (
        "By sex, selection_rate is 0.3500 of m and 0.5000 of f: demographic_parity_difference is 0.1500, but must be "
        "at most 0.1. At promotion it was 0.0200."
    )


def test_figures_are_those_of_the_bars() -> None:
    found = report(PARITY, EVERY_GROUP, gap=0.2).figures()
    assert found == {
        "labelled_share": 1.0,
        "demographic_parity_difference.sex": pytest.approx(0.2),
        "selection_rate.sex": pytest.approx(0.3),
    }


@pytest.mark.parametrize("given", [{"bars": []}, {}, {"bars": [{"column": "sex", "metric": "gini", "at_most": 1}]}])
def test_spec_without_a_bar_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        BiasSpec.read(given)


def test_report_is_read_back_and_shown() -> None:
    judged = judge_bias(report(PARITY, OPPORTUNITY, gap=0.15, labelled=0, known=None))
    assert BiasReport.from_dict(judged.to_dict()) == judged
    page = render_bias(judged)
    assert page.count('<span class="state fail">violated</span>') == 2
    assert '<span class="state crash">undecided</span>' in page
    assert "All answers" in page
    assert "Answers with a label" not in page
