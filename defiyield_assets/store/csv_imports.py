"""Imported files going into the warehouse: what a file holds and the record of it in one transaction.

Lives here: SQL that changes ohlcv_csv, csv_imports and events of files, and what a file may change of earlier ones. Not
here: reading files (sources/csv_bars.py), which files (orchestration/csv_imports.py).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.store import schema
from defiyield_assets.store.engine import read_transaction, write_transaction
from defiyield_assets.store.inserts import insert, merge
from defiyield_assets.store.rows import storable_text, to_frame, to_rows
from defiyield_assets.store.validation import require_valid
from defiyield_assets.store.writes import Beside

NUMBERS = ("open", "high", "low", "close", "volume_units", "volume_usd", "market_cap_usd")
SETTINGS = ("price_scale", "is_adjusted")
EVENTS_LAYOUT = "events"
"""The layout of files of events, whose rows are not in ohlcv_csv."""
KEY = ["instrument_id", "interval", "ts"]


@dataclass(frozen=True)
class Stored:
    """What a file changed. `n_read` = new + changed + known; `left_out`: instrument -> source whose bars it has.

    `days`: from the first to the last day of which a bar is new, changed or gone; None when nothing is.
    """

    n_new: int
    n_changed: int
    n_known: int
    left_out: Mapping[str, str]
    days: DayRange | None

    @property
    def n_read(self) -> int:
        """Good rows of the file that were taken or were there already."""
        return self.n_new + self.n_changed + self.n_known


def imported_files(engine: sa.Engine, hashes: Iterable[str]) -> dict[str, str]:
    """Which of the files, by hash, were imported already, and under which name. One of whose rows later files took some
    away is not among them: what it tells is to be compared again.
    """
    with read_transaction(engine, schema.csv_imports.name) as connection:
        return _standing(connection, sorted(set(hashes)))


def _standing(connection: sa.Connection, hashes: Sequence[str]) -> dict[str, str]:
    bars, records = schema.ohlcv_csv, schema.csv_imports
    n_standing = (
        sa.select(sa.func.count())
        .where(bars.c.file_sha256 == records.c.file_sha256)
        .correlate(records)
        .scalar_subquery()
    )
    is_whole = sa.or_(records.c.layout == EVENTS_LAYOUT, n_standing >= records.c.rows_new + records.c.rows_changed)
    query = sa.select(records.c.file_sha256, records.c.file_name).where(records.c.file_sha256.in_(hashes), is_whole)
    return {str(digest): str(name) for digest, name in map(tuple, connection.execute(query))}


def store_import(
    engine: sa.Engine,
    bars: pd.DataFrame,
    record: Mapping[str, Any],
    *,
    is_replacing: bool = False,
    with_refused: Callable[[Sequence[tuple[int, str]]], Mapping[str, Any]] = lambda _lines: {},
) -> Stored | None:
    """Write the bars of one file (columns of ohlcv_csv, one interval, one source) and its record, or nothing at all.

    None when the file was imported already. `record`: a row of csv_imports without its counts and changed days.
    Values that an earlier file of the source told otherwise are replaced, unless that file reaches further: an older
    export does not know better, and `with_refused` gets these lines (number, reason) and returns what they change in
    the record. An instrument whose bars of this interval are told by another source is left out, because the join of
    two sources is a jump that never was: with `is_replacing` all stored bars of this interval of what the file holds go
    instead. SuspiciousDataError when nothing is left to write, or when a file of adjusted prices restates a part of
    what is stored only.
    """
    bars_table, records = schema.ohlcv_csv, schema.csv_imports
    clean = storable_text(bars)
    require_valid(bars_table, clean)
    file_name, interval = str(record["file_name"]), str(clean["interval"].iloc[0])
    with write_transaction(engine, bars_table.name, records.name) as connection:
        digest = str(record["file_sha256"])
        if not is_replacing and _standing(connection, [digest]):
            return None
        left_out = _told_by_others(connection, clean, is_replacing=is_replacing)
        clean = clean[~clean["instrument_id"].isin(set(left_out))].reset_index(drop=True)
        if clean.empty:
            raise SuspiciousDataError(_nothing_left(file_name, left_out, is_replacing=is_replacing))
        names = sorted(clean["instrument_id"].unique())
        is_of_file = sa.and_(bars_table.c.instrument_id.in_(names), bars_table.c.interval == interval)
        was_known, touched = _left_open(connection, digest)
        if is_replacing:
            touched += _delete(connection, is_of_file)
        stored = _stored(connection, is_of_file, digest)
        is_new, is_changed = _compared(clean, stored)
        last = pd.Timestamp(record["last_ts"])
        is_refused = is_changed & _told_by_longer_files(clean, stored, last, or_as_long=was_known)
        if was_known and clean.loc[is_refused, "is_adjusted"].any():
            return None
        lines = _refused(file_name, clean[is_refused])
        is_kept = ~is_refused
        clean, is_new, is_changed = clean[is_kept].reset_index(drop=True), is_new[is_kept], is_changed[is_kept]
        _require_whole(file_name, clean, stored, is_changed)
        merge(connection, bars_table, to_rows(bars_table, clean[is_new | is_changed]), is_replacing=True)
        n_new, n_changed = int(is_new.sum()), int(is_changed.sum())
        touched += clean.loc[is_new | is_changed, "date"].tolist()
        days = DayRange(min(touched), max(touched)) if touched else None
        connection.execute(sa.delete(records).where(records.c.file_sha256 == digest))
        counts = {"rows_read": len(clean), "rows_new": n_new, "rows_changed": n_changed}
        _insert_record(connection, {**record, **with_refused(lines), **counts, **_changed(days)})
    return Stored(n_new, n_changed, len(clean) - n_new - n_changed, left_out, days)


def _left_open(connection: sa.Connection, digest: str) -> tuple[bool, list[date]]:
    """Whether a file has a record, and the first and last day of it that nothing was made of yet."""
    records = schema.csv_imports
    query = sa.select(records.c.is_followed, records.c.changed_from, records.c.changed_to)
    found = [tuple(row) for row in connection.execute(query.where(records.c.file_sha256 == digest))]
    return bool(found), [day for is_followed, *days in found if not is_followed for day in days if day is not None]


def _delete(connection: sa.Connection, is_of_file: sa.ColumnElement[bool]) -> list[date]:
    """Delete bars, and the records of the files that told them and tell nothing any more; returns the first and last
    day of which bars are gone.
    """
    bars, records = schema.ohlcv_csv, schema.csv_imports
    span = connection.execute(sa.select(sa.func.min(bars.c.date), sa.func.max(bars.c.date)).where(is_of_file)).one()
    told = sa.select(bars.c.file_sha256).distinct().where(is_of_file)
    hashes = [str(digest) for (digest,) in connection.execute(told)]
    connection.execute(sa.delete(bars).where(is_of_file))
    is_empty = records.c.file_sha256.not_in(sa.select(bars.c.file_sha256))
    connection.execute(sa.delete(records).where(records.c.file_sha256.in_(hashes), is_empty))
    return [day for day in span if day is not None]


def _told_by_longer_files(
    bars: pd.DataFrame, stored: pd.DataFrame, last: pd.Timestamp, *, or_as_long: bool
) -> np.ndarray[Any, Any]:
    """Which rows of a file that reaches to `last` are stored from another that reaches further, or as far: of two such
    files the one that came first does not take back what the other told, however often a folder is imported.
    """
    if stored.empty:
        return np.zeros(len(bars), dtype=bool)
    keys = bars[KEY].assign(ts=pd.to_datetime(bars["ts"], utc=True).dt.as_unit("us"))
    told = stored[[*KEY, "last_ts"]].assign(ts=pd.to_datetime(stored["ts"], utc=True).dt.as_unit("us"))
    reached = pd.to_datetime(keys.merge(told, on=KEY, how="left", validate="one_to_one")["last_ts"], utc=True)
    is_longer = (reached >= last) if or_as_long else (reached > last)
    return is_longer.to_numpy(bool)


def _refused(file_name: str, bars: pd.DataFrame) -> list[tuple[int, str]]:
    """The lines that a file of longer reach told otherwise; adjusted prices of two days are not mixed at all."""
    if bars["is_adjusted"].any():
        raise SuspiciousDataError(
            f"{file_name}: tells adjusted prices of {bars['instrument_id'].iloc[0]} otherwise than a file that reaches "
            f"further: it is older. Say --replace to take it nevertheless; nothing was written"
        )
    return [
        (int(number), f"{name} at {ts:%Y-%m-%d %H:%M} UTC is told otherwise by a file that reaches further")
        for number, name, ts in bars[["row_number", "instrument_id", "ts"]].itertuples(index=False)
    ]


def _changed(days: DayRange | None) -> dict[str, Any]:
    """The columns of csv_imports that say where bars are to be made anew; nothing is followed by nothing."""
    first, last = (days.start, days.end) if days is not None else (None, None)
    return {"changed_from": first, "changed_to": last, "is_followed": days is None}


def _insert_record(connection: sa.Connection, record: Mapping[str, Any]) -> None:
    row = storable_text(pd.DataFrame([record], dtype=object))
    require_valid(schema.csv_imports, row)
    insert(connection, schema.csv_imports, to_rows(schema.csv_imports, row))


def unfollowed(engine: sa.Engine) -> pd.DataFrame:
    """Files of whose bars nothing was made yet: [file_sha256, interval, changed_from, changed_to, instrument_ids]."""
    bars, records = schema.ohlcv_csv, schema.csv_imports
    columns = [records.c[name] for name in ("file_sha256", "interval", "changed_from", "changed_to")]
    names = sa.select(bars.c.file_sha256, bars.c.instrument_id).distinct().order_by(bars.c.instrument_id)
    with read_transaction(engine, records.name) as connection:
        found = [tuple(row) for row in connection.execute(sa.select(*columns).where(records.c.is_followed.is_(False)))]
        told = [
            tuple(row) for row in connection.execute(names.where(bars.c.file_sha256.in_([row[0] for row in found])))
        ]
    frame = to_frame(columns, found)
    of_file = [[name for digest, name in told if digest == wanted] for wanted in frame["file_sha256"]]
    return frame.assign(instrument_ids=pd.Series(of_file, index=frame.index, dtype=object))


def mark_followed(engine: sa.Engine, hashes: Iterable[str]) -> None:
    """Remember that bars were made of these files."""
    records = schema.csv_imports
    with write_transaction(engine, records.name) as connection:
        is_one = records.c.file_sha256.in_(sorted(set(hashes)))
        connection.execute(sa.update(records).where(is_one).values(is_followed=True))


def store_events(
    engine: sa.Engine, events: pd.DataFrame, record: Mapping[str, Any], *, beside: Sequence[Beside] = ()
) -> bool:
    """Write events (rows of market_events that are new, or whose outcome is told now) and the record of their file,
    and do what is given `beside`.

    False, and nothing is written, when the file was imported already.
    """
    table, records = schema.market_events, schema.csv_imports
    clean = storable_text(events)
    require_valid(table, clean)
    written = {table.name, records.name, *(one.table.name for one in beside)}
    with write_transaction(engine, *sorted(written)) as connection:
        is_same_file = records.c.file_sha256 == record["file_sha256"]
        if connection.execute(sa.select(records.c.file_sha256).where(is_same_file)).first() is not None:
            return False
        for one in beside:
            one.apply(connection)
        merge(connection, table, to_rows(table, clean), is_replacing=True)
        _insert_record(connection, {**record, **_changed(None)})
    return True


def _told_by_others(connection: sa.Connection, bars: pd.DataFrame, *, is_replacing: bool) -> dict[str, str]:
    """Instruments of the file that another source tells at its interval, or that are told otherwise adjusted. What is
    replaced is no obstacle: then other intervals count only.
    """
    table = schema.ohlcv_csv
    source, interval, is_adjusted = bars[["csv_source", "interval", "is_adjusted"]].iloc[0]
    is_otherwise = table.c.is_adjusted != sa.literal(bool(is_adjusted))
    query = (
        sa.select(table.c.instrument_id, table.c.csv_source)
        .distinct()
        .where(table.c.instrument_id.in_(sorted(bars["instrument_id"].unique())))
        .where(
            sa.and_(table.c.interval != interval, is_otherwise)
            if is_replacing
            else sa.or_(sa.and_(table.c.interval == interval, table.c.csv_source != source), is_otherwise)
        )
        .order_by(table.c.instrument_id, table.c.csv_source)
    )
    return {str(name): str(source) for name, source in map(tuple, connection.execute(query))}


def _nothing_left(file_name: str, left_out: Mapping[str, str], *, is_replacing: bool) -> str:
    told = ", ".join(f"{name} by {source}" for name, source in sorted(left_out.items())[:5])
    if is_replacing:
        return (
            f"{file_name}: every instrument has bars of other intervals that are adjusted otherwise ({told}), which "
            f"--replace does not take away; nothing was written"
        )
    return (
        f"{file_name}: every instrument is told by another source already ({told}); bars of two sources are never "
        f"joined. Say --replace to take this file's instead; nothing was written"
    )


def _stored(connection: sa.Connection, is_of_file: sa.ColumnElement[bool], digest: str) -> pd.DataFrame:
    """What is stored, with `last_ts` of the file that told it; null where that is the file of this hash itself."""
    table = schema.ohlcv_csv
    records = schema.csv_imports
    columns = [*(table.c[name] for name in (*KEY, *NUMBERS, *SETTINGS)), records.c.last_ts]
    is_teller = sa.and_(records.c.file_sha256 == table.c.file_sha256, records.c.file_sha256 != digest)
    query = sa.select(*columns).select_from(table.outerjoin(records, is_teller))
    rows = [tuple(row) for row in connection.execute(query.where(is_of_file))]
    return to_frame(columns, rows)


def _compared(bars: pd.DataFrame, stored: pd.DataFrame) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Which rows of the file are not stored, and which are stored with other values."""
    if stored.empty:
        return np.ones(len(bars), dtype=bool), np.zeros(len(bars), dtype=bool)
    keys = bars[KEY].assign(ts=pd.to_datetime(bars["ts"], utc=True).dt.as_unit("us"))
    told = stored.assign(ts=pd.to_datetime(stored["ts"], utc=True).dt.as_unit("us"))
    found = keys.merge(told, on=KEY, how="left", indicator=True, validate="one_to_one")
    is_new = found["_merge"].eq("left_only").to_numpy(bool)
    is_changed = np.zeros(len(bars), dtype=bool)
    for name in (*NUMBERS, *SETTINGS):
        before, now = found[name].to_numpy(float, na_value=np.nan), bars[name].to_numpy(float, na_value=np.nan)
        is_changed |= ~((before == now) | (np.isnan(before) & np.isnan(now)))
    return is_new, is_changed & ~is_new


def _require_whole(file_name: str, bars: pd.DataFrame, stored: pd.DataFrame, is_changed: np.ndarray[Any, Any]) -> None:
    """A file of adjusted prices that restates stored ones must reach back to the first of them."""
    changed = bars[is_changed & bars["is_adjusted"].to_numpy(bool)]
    if changed.empty:
        return
    begins, began = bars.groupby("instrument_id")["ts"].min(), stored.groupby("instrument_id")["ts"].min()
    for name in sorted(changed["instrument_id"].unique()):
        if pd.Timestamp(begins[name]) > pd.Timestamp(began[name]):
            raise SuspiciousDataError(
                f"{file_name}: restates adjusted prices of {name}, but begins on {begins[name]:%Y-%m-%d} and not where "
                f"the stored ones do ({began[name]:%Y-%m-%d}): what is before would stay adjusted otherwise. Import a "
                f"file of the whole history, or say --replace; nothing was written"
            )
