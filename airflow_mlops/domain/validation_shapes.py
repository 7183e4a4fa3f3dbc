"""What a manifest knows of a column, in a line of words and a small histogram."""

from html import escape

from airflow_mlops.domain.dataset import ColumnSummary

_WIDTH, _HEIGHT = 180, 40
_LONGEST = 24


def facts_of(column: ColumnSummary) -> str:
    """Return type, missing and different values, and the range, in words."""
    facts = [column.type, f"{column.nulls:,} missing", f"about {column.distinct:,} different values"]
    if column.minimum is not None and column.maximum is not None:
        facts.append(f"{_value(column.minimum)} to {_value(column.maximum)}")
    if column.mean is not None and not isinstance(column.minimum, str):
        facts.append(f"mean {column.mean:.4g}")
    return ", ".join(facts)


def shape_svg(column: ColumnSummary) -> str:
    """Return the distribution of a column as SVG of a few hundred characters, or ``""`` where none is known."""
    if column.histogram:
        words = f"{column.name}: {_value(column.minimum)} to {_value(column.maximum)}"
        return _bars(words, column.histogram)
    if column.counts:
        common = sorted(column.counts.items(), key=lambda item: (-item[1], item[0]))
        words = "; ".join(f"{_short(value)} {count:,}" for value, count in common)
        return _bars(f"{column.name}: {words}", tuple(count for _, count in common))
    return ""


def _bars(words: str, counts: tuple[int, ...]) -> str:
    most = max(counts) or 1
    width = min(_WIDTH / len(counts), _WIDTH / 6)
    bar = max(width - 1, 1)
    path = "".join(
        f"M{index * width:.4g} {_HEIGHT}v{-max(count / most * (_HEIGHT - 2), 1):.3g}h{bar:.4g}V{_HEIGHT}z"
        for index, count in enumerate(counts)
        if count
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(words)}"><title>{escape(words)}</title>'
        f'<path d="{path}"/></svg>'
    )


def _value(value: float | str | None) -> str:
    if isinstance(value, str):
        return _short(value)
    if value is None:
        return ""
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.6g}"  # noqa: PLR2004 - exact


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
