"""DeFiLlama coins: prices by token address, so that no symbol is ambiguous. No key.

Lives here: requests and typed rows of `https://coins.llama.fi`. Not here: which vendor's close wins (domain/prices).
"""

import math
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd

from defiyield_assets.domain.days import DayRange, end_of, start_of
from defiyield_assets.sources import fields
from defiyield_assets.sources.transport import Fetched, Gateway, Window, all_of
from defiyield_assets.sources.wire import require_some

VENDOR = "defillama_coins"
COINS_PER_CALL = 40
"""Coins travel in the path; more of them make addresses longer than proxies take."""
POINTS_PER_CALL = 500
"""Points (coins x days) asked for at once."""
Coin = tuple[str, str]
"""Chain as we spell it, and address."""
_Call = Coroutine[Any, Any, Fetched[pd.DataFrame]]
_DAY_SECONDS = 86_400


class DefiLlamaCoins:
    """Client of DeFiLlama's coin prices."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def closes(self, coins: Sequence[Coin], days: DayRange, reuse: Window | None = None) -> Fetched[pd.DataFrame]:
        """Daily closes of tokens given as (chain, address) for every day of the range.

        Columns: chain, address (lower case), date, ts (start of that day), close (USD), confidence (0 means assumed),
        decimals, symbol (both as claimed). `missing` names the coins (`chain:address`, lower case) without any close in
        the range. A point belongs to the day whose end is nearest to it.
        """
        calls = [self._closes(part, span, reuse) for part, span in _batches(coins, days)]
        return await self._collect(coins, calls, _CLOSES)

    async def current(self, coins: Sequence[Coin], window: Window | None = None) -> Fetched[pd.DataFrame]:
        """Prices now. Columns: chain, address, ts (time of the price), price_usd, confidence, decimals, symbol."""
        calls = [self._prices("/prices/current/{coins}", {}, part, window) for part in _parts(coins, COINS_PER_CALL)]
        return await self._collect(coins, calls, _PRICES)

    async def historical(self, coins: Sequence[Coin], at: datetime) -> Fetched[pd.DataFrame]:
        """Prices nearest to an instant. Columns as `current`."""
        arguments = {"timestamp": str(int(at.timestamp()))}
        endpoint = "/prices/historical/{timestamp}/{coins}"
        calls = [self._prices(endpoint, arguments, part, None) for part in _parts(coins, COINS_PER_CALL)]
        return await self._collect(coins, calls, _PRICES)

    async def _closes(self, coins: Sequence[Coin], days: DayRange, reuse: Window | None) -> Fetched[pd.DataFrame]:
        named = _named(coins)
        params: dict[str, str | int] = {"start": int(end_of(days.start).timestamp()), "span": len(days), "period": "1d"}
        return await self._gateway.get(
            VENDOR,
            "/chart/{coins}",
            {"coins": ",".join(named)},
            params,
            lambda answer: require_some(parse_closes(answer, named, days), len(named)),
            reuse=reuse,
        )

    async def _prices(
        self, endpoint: str, arguments: Mapping[str, str], coins: Sequence[Coin], window: Window | None
    ) -> Fetched[pd.DataFrame]:
        named = _named(coins)
        return await self._gateway.get(
            VENDOR,
            endpoint,
            {**arguments, "coins": ",".join(named)},
            {},
            lambda answer: parse_prices(answer, named),
            window=window,
        )

    async def _collect(
        self, coins: Sequence[Coin], calls: Sequence[_Call], columns: Sequence[str]
    ) -> Fetched[pd.DataFrame]:
        """All calls' rows in one frame sorted by coin, stamped with the last call's time."""
        parts = await all_of(calls)
        filled = [part.rows for part in parts if not part.rows.empty]
        keys = [name for name in ("chain", "address", "date") if name in columns]
        rows = pd.concat(filled).sort_values(keys, ignore_index=True) if filled else _frame(columns, {})
        returned = set(zip(rows["chain"], rows["address"], strict=True))
        missing = tuple(name for name, coin in _named(coins).items() if coin not in returned)
        stamps = [part.fetched_at for part in parts]
        return Fetched(
            rows,
            max(stamps) if stamps else self._gateway.present(),
            missing,
            any(part.from_archive for part in parts),
        )


_CLOSES = ("chain", "address", "date", "ts", "close", "confidence", "decimals", "symbol")
_PRICES = ("chain", "address", "ts", "price_usd", "confidence", "decimals", "symbol")
_FLOATS = ("close", "price_usd", "confidence")


def _named(coins: Sequence[Coin]) -> dict[str, Coin]:
    """Coins by the name under which the vendor knows them (`ethereum:0x…`, lower case)."""
    return {f"{chain.lower()}:{address.lower()}": (chain, address.lower()) for chain, address in coins}


def _parts(coins: Sequence[Coin], size: int) -> Iterator[Sequence[Coin]]:
    unique = list(dict.fromkeys(coins))
    return (unique[first : first + size] for first in range(0, len(unique), size))


def _batches(coins: Sequence[Coin], days: DayRange) -> Iterator[tuple[Sequence[Coin], DayRange]]:
    """Requests of at most `COINS_PER_CALL` coins and about `POINTS_PER_CALL` points."""
    for part in _parts(coins, COINS_PER_CALL):
        span = max(1, POINTS_PER_CALL // len(part))
        for offset in range(0, len(days), span):
            first = days.start + timedelta(days=offset)
            yield part, DayRange(first, min(days.end, first + timedelta(days=span - 1)))


def _frame(columns: Sequence[str], values: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    def typed(name: str) -> Any:
        if name == "ts":
            return fields.instants(values.get(name, ()))
        return fields.floats(values.get(name, ())) if name in _FLOATS else fields.objects(values.get(name, ()))

    return pd.DataFrame({name: typed(name) for name in columns})


def _confidence(value: object) -> float | None:
    """Confidence from 0 to 1; the vendor leaves it out where it does not know."""
    result = fields.maybe_number(value)
    if result is not None and not 0 <= result <= 1:
        raise ValueError(f"expected a confidence from 0 to 1, got {result!r}")
    return result


def _decimals(value: object) -> int | None:
    return None if value is None else fields.claimed_decimals(value)


def _found(answer: object, named: Mapping[str, Coin]) -> list[tuple[str, Coin, dict[str, Any]]]:
    """The coins of the answer that were asked for, in the order of asking."""
    coins = fields.record(fields.record(answer, "the answer").get("coins"), "coins")
    lowered = {str(name).lower(): fields.record(coin, f"coin {fields.shown(name)}") for name, coin in coins.items()}
    return [(name, coin, lowered[name]) for name, coin in named.items() if name in lowered]


def _optional(item: Mapping[str, Any], field: str, read: Callable[[Any], Any], where: str) -> Any:
    return fields.single({field: item.get(field)}, field, read, where)


def close_day(ts: datetime) -> date:
    """The UTC day whose end is nearest to the instant; noon belongs to the day that ended before it."""
    ends = math.ceil(ts.timestamp() / _DAY_SECONDS - 0.5)
    return (datetime.fromtimestamp(0, UTC) + timedelta(days=ends - 1)).date()


def parse_closes(answer: object, named: Mapping[str, Coin], days: DayRange) -> pd.DataFrame:
    """Closes of `/chart/{coins}` for the asked coins (`named`: vendor's name -> (chain, address)) within `days`."""
    rows: list[tuple[Any, ...]] = []
    for name, (chain, address), coin in _found(answer, named):
        points = fields.records(coin.get("prices"), f"prices of {name}")
        confidence = _optional(coin, "confidence", _confidence, name)
        decimals = _optional(coin, "decimals", _decimals, name)
        symbol = fields.claimed_text(coin.get("symbol"))
        stamps = fields.column(points, "timestamp", fields.epoch_seconds)
        prices = fields.column(points, "price", fields.positive)
        # Of several points for one day the nearest to its end is the close.
        nearest: dict[date, tuple[timedelta, float]] = {}
        for stamp, price in zip(stamps, prices, strict=True):
            day = close_day(stamp)
            distance = abs(end_of(day) - stamp)
            if day in days and (day not in nearest or distance < nearest[day][0]):
                nearest[day] = (distance, price)
        rows += [
            (chain, address, day, start_of(day), price, confidence, decimals, symbol)
            for day, (_, price) in sorted(nearest.items())
        ]
    return _frame(_CLOSES, dict(zip(_CLOSES, zip(*rows, strict=True), strict=True)) if rows else {})


def parse_prices(answer: object, named: Mapping[str, Coin]) -> pd.DataFrame:
    """Prices of `/prices/current/{coins}` and `/prices/historical/{timestamp}/{coins}` for the asked coins."""
    rows = [
        (
            chain,
            address,
            fields.single(coin, "timestamp", fields.epoch_seconds, name),
            fields.single(coin, "price", fields.positive, name),
            _optional(coin, "confidence", _confidence, name),
            _optional(coin, "decimals", _decimals, name),
            fields.claimed_text(coin.get("symbol")),
        )
        for name, (chain, address), coin in _found(answer, named)
    ]
    return _frame(_PRICES, dict(zip(_PRICES, zip(*rows, strict=True), strict=True)) if rows else {})
