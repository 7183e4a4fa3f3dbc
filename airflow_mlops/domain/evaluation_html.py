"""An evaluation as one HTML page, for the person who has to believe it."""

from collections.abc import Callable, Sequence
from html import escape

from airflow_mlops.domain.evaluation import Estimate, Evaluation, MetricComparison
from airflow_mlops.domain.evaluation_diagnostics import CalibrationBin, Confusion, Curve, Diagnostics
from airflow_mlops.domain.explanation_html import explanation_section
from airflow_mlops.domain.facts_html import drift_section, facts_section
from airflow_mlops.domain.fairness_html import fairness_section
from airflow_mlops.domain.html import html_page, html_table
from airflow_mlops.domain.serving_html import serving_section
from airflow_mlops.domain.slices_html import slices_section
from airflow_mlops.domain.svg import Axis, Line, line_chart


def render(evaluation: Evaluation, digest: str) -> str:
    """Return the page: a list of sections, each "" where there is nothing to say. The gates come later, so not here.

    :param digest: the evidence digest, by which the page is tied to the document that gates and approvals name.
    """
    candidate = f"{evaluation.model_name} version {evaluation.candidate.version}"
    against = f"version {evaluation.champion.version}" if evaluation.champion else "no champion"
    sections = [
        f"<h1>{escape(candidate)} against {escape(against)}</h1>",
        _facts(evaluation, digest),
        _metrics(evaluation),
        _notes(evaluation),
        slices_section(evaluation.slices),
        fairness_section(evaluation.fairness),
        _plots(evaluation),
        _confusions(evaluation),
        explanation_section(evaluation.explanation),
        serving_section(evaluation.serving),
        drift_section(evaluation.drift),
        facts_section(evaluation.facts),
    ]
    return html_page(f"{candidate} against {against}", "\n".join(section for section in sections if section))


def _facts(evaluation: Evaluation, digest: str) -> str:
    both = '<span class="key candidate">candidate</span>, a whole line'
    if evaluation.champion:
        both += ', <span class="key champion">champion</span>, a dashed line'
    facts = {
        "Holdout": f"{evaluation.rows:,} rows of {escape(evaluation.dataset_name)}, to predict "
        f"<code>{escape(evaluation.target)}</code>",
        "Unseen": " ".join(escape(str(overlap)) for overlap in evaluation.overlaps) or "not looked at",
        "Holdout digest": f"<code>{escape(evaluation.dataset_digest)}</code>",
        "Evidence digest": f"<code>{escape(digest)}</code>",
        "Intervals": f"{evaluation.confidence_level:.0%}, from {evaluation.resamples:,} bootstrap samples of the rows, "
        f"the same ones for both models",
        "In the plots": both,
    }
    return f"<dl>\n{''.join(f'<dt>{name}</dt><dd>{text}</dd>{chr(10)}' for name, text in facts.items())}</dl>"


def _metrics(evaluation: Evaluation) -> str:
    compared = evaluation.champion is not None
    header = ["Metric", "Better is", "Candidate", *(["Champion", "Difference", "So it is", "p"] if compared else [])]
    rows = []
    for item in evaluation.metrics:
        cells = [item.metric, "more" if item.higher_is_better else "less", _estimate(item.candidate)]
        if compared:
            cells += [
                _estimate(item.champion),
                _estimate(item.difference, signed=True),
                _verdict(item),
                str(item.test or "not tested"),
            ]
        rows.append(cells)
    reading = (
        "<p>p is how often chance alone would make a difference as large, if neither model were better. It is that of "
        "each metric alone: among twenty metrics, one falls below 0.05 by chance.</p>"
    )
    return f"<h2>Metrics</h2>\n{html_table(header, rows, texts=2)}{reading if compared else ''}"


def _verdict(item: MetricComparison) -> str:
    """Say what the interval of the difference allows to say, and nothing more."""
    if item.difference is None:
        return "not comparable"
    sign = 1 if item.higher_is_better else -1
    low, high = sorted((sign * item.difference.low, sign * item.difference.high))
    if low > 0:
        return "better"
    return "worse" if high < 0 else "not clearly different"


def _notes(evaluation: Evaluation) -> str:
    return "".join(f'<p class="empty">{escape(note)}</p>' for note in evaluation.notes)


def _plots(evaluation: Evaluation) -> str:
    found = evaluation.diagnostics
    figures = []
    if any(item.roc for item in found):
        figures.append(_curves("ROC", found, lambda item: item.roc))
    if any(item.precision_recall for item in found):
        figures.append(_curves("Precision and recall", found, lambda item: item.precision_recall))
    if any(item.calibration for item in found):
        figures.append(_calibration(found))
    if any(item.residuals for item in found):
        figures.append(_residuals(found))
    if not figures:
        return ""
    return "\n".join(["<h2>Plots</h2>", f'<div class="plots">{"".join(figures)}</div>', *_calibration_tables(found)])


def _curves(name: str, found: Sequence[Diagnostics], pick: Callable[[Diagnostics], Curve | None]) -> str:
    lines = [Line(style=item.role, x=curve.x, y=curve.y) for item in found if (curve := pick(item))]
    if name == "ROC":
        lines.insert(0, Line(style="ideal", x=(0, 1), y=(0, 1)))
        axes = ("False positive rate", "True positive rate")
        reading = "The further above the diagonal, the better the model ranks. On the diagonal it guesses."
    else:
        axes = ("Recall", "Precision")
        reading = "Of the rows called positive, the share that is; as more of the positive rows are to be found."
    x_axis, y_axis = (Axis(label=label, low=0, high=1) for label in axes)
    return _figure(name, line_chart(name, x_axis, y_axis, lines), reading)


def _calibration(found: Sequence[Diagnostics]) -> str:
    lines = [
        Line(
            style=item.role,
            x=[bin_.predicted for bin_ in item.calibration],
            y=[bin_.observed for bin_ in item.calibration],
            notes=[_bin_note(item.role, bin_) for bin_ in item.calibration],
            bars=[bin_.rows for bin_ in item.calibration],
        )
        for item in found
    ]
    values = [value for line in lines for value in (*line.x, *line.y)]
    if any(item.residuals for item in found):
        x_axis, y_axis = Axis.around("Mean prediction", values), Axis.around("Mean of the truth", values)
    else:
        x_axis = Axis(label="Mean predicted probability", low=0, high=1)
        y_axis = Axis(label="Share that came true", low=0, high=1)
    ideal = Line(style="ideal", x=(x_axis.low, x_axis.high), y=(x_axis.low, x_axis.high))
    reading = "On the diagonal what was predicted came true. The bars at the foot are the rows behind each point."
    return _figure("Calibration", line_chart("Calibration", x_axis, y_axis, [ideal, *lines]), reading)


def _bin_note(role: str, bin_: CalibrationBin) -> str:
    return f"{role}: said {bin_.predicted:.3g}, came true {bin_.observed:.3g}, {bin_.rows:,} rows"


def _calibration_tables(found: Sequence[Diagnostics]) -> list[str]:
    return [
        f"<details><summary>Calibration of the {escape(item.role)} in numbers</summary>"
        + html_table(
            ["Bin", "Rows", "Predicted", "Came true"],
            [
                [str(number), f"{bin_.rows:,}", f"{bin_.predicted:.4g}", f"{bin_.observed:.4g}"]
                for number, bin_ in enumerate(item.calibration, start=1)
            ],
        )
        + "</details>"
        for item in found
        if item.calibration
    ]


def _residuals(found: Sequence[Diagnostics]) -> str:
    lines = [
        Line(
            style=item.role,
            x=[bin_.predicted for bin_ in item.residuals],
            y=[bin_.quantiles[quantile] for bin_ in item.residuals],
            notes=[f"{item.role}: {bin_.rows:,} rows" for bin_ in item.residuals] if quantile == middle else (),
        )
        for item in found
        for middle in [len(item.residuals[0].quantiles) // 2 if item.residuals else 0]
        for quantile in range(len(item.residuals[0].quantiles) if item.residuals else 0)
    ]
    x_axis = Axis.around("Prediction", [value for line in lines for value in line.x])
    y_axis = Axis.around("Prediction minus truth", [value for line in lines for value in line.y])
    ideal = Line(style="ideal", x=(x_axis.low, x_axis.high), y=(0, 0))
    reading = "The error by the size of the prediction: its median (with marks), and its 5, 25, 75 and 95 % quantiles."
    return _figure("Residuals", line_chart("Residuals", x_axis, y_axis, [ideal, *lines]), reading)


def _figure(name: str, chart: str, reading: str) -> str:
    return f"<figure><b>{escape(name)}</b>{chart}<figcaption>{escape(reading)}</figcaption></figure>"


def _confusions(evaluation: Evaluation) -> str:
    return "\n".join(
        _confusion(item.role, item.confusion) for item in evaluation.diagnostics if item.confusion is not None
    )


def _confusion(role: str, confusion: Confusion) -> str:
    rows = [
        [label, *(_share(count, sum(counts)) for count in counts)]
        for label, counts in zip(confusion.labels, confusion.counts, strict=True)
    ]
    header = ["Truth \\ called", *confusion.labels]
    return f"<h2>Confusion of the {escape(role)}</h2>\n{html_table(header, rows)}"


def _share(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.0%})" if total else "0"


def _estimate(estimate: Estimate | None, *, signed: bool = False) -> str:
    if estimate is None:
        return "not computed"
    sign = "+" if signed else ""
    return f"{estimate.value:{sign}.4f} [{estimate.low:{sign}.4f},\N{NO-BREAK SPACE}{estimate.high:{sign}.4f}]"
