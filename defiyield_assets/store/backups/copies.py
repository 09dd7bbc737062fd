"""Copies of databases as they are at one moment, while others go on writing them.

Lives here: an SQLite file through the online backup, a PostgreSQL database through pg_dump, each with what the copy
holds. Not here: what copies are packed into (archive.py), how they are put back (files.py, tables.py).
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from defiyield_assets.errors import ConfigurationError
from defiyield_assets.store.backups.contents import TableContent, contents
from defiyield_assets.store.backups.postgres_programs import Address, dump, require_program
from defiyield_assets.store.engine import make_engine, read_transaction


def copy_sqlite(source: Path, target: Path) -> None:
    """One consistent copy, for its owner only; ConfigurationError where there is no database."""
    if not source.is_file():
        raise ConfigurationError(f"there is no database at {source}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=0o600)
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as one,
            closing(sqlite3.connect(target)) as other,
        ):
            one.backup(other)
            other.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
    except sqlite3.DatabaseError as error:
        raise ConfigurationError(f"{source} cannot be copied: {error}") from error


def sqlite_contents(path: Path) -> dict[str, TableContent]:
    """What a file holds that nobody writes."""
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), poolclass=sa.NullPool)
    with read_transaction(engine, path.name) as connection:
        return contents(connection)


def copy_postgres(url: sa.URL, target: Path, programs: Path | None) -> dict[str, TableContent]:
    """Dump the database, and tell what the dump holds: both see the same exported snapshot."""
    engine = make_engine(url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False))
    try:
        with read_transaction(engine, "the database") as connection:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            program = require_program("pg_dump", programs, server_version(connection))
            snapshot = connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one()
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch(mode=0o600)
            dump(program, Address.of(url), target, snapshot)
            return contents(connection)
    finally:
        engine.dispose()


def server_version(connection: sa.Connection) -> int:
    """The server's major version."""
    return int(connection.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000
