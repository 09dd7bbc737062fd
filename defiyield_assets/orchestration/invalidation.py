"""What rests on bars, events, vintages and regimes that change after something was made of them.

Lives here: what a writer of such rows deletes or rewrites in its own transaction, so that no later run goes on from
what is no longer true. Not here: who writes (bars.py, assets/), SQL (store/writes.py), how what is gone is made again
(feature_inputs.py, assets/regimes.py).

A row behind everything that was made, as every day brings it, invalidates nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Engine, Table

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.market.events import visible_since
from defiyield_assets.domain.market.features.events_features import event_columns
from defiyield_assets.domain.market.features.inputs import BAR_COLUMNS
from defiyield_assets.domain.market.features.panel import BarTable, Vector
from defiyield_assets.domain.market.features.surroundings import MARKET_OF, surrounding_columns
from defiyield_assets.domain.market.learning import HORIZONS
from defiyield_assets.domain.market.regimes import MARKETS, STATES
from defiyield_assets.orchestration.feature_inputs import FEATURE_SET, NAMED_AT_ONCE
from defiyield_assets.orchestration.feature_ranks import ranks_without
from defiyield_assets.store import reads, schema, writes

KEY = ["instrument_id", "date"]
FACTORS = ["adj_factor", "split_factor"]
RESTING: tuple[Table, ...] = (
    schema.daily_features,
    schema.feature_state,
    schema.feature_targets,
    schema.market_regimes,
)
LAST_DAY = date(9998, 12, 31)
SAME_STEP = 1e-12
"""Relative difference of two quotients of factors that rounding makes: no dividend is that small."""
REGIME = frozenset(f"regime_p_{state}" for state in STATES)
REGIME_COLUMNS = ("market", "date", *(f"p_{state}" for state in STATES))
CALENDARS: Mapping[str, str] = {market: calendar for calendar, market in list(MARKET_OF.items())[::-1]}
"""Market of regimes -> one of its calendars: a day's regime is the same for all of them."""
MARKET_EVENT = ("days_to_market_event", "days_since_market_event")


# --- bars ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class BarChanges:
    """What a write of bars changes in columns that features read.

    `since`: instrument -> earliest day on which a bar is another one, new or gone. `returns_since`: the same where a
    close is, or the quotient of two neighbouring factors: a dividend restates all older factors and changes one return.
    `gone`: instrument_id and date of bars that are there no more.
    """

    since: Mapping[str, date]
    returns_since: Mapping[str, date]
    gone: pd.DataFrame


def bar_changes(before: pd.DataFrame, after: pd.DataFrame, restated: pd.DataFrame) -> BarChanges:
    """What changes where `before`, stored bars, are replaced by `after` (columns: BAR_COLUMNS); `restated`: what
    `restated_factors` says."""
    both = before.merge(after, on=KEY, how="outer", suffixes=("", "_after"), indicator=True)
    is_kept = (both["_merge"] == "both").to_numpy()
    differs, is_other_return = ~is_kept, ~is_kept | _differs(both, "close")
    for name in BAR_COLUMNS:
        if name not in (*KEY, *FACTORS):
            differs |= _differs(both, name)
    touched = [_earliest(both[differs]), _earliest(restated)]
    returned = [_earliest(both[is_other_return]), _earliest(restated[restated["is_step"].astype(bool)])]
    gone = both.loc[(both["_merge"] == "left_only").to_numpy(), KEY].reset_index(drop=True)
    return BarChanges(_merged(touched), _merged(returned), gone)


def without_lost(engine: Engine, before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """`after` without bars that were lost and are told again: no bar is stored, but a target that starts from one."""
    newest = reads.newest_day(engine, schema.feature_targets)
    added = after[~pd.MultiIndex.from_frame(after[KEY]).isin(pd.MultiIndex.from_frame(before[KEY]))]
    if newest is None or added.empty or added["date"].min() > newest:
        return after
    days = DayRange(added["date"].min(), newest)
    targets = reads.read_days(engine, schema.feature_targets, days, {"horizon_days": min(HORIZONS)}, KEY)
    known = pd.MultiIndex.from_frame(targets[KEY]).intersection(pd.MultiIndex.from_frame(added[KEY]))
    return after[~pd.MultiIndex.from_frame(after[KEY]).isin(known)].reset_index(drop=True)


def restated_factors(stored: pd.DataFrame, series: pd.DataFrame) -> pd.DataFrame:
    """Bars whose factors change (instrument_id, date, `is_step`: the quotient to the bar before changes as well).

    `stored`: instrument_id, date and FACTORS as they are; `series`: all bars as they will be.
    """
    both = series[[*KEY, *FACTORS]].merge(stored[[*KEY, *FACTORS]], on=KEY, how="left", suffixes=("", "_before"))
    both = both.sort_values(KEY, ignore_index=True)
    is_first = (both["instrument_id"] != both["instrument_id"].shift()).to_numpy()
    is_restated, is_step = np.zeros(len(both), dtype=bool), np.zeros(len(both), dtype=bool)
    for name in FACTORS:
        new, old = both[name].to_numpy(float), both[f"{name}_before"].to_numpy(float)
        is_restated |= (new != old) & ~np.isnan(old)
        quotient = (new[1:] / new[:-1]) / (old[1:] / old[:-1])
        with np.errstate(invalid="ignore"):
            is_step[1:] |= np.abs(quotient - 1.0) > SAME_STEP
    is_step &= ~is_first
    return both.assign(is_step=is_step).loc[is_restated | is_step, [*KEY, "is_step"]].reset_index(drop=True)


def resting_on_bars(engine: Engine, changes: BarChanges) -> list[writes.Beside]:
    """What is deleted and rewritten with the bars: states behind changed bars (also of who is measured against them),
    targets and regimes that know them, features of bars that are gone, and the ranks of those days."""
    made = [reads.newest_day(engine, table) for table in RESTING]
    newest = max((day for day in made if day is not None), default=date.min)
    since = {name: day for name, day in changes.since.items() if day <= newest}
    returns = {name: day for name, day in changes.returns_since.items() if day <= newest}
    if not since:
        return []
    found = _deletions(schema.feature_state, _with_measured(engine, since, returns))
    found += _deletions(schema.feature_targets, returns)
    for market, name in MARKETS.items():
        if name in returns:
            days = DayRange(returns[name], LAST_DAY)
            stored = reads.read_days(engine, schema.market_regimes, days, {"market": market}, REGIME_COLUMNS)
            found.append(writes.Deletion(schema.market_regimes, {"market": market}, days))
            found += day_updates(engine, days.start, regimes=(stored, stored.iloc[:0]))
    return found + _without_bars(engine, changes.gone)


def _differs(both: pd.DataFrame, name: str) -> NDArray[np.bool_]:
    """Where a column of the one is not that of the other; null equals null."""
    one, other = both[name], both[f"{name}_after"]
    found: NDArray[np.bool_] = (one.ne(other) & ~(one.isna() & other.isna())).to_numpy(bool)
    return found


def _earliest(rows: pd.DataFrame) -> dict[str, date]:
    return {str(name): day for name, day in rows.groupby("instrument_id")["date"].min().items()} if len(rows) else {}


def _merged(parts: Sequence[Mapping[str, date]]) -> dict[str, date]:
    """The earliest day of each name."""
    found: dict[str, date] = {}
    for part in parts:
        for name, day in part.items():
            found[name] = min(day, found.get(name, day))
    return found


def _with_measured(engine: Engine, since: Mapping[str, date], returns: Mapping[str, date]) -> dict[str, date]:
    """The instruments, and those that name one of them as their benchmark, from when its returns change."""
    listed = reads.read_all(engine, schema.instruments)
    pairs = zip(listed["instrument_id"], listed["benchmark"], strict=True)
    measured = {str(name): returns[benchmark] for name, benchmark in pairs if benchmark in returns}
    return _merged([since, measured])


def _deletions(table: Table, since: Mapping[str, date]) -> list[writes.Beside]:
    """Rows of each instrument from its day on."""
    names: dict[date, list[str]] = {}
    for name, day in sorted(since.items()):
        names.setdefault(day, []).append(name)
    return [
        writes.Deletion(table, {"instrument_id": some[start : start + NAMED_AT_ONCE]}, DayRange(day, LAST_DAY))
        for day, some in names.items()
        for start in range(0, len(some), NAMED_AT_ONCE)
    ]


def _without_bars(engine: Engine, gone: pd.DataFrame) -> list[writes.Beside]:
    """Features of bars that are gone go, and the others of their days are ranked without them."""
    if gone.empty:
        return []
    found: list[writes.Beside] = []
    for day in sorted(set(gone["date"])):
        names = sorted(gone.loc[gone["date"] == day, "instrument_id"])
        for start in range(0, len(names), NAMED_AT_ONCE):
            where = {"instrument_id": names[start : start + NAMED_AT_ONCE], "feature_set": FEATURE_SET}
            found.append(writes.Deletion(schema.daily_features, where, DayRange.of(day)))
    return [*found, writes.Correction(schema.daily_features, ranks_without(engine, gone))]


# --- events ----------------------------------------------------------------------------------------------------------
def resting_on_events(engine: Engine, events: pd.DataFrame) -> list[writes.Beside]:
    """What is deleted and rewritten with rows of `market_events` that are new, or whose outcome is told now: states of
    their instruments from the day on which they should have been known, and the columns of events of no instrument."""
    if events.empty:
        return []
    stored = reads.read_all(engine, schema.market_events)
    known = set(zip(stored["source"], stored["event_id"], strict=True))
    keys = zip(events["source"], events["event_id"], strict=True)
    told = zip(keys, visible_since(events), events["known_on"], strict=True)
    since = [outcome if key in known else seen for key, seen, outcome in told]
    dated = events.assign(date=since)
    found = _deletions(schema.feature_state, _earliest(dated[dated["instrument_id"].notna()]))
    of_all = dated["instrument_id"].isna()
    if of_all.any():
        before = stored[stored["instrument_id"].isna()]
        after = _joined(events[of_all], before, ["source", "event_id"])
        found += day_updates(engine, dated.loc[of_all, "date"].min(), events=(before, after))
    return found


def _joined(first: pd.DataFrame, second: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Rows of both; of one key those of the first."""
    filled = [part for part in (first, second) if len(part)]
    return pd.concat(filled, ignore_index=True).drop_duplicates(keys, ignore_index=True) if filled else first


# --- what surrounds a day --------------------------------------------------------------------------------------------
Versions = tuple[pd.DataFrame, pd.DataFrame]
"""Rows as they were and as they will be."""


def resting_on_macro(engine: Engine, observations: pd.DataFrame) -> list[writes.Beside]:
    """Columns of series that stored features have to know otherwise with more rows of `macro_series`; what is stored
    already stays as it is."""
    if observations.empty:
        return []
    series = {"series_id": sorted(set(observations["series_id"]))}
    stored = reads.read_all(engine, schema.macro_series, series)
    keys = ["series_id", "date", "vintage"]
    after = _joined(stored, observations, keys)
    new = after.iloc[len(stored) :]
    return day_updates(engine, new["vintage"].min(), macro=(stored, after)) if len(new) else []


def resting_on_regimes(
    engine: Engine, rows: pd.DataFrame, days: DayRange, markets: Sequence[str]
) -> list[writes.Beside]:
    """Columns of regimes of stored features where regimes of `days` become the rows and earlier ones are added."""
    columns = list(REGIME_COLUMNS)
    first = min(days.start, rows["date"].min()) if len(rows) else days.start
    stored = reads.read_days(
        engine, schema.market_regimes, DayRange(first, days.end), {"market": list(markets)}, columns
    )
    earlier = stored[[day < days.start for day in stored["date"]]]
    return day_updates(engine, first, regimes=(stored, _joined(rows[columns], earlier, ["market", "date"])))


def day_updates(
    engine: Engine,
    since: date,
    *,
    regimes: Versions | None = None,
    macro: Versions | None = None,
    events: Versions | None = None,
) -> list[writes.Beside]:
    """Updates of stored features from a day on, of columns that are the same for everybody of a market.

    What is not given changes nothing. `events`: those of no instrument.
    """
    days = np.array(reads.days_since(engine, schema.daily_features, since), dtype="datetime64[D]")
    if not len(days):
        return []
    nothing = {
        "regimes": pd.DataFrame(columns=list(REGIME_COLUMNS)),
        "macro": pd.DataFrame(columns=schema.macro_series.columns.keys()),
        "events": pd.DataFrame(columns=schema.market_events.columns.keys()),
    }
    given = {"regimes": regimes, "macro": macro, "events": events}
    was, will = (
        _surroundings(days, {name: nothing[name] if told is None else told[place] for name, told in given.items()})
        for place in (0, 1)
    )
    members = _members(engine) if regimes is not None else {}
    found: list[writes.Beside] = []
    for number, market in enumerate(CALENDARS):
        for place, day in enumerate(days.tolist(), start=number * len(days)):
            changed = {
                name: None if np.isnan(column[place]) else float(column[place])
                for name, column in will.items()
                if column[place] != was[name][place] and not (np.isnan(column[place]) and np.isnan(was[name][place]))
            }
            own = {name: value for name, value in changed.items() if name in REGIME}
            of_all = {name: value for name, value in changed.items() if name not in REGIME}
            wheres = [{"instrument_id": names} for names in members.get(market, ())] if own else []
            found += [_update(where, day, own) for where in wheres]
            if of_all and not number:
                found.append(_update({}, day, of_all))
    return found


def _update(where: Mapping[str, list[str]], day: date, values: Mapping[str, float | None]) -> writes.Update:
    return writes.Update(schema.daily_features, {**where, "feature_set": FEATURE_SET}, DayRange.of(day), values)


def _members(engine: Engine) -> dict[str, list[list[str]]]:
    """Instruments of each market of regimes, some hundreds at a time."""
    listed = reads.read_all(engine, schema.instruments)
    market = listed["calendar"].map(MARKET_OF.get)
    found = {}
    for name in CALENDARS:
        names = sorted(listed.loc[market == name, "instrument_id"])
        found[name] = [names[start : start + NAMED_AT_ONCE] for start in range(0, len(names), NAMED_AT_ONCE)]
    return found


def _surroundings(days: NDArray[np.datetime64], told: Mapping[str, pd.DataFrame]) -> dict[str, Vector]:
    """The columns on each day, for one instrument of each market after the other."""
    n, calendars = len(days), list(CALENDARS.values())
    table = BarTable(
        np.arange(len(calendars) + 1) * n,
        np.tile(days, len(calendars)),
        {},
        np.ones(len(calendars) * n, dtype=bool),
        np.ones(len(calendars)),
    )
    events = event_columns(table, [""] * len(calendars), told["events"])
    beside = surrounding_columns(table, calendars, told["regimes"], told["macro"])
    return {**beside, **{name: events[name] for name in MARKET_EVENT}}
