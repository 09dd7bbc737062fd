"""Pictures of the icebox: what watched tokens were worth against their reference, as PNG.

Lives here: what is drawn. Not here: who is barred (icebox.py), how it becomes bytes (domain/pictures.py), where it is
shown (orchestration).
"""

from datetime import date, timedelta
from typing import TYPE_CHECKING

import pandas as pd

from defiyield_assets.domain.pictures import printable, to_png
from defiyield_assets.domain.policy import Parameters, Policy
from defiyield_assets.domain.selection.icebox import WATCHED_PEGS, WINDOW_DAYS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NAMED = 8
"""Barred tokens that have a colour and a name; more would be told apart by nobody."""
DEEPEST = -10.0
"""Percent at which the axis ends: a token that fell to nothing would make all others flat."""


def plot_icebox(bars: pd.DataFrame, icebox: pd.DataFrame, policy: Policy, day: date) -> bytes:
    """PNG of the icebox of `day`: closes of watched tokens over 30 days as a distance from their reference, barred ones
    by name, with the limits of entering. `bars` are rows of `daily_bars`. Same rows, same bytes, in any order.
    """
    return to_png(icebox_figure(bars, icebox, policy, day))


def distances(bars: pd.DataFrame, policy: Policy, day: date) -> pd.DataFrame:
    """Closes of watched tokens as a distance from their reference in percent: one column for each, by day.

    The reference of a token that accrues is its highest close so far in the window.
    """
    watched = {token.instrument_id: token for token in policy.tokens if token.peg in WATCHED_PEGS}
    first = day - timedelta(days=WINDOW_DAYS)
    own = bars[bars["instrument_id"].isin(list(watched)) & (bars["date"] > first) & (bars["date"] <= day)]
    if own.empty:
        return pd.DataFrame()
    closes = own.pivot_table(index="date", columns="instrument_id", values="close", aggfunc="last").sort_index()
    accruing = [name for name in closes.columns if watched[str(name)].peg == "accruing"]
    reference = closes.cummax()
    reference.loc[:, ~reference.columns.isin(accruing)] = 1.0
    return 100.0 * (closes / reference - 1.0)


def icebox_figure(bars: pd.DataFrame, icebox: pd.DataFrame, policy: Policy, day: date) -> "Figure":
    """One axis: grey for tokens that may be used, coloured for the barred ones."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 5.0), layout="constrained")
    told = distances(bars, policy, day)
    if told.empty:
        figure.suptitle(f"No watched token has a bar up to {day}")
        return figure
    keys = {(token.chain, token.address): token for token in policy.tokens}
    barred = icebox.sort_values(["symbol", "chain", "address"], kind="stable")
    tokens = [keys.get(key) for key in zip(barred["chain"], barred["address"], strict=True)]
    named = [token for token in tokens if token is not None and token.instrument_id in told.columns][:MOST_NAMED]
    axes = figure.subplots()
    dates = pd.to_datetime(pd.Index(told.index))
    for name in told.columns.difference([token.instrument_id for token in named]):
        axes.plot(dates, told[name], color="0.75", linewidth=0.8)
    for number, token in enumerate(named):
        colour = colormaps["tab10"](number)
        axes.plot(dates, told[token.instrument_id], color=colour, linewidth=1.8, label=printable(token.symbol))
    _limits(axes, policy.parameters)
    axes.set_ylim(bottom=max(axes.get_ylim()[0], DEEPEST))
    axes.set_ylabel("close against the reference, %")
    count = "1 token" if len(barred) == 1 else f"{len(barred)} tokens"
    axes.set_title(f"{count} in the icebox at the end of {day}; grey: the others that are watched")
    for told_name in axes.legend(loc="lower left", fontsize=8, ncols=2).get_texts():
        told_name.set_parse_math(False)
    return figure


def _limits(axes: "Axes", parameters: Parameters) -> None:
    for depth, name, style in (
        (parameters.icebox_close_depth, "close that bars", "--"),
        (parameters.icebox_low_depth, "low that bars", ":"),
    ):
        axes.axhline(-100.0 * depth, color="#c0392b", linestyle=style, linewidth=1.0, label=name)
