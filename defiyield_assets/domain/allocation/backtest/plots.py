"""Picture of a backtest: wealth of every strategy over time, and what the policy held.

Lives here: drawing. Not here: the books (engine.py), measures (figures.py). Matplotlib is imported when it is needed.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from defiyield_assets.domain.allocation.backtest.engine import Books

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#1b6ca8", "#333333", "#e08e0b", "#5b8c5a", "#9b5094", "#b0413e", "#7a7a7a")
SHOWN_POOLS = 8
"""Pools with a name of their own in the lower picture, by yield; the rest is one band."""


def wealth_figure(books: Mapping[str, Books], policy: str, bound_usd: float | None = None) -> "Figure":
    """Growth of wealth in percent by strategy, and below it the policy's positions in shares of wealth.

    `bound_usd`: final wealth of the hindsight bound, marked on the last day.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(1.25, 1.0), sharex=True)
    for number, (name, book) in enumerate(books.items()):
        growth = 100.0 * (book.daily["wealth_usd"].astype(float) / float(book.start.capital_usd) - 1.0)
        width = 2.4 if name == policy else 1.3
        upper.plot(book.daily["date"], growth, label=name, color=COLOURS[number % len(COLOURS)], linewidth=width)
    if bound_usd is not None:
        final = 100.0 * (bound_usd / float(books[policy].start.capital_usd) - 1.0)
        upper.plot([books[policy].daily["date"].iloc[-1]], [final], "k_", markersize=18, label="hindsight bound, final")
    upper.set_ylabel("growth of wealth, all costs paid, %")
    upper.legend(loc="upper left", frameon=False, fontsize=9)
    upper.set_title("Policy backtest: recorded lending panel, Ethereum")
    shares = position_shares(books[policy])
    lower.stackplot(shares.index, shares.to_numpy().T, labels=list(shares.columns))
    lower.set_ylabel("share of wealth")
    lower.set_ylim(0.0, 1.0)
    lower.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
    for axis in (upper, lower):
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def position_shares(books: Books) -> pd.DataFrame:
    """Share of wealth by day (rows) and pool (columns): the pools that earned most, all others, idle."""
    rows = books.pools.assign(value=books.pools["value_usd"].astype(float), paid=books.pools["yield_usd"].astype(float))
    best = list(rows.groupby("pool_id")["paid"].sum().nlargest(SHOWN_POOLS).index)
    named = rows["pool_id"].where(rows["pool_id"].isin(best), "others")
    values = rows.assign(pool_id=named).pivot_table(index="date", columns="pool_id", values="value", aggfunc="sum")
    days = books.daily.set_index("date")
    values = values.reindex(index=days.index, columns=[*best, "others"]).fillna(0.0)
    values["idle"] = days["idle_usd"].astype(float)
    return values.div(values.sum(axis=1), axis=0)
