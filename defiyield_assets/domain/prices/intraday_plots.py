"""Picture of imported bars below a day: closes, and where a bar hides a jump, as PNG.

Lives here: what is drawn. Not here: which bars are masked gaps (intraday.py), how it becomes bytes
(domain/pictures.py).
"""

from typing import TYPE_CHECKING, Any

import pandas as pd

from defiyield_assets.domain.pictures import printable, to_png
from defiyield_assets.domain.prices.intraday import MASKED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_SERIES = 4


def plot_intraday(bars: pd.DataFrame) -> bytes:
    """PNG of the first series of `intraday_bars`, one panel each. Same rows, same bytes, whatever their order."""
    return to_png(intraday_figure(bars))


def intraday_figure(bars: pd.DataFrame) -> "Figure":
    """Closes in USD over time, and the range of every masked gap as a red line; times without bars stay empty."""
    from matplotlib.figure import Figure

    series = list(bars.sort_values(["instrument_id", "interval", "ts"]).groupby(["instrument_id", "interval"]))
    figure = Figure(figsize=(11.0, 2.6 * max(1, min(len(series), MOST_SERIES))), layout="constrained")
    axes: Any = figure.subplots(max(1, min(len(series), MOST_SERIES)), 1, squeeze=False)
    for axis, ((name, interval), part) in zip(axes.ravel(), series, strict=False):
        stamps = part["ts"].dt.tz_localize(None)
        is_behind_hole = stamps.diff() > 2 * stamps.diff().median()
        axis.plot(stamps, part["close"].mask(is_behind_hole), linewidth=0.6, color="#4c78a8")
        hidden = part[part["quality"] == MASKED]
        axis.vlines(stamps[hidden.index], hidden["low"], hidden["high"], color="#e45756", linewidth=1.2)
        title = f"{name} {interval}: {len(part):,} bars, red: {len(hidden)} masked gaps"
        axis.set_title(printable(title), fontsize=9, parse_math=False)
        axis.set_ylabel("USD", fontsize=8)
        axis.tick_params(labelsize=8)
    return figure
