"""A validation report as one HTML page without any outside resource, readable in light and dark."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from airflow_mlops.domain.dataset import ColumnSummary
from airflow_mlops.domain.html import html_page
from airflow_mlops.domain.validation import ExpectationOutcome, Severity, ValidationReport, describe, subject
from airflow_mlops.domain.validation_shapes import facts_of, shape_svg

_SHOWN = 1000
"""Outcomes that are shown, those that are not met first; the JSON beside the page has all."""
_LISTED = 50
"""Outcomes not met that are listed at the top."""
_SAMPLES = 10
_SAMPLE_LENGTH = 60
_TEXT_LENGTH = 400
_SUBJECTS = ("column", "column_A", "column_B", "column_list")
_WHOLE = "The data as a whole"
_STYLE = """<style>
.verdict { font-size: 1.15rem; border-left: .35rem solid; padding: .35rem .8rem; background: var(--soft);
  overflow-wrap: anywhere; }
.column { margin: 1.75rem 0; } .column h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
.head { display: flex; gap: 1.25rem; align-items: end; justify-content: space-between; margin-bottom: .3rem; }
.facts { font-size: .85rem; opacity: .75; margin: 0; }
.head svg { width: 180px; height: 40px; flex: none; } .head path { fill: var(--candidate); opacity: .8; }
.column table { table-layout: fixed; } .column th { font-size: .85rem; }
.column th:first-child { width: 6.5rem; } .column th:nth-child(2) { width: 34%; }
.column td { overflow-wrap: anywhere; } .found code { opacity: .9; } ul.failed li { margin: .2rem 0; }
@media (max-width: 40rem) { .column table { min-width: 40rem; } }
</style>"""


def render(report: ValidationReport, finished_at: datetime, columns: Sequence[ColumnSummary] = ()) -> str:
    """Return the page: the verdict, what is not met, and every expectation by column.

    :param columns: what the snapshot's manifest says of its columns, for facts and small histograms.
    """
    shown = (*report.failed, *(outcome for outcome in report.outcomes if outcome.success))[:_SHOWN]
    groups = _by_column(shown)
    title = f"{report.dataset_name} {_word(report)} {report.suite_name}"
    parts = [
        _STYLE,
        f'<h1>{escape(report.dataset_name)} <span class="{_style(report)}">{_word(report)}</span></h1>',
        _verdict(report),
        _facts(report, finished_at),
        _failed(report, groups),
        "<h2>By column</h2>" if groups else '<p class="empty">The suite has no expectations.</p>',
        *(_column(number, name, group, columns) for number, (name, group) in enumerate(groups.items())),
    ]
    if len(report.outcomes) > len(shown):
        parts.append(f"<p>{len(report.outcomes) - len(shown):,} more are met; validation.json has all.</p>")
    return html_page(title, "\n".join(part for part in parts if part))


def _word(report: ValidationReport) -> str:
    return "passed" if report.success else "failed"


def _style(report: ValidationReport) -> str:
    return "pass" if report.success else "fail"


def _verdict(report: ValidationReport) -> str:
    met = report.expectation_count - report.failure_count
    said = [f"{met} of {report.expectation_count} expectations of the suite {escape(report.suite_name)} are met."]
    if report.failure_count:
        said.append(f"{report.failure_count} are not, {report.critical_count} of them critical.")
    if report.refusal:
        said.append(f"{escape(report.refusal)}.")
    if report.quarantine:
        said.append(f"{escape(_short(report.quarantine.summary, _TEXT_LENGTH))}.")
    return f'<p class="verdict {_style(report)}">{" ".join(said)}</p>'


def _facts(report: ValidationReport, finished_at: datetime) -> str:
    facts = {
        "Rows": f"{report.rows:,}",
        "Data": f"<code>{escape(report.dataset_uri)}</code>" if report.dataset_uri else "",
        "Dataset digest": f"<code>{escape(report.dataset_digest)}</code>",
        "Suite digest": f"<code>{escape(report.suite_digest)}</code>",
        "Validated at": escape(finished_at.isoformat(timespec="seconds")),
    }
    if report.quarantine and report.quarantine.passing and report.quarantine.quarantined:
        facts["Rows that pass"] = f"<code>{escape(report.quarantine.passing.uri)}</code>"
        facts["Quarantine"] = f"<code>{escape(report.quarantine.quarantined.uri)}</code>"
    lines = "\n".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts.items() if value)
    return f"<dl>\n{lines}\n</dl>"


def _failed(report: ValidationReport, groups: Mapping[str, Sequence[ExpectationOutcome]]) -> str:
    if not report.failed:
        return ""
    places = {name: number for number, name in enumerate(groups)}
    items = "\n".join(
        f'<li><span class="{_state(outcome)[1]}">{escape(outcome.severity)}</span> '
        f'<a href="#column-{places[_subject(outcome)]}">{escape(_short(describe(outcome), _TEXT_LENGTH))}</a></li>'
        for outcome in report.failed[:_LISTED]
    )
    more = len(report.failed) - _LISTED
    rest = f"\n<li>and {more:,} more</li>" if more > 0 else ""
    return f'<h2>Not met ({len(report.failed):,})</h2>\n<ul class="failed">\n{items}{rest}\n</ul>'


def _by_column(outcomes: Iterable[ExpectationOutcome]) -> dict[str, list[ExpectationOutcome]]:
    """Return the outcomes by what they are about, the columns with a failure first."""
    groups: dict[str, list[ExpectationOutcome]] = {}
    for outcome in outcomes:
        groups.setdefault(_subject(outcome), []).append(outcome)
    return groups


def _subject(outcome: ExpectationOutcome) -> str:
    return _short(subject(outcome.kwargs), _TEXT_LENGTH) or _WHOLE


def _column(number: int, name: str, outcomes: Sequence[ExpectationOutcome], columns: Sequence[ColumnSummary]) -> str:
    known = next((column for column in columns if column.name == name), None)
    facts = f'<p class="facts">{escape(facts_of(known))}</p>' if known else ""
    rows = "\n".join(map(_row, outcomes))
    return (
        f'<section class="column" id="column-{number}"><div class="head"><div><h3>{escape(name)}</h3>{facts}</div>'
        f"{shape_svg(known) if known else ''}</div>\n"
        '<div class="scroll"><table>\n<thead><tr><th scope="col">Outcome</th><th scope="col">Expectation</th>'
        '<th scope="col">Expected</th><th scope="col">Found</th></tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div></section>"
    )


def _state(outcome: ExpectationOutcome) -> tuple[str, str]:
    if outcome.is_crashed:
        return "Not checked", "crash"
    if outcome.success:
        return "Met", "pass"
    return "Not met", "fail" if outcome.severity == Severity.CRITICAL else "crash"


def _row(outcome: ExpectationOutcome) -> str:
    state, style = _state(outcome)
    notes = f'<p class="notes">{escape(_short(outcome.notes, _TEXT_LENGTH))}</p>' if outcome.notes else ""
    expected = "".join(
        f"<p>{escape(_short(key, _SAMPLE_LENGTH))}: <code>{escape(_short(_text(value), _TEXT_LENGTH))}</code></p>"
        for key, value in outcome.kwargs.items()
        if key not in _SUBJECTS
    )
    return (
        f'<tr><td><span class="state {style}">{state}</span><br>{escape(outcome.severity)}</td>'
        f"<td><p><code>{escape(_short(outcome.type, _TEXT_LENGTH))}</code></p>{notes}</td>"
        f'<td>{expected}</td><td class="found">{_found(outcome)}</td></tr>'
    )


def _found(outcome: ExpectationOutcome) -> str:
    lines = []
    if outcome.problem:
        lines.append(escape(outcome.problem))
    if outcome.unexpected_count is not None:
        percent = "" if outcome.unexpected_percent is None else f" ({outcome.unexpected_percent:.3g} %)"
        lines.append(f"{outcome.unexpected_count:,} unexpected values{percent}")
    elif outcome.observed is not None:
        lines.append(f"<code>{escape(_short(_text(outcome.observed), _TEXT_LENGTH))}</code>")
    if any(value is not None for value in outcome.unexpected_sample):  # Missing values say nothing by themselves.
        samples = (_short(_text(value), _SAMPLE_LENGTH) for value in outcome.unexpected_sample[:_SAMPLES])
        lines.append("such as " + ", ".join(f"<code>{escape(sample)}</code>" for sample in samples))
    if outcome.fallback:
        lines.append(f"Checked in pandas: {escape(outcome.fallback)}.")
    return "".join(f"<p>{line}</p>" for line in lines)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
