"""A check of bias as one HTML page."""

from html import escape

from airflow_mlops.domain.bias import BiasReport
from airflow_mlops.domain.fairness_html import fairness_section
from airflow_mlops.domain.html import html_page
from airflow_mlops.domain.performance_html import facts, reasons_list, verdict_badge

_HEAD = (
    "<thead><tr>" + "".join(f'<th scope="col">{name}</th>' for name in ("Verdict", "Bar", "Found")) + "</tr></thead>"
)


def render_bias(report: BiasReport) -> str:
    """Return the page: the verdict and its reasons, each bar, and the rates of every group."""
    title = f"{report.model_name} version {report.model_version}, bias"
    rows = "".join(
        f"<tr><td>{verdict_badge(bar.verdict)}</td><td>{escape(bar.bar)}</td><td>{escape(bar.reason)}</td></tr>"
        for bar in report.bars
    )
    parts = [
        f"<h1>{escape(title)} {verdict_badge(report.verdict)}</h1>",
        reasons_list(report.reasons),
        facts(report.window, report.counts),
        "<h2>Bars</h2>",
        f'<div class="scroll"><table>{_HEAD}<tbody>{rows}</tbody></table></div>',
    ]
    for heading, fairness in (
        ("All answers", report.answers),
        ("Answers with a label", report.labelled),
        ("At promotion", report.promised),
    ):
        if fairness is not None:
            parts.append(fairness_section(fairness, heading=heading, role="version"))
    return html_page(title, "\n".join(parts))
