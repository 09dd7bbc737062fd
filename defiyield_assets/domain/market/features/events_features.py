"""Features of events: days to and since them, surprise and drift, by what was known on the day of each bar.

Lives here: a second pass over the new bars of a table. Not here: the events and the view of one day
(domain/market/events.py), kernels (windows.py).

An event is seen from the day on which it was announced, without an announcement from its own day, and its outcome from
`known_on` on. What became known after a bar's day changes nothing of that bar.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.market.events import visible_since
from defiyield_assets.domain.market.features.metric import NOTHING, POSITIVE, UNBOUNDED, Bounds, Definition, Need
from defiyield_assets.domain.market.features.panel import BarTable, Vector
from defiyield_assets.domain.market.features.windows import log

GROUP = "event"
DRIFT_BARS = 63
"""Bars after an event in which its drift is followed."""
Days = NDArray[np.datetime64]


def _column(name: str, unit: str, formula: str, bounds: Bounds, needs: frozenset[Need] = NOTHING) -> Definition:
    return Definition(name, GROUP, unit, 1, formula, needs, bounds)


METRICS: tuple[Definition, ...] = (
    _column("days_to_event", "days", "calendar days to the instrument's next announced event", POSITIVE),
    _column("days_since_event", "days", "calendar days since its last event; 0 on its day", POSITIVE),
    _column("event_surprise", "event unit", "actual less expected of its last event whose outcome is known", UNBOUNDED),
    _column("event_surprise_fraction", "fraction", "that surprise / |expected|", UNBOUNDED),
    _column(
        f"event_drift_{DRIFT_BARS}",
        "fraction",
        f"ln(C / C of the last bar up to the day on which its last outcome became known), for {DRIFT_BARS} bars",
        UNBOUNDED,
        frozenset({"close"}),
    ),
    _column("days_to_market_event", "days", "calendar days to the next announced event of no instrument", POSITIVE),
    _column("days_since_market_event", "days", "calendar days since the last event of no instrument", POSITIVE),
)
"""Columns of the second pass."""


@dataclass(frozen=True)
class _Events:
    """Events of one instrument, or of none, in the order of their days.

    `happens`: their days; `seen`: since when they are known to be; `told`: since when their outcome is, NaT where it
    never is; `surprise`, `fraction`: the outcome's.
    """

    happens: Days
    seen: Days
    told: Days
    surprise: Vector
    fraction: Vector

    def part(self, first: int, stop: int) -> "_Events":
        """Some of them that follow each other."""
        return _Events(*(getattr(self, field.name)[first:stop] for field in fields(self)))


def event_columns(table: BarTable, instruments: Sequence[str], events: pd.DataFrame) -> dict[str, Vector]:
    """METRICS by name, (rows,), NaN where there is no event and where a row is not new; columns of which nothing is
    known are one and the same vector.

    `instruments`: the ids of the table's instruments, in their order; `events`: rows of `market_events`. The drift of a
    new bar needs the bar that its event fell on among the table's.
    """
    unknown = np.full(len(table.dates), np.nan)
    found = {metric.name: unknown for metric in METRICS}
    ordered = events.sort_values(["instrument_id", "date", "known_on", "event_id"], ignore_index=True)
    of_none = ordered["instrument_id"].isna()
    if of_none.any():
        days, place = np.unique(table.dates, return_inverse=True)
        whole = _prepared(ordered[of_none])
        found["days_to_market_event"] = _days_to(days, whole)[place]
        found["days_since_market_event"] = _days_since(days, whole)[place]
    number = {name: index for index, name in enumerate(instruments)}
    own = ordered[ordered["instrument_id"].isin(number)]
    if len(own):
        found |= {metric.name: unknown.copy() for metric in METRICS if found[metric.name] is unknown}
        prepared = _prepared(own)
        starts = np.flatnonzero((own["instrument_id"] != own["instrument_id"].shift()).to_numpy())
        for first, stop in zip(starts, [*starts[1:], len(own)], strict=True):
            index = number[str(own["instrument_id"].iloc[first])]
            rows = slice(int(table.starts[index]), int(table.starts[index + 1]))
            _of_instrument(found, rows, table, prepared.part(int(first), int(stop)))
    for values in found.values():
        values[~table.is_new] = np.nan
    return found


def _prepared(ordered: pd.DataFrame) -> _Events:
    happens = _as_days(ordered["date"].tolist())
    told = np.maximum(_as_days(ordered["known_on"].tolist()), happens)
    told[ordered["actual"].isna().to_numpy()] = np.datetime64("NaT")
    figures = (ordered[name].to_numpy(dtype=np.float64) for name in ("surprise", "surprise_fraction"))
    return _Events(happens, _as_days(visible_since(ordered)), told, *figures)


def _of_instrument(found: dict[str, Vector], rows: slice, table: BarTable, events: _Events) -> None:
    """Fill the columns of one instrument's bars."""
    days = table.dates[rows]
    found["days_to_event"][rows] = _days_to(days, events)
    found["days_since_event"][rows] = _days_since(days, events)
    is_told = ~np.isnat(events.told)
    first_bar = np.searchsorted(days, events.told[is_told])
    last_bar = np.searchsorted(days, events.told[is_told], side="right") - 1
    base = np.full(len(days), -1, dtype=np.int64)
    surprise, fraction = np.full(len(days), np.nan), np.full(len(days), np.nan)
    outcomes = zip(first_bar, last_bar, events.surprise[is_told], events.fraction[is_told], strict=True)
    for place, on, amount, share in outcomes:
        base[place:], surprise[place:], fraction[place:] = on, amount, share
    found["event_surprise"][rows], found["event_surprise_fraction"][rows] = surprise, fraction
    found[f"event_drift_{DRIFT_BARS}"][rows] = _drift(table.values["close"][rows], base)


def _as_days(values: Sequence[object]) -> Days:
    return np.array(values, dtype="datetime64[D]")


def _days_to(days: Days, events: _Events) -> Vector:
    """From each day to the next event after it that is seen by then."""
    following = np.full(len(days), np.datetime64("NaT"), dtype="datetime64[D]")
    spans = zip(np.searchsorted(days, events.seen), np.searchsorted(days, events.happens), events.happens, strict=True)
    for first, stop, happens in reversed(list(spans)):
        # From the last event to the first: where both are ahead, the nearer one stays.
        following[first:stop] = happens
    return _distance(following - days)


def _days_since(days: Days, events: _Events) -> Vector:
    """To each day from the last event up to it that is seen by then."""
    latest = np.full(len(days), np.datetime64("NaT"), dtype="datetime64[D]")
    firsts = np.searchsorted(days, np.maximum(events.happens, events.seen))
    for first, happened in zip(firsts, events.happens, strict=True):
        latest[first:] = happened
    return _distance(days - latest)


def _distance(spans: NDArray[np.timedelta64]) -> Vector:
    return np.where(np.isnat(spans), np.nan, spans.astype("timedelta64[D]").astype(np.float64))


def _drift(closes: Vector, base: NDArray[np.int64]) -> Vector:
    """Log return since the bar of that number (below 0: none), for DRIFT_BARS bars."""
    is_followed = (base >= 0) & (np.arange(len(closes)) - base <= DRIFT_BARS)
    logs = log(closes)
    return np.where(is_followed, logs - logs[np.maximum(base, 0)], np.nan)
