"""Histories for tests: recorded bars with their features, made-up bars, and hand-written ones.

Lives here: how they are made. Not here: tests.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from defiyield_assets.domain.market.features.calculate import features
from defiyield_assets.domain.market.features.panel import BarTable
from defiyield_assets.domain.market.features.recursions import blank_state
from defiyield_assets.domain.market.features.registry import BAR_METRICS
from defiyield_assets.domain.strategies.bars import Matrix, PriceHistory, price_history
from defiyield_assets.domain.strategies.strategy import Strategy

FEATURE_NAMES = (
    *("sma_10", "sma_20", "sma_50", "sma_200", "macd", "macd_signal", "rsi_14", "atr_14", "realised_vol_20"),
    *("bollinger_lower_20", "bollinger_middle_20", "high_20", "high_55", "low_10", "low_20"),
    *("return_20", "return_60", "return_252"),
)
"""What the shipped strategies read."""


def with_features(
    instruments: Sequence[str],
    dates: np.ndarray,
    columns: Mapping[str, Matrix],
    periods_per_year: float,
    names: Sequence[str] = FEATURE_NAMES,
    first_scored: int = 0,
) -> PriceHistory:
    """A history with features by the registry's calculators, each instrument over its own bars."""
    plain = price_history(instruments, dates, columns, periods_per_year=periods_per_year, first_scored=first_scored)
    is_bar = plain.is_bar
    column, row = np.nonzero(is_bar.T)
    starts = np.concatenate([[0], np.cumsum(is_bar.sum(axis=0))]).astype(np.intp)
    values = {name: plain.column(name)[row, column] for name in ("open", "high", "low", "close", "volume", "gap_flag")}
    k = len(instruments)
    table = BarTable(
        starts, plain.dates[row], values, np.ones(len(row), dtype=bool), np.full(k, float(periods_per_year))
    )
    bars = table.panel(0, k)
    wanted = tuple(metric for metric in BAR_METRICS if metric.name in names)
    made, _ = features(bars, blank_state(k), wanted)
    matrices = {}
    for name, packed in made.items():
        matrix = np.full(is_bar.shape, np.nan)
        for j in range(k):
            n = int(is_bar[:, j].sum())
            matrix[is_bar[:, j], j] = packed[len(packed) - n :, j]
        matrices[name] = matrix
    return price_history(
        instruments, dates, columns, matrices, periods_per_year=periods_per_year, first_scored=first_scored
    )


@lru_cache(maxsize=4)
def recorded_crypto(folder: Path, n_bars: int = 1500, first_scored: int = 252) -> PriceHistory:
    """Coins of the recorded panel over its last bars; coins without a full record come and go."""
    frame = pd.read_parquet(folder / "prices" / "yfinance_daily_crypto_2018-01_2025-08.parquet")
    frame = frame[~frame["ticker"].isin(["USDC-USD"])].rename(columns={"close_adj": "close"})
    frame["date"] = pd.to_datetime(frame["date"])
    columns_read = ("open", "high", "low", "close", "volume")
    wide = {name: frame.pivot_table(index="date", columns="ticker", values=name) for name in columns_read}
    wide = {name: matrix.iloc[-n_bars:] for name, matrix in wide.items()}
    is_whole = np.isfinite(np.stack([wide[name].to_numpy() for name in ("open", "high", "low", "close")])).all(axis=0)
    columns = {name: np.where(is_whole & (wide[name].to_numpy() > 0), wide[name].to_numpy(), np.nan) for name in wide}
    dates = wide["close"].index.to_numpy(dtype="datetime64[D]")
    names = [f"crypto:{ticker.removesuffix('-USD')}" for ticker in wide["close"].columns]
    return with_features(names, dates, columns, 365.0, first_scored=first_scored)


@lru_cache(maxsize=4)
def recorded_stocks(folder: Path, n_bars: int = 1500, first_scored: int = 252) -> PriceHistory:
    """Adjusted closes of 20 stocks (no other prices are recorded)."""
    frame = pd.read_csv(folder / "equities" / "skfolio_sp500_20stocks_1990_2022.csv.gz", index_col=0)
    frame = frame.iloc[-n_bars:]
    dates = pd.to_datetime(frame.index).to_numpy(dtype="datetime64[D]")
    names = [f"equity:{name}" for name in frame.columns]
    return with_features(names, dates, {"close": frame.to_numpy(dtype=np.float64)}, 252.0, first_scored=first_scored)


def recorded_goog(folder: Path, names: Sequence[str] = ("sma_10", "sma_20")) -> PriceHistory:
    """The GOOG bars of backtesting.py."""
    frame = pd.read_csv(folder / "equities" / "backtesting_py_GOOG.csv", index_col=0, parse_dates=True)
    columns = {name.lower(): frame[name].to_numpy(dtype=np.float64)[:, None] for name in frame.columns}
    dates = frame.index.to_numpy(dtype="datetime64[D]")
    return with_features(["equity:GOOG"], dates, columns, 252.0, names)


def random_walk(
    seed: int,
    n_bars: int = 300,
    n_instruments: int = 3,
    names: Sequence[str] = FEATURE_NAMES,
    first_scored: int = 0,
    *,
    has_weekends: bool = False,
) -> PriceHistory:
    """Made-up bars with all features: a geometric random walk with days inside their range.

    `has_weekends`: the first instrument has no bars on Saturdays and Sundays.
    """
    rng = np.random.default_rng(seed)
    shape = (n_bars, n_instruments)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, shape), axis=0))
    open_ = np.concatenate([close[:1], close[:-1]]) * np.exp(rng.normal(0.0, 0.005, shape))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0.0, 0.01, shape)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0.0, 0.01, shape)))
    columns = {"open": open_, "high": high, "low": low, "close": close, "volume": rng.uniform(1e5, 1e6, shape)}
    columns["gap_flag"] = (rng.random(shape) < 0.01).astype(float)
    dates = np.datetime64("2020-01-01") + np.arange(n_bars)
    if has_weekends:
        is_weekend = pd.DatetimeIndex(dates).weekday >= 5
        for matrix in columns.values():
            matrix[is_weekend, 0] = np.nan
        columns["gap_flag"] = np.nan_to_num(columns["gap_flag"])
    return with_features([f"crypto:C{j}" for j in range(n_instruments)], dates, columns, 365.0, names, first_scored)


def hand_written(
    bars: Sequence[tuple[float, float, float, float]], gaps: Sequence[int] = (), **features: Sequence[float]
) -> PriceHistory:
    """One instrument from (open, high, low, close) rows; `gaps`: rows that are masked gaps."""
    table = np.array(bars, dtype=np.float64)
    columns = {name: table[:, [i]] for i, name in enumerate(("open", "high", "low", "close"))}
    columns["gap_flag"] = np.isin(np.arange(len(table)), gaps).astype(float)[:, None]
    dates = np.datetime64("2024-01-01") + np.arange(len(table))
    own = {name: np.array(values, dtype=np.float64)[:, None] for name, values in features.items()}
    return price_history(["crypto:X"], dates, columns, own)


def strategy_of(text: str) -> Strategy:
    """A strategy from the text of its file, without the checks of names."""
    import json

    import yaml
    from pydantic import TypeAdapter

    from defiyield_assets.domain.strategies.language import StrategyFile

    return Strategy(TypeAdapter(StrategyFile).validate_json(json.dumps(yaml.safe_load(text)), strict=True))
