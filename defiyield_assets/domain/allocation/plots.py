"""Pictures of a plan: what is held before and after it, and what other caps would gain and risk.

Lives here: what is drawn; this is where exact money becomes float. Not here: its figures (frames.py, frontier.py), how
it becomes bytes (domain/pictures.py), where it is shown (orchestration).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from defiyield_assets.domain.allocation.frames import IDLE
from defiyield_assets.domain.pictures import printable, to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


MOST_POOLS = 20
"""The largest positions, before or after, are drawn."""
BEFORE, AFTER, CHOSEN = "#9fc5e8", "#1b6ca8", "#c0392b"
RISKS = (
    ("low_gain_usd", "gain with every pool at the p10 of its forecast, USD"),
    ("worst_loss_usd", "largest loss if one protocol goes to zero, USD"),
)
"""Column of the horizontal axis and its title."""


def plot_allocations(rows: pd.DataFrame, prices: Mapping[str, float], names: Mapping[str, str] | None = None) -> bytes:
    """PNG of one day of `allocations`: each pool before and after the plan. Same rows, same bytes, in any order.

    `prices` are USD per base unit by token address, `names` titles by pool id.
    """
    return to_png(allocation_figure(rows, prices, names or {}))


def plot_frontier(rows: pd.DataFrame) -> bytes:
    """PNG of one day of `risk_gain_frontier`: gain against both risks, the policy's caps marked."""
    return to_png(frontier_figure(rows))


def allocation_figure(rows: pd.DataFrame, prices: Mapping[str, float], names: Mapping[str, str]) -> "Figure":
    """Pairs of bars, the largest position on top, with what each earns written beside it."""
    from matplotlib.figure import Figure

    pools = _by_pool(rows.sort_values(["pool_id", "token_address"]), prices)
    figure = Figure(figsize=(11.0, 1.6 + 0.38 * max(len(pools), 1)), layout="constrained")
    if pools.empty:
        figure.suptitle("Nothing is held and nothing is planned")
        return figure
    axis = figure.subplots()
    places = np.arange(len(pools), dtype=np.float64)
    axis.barh(places - 0.2, pools["before"].to_numpy(), 0.38, color=BEFORE, label="before")
    axis.barh(places + 0.2, pools["after"].to_numpy(), 0.38, color=AFTER, label="after")
    titles = ["cash" if key == IDLE else printable(names.get(str(key), str(key))) for key in pools.index]
    axis.set_yticks(places, titles, fontsize=8, parse_math=False)
    axis.set_ylim(len(pools) - 0.4, -0.6)
    for place, apy in zip(places, pools["apy"], strict=True):
        if not np.isnan(apy):
            axis.text(1.01, place, f"{apy:.2%}", transform=axis.get_yaxis_transform(), va="center", fontsize=8)
    axis.set_xlabel("USD")
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.set_title(f"Holdings before and after the plan of {rows['date'].iloc[0]}; forecast APY after it at the right")
    axis.grid(axis="x", linewidth=0.3)
    axis.legend(fontsize=8, frameon=False)
    return figure


def _by_pool(rows: pd.DataFrame, prices: Mapping[str, float]) -> pd.DataFrame:
    """Value before and after in USD and diluted APY per pool that is held before or after, the largest first."""
    before = [
        float(amount) * prices[str(token)] if amount else 0.0
        for amount, token in zip(rows["amount_before"], rows["token_address"], strict=True)
    ]
    table = pd.DataFrame(
        {
            "pool_id": rows["pool_id"].astype(str),
            "before": np.array(before, dtype=np.float64),
            "after": np.array([float(value) for value in rows["value_usd"]], dtype=np.float64),
            "apy": rows["diluted_apy"].astype(float),
        }
    )
    pools = table.groupby("pool_id").agg(before=("before", "sum"), after=("after", "sum"), apy=("apy", "first"))
    pools = pools[(pools["before"] > 0) | (pools["after"] > 0)]
    largest = pools[["before", "after"]].max(axis=1)
    return pools.assign(size=largest).sort_values(["size", "pool_id"], ascending=[False, True]).head(MOST_POOLS)


def frontier_figure(rows: pd.DataFrame) -> "Figure":
    """Two panels, one per risk: each point labelled with its caps (pool / protocol), the policy's in red.

    Points without a plan are named below.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 5.2), layout="constrained")
    rows = rows.sort_values("point")
    known = rows[rows["gain_usd"].notna()]
    if known.empty:
        figure.suptitle("No point of the frontier has a plan")
        return figure
    axes: list[Axes] = list(figure.subplots(1, 2, sharey=True))
    for axis, (column, title) in zip(axes, RISKS, strict=True):
        _draw_risk(axis, known[known[column].notna()], column)
        axis.set_xlabel(title)
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.locator_params(axis="x", nbins=5)
        axis.margins(x=0.25, y=0.15)
        axis.grid(linewidth=0.3)
    axes[0].set_ylabel("expected gain over the horizon after costs, USD")
    axes[0].yaxis.set_major_formatter("{x:,.0f}")
    missing = rows[rows["gain_usd"].isna()]
    words = ", ".join(_caps(missing)) or "none"
    figure.suptitle(
        f"{rows['date'].iloc[0]}: gain and risk under other caps (pool / protocol), the policy's in red; "
        f"without a plan: {words}",
        fontsize=10,
    )
    return figure


def _draw_risk(axis: "Axes", rows: pd.DataFrame, column: str) -> None:
    """Every point; those that lie so close that their labels would overlap share one."""
    risks, gains = ([float(value) for value in rows[name]] for name in (column, "gain_usd"))
    labels: dict[tuple[int, int], list[str]] = {}
    places: dict[tuple[int, int], tuple[float, float]] = {}
    for risk, gain, is_own, caps in zip(risks, gains, rows["is_chosen"], _caps(rows), strict=True):
        style: Any = {"marker": "D", "color": CHOSEN, "markersize": 9} if is_own else {"marker": "o", "color": AFTER}
        axis.plot(risk, gain, zorder=3 if is_own else 2, **style)
        cell = (_cell(risk, risks), _cell(gain, gains))
        labels.setdefault(cell, []).append(caps)
        places.setdefault(cell, (risk, gain))
    for cell, names in sorted(labels.items()):
        shown = "\n".join(names[:3]) + ("\n…" if len(names) > 3 else "")
        axis.annotate(shown, places[cell], xytext=(6, 4), textcoords="offset points", fontsize=7)


def _cell(value: float, values: Sequence[float]) -> int:
    """Which of about twelve stretches of the axis a value lies in."""
    span = max(values) - min(values)
    return round(12.0 * (value - min(values)) / span) if span > 0 else 0


def _caps(rows: pd.DataFrame) -> list[str]:
    """Both caps of each point as a label."""
    pairs = zip(rows["max_pool_share"], rows["max_protocol_share"], strict=True)
    return [f"{pool:.0%} / {protocol:.0%}" for pool, protocol in pairs]
