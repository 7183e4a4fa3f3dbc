"""The parts of an evaluation's report that say what is known of the candidate, and how the data has moved since."""

from html import escape

from airflow_mlops.domain.drift import ColumnDrift, DataDrift, furthest_first
from airflow_mlops.domain.facts import Facts, Signature
from airflow_mlops.domain.html import html_table

_MIB = 2**20
_SHOWN = 30
"""Columns of a signature or of a drift that are shown; the evidence has all."""


def facts_section(facts: Facts | None) -> str:
    """Return where the candidate came from, what it cost and what it takes, or "" when nobody looked."""
    if facts is None:
        return ""
    training = facts.training
    times = {"Training data until": training.data_until, "Trained": training.trained_at, "Ages are as of": facts.as_of}
    told = {
        **{what: time and f"{time:%Y-%m-%d %H:%M} UTC" for what, time in times.items()},
        "Training data": training.dataset_digest,
        "Expectation suite": training.suite_digest,
        "Image": training.image_digest,
        "Code": training.code_version,
        "Seed": training.seed,
        "Wall time": _amount(training.wall_seconds, "s"),
        "CPU time": _amount(training.cpu_seconds, "s"),
        "Peak memory": _amount(training.peak_memory_bytes, "MiB", of=_MIB),
    }
    rows = "".join(f"<dt>{what}</dt><dd>{escape(text or 'not recorded')}</dd>\n" for what, text in told.items())
    notes = "".join(f'<p class="empty">{escape(note)}</p>' for note in facts.notes)
    why = "".join(f"<li>{escape(reason)}</li>\n" for reason in training.reasons)
    asked = f"<h2>Why it was trained</h2>\n<ul>\n{why}</ul>\n" if why else ""
    return f"{asked}<h2>Training</h2>\n<dl>\n{rows}</dl>{notes}{_signatures(facts)}"


def _amount(value: float | None, unit: str, *, of: int = 1) -> str | None:
    return None if value is None else f"{value / of:,.1f} {unit}"


def _signatures(facts: Facts) -> str:
    """Return the inputs of both models side by side, folded up, since a model may take hundreds."""
    models = [("Candidate", facts.signature)]
    models += [("Champion", facts.champion_signature)] if facts.champion_signature else []
    names = list(dict.fromkeys(column.name for _, signature in models if signature for column in signature.inputs))
    if not names:
        return ""
    rows = [[name or "by position", *(_type(signature, name) for _, signature in models)] for name in names[:_SHOWN]]
    more = f"<p>… and {len(names) - _SHOWN:,} more</p>" if len(names) > _SHOWN else ""
    table = html_table(["Input", *(who for who, _ in models)], rows, texts=3)
    return f"<details><summary>What it takes: {len(names):,} inputs</summary>{table}{more}</details>"


def _type(signature: Signature | None, name: str) -> str:
    found = [column for column in signature.inputs if column.name == name] if signature else []
    return ", ".join(f"{column.type}{'' if column.required else ', optional'}" for column in found) or "not taken"


def drift_section(drift: DataDrift | None) -> str:
    """Return how far each column has moved, the furthest first, or "" when it was not measured."""
    if drift is None:
        return ""
    columns = furthest_first(drift.columns)
    rows = [_row(item) for item in columns[:_SHOWN]]
    header = ["Column", "It has", "Distance", "Method", "Missing before", "Missing now"]
    table = html_table(header, rows, texts=2) if rows else ""
    reading = (
        f"{len(drift.drifted):,} of {drift.compared:,} columns have drifted from the training data "
        f"({escape(drift.reference.dataset_name)}) to {escape(drift.current.dataset_name)}, by all "
        f"{drift.reference.rows:,} and {drift.current.rows:,} rows and {escape(drift.engine)}. By default numbers have "
        f"drifted when they have moved by the threshold in standard deviations on average (Wasserstein), texts by the "
        f"Jensen-Shannon distance of their shares, and either when many more or fewer values are missing."
    )
    more = f"<p>… and {len(columns) - _SHOWN:,} more columns</p>" if len(columns) > _SHOWN else ""
    told = dict.fromkeys((*drift.lost, *drift.notes))
    notes = "".join(f'<p class="empty">{escape(note)}</p>' for note in told)
    return f'<h2>Data drift</h2>\n{table}{more}\n<p class="notes">{reading}</p>{notes}'


def _row(item: ColumnDrift) -> list[str]:
    state = f"drifted (≥ {item.threshold:g})" if item.drifted else "stayed"
    missing = [f"{share:.1%}" for share in (item.missing_reference, item.missing_current)]
    return [item.column, state, "" if item.value is None else f"{item.value:.4f}", item.method, *missing]
