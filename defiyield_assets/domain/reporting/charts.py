"""Where everything in a chart of the report goes: curves, bands, bars, ticks, legend, and the figures as a table.

Lives here: places in percent of the plot (those of paths in hundredths of one), so that the page can stretch a chart
while its words keep their size. Not here: which charts there are (content.py), their SVG and colours
(templates/chart.html.j2, templates/style.css.j2), the charts of the strategy lab (domain/strategies/charts.py).
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from defiyield_assets.domain.reporting.formats import UNKNOWN, about_usd, float_usd, number, percent
from defiyield_assets.domain.reporting.layout import Chart, Column, Point, Series, Table, Unit, numbers
from defiyield_assets.domain.strategies.charts import nice_ticks

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
COLOURS = ("c1", "c3", "c4", "c2", "c5")
COMPARED = ("c6", "c2", "c5", "c4")
"""Colours of the style sheet for what the chart is about and for what it is compared with; c6 is grey."""
MOST_DOTS = 200
"""Points that tell their value when pointed at; a chart with more has none, its table has the figures."""
PRICE: Unit = "price"
"""A unit for dollars per token: they are written to six decimals, since a fraction of a cent matters."""
N_TICKS = 4
N_LABELS = 5
BAR_REACH = 76.0
"""Width of the longest bar in percent; the rest is for its figure."""
COLUMN_ROWS = 4
"""Names from which bars stand in two columns where the page is wide."""
ROW_GAP, NAME_HEIGHT, BAR_HEIGHT = 10, 20, 15
"""Pixels between the rows of a bar chart, of their names and of each bar."""


@dataclass(frozen=True)
class Tick:
    """A written place on an axis, in percent from the left or from the top; `anchor` is SVG's text-anchor."""

    at: float
    words: str
    anchor: str = "middle"


@dataclass(frozen=True)
class Mark:
    """A path (in hundredths of a percent) or a sign in the legend: its colour (c1 to c6), its stroke (solid, dashed,
    band, bar)."""

    colour: str
    stroke: str
    words: str = ""
    path: str = ""
    has_band: bool = False


@dataclass(frozen=True)
class Dot:
    """A point of a curve, in percent; `words` tell it when it is pointed at, `is_lone` draws it."""

    x: float
    y: float
    colour: str
    words: str
    is_lone: bool


@dataclass(frozen=True)
class Bar:
    """A bar: start and width in percent, top in pixels, the figure at its end."""

    x: float
    width: float
    top: int
    colour: str
    words: str
    words_at: float


@dataclass(frozen=True)
class Plot:
    """Lines over labels: what is drawn behind (bands), in front (curves, dots), and the two axes."""

    bands: tuple[Mark, ...]
    curves: tuple[Mark, ...]
    dots: tuple[Dot, ...]
    heights: tuple[Tick, ...]
    labels: tuple[Tick, ...]
    axis_letters: int


@dataclass(frozen=True)
class BarPlot:
    """Bars by name, from the top down; `height` in pixels, `zero` in percent."""

    names: tuple[tuple[int, str], ...]
    bars: tuple[Bar, ...]
    height: int
    zero: float


@dataclass(frozen=True)
class Drawing:
    """A chart ready to be drawn: a `plot`, or columns of bars of one scale, or neither where no figure is known."""

    chart: Chart
    legend: tuple[Mark, ...]
    plot: Plot | None = None
    bar_plots: tuple[BarPlot, ...] = ()


def draw(chart: Chart) -> Drawing:
    """The places of everything in the chart. What is not finite is a gap."""
    legend = _legend(chart)
    if not any(_is_known(point.value) for series in chart.series for point in series.points):
        return Drawing(chart, ())
    if chart.kind == "bars":
        return Drawing(chart, legend if len(legend) > 1 else (), bar_plots=_bars(chart))
    return Drawing(chart, legend, plot=_lines(chart))


def figures_table(chart: Chart) -> Table:
    """The chart's figures: one row per label, one column per series and, where it has one, two for its band."""
    labels, days = _labels(chart)
    columns, cells = [], []
    for series in chart.series:
        by_label = {point.label: point for point in series.points}
        points = [by_label.get(label) for label in labels]
        columns.append(series.name)
        cells.append([_cell(point, None if point is None else point.value, chart.unit) for point in points])
        if series.has_bands:
            columns += [f"{series.name}, low", f"{series.name}, high"]
            cells.append([_cell(point, None if point is None else point.low, chart.unit) for point in points])
            cells.append([_cell(point, None if point is None else point.high, chart.unit) for point in points])
    heading = Column("Of" if days is None else "Day")
    rows = tuple((label, *(column[row] for column in cells)) for row, label in enumerate(labels))
    return Table((heading, *numbers(*columns)), rows, caption=f"Figures: {chart.title}", fold="always")


def written(value: float | None, unit: Unit) -> str:
    """A value of a chart in full, as its table and the sign at a point say it."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if unit == "usd":
        return float_usd(value)
    if unit == PRICE:
        return f"${number(value, 6)}"
    return percent(value) if unit == "percent" else f"{number(value, 3)} gwei"


def _cell(point: Point | None, value: float | None, unit: Unit) -> str:
    return "" if point is None else written(value, unit)


def _legend(chart: Chart) -> tuple[Mark, ...]:
    return tuple(
        Mark(
            colour,
            "bar" if chart.kind == "bars" else _stroke(series),
            series.name,
            has_band=chart.kind != "bars" and series.has_bands,
        )
        for series, colour in zip(chart.series, _colours(chart.series), strict=True)
    )


def _colours(series: Sequence[Series]) -> list[str]:
    """Colours in the order in which series of a role come; what is only compared with is grey first."""
    seen: dict[str, int] = {}
    colours = []
    for one in series:
        place = seen[one.role] = seen.get(one.role, -1) + 1
        order = COMPARED if one.role in ("other", "before") else COLOURS
        colours.append(order[place % len(order)])
    return colours


def _stroke(series: Series) -> str:
    return "dashed" if series.role in ("forecast", "other", "before") else "solid"


def _labels(chart: Chart) -> tuple[list[str], list[date] | None]:
    """Labels in order: days as the calendar has them, others as they first appear; and the days, if they are some."""
    labels = list(dict.fromkeys(chain.from_iterable(map(itemgetter(0), series.points) for series in chart.series)))
    days = _days(labels)
    return (labels, None) if days is None else (sorted(labels), sorted(days))


def _days(labels: Sequence[str]) -> list[date] | None:
    """The labels as days, None where one of them is none."""
    try:
        return list(map(date.fromisoformat, labels))
    except ValueError:
        return None


def _places(labels: Sequence[str], days: Sequence[date] | None) -> dict[str, float]:
    """Where each label stands, in percent from the left: days by the calendar, others evenly."""
    at = list(range(len(labels))) if days is None else [day.toordinal() for day in days]
    span = max(at[-1] - at[0], 1)
    if len(at) == 1:
        return {labels[0]: 50.0}
    return {label: 100.0 * (place - at[0]) / span for label, place in zip(labels, at, strict=True)}


@dataclass(frozen=True)
class _Line:
    """A series in the order of the axis: its points, where they are in percent from the left, their values and bounds
    (NaN: unknown)."""

    points: Sequence[Point]
    x: Floats
    value: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, series: Series, places: dict[str, float]) -> "_Line":
        """The series over labels that stand at `places`."""
        points: Sequence[Point] = series.points
        x = np.array([places[point.label] for point in points])
        if (x[1:] < x[:-1]).any():
            order = np.argsort(x, kind="stable")
            points, x = [points[row] for row in order.tolist()], x[order]
        value = np.array([point.value for point in points], np.float64)
        if not series.has_bands:
            unknown = np.full(len(points), np.nan)
            return cls(points, x, value, unknown, unknown)
        low = np.array([point.low for point in points], np.float64)
        return cls(points, x, value, low, np.array([point.high for point in points], np.float64))

    @property
    def has_band(self) -> Bools:
        """Points of which both bounds are known."""
        return np.isfinite(self.low) & np.isfinite(self.high)


def _lines(chart: Chart) -> Plot:
    labels, days = _labels(chart)
    places = _places(labels, days)
    lines = [_Line.of(series, places) for series in chart.series]
    low, high = _range(lines)
    ticks = nice_ticks(low, high, N_TICKS)
    words = axis_words(ticks, chart.unit)
    n_points = sum(len(line.points) for line in lines)

    def top(value: Any) -> Any:
        return 100.0 * (high - value) / (high - low)

    bands, curves, dots = [], [], []
    for series, colour, line in zip(chart.series, _colours(chart.series), lines, strict=True):
        y, runs = top(line.value), _runs(np.isfinite(line.value))
        curves.append(Mark(colour, _stroke(series), series.name, "".join(_path(line.x[run], y[run]) for run in runs)))
        bands += [
            Mark(colour, "band", series.name, _band(line.x[run], top(line.high[run]), top(line.low[run])))
            for run in _runs(line.has_band)
        ]
        for run in runs:
            is_lone = run.stop - run.start == 1
            if n_points <= MOST_DOTS or is_lone:
                for point, at_x, at_y in zip(line.points[run], line.x[run].tolist(), y[run].tolist(), strict=True):
                    told = f"{series.name}, {point.label}: {_with_band(point, chart.unit)}"
                    dots.append(Dot(at_x, at_y, colour, told, is_lone))
    return Plot(
        tuple(bands),
        tuple(curves),
        tuple(dots),
        tuple(Tick(top(tick), text, "end") for tick, text in zip(ticks, words, strict=True)),
        _label_ticks(labels, places),
        max(map(len, words), default=1),
    )


def _runs(is_known: Bools) -> list[slice]:
    """Rows that follow each other without a gap."""
    if is_known.all():
        return [slice(0, len(is_known))] if len(is_known) else []
    edges = np.flatnonzero(np.diff(is_known.astype(np.int8), prepend=0, append=0)).tolist()
    return [slice(*run) for run in zip(edges[::2], edges[1::2], strict=True)]


def _label_ticks(labels: Sequence[str], places: dict[str, float]) -> tuple[Tick, ...]:
    """A few labels along the bottom, the first and the last among them, none so close that they would touch."""
    if len(labels) == 1:
        return (Tick(50.0, labels[0]),)
    most = max(2, min(N_LABELS, len(labels)))
    chosen: list[str] = []
    for part in range(most):
        aim = 100.0 * part / (most - 1)
        behind = bisect_left(labels, aim, lo=1, hi=len(labels) - 1, key=places.__getitem__)
        nearest = min(labels[behind - 1 : behind + 1], key=lambda label: abs(places[label] - aim))
        if nearest not in chosen:
            chosen.append(nearest)
    last = labels[-1]
    apart = 100.0 / N_LABELS
    kept = [chosen[0]]
    for label in chosen[1:]:
        far_enough = places[label] - places[kept[-1]] >= apart and places[last] - places[label] >= apart
        if label == last or far_enough:
            kept.append(label)
    return tuple(
        Tick(places[label], label, "start" if row == 0 else "end" if label == last else "middle")
        for row, label in enumerate(kept)
    )


def axis_words(ticks: Sequence[float], unit: Unit) -> list[str]:
    """Values on an axis with as many digits as tell them apart, and no more."""
    if unit == "usd" and (short := [about_usd(tick) for tick in ticks]) and len(set(short)) == len(ticks):
        return [words.replace("$-", "-$") for words in short]
    for digits in range(7):
        if unit in ("usd", PRICE):
            words = [f"{'-' if tick < 0 else ''}${abs(tick):,.{digits}f}" for tick in ticks]
        elif unit == "percent":
            words = [percent(tick, digits) for tick in ticks]
        else:
            words = [number(tick, digits) for tick in ticks]
        if len(set(words)) == len(ticks):
            break
    return words


def _range(lines: Sequence[_Line]) -> tuple[float, float]:
    """Least and greatest value in the picture, bands included, with air; never of no height."""
    values = [line.value for line in lines]
    values += [bound[line.has_band] for line in lines for bound in (line.low, line.high)]
    known = np.concatenate(values)
    known = known[np.isfinite(known)]
    low, high = float(known.min()), float(known.max())
    is_flat = high - low <= 1e-9 * max(abs(low), abs(high), 1e-9)
    air = max(abs(high) * 0.05, 0.01) if is_flat else 0.05 * (high - low)
    # A curve that never falls below zero has an axis that does not either.
    return (max(low - air, 0.0) if low >= 0 and low - air < 0 else low - air), high + air


def _path(x: Floats, y: Floats) -> str:
    """Through these places, in hundredths of a percent, which are finer than any screen."""
    if len(x) < 2:
        return ""
    steps = np.rint(100.0 * np.column_stack([x, y])).astype(np.int64).ravel().tolist()
    return ("L%d %d" * len(x) % tuple(steps)).replace("L", "M", 1)


def _band(x: Floats, upper: Floats, lower: Floats) -> str:
    """Along the top and back along the bottom; a band of one point is as wide as can be seen."""
    if len(x) == 1:
        x, upper, lower = np.array([x[0] - 0.4, x[0] + 0.4]), upper.repeat(2), lower.repeat(2)
    return _path(np.concatenate([x, x[::-1]]), np.concatenate([upper, lower[::-1]])) + "Z"


def _with_band(point: Point, unit: Unit) -> str:
    words = written(point.value, unit)
    return f"{words} ({written(point.low, unit)} to {written(point.high, unit)})" if point.has_band else words


def _bars(chart: Chart) -> tuple[BarPlot, ...]:
    """Rows of a name and a bar per series, in two columns when they are many; bars start at zero, which is at the left
    unless there are losses."""
    labels = list(dict.fromkeys(point.label for series in chart.series for point in series.points))
    known = [_value(point) for series in chart.series for point in series.points if _is_known(point.value)]
    low, high = min(0.0, *known), max(0.0, *known)
    span = high - low or 1.0

    def place(value: float) -> float:
        return BAR_REACH * (value - low) / span

    first = len(labels) if len(labels) < COLUMN_ROWS else (len(labels) + 1) // 2
    columns = [part for part in (labels[:first], labels[first:]) if part]
    return tuple(_bar_column(chart, part, place) for part in columns)


def _bar_column(chart: Chart, labels: Sequence[str], place: Callable[[float], float]) -> BarPlot:
    """The rows of these names, from the top down; `place` is where a value ends, in percent."""
    row_height = NAME_HEIGHT + BAR_HEIGHT * len(chart.series) + ROW_GAP
    colours = _colours(chart.series)
    names, bars = [], []
    for row, label in enumerate(labels):
        names.append((row * row_height + NAME_HEIGHT - 6, label))
        for order, (series, colour) in enumerate(zip(chart.series, colours, strict=True)):
            point = next((point for point in series.points if point.label == label), None)
            if point is None:
                continue
            value = _value(point) if _is_known(point.value) else 0.0
            ends = sorted((place(0.0), place(value)))
            told = _short(value, chart.unit) if _is_known(point.value) else UNKNOWN
            at = row * row_height + NAME_HEIGHT + order * BAR_HEIGHT
            bars.append(Bar(ends[0], ends[1] - ends[0], at, colour, told, ends[1]))
    return BarPlot(tuple(names), tuple(bars), len(labels) * row_height, place(0.0))


def _short(value: float, unit: Unit) -> str:
    return about_usd(value).replace("$-", "-$") if unit == "usd" else written(value, unit)


def _value(point: Point) -> float:
    return float(point.value) if point.value is not None else math.nan


def _is_known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
