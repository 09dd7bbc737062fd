"""Alpha Vantage: raw daily bars of shares with their dividends and splits, and reported earnings, by symbol.

Lives here: requests, typed rows and the errors that come in an HTTP 200 of `https://www.alphavantage.co/query`. Not
here: adjusting and which vendor's bar wins (domain/prices), plans and their limits (vendors.py).

`TIME_SERIES_DAILY_ADJUSTED` is an endpoint of premium plans: a free key gets an error that says so. `EARNINGS` is free.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

import pandas as pd

from defiyield_assets.domain.days import DayRange, end_of, start_of
from defiyield_assets.errors import (
    TransientError,
    VendorAuthError,
    VendorEmpty,
    VendorError,
    VendorMalformed,
    VendorNotFound,
    VendorPlanLimit,
    VendorThrottled,
    VendorUnavailable,
)
from defiyield_assets.sources import fields
from defiyield_assets.sources.transport import Fetched, Gateway, Window, all_of

VENDOR = "alpha_vantage"
ENDPOINT = "/query"
OutputSize = Literal["compact", "full"]
COMPACT_DAYS = 138
"""Days back from the day of the question in which there are never more than the 100 sessions of a compact answer."""
BAR_COLUMNS = (
    "symbol",
    "interval",
    "ts",
    "date",
    *("open", "high", "low", "close"),
    "adjusted_close",
    "volume_units",
    "dividend",
    "split_coefficient",
)
_SERIES = "Time Series (Daily)"
_FIGURES = {
    "open": "1. open",
    "high": "2. high",
    "low": "3. low",
    "close": "4. close",
    "adjusted_close": "5. adjusted close",
    "volume_units": "6. volume",
    "dividend": "7. dividend amount",
    "split_coefficient": "8. split coefficient",
}
_OF_ALL = (VendorThrottled, VendorPlanLimit, VendorAuthError)
"""Errors that concern the key, and so every symbol."""
_SAID: tuple[tuple[tuple[str, ...], type[VendorError]], ...] = (
    (("this is a premium endpoint",), VendorAuthError),
    # The words about too many calls in a second or minute name the day's limit and the premium plans as well.
    (("per minute", "per second", "sparingly"), VendorThrottled),
    (("per day", "daily rate limit"), VendorPlanLimit),
    (("higher api call",), VendorThrottled),
    (("apikey is invalid", "api key is for demo"), VendorAuthError),
    (("invalid api call",), VendorNotFound),
)
"""What the vendor says of it -> what that means; the first that fits."""
_OTHERWISE: dict[str, type[VendorError]] = {
    "Note": VendorThrottled,
    "Information": VendorUnavailable,
    "Error Message": VendorNotFound,
}
"""Keys of an error in an HTTP 200, and what it is when the words are new."""


@dataclass(frozen=True)
class _Told:
    """What came of one symbol: its bars, or the error that concerns it alone."""

    fetched: Fetched[pd.DataFrame] | None = None
    error: VendorError | None = None


class AlphaVantage:
    """Client of Alpha Vantage; the plan is the one of the vendor's settings."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def daily_adjusted(
        self,
        symbols: Sequence[str],
        days: DayRange,
        *,
        outputsize: OutputSize | None = None,
        reuse: Window | None = None,
    ) -> Fetched[pd.DataFrame]:
        """Raw bars of the sessions of the range that are over, sorted by symbol and session (`BAR_COLUMNS`).

        One call a symbol. `outputsize`: `compact` (the newest 100 sessions) or `full` (whole life); without it the
        smaller one that reaches the range. `missing` names the symbols that the vendor does not know or whose answer
        cannot be read; when there is nothing but those, their error is raised. One without a session in the range (a
        holiday, a halt) is not missing. What concerns the key (limits, a refused key, a plan without this endpoint) is
        raised. With `reuse` an archived answer stands in where it reaches the range.
        """
        size = outputsize or outputsize_for(days.start, self._gateway.present().date())
        wanted = list(dict.fromkeys(symbols))
        window = _reaching(reuse, days, size)
        # The first one alone: a key that is refused, or whose plan is not entitled, has cost one call then.
        parts = [await self._told(symbol, size, days, window) for symbol in wanted[:1]]
        parts += await all_of(self._told(symbol, size, days, window) for symbol in wanted[1:])
        told = [part.fetched for part in parts if part.fetched is not None]
        failed = [part.error for part in parts if part.error is not None]
        if failed and not told:
            raise failed[0]
        filled = [part.rows for part in told if not part.rows.empty]
        rows = pd.concat(filled, ignore_index=True) if filled else bar_frame("", [])
        missing = tuple(name for name, part in zip(wanted, parts, strict=True) if part.error is not None)
        stamp = max((part.fetched_at for part in told), default=self._gateway.present())
        return Fetched(
            rows.sort_values(["symbol", "date"], ignore_index=True),
            stamp,
            missing,
            any(part.from_archive for part in told),
            may_heal=any(isinstance(error, TransientError) for error in failed),
        )

    async def _told(self, symbol: str, size: OutputSize, days: DayRange, reuse: Window | None) -> "_Told":
        """The bars of one symbol, or the error that concerns it alone."""
        try:
            whole = await self._gateway.get(
                VENDOR,
                ENDPOINT,
                {},
                {"function": "TIME_SERIES_DAILY_ADJUSTED", "symbol": symbol, "outputsize": size},
                lambda answer: parse_daily_adjusted(answer, symbol),
                reuse=reuse,
                refuse=refuse_error,
            )
        except VendorError as error:
            if isinstance(error, _OF_ALL):
                raise
            return _Told(error=error)
        rows = whole.rows
        kept = rows["date"].map(lambda day: day in days and is_over(day, whole.fetched_at)).astype(bool)
        rows = rows[kept].reset_index(drop=True)
        return _Told(Fetched(rows, whole.fetched_at, from_archive=whole.from_archive))

    async def earnings(self, symbol: str, reuse: Window | None = None) -> Fetched[pd.DataFrame]:
        """Reported quarters of a company, ascending (columns: `parse_earnings`); a fund has none and is `missing`."""
        try:
            fetched = await self._gateway.get(
                VENDOR,
                ENDPOINT,
                {},
                {"function": "EARNINGS", "symbol": symbol},
                lambda answer: parse_earnings(answer, symbol),
                reuse=reuse,
                refuse=refuse_error,
            )
        except VendorNotFound:
            return Fetched(_earnings_frame(symbol, []), self._gateway.present(), (symbol,))
        missing = (symbol,) if fetched.rows.empty else ()
        return Fetched(fetched.rows, fetched.fetched_at, missing, fetched.from_archive)


def outputsize_for(start: date, present: date) -> OutputSize:
    """The smallest answer that surely reaches back to `start`."""
    return "compact" if (present - start).days <= COMPACT_DAYS else "full"


def is_over(session: date, fetched_at: datetime) -> bool:
    """Whether an answer of that stamp tells a session that has ended; every exchange's is over when its UTC day is."""
    return fetched_at >= end_of(session)


def _reaching(reuse: Window | None, days: DayRange, size: OutputSize) -> Window | None:
    """The part of a window in which an answer of that size holds every session of the range, over and reached."""
    if reuse is None:
        return None
    first = max(reuse.not_before, end_of(days.end))
    last = reuse.not_after
    if size == "compact":
        last = min(last, start_of(days.start + timedelta(days=COMPACT_DAYS)))
    return Window(first, last) if first <= last else None


def refuse_error(answer: object) -> None:
    """Raise the error that `Note`, `Information` or `Error Message` of an answer with status 200 stands for."""
    if not isinstance(answer, dict):
        return
    for name, otherwise in _OTHERWISE.items():
        if name not in answer:
            continue
        said = str(answer[name])
        words = said.lower()
        kind = next((kind for parts, kind in _SAID if any(part in words for part in parts)), otherwise)
        if kind is VendorAuthError and "premium endpoint" in words:
            raise VendorAuthError("this endpoint is not in the plan of the key: it takes a premium plan")
        raise kind(f"{name}: {said[:200]!r}")


def _coefficient(value: object) -> float:
    found = fields.number(value)
    if found <= 0:
        raise ValueError(f"expected a number above 0, got {found!r}")
    return found


def _require_symbol(said: object, symbol: str, where: str) -> None:
    if not isinstance(said, str) or said.strip().upper() != symbol.upper():
        raise VendorMalformed(f"{where} is {fields.shown(said)}, asked for was {fields.shown(symbol)}")


def parse_daily_adjusted(answer: object, symbol: str) -> pd.DataFrame:
    """Bars of `TIME_SERIES_DAILY_ADJUSTED`, ascending (`BAR_COLUMNS`); dates are sessions of the exchange.

    Prices are raw, `adjusted_close` is the vendor's as of the answer, `volume_units` are shares, `split_coefficient` is
    1 where there is no split. `ts` is the start of the UTC day that carries the session's date.
    """
    body = fields.record(answer, "the answer")
    if not body:
        raise VendorNotFound("the answer is empty: the symbol is unknown")
    meta = fields.record(body.get("Meta Data"), "Meta Data")
    _require_symbol(meta.get("2. Symbol"), symbol, "the symbol of Meta Data")
    series = fields.record(body.get(_SERIES), _SERIES)
    if not series:
        raise VendorEmpty(f"{_SERIES} holds no session")
    rows = [{**fields.record(bar, f"a session of {_SERIES}"), "date": day} for day, bar in series.items()]
    return bar_frame(symbol, rows)


def bar_frame(symbol: str, rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The typed frame of a symbol's sessions, each with `date` and the vendor's numbered fields."""
    days = fields.column(rows, "date", fields.session_date)
    readers = dict.fromkeys(_FIGURES, fields.positive) | {"split_coefficient": _coefficient}
    frame = pd.DataFrame(
        {
            "symbol": fields.objects([symbol] * len(rows)),
            "interval": fields.objects(["1d"] * len(rows)),
            "ts": fields.instants([start_of(day) for day in days]),
            "date": fields.objects(days),
            **{name: fields.floats(fields.column(rows, said, readers[name])) for name, said in _FIGURES.items()},
        }
    )
    return frame.sort_values("date", ignore_index=True)[list(BAR_COLUMNS)]


# --- earnings --------------------------------------------------------------------------------------------------------
def _unless_none(value: object) -> object:
    """Null where the vendor writes the word."""
    return None if value in (None, "", "None", "-") else value


def _maybe_number(value: object) -> float | None:
    return fields.maybe_number(_unless_none(value))


def _maybe_fraction(value: object) -> float | None:
    return fields.maybe_fraction(_unless_none(value))


def _maybe_date(value: object) -> date | None:
    known = _unless_none(value)
    return None if known is None else fields.iso_date(known)


def _maybe_text(value: object) -> str | None:
    return fields.claimed_text(_unless_none(value))


def parse_earnings(answer: object, symbol: str) -> pd.DataFrame:
    """Quarters of `EARNINGS`, ascending by the end of the quarter.

    Columns: symbol, fiscal_date_ending, reported_date (null: not told), reported_eps, estimated_eps, surprise (USD per
    share), surprise_fraction (of the estimate), report_time (`pre-market`, `post-market` or null). The vendor's word
    "None" is null.
    """
    body = fields.record(answer, "the answer")
    if not body:
        raise VendorNotFound("the answer is empty: no earnings of that symbol")
    _require_symbol(body.get("symbol"), symbol, "the field 'symbol'")
    return _earnings_frame(symbol, fields.records(body.get("quarterlyEarnings"), "quarterlyEarnings"))


def _earnings_frame(symbol: str, rows: list[dict[str, Any]]) -> pd.DataFrame:
    def numbers(name: str, read: Any = _maybe_number) -> Any:
        return fields.floats(fields.column(rows, name, read, optional=True))

    frame = pd.DataFrame(
        {
            "symbol": fields.objects([symbol] * len(rows)),
            "fiscal_date_ending": fields.objects(fields.column(rows, "fiscalDateEnding", fields.iso_date)),
            "reported_date": fields.objects(fields.column(rows, "reportedDate", _maybe_date, optional=True)),
            "reported_eps": numbers("reportedEPS"),
            "estimated_eps": numbers("estimatedEPS"),
            "surprise": numbers("surprise"),
            "surprise_fraction": numbers("surprisePercentage", _maybe_fraction),
            "report_time": fields.objects(fields.column(rows, "reportTime", _maybe_text, optional=True)),
        }
    )
    return frame.drop_duplicates("fiscal_date_ending", keep="last").sort_values("fiscal_date_ending", ignore_index=True)
