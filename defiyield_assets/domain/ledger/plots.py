"""Pictures of the treasury: what it is worth and what moved it, and what each pool earned against what was expected.

Lives here: what is drawn; this is where exact money becomes float. Not here: its figures (nav.py, attribution.py), how
it becomes bytes (domain/pictures.py), where it is shown (orchestration).
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.pictures import printable, to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

HOLDINGS = (("pools_usd", "in pools", "#1b6ca8"), ("wallets_usd", "cash", "#9fc5e8"), ("eth_usd", "ETH", "#7a7a7a"))
MOVES = (
    ("income_usd", "income", "#5b8c5a", 1.0),
    ("expenses_usd", "expenses", "#c0392b", -1.0),
    ("price_change_usd", "price change", "#e08e0b", 1.0),
)
"""Column, name, colour and sign of what moves NAV beside capital and what nobody explained."""
RATES = (("return_1d", "return, time-weighted", "#1b6ca8"), ("realised_yield_1d", "realised yield", "#5b8c5a"))
GAPS = (
    ("gap_rate", "rate", "#1b6ca8"),
    ("gap_dilution", "dilution", "#7a7a7a"),
    ("gap_price", "price", "#e08e0b"),
    ("gap_cost", "cost", "#c0392b"),
)
APYS = (
    ("advertised_apy", "advertised", "|", 14),
    ("forecast_apy", "forecast", "D", 5),
    ("realised_apy", "realised", "o", 7),
)
"""Column, name, marker and its size."""
MOST_POOLS = 20
"""The largest positions are drawn."""
FURTHEST_APY = 40.0
"""Percent a year at which an axis ends: a day's costs, annualised, can be a total loss that makes all else flat."""


def plot_nav(nav: pd.DataFrame) -> bytes:
    """PNG of `nav_daily`: holdings, returns and what moved NAV, day by day. Same rows, same bytes, in any order."""
    return to_png(nav_figure(nav))


def plot_attribution(rows: pd.DataFrame, names: Mapping[str, str] | None = None) -> bytes:
    """PNG of one day of `yield_attribution`: APYs of each pool and where the gap comes from, the largest pool on top.

    `names` are titles by pool id. Same rows, same bytes, whatever their order.
    """
    return to_png(attribution_figure(rows, names or {}))


def nav_figure(nav: pd.DataFrame) -> "Figure":
    """Holdings on top; below them returns since the first day drawn, what moved NAV each day, what nobody explained."""
    from matplotlib.figure import Figure

    rows = nav.sort_values("date", kind="stable")
    figure = Figure(figsize=(11.0, 7.5), layout="constrained")
    if rows.empty:
        figure.suptitle("No net asset value is known yet")
        return figure
    halves: Any = figure.subfigures(2, 1)
    _draw_holdings(halves[0].subplots(), rows)
    returns, moves, unexplained = halves[1].subplots(1, 3)
    _draw_returns(returns, rows)
    _draw_moves(moves, rows)
    _draw_unexplained(unexplained, rows)
    for axis in (returns, moves, unexplained):
        axis.tick_params(axis="x", rotation=35)
        axis.grid(axis="y", linewidth=0.3)
        axis.axhline(0.0, color="black", linewidth=0.8)
        _mark_days(axis, rows)
    return figure


def attribution_figure(rows: pd.DataFrame, names: Mapping[str, str]) -> "Figure":
    """Left the three APYs of each pool, right the parts of realised minus forecast, stacked from zero both ways.

    What is beyond FURTHEST_APY stands at the edge; the whole gap is written beside its bar.
    """
    from matplotlib.figure import Figure

    ranked = _largest(rows)
    figure = Figure(figsize=(11.0, 1.8 + 0.32 * max(len(ranked), 1)), layout="constrained")
    if ranked.empty:
        figure.suptitle("No pool was held")
        return figure
    apys, gaps = figure.subplots(1, 2, sharey=True, width_ratios=(1.2, 1.0))
    places = np.arange(len(ranked))
    sized = zip(ranked["pool_id"], ranked["size"], strict=True)
    titles = [f"{printable(names.get(pool_id, pool_id))}, ${float(size):,.0f}" for pool_id, size in sized]
    apys.set_yticks(places, titles, fontsize=8, parse_math=False)
    apys.set_ylim(len(ranked) - 0.5, -0.5)
    for column, name, marker, size in APYS:
        shown = np.clip(_floats(ranked, column) * 100.0, -FURTHEST_APY, FURTHEST_APY)
        apys.plot(shown, places, marker, label=name, alpha=0.8, markersize=size, markeredgewidth=2 if size > 7 else 0)
    apys.set_xlabel("APY, % a year")
    apys.set_title(f"{ranked['date'].iloc[0]}: advertised, expected and realised", fontsize=10)
    _draw_gaps(gaps, ranked, places)
    for axis in (apys, gaps):
        axis.grid(axis="x", linewidth=0.3)
    style: Any = {"ncols": 4, "fontsize": 8, "frameon": False}
    figure.legend(*apys.get_legend_handles_labels(), loc="outside lower left", **style)
    figure.legend(*gaps.get_legend_handles_labels(), loc="outside lower right", **style)
    return figure


def _largest(rows: pd.DataFrame) -> pd.DataFrame:
    """The pools with the largest positions at the start or end of the day, with their `size`."""
    ends = zip(rows["opening_usd"], rows["closing_usd"], strict=True)
    sizes = [opening if pd.isna(closing) else max(opening, closing) for opening, closing in ends]
    ranked = rows.assign(size=pd.Series(sizes, index=rows.index, dtype=object))
    return ranked.sort_values(["size", "pool_id"], ascending=[False, True], kind="stable").head(MOST_POOLS)


def _draw_gaps(axis: "Axes", rows: pd.DataFrame, places: NDArray[Any]) -> None:
    """Parts to the right of zero where they add to what was expected, to the left where they take from it."""
    right, left, total = np.zeros(len(rows)), np.zeros(len(rows)), np.zeros(len(rows))
    for column, name, colour in GAPS:
        part = _floats(rows, column) * 100.0
        known = np.nan_to_num(part)
        axis.barh(places, known, 0.6, np.where(known >= 0.0, right, left), color=colour, label=name)
        right, left, total = right + np.maximum(known, 0.0), left + np.minimum(known, 0.0), total + part
    axis.axvline(0.0, color="black", linewidth=0.8)
    furthest = min(FURTHEST_APY, max(float(np.max(right)), float(-np.min(left)), 0.1) * 1.05)
    axis.set_xlim(-furthest, furthest)
    for place, gap, closing in zip(places, total, rows["closing_usd"], strict=True):
        words = f"{gap:+.2f}" if not np.isnan(gap) else "left" if closing == 0 else "unknown"
        axis.text(1.01, place, words, transform=axis.get_yaxis_transform(), va="center", fontsize=8)
    axis.set_xlabel("percentage points a year")
    axis.set_title("Realised less forecast, by cause; their sum at the right", fontsize=10)


def _draw_holdings(axis: "Axes", rows: pd.DataFrame) -> None:
    bottom = np.zeros(len(rows))
    for column, name, colour in HOLDINGS:
        height = _floats(rows, column)
        axis.bar(_dates(rows), height, _width(rows), bottom, color=colour, label=f"{name}, ${height[-1]:,.0f}")
        bottom = bottom + height
    axis.set_ylim(0.0, max(float(bottom.max()) * 1.18, 1.0))
    axis.set_ylabel("USD")
    axis.yaxis.set_major_formatter("{x:,.0f}")
    axis.set_title(f"Net asset value of ${bottom[-1]:,.2f} on {rows['date'].iloc[-1]}")
    axis.grid(axis="y", linewidth=0.3)
    axis.legend(fontsize=8, frameon=False, ncols=3, loc="upper left")
    _mark_days(axis, rows)


def _draw_returns(axis: "Axes", rows: pd.DataFrame) -> None:
    """Daily rates chained from the first day drawn; a day without one stands still."""
    for column, name, colour in RATES:
        grown = np.cumprod(1.0 + np.nan_to_num(_floats(rows, column))) - 1.0
        axis.plot(_dates(rows), grown * 100.0, color=colour, marker=".", markersize=4, label=name)
    axis.set_ylabel("%")
    axis.set_title(f"Since {rows['date'].iloc[0]}", fontsize=10)
    axis.legend(fontsize=8, frameon=False)


def _draw_moves(axis: "Axes", rows: pd.DataFrame) -> None:
    """Bars to each side of zero, so that what adds and what takes is seen of every day."""
    above, below = np.zeros(len(rows)), np.zeros(len(rows))
    for column, name, colour, sign in MOVES:
        height = _floats(rows, column) * sign
        axis.bar(_dates(rows), height, _width(rows), np.where(height >= 0.0, above, below), color=colour, label=name)
        above, below = above + np.maximum(height, 0.0), below + np.minimum(height, 0.0)
    axis.set_ylabel("USD a day")
    axis.set_title("What moved it beside capital", fontsize=10)
    axis.legend(fontsize=8, frameon=False)


def _draw_unexplained(axis: "Axes", rows: pd.DataFrame) -> None:
    height = _floats(rows, "unexplained_usd")
    axis.bar(_dates(rows), height, _width(rows), color="#9b5094", label="of the day")
    axis.plot(_dates(rows), np.cumsum(height), color="black", linewidth=1.0, label="since the first day")
    if not height.any():
        axis.set_ylim(-1.0, 1.0)
    axis.set_ylabel("USD")
    axis.set_title("Unexplained; should be 0", fontsize=10)
    axis.legend(fontsize=8, frameon=False)


def _mark_days(axis: "Axes", rows: pd.DataFrame) -> None:
    """Few days are all marked, and one day is not stretched over the whole width."""
    days = list(rows["date"])
    if len(days) <= 5:
        axis.set_xticks(days, [str(day) for day in days])
    margin = timedelta(days=3 if len(days) == 1 else 1)
    axis.set_xlim(days[0] - margin, days[-1] + margin)


def _width(rows: pd.DataFrame) -> float:
    """Of a day's bar: bars of few days stand apart, those of many would flicker."""
    return 0.9 if len(rows) <= 31 else 1.0


def _dates(rows: pd.DataFrame) -> NDArray[Any]:
    return rows["date"].to_numpy()


def _floats(rows: pd.DataFrame, column: str) -> Floats:
    """Values as floats, NaN where one is missing."""
    return np.array([np.nan if pd.isna(value) else float(value) for value in rows[column]], dtype=np.float64)
