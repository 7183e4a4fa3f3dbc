"""The part of a report that says how a model treats groups of people."""

from html import escape

from airflow_mlops.domain.fairness import RATES, Disparity, Fairness, FairnessColumn, FairnessGroup, GroupRate
from airflow_mlops.domain.html import html_table

_NAMED_OTHERWISE = ("selection_rate_", "true_positive_rate_")
"""Distances that the field calls demographic parity and equal opportunity: one row each is enough."""


def fairness_section(fairness: Fairness | None, *, heading: str = "Fairness", role: str = "candidate") -> str:
    """Return the section: for each sensitive column the distance between its groups, and the groups themselves.

    :param role: what the model is called that was measured.
    """
    if fairness is None:
        return ""
    reading = (
        f"A difference is that between the two groups that lie furthest apart: 0 is alike. A ratio is the lowest over "
        f"the highest: 1 is alike. A rate of fewer than {fairness.min_rows:,} rows (†) is shown and not judged."
    )
    parts = [f"<h2>{escape(heading)}</h2>", f'<p class="notes">{escape(reading)}</p>']
    parts += [_column(item, fairness.min_rows, role) for item in fairness.columns]
    return "\n".join(parts)


def _column(found: FairnessColumn, min_rows: int, role: str) -> str:
    notes = "".join(f'<p class="empty">{escape(note)}</p>' for note in found.notes)
    tables = f"{_disparities(found, role)}{_groups(found, min_rows, role)}" if found.groups else ""
    return f"<h3>By {escape(found.column)}</h3>\n{tables}{notes}"


def _disparities(found: FairnessColumn, role: str) -> str:
    compared = any(group.champion is not None for group in found.groups)
    header = ["Measure", "Furthest apart", role.capitalize(), *(["Champion"] if compared else [])]
    rows = [
        [
            item.metric,
            str(item.candidate) if item.candidate else "fewer than two groups can be judged, or all are at zero",
            _value(item.candidate),
            *([_value(item.champion)] if compared else []),
        ]
        for item in found.disparities
        if not item.metric.startswith(_NAMED_OTHERWISE)
    ]
    return html_table(header, rows, texts=2)


def _groups(found: FairnessColumn, min_rows: int, called: str) -> str:
    rates = list(found.groups[0].candidate)
    told = "; ".join(f"{rate} is the {RATES[rate]}" for rate in rates)
    rows = [
        [group.value, role, f"{group.rows:,}", *(_rate(of[rate], min_rows) for rate in rates)]
        for group in found.groups
        for role, of in _roles(group, called)
    ]
    table = html_table(["Group", "Model", "Rows", *rates], rows, texts=2)
    return f'<details open><summary>Every group</summary><p class="notes">{escape(told)}.</p>{table}</details>'


def _roles(group: FairnessGroup, called: str) -> list[tuple[str, "dict[str, GroupRate]"]]:
    roles = [(called, dict(group.candidate))]
    return roles + ([("champion", dict(group.champion))] if group.champion is not None else [])


def _rate(rate: GroupRate, min_rows: int) -> str:
    if rate.value is None:
        return "no rows"
    return f"{rate.value:.4f}{' †' if rate.rows < min_rows else ''}"


def _value(disparity: Disparity | None) -> str:
    return "not judged" if disparity is None else f"{disparity.value:.4f}"
