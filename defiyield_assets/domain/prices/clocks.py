"""The clocks that files of bars are stamped by, and their stamps in UTC.

Lives here: names of time zones, and which local times mean no instant or two. Not here: how stamps are spelled
(sources/csv_stamps.py) or sessions of exchanges (calendars.py).
"""

import re
from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
import pandas as pd

_OFFSET = re.compile(r"UTC([+-])([0-9]{2}):([0-9]{2})")


def clock_of(name: str) -> tzinfo:
    """The time zone called UTC, UTC+03:30 or by a place of the time zone database; ValueError for another name."""
    if name == "UTC":
        return UTC
    found = _OFFSET.fullmatch(name)
    if found is not None and int(found[2]) <= 14 and int(found[3]) < 60:
        offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
        return timezone(-offset if found[1] == "-" else offset)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"{name!r} is no time zone; write UTC, UTC+03:30 or a place such as America/New_York"
        ) from error


def to_utc(
    local: pd.DatetimeIndex, clock: tzinfo
) -> tuple[pd.DatetimeIndex, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Local stamps (naive; NaT stays) in UTC, and which of them the clock shows twice, and which it never shows.

    Both kinds come back as NaT: at the end of summer time an hour of wall clock means two instants, at its beginning
    one hour does not exist.
    """
    instants = local.tz_localize(clock, ambiguous="NaT", nonexistent="NaT").tz_convert("UTC")
    lost = _is_nat(instants) & ~_is_nat(local)
    if not lost.any():
        return instants, lost, lost
    shown = local.tz_localize(clock, ambiguous="NaT", nonexistent="shift_forward")
    is_ambiguous = _is_nat(shown) & lost
    return instants, is_ambiguous, lost & ~is_ambiguous


def _is_nat(stamps: pd.DatetimeIndex) -> npt.NDArray[np.bool_]:
    return np.array(stamps.isna(), dtype=np.bool_)
