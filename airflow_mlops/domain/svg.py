"""Small line charts as SVG text, coloured by the style of the page that they stand in."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 360, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 10, 40
_BAR_SHARE = 0.25
"""How much of the height the tallest bar takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line, or a row of marks. ``style`` is a class of the page's style sheet: candidate, champion or ideal."""

    style: str
    x: Sequence[float]
    y: Sequence[float]
    notes: Sequence[str] = ()
    """A text for each point, shown when a reader points at it; lines with notes have marks."""
    bars: Sequence[float] = ()
    """A height for each point, drawn as a bar at the foot of the chart: how many rows stand behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What an axis means and what it spans."""

    label: str
    low: float
    high: float

    @classmethod
    def around(cls, label: str, values: Sequence[float]) -> "Axis":
        """Return an axis on which all values have a place, and a little air."""
        low, high = min(values, default=0.0), max(values, default=1.0)
        air = (high - low) * 0.05 or 1.0
        return cls(label=label, low=low - air, high=high + air)

    def ticks(self) -> list[float]:
        """Return four to nine round numbers within the span."""
        step = 10 ** math.floor(math.log10((self.high - self.low) / 4))
        step *= next(factor for factor in (1, 2, 5, 10) if (self.high - self.low) / (step * factor) <= 8)  # noqa: PLR2004
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(index * step, 12) for index in range(first, last + 1)]


def line_chart(name: str, x_axis: Axis, y_axis: Axis, lines: Sequence[Line]) -> str:
    """Return the chart. ``name`` is what a screen reader says."""

    def place_x(value: float) -> float:
        return _LEFT + (value - x_axis.low) / (x_axis.high - x_axis.low) * (_WIDTH - _LEFT - _RIGHT)

    def place_y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - y_axis.low) / (y_axis.high - y_axis.low) * (_HEIGHT - _TOP - _BOTTOM)

    floor = _HEIGHT - _BOTTOM
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(name)}">']
    for tick in x_axis.ticks():
        at = f"{place_x(tick):.1f}"
        parts.append(f'<line class="grid" x1="{at}" y1="{_TOP}" x2="{at}" y2="{floor}"/>')
        parts.append(f'<text x="{at}" y="{floor + 14}" text-anchor="middle">{tick:g}</text>')
    for tick in y_axis.ticks():
        at = f"{place_y(tick):.1f}"
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{at}" x2="{_WIDTH - _RIGHT}" y2="{at}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{at}" dy=".35em" text-anchor="end">{tick:g}</text>')
    parts.append(f'<path class="axis" fill="none" d="M{_LEFT} {_TOP}V{floor}H{_WIDTH - _RIGHT}"/>')
    tallest = max((bar for line in lines for bar in line.bars), default=1.0) or 1.0
    for line in lines:
        for x, bar in zip(line.x, line.bars, strict=False):  # A line without bars has none to draw.
            height = bar / tallest * _BAR_SHARE * (floor - _TOP)
            shift = 0 if line.style == "candidate" else 6
            place = f'x="{place_x(x) - 6 + shift:.1f}" y="{floor - height:.1f}"'
            parts.append(f'<rect class="bar {line.style}" {place} width="5" height="{height:.1f}"/>')
    for line in lines:
        points = [f"{place_x(x):.1f} {place_y(y):.1f}" for x, y in zip(line.x, line.y, strict=True)]
        if points:
            parts.append(f'<path class="{line.style}" d="M{"L".join(points)}"/>')
        for point, note in zip(points, line.notes, strict=False):  # A line without notes has no marks.
            across, down = point.split()
            place = f'cx="{across}" cy="{down}" r="3"'
            parts.append(f'<circle class="mark {line.style}" {place}><title>{escape(note)}</title></circle>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x_axis.label)}</text>')
    parts.append(
        f'<text transform="translate(12 {(_TOP + floor) / 2:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_axis.label)}</text>"
    )
    return "".join([*parts, "</svg>"])
