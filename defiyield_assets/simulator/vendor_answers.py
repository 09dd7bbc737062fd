"""Answers of the market-data vendors in their own wire format, from the plain facts of a market.

Lives here: what a market must know (MarketFacts) and the JSON of DeFiLlama coins, CoinMarketCap and EthGasTracker. Not
here: DeFiLlama yields (pool_panel.py), FRED, CoinGecko, Alpha Vantage and the chain's vendors (their own modules),
routing and HTTP (wire.py).
"""

import math
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from defiyield_assets.domain.days import end_of, market_stamp, utc_day
from defiyield_assets.domain.prices.instruments import Instrument
from defiyield_assets.simulator.chain import SimulatedChain
from defiyield_assets.simulator.news_records import NewsPost
from defiyield_assets.simulator.pendle_records import PendleMarket
from defiyield_assets.simulator.share_records import Quarter, ShareHistory

DAY_SECONDS = 86_400
GAS_HOURS = 169
WETH = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"
"""Wrapped ether on Ethereum: what DeFiLlama knows ETH's price by."""
ETHER_DAYS = 400
_UNIT_SECONDS = {"m": 60, "h": 3_600, "d": DAY_SECONDS, "w": 7 * DAY_SECONDS}
_PERIOD = re.compile(r"(\d+)([mhdw])")
_JITTER_SECONDS = 240


@dataclass(frozen=True)
class CloseSeries:
    """Daily closes of one token in USD: `close[i]` is the price at the end of `first_day` + i."""

    symbol: str
    decimals: int
    confidence: float
    first_day: date
    close: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bar:
    """One closed daily bar as CoinMarketCap tells it; `market_cap` 0 means unknown there.

    Where only the close is known open, high and low are NaN: CoinMarketCap then has no bar, CoinGecko a chart point.
    """

    day: date
    time_high: str | None
    time_low: str | None
    open: float
    high: float
    low: float
    close: float
    volume: float
    market_cap: float

    @property
    def is_whole(self) -> bool:
        """Whether open, high and low are known."""
        return not math.isnan(self.open + self.high + self.low)


@dataclass(frozen=True)
class Coin:
    """A coin with its bars, ascending; `max_supply` None: unknown, or no limit."""

    cmc_id: int
    name: str
    symbol: str
    bars: Sequence[Bar]
    max_supply: float | None = None


@dataclass(frozen=True)
class GasHour:
    """One hour of EthGasTracker: gwei, ETH in USD."""

    hour: datetime
    base_fee: float | None
    low: float
    high: float
    median: float
    eth_price: float | None


@dataclass(frozen=True)
class Observation:
    """One FRED observation; `known_since` is the day of its release, `value` None a missing one."""

    day: date
    value: str | None
    known_since: date


def next_weekday(day: date) -> date:
    """The day, or the Monday after it on a week-end."""
    return day + timedelta(days=7 - day.weekday() if day.weekday() >= 5 else 0)


class MarketFacts(ABC):
    """What the wire asks of a market. Nothing that it gives for a day may rest on a later one."""

    instruments: Sequence[Instrument] = ()
    """Coins and shares of the market universe, beside the approved tokens."""
    knows_all_caps = False
    """Whether every coin's capitalisation is known, so that a rank means something."""

    @property
    @abstractmethod
    def chain(self) -> SimulatedChain:
        """The chain that executes plans."""

    @abstractmethod
    def pool_rows(self, day: date) -> list[dict[str, Any]]:
        """Rows of `/pools`."""

    @abstractmethod
    def chart_points(self, pool_id: str, day: date) -> list[dict[str, Any]] | None:
        """Points of `/chart` up to the day; None: no such pool."""

    @abstractmethod
    def lend_borrow_rows(self, day: date) -> list[dict[str, Any]]:
        """Rows of `/lendBorrow`."""

    @abstractmethod
    def lend_borrow_points(self, pool_id: str, day: date) -> list[dict[str, Any]] | None:
        """Points of `/chartLendBorrow` up to the day; None: no such pool."""

    def pendle_markets(self, day: date) -> Sequence[PendleMarket]:  # noqa: ARG002 - a market may have none
        """What Pendle's market list holds on the day."""
        return ()

    @abstractmethod
    def close_series(self, address: str, day: date) -> CloseSeries | None:
        """Closes of an Ethereum token (lower-case address) up to the day; None: unknown coin."""

    @abstractmethod
    def coin(self, cmc_id: int, first: date, last: date) -> Coin | None:
        """Bars of a CoinMarketCap coin of these days, an approved token or one of the universe; None: unknown id."""

    def universe_coin(self, instrument: Instrument, first: date, last: date) -> Coin | None:  # noqa: ARG002
        """Bars of a coin of the universe of these days; None: this market does not know it."""
        return None

    def share(self, symbol: str, day: date) -> ShareHistory | None:  # noqa: ARG002 - a market may have none
        """Sessions of a share up to the day, by its Alpha Vantage symbol; None: unknown symbol."""
        return None

    def quarters(self, symbol: str, day: date) -> list[Quarter] | None:  # noqa: ARG002 - a market may have none
        """Quarters that a company reported up to the day, ascending; None: no company of that symbol."""
        return None

    def news(self, day: date) -> Sequence[NewsPost]:  # noqa: ARG002 - a market may have none
        """Posts of news that were published by the end of the day, newest first."""
        return ()

    @abstractmethod
    def gas_hours(self, hours: Sequence[datetime], day: date) -> list[GasHour]:
        """The asked hours as known at the market's stamp of the day."""

    @abstractmethod
    def observations(self, series_id: str, day: date) -> list[Observation] | None:
        """Observations of a FRED series that were released by the day; None: unknown series."""


# --- DeFiLlama coins -----------------------------------------------------------------------------------------------
def _price_at(series: CloseSeries, seconds: float) -> float | None:
    """Price at an instant: linear between the closes around it, the last one after the last, None before the first."""
    ends = end_of(series.first_day).timestamp() + DAY_SECONDS * np.arange(len(series.close))
    if len(ends) == 0 or seconds < ends[0] - DAY_SECONDS / 2:
        return None
    price = float(np.interp(seconds, ends, series.close))
    return None if np.isnan(price) else price


def _told_at(seconds: float, day: date, coin: str) -> int:
    """The timestamp that the vendor puts on a price: a little before the instant asked for, never after the day."""
    wanted = int(min(seconds, end_of(day).timestamp()))
    return wanted - 1 - zlib.crc32(f"{coin}:{wanted}".encode()) % _JITTER_SECONDS


def _ethereum_series(market: MarketFacts, coin: str, day: date) -> CloseSeries | None:
    chain, _, address = coin.partition(":")
    if chain.lower() != "ethereum":
        return None
    return _ether_series(market, day) if address.lower() == WETH else market.close_series(address.lower(), day)


def _ether_series(market: MarketFacts, day: date) -> CloseSeries | None:
    """Closes of wrapped ether over `ETHER_DAYS`: the ETH price that the gas vendor tells, at the end of each day."""
    closes: list[float] = []
    for back in range(ETHER_DAYS):
        known = day - timedelta(days=back)
        hours = market.gas_hours([end_of(known)], known)
        if not hours or hours[0].eth_price is None:
            break
        closes.append(hours[0].eth_price)
    first = day - timedelta(days=len(closes) - 1)
    return CloseSeries("WETH", 18, 0.99, first, np.array(closes[::-1])) if closes else None


def coin_prices(market: MarketFacts, day: date, coins: Sequence[str], seconds: float | None) -> dict[str, Any]:
    """`/prices/current` (seconds None) and `/prices/historical`; unknown coins are silently missing."""
    answers: dict[str, Any] = {}
    stamp = market_stamp(day).timestamp()
    wanted = stamp if seconds is None else seconds
    for coin in coins:
        series = _ethereum_series(market, coin, day)
        price = None if series is None or wanted > stamp else _price_at(series, wanted)
        if series is None or price is None:
            continue
        answers[coin] = {
            "decimals": series.decimals,
            "symbol": series.symbol,
            "price": price,
            "timestamp": _told_at(wanted, day, coin),
            "confidence": series.confidence,
        }
    return {"coins": answers}


def coin_chart(market: MarketFacts, day: date, coins: Sequence[str], params: Mapping[str, str]) -> dict[str, Any]:
    """`/chart/{coins}?start|end&span&period`: `span` points, none after the market's stamp."""
    span = int(params.get("span", "1"))
    match = _PERIOD.fullmatch(params.get("period", "1d").lower())
    step = int(match[1]) * _UNIT_SECONDS[match[2]] if match else DAY_SECONDS
    stamp = market_stamp(day).timestamp()
    back = (span - 1) * step
    first = float(params["start"]) if "start" in params else float(params.get("end", stamp)) - back
    answers: dict[str, Any] = {}
    for coin in coins:
        series = _ethereum_series(market, coin, day)
        if series is None:
            continue
        points = []
        for k in range(span):
            wanted = first + k * step
            price = None if wanted > stamp else _price_at(series, wanted)
            if price is not None:
                points.append({"timestamp": _told_at(wanted, day, coin), "price": price})
        if points:
            answers[coin] = {
                "symbol": series.symbol,
                "confidence": series.confidence,
                "decimals": series.decimals,
                "prices": points,
            }
    return {"coins": answers}


# --- CoinMarketCap -------------------------------------------------------------------------------------------------
def _day_of(text: str) -> date:
    """Date portion of an ISO 8601 or Unix timestamp: all that CoinMarketCap uses of it for daily bars."""
    if re.fullmatch(r"\d{9,}", text):
        return utc_day(datetime.fromtimestamp(int(text), tz=UTC))
    return date.fromisoformat(text[:10])


def ohlcv_historical(market: MarketFacts, day: date, params: Mapping[str, str]) -> dict[str, Any]:
    """`/v2/cryptocurrency/ohlcv/historical` by id: closed days only, keyed by id; unknown ids are silently missing.

    As the vendor documents it, `time_start` is exclusive and `time_end` inclusive; without `time_start`, `count`
    periods are looked at back from `time_end`, of which the running one gives no bar.
    """
    newest = _day_of(params["time_end"]) if "time_end" in params else day + timedelta(days=1)
    last = min(newest, day)
    before = (
        _day_of(params["time_start"]) if "time_start" in params else newest - timedelta(int(params.get("count", "10")))
    )
    first = before + timedelta(days=1)
    data: dict[str, Any] = {}
    for text in params.get("id", "").split(","):
        coin = market.coin(int(text), first, last) if text.strip().isdigit() else None
        if coin is not None:
            data[text.strip()] = {
                "id": coin.cmc_id,
                "name": coin.name,
                "symbol": coin.symbol,
                "quotes": [_quote(bar) for bar in coin.bars if bar.is_whole],
            }
    stamp = market_stamp(day).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    status = {"timestamp": stamp, "error_code": 0, "error_message": None, "elapsed": 10, "credit_count": len(data)}
    return {"status": status, "data": data}


def _quote(bar: Bar) -> dict[str, Any]:
    closed = f"{bar.day.isoformat()}T23:59:59.999Z"
    return {
        "time_open": f"{bar.day.isoformat()}T00:00:00.000Z",
        "time_close": closed,
        "time_high": bar.time_high,
        "time_low": bar.time_low,
        "quote": {
            "USD": {
                "open": bar.open,
                "high": bar.high,
                "low": bar.low,
                "close": bar.close,
                "volume": bar.volume,
                "market_cap": bar.market_cap,
                "timestamp": closed,
            }
        },
    }


# --- EthGasTracker -------------------------------------------------------------------------------------------------
def gas_average(market: MarketFacts, day: date) -> dict[str, Any]:
    """`/api/gas/average`: 169 hours, newest first; the newest is the running hour of the market's stamp."""
    newest = end_of(day)
    hours = [newest - timedelta(hours=back) for back in range(GAS_HOURS)]
    rows = [
        {
            "period": fees.hour.strftime("%Y-%m-%dT%H:00:00+00:00"),
            "baseFee": fees.base_fee,
            "gasLimit": 36_000_000.0,
            "gasUsed": 18_000_000.0,
            "txCount": 170.0,
            "min": fees.low,
            "max": fees.high,
            "median": fees.median,
            "ethPrice": fees.eth_price,
        }
        for fees in market.gas_hours(hours, day)
    ]
    updated = int(market_stamp(day).timestamp() * 1000)
    return {"data": {"network": "mainnet", "data": rows, "lastUpdate": updated}}
