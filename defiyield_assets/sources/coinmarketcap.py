"""CoinMarketCap: daily bars and quotes by numeric id, because symbols are ambiguous.

Lives here: requests, typed rows and error codes of `https://pro-api.coinmarketcap.com`. Not here: which vendor's
bar wins (domain/prices).
"""

import math
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pandas as pd

from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import (
    VendorAuthError,
    VendorError,
    VendorMalformed,
    VendorNotFound,
    VendorPlanLimit,
    VendorThrottled,
    VendorUnavailable,
)
from defiyield_assets.sources import fields
from defiyield_assets.sources.transport import Fetched, Gateway, Window, all_of
from defiyield_assets.sources.wire import require_some

VENDOR = "coinmarketcap"
IDS_PER_CALL = 50
BARS_PER_CREDIT = 100
"""Bars that one credit of the plan buys."""
_ERRORS: dict[int, type[VendorError]] = {
    400: VendorNotFound,
    401: VendorAuthError,
    403: VendorAuthError,
    429: VendorThrottled,
    # The key is wrong, absent, needed, not entitled, disabled.
    **dict.fromkeys((1001, 1002, 1005, 1006, 1007), VendorAuthError),
    # The plan is unpaid or expired; the credits of the day or month are used up.
    **dict.fromkeys((1003, 1004, 1009, 1010), VendorPlanLimit),
    **dict.fromkeys((1008, 1011), VendorThrottled),  # per key and minute, per address
}


class CoinMarketCap:
    """Client of CoinMarketCap."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def ohlcv(self, cmc_ids: Sequence[int], days: DayRange, reuse: Window | None = None) -> Fetched[pd.DataFrame]:
        """Daily bars of the days of the range, sorted by id and day (columns: `parse_ohlcv`).

        `missing` names the ids without any bar in the range.
        """
        parts = await all_of(self._ohlcv(part, days, reuse) for part in _parts(cmc_ids))
        return _together(parts, cmc_ids, self._gateway, parse_ohlcv({"data": {}}))

    async def _ohlcv(self, cmc_ids: Sequence[int], days: DayRange, reuse: Window | None) -> Fetched[pd.DataFrame]:
        def bars(answer: object) -> pd.DataFrame:
            """Bars of the asked days: the day before them, asked for as well, does not make the answer one."""
            rows = parse_ohlcv(answer)
            inside = rows["date"].map(lambda day: day in days).astype(bool)
            return require_some(rows[inside].reset_index(drop=True), len(cmc_ids))

        return await self._gateway.get(
            VENDOR,
            "/v2/cryptocurrency/ohlcv/historical",
            {},
            {
                "id": ",".join(map(str, cmc_ids)),
                "time_period": "daily",
                # Read as exclusive by some versions of the endpoint: ask one day more, keep the days of the range.
                "time_start": (days.start - timedelta(days=1)).isoformat(),
                "time_end": days.end.isoformat(),
                "convert": "USD",
                "skip_invalid": "true",
            },
            bars,
            reuse=reuse,
            credits_used=math.ceil(len(cmc_ids) * (len(days) + 1) / BARS_PER_CREDIT),
            refuse=refuse_error_code,
        )

    async def quotes(self, cmc_ids: Sequence[int], window: Window | None = None) -> Fetched[pd.DataFrame]:
        """Current quotes, sorted by id (columns: `parse_quotes`); `missing` names the ids without one."""
        calls = (
            self._gateway.get(
                VENDOR,
                "/v1/cryptocurrency/quotes/latest",
                {},
                {"id": ",".join(map(str, part)), "convert": "USD", "skip_invalid": "true"},
                parse_quotes,
                window=window,
                refuse=refuse_error_code,
            )
            for part in _parts(cmc_ids)
        )
        return _together(await all_of(calls), cmc_ids, self._gateway, parse_quotes({"data": {}}))


def _parts(cmc_ids: Sequence[int]) -> Iterator[Sequence[int]]:
    unique = sorted(set(cmc_ids))
    return (unique[first : first + IDS_PER_CALL] for first in range(0, len(unique), IDS_PER_CALL))


def _together(
    parts: Sequence[Fetched[pd.DataFrame]], cmc_ids: Sequence[int], gateway: Gateway, empty: pd.DataFrame
) -> Fetched[pd.DataFrame]:
    """Rows of the asked ids of all calls, stamped with the last call's time."""
    filled = [part.rows for part in parts if not part.rows.empty]
    rows = pd.concat(filled, ignore_index=True) if filled else empty
    rows = rows[rows["cmc_id"].isin(list(cmc_ids))].reset_index(drop=True)
    returned = set(rows["cmc_id"])
    missing = tuple(str(cmc_id) for cmc_id in dict.fromkeys(cmc_ids) if cmc_id not in returned)
    stamps = [part.fetched_at for part in parts]
    stamp = max(stamps) if stamps else gateway.present()
    return Fetched(rows, stamp, missing, any(part.from_archive for part in parts))


def refuse_error_code(answer: object) -> None:
    """Raise the error that `status.error_code` stands for, whatever the HTTP status; 0 and absence are none."""
    status = answer.get("status") if isinstance(answer, dict) else None
    if not isinstance(status, dict) or status.get("error_code") in (None, 0, "0"):
        return
    try:
        code = fields.small_integer(status["error_code"])
    except ValueError as error:
        raise VendorMalformed(f"field 'error_code' of status: {error}") from None
    said = fields.shown(str(status.get("error_message"))[:200])
    raise _ERRORS.get(code, VendorUnavailable)(f"error code {code}: {said}")


def _coins(answer: object, inner: str) -> list[dict[str, Any]]:
    """The coins of an answer: `data` by id or symbol (each an object or a list), a list, or one coin itself."""
    body = fields.record(answer, "the answer")
    data = body if "data" not in body and inner in body else body.get("data")
    if isinstance(data, dict) and inner in data:
        return [data]
    if isinstance(data, dict):
        lists = [coin if isinstance(coin, list) else [coin] for coin in data.values()]
        return fields.records([coin for coins in lists for coin in coins], "data")
    return fields.records(data, "data")


def _usd(holder: dict[str, Any], where: str) -> dict[str, Any]:
    """`quote.USD` of a bar or coin."""
    quote = fields.record(holder.get("quote"), f"quote of {where}")
    return fields.record(quote.get("USD"), f"quote.USD of {where}")


def _market_cap(value: object) -> float | None:
    """The vendor says 0 where it does not know."""
    return fields.maybe_positive(value) or None


def parse_ohlcv(answer: object) -> pd.DataFrame:
    """Bars of `/v2/cryptocurrency/ohlcv/historical`, sorted by id and time.

    Columns: cmc_id, ts (open of the bar), date (its UTC day), open, high, low, close (USD), volume_usd, market_cap_usd
    (0 becomes null). Of two bars of one id and day the last stays.
    """
    rows: list[dict[str, Any]] = []
    for place, coin in enumerate(_coins(answer, "quotes")):
        cmc_id = fields.single(coin, "id", fields.small_integer, f"coin {place}")
        for bar in fields.records(coin.get("quotes"), f"quotes of id {cmc_id}"):
            usd = _usd(bar, f"a bar of id {cmc_id}")
            rows.append({**usd, "cmc_id": cmc_id, "time_open": bar.get("time_open")})
    stamps = fields.column(rows, "time_open", fields.instant)
    frame = pd.DataFrame(
        {
            "cmc_id": pd.Series([row["cmc_id"] for row in rows], dtype="int64"),
            "ts": fields.instants(stamps),
            "date": fields.objects([stamp.date() for stamp in stamps]),
            **{name: fields.floats(fields.column(rows, name, fields.positive)) for name in ("open", "high", "low")},
            "close": fields.floats(fields.column(rows, "close", fields.positive)),
            "volume_usd": fields.floats(fields.column(rows, "volume", fields.maybe_positive, optional=True)),
            "market_cap_usd": fields.floats(fields.column(rows, "market_cap", _market_cap, optional=True)),
        }
    )
    return frame.drop_duplicates(["cmc_id", "date"], keep="last").sort_values(["cmc_id", "ts"], ignore_index=True)


def parse_quotes(answer: object) -> pd.DataFrame:
    """Rows of `/v1/cryptocurrency/quotes/latest`: cmc_id, symbol, ts, price_usd, volume_usd (24 h), market_cap_usd."""
    coins = _coins(answer, "quote")
    rows = [{**_usd(coin, f"coin {place}"), "id": coin.get("id")} for place, coin in enumerate(coins)]
    frame = pd.DataFrame(
        {
            "cmc_id": pd.Series(fields.column(rows, "id", fields.small_integer), dtype="int64"),
            "symbol": fields.objects(fields.column(coins, "symbol", fields.claimed_text, optional=True)),
            "ts": fields.instants(fields.column(rows, "last_updated", fields.instant)),
            "price_usd": fields.floats(fields.column(rows, "price", fields.positive)),
            "volume_usd": fields.floats(fields.column(rows, "volume_24h", fields.maybe_positive, optional=True)),
            "market_cap_usd": fields.floats(fields.column(rows, "market_cap", _market_cap, optional=True)),
        }
    )
    return frame.drop_duplicates("cmc_id", keep="last").sort_values("cmc_id", ignore_index=True)
