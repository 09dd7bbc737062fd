"""Five pools with their forecasts: what was expected of each week, within its 80 % band, and what happened.

Lives here: drawing. Not here: making the forecasts (forecasting_replay.py).
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.forecasting_panels import Panel
from benchmarks.forecasting_statistics import FROZEN

N_POOLS = 5
HORIZON_DAYS = 7
"""The horizon drawn: weekly origins then tile the time without overlap."""
BAND, EXPECTED, HAPPENED, DAILY = "#9ecae1", "#08519c", "#d94801", "#969696"
HIGHEST_QUANTILE = 0.995
"""Of daily values; what is above would flatten the rest and runs off the picture."""


def largest_pools(panel: Panel, n_pools: int = N_POOLS) -> list[str]:
    """The largest pool by median size of each protocol (the first word of its label), largest first."""
    sizes = panel.histories.groupby("pool_id")["tvl_usd"].median().sort_values(ascending=False, kind="stable")
    found: dict[str, str] = {}
    for pool_id in sizes.index:
        found.setdefault(panel.labels[pool_id].split(" ")[0], str(pool_id))
    return list(found.values())[:n_pools]


def draw(panel: Panel, cells: pd.DataFrame, path: Path, pools: Sequence[str] | None = None) -> None:
    """Write a picture of the champions' forecasts of the total APY, week by week."""
    from matplotlib.figure import Figure

    chosen = list(pools or largest_pools(panel))
    champions = cells[(cells["model"] == FROZEN) & (cells["target"] == "apy")]
    figure = Figure(figsize=(11.0, 2.3 * len(chosen)), layout="constrained")
    axes = figure.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0]
    for axis, pool_id in zip(axes, chosen, strict=True):
        daily = panel.histories[panel.histories["pool_id"] == pool_id]
        _draw_pool(axis, daily, champions[champions["pool_id"] == pool_id])
        axis.set_title(panel.labels[pool_id], loc="left", fontsize=9)
        axis.set_ylabel("APY, %", fontsize=8)
        axis.tick_params(labelsize=8)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names), fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _draw_pool(axis: Any, daily: pd.DataFrame, champions: pd.DataFrame) -> None:
    first = min(champions["origin"]) - timedelta(days=14)
    last = max(champions["origin"]) + timedelta(days=HORIZON_DAYS)
    shown = daily[(daily["date"] >= first) & (daily["date"] <= last)]
    axis.plot(shown["date"], 100.0 * shown["apy"], color=DAILY, linewidth=0.7, label="each day")
    weekly = champions[champions["horizon_days"] == HORIZON_DAYS].sort_values("origin")
    for number, row in enumerate(weekly.itertuples()):
        names = ("80 % band of the week's mean", "expected mean", "what it was") if number == 0 else (None,) * 3
        days = [row.origin + timedelta(days=1), row.origin + timedelta(days=HORIZON_DAYS + 1)]
        axis.fill_between(days, 100.0 * row.p10, 100.0 * row.p90, color=BAND, alpha=0.7, linewidth=0, label=names[0])
        axis.plot(days, [100.0 * row.forecast] * 2, color=EXPECTED, linewidth=1.2, label=names[1])
        axis.plot(days, [100.0 * row.actual] * 2, color=HAPPENED, linewidth=1.2, label=names[2])
    highest = np.nanquantile(100.0 * shown["apy"].to_numpy(dtype=float), HIGHEST_QUANTILE)
    axis.set_ylim(0.0, 1.15 * max(highest, 100.0 * float(weekly["p90"].quantile(0.9)), 0.1))
    axis.set_xlim(first, last)
