"""The part of a report that says where the candidate is worse."""

from collections.abc import Sequence
from html import escape

from airflow_mlops.domain.html import html_table
from airflow_mlops.domain.slices import Against, Slice, Slices, SliceTable


def slices_section(slices: Slices | None) -> str:
    """Return the section: the worst slices, then every slice of the columns that the author named."""
    if slices is None:
        return ""
    parts = [
        "<h2>Slices</h2>",
        f"<p>{escape(_summary(slices))}</p>",
        _table(slices, slices.worst) if slices.worst else "",
        f'<p class="notes">{escape(_reading(slices))}</p>' if slices.worst else "",
        *(_named(slices, table) for table in slices.tables),
        f'<p class="empty">{escape(" ".join(slices.notes))}</p>' if slices.notes else "",
    ]
    return "\n".join(part for part in parts if part)


def _summary(slices: Slices) -> str:
    if not slices.judged:
        return f"No slice of the holdout has the {slices.min_rows:,} rows that it takes to be judged."
    than = "the champion" if slices.against is Against.CHAMPION else "on all other rows"
    worse = "none" if not slices.worse else f"{slices.worse:,}"
    return (
        f"Of {slices.judged:,} slices of at least {slices.min_rows:,} rows, {worse} {_is(slices.worse)} significantly "
        f"worse than {than}. Searched were the columns {', '.join(slices.columns)}."
    )


def _is(count: int) -> str:
    return "are" if count > 1 else "is"


def _reading(slices: Slices) -> str:
    return (
        f"The loss is {slices.loss}, the mean over the rows of a slice; less is better, so a difference above zero is "
        f"worse. Its interval is that of the one slice. p is of the {slices.test} that the candidate is no worse "
        f"there, corrected after Benjamini and Hochberg for all {slices.judged:,} slices: of those called worse, "
        f"{slices.significance:.0%} may be so by chance. Surely worse slices come first, by how much they are worse at "
        f"the least; the others after them are no finding. Slices overlap, so that one fault shows in several."
    )


def _named(slices: Slices, table: SliceTable) -> str:
    note = f'<p class="notes">{escape(table.note)}</p>' if table.note else ""
    name = escape(" and ".join(table.columns))
    return f"<details><summary>Every slice of {name}</summary>{note}{_table(slices, table.slices)}</details>"


def _table(slices: Slices, shown: Sequence[Slice]) -> str:
    beside = "Champion" if slices.against is Against.CHAMPION else "Other rows"
    compared = slices.against is Against.CHAMPION
    header = ["Slice", "So it is", "Rows", f"{slices.metric} {'↑' if slices.higher_is_better else '↓'}"]
    header += ["Champion"] if compared else []
    header += [f"{slices.loss} ↓", beside, "Difference", "p"]
    return html_table(header, [_row(slices, item, compared=compared) for item in shown], texts=2)


def _row(slices: Slices, item: Slice, *, compared: bool) -> list[str]:
    cells = [item.name, _verdict(slices, item), f"{item.rows:,}", _number(item.metric) or item.no_metric]
    cells += [_number(item.champion_metric) or item.no_metric] if compared else []
    interval = (
        f" [{item.low:+.4f},\N{NO-BREAK SPACE}{item.high:+.4f}]"
        if item.low is not None and item.high is not None
        else ""
    )
    difference = f"{item.difference:+.4f}{interval}" if item.difference is not None else ""
    return [*cells, f"{item.loss:.4f}", _number(item.baseline), difference, _p_value(item.adjusted_p)]


def _verdict(slices: Slices, item: Slice) -> str:
    if item.adjusted_p is None:
        return "too few rows"
    return "worse" if item.is_worse(slices.significance) else "not clearly worse"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _p_value(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if value >= 0.0001 else "< 0.0001"  # noqa: PLR2004 - four digits
