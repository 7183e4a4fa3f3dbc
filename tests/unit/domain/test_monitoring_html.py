"""The history of a model shows what was found and done, stays small, and lets no text become markup."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from airflow_mlops.domain.audit.entry import AuditEntry, AuditEvent, Chain, EventKind, Happening, Head, Origin
from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, Window, WindowCheck
from airflow_mlops.domain.monitoring_html import render_history
from airflow_mlops.domain.retraining import RetrainDecision, RetrainPolicy, WindowOutcome
from airflow_mlops.domain.retraining_rules import next_decision

START = datetime(2026, 1, 1, tzinfo=UTC)


def outcome(day: int, *checks: WindowCheck, version: str = "1") -> WindowOutcome:
    window = Window(start=START + timedelta(days=day), end=START + timedelta(days=day + 1))
    placed = tuple(replace(check, window=window, model_version=version) for check in checks)
    return WindowOutcome(model_name="late", window=window, checks=placed, closed_at=START)


def check(
    kind: CheckKind, verdict: CheckVerdict = CheckVerdict.VIOLATED, figures: Mapping[str, float] = MappingProxyType({})
) -> WindowCheck:
    return WindowCheck(
        kind=kind,
        window=Window(start=START, end=START + timedelta(days=1)),
        verdict=verdict,
        model_name="late",
        model_version="1",
        rows=1234,
        reasons=("<b>moved</b>",),
        figures=dict(figures),
        report_uri="file:///r.html?a=1&b=2",
    )


def decided(outcomes: list[WindowOutcome]) -> list[RetrainDecision]:
    newest: RetrainDecision | None = None
    while found := next_decision(RetrainPolicy(), outcomes, newest, now=START):
        newest = found
    return [newest] if newest else []


def entry(kind: EventKind, summary: str) -> AuditEntry:
    event = AuditEvent(
        happening=Happening(chain=Chain.of_model("late"), event_kind=kind, summary=summary, who="alice"),
        at=START,
        started_by="scheduled",
        origin=Origin(dag_id="d", run_id="r", task_id="t"),
    )
    return AuditEntry.seal(event, Head(sequence=0, digest="0" * 64))


def test_model_without_windows_has_a_page() -> None:
    html = render_history("<late>", [], [], [], START)
    assert "<h1>History of &lt;late&gt;</h1>" in html
    assert "no window yet" in html


def test_page_tells_state_findings_retrainings_and_new_versions() -> None:
    drift, good = check(CheckKind.DATA_DRIFT), check(CheckKind.DATA_DRIFT, CheckVerdict.PASSED)
    windows = [outcome(0, drift), outcome(1, drift), outcome(2, good, version="2")]
    html = render_history("late", windows, decided(windows), [], START)
    assert '<span class="state fail">data drift</span>' in html
    assert "2 of 3" in html
    assert re.search(r"retraining</td><td[^>]*>1</td>", html)
    assert re.search(r"new version</td><td[^>]*>1</td>", html)
    assert "&lt;b&gt;moved&lt;/b&gt;" in html
    assert '<a href="file:///r.html?a=1&amp;b=2">report</a>' in html


def test_performance_is_drawn_with_its_interval_and_the_line_that_was_promised() -> None:
    figures = {"roc_auc": 0.7, "roc_auc.low": 0.68, "roc_auc.high": 0.72, "roc_auc.promised": 0.75}
    estimated = {"roc_auc.estimated": 0.69, "roc_auc.estimated.low": 0.6, "roc_auc.estimated.high": 0.8}
    windows = [
        *(outcome(day, check(CheckKind.DECAY, figures={"labelled_share": 0.9, **figures})) for day in range(3)),
        outcome(3, check(CheckKind.DECAY, CheckVerdict.UNDECIDED, estimated)),
    ]
    html = render_history("late", windows, [], [], START)
    assert html.count("<figcaption>roc_auc</figcaption>") == 1
    assert "labelled_share</figcaption>" not in html
    for style in ("line promised", "line measured", "band measured", "line estimated", "band estimated"):
        assert html.count(f'class="{style}"') == 1


def test_columns_that_were_beyond_their_threshold_most_often_come_first() -> None:
    once = check(CheckKind.DATA_DRIFT, figures={"drift.a": 9.0, "drift.b": 1.5, "drift.<c>": 0.1})
    often = check(CheckKind.DATA_DRIFT, figures={"drift.a": 0.5, "drift.b": 1.5})
    html = render_history("late", [outcome(0, once), outcome(1, often)], [], [], START)
    assert re.findall(r'<td class="name" title="([^"]+)">', html)[-3:] == ["b", "a", "&lt;c&gt;"]
    assert "9.0 times" in html


def test_five_thousand_columns_in_four_hundred_windows_stay_readable_and_small() -> None:
    drifted = [{f"drift.c{(day * 7 + rank) % 5000}": 3.0 - rank / 100 for rank in range(200)} for day in range(400)]
    measured = [{"roc_auc": 0.7 + day % 3 / 100, "roc_auc.low": 0.6, "roc_auc.high": 0.8} for day in range(400)]
    windows = [
        outcome(day, check(CheckKind.DATA_DRIFT, figures=drifted[day]), check(CheckKind.DECAY, figures=measured[day]))
        for day in range(400)
    ]
    html = render_history("late", windows, decided(windows[:101]), [], START)
    assert len(html) < 300_000
    assert html.count('class="name"') == 4 + 40  # checks, retrainings and versions, then columns
    assert "more columns are in the reports" in html
    assert "The newest 50 windows." in html


def test_what_was_done_is_told_from_the_audit_trail() -> None:
    entries = [
        entry(EventKind.GATE, "Version 2 was refused by its gates."),
        entry(EventKind.DEPLOYMENT, "Version 3 serves."),
        entry(EventKind.SNAPSHOT, "Nothing of interest."),
    ]
    html = render_history("late", [], [], entries, START)
    assert "Version 2 was refused by its gates." in html
    assert "alice" in html
    assert "Nothing of interest." not in html


def test_report_is_linked_where_a_browser_can_open_it() -> None:
    local = outcome(0, replace(check(CheckKind.BIAS), report_uri="/store/r.html"))
    assert '<a href="file:///store/r.html">report</a>' in render_history("late", [local], [], [], START)
    remote = outcome(0, replace(check(CheckKind.BIAS), report_uri="s3://bucket/r.html"))
    assert "<a " not in render_history("late", [remote], [], [], START)
