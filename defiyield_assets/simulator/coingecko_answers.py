"""Answers of CoinGecko in its own wire format, from the closes and bars of a market.

Lives here: the rolling 24 hours, candles and daily charts of listed coins. Not here: the facts (vendor_answers.py),
routing and HTTP (wire.py). Candles are cut from the day's bar so that together they are that bar to the last digit; the
figures of a day are those that CoinMarketCap tells of it, so that cross-checks agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from defiyield_assets.domain.days import DayRange, end_of, market_stamp, start_of
from defiyield_assets.simulator.vendor_answers import Bar, MarketFacts

NOT_LISTED = (404, {"error": "coin not found"})
MAX_IDS = 250
_HALF_HOUR, _FOUR_HOURS = timedelta(minutes=30), timedelta(hours=4)
_DAY, _FOUR_DAYS = timedelta(days=1), timedelta(days=4)
_LOW_AT, _HIGH_AT = 1 / 4, 2 / 3
"""Where in the day its low and its high are, as shares."""
_ALL_DAYS = 3_650


@dataclass(frozen=True)
class _Listed:
    """A coin of CoinGecko with its daily bars, ascending."""

    symbol: str
    name: str
    bars: list[Bar]
    max_supply: float | None = None


def _listed(market: MarketFacts, coingecko_id: str, days: DayRange) -> _Listed | None:
    """The coin of an id and its bars of the days; None for an id that the vendor does not list.

    An approved token goes before a coin of the universe. Tokens without recorded or generated bars are listed when
    their closes are known (confidence above 0): each day opens at the close before, and neither volume nor
    capitalisation is known (0).
    """
    found = [token for token in market.chain.world.tokens.values() if token.coingecko_id == coingecko_id]
    if not found:
        return _universe_coin(market, coingecko_id, days)
    token = min(found, key=lambda one: one.address)
    coin = None if token.cmc_id is None else market.coin(token.cmc_id, days.start, days.end)
    if coin is not None:
        return _Listed(token.symbol, token.symbol, list(coin.bars))
    series = market.close_series(token.address.lower(), days.end)
    if series is None or not series.confidence:
        return None
    bars = []
    for day in days:
        at = (day - series.first_day).days
        if 1 <= at < len(series.close):
            opened, closed = float(series.close[at - 1]), float(series.close[at])
            high, low = max(opened, closed), min(opened, closed)
            bars.append(Bar(day, "", "", opened, high, low, closed, 0.0, 0.0))
    return _Listed(token.symbol, token.symbol, bars)


def _universe_coin(market: MarketFacts, coingecko_id: str, days: DayRange) -> _Listed | None:
    """A coin of the market universe by its CoinGecko id."""
    known = next((one for one in market.instruments if one.coingecko_id == coingecko_id), None)
    coin = None if known is None else market.universe_coin(known, days.start, days.end)
    return None if coin is None else _Listed(coin.symbol, coin.name, list(coin.bars), coin.max_supply)


def _ranks(market: MarketFacts, day: date) -> dict[str, int]:
    """Places by capitalisation of everything that the market lists; none where a capitalisation is not known."""
    if not market.knows_all_caps:
        return {}
    tokens = (token.coingecko_id for token in market.chain.world.tokens.values())
    coins = (one.coingecko_id for one in market.instruments)
    caps: dict[str, float] = {}
    for name in dict.fromkeys([*tokens, *coins]):
        coin = None if name is None else _listed(market, name, DayRange.of(day))
        if name is not None and coin is not None and coin.bars and coin.bars[-1].market_cap:
            caps[name] = coin.bars[-1].market_cap
    return {name: place for place, name in enumerate(sorted(caps, key=lambda one: (-caps[one], one)), start=1)}


def _millis(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)


def _said(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%S.000Z")


# --- /coins/markets ------------------------------------------------------------------------------------------------
def markets(market: MarketFacts, day: date, params: Mapping[str, str]) -> list[dict[str, Any]]:
    """`/coins/markets?ids=`: the 24 hours before the market's stamp; unknown ids are silently missing."""
    ids = [name.strip() for name in params.get("ids", "").split(",") if name.strip()]
    rows, ranks = [], _ranks(market, day)
    for name in list(dict.fromkeys(ids))[: min(int(params.get("per_page", "100")), MAX_IDS)]:
        coin = _listed(market, name, DayRange(day - _DAY, day))
        if coin is not None and coin.bars and coin.bars[-1].day == day:
            rows.append(_market_row(name, coin, ranks.get(name)))
    return rows


def _market_row(name: str, coin: _Listed, rank: int | None) -> dict[str, Any]:
    bar, before = coin.bars[-1], coin.bars[0]
    day = bar.day
    change, supply = bar.close - before.close, round(bar.market_cap / bar.close, 2)
    high, low = (bar.high, bar.low) if bar.is_whole else (None, None)
    return {
        "id": name,
        "symbol": coin.symbol.lower(),
        "name": coin.name,
        "image": f"https://assets.coingecko.com/coins/images/{name}.png",
        "current_price": bar.close,
        "market_cap": bar.market_cap,
        "market_cap_rank": rank,
        "fully_diluted_valuation": bar.market_cap or None,
        "total_volume": bar.volume,
        "high_24h": high,
        "low_24h": low,
        "price_change_24h": round(change, 8),
        "price_change_percentage_24h": round(100 * change / before.close, 5),
        "market_cap_change_24h": round(bar.market_cap - before.market_cap, 2),
        "market_cap_change_percentage_24h": 0.0,
        "circulating_supply": supply,
        "total_supply": supply or None,
        "max_supply": coin.max_supply,
        "ath": high,
        "ath_change_percentage": None if high is None else round(100 * (bar.close / high - 1), 8),
        "ath_date": _said(start_of(day)),
        "atl": low,
        "atl_change_percentage": None if low is None else round(100 * (bar.close / low - 1), 5),
        "atl_date": _said(start_of(day)),
        "roi": None,
        "last_updated": _said(market_stamp(day)),
    }


# --- /coins/{id}/ohlc ----------------------------------------------------------------------------------------------
def ohlc(market: MarketFacts, day: date, name: str, params: Mapping[str, str]) -> tuple[int, Any]:
    """`/coins/{id}/ohlc?days=`: candles by the time of their close, the running one (flat, ahead of its close) last."""
    span = _span(params)
    step = _DAY if params.get("interval") == "daily" else _length(span)
    coin = _listed(market, name, DayRange(day - _DAY * span - _FOUR_DAYS, day))
    if coin is None:
        return NOT_LISTED
    candles = [candle for bar in coin.bars if bar.is_whole for candle in _candles_of(bar, min(step, _DAY))]
    if step > _DAY:
        candles = _joined(candles)
    if candles and coin.bars[-1].day == day:
        last = coin.bars[-1].close
        candles.append((candles[-1][0] + step, last, last, last, last))
    return 200, [[_millis(close), *prices] for close, *prices in candles if close > candles[-1][0] - _DAY * span]


def _span(params: Mapping[str, str]) -> int:
    said = params.get("days", "1")
    return int(said) if said.isdigit() else _ALL_DAYS


def _length(span: int) -> timedelta:
    return _HALF_HOUR if span <= 2 else _FOUR_HOURS if span <= 30 else _FOUR_DAYS


_Candle = tuple[datetime, float, float, float, float]


def _candles_of(bar: Bar, step: timedelta) -> list[_Candle]:
    """A day's candles: prices go straight from open to close, one candle touches the low, one the high."""
    count = _DAY // step
    path = [bar.open + (bar.close - bar.open) * k / count for k in range(count)] + [bar.close]
    candles = []
    for k in range(count):
        high, low = max(path[k], path[k + 1]), min(path[k], path[k + 1])
        high = bar.high if k == int(_HIGH_AT * count) else min(high, bar.high)
        low = bar.low if k == int(_LOW_AT * count) else max(low, bar.low)
        candles.append((start_of(bar.day) + (k + 1) * step, path[k], high, low, path[k + 1]))
    return candles


def _joined(candles: list[_Candle]) -> list[_Candle]:
    """Candles of four days each, closing on every fourth day of the calendar."""
    groups: dict[int, list[_Candle]] = {}
    for candle in candles:
        groups.setdefault(((candle[0] - _DAY).toordinal()) // 4, []).append(candle)
    return [
        (part[-1][0], part[0][1], max(c[2] for c in part), min(c[3] for c in part), part[-1][4])
        for part in groups.values()
        if len(part) == 4
    ]


# --- /coins/{id}/market_chart --------------------------------------------------------------------------------------
def market_chart(market: MarketFacts, day: date, name: str, params: Mapping[str, str]) -> tuple[int, Any]:
    """`/coins/{id}/market_chart?days=`: points at midnights and one at the market's stamp, whatever the interval."""
    stamp = market_stamp(day)
    first = stamp - timedelta(days=_span(params))
    coin = _listed(market, name, DayRange(first.date() - _DAY, day))
    if coin is None:
        return NOT_LISTED
    points = [(_millis(end_of(bar.day)), bar) for bar in coin.bars if end_of(bar.day) >= first]
    if points and points[-1][1].day == day:
        points.append((_millis(stamp), points[-1][1]))
    return 200, {
        "prices": [[at, bar.close] for at, bar in points],
        "market_caps": [[at, bar.market_cap] for at, bar in points],
        "total_volumes": [[at, bar.volume] for at, bar in points],
    }
