"""A drift check as one HTML page: what is wrong with the window, and every column, reference beside window."""

from collections.abc import Sequence
from html import escape

from airflow_mlops.domain.drift import ColumnDrift, Correction, DriftMethod, furthest_first
from airflow_mlops.domain.drift.report import DriftReport
from airflow_mlops.domain.drift.shapes import Shape, shape_of
from airflow_mlops.domain.html import html_page
from airflow_mlops.domain.monitoring import CheckVerdict
from airflow_mlops.domain.profile import DatasetProfile

_SHOWN = 500
"""Columns that are shown; the JSON beside the page has all."""
_WIDTH, _HEIGHT = 180, 44
_STATES = {CheckVerdict.PASSED: "pass", CheckVerdict.VIOLATED: "fail", CheckVerdict.UNDECIDED: "crash"}
_STYLE = """<style>
td svg { width: 180px; height: 44px; display: block; }
rect.reference { fill: var(--champion); } rect.current { fill: var(--candidate); } rect { opacity: .75; }
.key.reference { color: var(--champion); } .key.current { color: var(--candidate); }
.small { font-size: .85rem; opacity: .8; }
</style>"""


def render(report: DriftReport, reference: DatasetProfile, current: DatasetProfile, *, evidently: str = "") -> str:
    """Return the page.

    :param evidently: address of Evidently's own report, if there is one.
    """
    title = f"{report.model_name} version {report.model_version}: drift"
    drift = report.drift
    sections = [
        _STYLE,
        f"<h1>{escape(title)}</h1>",
        _verdict(report),
        _facts(report, evidently),
        _section("Predictions", drift.prediction, reference, current),
        _section("Labels", drift.label, reference, current),
        _section("Features", furthest_first(drift.columns), reference, current),
        _notes(drift.notes),
        _reading(report),
    ]
    return html_page(title, "\n".join(section for section in sections if section))


def _verdict(report: DriftReport) -> str:
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in report.reasons)
    return f'<p class="state {_STATES[report.verdict]}">{report.verdict.value.capitalize()}</p>\n<ul>{reasons}</ul>'


def _facts(report: DriftReport, evidently: str) -> str:
    drift, spec = report.drift, report.spec
    sampled = f"{min(spec.sample_rows, drift.reference.rows):,} and {min(spec.sample_rows, drift.current.rows):,} rows"
    facts = {
        "Window": escape(str(report.window)),
        "Its data": f"{drift.current.rows:,} rows of {escape(drift.current.dataset_name)}, "
        f"<code>{escape(drift.current.dataset_digest)}</code>",
        "Reference": f"{drift.reference.rows:,} rows of {escape(drift.reference.dataset_name)}, "
        f"<code>{escape(drift.reference.dataset_digest)}</code>",
        "Drifted": f"{len(drift.drifted)} of {drift.compared} features ({drift.share:.0%}); "
        f"violated from {spec.drift_share:.0%} on",
        "Volume": escape(str(report.volume)) if report.volume else "nothing says how many rows were to be expected",
        "Measured": f"on all rows, by {escape(drift.engine)}",
    }
    if spec.correction is not Correction.NONE:
        facts["Correction"] = f"{escape(spec.correction.value)}, of p-values"
    if spec.min_effect is not None:
        facts["Least effect"] = f"{spec.min_effect:g}, where a test says drift"
    if evidently:
        link = f'<a href="{escape(evidently)}" target="_blank" rel="noopener">Evidently\'s own report</a>'
        facts["Beside it"] = f"{link}, on a random sample of {sampled} by the same methods and thresholds"
    rows = "".join(f"<dt>{name}</dt><dd>{text}</dd>\n" for name, text in facts.items())
    return f"<dl>\n{rows}</dl>"


def _section(name: str, columns: Sequence[ColumnDrift], reference: DatasetProfile, current: DatasetProfile) -> str:
    if not columns:
        return ""
    header = ("Column", "Distribution", "It has", "Value", "Threshold", "Effect", "Missing", "New or outside")
    texts = 3
    cells = "".join(
        f'<th scope="col"{"" if index < texts else " class=number"}>{cell}</th>' for index, cell in enumerate(header)
    )
    before = {column.name: column for column in reference.columns}
    now = {column.name: column for column in current.columns}
    rows = "\n".join(_row(item, shape_of(before.get(item.column), now.get(item.column))) for item in columns[:_SHOWN])
    more = f"<p>… and {len(columns) - _SHOWN:,} more columns</p>" if len(columns) > _SHOWN else ""
    key = '<span class="key reference">reference</span> and <span class="key current">window</span>, side by side'
    return (
        f'<h2>{name}</h2>\n<p class="small">{key}</p>\n<div class="scroll"><table>\n<thead><tr>{cells}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>{more}"
    )


def _row(item: ColumnDrift, shape: Shape | None) -> str:
    types = (
        item.type_reference
        if item.type_reference == item.type_current
        else (f"{item.type_reference} → {item.type_current}")
    )
    name = f'{escape(item.column)}<br><span class="small">{escape(types)}</span>'
    state = f'<span class="{"fail" if item.drifted else "pass"}">{"drifted" if item.drifted else "stayed"}</span>'
    if item.value is None:
        state = '<span class="crash">not compared</span>'
    note = f'<br><span class="small">{escape(item.note)}</span>' if item.note else ""
    numbers = (_value(item), _threshold(item), _number(item.effect), _missing(item), _beyond(item))
    cells = "".join(f'<td class="number">{cell}</td>' for cell in numbers)
    return f"<tr><td>{name}</td><td>{_bars(item.column, shape)}</td><td>{state}{note}</td>{cells}</tr>"


def _value(item: ColumnDrift) -> str:
    if item.value is None:
        return ""
    adjusted = f'<br><span class="small">adjusted {item.adjusted:.3g}</span>' if item.adjusted is not None else ""
    chance = f'<br><span class="small">by chance {item.p_value:.2g}</span>' if item.p_value is not None else ""
    error = f'<br><span class="small">± {item.error:.1g}</span>' if item.error else ""
    return f'{item.value:.4g}{error}{adjusted}{chance}<br><span class="small">{escape(item.method)}</span>'


def _threshold(item: ColumnDrift) -> str:
    if item.value is None:
        return ""
    return f"{'≤' if DriftMethod(item.method).is_p_value else '≥'} {item.threshold:g}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _missing(item: ColumnDrift) -> str:
    if item.missing_reference == item.missing_current:
        return f"{item.missing_current:.1%}"
    return f"{item.missing_reference:.1%} → {item.missing_current:.1%}"


def _beyond(item: ColumnDrift) -> str:
    if item.new_share:
        names = ", ".join(item.new_categories[:3])
        return f'{item.new_share:.1%} new<br><span class="small">{escape(names)}</span>'
    return f"{item.outside:.1%} outside" if item.outside else ""


def _bars(name: str, shape: Shape | None) -> str:
    """Return the bars of both sides as SVG, each as high as its share of the rows."""
    if shape is None:
        return ""
    tallest = max(*shape.reference, *shape.current) or 1.0
    step = _WIDTH / len(shape.labels)
    width = max((step - 1) / 2, 0.5)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(name)}, reference and window">']
    for index, label in enumerate(shape.labels):
        both = (("reference", shape.reference[index]), ("current", shape.current[index]))
        told = escape(f"{label}: {both[0][1]:.1%} of the reference, {both[1][1]:.1%} of the window")
        parts.append(f"<g><title>{told}</title>")
        for place, (style, share) in enumerate(both):
            height = share / tallest * (_HEIGHT - 2)
            box = f'x="{index * step + place * width:.1f}" y="{_HEIGHT - height:.1f}" width="{width:.1f}"'
            parts.append(f'<rect class="{style}" {box} height="{height:.1f}"/>')
        parts.append("</g>")
    return "".join([*parts, "</svg>"])


def _notes(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f"<h2>Notes</h2>\n<ul>{items}</ul>" if notes else ""


def _reading(report: DriftReport) -> str:
    return (
        '<p class="notes">A column has drifted when its value reaches the threshold: a distance of at least, a p-value '
        "of at most that. The effect is the largest difference in the share of rows, from 0 to 1: of numbers up to "
        "some value (Kolmogorov-Smirnov), of categories in any group of them (total variation). It does not depend on "
        f"the number of rows. Of fewer than {report.spec.min_rows:,} rows nothing is said.</p>"
    )
