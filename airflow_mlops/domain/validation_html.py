"""A validation report as one HTML page without any outside resource, readable in light and dark."""

import json
from datetime import datetime
from html import escape
from typing import Any

from airflow_mlops.domain.html import html_page
from airflow_mlops.domain.validation import ExpectationOutcome, ValidationReport

_SUBJECT = ("column", "column_A", "column_B", "column_list")


def render(report: ValidationReport, finished_at: datetime) -> str:
    """Return the page: the verdict first, then what failed, then what passed."""
    passed = tuple(outcome for outcome in report.outcomes if outcome.success)
    verdict = "passed" if report.success else "failed"
    title = f"{report.dataset_name} {verdict} {report.suite_name}"
    style = "pass" if report.success else "fail"
    body = f"""<h1>{escape(report.dataset_name)} <span class="{style}">{verdict}</span></h1>
<p>{report.expectation_count - report.failure_count} of {report.expectation_count} expectations of the suite \
{escape(report.suite_name)} are met.{escape(f" {report.refusal}." if report.refusal else "")}</p>
<dl>
<dt>Rows</dt><dd>{report.rows:,}</dd>
<dt>Dataset digest</dt><dd><code>{escape(report.dataset_digest)}</code></dd>
<dt>Suite digest</dt><dd><code>{escape(report.suite_digest)}</code></dd>
<dt>Validated at</dt><dd>{escape(finished_at.isoformat(timespec="seconds"))}</dd>
</dl>
<h2>Not met ({len(report.failed)})</h2>
{_table(report.failed)}
<h2>Met ({len(passed)})</h2>
{_table(passed)}"""
    return html_page(title, body)


def _table(outcomes: tuple[ExpectationOutcome, ...]) -> str:
    if not outcomes:
        return '<p class="empty">None.</p>'
    rows = "\n".join(_row(outcome) for outcome in outcomes)
    return (
        '<div class="scroll"><table>\n<thead><tr><th scope="col">Outcome</th><th scope="col">Expectation</th>'
        f'<th scope="col">Expected</th><th scope="col">Found</th></tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>'
    )


def _row(outcome: ExpectationOutcome) -> str:
    state, style = ("Met", "pass") if outcome.success else ("Not met", "fail")
    if outcome.is_crashed:
        state, style = "Not checked", "crash"
    subject = ", ".join(_text(outcome.kwargs[key]) for key in _SUBJECT if key in outcome.kwargs)
    about = f"<p><b>{escape(subject)}</b></p>" if subject else ""
    notes = f'<p class="notes">{escape(outcome.notes)}</p>' if outcome.notes else ""
    expected = "".join(
        f"<p>{escape(key)}: <code>{escape(_text(value))}</code></p>"
        for key, value in outcome.kwargs.items()
        if key not in _SUBJECT
    )
    return (
        f'<tr><td><span class="state {style}">{state}</span><br>{escape(outcome.severity)}</td>'
        f'<td style="min-width: 18rem"><p><code>{escape(outcome.type)}</code></p>{about}{notes}</td>'
        f'<td>{expected}</td><td style="min-width: 14rem; overflow-wrap: anywhere">{_found(outcome)}</td></tr>'
    )


def _found(outcome: ExpectationOutcome) -> str:
    lines = []
    if outcome.problem:
        lines.append(escape(outcome.problem))
    if outcome.unexpected_count is not None:
        percent = "" if outcome.unexpected_percent is None else f" ({outcome.unexpected_percent:.3g} %)"
        lines.append(f"{outcome.unexpected_count:,} unexpected values{percent}")
    elif outcome.observed is not None:
        lines.append(f"<code>{escape(_text(outcome.observed))}</code>")
    if outcome.unexpected_sample:
        lines.append(f"such as <code>{escape(', '.join(map(_text, outcome.unexpected_sample)))}</code>")
    if outcome.fallback:
        lines.append(f"Checked in pandas: {escape(outcome.fallback)}.")
    return "".join(f"<p>{line}</p>" for line in lines)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
