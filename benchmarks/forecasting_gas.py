"""Gas forecasts replayed over the ten recorded years: accuracy and coverage of the frozen procedure, day by day.

Lives here: the replay and its tables. Not here: the forecasts themselves (defiyield_assets/domain/forecasting/gas.py)
or the other parts of the forecasting benchmark (forecasting.py).
"""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.forecasting.gas import GAS_HORIZONS, GAS_TRAINING_DAYS, champion_of
from defiyield_assets.domain.forecasting.gas_bands import bounds_of_every_day, log_gwei
from defiyield_assets.domain.forecasting.gas_models import GAS_MODELS, gas_series_of
from defiyield_assets.domain.forecasting.panel import day_number

FIRST_ORIGIN = date(2019, 1, 1)
CHAMPION = "champion"
NAIVE = "last_value"
ALL = "all"
BATCH = 250
"""Windows whose bands are made at once; bounds memory."""
RECORDED_FILE = "gas/etherscan_avg_gas_price_daily_*.csv"
WEI_PER_GWEI = 1e9


def recorded_gas(folder: Path) -> pd.Series:
    """Average gas price in gwei by day, without the days before the first transaction."""
    (path,) = sorted(folder.glob(RECORDED_FILE))
    recorded = pd.read_csv(path)
    days = [stamp.date() for stamp in pd.to_datetime(recorded.iloc[:, 0])]
    gwei = pd.Series(recorded.iloc[:, 2].to_numpy(dtype=np.float64) / WEI_PER_GWEI, index=days)
    return gwei[gwei > 0]


def daily_origins(gwei: pd.Series, first: date = FIRST_ORIGIN, every: int = 1) -> list[date]:
    """Days from `first` on, each with at least one day after it."""
    n_days = (gwei.index[-1] - first).days
    return [first + timedelta(days=day) for day in range(0, n_days, every)]


def replay_gas(gwei: pd.Series, origins: Sequence[date]) -> pd.DataFrame:
    """What every candidate and the champion said on each origin, and what came.

    Rows: origin, horizon_days, model (CHAMPION or a candidate), chosen (the champion's name), forecast, p10, p90 (of
    the champion), actual; gwei. Equal to `forecast_gas` on GAS_TRAINING_DAYS up to the origin, only with many bands
    made at once. Horizons that are not over are left out. Raises ValueError when history begins too late or has gaps.
    """
    values, first_day = gwei.to_numpy(dtype=np.float64), gwei.index[0]
    if (gwei.index[-1] - first_day).days != len(values) - 1:
        raise ValueError("a day is missing between the first and the last one")
    ends = np.array([(origin - first_day).days + 1 for origin in origins])
    if ends.min() < GAS_TRAINING_DAYS:
        raise ValueError(f"{min(origins)} has fewer than {GAS_TRAINING_DAYS} days before it")
    frames = [_replay(values, first_day, ends[at : at + BATCH]) for at in range(0, len(ends), BATCH)]
    return pd.concat(frames, ignore_index=True)


def accuracy_of(replayed: pd.DataFrame) -> pd.DataFrame:
    """Error relative to the last value by model and horizon: ratio of mean absolute errors in gwei and of logs."""
    losses = replayed.assign(
        gwei=(replayed["forecast"] - replayed["actual"]).abs(),
        log=np.log(replayed["forecast"] / replayed["actual"]).abs(),
    )
    means = losses.pivot_table(index="model", columns="horizon_days", values=["gwei", "log"], sort=False)
    return means / means.loc[NAIVE]


def coverage_of(replayed: pd.DataFrame) -> pd.DataFrame:
    """Share of actual values up to p90, and from p10 on, by year and overall, in columns by horizon."""
    said = replayed[replayed["model"] == CHAMPION]
    hits = said.assign(
        p90=(said["actual"] <= said["p90"]).astype(float),
        p10=(said["actual"] >= said["p10"]).astype(float),
        year=[str(day.year) for day in said["origin"]],
    )
    shares = hits.pivot_table(
        index="year", columns="horizon_days", values=["p90", "p10"], margins=True, margins_name=ALL
    )
    return shares.drop(columns=ALL, level="horizon_days")


def gas_tables(folder: Path) -> dict[str, float]:
    """Print accuracy and coverage of gas forecasts on the recorded series; returns the key figures.

    The ratios are those of weekly origins from 2019-01-01 on: the same origins on which EWMA 0.3 has the 0.79 and 0.80
    that the specification gives for it.
    """
    replayed = replay_gas(gwei := recorded_gas(folder), daily_origins(gwei))
    weekly = replayed[[(origin - FIRST_ORIGIN).days % 7 == 0 for origin in replayed["origin"]]]
    ratios, coverage = accuracy_of(weekly), coverage_of(replayed)
    champions = replayed[replayed["model"] == CHAMPION]
    tables = {
        f"gas, {weekly['origin'].nunique()} weekly origins from {FIRST_ORIGIN}: error / last value's": ratios,
        f"gas, {replayed['origin'].nunique()} daily origins: error / last value's": accuracy_of(replayed),
        "gas, the same by weekday of the origin (0 Monday), champion, gwei": _by_weekday(replayed),
        "gas, daily origins: share of actual values up to p90, and from p10 on": coverage,
        "gas, days on which a model was champion": pd.crosstab(champions["horizon_days"], champions["chosen"]),
    }
    for title, table in tables.items():
        print(f"\n{title}\n{table.round(3).to_string()}")
    years = coverage.drop(index=ALL)["p90"]
    return {
        "gas_mae_ratio_7d": float(ratios.loc[CHAMPION, ("gwei", 7)]),
        "gas_mae_ratio_30d": float(ratios.loc[CHAMPION, ("gwei", 30)]),
        "gas_p90_coverage_lowest_year": float(years.min().min()),
        "gas_p90_coverage_highest_year": float(years.max().max()),
    }


def _by_weekday(replayed: pd.DataFrame) -> pd.DataFrame:
    weekdays = replayed["origin"].map(date.weekday)
    parts = {day: accuracy_of(rows).loc[CHAMPION, "gwei"] for day, rows in replayed.groupby(weekdays)}
    return pd.DataFrame(parts)


def _replay(values: NDArray[np.float64], first_day: date, ends: NDArray[np.int64]) -> pd.DataFrame:
    """Rows of the origins whose windows end before the columns `ends`."""
    windows = np.stack([values[end - GAS_TRAINING_DAYS : end] for end in ends])
    names = list(GAS_MODELS)
    told = np.empty((len(GAS_HORIZONS), len(names), len(ends)))
    chosen = np.empty((len(GAS_HORIZONS), len(ends)), dtype=np.int64)
    paths = np.empty((len(GAS_HORIZONS), *windows.shape))
    for place, end in enumerate(ends):
        series = gas_series_of(log_gwei(windows[place]), day_number(first_day) + int(end) - 1)
        said = np.stack([model.forecast(series, GAS_HORIZONS) for model in GAS_MODELS.values()], axis=1)
        for row, horizon in enumerate(GAS_HORIZONS):
            champion = champion_of(said[row], windows[[place]], horizon)
            told[row, :, place], paths[row, place] = said[row, :, -1], said[row, champion]
            chosen[row, place] = champion
    frames = []
    for row, horizon in enumerate(GAS_HORIZONS):
        p10, p90 = np.exp(bounds_of_every_day(paths[row], windows, horizon)[:, :, -1])
        is_over = ends + horizon <= len(values)
        rows = pd.DataFrame(
            {
                "origin": [first_day + timedelta(days=int(end) - 1) for end in ends],
                "horizon_days": horizon,
                "chosen": [names[champion] for champion in chosen[row]],
                "p10": p10,
                "p90": p90,
                "actual": [values[end : end + horizon].mean() for end in ends],
            }
        )
        forecasts = {CHAMPION: np.exp(paths[row, :, -1]), **dict(zip(names, np.exp(told[row]), strict=True))}
        frames += [rows.assign(model=name, forecast=forecast)[is_over] for name, forecast in forecasts.items()]
    return pd.concat(frames, ignore_index=True)
