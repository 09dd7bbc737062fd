"""Moments of yields, sizes, prices and gas: the same arithmetic for recorded files and for a market's public answers.

Lives here: panels and their statistics. Not here: which bands they must lie in (test_moments.py). APYs in percent, USD.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from defiyield_assets.domain.days import start_of
from defiyield_assets.simulator.market import Market

Matrix = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Moments = dict[str, float]
FIELDS = ("apy", "apyReward", "tvlUsd")
MIN_POINTS = 90
"""Points that a series needs to be looked at day by day."""
_LEAST_APY, _LEAST_TVL = 0.01, 1_000.0
"""Below these the logarithm says more about rounding than about the pool."""


_LEAST_DAYS_OF_A_YEAR = 270


@dataclass(frozen=True)
class Panel:
    """Matrices of shape (days, series) over consecutive days; NaN where the vendor has no point."""

    first: date
    apy: Matrix
    reward: Matrix
    tvl: Matrix

    @property
    def is_present(self) -> Flags:
        """Where there is a point."""
        return ~np.isnan(self.apy)

    @property
    def is_weekend(self) -> Flags:
        """Which days are Saturdays and Sundays."""
        weekdays = (self.first.weekday() + np.arange(len(self.apy))) % 7
        return weekdays >= 5


# --- from files and from markets ---------------------------------------------------------------------------------
def panel_of(points: pd.DataFrame) -> Panel:
    """A panel of points with columns `series`, `date` and FIELDS."""
    dated = points.assign(date=pd.to_datetime(points["date"]))
    wide = {
        name: dated.pivot_table(index="date", columns="series", values=name, aggfunc="last", dropna=False).asfreq("D")
        for name in FIELDS
    }
    matrices = [wide[name].to_numpy(dtype=float) for name in FIELDS]
    return Panel(wide["apy"].index[0].date(), *matrices)


def recorded_panel(folder: Path, pattern: str, series: str) -> Panel:
    """A recorded parquet panel of `/chart` points."""
    (path,) = sorted((folder / "yields").glob(pattern))
    return panel_of(pd.read_parquet(path).rename(columns={series: "series"}))


def market_panel(market: Market, rows: Sequence[Mapping[str, Any]], day: date, days: int) -> Panel:
    """What `/chart` tells on `day` of the pools in `rows` about the last `days` days."""
    first = (day - timedelta(days=days - 1)).isoformat()
    points = [
        (row["pool"], point["timestamp"][:10], *(point[name] for name in FIELDS))
        for row in rows
        for point in market.chart_points(row["pool"], day) or ()
        if point["timestamp"] >= first
    ]
    frame = pd.DataFrame(points, columns=["series", "date", *FIELDS])
    return panel_of(frame.astype(dict.fromkeys(FIELDS, float)))


# --- arithmetic ----------------------------------------------------------------------------------------------------
def autocorrelation(matrix: Matrix, lag: int) -> Matrix:
    """Correlation of each column with itself `lag` rows before, over the pairs that both have."""
    later, earlier = matrix[lag:], matrix[:-lag]
    both = ~np.isnan(later) & ~np.isnan(earlier)
    later, earlier = np.where(both, later, np.nan), np.where(both, earlier, np.nan)
    a, b = later - np.nanmean(later, axis=0), earlier - np.nanmean(earlier, axis=0)
    scale = np.sqrt(np.nansum(a * a, axis=0) * np.nansum(b * b, axis=0))
    found: Matrix = np.where(scale > 0, np.nansum(a * b, axis=0) / np.where(scale > 0, scale, 1.0), np.nan)
    return found


def excess_kurtosis(matrix: Matrix) -> Matrix:
    """Excess kurtosis of each column."""
    centred = matrix - np.nanmean(matrix, axis=0)
    variance = np.nanmean(centred**2, axis=0)
    found: Matrix = np.nanmean(centred**4, axis=0) / np.where(variance > 0, variance, np.nan) ** 2 - 3
    return found


def hill(values: Matrix, share: float = 0.05) -> float:
    """Hill's tail index of the largest `share` of the positive values: the smaller, the heavier the tail."""
    ordered = np.sort(values[values > 0])[::-1]
    count = max(int(len(ordered) * share), 5)
    return float(1 / np.mean(np.log(ordered[:count] / ordered[count])))


def runs(flags: Flags) -> npt.NDArray[np.int64]:
    """Lengths of the runs of True down every column."""
    fence = np.zeros((1, flags.shape[1]), dtype=np.int8)
    steps = np.diff(np.vstack([fence, flags.astype(np.int8), fence]), axis=0).T
    begins, ends = np.nonzero(steps == 1)[1], np.nonzero(steps == -1)[1]
    return ends - begins


def _log(matrix: Matrix, least: float) -> Matrix:
    return np.log(np.where(matrix > least, matrix, np.nan))


def _lively(logs: Matrix) -> Matrix:
    """The columns with enough changes to be measured."""
    changes = np.diff(logs, axis=0)
    known = (~np.isnan(changes)).sum(axis=0) > 60
    kept: Matrix = logs[:, known]
    return kept[:, np.nanstd(np.diff(kept, axis=0), axis=0) > 0.005]


# --- yields --------------------------------------------------------------------------------------------------------
def yield_moments(panel: Panel) -> Moments:
    """How the APYs and sizes of many pools live, from day to day."""
    long = panel.is_present.sum(axis=0) >= MIN_POINTS
    some = Panel(panel.first, panel.apy[:, long], panel.reward[:, long], panel.tvl[:, long])
    return {
        **_apy_moments(some),
        **_spike_moments(some),
        **_size_moments(some),
        **_silence_moments(panel, some),
        **_programme_moments(panel),
    }


def _apy_moments(panel: Panel) -> Moments:
    logs = _lively(_log(panel.apy, _LEAST_APY))
    changes = np.diff(logs, axis=0)
    sizes = np.abs(changes)
    own = np.nanmedian(sizes, axis=0)
    weekly = np.diff(logs[::7], axis=0)
    common = pd.DataFrame(weekly).corr(min_periods=20).to_numpy()
    weekend = panel.is_weekend
    week_mean = pd.DataFrame(logs).rolling(7, center=True).mean().to_numpy()
    return {
        "APY: autocorrelation of the level, 1 day": float(np.nanmedian(autocorrelation(logs, 1))),
        "APY: autocorrelation of the level, 7 days": float(np.nanmedian(autocorrelation(logs, 7))),
        "APY: autocorrelation of the level, 30 days": float(np.nanmedian(autocorrelation(logs, 30))),
        "APY: autocorrelation of changes, 1 day": float(np.nanmedian(autocorrelation(changes, 1))),
        "APY: median daily change (log)": float(np.nanmedian(own)),
        "APY: change of lively over change of calm pools (p90/p10)": float(np.divide(*np.nanquantile(own, [0.9, 0.1]))),
        "APY: deviation of daily changes (log)": float(np.nanmedian(np.nanstd(changes, axis=0))),
        "APY: kurtosis of daily changes": float(np.nanmedian(excess_kurtosis(changes))),
        "APY: p99 over median of daily changes": float(np.divide(*np.nanquantile(sizes, [0.99, 0.5]))),
        "APY: deviation of the level within a year (log)": float(np.nanmedian(np.nanstd(logs, axis=0))),
        "APY: correlation of weekly changes between pools": float(
            np.nanmedian(common[np.triu_indices_from(common, 1)])
        ),
        "APY: weekend over weekday change": _weekend_ratio(sizes, weekend),
        "APY: weekend level (log)": float(np.nanmean((logs - week_mean)[weekend])),
    }


def _weekend_ratio(sizes: Matrix, is_weekend: Flags) -> float:
    """Median change into Saturdays and Sundays over the one into the other days."""
    into = is_weekend[1:]
    return float(np.nanmedian(sizes[into]) / np.nanmedian(sizes[~into]))


def _spike_moments(panel: Panel) -> Moments:
    """A spike: an APY of more than three (or five) times the median of the thirty days before."""
    apy = np.where(panel.apy > _LEAST_APY, panel.apy, np.nan)
    usual = pd.DataFrame(apy).rolling(30, min_periods=15).median().shift(1).to_numpy()
    is_known = ~np.isnan(apy) & ~np.isnan(usual)
    lengths = runs(is_known & (apy > 3 * usual))
    return {
        "spikes a pool and year": float(len(lengths) / is_known.sum() * 365),
        "spikes: mean length (days)": float(lengths.mean()) if len(lengths) else 0.0,
        "spikes: share of days": float(lengths.sum() / is_known.sum()),
        "spikes above fivefold a pool and year": float(len(runs(is_known & (apy > 5 * usual))) / is_known.sum() * 365),
    }


def _size_moments(panel: Panel) -> Moments:
    logs = _lively(_log(panel.tvl, _LEAST_TVL))
    changes = np.diff(logs, axis=0)
    sizes = np.abs(changes)
    return {
        "TVL: median daily change (log)": float(np.nanmedian(np.nanmedian(sizes, axis=0))),
        "TVL: deviation of daily changes (log)": float(np.nanmedian(np.nanstd(changes, axis=0))),
        "TVL: kurtosis of daily changes": float(np.nanmedian(excess_kurtosis(changes))),
        "TVL: p99 of daily changes (log)": float(np.nanquantile(sizes, 0.99)),
        "TVL: deviation of changes in 30 days (log)": float(np.nanmedian(np.nanstd(logs[30:] - logs[:-30], axis=0))),
        "TVL: deviation of the level within a year (log)": float(np.nanmedian(np.nanstd(logs, axis=0))),
        "TVL: autocorrelation of changes, 1 day": float(np.nanmedian(autocorrelation(changes, 1))),
        "TVL: weekend over weekday change": _weekend_ratio(sizes, panel.is_weekend),
    }


def _silence_moments(panel: Panel, long: Panel) -> Moments:
    """Days without a point inside a series' life, and days on which the last point is told again."""
    present = panel.is_present
    lived = np.maximum.accumulate(present, axis=0) & np.maximum.accumulate(present[::-1], axis=0)[::-1]
    gaps = runs(lived & ~present)
    repeats = (np.diff(long.apy, axis=0) == 0) & (np.diff(long.tvl, axis=0) == 0) & (long.apy[1:] > 0)
    repeated = runs(repeats)
    return {
        "gaps a pool and year": float(len(gaps) / lived.sum() * 365),
        "gaps: median length (days)": float(np.median(gaps)) if len(gaps) else 0.0,
        "gaps: p90 of the length (days)": float(np.quantile(gaps, 0.9)) if len(gaps) else 0.0,
        "gaps: share of days": float(gaps.sum() / lived.sum()),
        "stuck: share of days": float(repeats.sum() / (long.apy > 0).sum()),
        "stuck: p90 of the length (days)": float(np.quantile(repeated, 0.9)) if len(repeated) else 0.0,
    }


PROGRAMME_MOMENTS = (
    "rewards: share of pools that ever have them",
    "rewards: share of days of these pools",
    "rewards: begins and ends a year of these pools",
    "rewards: median length of a programme (days)",
    "rewards: p90 of the length of a programme (days)",
    "rewards: median share of the APY",
    "rewards: p90 of the share of the APY",
    "rewards: median daily change (log)",
)


def _programme_moments(panel: Panel) -> Moments:
    """A programme: consecutive days with a reward APY."""
    is_rewarded, present = np.nan_to_num(panel.reward) > 0, panel.is_present
    rewarded_pools = is_rewarded.any(axis=0)
    lengths = runs(is_rewarded)
    if not len(lengths):
        return dict.fromkeys(PROGRAMME_MOMENTS, 0.0)
    both = present[1:] & present[:-1]
    switches = (is_rewarded[1:] != is_rewarded[:-1]) & both
    share = panel.reward[is_rewarded & (panel.apy > 0)] / panel.apy[is_rewarded & (panel.apy > 0)]
    changes = np.abs(np.diff(np.log(np.where(is_rewarded, np.maximum(panel.reward, 0.01), np.nan)), axis=0))
    n_days = present[:, rewarded_pools].sum()
    found = (
        rewarded_pools.mean(),
        is_rewarded.sum() / n_days,
        switches[:, rewarded_pools].sum() / n_days * 365,
        *np.quantile(lengths, [0.5, 0.9]),
        *np.quantile(share, [0.5, 0.9]),
        np.nanmedian(changes),
    )
    return {name: float(value) for name, value in zip(PROGRAMME_MOMENTS, found, strict=True)}


# --- one day's pools -----------------------------------------------------------------------------------------------
def apy_distribution(apy: Matrix) -> Moments:
    """APYs of all pools of one day."""
    positive = apy[apy > 0.005]
    return {
        "share without any yield": float((apy == 0).mean()),
        "median of the others": float(np.median(positive)),
        "deviation of the logarithm": float(np.std(np.log(positive))),
        "share above 50 %": float((apy > 50).mean()),
        "share above 100 %": float((apy > 100).mean()),
        "p90": float(np.quantile(apy, 0.9)),
        "p99": float(np.quantile(apy, 0.99)),
        "tail index (Hill, 5 %)": hill(apy),
    }


def size_distribution(tvl: Matrix) -> Moments:
    """Sizes of all pools of one day."""
    return {
        "median (USD)": float(np.median(tvl)),
        "p10 (USD)": float(np.quantile(tvl, 0.1)),
        "p99 (USD)": float(np.quantile(tvl, 0.99)),
        "deviation of the logarithm": float(np.std(np.log(tvl[tvl > 0]))),
        "tail index (Hill, 5 %)": hill(tvl),
        "share of the largest 1 %": float(np.sort(tvl)[-max(len(tvl) // 100, 1) :].sum() / tvl.sum()),
    }


def listing_moments(days: Sequence[set[str]], stale_share: float, rewarded_share: float) -> Moments:
    """Two listings a week apart: who came, who went; and how many rows of a listing are old or rewarded."""
    before, after = days
    return {
        "pools that appear in a week": len(after - before) / len(before),
        "pools that vanish in a week": len(before - after) / len(before),
        "share of rows older than a day": stale_share,
        "share of rows with reward tokens": rewarded_share,
    }


# --- prices and gas ------------------------------------------------------------------------------------------------
def peg_moments(closes: Sequence[Matrix]) -> Moments:
    """Deviations of dollar tokens' closes from 1: the median token, and the worst day of all."""
    own = [close - 1 for close in closes]
    columns = [one[:, None] for one in own]
    return {
        "deviation from par": float(np.median([one.std() for one in own])),
        "median distance from par": float(np.median([np.median(np.abs(one)) for one in own])),
        "p99 of the distance from par": float(np.median([np.quantile(np.abs(one), 0.99) for one in own])),
        "kurtosis": float(np.median([excess_kurtosis(column)[0] for column in columns])),
        "autocorrelation, 1 day": float(np.median([autocorrelation(column, 1)[0] for column in columns])),
        "autocorrelation, 7 days": float(np.median([autocorrelation(column, 7)[0] for column in columns])),
        "autocorrelation of changes": float(np.median([autocorrelation(np.diff(c, axis=0), 1)[0] for c in columns])),
        "deepest close below par": float(max(-one.min() for one in own)),
    }


def wick_moments(bars: pd.DataFrame) -> Moments:
    """How far high and low reach beyond open and close; columns open, high, low, close."""
    up = bars["high"] / bars[["open", "close"]].max(axis=1) - 1
    down = 1 - bars["low"] / bars[["open", "close"]].min(axis=1)
    return {
        "median of the upper wick": float(up.median()),
        "p90 of the upper wick": float(up.quantile(0.9)),
        "median of the lower wick": float(down.median()),
        "p90 of the lower wick": float(down.quantile(0.9)),
    }


def longest_fall(close: Matrix, below: float = 0.98) -> tuple[float, int]:
    """The deepest close and the longest run of days of closes under `below`."""
    lengths = runs((close < below)[:, None])
    return float(np.nanmin(close)), int(lengths.max()) if len(lengths) else 0


def gas_years(daily: pd.Series) -> Moments:
    """Daily gas prices, year by year; the median of the full years."""
    dated = pd.DatetimeIndex(daily.index)
    years = [one for _, one in daily.groupby(dated.year) if len(one) >= _LEAST_DAYS_OF_A_YEAR]
    found = pd.DataFrame([_gas_year(one) for one in years])
    return {str(name): float(value) for name, value in found.median().items()}


def _gas_year(prices: pd.Series) -> Moments:
    logs = np.log(prices.to_numpy(dtype=float))
    changes = np.diff(logs)
    column = logs[:, None]
    week = pd.Series(logs, index=prices.index)
    around = week - week.rolling(7, center=True).mean()
    return {
        "deviation of the level (log)": float(logs.std()),
        "deviation of daily changes (log)": float(changes.std()),
        "median daily change (log)": float(np.median(np.abs(changes))),
        "kurtosis of daily changes": float(excess_kurtosis(changes[:, None])[0]),
        "autocorrelation of the level, 1 day": float(autocorrelation(column, 1)[0]),
        "autocorrelation of the level, 7 days": float(autocorrelation(column, 7)[0]),
        "autocorrelation of the level, 30 days": float(autocorrelation(column, 30)[0]),
        "autocorrelation of changes, 1 day": float(autocorrelation(changes[:, None], 1)[0]),
        "p90 over mean": float(prices.quantile(0.9) / prices.mean()),
        "weekend over the week around it": float(np.exp(around[pd.DatetimeIndex(prices.index).weekday >= 5].mean())),
        "share of days with a jump (±0.5 log)": float((np.abs(changes) > 0.5).mean()),
        "share of days with a jump upwards": float((changes > 0.5).mean()),
    }


def ether_moments(closes: Matrix) -> Moments:
    """Daily returns of ether."""
    changes = np.diff(np.log(closes))
    return {
        "deviation of daily returns": float(changes.std()),
        "kurtosis of daily returns": float(excess_kurtosis(changes[:, None])[0]),
    }


def market_gas(market: Market, first: date, last: date) -> pd.Series:
    """Mean price of each day's hours, as told on the last day."""
    begin = datetime.combine(first, time(), tzinfo=UTC)
    count = 24 * ((last - first).days + 1)
    told = market.gas_hours([begin + timedelta(hours=i) for i in range(count)], last)
    prices = pd.Series([hour.median for hour in told], index=pd.DatetimeIndex([hour.hour for hour in told]))
    return prices.resample("D").mean()


def market_ether(market: Market, first: date, last: date) -> Matrix:
    """Price of ether at the end of each day."""
    days = [first + timedelta(days=i) for i in range((last - first).days + 1)]
    told = market.gas_hours([start_of(day) for day in days], last)
    return np.array([hour.eth_price for hour in told], dtype=float)
