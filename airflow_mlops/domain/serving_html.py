"""The part of an evaluation's report that says how fast the models answered, and how large they are."""

from collections.abc import Callable
from html import escape

from airflow_mlops.domain.html import html_table
from airflow_mlops.domain.serving import ModelServing, ServingFigures

_MIB = 2**20


def serving_section(serving: ServingFigures | None) -> str:
    """Return a table of both models, or "" when nothing was measured."""
    if serving is None:
        return ""
    models = [model for model in (serving.candidate, serving.champion) if model]
    rows = [[name, *(_or_unknown(cell(model)) for model in models)] for name, cell in _CELLS.items()]
    table = html_table(["Figure", "Candidate", "Champion"][: len(models) + 1], rows)
    reading = (
        f"Measured inside the scoring job, within {serving.cpus:g} CPUs and {serving.memory_mb:,} MiB of memory; "
        f"a server and a network come on top. The models ran one after the other on the same host: compare them with "
        f"each other, not with another report."
    )
    notes = "".join(
        f'<p class="empty">{role}: {escape(note)}</p>'
        for role, model in zip(("Candidate", "Champion"), models, strict=False)  # A first model has no champion.
        for note in model.notes
    )
    return f'<h2>Serving</h2>\n{table}\n<p class="notes">{reading}</p>{notes}'


def _or_unknown(text: str | None) -> str:
    return text or "not measured"


def _ms(value: float | None) -> str | None:
    return None if value is None else f"{value:,.3g} ms" if value < 1000 else f"{value:,.0f} ms"  # noqa: PLR2004 - digits


_CELLS: dict[str, Callable[[ModelServing], str | None]] = {
    "One row, p50": lambda model: _ms(model.p50_ms),
    "One row, p95": lambda model: _ms(model.p95_ms),
    "One row, p99": lambda model: _ms(model.p99_ms),
    "Rows timed one by one": lambda model: f"{model.calls:,}" if model.calls else None,
    "Cold start": lambda model: None if model.cold_start_seconds is None else f"{model.cold_start_seconds:,.2f} s",
    "In batches": lambda model: None if model.rows_per_second is None else f"{model.rows_per_second:,.0f} rows/s",
    "Peak memory": lambda model: (
        None if model.peak_memory_bytes is None else f"{model.peak_memory_bytes / _MIB:,.0f} MiB"
    ),
    "Model directory": lambda model: f"{model.model_bytes / _MIB:,.2f} MiB",
    "Ran in": lambda model: {"docker": "a container", "process": "a process"}.get(model.place, model.place),
}
