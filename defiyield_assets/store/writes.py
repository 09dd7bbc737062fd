"""Rows going into the warehouse: whole slices, upserts, additions; each in one transaction, locked, with a receipt.

Lives here: SQL that changes tables. Not here: what rows may look like (validation.py), the archive of vendors' answers
(archive.py).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import pandas as pd
import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from defiyield_assets.domain.days import DayRange
from defiyield_assets.store.engine import write_transaction
from defiyield_assets.store.reads import conditions
from defiyield_assets.store.rows import Row, each_once, rows_hash, storable_text, to_rows, without_collector
from defiyield_assets.store.validation import day_column, require_valid

STAGING = "defiyield_staging"


@dataclass(frozen=True)
class WriteReceipt:
    """Proof of one write: the rows handed over, how many partition days they cover, and their fingerprint.

    `sha256` depends on the rows only: not on their order, nor on the database, nor on what was there before. `days` is
    0 for tables without partitions.
    """

    table: str
    rows: int
    days: int
    sha256: str


def together(table: sa.Table, receipts: Sequence[WriteReceipt]) -> WriteReceipt:
    """One receipt for writes made in batches: rows in sum, days of the longest, a fingerprint of theirs in order."""
    digest = hashlib.sha256("".join(receipt.sha256 for receipt in receipts if receipt.rows).encode()).hexdigest()
    return WriteReceipt(
        table.name, sum(part.rows for part in receipts), max((part.days for part in receipts), default=0), digest
    )


def day_by_day(table: sa.Table, receipts: Sequence[WriteReceipt]) -> WriteReceipt:
    """One receipt for days written one after the other: rows and days in sum, a fingerprint of theirs in order."""
    return replace(together(table, receipts), days=sum(part.days for part in receipts))


def replace_slice(
    engine: sa.Engine, table: sa.Table, frame: pd.DataFrame, days: DayRange, where: Mapping[str, Any] | None = None
) -> WriteReceipt:
    """Make the rows of `days` (and matching `where`) exactly those of the frame, or change nothing at all.

    An empty frame empties the slice. Raises SuspiciousDataError for rows that break the table's rules or lie outside
    the slice.
    """
    day = day_column(table)
    with without_collector():
        rows, receipt = _checked_rows(table, frame, days, where)
        with write_transaction(engine, table.name) as connection:
            connection.execute(sa.delete(table).where(day.between(days.start, days.end), *conditions(table, where)))
            _insert(connection, table, rows)
    return receipt


def upsert(engine: sa.Engine, table: sa.Table, frame: pd.DataFrame) -> WriteReceipt:
    """Insert the rows, replacing those with the same primary key. Raises SuspiciousDataError for repeated keys."""
    with without_collector():
        rows, receipt = _checked_rows(table, frame)
        with write_transaction(engine, table.name) as connection:
            _merge(connection, table, rows, is_replacing=True)
    return receipt


def insert_missing(engine: sa.Engine, table: sa.Table, frame: pd.DataFrame) -> WriteReceipt:
    """Insert the rows whose primary key is new and leave the others as they are; the receipt counts all rows given."""
    with without_collector():
        rows, receipt = _checked_rows(table, frame)
        with write_transaction(engine, table.name) as connection:
            _merge(connection, table, rows, is_replacing=False)
    return receipt


def delete_where(engine: sa.Engine, table: sa.Table, where: Mapping[str, Any]) -> int:
    """Delete the rows that match every condition (a list means any of it) and return how many; `where` is not empty."""
    if not where:
        raise ValueError(f"delete_where({table.name}) without a condition would empty the table")
    with write_transaction(engine, table.name) as connection:
        return connection.execute(sa.delete(table).where(*conditions(table, where))).rowcount


def _checked_rows(
    table: sa.Table, frame: pd.DataFrame, days: DayRange | None = None, where: Mapping[str, Any] | None = None
) -> tuple[list[Row], WriteReceipt]:
    clean = storable_text(frame)
    require_valid(table, clean, days, where)
    rows = to_rows(table, clean)
    covered = 0 if table.info["day"] is None else clean[day_column(table).name].nunique()
    return rows, WriteReceipt(table.name, len(rows), int(covered), rows_hash(table, rows))


def _insert(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    if connection.dialect.name == "postgresql":
        _copy(connection, table.name, table, rows)
    else:
        _execute_many(connection, table, sa.insert(table), rows)


def _merge(connection: sa.Connection, table: sa.Table, rows: Sequence[Row], *, is_replacing: bool) -> None:
    """Insert rows; where a key is already there, replace the row or leave it."""
    keys = [column.name for column in table.primary_key.columns]
    others = [column.name for column in table.columns if not column.primary_key]
    is_postgres = connection.dialect.name == "postgresql"
    insert = postgresql.insert(table) if is_postgres else sqlite.insert(table)
    if is_replacing and others:
        merge = insert.on_conflict_do_update(index_elements=keys, set_={name: insert.excluded[name] for name in others})
    else:
        merge = insert.on_conflict_do_nothing(index_elements=keys)
    if is_postgres:
        staged = _stage(connection, table, rows)
        connection.execute(merge.from_select([column.name for column in table.columns], sa.select(staged)))
    else:
        _execute_many(connection, table, merge, rows)


def _execute_many(connection: sa.Connection, table: sa.Table, statement: sa.Insert, rows: Sequence[Row]) -> None:
    """Run an INSERT of whole rows; values are bound column by column, several times faster than row by row."""
    if not rows:
        return
    dialect = connection.dialect
    compiled = statement.compile(dialect=dialect, column_keys=[column.name for column in table.columns])
    processors = [column.type.dialect_impl(dialect).bind_processor(dialect) for column in table.columns]
    columns = [
        cells if bind is None else each_once(bind, cells)
        for bind, cells in zip(processors, zip(*rows, strict=True), strict=True)
    ]
    connection.exec_driver_sql(str(compiled), list(zip(*columns, strict=True)))


def _stage(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> sa.TableClause:
    """The rows in a temporary table that vanishes with the transaction (PostgreSQL)."""
    quote = connection.dialect.identifier_preparer.quote
    like = f"CREATE TEMPORARY TABLE {STAGING} (LIKE {quote(table.name)}) ON COMMIT DROP"  # a name of our metadata
    connection.exec_driver_sql(like)
    _copy(connection, STAGING, table, rows)
    return sa.table(STAGING, *[sa.column(column.name) for column in table.columns])


def _copy(connection: sa.Connection, name: str, shape: sa.Table, rows: Sequence[Row]) -> None:
    """PostgreSQL's COPY inside the transaction: several times faster than INSERT. Names come from our metadata."""
    quote = connection.dialect.identifier_preparer.quote
    columns = ", ".join(quote(column.name) for column in shape.columns)
    driver_connection = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    with driver_connection.cursor() as cursor, cursor.copy(f"COPY {quote(name)} ({columns}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
