"""Charts over windows as SVG text: all of one width, so that a window stands at one place in each of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from airflow_mlops.domain.svg import Axis

WIDTH = 800
_LEFT, _RIGHT = 46, 6
_CHART, _TOP, _FOOT = 170, 16, 22
_LABELS = 6
"""Windows that are named below a chart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A line over windows. ``style`` is a class of the page's style sheet."""

    style: str
    values: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    """Bounds of each value, drawn as a band."""


def strip(styles: Sequence[str], *, height: int = 14) -> str:
    """Return one row of cells, a window each, with a class of the style sheet or "" for none.

    Neighbours that look the same are one rectangle, and all of one class one path: hundreds of rows stay small.
    """
    step = _step(len(styles))
    paths: dict[str, list[str]] = {}
    start = 0
    for style, group in groupby(styles):
        count = len(list(group))
        if style:
            paths.setdefault(style, []).append(
                f"M{_LEFT + start * step:.4g} 0h{count * step:.4g}v{height}h-{count * step:.4g}z"
            )
        start += count
    drawn = "".join(f'<path class="{style}" d="{"".join(found)}"/>' for style, found in paths.items())
    return f'<svg class="strip" viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="none">{drawn}</svg>'


def timeline(name: str, labels: Sequence[str], series: Sequence[Series], marks: Iterable[tuple[int, str]] = ()) -> str:
    """Return a chart of lines over windows.

    :param name: what a screen reader says.
    :param labels: of each window; as many as there is room for are drawn.
    :param marks: windows at which a vertical line stands, each with its class.
    """
    values = [
        value for line in series for row in (line.values, line.low, line.high) for value in row if value is not None
    ]
    axis, step, floor = Axis.around("", values), _step(len(labels)), _CHART - _FOOT

    def x(index: int) -> str:
        return f"{_LEFT + (index + 0.5) * step:.1f}"

    def y(value: float) -> str:
        return f"{floor - (value - axis.low) / (axis.high - axis.low) * (floor - _TOP):.1f}"

    parts = [f'<svg viewBox="0 0 {WIDTH} {_CHART}" role="img" aria-label="{escape(name)}">']
    for tick in axis.ticks():
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y(tick)}" x2="{WIDTH - _RIGHT}" y2="{y(tick)}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{y(tick)}" dy=".35em" text-anchor="end">{tick:g}</text>')
    every = max(1, -(-len(labels) // _LABELS))
    parts += [
        f'<text x="{x(index)}" y="{_CHART - 6}" text-anchor="middle">{escape(labels[index])}</text>'
        for index in range(0, len(labels), every)
    ]
    parts += [
        f'<line class="{style}" x1="{x(index)}" y1="{_TOP - 8}" x2="{x(index)}" y2="{floor}"/>'
        for index, style in marks
    ]
    for line in series:
        for run in _runs(line.low, line.high):
            upper = "L".join(f"{x(index)} {y(high)}" for index, _, high in run)
            lower = "L".join(f"{x(index)} {y(low)}" for index, low, _ in reversed(run))
            parts.append(f'<path class="band {line.style}" d="M{upper}L{lower}z"/>')
        for points in _runs(line.values, line.values):
            drawn = "L".join(f"{x(index)} {y(value)}" for index, value, _ in points)
            dot = "h.01" if len(points) == 1 else ""
            parts.append(f'<path class="line {line.style}" d="M{drawn}{dot}"/>')
    return "".join([*parts, "</svg>"])


def _step(count: int) -> float:
    return (WIDTH - _LEFT - _RIGHT) / max(count, 1)


def _runs(low: Sequence[float | None], high: Sequence[float | None]) -> list[list[tuple[int, float, float]]]:
    """Return the stretches of windows that have both values: a gap is no line."""
    found: list[list[tuple[int, float, float]]] = []
    last = -2
    for index, (lower, upper) in enumerate(zip(low, high, strict=True)):
        if lower is None or upper is None:
            continue
        if index != last + 1:
            found.append([])
        found[-1].append((index, lower, upper))
        last = index
    return found
