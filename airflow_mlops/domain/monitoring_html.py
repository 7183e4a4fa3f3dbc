"""The history of a watched model as one HTML page: what was found in each window, and what was done about it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Final

from airflow_mlops.domain.audit.entry import AuditEntry, EventKind
from airflow_mlops.domain.html import html_page, html_table
from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict
from airflow_mlops.domain.retraining import KIND_NAMES, RetrainDecision, WindowOutcome
from airflow_mlops.domain.svg_timeline import Series, strip, timeline

HISTORY_WINDOWS: Final = 400
"""Windows that the page shows: the newest ones."""
_COLUMNS = 40
"""Columns that it shows: those that moved furthest."""
_TABLE = 50
"""Windows whose sentences it shows."""
_METRICS = 6
_EVENTS = 40
_STATE_NAMES = {
    CheckVerdict.PASSED: "passed",
    CheckVerdict.VIOLATED: "violated",
    CheckVerdict.UNDECIDED: "undecided",
}
_CHECK_NAMES = {**KIND_NAMES, CheckKind.QUALITY: "data quality"}
_EVENT_KINDS = (EventKind.RETRAINING, EventKind.GATE, EventKind.DEPLOYMENT, EventKind.ROLLBACK)
_LEVELS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Bounds of the shades: how many times its threshold a column is."""
_STYLE = """
.passed { fill: var(--good); opacity: .75; } .violated { fill: var(--bad); }
.undecided { fill: currentColor; opacity: .2; }
.shade0 { fill: currentColor; opacity: .06; } .shade1 { fill: currentColor; opacity: .14; }
.shade2 { fill: currentColor; opacity: .26; } .shade3 { fill: var(--bad); opacity: .45; }
.shade4 { fill: var(--bad); opacity: .7; } .shade5 { fill: var(--bad); }
.retrained, .promoted { stroke-width: 2; } .retrained { stroke: var(--candidate); }
.promoted { stroke: var(--champion); stroke-dasharray: 5 3; }
path.retrained { fill: var(--candidate); stroke: none; } path.promoted { fill: var(--champion); stroke: none; }
.line { fill: none; stroke-width: 1.75; stroke-linecap: round; stroke: currentColor; }
.band { stroke: none; opacity: .18; }
.line.measured { stroke: var(--candidate); } .band.measured { fill: var(--candidate); }
.line.promised { stroke: currentColor; opacity: .6; stroke-dasharray: 3 3; }
.line.estimated { stroke: var(--odd); } .band.estimated { fill: var(--odd); }
svg.strip { display: block; width: 800px; height: 14px; } .strips td, .strips th { padding: .15rem .6rem; }
.strips td { vertical-align: middle; } .timelines svg { width: 800px; max-width: 100%; }
.swatch { display: inline-block; width: 1.6em; height: .8em; vertical-align: baseline; }
.strips .name { white-space: nowrap; max-width: 16rem; overflow: hidden; text-overflow: ellipsis; }
"""


def render_history(
    model_name: str,
    outcomes: Sequence[WindowOutcome],
    decisions: Sequence[RetrainDecision],
    entries: Iterable[AuditEntry],
    now: datetime,
) -> str:
    """Return the page.

    :param outcomes: the windows to show, oldest first.
    :param decisions: the newest decision; it remembers the retrainings.
    :param entries: newest entries of the model's audit trail.
    """
    newest = decisions[-1] if decisions else None
    marks = list(_marks(outcomes, newest))
    sections = [
        f"<h1>History of {escape(model_name)}</h1>",
        _facts(outcomes, newest, now),
        _verdicts(outcomes, marks),
        _performance(outcomes, marks),
        _drift(outcomes),
        _events(entries),
        _windows(outcomes),
    ]
    body = f"<style>{_STYLE}</style>\n" + "\n".join(section for section in sections if section)
    return html_page(f"History of {model_name}", body)


def _facts(outcomes: Sequence[WindowOutcome], newest: RetrainDecision | None, now: datetime) -> str:
    span = "no window yet"
    if outcomes:
        first, last = outcomes[0].window, outcomes[-1].window
        span = f"{len(outcomes):,}, from {_time(first.start)} to before {_time(last.end)}"
    open_kinds = [KIND_NAMES[kind] for kind in newest.open_kinds] if newest else []
    facts = {
        "State": f'<span class="state {"fail" if open_kinds else "pass"}">'
        f"{escape(', '.join(open_kinds)) if open_kinds else 'all is well'}</span>",
        "Version": escape(newest.model_version if newest else "") or "not known",
        "Decision": escape(newest.summary) if newest else "none yet",
        "Windows": escape(span),
        "Written": escape(_time(now)),
    }
    return f"<dl>\n{''.join(f'<dt>{name}</dt><dd>{text}</dd>{chr(10)}' for name, text in facts.items())}</dl>"


def _marks(outcomes: Sequence[WindowOutcome], newest: RetrainDecision | None) -> Iterator[tuple[int, str]]:
    """Yield where a retraining started, and where another version was judged than before."""
    retrained = {item.window.key for item in newest.retrainings} if newest else set()
    version = ""
    for index, outcome in enumerate(outcomes):
        if version and outcome.version not in {version, ""}:
            yield index, "promoted"
        version = outcome.version or version
        if outcome.window.key in retrained:
            yield index, "retrained"


def _verdicts(outcomes: Sequence[WindowOutcome], marks: Sequence[tuple[int, str]]) -> str:
    if not outcomes:
        return ""
    rows = []
    for kind in CheckKind:
        found = [outcome.check(kind) for outcome in outcomes]
        states = [_STATE_NAMES[check.verdict] if check else "" for check in found]
        if any(states):
            rows.append((_CHECK_NAMES[kind], f"{states.count('violated'):,} of {len(outcomes):,}", strip(states)))
    for style, name in (("retrained", "retraining"), ("promoted", "new version")):
        places = {index for index, found in marks if found == style}
        cells = [style if index in places else "" for index in range(len(outcomes))]
        rows.append((name, f"{len(places):,}", strip(cells)))
    key = (
        f"{_swatch('passed')} passed, {_swatch('violated')} violated, {_swatch('undecided')} undecided, an empty "
        f"place: not checked. A window has the same place in all rows; the newest is at the right."
    )
    return f'<h2>Verdicts</h2>\n{_strips(("Check", "Violated"), rows)}\n<p class="notes">{key}</p>'


def _performance(outcomes: Sequence[WindowOutcome], marks: Sequence[tuple[int, str]]) -> str:
    figures = [check.figures if (check := outcome.check(CheckKind.DECAY)) else {} for outcome in outcomes]
    names = list(dict.fromkeys(name for found in figures for name in found))
    metrics = [name for name in names if f"{name}.promised" in names or (f"{name}.low" in names and "." not in name)]
    labels = [_time(outcome.window.start) for outcome in outcomes]
    charts = []
    for metric in metrics[:_METRICS]:
        lines = [
            Series(style="promised", values=_column(figures, f"{metric}.promised")),
            _series("estimated", figures, f"{metric}.estimated"),
            _series("measured", figures, metric),
        ]
        drawn = [line for line in lines if any(value is not None for value in line.values)]
        name = f"{metric} over windows"
        charts.append(
            f"<figure><figcaption>{escape(metric)}</figcaption>{timeline(name, labels, drawn, marks)}</figure>"
        )
    if not charts:
        return ""
    key = (
        "The blue line is what was measured, with its interval; the yellow one what was estimated where there were no "
        "labels; the dotted grey line is what was promised at promotion. A blue vertical line is a retraining, a "
        "dashed orange one a new version."
    )
    return f'<h2>Performance</h2>\n<div class="timelines">{"".join(charts)}</div>\n<p class="notes">{key}</p>'


def _series(style: str, figures: Sequence[Mapping[str, float]], name: str) -> Series:
    return Series(
        style=style,
        values=_column(figures, name),
        low=_column(figures, f"{name}.low"),
        high=_column(figures, f"{name}.high"),
    )


def _column(figures: Sequence[Mapping[str, float]], name: str) -> list[float | None]:
    return [found.get(name) for found in figures]


def _drift(outcomes: Sequence[WindowOutcome]) -> str:
    """Return the columns that moved furthest, a shade for each window."""
    figures = [check.figures if (check := outcome.check(CheckKind.DATA_DRIFT)) else {} for outcome in outcomes]
    prefix = "drift."
    worst: dict[str, float] = {}
    beyond: dict[str, int] = {}
    for found in figures:
        for name, value in found.items():
            if name.startswith(prefix):
                worst[name] = max(worst.get(name, 0.0), value)
                beyond[name] = beyond.get(name, 0) + (value >= 1)
    if not worst:
        return ""
    ranked = sorted(worst, key=lambda name: (-beyond[name], -worst[name], name))
    rows = [
        (
            name.removeprefix(prefix),
            f"{beyond[name]:,}",
            _times(worst[name]),
            strip([_shade(found.get(name)) for found in figures]),
        )
        for name in ranked[:_COLUMNS]
    ]
    share = _series("measured", figures, "drift_share")
    labels = [_time(outcome.window.start) for outcome in outcomes]
    chart = (
        f'<div class="timelines"><figure><figcaption>Share of columns that have drifted</figcaption>'
        f"{timeline('share of columns that have drifted', labels, [Series(style='measured', values=share.values)])}"
        f"</figure></div>"
        if any(value is not None for value in share.values)
        else ""
    )
    more = f" {len(ranked) - _COLUMNS:,} more columns are in the reports." if len(ranked) > _COLUMNS else ""
    key = (
        f"Shown is how many times its threshold a column is: {_swatch('shade0')} far below, {_swatch('shade2')} near, "
        f"{_swatch('shade3')} above, {_swatch('shade5')} {_LEVELS[-1]:g} times and more; an empty place: not compared, "
        f"or not among those of the window that moved furthest. Columns that were beyond it most often come "
        f"first.{more}"
    )
    table = _strips(("Column", "Windows beyond", "Furthest"), rows)
    return f'<h2>Drift by column</h2>\n{chart}\n{table}\n<p class="notes">{key}</p>'


def _shade(value: float | None) -> str:
    return "" if value is None else f"shade{sum(value >= level for level in _LEVELS)}"


def _times(value: float) -> str:
    return f"{value:,.1f} times" if value < 1000 else "over 1,000 times"  # noqa: PLR2004 - tiny p-values


def _events(entries: Iterable[AuditEntry]) -> str:
    found = [entry for entry in entries if entry.event_kind in _EVENT_KINDS][-_EVENTS:]
    if not found:
        return ""
    rows = [
        [_time(entry.event.at), entry.event_kind.value, entry.happening.summary, entry.happening.who]
        for entry in reversed(found)
    ]
    return f"<h2>What was done</h2>\n{html_table(['Recorded', 'Event', '', 'By'], rows, texts=4)}"


def _windows(outcomes: Sequence[WindowOutcome]) -> str:
    """Return the newest windows in words, with links to their reports."""
    if not outcomes:
        return ""
    rows = "\n".join(_window(outcome) for outcome in reversed(outcomes[-_TABLE:]))
    older = f'<p class="notes">The newest {_TABLE} windows.</p>' if len(outcomes) > _TABLE else ""
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Window", "Version", "Rows", "Found"))
    return (
        f'<h2>Windows</h2>\n<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n'
        f"</tbody></table></div>{older}"
    )


def _window(outcome: WindowOutcome) -> str:
    window = f"{escape(_time(outcome.window.start))}<br>to before {escape(_time(outcome.window.end))}"
    checks = "".join(
        f'<p><span class="state {_class(check.verdict)}">{_CHECK_NAMES[check.kind]}: {check.verdict.value}</span>'
        f"{_linked(check.report_uri)} {escape(' '.join(check.reasons[:3]))}</p>"
        for check in outcome.checks
    )
    return (
        f'<tr><td style="white-space: nowrap">{window}</td><td>{escape(outcome.version)}</td>'
        f'<td class="number">{outcome.rows:,}</td><td>{checks or "nothing was checked"}</td></tr>'
    )


def _class(verdict: CheckVerdict) -> str:
    return {CheckVerdict.PASSED: "pass", CheckVerdict.VIOLATED: "fail"}.get(verdict, "crash")


def _linked(uri: str | None) -> str:
    """Return a link, where a browser could follow it."""
    if not uri or not uri.startswith(("http://", "https://", "file://", "/")):
        return ""
    return f' (<a href="{escape(f"file://{uri}" if uri.startswith("/") else uri)}">report</a>)'


def _strips(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose last cell is a strip, and the others words and numbers."""
    head = "".join(f'<th scope="col"{"" if index == 0 else _NUMBER}>{name}</th>' for index, name in enumerate(header))
    lines = "\n".join(
        f'<tr><td class="name" title="{escape(row[0])}">{escape(row[0])}</td>'
        f"{''.join(f'<td{_NUMBER}>{escape(cell)}</td>' for cell in row[1:-1])}<td>{row[-1]}</td></tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table class="strips">\n<thead><tr>{head}<th scope="col"></th></tr></thead>\n<tbody>\n'
        f"{lines}\n</tbody></table></div>"
    )


_NUMBER = ' class="number"'


def _swatch(style: str) -> str:
    return f'<svg class="swatch" viewBox="0 0 16 8"><path class="{style}" d="M0 0h16v8h-16z"/></svg>'


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d") if moment.time() == moment.min.time() else moment.strftime("%Y-%m-%d %H:%M")
