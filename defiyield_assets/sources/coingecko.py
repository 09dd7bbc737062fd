"""CoinGecko: the rolling 24 hours, candles and daily charts of coins by their CoinGecko id.

Lives here: requests, typed rows and error codes of `https://api.coingecko.com/api/v3` (demo) and
`https://pro-api.coingecko.com/api/v3` (paid), and UTC days made of candles. Not here: which vendor's bar wins
(domain/prices), addresses and key headers of the plans (vendors.py).
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd

from defiyield_assets.domain.days import DayRange, end_of, start_of
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

VENDOR = "coingecko"
IDS_PER_CALL = 250
PAID_KEY_HEADER = "x-cg-pro-api-key"
CALLS_PER_COIN = 2
"""What `daily_bars` asks for each coin: candles and a chart."""
SETTLED_AFTER = timedelta(minutes=30)
"""How long after its end a day's last candle and chart point stand; before, an answer does not complete the day."""
CANDLE_SPANS, DAILY_CANDLE_SPANS = (30,), (30, 90, 180)
"""Days back that `/ohlc` gives with more than one candle a day (demo), and with `interval=daily` (paid plans)."""
CHART_SPANS = (30, 90, 365)
"""Days back that we ask `/market_chart` for; the demo plan sees one year."""
HALF_HOUR, FOUR_HOURS, FOUR_DAYS, DAY = timedelta(minutes=30), timedelta(hours=4), timedelta(days=4), timedelta(days=1)
_NEAR_MIDNIGHT = timedelta(minutes=5)
_LAST_MILLIS = 7_258_118_399_000
_ERRORS: dict[int, type[VendorError]] = {
    400: VendorNotFound,
    404: VendorNotFound,
    429: VendorThrottled,
    # No key, another plan's address or endpoint, a key that is refused.
    **dict.fromkeys((401, 403, 10002, 10005, 10010, 10011), VendorAuthError),
    **dict.fromkeys((402, 10006, 10012), VendorPlanLimit),  # out of credits; further back than the plan sees
}
BAR_COLUMNS = (
    "coingecko_id",
    "interval",
    "ts",
    "date",
    "open",
    "high",
    "low",
    "close",
    "volume_usd",
    "market_cap_usd",
)


class CoinGecko:
    """Client of CoinGecko; the plan is the one of the vendor's settings."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @property
    def _is_paid(self) -> bool:
        """Whether the plan may ask for daily candles."""
        return self._gateway.settings(VENDOR).key_header == PAID_KEY_HEADER

    async def markets(
        self, coingecko_ids: Sequence[str], window: Window | None = None, reuse: Window | None = None
    ) -> Fetched[pd.DataFrame]:
        """The rolling 24 hours of coins now (columns: `parse_markets`), sorted by id; no daily bar.

        `missing` names the ids that the vendor does not know.
        """
        parts = await all_of(self._markets(part, window, reuse) for part in _parts(coingecko_ids))
        filled = [part.rows for part in parts if not part.rows.empty]
        rows = pd.concat(filled, ignore_index=True) if filled else parse_markets([])
        rows = rows[rows["coingecko_id"].isin(list(coingecko_ids))].reset_index(drop=True)
        returned = set(rows["coingecko_id"])
        missing = tuple(name for name in dict.fromkeys(coingecko_ids) if name not in returned)
        return _stamped(rows, parts, missing, self._gateway)

    async def _markets(
        self, coingecko_ids: Sequence[str], window: Window | None, reuse: Window | None
    ) -> Fetched[pd.DataFrame]:
        params: dict[str, str | int] = {"vs_currency": "usd", "ids": ",".join(coingecko_ids), "per_page": IDS_PER_CALL}
        return await self._gateway.get(
            VENDOR,
            "/coins/markets",
            {},
            {**params, "page": 1},
            parse_markets,
            window=window,
            reuse=reuse,
            refuse=refuse_error,
        )

    async def ohlc(self, coingecko_id: str, span: int, reuse: Window | None = None) -> Fetched[pd.DataFrame]:
        """Candles of the past `span` days (columns: `parse_candles`); paid plans are given daily ones."""
        daily = {"interval": "daily"} if self._is_paid else {}
        return await self._gateway.get(
            VENDOR,
            "/coins/{id}/ohlc",
            {"id": coingecko_id},
            {"vs_currency": "usd", "days": span, **daily},
            parse_candles,
            reuse=reuse,
            refuse=refuse_error,
        )

    async def market_chart(self, coingecko_id: str, span: int, reuse: Window | None = None) -> Fetched[pd.DataFrame]:
        """Price, capitalisation and 24-hour volume at the midnights of the past `span` days (`parse_daily_chart`)."""
        return await self._gateway.get(
            VENDOR,
            "/coins/{id}/market_chart",
            {"id": coingecko_id},
            {"vs_currency": "usd", "days": span, "interval": "daily"},
            parse_daily_chart,
            reuse=reuse,
            refuse=refuse_error,
        )

    async def daily_bars(
        self, coingecko_ids: Sequence[str], days: DayRange, reuse: Window | None = None
    ) -> Fetched[pd.DataFrame]:
        """Daily bars of the closed days of the range, sorted by id and day (columns: `BAR_COLUMNS`).

        Open, high, low and close are those of the day's candles where all of them are there; further back than the
        candles reach, the close is the chart's price at midnight and the others are null. Volume and capitalisation are
        the chart's. `missing` names the ids without any bar in the range. With `reuse` an archived answer stands in
        where it reaches the whole range.
        """
        parts = await all_of(self._daily_bars(name, days, reuse) for name in dict.fromkeys(coingecko_ids))
        filled = [part.rows for part in parts if not part.rows.empty]
        rows = pd.concat(filled, ignore_index=True) if filled else _bars("", _no_candles(), _no_chart(), days)
        missing = tuple(name for part in parts for name in part.missing)
        rows = rows.sort_values(["coingecko_id", "ts"], ignore_index=True)
        return _stamped(rows, parts, missing, self._gateway)

    async def _daily_bars(self, coingecko_id: str, days: DayRange, reuse: Window | None) -> Fetched[pd.DataFrame]:
        """One coin's bars; a coin that the vendor does not know has none and is in `missing`."""
        back = (self._gateway.present().date() - days.start).days + 1
        span = _span_of(back, DAILY_CANDLE_SPANS if self._is_paid else CANDLE_SPANS)
        chart_span = _span_of(back, CHART_SPANS) or CHART_SPANS[-1]
        try:
            chart = await self.market_chart(coingecko_id, chart_span, _reaching(reuse, days, chart_span))
            parts = [chart]
            candles = _no_candles()
            if span is not None:
                fetched = await self.ohlc(coingecko_id, span, _reaching(reuse, days, span))
                step = DAY if self._is_paid else candle_length(span)
                candles = days_of_candles(fetched.rows, step, fetched.fetched_at)
                parts.append(fetched)
        except VendorNotFound as error:
            if error.status != 404:
                raise
            return Fetched(
                _bars(coingecko_id, _no_candles(), _no_chart(), days), self._gateway.present(), (coingecko_id,)
            )
        points = chart.rows[chart.rows["date"].map(lambda day: is_settled(day, chart.fetched_at)).astype(bool)]
        rows = _bars(coingecko_id, candles, points, days)
        return _stamped(rows, parts, (coingecko_id,) if rows.empty else (), self._gateway)


def _parts(coingecko_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    unique = sorted(set(coingecko_ids))
    return (unique[first : first + IDS_PER_CALL] for first in range(0, len(unique), IDS_PER_CALL))


def _stamped(
    rows: pd.DataFrame, parts: Sequence[Fetched[pd.DataFrame]], missing: tuple[str, ...], gateway: Gateway
) -> Fetched[pd.DataFrame]:
    """Rows with the stamp of the last of the answers that they come from."""
    stamps = [part.fetched_at for part in parts]
    return Fetched(
        rows, max(stamps) if stamps else gateway.present(), missing, any(part.from_archive for part in parts)
    )


def _span_of(back: int, spans: Sequence[int]) -> int | None:
    """The smallest span that holds `back` days whole (its first day is cut), None where none does."""
    return next((span for span in spans if span > back), None)


def _reaching(reuse: Window | None, days: DayRange, span: int) -> Window | None:
    """The part of a window in which an answer over `span` days holds every day of the range whole and settled."""
    if reuse is None:
        return None
    first = max(reuse.not_before, end_of(days.end) + SETTLED_AFTER)
    last = min(reuse.not_after, start_of(days.start) + timedelta(days=span - 1))
    return Window(first, last) if first <= last else None


def is_settled(day: date, fetched_at: datetime) -> bool:
    """Whether an answer of that stamp tells the day's end for good."""
    return fetched_at >= end_of(day) + SETTLED_AFTER


def candle_length(span: int) -> timedelta:
    """How long one candle of `/ohlc` over `span` days is, without an `interval`."""
    return HALF_HOUR if span <= 2 else FOUR_HOURS if span <= 30 else FOUR_DAYS


def days_of_candles(candles: pd.DataFrame, step: timedelta, fetched_at: datetime) -> pd.DataFrame:
    """UTC days made of candles of one length: columns date, open, high, low, close, ascending.

    A candle carries the time of its close: day D holds those closing in (D 00:00, D+1 00:00]. A day is there only when
    exactly its candles are, and only once it is settled (`SETTLED_AFTER`); candles longer than a day make no day.
    """
    rows: list[tuple[date, float, float, float, float]] = []
    opened = candles["ts"] - pd.Timedelta(step)
    for day, part in candles.groupby(opened.dt.date, sort=True):
        expected = pd.date_range(start_of(day) + step, end_of(day), freq=step)
        if is_settled(day, fetched_at) and list(part["ts"]) == list(expected):
            ends = (float(part["open"].iloc[0]), float(part["high"].max()))
            rows.append((day, *ends, float(part["low"].min()), float(part["close"].iloc[-1])))
    names = ("open", "high", "low", "close")
    columns = list(zip(*rows, strict=True)) or [()] * 5
    return pd.DataFrame(
        {"date": fields.objects(columns[0]), **{n: fields.floats(columns[i]) for i, n in enumerate(names, 1)}}
    )


def _no_candles() -> pd.DataFrame:
    return days_of_candles(parse_candles([]), DAY, start_of(date(2000, 1, 1)))


def _no_chart() -> pd.DataFrame:
    return parse_daily_chart({"prices": [], "market_caps": [], "total_volumes": []})


def _bars(coingecko_id: str, candles: pd.DataFrame, chart: pd.DataFrame, days: DayRange) -> pd.DataFrame:
    """Bars of the days of the range from candles by day and chart points by day."""
    joined = candles.merge(chart, on="date", how="outer", sort=True)
    joined = joined[joined["date"].map(lambda day: day in days).astype(bool)].reset_index(drop=True)
    joined["close"] = joined["close"].fillna(joined["price_usd"])
    joined["coingecko_id"] = fields.objects([coingecko_id] * len(joined))
    joined["interval"] = fields.objects(["1d"] * len(joined))
    joined["ts"] = fields.instants([start_of(day) for day in joined["date"]])
    return joined[joined["close"].notna()].reset_index(drop=True)[list(BAR_COLUMNS)]


def refuse_error(answer: object) -> None:
    """Raise the error of `{"status": {"error_code", "error_message"}}`, also below `error`, or of `{"error": "…"}`."""
    if not isinstance(answer, dict):
        return
    error = answer.get("error")
    if isinstance(error, str):
        words = error.lower()
        kind = (
            VendorNotFound if "not find" in words or "not found" in words or "invalid" in words else VendorUnavailable
        )
        raise kind(f"the answer says {fields.shown(error)}")
    holder = error if isinstance(error, dict) else answer
    status = holder.get("status")
    if not isinstance(status, dict) or "error_code" not in status:
        return
    code, said = status["error_code"], str(status.get("error_message"))[:200]
    found = _ERRORS.get(code, VendorUnavailable) if type(code) is int else VendorUnavailable
    if found is VendorThrottled and "month" in said.lower():
        found = VendorPlanLimit
    raise found(f"error code {fields.shown(str(code))}: {fields.shown(said)}")


def _known_size(value: object) -> float | None:
    """A size in USD or units; the vendor says 0 where it does not know."""
    return fields.maybe_size(value) or None


def _rank(value: object) -> float | None:
    """A place by market capitalisation; some coins have none."""
    return None if value is None else float(fields.small_integer(value)) or None


def parse_markets(answer: object) -> pd.DataFrame:
    """Rows of `/coins/markets`, sorted by id.

    Columns: coingecko_id, symbol (as claimed), price_usd, market_cap_usd (0 becomes null), volume_24h_usd,
    high_24h_usd, low_24h_usd, circulating_supply, total_supply, max_supply (units; 0 becomes null), market_cap_rank
    (1 is the largest), updated_at. Exact repeats are dropped; two versions of one coin are refused.
    """
    rows = fields.distinct(fields.records(answer, "the answer"), "id")
    frame = pd.DataFrame(
        {
            "coingecko_id": fields.objects(fields.column(rows, "id", fields.identifier)),
            "symbol": fields.objects(fields.column(rows, "symbol", fields.claimed_text, optional=True)),
            "price_usd": fields.floats(fields.column(rows, "current_price", fields.maybe_positive)),
            "market_cap_usd": fields.floats(fields.column(rows, "market_cap", _known_size)),
            "volume_24h_usd": fields.floats(fields.column(rows, "total_volume", fields.maybe_size)),
            "high_24h_usd": fields.floats(fields.column(rows, "high_24h", fields.maybe_positive, optional=True)),
            "low_24h_usd": fields.floats(fields.column(rows, "low_24h", fields.maybe_positive, optional=True)),
            **{
                name: fields.floats(fields.column(rows, name, _known_size, optional=True))
                for name in ("circulating_supply", "total_supply", "max_supply")
            },
            "market_cap_rank": fields.floats(fields.column(rows, "market_cap_rank", _rank, optional=True)),
            "updated_at": fields.instants(fields.column(rows, "last_updated", fields.maybe_instant, optional=True)),
        }
    )
    return frame.sort_values("coingecko_id", ignore_index=True)


def _millis(value: object) -> datetime:
    """A Unix timestamp in milliseconds, as UTC."""
    millis = fields.small_integer(value)
    if millis > _LAST_MILLIS:
        raise ValueError("expected a Unix timestamp in milliseconds before 2200, got a larger number")
    return datetime.fromtimestamp(millis // 1000, UTC) + timedelta(milliseconds=millis % 1000)


def _listed(value: object, where: str, width: int) -> list[dict[str, Any]]:
    """A list of `[ms, value, …]` rows as records by position, so that a fault names row and place."""
    if type(value) is not list:
        raise VendorMalformed(f"{where} is {fields.shown(value)}, expected a list")
    for row, item in enumerate(value):
        if type(item) is not list or len(item) != width:
            raise VendorMalformed(f"row {row} of {where} is {fields.shown(item)}, expected a list of {width}")
    return [{str(place): entry for place, entry in enumerate(item)} for item in value]


def parse_candles(answer: object) -> pd.DataFrame:
    """Candles of `/coins/{id}/ohlc`, ascending: ts (the candle's **close**), open, high, low, close (USD).

    Of two candles with one `ts` the last stays; a candle whose high is below its low is refused.
    """
    rows = _listed(answer, "the answer", 5)
    frame = pd.DataFrame(
        {
            "ts": fields.instants(fields.column(rows, "0", _millis)),
            "open": fields.floats(fields.column(rows, "1", fields.positive)),
            "high": fields.floats(fields.column(rows, "2", fields.positive)),
            "low": fields.floats(fields.column(rows, "3", fields.positive)),
            "close": fields.floats(fields.column(rows, "4", fields.positive)),
        }
    )
    if (frame["high"] < frame[["open", "low", "close"]].max(axis=1)).any() or (
        frame["low"] > frame[["open", "close"]].min(axis=1)
    ).any():
        raise VendorMalformed("a candle's high and low do not hold its open and close between them")
    return frame.drop_duplicates("ts", keep="last").sort_values("ts", ignore_index=True)


def _points(body: dict[str, Any], name: str, read: Any) -> dict[date, tuple[timedelta, float | None]]:
    """The value nearest to each midnight, by the day that ends there; points in the middle of a day are left out."""
    rows = _listed(body.get(name), name, 2)
    stamps = fields.column(rows, "0", _millis)
    nearest: dict[date, tuple[timedelta, float | None]] = {}
    for stamp, value in zip(stamps, fields.column(rows, "1", read), strict=True):
        midnight = start_of((stamp + timedelta(hours=12)).date())
        distance, day = abs(stamp - midnight), (midnight - DAY).date()
        if distance <= _NEAR_MIDNIGHT and (day not in nearest or distance <= nearest[day][0]):
            nearest[day] = (distance, value)
    return nearest


def parse_daily_chart(answer: object) -> pd.DataFrame:
    """Midnights of `/coins/{id}/market_chart?interval=daily`, ascending: date, price_usd, volume_usd, market_cap_usd.

    A point at D+1 00:00 is the price, the capitalisation (0 becomes null) and the volume in USD of the 24 hours of day
    D. The last point of an answer, the running instant, is none and left out.
    """
    body = fields.record(answer, "the answer")
    prices = _points(body, "prices", fields.maybe_positive)
    volumes = _points(body, "total_volumes", fields.maybe_size)
    caps = _points(body, "market_caps", _known_size)
    days = sorted(prices)
    return pd.DataFrame(
        {
            "date": fields.objects(days),
            "price_usd": fields.floats([prices[day][1] for day in days]),
            "volume_usd": fields.floats([volumes.get(day, (DAY, None))[1] for day in days]),
            "market_cap_usd": fields.floats([caps.get(day, (DAY, None))[1] for day in days]),
        }
    )
