"""Pictures of forecasts: the scoreboard, and pools with their bands, as PNG.

Lives here: what is drawn. Not here: its figures (scoreboard.py, pools.py), how it becomes bytes (domain/pictures.py),
where it is shown (orchestration, benchmarks).
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from defiyield_assets.domain.forecasting.scoreboard import CHAMPION
from defiyield_assets.domain.pictures import printable, to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#1b6ca8", "#e08e0b", "#5b8c5a", "#9b5094", "#7a7a7a")
"""One for each horizon, the shortest first."""
NOMINAL_COVERAGE = 0.80
COVERAGE_TOLERANCE = 0.02
LEAST_SKILL_SHOWN = -1.0
"""Twice the error of the last value: a bar that goes on below would make all others flat."""
UNITS: Mapping[str, tuple[float, str]] = {"apy": (100.0, "% a year"), "tvl_usd": (1e-6, "m USD")}
"""Factor and unit in which a target is drawn; those that start with apy are like apy."""


def plot_scoreboard(scoreboard: pd.DataFrame, target: str = "apy") -> bytes:
    """PNG of `forecast_scoreboard` for one target: skill and coverage of every model by horizon on the newest date,
    and the champions' skill of 30 days over all dates there are.

    Same rows, same bytes, whatever their order.
    """
    return to_png(scoreboard_figure(scoreboard, target))


def plot_bands(
    histories: pd.DataFrame, forecasts: pd.DataFrame, names: Mapping[str, str] | None = None, target: str = "apy"
) -> bytes:
    """PNG of pools with their bands, one under the other in the order of their ids.

    `histories` has pool_id, date and the target, `forecasts` are rows of `pool_forecasts`; every vintage (as_of) of
    the target is drawn. `names` are titles by pool id. A forecast is that of the mean over its horizon and stands at
    the last day of it. Same rows, same bytes, whatever their order.
    """
    return to_png(bands_figure(histories, forecasts, names or {}, target))


def scoreboard_figure(scoreboard: pd.DataFrame, target: str) -> "Figure":
    """Skill above, coverage and the champions' skill over time below."""
    from matplotlib.figure import Figure

    rows = scoreboard.loc[scoreboard["target"] == target]
    figure = Figure(figsize=(11.0, 8.0), layout="constrained")
    if rows.empty:
        figure.suptitle(f"{target}: no forecast has fallen due yet")
        return figure
    halves: Any = figure.subfigures(2, 1)
    skill = halves[0].subplots()
    coverage, over_time = halves[1].subplots(1, 2)
    newest = rows.loc[rows["date"] == rows["date"].max()]
    models = _by_skill(newest)
    _grouped_bars(skill, newest, models, "skill")
    skill.axhline(0.0, color="black", linewidth=1.0)
    bottom, top = skill.get_ylim()
    skill.set_ylim(max(bottom, LEAST_SKILL_SHOWN), top)
    skill.set_ylabel("skill: 1 - MAE / MAE of the last value")
    skill.set_title(f"{target}: forecasts due in the window up to {newest['date'].iloc[0]}, above 0 is better")
    _grouped_bars(coverage, newest, models, "coverage")
    coverage.axhspan(
        NOMINAL_COVERAGE - COVERAGE_TOLERANCE, NOMINAL_COVERAGE + COVERAGE_TOLERANCE, color="0.85", zorder=0
    )
    coverage.axhline(NOMINAL_COVERAGE, color="black", linewidth=1.0, linestyle="--")
    coverage.set_ylim(0.0, 1.15)
    coverage.set_ylabel("share of actuals within p10 to p90")
    coverage.set_title("Coverage; the line is 80 %")
    _skill_over_time(over_time, rows.loc[rows["model"] == CHAMPION])
    return figure


def bands_figure(histories: pd.DataFrame, forecasts: pd.DataFrame, names: Mapping[str, str], target: str) -> "Figure":
    """One panel for each pool that has a forecast of the target."""
    from matplotlib.figure import Figure

    factor, unit = UNITS.get("apy" if target.startswith("apy") else target, (1.0, ""))
    made = forecasts.loc[forecasts["target"] == target].sort_values(["pool_id", "as_of", "horizon_days"])
    pool_ids = sorted(set(made["pool_id"]))
    figure = Figure(figsize=(11.0, 2.6 * max(len(pool_ids), 1) + 0.4), layout="constrained")
    if not pool_ids:
        figure.suptitle(f"{target}: no forecast")
        return figure
    axes: list[Axes] = list(figure.subplots(len(pool_ids), 1, squeeze=False)[:, 0])
    for axis, pool_id in zip(axes, pool_ids, strict=True):
        history = histories.loc[histories["pool_id"] == pool_id].sort_values("date")
        values = history[target].to_numpy(dtype=np.float64) * factor
        axis.plot(history["date"].to_numpy(), values, color="black", linewidth=1.0, label="observed")
        for number, (as_of, vintage) in enumerate(made.loc[made["pool_id"] == pool_id].groupby("as_of", sort=True)):
            ends = [as_of + timedelta(days=int(days)) for days in vintage["horizon_days"]]
            low, middle, high = (vintage[name].to_numpy(dtype=np.float64) * factor for name in ("p10", "mean", "p90"))
            is_first = number == 0
            axis.fill_between(ends, low, high, color=COLOURS[0], alpha=0.25, label="p10 to p90" if is_first else None)
            axis.plot(
                ends, middle, color=COLOURS[0], marker="o", markersize=3, label="mean forecast" if is_first else None
            )
            axis.axvline(as_of, color="0.7", linewidth=0.8, linestyle=":")
        axis.set_ylabel(f"{target}, {unit}" if unit else target)
        axis.set_title(printable(names.get(pool_id, pool_id)), fontsize=10, loc="left", parse_math=False)
        axis.set_ylim(bottom=0.0)
        axis.grid(axis="y", linewidth=0.3)
    axes[0].legend(loc="upper left", fontsize=8, frameon=False)
    axes[-1].set_xlabel("day; a forecast of the mean over some days stands at the last of them")
    return figure


def _by_skill(rows: pd.DataFrame) -> list[str]:
    """Models with the champion first, the others by mean skill over the horizons, equal ones by name."""
    skill = rows.groupby("model", sort=True)["skill"].agg(lambda values: values.astype(float).mean())
    others = skill.drop(CHAMPION, errors="ignore").sort_values(ascending=False, kind="stable")
    return [*(name for name in (CHAMPION,) if name in skill.index), *(str(name) for name in others.index)]


def _grouped_bars(axis: "Axes", rows: pd.DataFrame, models: Sequence[str], column: str) -> None:
    """One group of bars per model, one bar per horizon; a missing figure leaves a gap."""
    horizons = sorted(set(rows["horizon_days"]))
    width = 0.8 / len(horizons)
    places = np.arange(len(models))
    for number, horizon in enumerate(horizons):
        of_horizon = rows.loc[rows["horizon_days"] == horizon].set_index("model")[column].reindex(list(models))
        offset = (number - (len(horizons) - 1) / 2.0) * width
        heights = of_horizon.to_numpy(dtype=np.float64)
        axis.bar(places + offset, heights, width, color=_colour(number), label=_days(int(horizon)))
    axis.set_xticks(places, [printable(model) for model in models], rotation=35, ha="right", parse_math=False)
    axis.grid(axis="y", linewidth=0.3)
    axis.legend(fontsize=8, frameon=False, ncols=len(horizons))


def _skill_over_time(axis: "Axes", champions: pd.DataFrame) -> None:
    for number, (horizon, rows) in enumerate(champions.groupby("horizon_days", sort=True)):
        by_day = rows.sort_values("date")
        skill = by_day["skill_30d"].to_numpy(dtype=np.float64)
        axis.plot(by_day["date"].to_numpy(), skill, color=_colour(number), marker=".", label=_days(int(str(horizon))))
    axis.axhline(0.0, color="black", linewidth=1.0)
    axis.set_ylabel("skill over the last 30 due days")
    axis.set_xlabel("day")
    axis.set_title("Champions over time")
    axis.tick_params(axis="x", rotation=35)
    axis.grid(axis="y", linewidth=0.3)
    if len(champions):
        axis.legend(fontsize=8, frameon=False)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _days(horizon: int) -> str:
    return "1 day" if horizon == 1 else f"{horizon} days"
