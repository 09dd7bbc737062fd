"""Picture of one day's features: how they are spread over the instruments, as PNG.

Lives here: what is drawn. Not here: its figures (calculate.py), pictures of regimes (domain/market/plots.py), how it
becomes bytes (domain/pictures.py).
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from defiyield_assets.domain.pictures import printable, to_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN = {
    "rsi_14": "RSI 14",
    "return_20": "return over 20 bars",
    "realised_vol_60": "realised volatility 60, a year",
    "drawdown_252": "drawdown 252",
    "beta_60": "beta 60",
    "relative_volume_20": "volume / its mean of 20 bars",
}
"""Columns and their titles."""


def plot_features(rows: pd.DataFrame, title: str) -> bytes:
    """PNG of histograms over instruments, one per column of DRAWN. Same rows, same bytes, whatever their order."""
    return to_png(features_figure(rows, title))


def features_figure(rows: pd.DataFrame, title: str) -> "Figure":
    """A histogram per column; a column of which nothing is known says so."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 6.0), layout="constrained")
    figure.suptitle(printable(title), parse_math=False)
    axes: Any = figure.subplots(2, 3)
    for axis, (column, name) in zip(axes.ravel(), DRAWN.items(), strict=True):
        values = np.sort(rows[column].dropna().to_numpy(dtype=np.float64))
        axis.set_title(f"{name} ({len(values)} of {len(rows)})", fontsize=9)
        if len(values):
            axis.hist(values, bins=min(40, max(5, len(values) // 2)), color="#4c78a8")
        else:
            axis.text(0.5, 0.5, "not known yet", ha="center", va="center", transform=axis.transAxes)
        axis.set_ylabel("instruments", fontsize=8)
        axis.tick_params(labelsize=8)
    return figure
