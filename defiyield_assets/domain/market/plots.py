"""Pictures of markets: prices with the filtered probabilities of their regimes, as PNG.

Lives here: what is drawn. Not here: its figures (regimes.py), how it becomes bytes (domain/pictures.py), where it is
shown (orchestration).
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from defiyield_assets.domain.market.regimes import STATES
from defiyield_assets.domain.pictures import printable, to_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#5b8c5a", "#e0c05a", "#b5423c")
"""Of the states, calm first."""


def plot_regimes(bars: pd.DataFrame, regimes: pd.DataFrame, title: str) -> bytes:
    """PNG of one market: adjusted prices on a log scale above, the probabilities of its states below.

    `bars` has date, close and adj_factor, `regimes` are rows of `market_regimes`. Same rows, same bytes, whatever
    their order.
    """
    return to_png(regimes_figure(bars, regimes, title))


def regimes_figure(bars: pd.DataFrame, regimes: pd.DataFrame, title: str) -> "Figure":
    """Prices above, stacked probabilities below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 6.0), layout="constrained")
    figure.suptitle(printable(title), parse_math=False)
    if regimes.empty:
        figure.suptitle(f"{printable(title)}: too few returns for a regime", parse_math=False)
        return figure
    axes: Any = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    prices = bars.sort_values("date")
    shares = regimes.sort_values("date")
    adjusted = (prices["close"] * prices["adj_factor"]).to_numpy(dtype=np.float64)
    axes[0].plot(prices["date"].to_numpy(), adjusted, color="black", linewidth=1.0)
    axes[0].set_yscale("log")
    axes[0].set_ylabel("adjusted close, USD")
    axes[0].grid(axis="y", linewidth=0.3)
    heights = [shares[f"p_{state}"].to_numpy(dtype=np.float64) for state in STATES]
    axes[1].stackplot(shares["date"].to_numpy(), *heights, labels=STATES, colors=COLOURS)
    axes[1].set_ylim(0.0, 1.0)
    axes[1].set_ylabel("probability, filtered")
    axes[1].set_xlabel("day")
    axes[1].legend(loc="upper left", fontsize=8, ncols=len(STATES))
    return figure
