"""Bars below a day: curated from what files tell, and the UTC days that they make.

Lives here: intervals, holes, masked gaps, days of bars, and what the curation of daily bars reads of files. Not here:
reading files (sources/csv_bars.py), which source's bar of a day counts (curation.py), sessions (calendars.py).
"""

import re

import numpy as np
import numpy.typing as npt
import pandas as pd

from defiyield_assets.domain.prices.calendars import expected_slots
from defiyield_assets.domain.prices.instruments import ALWAYS_OPEN

PRICES = ("open", "high", "low", "close")
VOLUMES = ("volume_units", "volume_usd")
INTRADAY_COLUMNS = ("instrument_id", "interval", "ts", "date", *PRICES, *VOLUMES, "source", "quality")
DAY_COLUMNS = ("instrument_id", "date", *PRICES, *VOLUMES, "quality", "source", "ts")
CSV_DAILY_COLUMNS = (
    "instrument_id",
    "date",
    *PRICES,
    *VOLUMES,
    "market_cap_usd",
    "is_adjusted",
    "quality",
    "source",
    "ts",
)
DAILY = "1d"
ENOUGH_SLOTS = 0.8
"""A day with a smaller part of its expected slots is `partial` (market.md)."""
SAME_PRICE = 1e-9
"""Relative difference of two floats that are the same quote."""
HAIR = 5e-4
"""Relative difference of a spread: an open so near the old close is the old quote once more, ..."""
JUMP = 0.01
"""... if the bar closes further from it than this: nothing opens there and is elsewhere five minutes later."""
FULL, PARTIAL, MASKED, CLOSE_ONLY = "full", "partial", "masked_gap", "close_only"
_SLOTS_OF_INTERVAL = re.compile(r"([1-9][0-9]*)([mh])")


def minutes_of(interval: str) -> int | None:
    """Minutes of an interval below a day ("5m", "4h"); None for a day and longer. ValueError for no interval."""
    found = _SLOTS_OF_INTERVAL.fullmatch(interval)
    if found is not None:
        return int(found[1]) * (60 if found[2] == "h" else 1)
    if interval not in (DAILY, "1w", "1mo"):
        raise ValueError(f"{interval!r} is no interval; write it as 5m, 4h, 1d, 1w or 1mo")
    return None


def curate_intraday(told: pd.DataFrame) -> pd.DataFrame:
    """The `intraday_bars` of rows of `ohlcv_csv`: quotes divided by their price scale, masked gaps marked.

    `told`: whole series, since what a bar is depends on the bar before it; rows of a day and longer are left out. A bar
    without all four prices is no bar here.
    """
    below = told["interval"].map({name: minutes_of(name) is not None for name in told["interval"].unique()})
    kept = told[below.astype(bool) & told[list(PRICES)].notna().all(axis=1)]
    kept = kept.sort_values(["instrument_id", "interval", "ts"], kind="stable").reset_index(drop=True)
    if kept.empty:
        return pd.DataFrame(columns=list(INTRADAY_COLUMNS))
    bars = kept[["instrument_id", "interval", "ts", "date"]].copy()
    scale = kept["price_scale"].to_numpy(float)
    for name in PRICES:
        bars[name] = kept[name].to_numpy(float) / scale
    for name in VOLUMES:
        bars[name] = kept[name].to_numpy(float)
    bars["source"] = "csv:" + kept["csv_source"].astype(str)
    bars["quality"] = np.where(masked_gaps(kept), MASKED, FULL).astype(object)
    return bars[list(INTRADAY_COLUMNS)]


def masked_gaps(bars: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which bars hide a jump inside, because they open at the price from before a hole.

    `bars`: instrument_id, interval, ts, open, high, low, close, sorted by the first three, below a day. A bar is a
    masked gap where both hold:

    - it stands behind a hole: the bar before it began more than one interval earlier. On an exchange the night is a
      hole too: there the first price of a session is an auction's and only by chance the old one.
    - its open is no price of the reopening: it is exactly the old close; or it is within 5 bp (`HAIR`) of it and the
      bar closes more than 1 % (`JUMP`) away.

    A bar behind a hole that never leaves the old close has not reopened yet: the next bar is judged in its place as
    well. (Recorded: ADA on 2025-04-06 stands still at 21:00 UTC and falls by 13 % from there in the next bar.)
    """
    minutes = bars["interval"].map({name: minutes_of(name) for name in bars["interval"].unique()}).to_numpy(float)
    stamps = pd.DatetimeIndex(bars["ts"]).tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[s]")
    seconds: npt.NDArray[np.int64] = stamps.astype(np.int64)
    gap = np.concatenate([[0.0], (seconds[1:] - seconds[:-1]) / 60.0])
    is_first = ~(
        bars["instrument_id"].eq(bars["instrument_id"].shift()) & bars["interval"].eq(bars["interval"].shift())
    ).to_numpy(bool)
    is_behind_hole = (gap > minutes + 1e-9) & ~is_first
    opens, highs, lows, closes = (bars[name].to_numpy(float) for name in PRICES)
    old = np.concatenate([[np.nan], closes[:-1]])
    is_same = np.abs(opens - old) <= SAME_PRICE * old
    is_near = (np.abs(opens - old) <= HAIR * old) & (np.abs(closes - old) > JUMP * old)
    masked: npt.NDArray[np.bool_] = is_behind_hole & (is_same | is_near)
    for start in np.flatnonzero(masked):
        at = int(start)
        while at + 1 < len(bars) and highs[at] == lows[at] and not is_first[at + 1] and is_same[at + 1]:
            at += 1
            masked[at] = True
    return masked


def days_of_intraday(intraday: pd.DataFrame, instruments: pd.DataFrame) -> pd.DataFrame:
    """The UTC days of `intraday_bars`: [instrument_id, date, o/h/l/c, volumes, quality, source, ts], sorted by key.

    Quality: `masked_gap` when the day holds one; else `partial` below 80 % of the slots that the instrument's calendar
    expects of the day; else `full`. A volume is null where one of the bars has none. Where an instrument has several
    intervals of a day the one that covers more of it counts, of equals the finer. `ts` is the start of the day.
    """
    if intraday.empty:
        return pd.DataFrame(columns=list(DAY_COLUMNS))
    ordered = intraday.sort_values(["instrument_id", "interval", "date", "ts"], kind="stable")
    ordered = ordered.assign(is_masked=ordered["quality"].eq(MASKED))
    groups = ordered.groupby(["instrument_id", "interval", "date"], sort=False)
    days = groups.agg(
        open=("open", "first"),
        high=("high", "max"),
        low=("low", "min"),
        close=("close", "last"),
        n_slots=("ts", "size"),
        is_masked=("is_masked", "any"),
        source=("source", "last"),
    )
    for name in VOLUMES:
        is_known = groups[name].count() == groups[name].size()
        days[name] = groups[name].sum().astype(float).where(is_known)
    days = days.reset_index()
    days["minutes"] = [minutes_of(name) or 0 for name in days["interval"]]
    days["coverage"] = days["n_slots"] / _expected(days, instruments)
    is_partial = days["coverage"] < ENOUGH_SLOTS
    days["quality"] = np.where(days["is_masked"], MASKED, np.where(is_partial, PARTIAL, FULL)).astype(object)
    days = days.sort_values(["instrument_id", "date", "coverage", "minutes"], ascending=[True, True, False, True])
    days = days.drop_duplicates(["instrument_id", "date"]).reset_index(drop=True)
    return days.assign(ts=pd.to_datetime(days["date"], utc=True))[list(DAY_COLUMNS)]


def _expected(days: pd.DataFrame, instruments: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Slots that the calendar expects of each row's day; one of a day without a session: what is there is enough."""
    calendars = dict(zip(instruments["instrument_id"], instruments["calendar"], strict=True))
    rows = zip(days["instrument_id"], days["date"], days["minutes"], strict=True)
    asked = [(calendars.get(name, ALWAYS_OPEN), day, int(minutes)) for name, day, minutes in rows]
    known = {question: max(1, expected_slots(*question)) for question in set(asked)}
    return np.array([known[question] for question in asked], dtype=np.float64)


def csv_daily_rows(told: pd.DataFrame, intraday: pd.DataFrame, instruments: pd.DataFrame) -> pd.DataFrame:
    """What files tell of whole days, one row per instrument and day, for the curation of daily bars.

    `told`: rows of `ohlcv_csv`, of which those of one day count; `intraday`: rows of `intraday_bars`, whose days stand
    in where no daily row is told. Columns: CSV_DAILY_COLUMNS; prices in USD, `source` as `csv:<name>`, `quality` full,
    close_only, partial or masked_gap, `ts` the open of the day's bar.
    """
    daily = told[told["interval"] == DAILY]
    parts = []
    if not daily.empty:
        scale = daily["price_scale"].to_numpy(float)
        rows = daily[["instrument_id", "date", *VOLUMES, "market_cap_usd", "is_adjusted", "ts"]].copy()
        for name in PRICES:
            rows[name] = daily[name].to_numpy(float) / scale
        is_whole = rows[list(PRICES)].notna().all(axis=1)
        rows["quality"] = np.where(is_whole, FULL, CLOSE_ONLY).astype(object)
        rows["source"] = "csv:" + daily["csv_source"].astype(str)
        parts.append(rows)
    if not intraday.empty:
        of_bars = days_of_intraday(intraday, instruments)
        parts.append(of_bars.assign(market_cap_usd=np.nan, is_adjusted=False))
    if not parts:
        return pd.DataFrame(columns=list(CSV_DAILY_COLUMNS))
    rows = pd.concat([part[list(CSV_DAILY_COLUMNS)] for part in parts], ignore_index=True)
    rows = rows.drop_duplicates(["instrument_id", "date"], keep="first")
    return rows.sort_values(["instrument_id", "date"], kind="stable").reset_index(drop=True)
