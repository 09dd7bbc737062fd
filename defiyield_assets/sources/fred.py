"""FRED: macro observations with the day on which each value became known, and what a series is.

Lives here: requests and typed rows of `https://api.stlouisfed.org/fred`, and the lags that are assumed where a series
has no vintages. Not here: which series we read (settings).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import pandas as pd

from defiyield_assets.errors import VendorAuthError, VendorEmpty, VendorNotFound
from defiyield_assets.sources import fields
from defiyield_assets.sources.transport import Fetched, Gateway, Window

VENDOR = "fred"
FIRST_VINTAGE, LAST_VINTAGE = "1776-07-04", "9999-12-31"
"""FRED's own names for "since ever" and "for ever": together they ask for all vintages."""
DAYS_PER_PART = 4 * 365
"""Real-time days asked for at once where FRED refuses the whole: it gives at most 2,000 vintages in one answer."""
LAG_DAYS_BY_FREQUENCY = {"D": 1, "W": 7, "BW": 14, "M": 45, "Q": 120, "SA": 240, "A": 400}
"""Days from the date of an observation (the first of its period) to its release, by FRED's letter; on the late side."""
LAG_DAYS = {"FEDFUNDS": 35, "DFF": 2}
"""The same of single series that are released earlier or later than others of their frequency."""
_LONGEST_LAG = max(LAG_DAYS_BY_FREQUENCY.values())


@dataclass(frozen=True)
class Page:
    """One answer: observations (date, vintage, value, is_vintage_assumed) and how many there are on all pages."""

    observations: pd.DataFrame
    total: int

    def __len__(self) -> int:
        return len(self.observations)


class Fred:
    """Client of FRED and its vintages (ALFRED)."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def about(self, series_id: str, reuse: Window | None = None) -> Fetched[pd.DataFrame]:
        """What `/series` says of one series: a row with series_id, unit and frequency (D, W, M, Q, A, …)."""
        return await self._gateway.get(
            VENDOR,
            "/series",
            {},
            {"series_id": series_id, "file_type": "json"},
            lambda answer: parse_series(answer, series_id),
            reuse=reuse,
            refuse=refuse_error,
        )

    async def observations(
        self,
        series_id: str,
        start: date,
        end: date,
        *,
        publication_lag_days: int | None = None,
        reuse: Window | None = None,
    ) -> Fetched[pd.DataFrame]:
        """Every vintage of the observations from `start` to `end`, sorted by (date, vintage).

        Columns: series_id, date, vintage (known since), value (NaN: missing), unit and frequency (as `/series` states
        them), is_vintage_assumed. Where the vendor gives no vintages, the vintage is the observation date plus the
        series' publication lag (`assumed_vintage`), flagged. A series without observations is in `missing`.
        """
        about = (await self.about(series_id, reuse)).rows.iloc[0]
        frequency = str(about["frequency"])
        lag_days = lag_of(series_id, frequency) if publication_lag_days is None else publication_lag_days
        try:
            parts = [await self._pages((series_id, start, end), FIRST_VINTAGE, LAST_VINTAGE, reuse)]
            frame = parts[0].rows
        except VendorNotFound as error:
            if "vintage dates" not in str(error):
                raise
            spans = vintage_spans(start, self._gateway.present().date())
            parts = [await self._pages((series_id, start, end), since, until, reuse) for since, until in spans]
            frame = without_repeated_values(pd.concat([part.rows for part in parts], ignore_index=True))
        assumed = zip(frame["date"], frame["vintage"], frame["is_vintage_assumed"], strict=True)
        frame = frame.assign(
            series_id=series_id,
            unit=str(about["unit"]),
            frequency=frequency,
            vintage=fields.objects(
                [assumed_vintage(day, lag_days) if is_assumed else vintage for day, vintage, is_assumed in assumed]
            ),
        )
        columns = ["series_id", "date", "vintage", "value", "unit", "frequency", "is_vintage_assumed"]
        frame = frame[columns].drop_duplicates(["date", "vintage"], keep="last")
        frame = frame.sort_values(["date", "vintage"], ignore_index=True)
        stamp, from_archive = max(part.fetched_at for part in parts), any(part.from_archive for part in parts)
        return Fetched(frame, stamp, (series_id,) if frame.empty else (), from_archive)

    async def _pages(
        self, asked: tuple[str, date, date], since: str, until: str, reuse: Window | None
    ) -> Fetched[pd.DataFrame]:
        """All pages of one span of vintages of a series and range, stamped with the last."""
        series_id, start, end = asked
        pages: list[pd.DataFrame] = []
        while True:
            read = sum(map(len, pages))
            fetched = await self._gateway.get(
                VENDOR,
                "/series/observations",
                {},
                {
                    "series_id": series_id,
                    "file_type": "json",
                    "observation_start": start.isoformat(),
                    "observation_end": end.isoformat(),
                    "realtime_start": since,
                    "realtime_end": until,
                    **({"offset": read} if read else {}),
                },
                parse_observations,
                reuse=reuse,
                refuse=refuse_error,
            )
            pages.append(fetched.rows.observations)
            if not len(fetched.rows) or read + len(fetched.rows) >= fetched.rows.total:
                rows = pd.concat(pages, ignore_index=True)
                return Fetched(rows, fetched.fetched_at, from_archive=fetched.from_archive)


def lag_of(series_id: str, frequency: str) -> int:
    """Days that are assumed from an observation's date to its release; an unknown frequency has the longest."""
    return LAG_DAYS.get(series_id, LAG_DAYS_BY_FREQUENCY.get(frequency, _LONGEST_LAG))


def assumed_vintage(day: date, lag_days: int) -> date:
    """The day of an observation's release where nobody tells it: so many days later, never on a week-end."""
    released = day + timedelta(days=lag_days)
    return released + timedelta(days=max(0, 7 - released.weekday()) if released.weekday() >= 5 else 0)


def vintage_spans(start: date, present: date) -> Iterator[tuple[str, str]]:
    """Spans of real time that together hold every vintage of the observations since `start` (none is known before)."""
    first = start
    while (following := first + timedelta(days=DAYS_PER_PART)) <= present:
        yield first.isoformat(), (following - timedelta(days=1)).isoformat()
        first = following
    yield first.isoformat(), LAST_VINTAGE


def without_repeated_values(frame: pd.DataFrame) -> pd.DataFrame:
    """Vintages that change the value; FRED repeats at the start of each span what was already known before it."""
    ordered = frame.sort_values(["date", "vintage"], ignore_index=True)
    before = ordered.shift()
    is_same_value = (ordered["value"] == before["value"]) | (ordered["value"].isna() & before["value"].isna())
    return ordered[~(is_same_value & (ordered["date"] == before["date"]))].reset_index(drop=True)


def refuse_error(answer: object) -> None:
    """Raise FRED's `{"error_code", "error_message"}`: a bad key is `VendorAuthError`, the rest our mistake."""
    if not isinstance(answer, dict) or "error_code" not in answer:
        return
    said = str(answer.get("error_message"))[:300]
    if str(answer["error_code"]) == "400":
        raise (VendorAuthError if "api_key" in said else VendorNotFound)(f"error 400: {said!r}")


def _value(value: object) -> float | None:
    """A number; `.` is FRED's missing value."""
    return None if value == "." else fields.number(value)


def parse_observations(answer: object) -> Page:
    """One page of `/series/observations`.

    The vintage is `realtime_start`, assumed when the answer covers a moment only (then it is just the day of the call).
    """
    body = fields.record(answer, "the answer")
    rows = fields.records(body.get("observations"), "observations")
    is_assumed = body.get("realtime_start") == body.get("realtime_end")
    frame = pd.DataFrame(
        {
            "date": fields.objects(fields.column(rows, "date", fields.iso_date)),
            "vintage": fields.objects(fields.column(rows, "realtime_start", fields.iso_date)),
            "value": fields.floats(fields.column(rows, "value", _value)),
            "is_vintage_assumed": pd.Series([is_assumed] * len(rows), dtype=bool),
        }
    )
    return Page(frame, fields.single(body, "count", fields.small_integer, "the answer"))


def parse_series(answer: object, series_id: str) -> pd.DataFrame:
    """The one row of `/series`: series_id, unit (such as Percent), frequency (FRED's letter)."""
    rows = fields.records(fields.record(answer, "the answer").get("seriess"), "seriess")
    if not rows:
        raise VendorEmpty("seriess holds no series")
    own = [row for row in rows if row.get("id") == series_id]
    if not own:
        raise VendorNotFound(f"the answer does not tell of {fields.shown(series_id)}")
    return pd.DataFrame(
        {
            "series_id": fields.objects([series_id]),
            "unit": fields.objects(fields.column(own[:1], "units", fields.text)),
            "frequency": fields.objects(fields.column(own[:1], "frequency_short", fields.text)),
        }
    )
