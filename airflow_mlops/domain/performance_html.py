"""A performance check as one HTML page, for the person who has to decide what to do about it."""

from html import escape

from airflow_mlops.domain.evaluation import Estimate
from airflow_mlops.domain.evaluation_diagnostics import CalibrationBin
from airflow_mlops.domain.html import html_page, html_table
from airflow_mlops.domain.monitoring import CheckVerdict, Window
from airflow_mlops.domain.performance import AnswerCounts, Cause, PerformanceReport, WindowMetric, difference
from airflow_mlops.domain.performance_verdict import MIN_OVERLAP, explain
from airflow_mlops.domain.svg import Axis, Line, line_chart
from airflow_mlops.domain.svg_bars import bar_chart

_STYLES = {CheckVerdict.PASSED: "pass", CheckVerdict.VIOLATED: "fail", CheckVerdict.UNDECIDED: "crash"}


def render(report: PerformanceReport) -> str:
    """Return the page: the verdict and its reasons, every metric, what a change is due to, and the calibration."""
    title = f"{report.model_name} version {report.model_version}, performance"
    parts = [
        f"<h1>{escape(title)} {verdict_badge(report.verdict)}</h1>",
        reasons_list(report.reasons),
        facts(report.window, report.counts, _rule(report)),
        _metrics(report),
        _cause(report.cause) if report.cause else "",
        _calibration(report),
    ]
    return html_page(title, "\n".join(part for part in parts if part))


def verdict_badge(verdict: CheckVerdict) -> str:
    """Return the verdict as a coloured word."""
    return f'<span class="state {_STYLES[verdict]}">{verdict.value}</span>'


def reasons_list(reasons: tuple[str, ...]) -> str:
    """Return the sentences, the decisive one first and apart."""
    first, *others = reasons or ("Nothing was found.",)
    items = "".join(f"<li>{escape(reason)}</li>" for reason in others)
    return f"<p><b>{escape(first)}</b></p>" + (f"<ul>{items}</ul>" if items else "")


def facts(window: Window, counts: AnswerCounts, more: dict[str, str] | None = None) -> str:
    """Return what was looked at. Values of ``more`` are markup."""
    others = sum(counts.other_versions.values())
    found = {
        "Window": escape(str(window)),
        "Answers": f"{counts.rows:,} of this version" + (f", {others:,} of others" if others else ""),
        "With a label": f"{counts.labelled:,} ({counts.labelled_share:.1%})",
        **(more or {}),
    }
    return f"<dl>\n{''.join(f'<dt>{name}</dt><dd>{text}</dd>{chr(10)}' for name, text in found.items())}</dl>"


def _rule(report: PerformanceReport) -> dict[str, str]:
    found, spec = report.find(report.metric), report.spec
    rule = f"{report.metric}, which may be "
    if found is not None and found.promised is not None:
        margin = spec.margin_of(found.metric, found.promised.value)
        rule += f"{margin:.4g} worse than the promised {found.promised.value:.4f}; "
    rule += (
        f"violated when it surely is worse ({spec.confidence_level:.0%} confidence). Decided from "
        f"{spec.min_labels:,} labels on that are {spec.min_labelled_share:.0%} of the answers"
    )
    evidence = f"<code>{escape(report.evidence_digest)}</code>" if report.evidence_digest else "none"
    return {"Judged by": escape(rule), "Promised by evidence": evidence}


def _metrics(report: PerformanceReport) -> str:
    rows = [_row(item) for item in report.metrics if item.promised or item.measured or item.estimated]
    if not rows:
        return ""
    header = ["Metric", "Better is", "Promised", "Measured", "Change", "Estimated without labels"]
    reading = (
        "An estimate takes the model's own probabilities, calibrated as they were on the holdout of the promotion. It "
        "sees what other inputs do to the model, and not that the same inputs come true otherwise."
    )
    return f'<h2>Metrics</h2>\n{html_table(header, rows, texts=2)}<p class="notes">{escape(reading)}</p>'


def _row(item: WindowMetric) -> list[str]:
    change = difference(item.measured, item.promised) if item.measured and item.promised else None
    return [
        item.metric,
        "more" if item.higher_is_better else "less",
        _shown(item.promised),
        _shown(item.measured),
        _shown(change, signed=True),
        _shown(item.estimated),
    ]


def _cause(cause: Cause) -> str:
    if cause.overlap < MIN_OVERLAP:
        return f"<h2>What the change is due to</h2>\n<p>{escape(explain(cause, 0.0))}</p>{_read(cause)}"
    bars = [
        ("change of the window", {"candidate": cause.change.value}),
        ("same inputs (concept drift)", {"candidate": cause.concept.value}),
        ("other inputs (data drift)", {"candidate": cause.inputs.value}),
    ]
    chart = bar_chart("What the change is due to", f"{cause.metric} against the holdout; below zero is worse", bars)
    rows = [
        ["Change against the holdout", _shown(cause.change, signed=True)],
        ["On the same inputs (concept drift)", _shown(cause.concept, signed=True)],
        ["By other inputs (data drift)", _shown(cause.inputs, signed=True)],
    ]
    return (
        f"<h2>What the change is due to</h2>\n<figure>{chart}</figure>"
        f"{html_table(['Part', cause.metric], rows)}{_read(cause)}"
    )


def _read(cause: Cause) -> str:
    reading = (
        f"Holdout and window are weighted to the inputs that both have; {cause.overlap:.0%} of the rows lie there. "
        f"A classifier tells the two apart with an AUC of {cause.separation:.3f} by {', '.join(cause.columns)}. "
        f"What is not in the log cannot be told from concept drift."
    )
    return f'<p class="notes">{escape(reading)}</p>'


def _calibration(report: PerformanceReport) -> str:
    lines = [
        _line("champion", "at promotion", report.calibration_promised),
        _line("candidate", "in the window", report.calibration),
    ]
    drawn = [line for line in lines if line.x]
    if not report.calibration:
        return ""
    values = [value for line in drawn for value in (*line.x, *line.y)]
    if report.task.value == "binary":
        axes = (
            Axis(label="Mean predicted probability", low=0, high=1),
            Axis(label="Share that came true", low=0, high=1),
        )
    else:
        axes = (Axis.around("Mean prediction", values), Axis.around("Mean of the truth", values))
    ideal = Line(style="ideal", x=(axes[0].low, axes[0].high), y=(axes[0].low, axes[0].high))
    chart = line_chart("Calibration", axes[0], axes[1], [ideal, *drawn])
    key = (
        '<span class="key candidate">in the window</span>, a whole line; '
        '<span class="key champion">at promotion</span>, a dashed line. On the diagonal what was said came true. The '
        "bars at the foot are the rows behind each point."
    )
    return f'<h2>Calibration</h2>\n<figure style="max-width: 30rem">{chart}<figcaption>{key}</figcaption></figure>'


def _line(style: str, when: str, bins: tuple[CalibrationBin, ...]) -> Line:
    return Line(
        style=style,
        x=[item.predicted for item in bins],
        y=[item.observed for item in bins],
        notes=[
            f"{when}: said {item.predicted:.3g}, came true {item.observed:.3g}, {item.rows:,} rows" for item in bins
        ],
        bars=[item.rows / (sum(other.rows for other in bins) or 1) for item in bins],
    )


def _shown(estimate: Estimate | None, *, signed: bool = False) -> str:
    if estimate is None:
        return "not known"
    sign = "+" if signed else ""
    return f"{estimate.value:{sign}.4f} [{estimate.low:{sign}.4f},\N{NO-BREAK SPACE}{estimate.high:{sign}.4f}]"
