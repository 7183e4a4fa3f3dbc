"""The audit trail for others: JSON that proves itself, CSV, and the model card as Markdown and HTML."""

import csv
import io
import json
from datetime import datetime
from html import escape

from airflow_mlops.domain.audit.card import CardSection, ModelCard
from airflow_mlops.domain.audit.chain import Trail
from airflow_mlops.domain.audit.entry import Chain
from airflow_mlops.domain.audit.story import printable, told
from airflow_mlops.domain.html import html_page, html_table
from airflow_mlops.domain.serialization import canonical_json

_COLUMNS = (
    "chain", "sequence", "at", "event", "version", "who", "started_by", "dag_id", "run_id", "task_id", "map_index",
    "try_number", "summary", "digests", "previous", "digest",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@")
"""A spreadsheet takes a cell that begins so for a formula."""


def to_json(trail: Trail, model_name: str, made_at: datetime) -> str:
    """Return every file of the chain and of those it stands on, as they are stored, so that others can prove them."""
    document = {
        "model_name": model_name,
        "made_at": made_at.isoformat(),
        "heads": {str(chain): str(record.head) for chain, record in trail.records.items()},
        "findings": [str(finding) for finding in trail.findings()],
        "chains": {
            str(chain): {name: data.decode(errors="replace") for name, data in sorted(record.files.items())}
            for chain, record in trail.records.items()
        },
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def to_csv(trail: Trail, model_name: str) -> str:
    """Return the story of a model, a row an entry. Cells that a spreadsheet would compute begin with ``'``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for entry in told(trail, Chain.of_model(model_name)):
        happening, event, origin = entry.happening, entry.event, entry.event.origin
        row = (
            happening.chain, entry.sequence, event.at.isoformat(), happening.event_kind.value, happening.version or "",
            happening.who, event.started_by, origin.dag_id, origin.run_id, origin.task_id, origin.map_index,
            origin.try_number, happening.summary, canonical_json(dict(happening.digests)), entry.previous, entry.digest,
        )  # fmt: skip
        writer.writerow([_cell(str(item)) if not isinstance(item, int) else item for item in row])
    return text.getvalue()


def to_markdown(card: ModelCard) -> str:
    """Return the card in Markdown, with the front matter that model hubs read."""
    front = {
        "model_name": card.model_name,
        "tags": ["airflow-mlops"],
        "datasets": list(card.datasets),
        "metrics": list(card.metrics),
    }
    lines = ["---", *(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in front.items()), "---", ""]
    lines += [f"# {_markdown(card.model_name)}, version {_markdown(card.version)}", "", _markdown(_proof(card))]
    for section in card.sections:
        lines += ["", f"## {section.title}", *_markdown_section(section)]
    return "\n".join(lines) + "\n"


def to_html(card: ModelCard) -> str:
    """Return the card as one HTML page."""
    title = f"{card.model_name}, version {card.version}"
    style = "fail" if card.broken else "notes"
    parts = [f"<h1>{escape(title)}</h1>", f'<p class="{style}">{escape(_proof(card))}</p>']
    for section in card.sections:
        parts.append(f"<h2>{escape(section.title)}</h2>")
        if section.text:
            parts.append(f"<p>{escape(section.text)}</p>")
        if section.facts:
            rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in section.facts)
            parts.append(f"<dl>{rows}</dl>")
        if section.table:
            parts.append(html_table(section.table.header, section.table.rows, texts=len(section.table.header)))
    return html_page(title, "\n".join(parts))


def _proof(card: ModelCard) -> str:
    made = f"Made on {card.made_at.isoformat(timespec='seconds')} from the audit trail up to entry {card.head}."
    return f"{made} THE TRAIL IS BROKEN: {card.broken}" if card.broken else made


def _markdown_section(section: CardSection) -> list[str]:
    lines = ["", _markdown(section.text)] if section.text else []
    if section.facts:
        lines += ["", *(f"- **{name}:** {_markdown(value)}" for name, value in section.facts)]
    if section.table:
        rows = [section.table.header, ("---",) * len(section.table.header), *section.table.rows]
        cells = ([cell if index == 1 else _markdown(cell) for cell in row] for index, row in enumerate(rows))
        lines += ["", *(f"| {' | '.join(row)} |" for row in cells)]
    return lines


def _markdown(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return "".join(f"\\{character}" if character in "\\`*_{}[]<>#|!~&" else character for character in printable(text))


def _cell(text: str) -> str:
    text = printable(text)
    return f"'{text}" if text.startswith(_FORMULA) else text
