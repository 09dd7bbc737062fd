"""Pictures of pools: what the largest pay and how steadily, as PNG.

Lives here: what is drawn. Not here: its figures (metrics.py), the limits of groups (groups.py), how it becomes bytes
(domain/pictures.py), where it is shown (orchestration).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from defiyield_assets.domain.pictures import printable, to_png
from defiyield_assets.domain.pools.groups import LIMITS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_POOLS = 20
GROUPS = ((1, "1 low", "#5b8c5a"), (2, "2 medium", "#e08e0b"), (3, "3 high", "#c0392b"), (4, "4 unrated", "#7a7a7a"))
"""Number, name and colour."""
PERCENT = 100.0


def plot_metrics(metrics: pd.DataFrame, groups: Mapping[str, int], names: Mapping[str, str] | None = None) -> bytes:
    """PNG of one day of `pool_metrics`: APYs of the largest pools with their spread, and how steady all pools are.

    `groups` are risk groups and `names` titles by pool id. Same rows, same bytes, whatever their order.
    """
    return to_png(metrics_figure(metrics, groups, names or {}))


def metrics_figure(metrics: pd.DataFrame, groups: Mapping[str, int], names: Mapping[str, str]) -> "Figure":
    """The largest pools on the left, spread over a week against spread over a month of all pools on the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.0, 6.5), layout="constrained")
    rows = metrics.sort_values(["tvl_usd", "pool_id"], ascending=[False, True], kind="stable")
    if rows.empty:
        figure.suptitle("No pool is followed on this day")
        return figure
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _largest(left, rows.head(MOST_POOLS).iloc[::-1], names)
    _steadiness(right, rows, groups)
    figure.suptitle(f"Pools of {rows['date'].iloc[0]}: {len(rows)} followed")
    return figure


def _largest(axes: "Axes", rows: pd.DataFrame, names: Mapping[str, str]) -> None:
    places = np.arange(len(rows))
    mean, spread, today = (PERCENT * rows[name].astype(float) for name in ("apy_mean_30d", "apy_std_30d", "apy"))
    axes.errorbar(
        mean, places, xerr=spread.fillna(0.0), fmt="o", color="#1b6ca8", capsize=3, label="mean of 30 days, 1 deviation"
    )
    axes.plot(today, places, "D", color="#e08e0b", markersize=5, label="the day")
    titles = [printable(names.get(pool_id, pool_id)) for pool_id in rows["pool_id"]]
    axes.set_yticks(places, titles, fontsize=8, parse_math=False)
    axes.set_xlabel("APY, % a year")
    axes.set_title(f"The {len(rows)} largest")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)


def _steadiness(axes: "Axes", rows: pd.DataFrame, groups: Mapping[str, int]) -> None:
    group_of = rows["pool_id"].map(dict(groups))
    for number, name, colour in GROUPS:
        own = rows[group_of == number]
        week, month = (PERCENT * own[column].astype(float) for column in ("apy_std_7d", "apy_std_30d"))
        drawn: Any = week.notna() & month.notna()
        if drawn.any():
            axes.scatter(week[drawn], month[drawn], s=16, color=colour, alpha=0.7, label=f"{name}: {int(drawn.sum())}")
    for limit_7d, limit_30d, style in zip(LIMITS["apy_std_7d"], LIMITS["apy_std_30d"], ("--", "-"), strict=True):
        axes.axvline(PERCENT * limit_7d, color="0.5", linestyle=style, linewidth=0.8)
        axes.axhline(PERCENT * limit_30d, color="0.5", linestyle=style, linewidth=0.8)
    axes.set_xscale("symlog", linthresh=0.1)
    axes.set_yscale("symlog", linthresh=0.1)
    axes.set_xlim(left=0.0)
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("deviation of APY over 7 days, percentage points")
    axes.set_ylabel("over 30 days")
    axes.set_title("Steadiness; lines end groups 1 and 2")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(title="risk group", loc="upper left", fontsize=8)
