"""The tables of the forecasting benchmark: accuracy, coverage, speed.

Lives here: their words. Not here: the arithmetic (forecasting_statistics.py) or the options (forecasting.py).
"""

from typing import Any

import pandas as pd

from benchmarks import forecasting_statistics as statistics
from benchmarks.forecasting_panels import Panel
from benchmarks.forecasting_speed import ModelSpeed, Timing
from benchmarks.forecasting_statistics import FROZEN, NAIVE
from defiyield_assets.domain.forecasting.costly import COSTLY_MODELS
from defiyield_assets.domain.forecasting.models import CHEAP_MODELS
from defiyield_assets.domain.forecasting.pooled import BLEND, POOLED
from defiyield_assets.domain.forecasting.pools import HORIZONS

BASELINES = ("last_value", "ewma_02", "ewma_03", "ewma_05", "ses", "median_7", "median_30")
"""Single models against whose best the procedure is held."""
CANDIDATES = (*(model.name for model in CHEAP_MODELS), POOLED, BLEND, *(model.name for model in COSTLY_MODELS))
SCORED = "apy"
N_NAMED = 6
"""Champions that are named, the most frequent ones."""
OTHER_TARGETS = ("apy_base", "apy_reward", "tvl_usd")


def row(name: str, *cells: Any) -> None:
    """One line of a table."""
    print(f"{name:<30}" + "".join(f"{cell:>15}" for cell in cells))


def of(cells: pd.DataFrame, target: str, horizon: int) -> pd.DataFrame:
    """Cells of one target and horizon."""
    return cells[(cells["target"] == target) & (cells["horizon_days"] == horizon)]


def accuracy_tables(panel: Panel, cells: pd.DataFrame) -> dict[str, float]:
    """Every candidate and the frozen procedure on the total APY, then the procedure on the other targets."""
    figures = {}
    for horizon in HORIZONS:
        scored = of(cells, SCORED, horizon)
        told = [name for name in CANDIDATES if name in set(scored["model"])]
        print()
        row(f"{panel.name}, {SCORED}, {horizon} d", "n", "MAE, points", "ratio", "95 % interval", "median", "beaten")
        for name in (NAIVE, *told, FROZEN):
            found = statistics.accuracy(scored, name, horizon)
            interval = f"{found.low:.3f} - {found.high:.3f}"
            cells_told = (f"{100 * found.mae:.3f}", f"{found.ratio:.3f}", interval, f"{found.median_ratio:.3f}")
            row(name, found.n_forecasts, *cells_told, f"{found.share_beaten:.0%}")
        figures[f"mae_ratio_{horizon}d"] = found.ratio
        best = statistics.best_of(scored, [name for name in BASELINES if name in told])
        gap = statistics.difference(scored, FROZEN, best, horizon)
        figures[f"difference_to_best_single_{horizon}d"] = gap.difference
        interval = f"{gap.low:+.3f} to {gap.high:+.3f}"
        print(f"{FROZEN} minus the best single baseline, {best}: {gap.difference:+.3f} ({interval})")
        print(f"champions: {counts_of(scored, 'champion')}; by tier: {counts_of(scored, 'tier')}")
    other_targets(panel, cells)
    return figures


def counts_of(scored: pd.DataFrame, column: str) -> str:
    """How often each value stands in a column of the champions' cells, in words."""
    counts = scored.loc[scored["model"] == FROZEN, column].value_counts(normalize=True)
    told = [f"{name} {share:.0%}" for name, share in counts.head(N_NAMED).items()]
    others = [f"others {counts.iloc[N_NAMED:].sum():.0%}"] if len(counts) > N_NAMED else []
    return ", ".join(told + others)


def other_targets(panel: Panel, cells: pd.DataFrame) -> None:
    """The procedure on the parts of the APY and on size, beside the best single baseline."""
    print()
    row(f"{panel.name}, other targets", "n", "ratio", "95 % interval", "best baseline", "its ratio", "median", "beaten")
    for target in OTHER_TARGETS:
        for horizon in HORIZONS:
            scored = of(cells, target, horizon)
            if not (scored["naive"] - scored["actual"]).abs().sum() > 0:  # never observed, or never moved
                continue
            found = statistics.accuracy(scored, FROZEN, horizon)
            best = statistics.best_of(scored, BASELINES)
            beside = statistics.accuracy(scored, best, horizon)
            interval = f"{found.low:.3f} - {found.high:.3f}"
            told = (f"{found.ratio:.3f}", interval, best, f"{beside.ratio:.3f}", f"{found.median_ratio:.3f}")
            row(f"{target}, {horizon} d", found.n_forecasts, *told, f"{found.share_beaten:.0%}")


def coverage_tables(panel: Panel, cells: pd.DataFrame) -> dict[str, float]:
    """Shares inside the 80 % band of the champions, counted where the value is above 0 and the band is no point."""
    champions = cells[cells["model"] == FROZEN]
    print()
    row(f"{panel.name}, 80 % bands", *(f"{horizon} d" for horizon in HORIZONS), "all horizons", "n")
    for target in (SCORED, *OTHER_TARGETS):
        rows = champions[champions["target"] == target]
        if statistics.coverage(rows).n_forecasts:
            coverage_row(target, rows)
    total = champions[champions["target"] == SCORED]
    groups = {int(group): rows for group, rows in total.groupby("pool_group")}
    shares = [coverage_row(f"{SCORED}, risk group {group}", rows) for group, rows in groups.items()]
    crossed = statistics.crossings(cells[cells["p10"].notna()])
    widths = ", ".join(
        f"{100 * statistics.coverage(total[total['horizon_days'] == horizon]).mean_width:.2f}" for horizon in HORIZONS
    )
    print(f"mean width of the bands of {SCORED}, points: {widths}; quantiles that cross: {crossed}")
    return {
        "coverage_80": statistics.coverage(total).share,
        "coverage_80_lowest_group": min(shares),
        "coverage_80_highest_group": max(shares),
        "crossings": crossed,
    }


def coverage_row(name: str, rows: pd.DataFrame) -> float:
    """One line of shares by horizon; returns that of all horizons."""
    total = statistics.coverage(rows)
    shares = [statistics.coverage(rows[rows["horizon_days"] == horizon]).share for horizon in HORIZONS]
    row(name, *(f"{share:.3f}" for share in [*shares, total.share]), total.n_forecasts)
    return total.share


def day_row(timing: Timing) -> None:
    """One line about a whole day's work."""
    row(timing.name, f"{timing.seconds:.1f}", f"{timing.cpu_seconds:.1f}", timing.n_rows)


def model_row(speed: ModelSpeed) -> None:
    """One line about a model."""
    row(speed.model, speed.n_fits, f"{speed.cpu_seconds:.2f}", f"{speed.per_second:,.0f}")
