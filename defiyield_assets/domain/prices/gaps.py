"""What is missing among daily bars, and what in them cannot be believed.

Lives here: sessions without a bar, instruments whose data stopped, implausible bars. Not here: calendars
(calendars.py), which bars are made (curation.py).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pandas as pd

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.prices.calendars import last_session, reaches, sessions
from defiyield_assets.domain.prices.instruments import listed_on

ENOUGH = 0.95
"""Share of the active instruments that have the last session's bar (market.md, Freshness)."""
FILE_DAYS = 7
"""Days after the last bar of an instrument that only files tell until nobody awaits the next file."""
WINDOW = 250
"""Bars before a bar that say what is usual for its instrument."""
FEWEST = 30
"""With fewer bars than this nothing is known to be usual: only the floors count."""
WICK_FLOOR, MOVE_FLOOR = 0.25, 0.25
"""Logarithmic wick or move that is never implausible below this: 28 %."""
TIMES_USUAL = 20.0
"""So many times the instrument's usual wick (median) or move (median of the absolute ones) is implausible."""


def missing_sessions(
    bars: pd.DataFrame, instruments: pd.DataFrame, days: DayRange, first_bars: Mapping[str, date]
) -> pd.DataFrame:
    """Sessions of `days` without a bar: [instrument_id, date], sorted.

    `bars`: instrument_id and date of what is there in the range. `instruments`: rows of the table `instruments`; a
    session counts from `listed_at` on (where that is not known, from the first bar ever on, `first_bars`) and before
    `delisted_at`. An instrument that never had a bar has no gap: it was never told (`Freshness.never_told`). Nor has
    one whose calendar ends before the range does: nobody knows its sessions (`Freshness.calendar_unknown`).
    """
    there = set(zip(bars["instrument_id"], bars["date"], strict=True))
    by_calendar: dict[str, list[date]] = {}
    found = []
    columns = ("instrument_id", "calendar", "listed_at", "delisted_at")
    configured = instruments[instruments["is_configured"].astype(bool)]
    for name, calendar, listed_at, delisted_at in zip(*(configured[column] for column in columns), strict=True):
        if name not in first_bars:
            continue
        first = listed_at if isinstance(listed_at, date) else first_bars[name]
        if calendar not in by_calendar:
            by_calendar[calendar] = sessions(calendar, days) if reaches(calendar, days) else []
        found += [
            (name, day)
            for day in by_calendar[calendar]
            if day >= first and not (isinstance(delisted_at, date) and day >= delisted_at) and (name, day) not in there
        ]
    frame = pd.DataFrame(found, columns=["instrument_id", "date"], dtype=object)
    return frame.sort_values(["instrument_id", "date"], ignore_index=True)


@dataclass(frozen=True)
class Freshness:
    """Whether instruments have the bar of their last session.

    `active`: instruments that ever had a bar, are listed on their last session and have a source that goes on; `stale`:
    those of them without its bar, with the day of the newest one they have; `required`: stale ones that others rest
    on. Apart: `never_told`, listed ones that no source ever told a bar of; `ended`, those whose files have ended, with
    the newest day; `calendar_unknown`, those whose calendar the library does not know on the day.
    """

    active: tuple[str, ...]
    stale: dict[str, date]
    never_told: tuple[str, ...]
    required: tuple[str, ...] = ()
    ended: dict[str, date] = field(default_factory=dict)
    calendar_unknown: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Share of the active instruments that have the bar; 0 without an active one."""
        return 1.0 - len(self.stale) / len(self.active) if self.active else 0.0

    @property
    def is_enough(self) -> bool:
        """Whether at least 95 % have it, and what others rest on does. With none listed, or files only that
        have ended, there is nothing to be fresh."""
        return (self.share >= ENOUGH and not self.required) or not (self.active or self.never_told)


def bar_freshness(
    newest: Mapping[str, date],
    instruments: pd.DataFrame,
    day: date,
    *,
    by_file: Collection[str] = (),
    required: Collection[str] = (),
) -> Freshness:
    """Whether the instruments have the bar of the last session on or before `day`.

    `newest`: day of the newest bar of each instrument, not after `day`. An instrument without any bar ever is told
    apart: what no source has ever told cannot stop. `by_file`: those that no vendor tells: a week after its last bar
    such a file has ended. `required`: those that others rest on, of which none may be stale.
    """
    active, stale, never, ended, unknown = [], {}, [], {}, []
    for calendar in instruments["calendar"].unique():
        own = instruments[instruments["calendar"] == calendar]
        if not reaches(calendar, DayRange.of(day)):
            unknown += list(listed_on(own, day)["instrument_id"])
            continue
        expected = last_session(calendar, day)
        for name in listed_on(own, expected)["instrument_id"]:
            if name not in newest:
                never += [] if name in by_file else [name]
            elif name in by_file and (expected - newest[name]).days > FILE_DAYS:
                ended[name] = newest[name]
            else:
                active.append(name)
                if newest[name] < expected:
                    stale[name] = newest[name]
    return Freshness(
        tuple(sorted(active)),
        dict(sorted(stale.items())),
        tuple(sorted(never)),
        tuple(sorted(set(stale) & set(required))),
        dict(sorted(ended.items())),
        tuple(sorted(unknown)),
    )


def implausible_bars(bars: pd.DataFrame, days: DayRange) -> pd.DataFrame:
    """Bars of `days` that no market makes without being asked why: [instrument_id, date, what, size, usual].

    `bars`: daily bars (instrument_id, date, open, high, low, close, adj_factor) of the range and before it. `what` is
    `high` (high above open and close), `low` (low under both) or `move` (close to close, adjusted); `size` is its
    logarithm, `usual` the median of the absolute value over the instrument's 250 bars before. Implausible is what is
    above 25 % and above 20 times the usual: a bound in medians, which single prints do not move. Only bars before a
    bar are asked what is usual.
    """
    columns = ["instrument_id", "date", "what", "size", "usual"]
    parts = []
    for name, part in bars.sort_values(["instrument_id", "date"]).groupby("instrument_id", sort=True):
        dates = np.array(part["date"].to_numpy(), dtype="datetime64[D]")
        inside = (dates >= np.datetime64(days.start)) & (dates <= np.datetime64(days.end))
        if not inside.any():
            continue
        prices = {column: part[column].to_numpy(float) for column in ("open", "high", "low", "close")}
        adjusted = np.log(prices["close"] * part["adj_factor"].to_numpy(float))
        with np.errstate(invalid="ignore", divide="ignore"):
            sizes = {
                "high": np.log(prices["high"] / np.maximum(prices["open"], prices["close"])),
                "low": np.log(np.minimum(prices["open"], prices["close"]) / prices["low"]),
                "move": np.diff(adjusted, prepend=np.nan),
            }
        for what, size in sizes.items():
            usual = pd.Series(np.abs(size)).rolling(WINDOW, min_periods=FEWEST).median().shift(1).to_numpy()
            floor = WICK_FLOOR if what != "move" else MOVE_FLOOR
            bound = np.maximum(floor, TIMES_USUAL * np.nan_to_num(usual))
            hit = np.flatnonzero(inside & (np.abs(size) > bound))
            parts += [(name, part["date"].iloc[row], what, float(size[row]), float(usual[row])) for row in hit]
    frame = pd.DataFrame(parts, columns=columns)
    return frame.astype({"size": float, "usual": float}).sort_values(
        ["instrument_id", "date", "what"], ignore_index=True
    )
