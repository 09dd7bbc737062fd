"""Made-up and recorded histories that the tests of scenarios share."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from defiyield_assets.domain.market.scenarios.definitions import Definitions, Depeg, RegimeMotion, Shock, Stochastic
from defiyield_assets.domain.market.scenarios.histories import history_of_rows
from defiyield_assets.domain.strategies.bars import PriceHistory, price_history

LAST = date(2024, 6, 30)
MOTIONS = (
    RegimeMotion("bull", 0.15, 0.12, 0.85),
    RegimeMotion("bear", -0.20, 0.25, 0.80),
    RegimeMotion("neutral", 0.07, 0.15, 0.90),
)
CRASH = Shock("crash", -0.20, 3.0, "linear", 1.25, 21, 5.0, 5.0, 0.3, 0.05)
SMALL = Definitions(
    windows=(),
    shocks=(CRASH,),
    depegs=(Depeg("depeg", "crypto:C", 0.88, 0.5, 5, ("crypto:C", "crypto:D")),),
    stochastic=Stochastic(
        n_monte_carlo=2, n_bootstrap=2, n_gbm=1, n_markov=1, n_steps=40, source_bars=400, motions=MOTIONS
    ),
    n_random=1,
)


def made_history(n_bars: int = 700, n_instruments: int = 4, seed: int = 0, last: date = LAST) -> PriceHistory:
    """Correlated daily bars of crypto:A, crypto:B, … ending on `last`; C and D stay about 1."""
    random = np.random.default_rng(seed)
    common = random.standard_normal((n_bars, 1))
    returns = 0.0005 + 0.03 * (0.7 * common + 0.7 * random.standard_normal((n_bars, n_instruments)))
    returns[:, 2:] *= 0.01
    close = np.where(np.arange(n_instruments) < 2, 100.0, 1.0) * np.exp(np.cumsum(returns, axis=0))
    opened = close * np.exp(-0.8 * returns)
    high = np.maximum(opened, close) * np.exp(np.abs(0.01 * random.standard_normal(close.shape)))
    low = np.minimum(opened, close) * np.exp(-np.abs(0.01 * random.standard_normal(close.shape)))
    volume = np.exp(random.standard_normal(close.shape)) * 1e6
    dates = np.datetime64(last, "D") - np.arange(n_bars)[::-1]
    names = [f"crypto:{letter}" for letter in "ABCDEFGH"[:n_instruments]]
    columns = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
    return price_history(names, dates, columns)


def recorded_coins(folder: Path) -> PriceHistory:
    """The 14 recorded coins; a price of 0 is one that the recording rounded away, so unknown."""
    rows = pd.read_parquet(folder / "prices" / "yfinance_daily_crypto_2018-01_2025-08.parquet")
    rows = rows.rename(columns={"close_adj": "close"})
    rows["instrument_id"] = "crypto:" + rows["ticker"].str.removesuffix("-USD")
    prices = ["open", "high", "low", "close"]
    rows[prices] = rows[prices].mask(rows[prices] <= 0.0)
    return history_of_rows(rows.dropna(subset="close"))


def recorded_closes(path: Path) -> PriceHistory:
    """A recorded table of adjusted closes, one column an instrument."""
    table = pd.read_csv(path)
    rows = table.melt(table.columns[0], var_name="name", value_name="close").dropna()
    rows = rows.rename(columns={table.columns[0]: "date"})
    rows["instrument_id"] = "equity:" + rows["name"]
    return history_of_rows(rows)
