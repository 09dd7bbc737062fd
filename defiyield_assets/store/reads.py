"""Rows coming out of the warehouse as frames with the columns of their table, typed and ordered by primary key.

Lives here: SQL that reads tables. Not here: SQL that changes them (writes.py); what the rows mean (domain). A failure
to read raises; an empty frame always means that there is nothing.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import TransientError
from defiyield_assets.store import schema
from defiyield_assets.store.columnar import (
    Cells,
    Collector,
    cells_to_array,
    cells_to_frame,
    kinds_of,
    microseconds,
    order_of,
)
from defiyield_assets.store.columnar_copy import copied_out
from defiyield_assets.store.engine import Readable, read_transaction
from defiyield_assets.store.rows import from_stored, to_frame, without_collector
from defiyield_assets.store.types import UtcDateTime
from defiyield_assets.store.validation import day_column

Where = Mapping[str, Any] | None
ANY_OF = (list, tuple, set, frozenset)
"""What means any of its values in a `where`."""
STREAMED = 20_000
"""Rows that a streaming reader holds."""
ASKED_AT_ONCE = 300
"""Addresses that one query looks for."""
IS_HINDSIGHT: "sa.Column[Any]" = sa.Column("is_hindsight", sa.Boolean, nullable=False)
"""What histories as they were known have besides their own columns."""
POOLS_AT_ONCE = 10_000
"""Pools that one query looks for, each by its key; SQLite takes 32,766 values."""


def conditions(table: sa.Table, where: Where) -> list[sa.ColumnElement[bool]]:
    """SQL conditions of a `where`: a list means any of it, None means null, a parameter what will be said for it.

    Unknown columns: ValueError.
    """
    found: list[sa.ColumnElement[bool]] = []
    for name, wanted in (where or {}).items():
        if name not in table.c:
            raise ValueError(f"table {table.name} has no column {name}")
        column = table.c[name]
        if wanted is None:
            found.append(column.is_(None))
        elif isinstance(wanted, sa.BindParameter):
            is_array = isinstance(wanted.type, sa.ARRAY)
            found.append(
                column.in_(wanted) if wanted.expanding else column == (sa.any_(wanted) if is_array else wanted)
            )
        elif isinstance(wanted, ANY_OF):
            found.append(column.in_(list(wanted)))
        else:
            found.append(column == wanted)
    return found


def within(table: sa.Table, days: DayRange) -> sa.ColumnElement[bool]:
    """The partition date lies in `days`. A single day is asked for as such: only then can the rest of a key that
    begins with it be looked up."""
    day = day_column(table)
    return day == days.start if days.start == days.end else day.between(days.start, days.end)


def read_days(
    engine: Readable,
    table: sa.Table,
    days: DayRange,
    where: Where = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The rows whose partition date lies in `days` and that match `where`; all columns, or those named."""
    limits = conditions(table, where)
    return _read(engine, table, within(table, days), *limits, columns=columns)


def read_rows(
    engine: Readable,
    table: sa.Table,
    days: DayRange,
    where: Where = None,
    columns: Sequence[str] | None = None,
    *,
    by_day: bool = False,
) -> list[dict[str, Any]]:
    """The rows of `read_days` as dictionaries, null None: for a few rows, which a frame would take longer to hold.

    They are in the order of those columns of the primary key that are read. `by_day` is for a table of thousands of
    rows a day: each day is looked up with the rest of the key, instead of reading through all rows of the range.
    """
    asked = {name: list(wanted) if isinstance(wanted, ANY_OF) else wanted for name, wanted in (where or {}).items()}
    shapes = tuple((name, None if wanted is None else isinstance(wanted, list)) for name, wanted in asked.items())
    values = {f"of_{name}": wanted for name, wanted in asked.items() if wanted is not None}
    has_arrays = engine.dialect.name == "postgresql"
    named = tuple(table.columns.keys() if columns is None else columns)
    among = "day" if days.start == days.end else "days" if by_day else "range"
    query = _rows_query(table, named, shapes, among, has_arrays=has_arrays)
    with read_transaction(engine, table.name) as connection:
        answer = connection.execute(query, {**values, "first": days.start, "last": days.end})
        rows = [dict(row) for row in answer.mappings()]
    names = [column.name for column in table.primary_key.columns if column.name in named]
    return sorted(rows, key=lambda row: tuple(row[name] for name in names))


@cache
def _rows_query(
    table: sa.Table,
    columns: tuple[str, ...],
    shapes: tuple[tuple[str, bool | None], ...],
    among: Literal["day", "days", "range"],
    *,
    has_arrays: bool,
) -> sa.Select[Any]:
    """The question of `read_rows` with its values left open, since making it anew takes longer than asking it.

    `shapes`: the columns that are asked for, with whether any of a list is meant; None means null. `has_arrays`: the
    database takes a list as one value.
    """

    def left_open(name: str, *, is_list: bool) -> sa.BindParameter[Any]:
        if is_list and has_arrays and name in table.c:
            return sa.bindparam(f"of_{name}", type_=sa.ARRAY(table.c[name].type))
        return sa.bindparam(f"of_{name}", expanding=is_list)

    asked = {name: None if is_list is None else left_open(name, is_list=is_list) for name, is_list in shapes}
    first, last = sa.bindparam("first", type_=sa.Date), sa.bindparam("last", type_=sa.Date)
    day = day_column(table)
    if among == "day":
        of_days = day == first
    elif among == "range":
        of_days = day.between(first, last)
    elif has_arrays:
        # of whole numbers: a series of days would be one of moments in the session's time zone, which may lack one
        each_day = sa.type_coerce(first + sa.func.generate_series(0, last - first), sa.Date)
        of_days = day == sa.any_(sa.func.array(sa.select(each_day).scalar_subquery()))
    else:
        each = sa.select(first.label("day")).cte("each_day", recursive=True)
        each = each.union_all(sa.select(sa.func.date(each.c.day, "+1 day", type_=sa.Date)).where(each.c.day < last))
        of_days = day.in_(sa.select(each.c.day))
    return sa.select(*(table.c[name] for name in columns)).where(of_days, *conditions(table, asked))


def read_due(
    engine: Readable, table: sa.Table, due: DayRange, horizons: Collection[int], columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """Forecasts over one of `horizons` whose horizon ends on a day of `due`: as_of + horizon_days = that day.

    `table` has as_of and horizon_days; `columns` are all or those named.
    """
    ends = [
        sa.and_(
            table.c.horizon_days == horizon,
            table.c.as_of.between(due.start - timedelta(days=horizon), due.end - timedelta(days=horizon)),
        )
        for horizon in sorted(set(horizons))
    ]
    return _read(engine, table, sa.or_(sa.false(), *ends), columns=columns)


def read_columns(
    engine: Readable, table: sa.Table, days: DayRange, where: Where = None, columns: Sequence[str] | None = None
) -> dict[str, npt.NDArray[Any]]:
    """The rows of `read_days` as arrays by column, in no order: for millions of rows, where a frame is too much.

    float64 (null NaN), datetime64[D], int64 where never null; everything else object (null None).
    """
    wanted = list(table.columns) if columns is None else [table.c[name] for name in columns]
    query = sa.select(*wanted).where(within(table, days), *conditions(table, where))
    found = _fetched(engine, table, wanted, query)
    return {column.name: cells_to_array(column, cells) for column, cells in zip(wanted, found, strict=True)}


def read_latest(engine: Readable, table: sa.Table, on_or_before: date, where: Where = None) -> pd.DataFrame:
    """The slice of the newest day, not after `on_or_before`, that has rows matching `where`; empty without one."""
    day = day_column(table)
    newest = sa.select(sa.func.max(day)).where(day <= on_or_before, *conditions(table, where)).scalar_subquery()
    return _read(engine, table, day == newest, *conditions(table, where))


def read_all(engine: Readable, table: sa.Table, where: Where = None) -> pd.DataFrame:
    """All rows that match `where`."""
    return _read(engine, table, *conditions(table, where))


def account_transactions_from(engine: Readable, blocks: Mapping[int, int], through: date) -> pd.DataFrame:
    """Rows of `account_transactions` from a block of each chain on, up to a day; of later days the pending ones."""
    table = schema.account_transactions
    reached = [sa.and_(table.c.chain_id == chain, table.c.block_number >= first) for chain, first in blocks.items()]
    return _read(engine, table, sa.or_(sa.false(), *reached), sa.or_(table.c.date <= through, table.c.is_pending))


def pool_postings(engine: Readable, through: date) -> pd.DataFrame:
    """Postings of transactions with pools up to and including the day."""
    table = schema.ledger_postings
    return _read(engine, table, table.c.date <= through, table.c.pool_id.is_not(None))


def trial_balance(engine: Readable, day: date, prefix: str = "") -> pd.DataFrame:
    """The newest row of each account of `trial_balance` up to the day; of accounts whose name begins with `prefix`."""
    table = schema.trial_balance
    keys = [column for column in table.primary_key.columns if column.name != "date"]
    rank = sa.func.row_number().over(partition_by=keys, order_by=table.c.date.desc()).label("rank")
    known = sa.select(table, rank).where(table.c.date <= day, table.c.account.startswith(prefix, autoescape=True))
    view = known.subquery()
    wanted = [view.c[column.name] for column in table.columns]
    query = sa.select(*wanted).where(view.c.rank == 1)
    return cells_to_frame(list(table.columns), _in_order(table, _fetched(engine, table, list(table.columns), query)))


def stream_days(
    engine: Readable,
    table: sa.Table,
    days: DayRange,
    *,
    columns: Sequence[str],
    order: Sequence[str],
    where: Where = None,
) -> Iterator[tuple[Any, ...]]:
    """The rows of `days` as tuples of `columns`, ordered by `order`, of which STREAMED are held at a time.

    Text in `order` is ordered as the database likes.
    """
    limits = (within(table, days), *conditions(table, where))
    wanted = [table.c[name] for name in columns]
    query = sa.select(*wanted).where(*limits).order_by(*[table.c[name] for name in order])
    with read_transaction(engine, table.name) as connection:
        if engine.dialect.name == "postgresql":
            # A cursor on the server, in which SQLAlchemy reads ahead: rows taken past it would be lost.
            answer = connection.execute(query, execution_options={"yield_per": STREAMED})
            for rows in answer.partitions():
                yield from map(tuple, rows)
            return
        answer = connection.execute(query)
        while part := _stored(answer, STREAMED):
            yield from zip(*from_stored(wanted, part), strict=True)


def distinct(engine: Readable, table: sa.Table, columns: Sequence[str], through: date) -> list[tuple[Any, ...]]:
    """The different values that some columns have together up to and including the day, in order."""
    wanted = [table.c[name] for name in columns]
    query = sa.select(*wanted).distinct().where(day_column(table) <= through).order_by(*wanted)
    with read_transaction(engine, table.name) as connection:
        return [tuple(row) for row in connection.execute(query)]


def distinct_values(
    engine: Readable, table: sa.Table, columns: Sequence[str], days: DayRange | None = None
) -> set[tuple[Any, ...]]:
    """Every combination of values of the columns that a row has, or one of those days."""
    query = sa.select(*(table.c[name] for name in columns)).distinct()
    if days is not None:
        query = query.where(within(table, days))
    with read_transaction(engine, table.name) as connection:
        return {tuple(row) for row in connection.execute(query)}


def count_through(engine: Readable, table: sa.Table, day: date) -> int:
    """How many rows the table has up to and including the day."""
    query = sa.select(sa.func.count()).select_from(table).where(day_column(table) <= day)
    with read_transaction(engine, table.name) as connection:
        return int(connection.execute(query).scalar_one())


def moved_with(engine: Readable, day: date, addresses: Collection[str]) -> bool:
    """Whether any row of `account_transactions` up to the day has one of the addresses as token, sender or receiver."""
    table, wanted = schema.account_transactions, sorted(addresses)
    sides = (table.c.token_address, table.c.from_address, table.c.to_address)
    with read_transaction(engine, table.name) as connection:
        for first in range(0, len(wanted), ASKED_AT_ONCE):
            some = wanted[first : first + ASKED_AT_ONCE]
            named = sa.or_(*[side.in_(some) for side in sides])
            if connection.execute(sa.select(table.c.tx_hash).where(table.c.date <= day, named).limit(1)).first():
                return True
    return False


def newest_day(engine: Readable, table: sa.Table, on_or_before: date | None = None, where: Where = None) -> date | None:
    """The newest partition date that has rows (not after `on_or_before`, matching `where`); None when there is none."""
    day = day_column(table)
    limits = conditions(table, where)
    if on_or_before is not None:
        limits.append(day <= on_or_before)
    with read_transaction(engine, table.name) as connection:
        newest: date | None = connection.execute(sa.select(sa.func.max(day)).where(*limits)).scalar_one()
    return newest


def slices_state(
    connection: sa.Connection, tables: Sequence[sa.Table], day: date
) -> tuple[tuple[int, int], ...] | None:
    """A value that changes whenever a row of the day in any of these tables does; None where the database has none.

    PostgreSQL stamps every row with the transaction that wrote it, and transactions are numbered upwards.
    """
    if connection.dialect.name != "postgresql":
        return None
    found = []
    for table in tables:
        written = sa.cast(sa.cast(sa.literal_column("xmin"), sa.Text), sa.BigInteger)
        newest = sa.func.coalesce(sa.func.max(written), 0)
        query = sa.select(sa.func.count(), newest).select_from(table).where(day_column(table) == day)
        with read_transaction(connection, table.name):
            rows, transaction = connection.execute(query).one()
        found.append((int(rows), int(transaction)))
    return tuple(found)


def days_with_rows(engine: Readable, table: sa.Table, where: Where = None) -> DayRange | None:
    """From the first to the last partition date that has rows (matching `where`); None when there is none."""
    day = day_column(table)
    query = sa.select(sa.func.min(day), sa.func.max(day)).where(*conditions(table, where))
    with read_transaction(engine, table.name) as connection:
        first, last = connection.execute(query).one()
    return None if first is None else DayRange(first, last)


def days_since(engine: Readable, table: sa.Table, first: date) -> list[date]:
    """The different days on or after the first that have rows, ascending."""
    day = day_column(table)
    query = sa.select(day).where(day >= first).distinct().order_by(day)
    with read_transaction(engine, table.name) as connection:
        return list(connection.execute(query).scalars())


def seen_instruments(engine: Readable, table: sa.Table, told_before: datetime, on_or_before: date) -> set[str]:
    """Instruments of which a vendor's table has a row that was told before an instant, or is of an old enough day.

    `table` has instrument_id, date and fetched_at.
    """
    is_early = sa.or_(table.c.fetched_at < sa.literal(told_before, UtcDateTime), day_column(table) <= on_or_before)
    with read_transaction(engine, table.name) as connection:
        return set(connection.execute(sa.select(table.c.instrument_id).distinct().where(is_early)).scalars())


def instrument_spans(engine: Readable, table: sa.Table, through: date, where: Where = None) -> dict[str, DayRange]:
    """First and last day of each instrument's rows up to and including `through` that match `where`."""
    day, name = day_column(table), table.c.instrument_id
    query = sa.select(name, sa.func.min(day), sa.func.max(day)).where(day <= through, *conditions(table, where))
    with read_transaction(engine, table.name) as connection:
        found = [tuple(row) for row in connection.execute(query.group_by(name))]
    return {str(instrument_id): DayRange(first, last) for instrument_id, first, last in found}


def newest_of_instruments(engine: Readable, table: sa.Table, days: DayRange, where: Where = None) -> pd.DataFrame:
    """Of each instrument its newest row of `days` that matches `where`; `table` has instrument_id."""
    day = day_column(table)
    limits = (day.between(days.start, days.end), *conditions(table, where))
    newest = sa.select(table.c.instrument_id, sa.func.max(day).label("newest")).where(*limits)
    of_each = newest.group_by(table.c.instrument_id).subquery()
    is_newest = sa.exists().where(of_each.c.instrument_id == table.c.instrument_id, of_each.c.newest == day)
    return _read(engine, table, *limits, is_newest)


def bars_so_far(engine: Readable, through: date) -> dict[str, tuple[int, float, date]]:
    """How many bars each instrument has up to and including the day, the adjustment factor of its first one, and the
    day of its last one."""
    table = schema.daily_bars
    name, day = table.c.instrument_id, table.c.date
    edges = (sa.func.min(day).label("first"), sa.func.max(day).label("last"))
    of_each = sa.select(name, sa.func.count().label("n"), *edges).where(day <= through).group_by(name).subquery()
    is_first = sa.and_(name == of_each.c.instrument_id, day == of_each.c.first)
    query = sa.select(name, of_each.c.n, table.c.adj_factor, of_each.c.last).join_from(of_each, table, is_first)
    with read_transaction(engine, table.name) as connection:
        found = connection.execute(query).all()
    return {str(instrument_id): (int(n), float(factor), last) for instrument_id, n, factor, last in found}


def restated_instruments(engine: Readable) -> list[str]:
    """Instruments with a stored bar whose factors are not 1, in order."""
    table = schema.daily_bars
    is_restated = sa.or_(table.c.adj_factor != 1, table.c.split_factor != 1)
    with read_transaction(engine, table.name) as connection:
        return sorted(connection.execute(sa.select(table.c.instrument_id).distinct().where(is_restated)).scalars())


def bars_with_actions(engine: Readable, through: date) -> pd.DataFrame:
    """Rows of `ohlcv_alpha_vantage` up to the day that carry a dividend or a split."""
    table = schema.ohlcv_alpha_vantage
    has_action = sa.or_(table.c.dividend > 0, table.c.split_coefficient != 1)
    return _read(engine, table, table.c.date <= through, has_action)


def pool_histories(
    engine: Readable,
    days: DayRange,
    known_at: datetime,
    pool_ids: Collection[str] | None = None,
    aliases: Mapping[str, str] | None = None,
    *,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """One point per pool and day as it was known at `known_at`, with the extra column is_hindsight (bool).

    All columns, or those named.

    The highest revision with seen_at <= known_at; where none was seen by then, the lowest one, flagged as hindsight.
    So a day rerun after a later backfill sees what it saw before. `pool_ids` and `aliases` as in
    `pool_history_revisions`.
    """
    wanted = list(schema.pool_histories.columns) if columns is None else [schema.pool_histories.c[n] for n in columns]
    cells = _known_histories(engine, days, known_at, pool_ids, aliases, wanted=wanted)
    return cells_to_frame([*wanted, IS_HINDSIGHT], cells)


def pool_history_columns(
    engine: Readable,
    days: DayRange,
    known_at: datetime,
    pool_ids: Collection[str],
    aliases: Mapping[str, str] | None = None,
    *,
    columns: Sequence[str],
) -> dict[str, npt.NDArray[Any]]:
    """The points of `pool_histories` in its order as arrays by column, of the kinds that `read_columns` has: for a few
    pools, whose frame would take longer than reading them."""
    wanted = [schema.pool_histories.c[name] for name in columns]
    if len(pool_ids) == 1 and not set(pool_ids) & set((aliases or {}).values()):
        cells = _known_history(engine, days, known_at, *pool_ids, wanted=wanted)
    else:
        cells = _known_histories(engine, days, known_at, pool_ids, aliases, wanted=wanted)
    told = zip([*wanted, IS_HINDSIGHT], cells, strict=True)
    return {column.name: cells_to_array(column, of_column) for column, of_column in told}


def _known_histories(
    engine: Readable,
    days: DayRange,
    known_at: datetime,
    pool_ids: Collection[str] | None,
    aliases: Mapping[str, str] | None,
    *,
    wanted: Sequence[sa.Column[Any]],
) -> list[Cells]:
    """The columns of the points known at `known_at`, and behind them whether each is hindsight."""
    table, told = schema.pool_histories, _told_histories(days, pool_ids, aliases)
    read = list(dict.fromkeys([*wanted, *table.primary_key.columns, table.c.seen_at]))
    names = [column.name for column in read]
    found = _in_order(table, _fetched(engine, table, read, sa.select(*(told.c[name] for name in names))), names)
    rows, is_hindsight = _known(dict(zip(names, found, strict=True)), known_at)
    return [*(of_column.taken(rows) for of_column in found[: len(wanted)]), Cells("bool", is_hindsight)]


def _known_history(
    engine: Readable, days: DayRange, known_at: datetime, pool_id: str, *, wanted: Sequence[sa.Column[Any]]
) -> list[Cells]:
    """The same of one pool that never had another id, by a question that is prepared once."""
    table = schema.pool_histories
    read = tuple(dict.fromkeys([*wanted, table.c.date, table.c.seen_at]))
    with read_transaction(engine, table.name) as connection:
        asked = {"pool": pool_id, "first": days.start, "last": days.end}
        told = list(zip(*_stored(connection.execute(_history_query(read), asked)), strict=True)) or [()] * len(read)
    found = []
    for kind, cells in zip(kinds_of(read), told, strict=True):
        collector = Collector(kind)
        collector.add_stored(cells)
        found.append(collector.cells())
    named = dict(zip((column.name for column in read), found, strict=True))
    of_pool = Cells("int", np.zeros(len(named["date"].values), np.int64))
    rows, is_hindsight = _known({**named, "pool_id": of_pool}, known_at)
    return [*(of_column.taken(rows) for of_column in found[: len(wanted)]), Cells("bool", is_hindsight)]


@cache
def _history_query(columns: tuple[sa.Column[Any], ...]) -> sa.Select[Any]:
    table = schema.pool_histories
    is_wanted = table.c.date.between(sa.bindparam("first"), sa.bindparam("last"))
    query = sa.select(*columns).where(table.c.pool_id == sa.bindparam("pool"), is_wanted)
    return query.order_by(table.c.date, table.c.revision)


def _known(named: Mapping[str, Cells], known_at: datetime) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Of each pool and day the place of the point known at `known_at`, and whether it is hindsight; rows are in order
    of pool, day and revision."""
    pool, day = named["pool_id"].values, named["date"].values
    places = np.arange(len(pool))
    if not len(pool):
        return places, np.zeros(0, np.bool_)
    first = np.flatnonzero(np.concatenate([[True], (pool[1:] != pool[:-1]) | (day[1:] != day[:-1])]))
    seen_in_time = np.where(named["seen_at"].values <= microseconds(known_at), places, -1)
    newest = np.maximum.reduceat(seen_in_time, first)
    is_hindsight = newest < 0
    return np.where(is_hindsight, first, newest), is_hindsight


def pool_history_revisions(
    engine: Readable,
    days: DayRange,
    pool_ids: Collection[str] | None = None,
    aliases: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Every revision of every point in `days`, ordered by pool, date and revision.

    `aliases` (old id -> today's) join histories: what is stored under an old id is read as today's, and `pool_ids`
    are today's. Where both ids tell of a day, revisions are counted through in the order in which they were seen (those
    of one id as they are numbered, today's id behind an old one seen at the same time).
    """
    table, told = schema.pool_histories, _told_histories(days, pool_ids, aliases)
    found = _fetched(engine, table, list(table.columns), sa.select(told))
    return cells_to_frame(list(table.columns), _in_order(table, found))


def first_points(
    engine: Readable, through: date, pool_ids: Collection[str], aliases: Mapping[str, str] | None = None
) -> dict[str, date]:
    """First day of each of these pools in `pool_histories`, over points up to and including `through`; those without
    one are left out. `aliases` (old id -> today's) join histories; `pool_ids` are today's.
    """
    table, first = schema.pool_histories, dict[str, date]()
    names, own = aliases or {}, set(pool_ids)
    asked = sorted((own - {*names}) | {stored for stored, today in names.items() if today in own})
    with read_transaction(engine, table.name) as connection:
        for start in range(0, len(asked), POOLS_AT_ONCE):
            some = [(pool_id,) for pool_id in asked[start : start + POOLS_AT_ONCE]]
            pool = sa.values(sa.column("pool_id", sa.Text)).data(some).cte("asked").c.pool_id
            # a look into the primary key for each pool: a scan would read every point that there ever was
            points = sa.select(sa.func.min(table.c.date)).where(table.c.pool_id == pool, table.c.date <= through)
            for stored, day in connection.execute(sa.select(pool, points.scalar_subquery())):
                if day is not None:
                    pool_id = names.get(stored, stored)
                    first[pool_id] = min(day, first.get(pool_id, day))
    return first


def revised_histories(
    engine: Readable, since: datetime, through: datetime, aliases: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """All revisions, joined by `aliases`, of the pools and days among which something was revised in (since, through].

    Of pools with an old id every point seen then counts, since their first revision may stand under that id.
    """
    table, renamed = schema.pool_histories, set((aliases or {}).values())
    query = sa.select(table.c.pool_id, sa.func.min(table.c.date), sa.func.max(table.c.date)).where(
        table.c.seen_at > sa.literal(since, UtcDateTime),
        table.c.seen_at <= sa.literal(through, UtcDateTime),
        sa.or_(table.c.revision > 0, table.c.pool_id.in_(sorted(renamed))),
    )
    with read_transaction(engine, table.name) as connection:
        found = [tuple(row) for row in connection.execute(query.group_by(table.c.pool_id))]
    if not found:
        return to_frame(list(table.columns), [])
    pool_ids = {(aliases or {}).get(pool_id, pool_id) for pool_id, _, _ in found}
    days = DayRange(min(first for _, first, _ in found), max(last for _, _, last in found))
    return pool_history_revisions(engine, days, pool_ids, aliases)


def answered(engine: Readable, vendor: str, endpoint: str, not_before: datetime, not_after: datetime) -> set[str]:
    """`params_hash` of the questions to an endpoint that the archive has an answer to from inside that window."""
    table = schema.raw_fetches
    query = (
        sa.select(table.c.params_hash)
        .distinct()
        .where(table.c.vendor == vendor, table.c.endpoint == endpoint)
        .where(table.c.fetched_at.between(not_before, not_after), table.c.status.between(200, 299))
        .where(table.c.error_class.is_(None), table.c.sha256.is_not(None))
    )
    with read_transaction(engine, table.name) as connection:
        return set(connection.execute(query).scalars())


def _told_histories(days: DayRange, pool_ids: Collection[str] | None, aliases: Mapping[str, str] | None) -> sa.Subquery:
    """The rows of `pool_histories` in `days` under today's ids; without an alias they are the table's own."""
    table = schema.pool_histories
    limits = [table.c.date.between(days.start, days.end)]
    wanted = None if pool_ids is None else set(pool_ids)
    old = {stored: today for stored, today in (aliases or {}).items() if wanted is None or today in wanted}
    if wanted is not None:
        limits.append(table.c.pool_id.in_(sorted(wanted | set(old))))
    if not old:
        return sa.select(table).where(*limits).subquery()
    today = sa.case(old, value=table.c.pool_id, else_=table.c.pool_id)
    is_own = sa.case((table.c.pool_id.in_(sorted(old)), 0), else_=1)
    # The newest seen counts, as in known_view; the rows of one id keep the order of their revisions, since a re-run may
    # append an older sight.
    reached = sa.func.max(table.c.seen_at).over(partition_by=(table.c.pool_id, table.c.date), order_by=table.c.revision)
    renamed = (today.label("today"), is_own.label("is_own"), reached.label("reached"))
    told = sa.select(table, *renamed).where(*limits).subquery()
    count = sa.func.row_number().over(
        partition_by=(told.c.today, told.c.date),
        order_by=(told.c.reached, told.c.is_own, told.c.pool_id, told.c.revision),
    )
    is_joined = told.c.today.in_(sorted(set(old.values())))
    revision = sa.case((is_joined, count - 1), else_=told.c.revision)
    replaced = {"pool_id": told.c.today.label("pool_id"), "revision": revision.label("revision")}
    return sa.select(*[replaced.get(column.name, told.c[column.name]) for column in table.columns]).subquery()


def _read(
    engine: Readable, table: sa.Table, *limits: sa.ColumnElement[bool], columns: Sequence[str] | None = None
) -> pd.DataFrame:
    wanted = list(table.columns) if columns is None else [table.c[name] for name in columns]
    keys = [column for column in table.primary_key.columns if column not in set(wanted)]
    found = _fetched(engine, table, [*wanted, *keys], sa.select(*wanted, *keys).where(*limits))
    names = [column.name for column in (*wanted, *keys)]
    return cells_to_frame(wanted, _in_order(table, found, names)[: len(wanted)])


def _fetched(
    engine: Readable, table: sa.Table, columns: Sequence[sa.Column[Any]], query: sa.Select[Any]
) -> list[Cells]:
    """The answer to a query whose columns are of these kinds, in no order, in a transaction of its own."""
    with without_collector(), read_transaction(engine, table.name) as connection:
        if engine.dialect.name == "postgresql":
            return copied_out(connection, columns, query)
        collectors = [Collector(kind) for kind in kinds_of(columns)]
        answer = connection.execute(query)
        while rows := _stored(answer, STREAMED):
            for collector, cells in zip(collectors, zip(*rows, strict=True), strict=True):
                collector.add_stored(cells)
        return [collector.cells() for collector in collectors]


def _in_order(table: sa.Table, found: Sequence[Cells], names: Sequence[str] | None = None) -> list[Cells]:
    """Columns (the table's, or those named) by primary key, text by code point on every database."""
    named = dict(zip(table.columns.keys() if names is None else names, found, strict=True))
    order = order_of([named[key.name] for key in table.primary_key.columns])
    return list(found) if order is None else [cells.taken(order) for cells in found]


def _stored(answer: sa.CursorResult[Any], most: int | None = None) -> list[tuple[Any, ...]]:
    """The answer's rows, or the next ones, as the driver returns them: SQLAlchemy would convert them cell by cell."""
    cursor = answer.cursor
    if cursor is None:
        raise TransientError("the database closed its answer")
    return list(cursor.fetchall() if most is None else cursor.fetchmany(most))
