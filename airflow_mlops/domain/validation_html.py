"""A validation report as one HTML page without any outside resource, readable in light and dark."""

import json
from datetime import datetime
from html import escape
from typing import Any

from airflow_mlops.domain.validation import ExpectationOutcome, ValidationReport

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --good: #1a7f37; --bad: #cf222e; --odd: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --bad: #ff7b72; --odd: #d29922; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { opacity: .7; } dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .5rem .6rem; border-bottom: 1px solid var(--line); }
th { font-weight: 600; white-space: nowrap; }
code { font: 13px/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
td p { margin: 0 0 .25rem; } .notes { opacity: .75; }
.pass { color: var(--good); } .fail { color: var(--bad); } .crash { color: var(--odd); }
.state { font-weight: 600; white-space: nowrap; }
.empty { background: var(--soft); padding: .75rem; }
"""
_SUBJECT = ("column", "column_A", "column_B", "column_list")


def render(report: ValidationReport, finished_at: datetime) -> str:
    """Return the page: the verdict first, then what failed, then what passed."""
    passed = tuple(outcome for outcome in report.outcomes if outcome.success)
    verdict = "passed" if report.success else "failed"
    title = f"{report.dataset_name} {verdict} {report.suite_name}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(report.dataset_name)} <span class="{"pass" if report.success else "fail"}">{verdict}</span></h1>
<p>{report.expectation_count - report.failure_count} of {report.expectation_count} expectations of the suite \
{escape(report.suite_name)} are met.</p>
<dl>
<dt>Rows</dt><dd>{report.rows:,}</dd>
<dt>Dataset digest</dt><dd><code>{escape(report.dataset_digest)}</code></dd>
<dt>Suite digest</dt><dd><code>{escape(report.suite_digest)}</code></dd>
<dt>Validated at</dt><dd>{escape(finished_at.isoformat(timespec="seconds"))}</dd>
</dl>
<h2>Not met ({len(report.failed)})</h2>
{_table(report.failed)}
<h2>Met ({len(passed)})</h2>
{_table(passed)}
</body>
</html>
"""


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
    return "".join(f"<p>{line}</p>" for line in lines)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
