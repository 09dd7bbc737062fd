"""Where things go in the charts of the report, against places worked out by hand."""

import math
import re
from typing import Any

import pytest

from defiyield_assets.domain.reporting.charts import BAR_REACH, PRICE, axis_words, draw, figures_table, written
from defiyield_assets.domain.reporting.formats import UNKNOWN
from defiyield_assets.domain.reporting.layout import Chart, Point, Series, Unit


def lines(*series: Series, kind: Any = "lines", unit: Unit = "usd") -> Chart:
    return Chart(kind, "Title", unit, series, "In words.")


def places(path: str) -> list[tuple[float, float]]:
    return [(float(x) / 100, float(y) / 100) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]


def test_days_stand_where_the_calendar_has_them_and_values_by_their_size() -> None:
    points = (Point("2025-06-01", 100.0), Point("2025-06-02", 200.0), Point("2025-06-11", 300.0))
    plot = draw(lines(Series("a", points))).plot
    assert plot is not None
    (first, second, third) = places(plot.curves[0].path)
    assert [x for x, _ in (first, second, third)] == [0.0, 10.0, 100.0]
    # The axis has a twentieth of the range as air below and above: 90 to 310.
    assert [y for _, y in (first, second, third)] == pytest.approx(
        [100 * part / 220 for part in (210, 110, 10)], abs=0.01
    )


def test_days_that_come_in_any_order_are_sorted_and_names_keep_theirs() -> None:
    days = lines(Series("a", (Point("2025-06-02", 2.0), Point("2025-06-01", 1.0))))
    names = lines(Series("a", (Point("USDT", 2.0), Point("DAI", 1.0))))
    assert [row[0] for row in figures_table(days).rows] == ["2025-06-01", "2025-06-02"]
    assert [row[0] for row in figures_table(names).rows] == ["USDT", "DAI"]
    plot = draw(days).plot
    assert plot is not None
    assert [x for x, _ in places(plot.curves[0].path)] == [0.0, 100.0]


def test_a_gap_parts_the_curve_and_a_lone_point_is_a_dot() -> None:
    values = (1.0, 2.0, None, 3.0, math.nan, 4.0, 5.0)
    plot = draw(lines(Series("a", tuple(Point(f"2025-06-0{row + 1}", value) for row, value in enumerate(values))))).plot
    assert plot is not None
    assert plot.curves[0].path.count("M") == 2
    assert len(places(plot.curves[0].path)) == 4
    assert [(dot.x, dot.words) for dot in plot.dots if dot.is_lone] == [(50.0, "a, 2025-06-04: $3.00")]


def test_a_band_runs_along_the_top_and_back_along_the_bottom() -> None:
    points = (Point("2025-06-01", 0.5, 0.25, 1.0), Point("2025-06-02", 0.5, 0.0, 0.75), Point("2025-06-03", 0.5))
    drawing = draw(lines(Series("f", points, "forecast"), kind="bands", unit="percent"))
    assert drawing.plot is not None
    (band,) = drawing.plot.bands
    # The axis runs from 0 (none of the values is below) to 1.05.
    expected = [(0.0, 0.05), (50.0, 0.3), (50.0, 1.05), (0.0, 0.8)]
    assert [x for x, _ in places(band.path)] == [x for x, _ in expected]
    assert [y for _, y in places(band.path)] == pytest.approx([100 * y / 1.05 for _, y in expected], abs=0.01)
    assert band.path.endswith("Z")
    assert drawing.plot.dots[0].words == "f, 2025-06-01: 50.00% (25.00% to 100.00%)"


def test_bars_are_as_long_as_their_values_and_losses_go_left_of_zero() -> None:
    before = Series("Before", (Point("a", 300.0), Point("b", -100.0)), "before")
    after = Series("After", (Point("a", 100.0), Point("c", None)), "after")
    (plot,) = draw(lines(before, after, kind="bars")).bar_plots
    assert plot.zero == BAR_REACH / 4
    assert [name for _, name in plot.names] == ["a", "b", "c"]
    assert [(bar.x, bar.width, bar.words) for bar in plot.bars] == [
        (BAR_REACH / 4, BAR_REACH * 3 / 4, "$300"),
        (BAR_REACH / 4, BAR_REACH / 4, "$100"),
        (0.0, BAR_REACH / 4, "-$100"),
        (BAR_REACH / 4, 0.0, UNKNOWN),
    ]
    assert plot.bars[0].top < plot.bars[1].top < plot.bars[2].top < plot.bars[3].top < plot.height


def test_many_bars_stand_in_two_columns_of_one_scale_in_their_order() -> None:
    sizes = {"a": 8.0, "b": 6.0, "c": 4.0, "d": 2.0, "e": 1.0}
    bars = Series("Before", tuple(Point(name, size) for name, size in sizes.items()), "main")
    left, right = draw(lines(bars, kind="bars")).bar_plots
    assert [[name for _, name in column.names] for column in (left, right)] == [["a", "b", "c"], ["d", "e"]]
    widths = [bar.width for column in (left, right) for bar in column.bars]
    assert widths == [BAR_REACH * share / 8 for share in (8, 6, 4, 2, 1)]
    assert left.height > right.height


def test_what_is_compared_with_looks_different_from_what_it_is_compared_to() -> None:
    roles = ("main", "main", "other", "history", "forecast")
    drawing = draw(lines(*(Series(role, (Point("a", 1.0), Point("b", 2.0)), role) for role in roles)))  # type: ignore[arg-type]
    looks = [(mark.colour, mark.stroke) for mark in drawing.legend]
    assert looks == [("c1", "solid"), ("c3", "solid"), ("c6", "dashed"), ("c1", "solid"), ("c1", "dashed")]


def test_a_chart_without_a_known_figure_is_not_drawn() -> None:
    drawing = draw(lines(Series("a", (Point("2025-06-01", None), Point("2025-06-02", math.inf)))))
    assert (drawing.plot, drawing.bar_plots, drawing.legend) == (None, (), ())
    assert draw(lines()).plot is None
    assert figures_table(lines(Series("a", (Point("x", None),)))).rows == (("x", UNKNOWN),)


@pytest.mark.parametrize(
    ("low", "high"), [(1_659_080.84, 1_659_759.59), (0.0, 0.0), (5.0, 5.0), (-3.0, 7.0), (0.0, 1e12)]
)
@pytest.mark.parametrize("unit", ["usd", "percent", "gwei"])
def test_ticks_are_told_apart_and_stand_within_the_plot(low: float, high: float, unit: Unit) -> None:
    plot = draw(lines(Series("a", (Point("2025-06-01", low), Point("2025-06-02", high))), unit=unit)).plot
    assert plot is not None
    words = [tick.words for tick in plot.heights]
    assert len(words) == len(set(words)) >= 2
    assert all(-1e-6 <= tick.at <= 100 + 1e-6 for tick in plot.heights)
    assert all(0 <= y <= 100 for _, y in places(plot.curves[0].path))
    assert plot.axis_letters == max(map(len, words))


def test_axes_have_as_many_digits_as_tell_their_values_apart() -> None:
    assert axis_words([1e6, 1.01e6, 1.02e6], "usd") == ["$1M", "$1.01M", "$1.02M"]
    assert axis_words([1_659_200.0, 1_659_400.0], "usd") == ["$1,659,200", "$1,659,400"]
    assert axis_words([-500.0, 0.0, 500.0], "usd") == ["-$500", "$0", "$500"]
    assert axis_words([0.0, 0.005, 0.01], "percent") == ["0.0%", "0.5%", "1.0%"]
    assert axis_words([2.0, 2.5], "gwei") == ["2.0", "2.5"]
    assert axis_words([0.985, 0.99, 0.995], PRICE) == ["$0.985", "$0.990", "$0.995"]


def test_labels_of_the_axis_keep_the_first_and_the_last_and_never_touch() -> None:
    days = [f"2025-06-{day:02d}" for day in (1, 2, 3, 28, 29, 30)]
    plot = draw(lines(Series("a", tuple(Point(day, 1.0) for day in days)))).plot
    assert plot is not None
    assert (plot.labels[0].words, plot.labels[-1].words) == (days[0], days[-1])
    assert all(right.at - left.at >= 20 for left, right in zip(plot.labels, plot.labels[1:], strict=False))


def test_figures_stand_in_a_table_with_their_bands() -> None:
    history = Series("History", (Point("2025-06-01", 0.05), Point("2025-06-02", None)), "history")
    forecast = Series("Forecast", (Point("2025-06-03", 0.06, 0.04, 0.08),), "forecast")
    table = figures_table(lines(history, forecast, kind="bands", unit="percent"))
    assert [column.name for column in table.columns] == [
        "Day",
        "History",
        "Forecast",
        "Forecast, low",
        "Forecast, high",
    ]
    assert table.rows == (
        ("2025-06-01", "5.00%", "", "", ""),
        ("2025-06-02", UNKNOWN, "", "", ""),
        ("2025-06-03", "", "6.00%", "4.00%", "8.00%"),
    )


def test_values_are_written_in_their_unit() -> None:
    assert written(-1234.5, "usd") == "-$1,234.50"
    assert written(0.1234, "percent") == "12.34%"
    assert written(2.5, "gwei") == "2.500 gwei"
    assert written(0.985025, PRICE) == "$0.985025"
    assert written(math.nan, "usd") == written(None, "gwei") == UNKNOWN
