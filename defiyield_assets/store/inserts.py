"""By which statement rows go into a table, inside a transaction that is already open.

Lives here: INSERT, upsert, COPY and how cells are bound. Not here: transactions, slices and receipts (writes.py), what
rows may look like (validation.py).
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, cast

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from defiyield_assets.store.columnar_copy import copied_in
from defiyield_assets.store.columnar_frames import Columns
from defiyield_assets.store.rows import Row, converted
from defiyield_assets.store.types import BaseUnits
from defiyield_assets.store.validation import column_type

STAGING = "defiyield_staging"
_IN_JSON = frozenset({"text", "int", "bool", "date", "timestamp", "base units", "decimal"})
"""Kinds of cells that come out of SQLite's JSON exactly as they went in; floats may lose their last bit."""
Rows = Sequence[Row] | Columns
"""What is written: columns, or rows where a frame is not plain."""


def insert(connection: sa.Connection, table: sa.Table, rows: Rows) -> None:
    """Insert rows whose primary keys are all new."""
    if connection.dialect.name == "postgresql":
        _copy(connection, table.name, table, rows)
    else:
        _execute_many(connection, table, sa.insert(table), rows)


def merge(connection: sa.Connection, table: sa.Table, rows: Rows, *, is_replacing: bool) -> None:
    """Insert rows; where a key is already there, replace the row or leave it."""
    keys = [column.name for column in table.primary_key.columns]
    others = [column.name for column in table.columns if not column.primary_key]
    is_postgres = connection.dialect.name == "postgresql"
    into = postgresql.insert(table) if is_postgres else sqlite.insert(table)
    if is_replacing and others:
        merged = into.on_conflict_do_update(index_elements=keys, set_={name: into.excluded[name] for name in others})
    else:
        merged = into.on_conflict_do_nothing(index_elements=keys)
    if is_postgres:
        staged = _stage(connection, table, rows)
        connection.execute(merged.from_select([column.name for column in table.columns], sa.select(staged)))
        connection.exec_driver_sql(f"DROP TABLE {STAGING}")
    else:
        _execute_many(connection, table, merged, rows)


def _execute_many(connection: sa.Connection, table: sa.Table, statement: sa.Insert, rows: Rows) -> None:
    """Run an INSERT of whole rows; values are bound column by column, several times faster than row by row."""
    if not len(rows):
        return
    compiled = statement.compile(dialect=connection.dialect, column_keys=[column.name for column in table.columns])
    columns = bound_columns(connection.dialect, table, rows)
    connection.exec_driver_sql(str(compiled), list(zip(*columns, strict=True)))


def bound_columns(dialect: sa.Dialect, table: sa.Table, rows: Rows) -> list[Sequence[Any]]:
    """The cells of rows, column by column, as the database's driver takes them."""
    columns: list[Sequence[Any]] = []
    by_column = rows.by_column() if isinstance(rows, Columns) else zip(*rows, strict=True)
    for column, cells in zip(table.columns, by_column, strict=True):
        bind: Callable[[Any], Any] | None = column.type.dialect_impl(dialect).bind_processor(dialect)
        if isinstance(column.type, BaseUnits) and dialect.name == "sqlite":
            bind = str
        elif column_type(column) == "float":
            bind = None  # they are floats
        columns.append(cells if bind is None else converted(bind, cells))
    return columns


def json_of(connection: sa.Connection, table: sa.Table, rows: Rows) -> str | None:
    """Rows as one JSON text that `insert_json` takes; None where the database or a type of cell has no use for it."""
    if connection.dialect.name != "sqlite" or not all(column_type(column) in _IN_JSON for column in table.columns):
        return None
    cells = list(zip(*bound_columns(connection.dialect, table, rows), strict=True))
    return json.dumps(cells, ensure_ascii=False, separators=(",", ":"))


def insert_json(connection: sa.Connection, table: sa.Table, text: str, *, is_missing_only: bool) -> None:
    """Insert the rows of `json_of` in one statement (SQLite).

    The driver lets go of the interpreter for a statement, not for the rows of one that runs many times: with this one
    another core can write while Python goes on. `is_missing_only`: rows whose key is there are left as they are.
    """
    quote = connection.dialect.identifier_preparer.quote
    names = ", ".join(quote(column.name) for column in table.columns)
    cells = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(table.columns)))
    # Names are those of our metadata. "WHERE true" keeps SQLite from reading ON as the beginning of a join.
    statement = f"INSERT INTO {quote(table.name)} ({names}) SELECT {cells} FROM json_each(?) WHERE true"  # noqa: S608
    connection.exec_driver_sql(statement + (" ON CONFLICT DO NOTHING" if is_missing_only else ""), (text,))


def _stage(connection: sa.Connection, table: sa.Table, rows: Rows) -> sa.TableClause:
    """The rows in a temporary table that vanishes with the transaction at the latest (PostgreSQL)."""
    quote = connection.dialect.identifier_preparer.quote
    like = f"CREATE TEMPORARY TABLE {STAGING} (LIKE {quote(table.name)}) ON COMMIT DROP"  # a name of our metadata
    connection.exec_driver_sql(like)
    _copy(connection, STAGING, table, rows)
    return sa.table(STAGING, *[sa.column(column.name) for column in table.columns])


def _copy(connection: sa.Connection, name: str, shape: sa.Table, rows: Rows) -> None:
    """PostgreSQL's COPY inside the transaction: several times faster than INSERT. Names come from our metadata."""
    if isinstance(rows, Columns):
        copied_in(connection, name, list(shape.columns), rows.cells)
        return
    quote = connection.dialect.identifier_preparer.quote
    columns = ", ".join(quote(column.name) for column in shape.columns)
    driver_connection = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    with driver_connection.cursor() as cursor, cursor.copy(f"COPY {quote(name)} ({columns}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
