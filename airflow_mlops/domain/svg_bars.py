"""Horizontal bars as SVG text, candidate above champion, coloured by the style of the page that they stand in."""

from collections.abc import Mapping, Sequence
from html import escape

from airflow_mlops.domain.svg import Axis

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 190, 16, 6, 36
_BAR, _GAP = 9, 8
_NAME_CHARACTERS = 28


def bar_chart(name: str, label: str, rows: Sequence[tuple[str, Mapping[str, float]]]) -> str:
    """Return the chart. ``name`` is what a screen reader says, ``label`` what the bars measure.

    :param rows: the name of each row, and its values by style: a class of the page's style sheet, such as candidate.
    """
    values = [value for _, bars in rows for value in bars.values()]
    axis = Axis.around(label, [0.0, *values])
    most = max((len(bars) for _, bars in rows), default=1)
    step = most * _BAR + _GAP
    floor = _TOP + step * len(rows)

    def place(value: float) -> float:
        return _LEFT + (value - axis.low) / (axis.high - axis.low) * (_WIDTH - _LEFT - _RIGHT)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {floor + _BOTTOM}" role="img" aria-label="{escape(name)}">']
    for tick in axis.ticks():
        at = f"{place(tick):.1f}"
        parts.append(f'<line class="grid" x1="{at}" y1="{_TOP}" x2="{at}" y2="{floor}"/>')
        parts.append(f'<text x="{at}" y="{floor + 14}" text-anchor="middle">{tick:g}</text>')
    for index, (row, bars) in enumerate(rows):
        top = _TOP + index * step + _GAP / 2
        middle = top + most * _BAR / 2
        short = row if len(row) <= _NAME_CHARACTERS else f"{row[: _NAME_CHARACTERS - 1]}…"
        parts.append(
            f'<text x="{_LEFT - 8}" y="{middle:.1f}" dy=".35em" text-anchor="end">{escape(short)}'
            f"<title>{escape(row)}</title></text>"
        )
        for line, (style, value) in enumerate(bars.items()):
            low, high = sorted((place(0.0), place(value)))
            box = f'x="{low:.1f}" y="{top + line * _BAR:.1f}" width="{high - low:.1f}" height="{_BAR - 1}"'
            note = escape(f"{style}: {row} {value:.4g}")
            parts.append(f'<rect class="bar {style}" {box}><title>{note}</title></rect>')
    parts.append(f'<path class="axis" fill="none" d="M{place(0.0):.1f} {_TOP}V{floor}"/>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{floor + 30}" text-anchor="middle">{escape(label)}</text>')
    return "".join([*parts, "</svg>"])
