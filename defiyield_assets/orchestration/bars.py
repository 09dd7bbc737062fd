"""Daily bars out of the warehouse's sources, written with every factor restated: the one way in for days and files.

Lives here: `write_bars`, which instruments a day knows, what the sources told. Not here: the rules (domain/prices), the
assets (assets/prices.py, assets/imports.py).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sqlalchemy import Connection, Engine, Table

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.market.features.inputs import BAR_COLUMNS
from defiyield_assets.domain.prices.adjustments import adjustment_factors, impossible_actions
from defiyield_assets.domain.prices.curation import (
    CLOSE_SOURCE,
    FILES,
    SHARE_SOURCE,
    SNAPSHOTS,
    curate_daily_bars,
    off_session,
)
from defiyield_assets.domain.prices.instruments import INSTRUMENT_TYPES, build_instruments
from defiyield_assets.domain.prices.intraday import DAILY, csv_daily_rows
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.orchestration.instrument_types import CRYPTO
from defiyield_assets.orchestration.invalidation import (
    FACTORS,
    RESTING,
    bar_changes,
    restated_factors,
    resting_on_bars,
    without_lost,
)
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.engine import write_transaction

BAR_TABLES: dict[str, Table] = {
    "coinmarketcap": schema.ohlcv_coinmarketcap,
    "coingecko": schema.ohlcv_coingecko,
    CLOSE_SOURCE: schema.closes_defillama,
    SHARE_SOURCE: schema.ohlcv_alpha_vantage,
}
"""Vendor of prices -> what it told."""
TOKEN_SOURCES = tuple(vendor for vendor in BAR_TABLES if vendor != SHARE_SOURCE)
"""Vendors that tell prices of tokens."""
OBSERVED = ["price_usd", "volume_24h_usd", "market_cap_usd"]
WRITTEN = tuple(sorted(table.name for table in (schema.daily_bars, schema.corporate_actions, *RESTING)))
"""Tables that are locked while bars are written: bars, what their factors are made of, and what rests on them."""
EVER = DayRange(date(1900, 1, 1), date(9998, 12, 31))


def known_instruments(
    warehouse: WarehouseResource, day: date, types: Collection[str] = INSTRUMENT_TYPES
) -> pd.DataFrame:
    """Rows of `instruments` of some types as a day knows them: the tokens of its policy, and the market part's as they
    are now, those that no file names any more included (is_configured). Without crypto no policy is needed.
    """
    tokens = build_instruments(warehouse.policy(day).tokens if set(CRYPTO) & set(types) else ())
    stored = reads.read_all(warehouse.engine, schema.instruments)
    others = stored[stored["chain"].isna() & stored["type"].isin(types)]
    return pd.concat([part for part in (tokens, others) if len(part)] or [tokens], ignore_index=True)


def told_prices(engine: Engine, days: DayRange, where: reads.Where = None) -> dict[str, pd.DataFrame]:
    """What each vendor of prices told of the days, by vendor."""
    return {vendor: reads.read_days(engine, table, days, where) for vendor, table in BAR_TABLES.items()}


def told_bars(
    engine: Engine, days: DayRange, instruments: pd.DataFrame, where: reads.Where = None
) -> dict[str, pd.DataFrame]:
    """All that a bar of the days may be made of, by source (as `curate_daily_bars` takes it)."""
    limits = dict(where or {})
    files = reads.read_days(engine, schema.ohlcv_csv, days, {**limits, "interval": DAILY})
    intraday = reads.read_days(engine, schema.intraday_bars, days, limits)
    return {
        **told_prices(engine, days, where),
        FILES: csv_daily_rows(files, intraday, instruments),
        SNAPSHOTS: reads.read_days(engine, schema.observations, days, {**limits, "metric": OBSERVED}),
    }


Gone = dict[str, list[DayRange]]
"""Instrument -> days on which its stored bars go."""


@dataclass(frozen=True)
class Restatement:
    """`rows`: whole stored bars of other days whose factors change, with the new ones; `factors`: what
    invalidation.restated_factors says; `gone`: days on which stored bars go."""

    rows: pd.DataFrame
    factors: pd.DataFrame
    gone: Gone


@dataclass(frozen=True)
class Written:
    """Bars of the run's days, those of earlier days that came with them, how many older ones were restated, and what
    was told of days without a session (curation.off_session)."""

    receipt: writes.WriteReceipt
    bars: pd.DataFrame
    history: pd.DataFrame
    n_restated: int
    off_session: pd.DataFrame


def write_bars(
    engine: Engine,
    instruments: pd.DataFrame,
    days: DayRange,
    priority: Mapping[str, Sequence[str]],
    *,
    where: Mapping[str, list[str]],
    starts: Mapping[str, date] | None = None,
    needed: Collection[str] = (),
) -> Written:
    """Curate the bars of `days` and replace that slice; in the same transaction restate the factors of all bars of the
    same instruments, whatever their day, and delete what rests on bars that become others (invalidation.py).

    `instruments`: those that `where` means (by instrument_type or instrument_id). `starts`: instruments that get bars
    of earlier days as well, and from which day on (seen for the first time, or not told of for some days). `needed`:
    instruments of which every day must have one bar at least; SuspiciousDataError otherwise, and nothing is written.
    """
    told = told_bars(engine, days, instruments, _by_id(where))
    bars = curate_daily_bars(told, instruments, days, priority)
    if needed:
        _require_each_day(bars[bars["instrument_id"].isin(set(needed))], days)
    history = _history(engine, instruments, days, priority, starts or {})
    # Whoever else writes bars or actions waits: factors are those of all that is stored when they are written.
    with write_transaction(engine, *WRITTEN) as connection:
        written = _write_curated(engine, connection, instruments, days, where=where, bars=bars, history=history)
    return replace(written, off_session=off_session(told, instruments, days))


def _write_curated(
    engine: Engine,
    connection: Connection,
    instruments: pd.DataFrame,
    days: DayRange,
    *,
    where: Mapping[str, list[str]],
    bars: pd.DataFrame,
    history: pd.DataFrame,
) -> Written:
    """The part of `write_bars` that reads and writes bars, inside its transaction."""
    names, gone = sorted(set(instruments["instrument_id"])), _unlisted(engine, instruments)
    bars, history, restated = with_factors(engine, names, bars, history, days, gone=gone)
    rows = restated.rows
    corrections = pd.concat([part for part in (history, rows) if len(part)] or [history], ignore_index=True)
    before = _replaced(engine, days, where, history, restated.gone)
    after = pd.concat([part for part in (bars, history) if len(part)] or [bars], ignore_index=True)
    beside: list[writes.Beside] = [
        writes.Deletion(schema.daily_bars, {"instrument_id": [name]}, span)
        for name, spans in restated.gone.items()
        for span in spans
    ]
    beside += resting_on_bars(
        engine, bar_changes(before, without_lost(engine, before, after[list(BAR_COLUMNS)]), restated.factors)
    )
    receipt = writes.replace_slice(
        engine, schema.daily_bars, bars, days, where, corrections=corrections, beside=beside, within=connection
    )
    return Written(receipt, bars, history, len(rows), pd.DataFrame())


def _replaced(
    engine: Engine, days: DayRange, where: Mapping[str, list[str]], history: pd.DataFrame, gone: Gone
) -> pd.DataFrame:
    """The stored bars that a write replaces or deletes: its slice, its history, and days on which bars go."""
    columns, found = list(BAR_COLUMNS), []
    found.append(reads.read_days(engine, schema.daily_bars, days, where, columns))
    if len(history):
        span = DayRange(history["date"].min(), history["date"].max())
        names = {"instrument_id": sorted(set(history["instrument_id"]))}
        stored = reads.read_days(engine, schema.daily_bars, span, names, columns)
        found.append(stored.merge(history[["instrument_id", "date"]], on=["instrument_id", "date"]))
    for name, spans in gone.items():
        own = {"instrument_id": [name]}
        found += [reads.read_days(engine, schema.daily_bars, span, own, columns) for span in spans]
    filled = [part for part in found if len(part)]
    if not filled:
        return found[0]
    return pd.concat(filled, ignore_index=True).drop_duplicates(["instrument_id", "date"], ignore_index=True)


def _unlisted(engine: Engine, instruments: pd.DataFrame) -> Gone:
    """Days of stored bars on which an instrument is not listed, as when its listing was corrected since."""
    dated = instruments[instruments["listed_at"].notna() | instruments["delisted_at"].notna()]
    limits = {"instrument_id": list(dated["instrument_id"])}
    spans = reads.instrument_spans(engine, schema.daily_bars, EVER.end, limits)
    columns = ("instrument_id", "listed_at", "delisted_at")
    found: Gone = {}
    for name, listed_at, delisted_at in zip(*(dated[column] for column in columns), strict=True):
        if name in spans and isinstance(listed_at, date) and spans[name].start < listed_at:
            found.setdefault(name, []).append(DayRange(EVER.start, listed_at - timedelta(days=1)))
        if name in spans and isinstance(delisted_at, date) and spans[name].end >= delisted_at:
            found.setdefault(name, []).append(DayRange(delisted_at, EVER.end))
    return found


def _require_each_day(bars: pd.DataFrame, days: DayRange) -> None:
    there = set(bars["date"])
    silent = [day for day in days if day not in there]
    if silent:
        raise SuspiciousDataError(
            f"no price of any token on {', '.join(map(str, silent))}: none of {', '.join(TOKEN_SOURCES)} told one "
            f"(asset_outcomes says why); nothing was written"
        )


def _by_id(where: Mapping[str, list[str]]) -> reads.Where:
    """The part of a slice that sources know too: they have instruments, not types."""
    return {name: wanted for name, wanted in where.items() if name == "instrument_id"} or None


def _history(
    engine: Engine,
    instruments: pd.DataFrame,
    days: DayRange,
    priority: Mapping[str, Sequence[str]],
    starts: Mapping[str, date],
) -> pd.DataFrame:
    """Bars before `days` of the instruments that start earlier."""
    early = {name: first for name, first in starts.items() if first < days.start}
    listed = instruments[instruments["instrument_id"].isin(early)]
    if listed.empty:
        return curate_daily_bars({}, listed, days)
    before = DayRange(min(early.values()), days.start - timedelta(days=1))
    told = told_bars(engine, before, listed, {"instrument_id": sorted(early)})
    firsts = [day for frame in told.values() if len(frame) for day in (frame["date"].min(),)]
    span = DayRange(max(before.start, min(firsts, default=before.end)), before.end)
    bars = curate_daily_bars(told, listed, span, priority)
    pairs = zip(bars["instrument_id"], bars["date"], strict=True)
    is_wanted = np.array([day >= early[name] for name, day in pairs], dtype=bool)
    return bars[is_wanted].reset_index(drop=True)


def stored_factors(
    engine: Engine, names: Collection[str] | None = None, types: Sequence[str] = INSTRUMENT_TYPES
) -> pd.DataFrame:
    """All stored bars of instruments that have actions, or had some (their factors are not 1), as `adjustment_factors`
    takes them, with their own factors. `names`: those that may be meant; None: everybody.
    """
    columns = ["instrument_id", "date", "close", "source", *FACTORS]
    acting = {name for (name,) in reads.distinct(engine, schema.corporate_actions, ["instrument_id"], EVER.end)}
    moved = acting | set(reads.restated_instruments(engine))
    wanted = sorted(moved if names is None else moved & set(names))
    where = {"instrument_id": wanted, "instrument_type": list(types)}
    return reads.read_days(engine, schema.daily_bars, EVER, where, columns)


def mark_adjusted(engine: Engine, bars: pd.DataFrame) -> pd.DataFrame:
    """Bars with `is_adjusted`, whether their file says that its prices are adjusted already, and `adjusted_through`,
    the newest day that it told of the instrument (None: raw).
    """
    columns = ["instrument_id", "csv_source", "is_adjusted"]
    told = reads.distinct(engine, schema.ohlcv_csv, columns, EVER.end)
    adjusted = {(name, f"{FILES}:{source}") for name, source, is_adjusted in told if is_adjusted}
    pairs = list(zip(bars["instrument_id"], bars["source"], strict=True))
    is_adjusted = np.array([pair in adjusted for pair in pairs], dtype=bool)
    spans = reads.instrument_spans(engine, schema.ohlcv_csv, EVER.end, {"is_adjusted": True}) if adjusted else {}
    through = [spans[pair[0]].end if pair in adjusted else None for pair in pairs]
    return bars.assign(is_adjusted=is_adjusted, adjusted_through=pd.Series(through, index=bars.index, dtype=object))


def with_factors(
    engine: Engine, names: Sequence[str], bars: pd.DataFrame, history: pd.DataFrame, days: DayRange, *, gone: Gone
) -> tuple[pd.DataFrame, pd.DataFrame, Restatement]:
    """New bars and their history with their factors, and what of the stored bars changes; `gone` goes anyway.

    Of an instrument with an impossible action there are no bars from its ex-date on, stored ones included: the bars
    before have the factors that they had, and the others go on (`every_action_is_possible` names it).
    """
    actions = reads.read_all(engine, schema.corporate_actions, {"instrument_id": list(names)})
    stored = stored_factors(engine, names)
    new = pd.concat([part for part in (bars, history) if len(part)] or [bars], ignore_index=True)
    written = set(zip(new["instrument_id"], new["date"], strict=True))
    is_kept = [
        day not in days and (name, day) not in written
        for name, day in zip(stored["instrument_id"], stored["date"], strict=True)
    ]
    kept = stored[np.array(is_kept, dtype=bool) & ~_is_gone(stored, gone)]
    columns = ["instrument_id", "date", "close", "source"]
    series = pd.concat([part for part in (new[columns], kept[columns]) if len(part)] or [new[columns]])
    series = series.reset_index(drop=True)
    series = mark_adjusted(engine, series)
    impossible = impossible_actions(series, actions).sort_values("ex_date", ascending=False)
    ends = dict(zip(impossible["instrument_id"], impossible["ex_date"], strict=True))
    if not _is_before(series, ends).all():
        bars, history = (part[_is_before(part, ends)].reset_index(drop=True) for part in (bars, history))
        cut = {name: [*gone.get(name, []), DayRange(first, EVER.end)] for name, first in ends.items()}
        return with_factors(engine, names, bars, history, days, gone={**gone, **cut})
    factors = adjustment_factors(series, actions)
    split = len(new) if len(new) else 0
    for name in FACTORS:
        found = factors[name].to_numpy()
        bars[name], history[name] = found[: len(bars)], found[len(bars) : split]
    changed = restated_factors(stored, series.assign(**{name: factors[name] for name in FACTORS}))
    return bars, history, Restatement(_restated(engine, kept, factors.iloc[split:]), changed, gone)


def _is_before(bars: pd.DataFrame, ends: Mapping[str, date]) -> npt.NDArray[np.bool_]:
    """Which bars are of a day before the end of their instrument, if it has one."""
    keys = zip(bars["instrument_id"], bars["date"], strict=True)
    return np.array([name not in ends or day < ends[name] for name, day in keys], dtype=bool)


def _is_gone(bars: pd.DataFrame, gone: Gone) -> npt.NDArray[np.bool_]:
    """Which bars are of a day on which their instrument's go."""
    keys = zip(bars["instrument_id"], bars["date"], strict=True)
    return np.array([any(day in span for span in gone.get(name, ())) for name, day in keys], dtype=bool)


def _restated(engine: Engine, kept: pd.DataFrame, factors: pd.DataFrame) -> pd.DataFrame:
    """Whole rows of the stored bars whose factors are no longer the stored ones, with the new ones."""
    differs = (kept[FACTORS].to_numpy() != factors[FACTORS].to_numpy()).any(axis=1)
    changed = kept[differs][["instrument_id", "date"]].assign(
        **{name: factors[name].to_numpy()[differs] for name in FACTORS}
    )
    if changed.empty:
        return pd.DataFrame(columns=[column.name for column in schema.daily_bars.columns])
    span = DayRange(changed["date"].min(), changed["date"].max())
    limits: dict[str, Any] = {"instrument_id": sorted(set(changed["instrument_id"]))}
    rows = reads.read_days(engine, schema.daily_bars, span, limits).drop(columns=FACTORS)
    merged = rows.merge(changed, on=["instrument_id", "date"])
    return merged[[column.name for column in schema.daily_bars.columns]]
