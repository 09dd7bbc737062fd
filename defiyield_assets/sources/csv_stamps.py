"""Stamps of CSV bars in UTC: epoch seconds, milliseconds or microseconds, ISO dates and times, local clocks.

Lives here: how a stamp is spelled, and why one is no instant. Not here: clocks (domain/prices/clocks.py), columns
(csv_layouts.py).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from defiyield_assets.domain.prices.clocks import clock_of, to_utc
from defiyield_assets.domain.prices.csv_sources import CsvSource
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.sources.csv_lines import shown

_DAY = r"[0-9]{4}([-./])[0-9]{2}\1[0-9]{2}"
_TIME = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?"
SPELLINGS = {
    "seconds": re.compile(r"[0-9]{9,10}(\.0*)?"),
    "milliseconds": re.compile(r"[0-9]{12,13}(\.0*)?"),
    "microseconds": re.compile(r"[0-9]{15,16}(\.0*)?"),
    "day": re.compile(_DAY),
    "local": re.compile(rf"{_DAY}[ T]{_TIME}"),
    "instant": re.compile(rf"{_DAY}[ T]{_TIME} ?(Z|UTC|[+-][0-9]{{2}}:?[0-9]{{2}})"),
}
"""Every spelling of a stamp; a file keeps to one, that of most of its lines."""
_OFFSET = re.compile(r"(Z|[+-][0-9]{2}:?[0-9]{2})$")
_PER_SECOND = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000}
EARLIEST, LATEST = pd.Timestamp("1800-01-01"), pd.Timestamp("2200-01-01")


@dataclass(frozen=True)
class Stamps:
    """Instants (UTC, NaT where `reasons` says why), how they are spelled, and what the file's own clock shows.

    `shown`: the same stamps without zone, as written: instants by the wall clock before their offset, epochs by the
    source's clock, in UTC where it has none.
    """

    instants: pd.DatetimeIndex
    shown: pd.DatetimeIndex
    reasons: dict[int, str]
    spelling: str


def read_stamps(file_name: str, cells: Sequence[str], source: CsvSource) -> Stamps:
    """The stamps of a column; a cell that is none gives its place and reason.

    Days are taken as they are called, at 0:00 UTC: a session's day is no instant of any clock. Local times are those of
    the source's clock; ConfigurationError when it has none.
    """
    kinds = _kinds(cells)
    known = [kind for kind in kinds if kind is not None]
    spelling = max(SPELLINGS, key=known.count) if known else "day"
    is_kept = np.array([kind == spelling for kind in kinds], dtype=bool)
    reasons = {
        place: f"{shown(cells[place])!r} is no date or time"
        if kinds[place] is None
        else f"{shown(cells[place])!r} is spelled otherwise ({kinds[place]}) than most stamps of the file ({spelling})"
        for place in _places(~is_kept)
    }
    written = _written(cells, is_kept, spelling, reasons)
    if spelling in _PER_SECOND and source.timezone is not None:
        clock_shows = written.tz_localize("UTC").tz_convert(clock_of(source.timezone)).tz_localize(None)
        return Stamps(written.tz_localize("UTC"), clock_shows, reasons, spelling)
    if spelling == "instant":
        return Stamps(written.tz_localize("UTC"), _wall(cells, written), reasons, spelling)
    if spelling != "local":
        return Stamps(written.tz_localize("UTC"), written, reasons, spelling)
    instants, is_twice, is_never = to_utc(written, _clock(file_name, source))
    for places, words in ((is_twice, "twice (end of summer time)"), (is_never, "never (beginning of summer time)")):
        for place in _places(places):
            reasons[place] = f"the clock shows {shown(cells[place])!r} {words}"
    return Stamps(instants, written, reasons, spelling)


def _places(chosen: npt.NDArray[np.bool_]) -> list[int]:
    return [int(place) for place in np.flatnonzero(chosen)]


def _kinds(cells: Sequence[str]) -> list[str | None]:
    """The spelling of every cell; most files have one, which is tried first."""
    order = list(SPELLINGS)
    found: list[str | None] = []
    for cell in cells:
        kind = next((name for name in order if SPELLINGS[name].fullmatch(cell)), None)
        if kind is not None and kind != order[0]:
            order.remove(kind)
            order.insert(0, kind)
        found.append(kind)
    return found


def _clock(file_name: str, source: CsvSource) -> tzinfo:
    if source.timezone is None:
        raise ConfigurationError(
            f"{file_name}: its times name no time zone, and source {source.name!r} says none: add a source with "
            f"`files` and `timezone` to csv_sources.yaml, or say `--source utc_clock` when they are UTC"
        )
    return clock_of(source.timezone)


def _written(
    cells: Sequence[str], is_kept: npt.NDArray[np.bool_], spelling: str, reasons: dict[int, str]
) -> pd.DatetimeIndex:
    """The kept cells without zone, instants in UTC; adds to `reasons` what is no day of the calendar."""
    if spelling in _PER_SECOND:
        numbers = [int(cell.split(".")[0]) if kept else 0 for cell, kept in zip(cells, is_kept, strict=True)]
        micro = np.array(numbers, dtype=np.int64) * (1_000_000 // _PER_SECOND[spelling])
        stamps = micro.astype("datetime64[us]")
    else:
        texts = [_iso(cell) if kept else None for cell, kept in zip(cells, is_kept, strict=True)]
        parsed = pd.to_datetime(pd.Series(texts, dtype=object), format="ISO8601", errors="coerce", utc=True)
        stamps = parsed.dt.tz_localize(None).to_numpy()
    is_known = is_kept & (stamps >= EARLIEST.to_datetime64()) & (stamps < LATEST.to_datetime64())
    for place in _places(is_kept & ~is_known):
        is_date = not np.isnat(stamps[place])
        why = "lies outside the years 1800 to 2199" if is_date else "is no date or time"
        reasons[place] = f"{shown(cells[place])!r} {why}"
    return pd.DatetimeIndex(np.where(is_known, stamps, np.datetime64("NaT")).astype("datetime64[ns]"))


def _wall(cells: Sequence[str], instants: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """What the clock of instants showed: the cells without their offset, NaT where `instants` is."""
    is_known = ~np.array(instants.isna(), dtype=bool)
    texts = [_OFFSET.sub("", _iso(cell)) if known else None for cell, known in zip(cells, is_known, strict=True)]
    parsed = pd.to_datetime(pd.Series(texts, dtype=object), format="ISO8601", errors="coerce")
    return pd.DatetimeIndex(parsed.to_numpy().astype("datetime64[ns]"))


def _iso(cell: str) -> str:
    """The stamp as ISO 8601: 2024.09.24 03:55 becomes 2024-09-24T03:55."""
    day, rest = cell[:10], cell[10:]
    day = day if day[4] == "-" else day.replace(day[4], "-")
    rest = rest.replace(",", ".").replace(" ", "T", 1) if rest else ""
    return day + rest.replace(" ", "").replace("UTC", "Z")
