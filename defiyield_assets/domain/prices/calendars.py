"""Trading calendars: which days have a session, and for how long.

Lives here: 24x7 and exchange calendars (the library `exchange_calendars`). Not here: which instrument follows which
(instruments.py), sessions without a bar (gaps.py).
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

from defiyield_assets.domain.days import DayRange, end_of
from defiyield_assets.domain.prices.instruments import ALWAYS_OPEN

FIRST_DAY, LAST_DAY = date(1960, 1, 1), date(2040, 12, 31)
"""Days that calendars are asked for; of some exchanges the library knows less."""
MINUTES_OF_DAY = 1440


@dataclass(frozen=True)
class _Sessions:
    """Sessions of an exchange, ascending: the minutes that each is open, when it closes (UTC), which days are known."""

    days: tuple[date, ...]
    minutes: tuple[int, ...]
    closes: tuple[datetime, ...]
    known: DayRange


def sessions(calendar: str, days: DayRange) -> list[date]:
    """The days of the range on which the market is open, ascending: all of them for `24x7`.

    The day of a session is its exchange's. Raises ValueError for a calendar that nobody knows, or days that the
    library does not reach.
    """
    if calendar == ALWAYS_OPEN:
        return list(days)
    found = _known(calendar, days)
    return list(found.days[bisect_left(found.days, days.start) : bisect_right(found.days, days.end)])


def reaches(calendar: str, days: DayRange) -> bool:
    """Whether the library knows the calendar on all days of the range. ValueError for a calendar that nobody knows."""
    if calendar == ALWAYS_OPEN:
        return True
    known = known_span(calendar)
    return known.start <= days.start and days.end <= known.end


def known_span(calendar: str) -> DayRange:
    """The days on which the library knows an exchange's calendar. ValueError for one that nobody knows."""
    return _exchange(calendar).known


def is_session(calendar: str, day: date) -> bool:
    """Whether the market is open on the day."""
    return bool(sessions(calendar, DayRange.of(day)))


def last_session(calendar: str, day: date) -> date:
    """The newest session on or before the day. ValueError as in `sessions`."""
    if calendar == ALWAYS_OPEN:
        return day
    found = _known(calendar, DayRange.of(day))
    place = bisect_right(found.days, day)
    if place == 0:
        raise ValueError(f"calendar {calendar} knows no session on or before {day}")
    return found.days[place - 1]


def sessions_back(calendar: str, day: date, count: int) -> date:
    """The session `count` sessions before the last one on or before the day."""
    if calendar == ALWAYS_OPEN:
        return day - timedelta(days=count)
    found = _known(calendar, DayRange.of(day))
    return found.days[max(0, bisect_right(found.days, day) - 1 - count)]


def session_minutes(calendar: str, day: date) -> int:
    """Minutes that the market is open on the day: 1440 for `24x7`, 0 without a session, fewer before a holiday."""
    if calendar == ALWAYS_OPEN:
        return MINUTES_OF_DAY
    found = _known(calendar, DayRange.of(day))
    place = bisect_left(found.days, day)
    is_open = place < len(found.days) and found.days[place] == day
    return found.minutes[place] if is_open else 0


def closing_time(calendar: str, day: date) -> datetime:
    """When the bar of the day is complete, UTC: the end of the day for `24x7`, else the close of the session.

    ValueError for a day without a session, and as in `sessions`.
    """
    if calendar == ALWAYS_OPEN:
        return end_of(day)
    found = _known(calendar, DayRange.of(day))
    place = bisect_left(found.days, day)
    if place == len(found.days) or found.days[place] != day:
        raise ValueError(f"calendar {calendar} has no session on {day}")
    return found.closes[place]


def expected_slots(calendar: str, day: date, interval_minutes: int) -> int:
    """How many bars of an interval the day should have; a last, shorter one counts."""
    return -(-session_minutes(calendar, day) // interval_minutes)


def _known(calendar: str, days: DayRange) -> _Sessions:
    found = _exchange(calendar)
    if days.start < found.known.start or days.end > found.known.end:
        raise ValueError(
            f"calendar {calendar} is known from {found.known.start} to {found.known.end}, "
            f"asked for were {days.start} to {days.end}"
        )
    return found


@lru_cache(maxsize=32)
def _exchange(calendar: str) -> _Sessions:
    """An exchange's sessions over all days that the library knows; built once."""
    import exchange_calendars

    try:
        exchange = exchange_calendars.get_calendar(calendar, start=str(FIRST_DAY), end=str(LAST_DAY))
    except exchange_calendars.errors.InvalidCalendarName:
        raise ValueError(f"{calendar!r} is no calendar; write 24x7, or an exchange's code such as XNYS") from None
    except ValueError:
        exchange = exchange_calendars.get_calendar(calendar, **_bounds(calendar))
    first, last = exchange.first_session.date(), exchange.last_session.date()
    known = DayRange(max(first, FIRST_DAY) if first > FIRST_DAY + timedelta(days=7) else FIRST_DAY, last)
    if last >= LAST_DAY - timedelta(days=7):
        known = DayRange(known.start, LAST_DAY)
    minutes = (exchange.closes - exchange.opens).dt.total_seconds() // 60
    closes = tuple(stamp.to_pydatetime().astimezone(UTC) for stamp in exchange.closes)
    return _Sessions(tuple(stamp.date() for stamp in exchange.sessions), tuple(minutes.astype(int)), closes, known)


def _bounds(calendar: str) -> dict[str, Any]:
    """`start` and `end` inside what the library knows of an exchange."""
    import exchange_calendars

    kind = type(exchange_calendars.get_calendar(calendar))
    first, last = kind.bound_min(), kind.bound_max()
    return {
        "start": str(FIRST_DAY) if first is None else first,
        "end": str(LAST_DAY) if last is None else last,
    }
