"""What a database holds: for each table its rows counted and one fingerprint of them.

Lives here: counting and fingerprinting whatever tables there are, of any revision, rows in any order. Not here: hashes
of what is written, which are the same on both kinds of database (store/rows.py), the file of a backup (archive.py).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from defiyield_assets.store import schema
from defiyield_assets.store.engine import VERSION_TABLE

SCHEMA = "public"
"""PostgreSQL's schema of all our tables."""
STREAMED = 20_000
"""Rows that are held at a time."""
_FINGERPRINTS = 2**128
_LEAF_TABLES = sa.text(
    "SELECT relname FROM pg_catalog.pg_class WHERE relkind = 'r' AND relnamespace = to_regnamespace(:schema)"
)
_FILE_TABLES = sa.text("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'")


@dataclass(frozen=True)
class TableContent:
    """Rows of one table, and the sum of their fingerprints (32 hexadecimal digits), which knows no order."""

    rows: int
    fingerprint: str


def table_names(connection: sa.Connection) -> list[str]:
    """Every table that holds rows, in the order of names; of a partitioned table these are its partitions."""
    is_postgres = connection.dialect.name == "postgresql"
    found = connection.execute(_LEAF_TABLES, {"schema": SCHEMA}) if is_postgres else connection.execute(_FILE_TABLES)
    return sorted(found.scalars())


def contents(connection: sa.Connection) -> dict[str, TableContent]:
    """Content of every table, as the connection's transaction sees it; begin one that sees one moment only."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL TIME ZONE 'UTC'")  # times are spelled in the session's zone
    return {name: _content(connection, name) for name in table_names(connection)}


def _content(connection: sa.Connection, name: str) -> TableContent:
    count = total = 0
    for rows in connection.execute(
        _everything(connection, name), execution_options={"yield_per": STREAMED}
    ).partitions():
        count += len(rows)
        total += sum(_fingerprint(row) for row in rows)
    return TableContent(count, f"{total % _FINGERPRINTS:032x}")


def _everything(connection: sa.Connection, name: str) -> sa.Select[Any]:
    """All columns of a table that the database's own catalogue named."""
    place = SCHEMA if connection.dialect.name == "postgresql" else None
    return sa.select(sa.literal_column("*")).select_from(sa.table(name, schema=place))


def _fingerprint(row: sa.Row[Any]) -> int:
    text = json.dumps(list(row), separators=(",", ":"), default=_spelled)
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())


def _spelled(value: Any) -> str:
    """A cell that JSON does not know, in one spelling."""
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


FRESH = {VERSION_TABLE, schema.warehouse_identity.name}
"""Tables that have a row before anything is kept: the revision and the market."""


def count_rows(connection: sa.Connection, only: str | None = None) -> int:
    """Rows of all tables but `FRESH`, or of one, 0 where it is not there."""
    names = [name for name in table_names(connection) if (name not in FRESH if only is None else name == only)]
    place = SCHEMA if connection.dialect.name == "postgresql" else None
    counted = [sa.select(sa.func.count()).select_from(sa.table(name, schema=place)) for name in names]
    return sum(connection.execute(one).scalar_one() for one in counted)


def differences(wanted: Mapping[str, TableContent], found: Mapping[str, TableContent]) -> list[str]:
    """What differs, in words, table by table."""
    told = []
    for name in sorted(wanted.keys() | found.keys()):
        one, other = wanted.get(name), found.get(name)
        if one is None or other is None:
            told.append(f"{name} {'is missing' if other is None else 'was not there'}")
        elif one != other:
            told.append(
                f"{name} has {other.rows:,} rows of {one.rows:,}" if one.rows != other.rows else f"{name} differs"
            )
    return told
