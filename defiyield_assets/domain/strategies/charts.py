"""Curves as inline SVG that takes its colours from the page, so that it is readable in light and in dark.

Lives here: lines and areas over dates. Not here: which curves a sheet has (tear_sheet.py), the page's colours
(templates/style.css.j2), PNG for other places (domain/pictures.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import floor, log10

import numpy as np
from numpy.typing import NDArray

from defiyield_assets.domain.strategies.bars import Vector

WIDTH, HEIGHT = 520, 250
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 10, 28
MOST_POINTS = 600
"""Points of a curve that are drawn; of more, every stretch keeps its least and its greatest."""
N_TICKS = 4


@dataclass(frozen=True)
class Line:
    """A curve: `values` (dates,), NaN is a gap; `style`: one of the classes of the page's style sheet."""

    name: str
    values: Vector
    style: str


def line_chart(
    label: str,
    dates: NDArray[np.datetime64],
    lines: Sequence[Line],
    written: Callable[[float], str],
    *,
    area: bool = False,
    baseline: float | None = None,
    ticks: Callable[[float, float], list[float]] | None = None,
) -> str:
    """An SVG of curves over common dates; empty text where no curve has two known points.

    `label`: what a screen reader says; `written`: a value on the axis as text; `area`: the first curve is filled to
    the baseline; `baseline`: a value that is always in the picture and has a line of its own; `ticks`: values on the
    axis from the least and the greatest one, round ones by default.
    """
    known = [line for line in lines if int(np.isfinite(line.values).sum()) >= 2]
    if not known:
        return ""
    finite = np.concatenate([line.values[np.isfinite(line.values)] for line in known])
    low, high = _range(finite, baseline)
    shown = (nice_ticks if ticks is None else ticks)(low, high)
    place = dates.astype("datetime64[D]").astype(np.float64)
    span = max(float(place[-1] - place[0]), 1.0)
    x = LEFT + (place - place[0]) / span * (WIDTH - LEFT - RIGHT)

    def height(value: float | Vector) -> Vector:
        return np.asarray(TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM))

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label, quote=True)}" '
        f'xmlns="http://www.w3.org/2000/svg">'
    ]
    for tick in shown:
        y = float(height(tick))
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(written(tick))}</text>')
    for row in np.unique(np.linspace(0, len(dates) - 1, N_TICKS).round().astype(int)):
        anchor = "start" if row == 0 else "end" if row == len(dates) - 1 else "middle"
        text = str(dates[row].astype("datetime64[D]"))
        parts.append(f'<text x="{x[row]:.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{text}</text>')
    if baseline is not None:
        y = float(height(baseline))
        parts.append(f'<line class="base" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
    for number, line in enumerate(known):
        if area and number == 0:
            parts.append(_area(x, line, height, low if baseline is None else baseline))
        parts.append(_path(x, line, height))
    return "".join([*parts, "</svg>"])


def nice_ticks(low: float, high: float, n_ticks: int = N_TICKS) -> list[float]:
    """Round values inside low .. high, about `n_ticks` of them."""
    rough = (high - low) / n_ticks
    magnitude = 10.0 ** floor(log10(rough))
    step = next(factor * magnitude for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * magnitude >= rough * 0.999)
    first = np.ceil(low / step - 1e-9)
    # Adding 0.0 makes -0.0 the zero that it equals.
    return [float(round(tick * step, 12)) + 0.0 for tick in np.arange(first, np.floor(high / step + 1e-9) + 1)]


def multiple_ticks(low: float, high: float) -> list[float]:
    """Logarithms (base 10) of 1, 2 and 5 times powers of ten inside low .. high; of many, powers of ten only."""
    powers = range(floor(low) - 1, floor(high) + 2)
    every = [float(power + log10(factor)) for power in powers for factor in (1.0, 2.0, 5.0)]
    inside = [tick for tick in every if low <= tick <= high]
    return inside if len(inside) <= 2 * N_TICKS else [tick for tick in inside if tick == round(tick)]


def thinned(values: Vector, most: int = MOST_POINTS) -> NDArray[np.intp]:
    """Rows to draw: all of a short curve; of a longer one the least and the greatest of each stretch, and both ends."""
    n = len(values)
    if n <= most:
        return np.arange(n)
    edges = np.linspace(0, n, most // 2 + 1).astype(int)
    kept = {0, n - 1}
    for start, stop in pairwise(edges):
        part = values[start:stop]
        if np.isfinite(part).any():
            kept |= {start + int(np.nanargmin(part)), start + int(np.nanargmax(part))}
        else:
            kept.add(int(start))
    return np.array(sorted(kept), dtype=np.intp)


def _range(values: Vector, baseline: float | None) -> tuple[float, float]:
    """Least and greatest value in the picture, with air; never of no height."""
    every = values if baseline is None else np.append(values, baseline)
    low, high = float(every.min()), float(every.max())
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        air = max(abs(high) * 0.05, 0.01)
        return low - air, high + air
    air = 0.04 * (high - low)
    return low - (air if baseline != low else 0.0), high + (air if baseline != high else 0.0)


def _path(x: Vector, line: Line, height: Callable[[Vector], Vector]) -> str:
    steps, is_drawing = [], False
    rows = thinned(line.values)
    y = height(line.values)
    for row in rows:
        if not np.isfinite(line.values[row]):
            is_drawing = False
            continue
        steps.append(f"{'L' if is_drawing else 'M'}{x[row]:.1f} {y[row]:.1f}")
        is_drawing = True
    return f'<path class="line {escape(line.style, quote=True)}" d="{"".join(steps)}"/>'


def _area(x: Vector, line: Line, height: Callable[[Vector], Vector], base: float) -> str:
    rows = thinned(line.values)
    rows = rows[np.isfinite(line.values[rows])]
    y, bottom = height(line.values), float(height(np.array(base)))
    points = "".join(f"L{x[row]:.1f} {y[row]:.1f}" for row in rows)
    return (
        f'<path class="area {escape(line.style, quote=True)}" '
        f'd="M{x[rows[0]]:.1f} {bottom:.1f}{points}L{x[rows[-1]]:.1f} {bottom:.1f}Z"/>'
    )
