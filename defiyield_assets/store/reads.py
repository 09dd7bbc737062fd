"""Rows coming out of the warehouse as frames with the columns of their table, typed and ordered by primary key.

Lives here: SQL that reads tables. Not here: SQL that changes them (writes.py); what the rows mean (domain). A failure
to read raises; an empty frame always means that there is nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.store import schema
from defiyield_assets.store.engine import read_transaction
from defiyield_assets.store.rows import to_frame
from defiyield_assets.store.types import UtcDateTime
from defiyield_assets.store.validation import day_column

Where = Mapping[str, Any] | None


def conditions(table: sa.Table, where: Where) -> list[sa.ColumnElement[bool]]:
    """SQL conditions of a `where`: a list means any of it, None means null. Unknown columns: ValueError."""
    found: list[sa.ColumnElement[bool]] = []
    for name, wanted in (where or {}).items():
        if name not in table.c:
            raise ValueError(f"table {table.name} has no column {name}")
        column = table.c[name]
        if wanted is None:
            found.append(column.is_(None))
        elif isinstance(wanted, list | tuple | set | frozenset):
            found.append(column.in_(list(wanted)))
        else:
            found.append(column == wanted)
    return found


def read_days(engine: sa.Engine, table: sa.Table, days: DayRange, where: Where = None) -> pd.DataFrame:
    """The rows whose partition date lies in `days` and that match `where`."""
    return _read(engine, table, day_column(table).between(days.start, days.end), *conditions(table, where))


def read_latest(engine: sa.Engine, table: sa.Table, on_or_before: date, where: Where = None) -> pd.DataFrame:
    """The slice of the newest day, not after `on_or_before`, that has rows matching `where`; empty without one."""
    day = day_column(table)
    newest = sa.select(sa.func.max(day)).where(day <= on_or_before, *conditions(table, where)).scalar_subquery()
    return _read(engine, table, day == newest, *conditions(table, where))


def read_all(engine: sa.Engine, table: sa.Table, where: Where = None) -> pd.DataFrame:
    """All rows that match `where`."""
    return _read(engine, table, *conditions(table, where))


def newest_day(
    engine: sa.Engine, table: sa.Table, on_or_before: date | None = None, where: Where = None
) -> date | None:
    """The newest partition date that has rows (not after `on_or_before`, matching `where`); None when there is none."""
    day = day_column(table)
    limits = conditions(table, where)
    if on_or_before is not None:
        limits.append(day <= on_or_before)
    with read_transaction(engine, table.name) as connection:
        newest: date | None = connection.execute(sa.select(sa.func.max(day)).where(*limits)).scalar_one()
    return newest


def pool_histories(
    engine: sa.Engine, days: DayRange, known_at: datetime, pool_ids: Sequence[str] | None = None
) -> pd.DataFrame:
    """One point per pool and day as it was known at `known_at`, with the extra column is_hindsight (bool).

    The highest revision with seen_at <= known_at; where none was seen by then, the lowest one, flagged as hindsight.
    So a day rerun after a later backfill sees what it saw before.
    """
    table = schema.pool_histories
    known = table.c.seen_at <= sa.literal(known_at, UtcDateTime)
    preference = sa.case((known, -table.c.revision), else_=table.c.revision)
    rank = sa.func.row_number().over(
        partition_by=(table.c.pool_id, table.c.date), order_by=(sa.case((known, 0), else_=1), preference)
    )
    ranked = sa.select(table, sa.not_(known).label("is_hindsight"), rank.label("rank")).where(
        *_history_conditions(days, pool_ids)
    )
    view = ranked.subquery()
    wanted = [view.c[column.name] for column in table.columns]
    query = sa.select(*wanted, view.c.is_hindsight).where(view.c.rank == 1).order_by(*_by_key(engine, table, view))
    with read_transaction(engine, table.name) as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    flag: sa.Column[Any] = sa.Column("is_hindsight", sa.Boolean, nullable=False)
    return to_frame([*table.columns, flag], rows)


def pool_history_revisions(engine: sa.Engine, days: DayRange, pool_ids: Sequence[str] | None = None) -> pd.DataFrame:
    """Every revision of every point in `days`, ordered by pool, date and revision."""
    return _read(engine, schema.pool_histories, *_history_conditions(days, pool_ids))


def _history_conditions(days: DayRange, pool_ids: Sequence[str] | None) -> list[sa.ColumnElement[bool]]:
    table = schema.pool_histories
    in_range = table.c.date.between(days.start, days.end)
    return [in_range] if pool_ids is None else [in_range, table.c.pool_id.in_(list(pool_ids))]


def _read(engine: sa.Engine, table: sa.Table, *limits: sa.ColumnElement[bool]) -> pd.DataFrame:
    query = sa.select(table).where(*limits).order_by(*_by_key(engine, table, table))
    with read_transaction(engine, table.name) as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    return to_frame(list(table.columns), rows)


def _by_key(engine: sa.Engine, table: sa.Table, source: sa.FromClause) -> list[sa.ColumnElement[Any]]:
    """Order by primary key, text by code point on every database whatever its locale."""
    order: list[sa.ColumnElement[Any]] = []
    for key in table.primary_key.columns:
        column = source.c[key.name]
        is_text = isinstance(key.type, sa.Text) and engine.dialect.name == "postgresql"
        order.append(sa.collate(column, "C") if is_text else column)
    return order


def first_points(engine: sa.Engine, through: date) -> dict[str, date]:
    """First day of each pool in `pool_histories`, over points dated up to and including `through`."""
    table = schema.pool_histories
    query = (
        sa.select(table.c.pool_id, sa.func.min(table.c.date)).where(table.c.date <= through).group_by(table.c.pool_id)
    )
    with read_transaction(engine, f"read {table.name}") as connection:
        return {row[0]: row[1] for row in connection.execute(query)}
