"""The files of a recorded-data folder, read once and turned into the facts that the recorded market answers with.

Lives here: file names, their columns and clear errors when one is missing (layout: docs/how-to/recorded-data.md).
Not here: the market that answers from them (recorded.py).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import numpy as np
import pandas as pd

from defiyield_assets.domain.policy import PoolOverride, Token
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.simulator.pool_panel import STALE_DAYS, Matrix, PoolFacts, PoolPanel
from defiyield_assets.simulator.vendor_answers import Bar, Observation, next_weekday

VARIABLE = "DEFIYIELD_RECORDED_DATA"
UNDERLYINGS_FILE = "reference/lending_panel_underlyings.csv"
_PANEL_FILES = "yields/defillama_chart_daily_lending_*.parquet"
_CMC_FILES = "prices/cmc_daily_ohlcv_*.parquet"
_CRYPTO_FILES = "prices/yfinance_daily_crypto_*.parquet"
_GAS_FILES = "gas/etherscan_avg_gas_price_daily_*.csv"
_FRED_FILES = "macro/fred_{series_id}_*.csv"
_OTHER_SERIES = {"VIXCLS": ("macro/vix_daily_ohlc_*.csv", 4)}
"""FRED series that were recorded elsewhere: file, and the place of the value among its columns."""

POOL_NAMESPACE = UUID("6f1c3c9e-5f0d-5d5e-9b0e-3a1f6a3f2b11")
"""Namespace of the made-up pool ids of series whose recorded id is unknown."""
CMC_IDS = {"USDT": 825, "USDC": 3408, "DAI": 4943}
_CMC_NAMES = {"Tether USDt": "USDT", "USDC": "USDC", "Dai": "DAI"}
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MATURITY = re.compile(r"PT-.*?-(\d{1,2})([A-Z]{3})(\d{4})")
_EXIT_DAYS = re.compile(r"exit takes (\d+) days")


def find_file(folder: Path, pattern: str) -> Path:
    """The newest (by name) file of the folder that matches; none: ConfigurationError naming file and variable."""
    found = sorted(folder.glob(pattern))
    if not found:
        raise ConfigurationError(
            f"the recorded market needs {pattern} in its data folder, and {folder} has none; "
            f"point {VARIABLE} at a folder that holds it (docs/how-to/recorded-data.md describes the layout)"
        )
    return found[-1]


def pool_id_of(series_id: str, recorded: str | None) -> str:
    """The recorded DeFiLlama id, or a made-up one that depends on the series only."""
    return recorded or str(uuid5(POOL_NAMESPACE, series_id))


def maturity_of(name: str) -> date | None:
    """The maturity in a principal token's name such as PT-SUSDE-31JUL2025; None when it names none."""
    match = _MATURITY.search(name.upper())
    if match is None or match[2] not in _MONTHS:
        return None
    return date(int(match[3]), _MONTHS.index(match[2]) + 1, int(match[1]))


@dataclass(frozen=True)
class Series:
    """One series of the lending panel with what the reference list says of it."""

    series_id: str
    pool_id: str
    project: str
    chain: str
    symbol: str
    role: str | None
    underlyings: tuple[str, ...] | None
    maturity: date | None
    exit_days: int | None

    @property
    def override(self) -> PoolOverride:
        """The facts as a pool override."""
        return PoolOverride(
            pool_id=self.pool_id,
            role=self.role,
            underlying_addresses=self.underlyings,
            maturity=self.maturity,
            exit_days=self.exit_days,
            source=UNDERLYINGS_FILE,
        )


def _days(values: "pd.Series[str]") -> list[date]:
    return [date.fromisoformat(str(value)[:10]) for value in values]


def read_panel(folder: Path, tokens: Mapping[str, Token]) -> tuple[tuple[Series, ...], PoolPanel]:
    """The lending panel: its series and their daily points. `tokens`: approved tokens by lower-case symbol."""
    points = pd.read_parquet(
        find_file(folder, _PANEL_FILES),
        columns=["date", "series_id", "pool", "project", "symbol", "chain", "tvlUsd", "apy", "apyBase", "apyReward"],
    ).drop_duplicates(["series_id", "date"], keep="last")
    listed = pd.read_csv(find_file(folder, UNDERLYINGS_FILE), dtype=str, keep_default_na=False).set_index("series_id")
    known = points.groupby("series_id", sort=True)[["pool", "project", "symbol", "chain"]].first()
    series = tuple(
        _series_of(str(series_id), row, listed.loc[series_id] if series_id in listed.index else None, tokens)
        for series_id, row in zip(known.index, known.to_dict("records"), strict=True)
    )
    days = np.array([day.toordinal() for day in _days(points["date"])])
    start = date.fromordinal(int(days.min()))
    shape = (int(days.max() - days.min()) + 1, len(series))
    rows = days - days.min()
    columns = known.index.get_indexer(pd.Index(points["series_id"]))

    def matrix(name: str) -> Matrix:
        values = np.full(shape, np.nan)
        values[rows, columns] = points[name].to_numpy(dtype="float64", na_value=np.nan)
        return values

    facts = [
        PoolFacts(
            pool_id=one.pool_id, chain=one.chain, project=one.project, symbol=one.symbol, underlyings=one.underlyings
        )
        for one in series
    ]
    panel = PoolPanel(
        facts,
        start,
        apy=matrix("apy"),
        apy_base=matrix("apyBase"),
        apy_reward=matrix("apyReward"),
        tvl=matrix("tvlUsd"),
        stale_days=STALE_DAYS,
        has_row_stamps=True,
    )
    return series, panel


def _series_of(
    series_id: str, row: Mapping[Any, Any], listed: "pd.Series[str] | None", tokens: Mapping[str, Token]
) -> Series:
    """Underlyings are named only where the list names an approved token for an Ethereum series."""
    named = "" if listed is None else listed["underlying"].lower()
    token = tokens.get(named) if row["chain"] == "Ethereum" else None
    exit_days = None if listed is None else _EXIT_DAYS.search(listed["remark"])
    return Series(
        series_id=series_id,
        pool_id=pool_id_of(series_id, row["pool"]),
        project=row["project"],
        chain=row["chain"],
        symbol=row["symbol"],
        role=(listed["role"] or None) if listed is not None else None,
        underlyings=None if token is None else (token.address,),
        maturity=maturity_of(row["symbol"]),
        exit_days=int(exit_days[1]) if exit_days else None,
    )


def read_cmc_bars(folder: Path) -> dict[int, list[Bar]]:
    """CoinMarketCap bars by id, ascending. The file's own id column is wrong and is not read."""
    bars = pd.read_parquet(find_file(folder, _CMC_FILES)).sort_values(["coin", "date"])
    coins: dict[int, list[Bar]] = {}
    for row in bars.to_dict("records"):
        symbol = _CMC_NAMES.get(str(row["coin"]))
        if symbol is None:
            continue
        figures = [float(row[name]) for name in ("open", "high", "low", "close", "volume", "marketCap")]
        day = date.fromisoformat(str(row["date"])[:10])
        coins.setdefault(CMC_IDS[symbol], []).append(Bar(day, str(row["timeHigh"]), str(row["timeLow"]), *figures))
    return coins


def read_coin_bars(folder: Path, symbols: Sequence[str]) -> dict[str, list[Bar]]:
    """Bars of coins by symbol, ascending, as the `<symbol>-USD` rows of the crypto file; coins it lacks are left out.

    A price of 0 is one whose digits the file does not have: an unknown open, high or low is NaN, a day without a close
    is a hole. Nobody recorded capitalisations (0: unknown).
    """
    tickers = {f"{symbol}-USD": symbol for symbol in symbols}
    columns = ["ticker", "date", "open", "high", "low", "close_adj", "volume"]
    path = find_file(folder, _CRYPTO_FILES)
    bars = pd.read_parquet(path, columns=columns, filters=[("ticker", "in", set(tickers))]).sort_values("date")
    prices = columns[2:6]
    bars[prices] = bars[prices].astype(float).where(bars[prices] > 0)
    bars = bars[bars["close_adj"].notna()]
    coins: dict[str, list[Bar]] = {}
    for ticker, own in bars.groupby("ticker", sort=True):
        figures = own[columns[2:]].assign(market_cap=0.0).to_numpy(dtype=float).tolist()
        days = _days(own["date"])
        coins[tickers[str(ticker)]] = [Bar(day, None, None, *told) for day, told in zip(days, figures, strict=True)]
    return coins


def read_eth_closes(folder: Path) -> dict[date, float]:
    """ETH in USD at the end of each UTC day."""
    path = find_file(folder, _CRYPTO_FILES)
    closes = pd.read_parquet(path, columns=["ticker", "date", "close_adj"], filters=[("ticker", "==", "ETH-USD")])
    return dict(zip(_days(closes["date"]), closes["close_adj"].astype(float).tolist(), strict=True))


def read_gas_prices(folder: Path) -> dict[date, int]:
    """Average gas price of each UTC day in wei."""
    prices = pd.read_csv(find_file(folder, _GAS_FILES))
    days = [datetime.fromtimestamp(seconds, tz=UTC).date() for seconds in prices["UnixTimeStamp"].tolist()]
    return dict(zip(days, prices["Value (Wei)"].tolist(), strict=True))


def read_observations(folder: Path, series_id: str) -> list[Observation] | None:
    """A FRED export, or the closes of the volatility index; None when the folder has none of that name.

    Release: the first weekday after the day or month observed.
    """
    pattern, column = _OTHER_SERIES.get(series_id, (_FRED_FILES.format(series_id=series_id), 1))
    if not re.fullmatch(r"[A-Z0-9]+", series_id) or not list(folder.glob(pattern)):
        return None
    rows = pd.read_csv(find_file(folder, pattern), dtype=str, keep_default_na=False)
    days = _days(rows.iloc[:, 0])
    is_monthly = len(days) > 1 and (days[1] - days[0]).days > 7
    observations = []
    for day, value in zip(days, rows.iloc[:, column], strict=True):
        following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        released = next_weekday(following if is_monthly else day + timedelta(days=1))
        observations.append(Observation(day, value if value not in ("", ".") else None, released))
    return observations
