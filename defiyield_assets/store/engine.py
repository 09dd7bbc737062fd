"""Connections to the warehouse, their transactions and locks, its migrations and the market that it belongs to.

Lives here: how a database is opened, upgraded and claimed. Not here: tables (schema/), rows going in (writes.py) or
out (reads.py), the migrations themselves (migrations/ at the root of the repository).
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError
from tenacity import retry, retry_if_exception_message, stop_after_delay, wait_random

from defiyield_assets.addresses import DATABASE_EXAMPLES
from defiyield_assets.errors import ConfigurationError, DefiYieldError, SuspiciousDataError, TransientError
from defiyield_assets.store import schema

VERSION_TABLE = "defiyield_schema_version"
"""Alembic's table; a name of our own, because Dagster's storage may live in the same database."""
MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
Readable = sa.Engine | sa.Connection
"""What tables are read from: an engine, a transaction for each question, or a connection of `one_view`, one for all."""
BUSY_SECONDS = 60
"""How long a writer waits for SQLite's single write lock before it gives up with a TransientError."""
URL_EXAMPLES = DATABASE_EXAMPLES


def make_engine(url: str) -> sa.Engine:
    """An engine for the warehouse; SQLite in WAL mode with foreign keys, PostgreSQL through psycopg 3.

    A missing SQLite file is created readable by its owner only, since it holds account data. Raises ConfigurationError
    for any other database or driver, without repeating the password.
    """
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        raise ConfigurationError(f"the warehouse URL cannot be read; right would be {URL_EXAMPLES}") from error
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return _sqlite_engine(parsed)
    if parsed.drivername == "postgresql+psycopg":
        return sa.create_engine(parsed, pool_pre_ping=True, hide_parameters=True)
    if parsed.drivername.split("+")[0] in ("postgresql", "postgres"):
        raise ConfigurationError(
            f"the warehouse URL begins with {parsed.drivername}://, but the driver must be stated: "
            f"write postgresql+psycopg:// instead"
        )
    raise ConfigurationError(f"no warehouse on {parsed.drivername}://; right would be {URL_EXAMPLES}")


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    if url.database and url.database != ":memory:" and not url.database.startswith("file:"):
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
            Path(url.database).touch(mode=0o600)
        except OSError as error:
            raise ConfigurationError(
                f"the warehouse file {url.database} cannot be created: {error.strerror}"
            ) from error
    engine = sa.create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


@retry(
    retry=retry_if_exception_message(match=".*locked.*"),
    stop=stop_after_delay(BUSY_SECONDS),
    wait=wait_random(0.01, 0.1),
    reraise=True,
)
def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    """Per-connection settings. The driver's own transactions are off, so that DDL and BEGIN IMMEDIATE are ours.

    Switching a fresh file to WAL ignores the busy timeout, so two first openers collide: hence the retry.
    """
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer takes the lock at once: upgrading a read transaction fails at random instead of waiting.
    is_write = connection.get_execution_options().get("defiyield_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")


@contextmanager
def read_transaction(engine: Readable, what: str) -> Iterator[sa.Connection]:
    """One consistent view for reading `what`; failures become errors of our tree, never an empty answer."""
    if isinstance(engine, sa.Connection):
        with typed_errors(f"cannot read {what}"):
            yield engine
        return
    with typed_errors(f"cannot read {what}"), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def one_view(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection to read several tables from as they were at one moment, whatever is written meanwhile."""
    is_postgres = engine.dialect.name == "postgresql"
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if is_postgres else {}
    with (
        typed_errors("cannot read the warehouse"),
        engine.connect().execution_options(**options) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def write_transaction(engine: sa.Engine, *what: str) -> Iterator[sa.Connection]:
    """One transaction that writes `what`, alone: under advisory locks on PostgreSQL, the write lock on SQLite.

    All or nothing: any exception rolls back. Database failures become errors of our tree.
    """
    with typed_errors(f"cannot write {' and '.join(what)}"), engine.connect() as connection:
        writing = connection.execution_options(defiyield_write=True)
        with writing.begin():
            if engine.dialect.name == "postgresql":
                for number in sorted(_lock_number(name) for name in what):
                    writing.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.literal(number, sa.BigInteger))))
            yield writing


def _lock_number(name: str) -> int:
    digest = hashlib.sha256(f"defiyield:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


@contextmanager
def typed_errors(attempt: str) -> Iterator[None]:
    """Failures of the database in the block become errors of our tree, which begin with what was attempted."""
    try:
        yield
    except DBAPIError as error:
        if not isinstance(error.orig, Exception):
            raise
        raise _classify(attempt, error.orig) from error
    except psycopg.Error as error:  # from COPY, which goes past SQLAlchemy
        raise _classify(attempt, error) from error


_NOT_MIGRATED = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn)
_SETTING_WORDS = (
    "unable to open",
    "readonly database",
    "not a database",
    "authentication failed",
    "does not exist",
    "permission denied",
    "must be owner",
)


def _classify(attempt: str, error: Exception) -> DefiYieldError:
    """Who can mend it decides the class; the message never holds row values beyond what the database says."""
    text = str(error).strip()
    message = f"{attempt}: {text}"
    if isinstance(error, _NOT_MIGRATED) or text.startswith(("no such table", "no such column")):
        return ConfigurationError(f"{message} (the warehouse has not been migrated to this version of the program)")
    if any(words in text for words in _SETTING_WORDS):
        return ConfigurationError(message)
    rejected = (psycopg.IntegrityError, psycopg.DataError, sqlite3.IntegrityError, sqlite3.DataError)
    if isinstance(error, rejected):
        return SuspiciousDataError(f"{message}; nothing was written")
    return TransientError(message)


# --- migrations ----------------------------------------------------------------------------------------------------
def alembic_config(connection: sa.Connection | None = None) -> Config:
    """Alembic's configuration, built here because there is no alembic.ini; `connection` is the one to migrate."""
    if not (MIGRATIONS / "env.py").is_file():
        raise ConfigurationError(
            f"no migrations in {MIGRATIONS}: run from a checkout of the repository installed with `pip install -e .`"
        )
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def head_revision() -> str:
    """The newest revision that this version of the program knows."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if head is None:
        raise ConfigurationError(f"no revision in {MIGRATIONS / 'versions'}")
    return head


def is_known_revision(revision: str) -> bool:
    """Whether this version of the program has the revision, newest or not."""
    return any(one.revision == revision for one in ScriptDirectory.from_config(alembic_config()).walk_revisions())


def current_revision(engine: sa.Engine) -> str | None:
    """The revision of the database, None when it has never been migrated."""
    with read_transaction(engine, "the schema version") as connection:
        return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


def require_newest(engine: sa.Engine) -> None:
    """ConfigurationError, which says what to do, unless the database is at the newest revision."""
    current, head = current_revision(engine), head_revision()
    if current == head:
        return
    if current is not None and not is_known_revision(current):
        raise _newer(current, head)
    raise ConfigurationError(
        f"the warehouse is at schema revision {current or 'none'}, the code needs {head}: "
        f"run `defiyield migrate` or materialise the asset `migrations`"
    )


def _newer(current: str, head: str) -> ConfigurationError:
    return ConfigurationError(
        f"the warehouse is at schema revision {current}, which this version of the program does not know (its newest "
        f"is {head}): a newer version made it; install that one, or restore a backup of before the upgrade"
    )


def upgrade(engine: sa.Engine) -> str:
    """Bring the database to the newest revision and return it; safe when many processes call it at once.

    The first caller migrates in one transaction under a lock, the others wait and find nothing to do. Raises
    ConfigurationError when the database is newer than the program.
    """
    current, head = current_revision(engine), head_revision()
    if current == head:
        return head
    if current is not None and not is_known_revision(current):
        raise _newer(current, head)
    with _naming_the_owner(), write_transaction(engine, VERSION_TABLE) as connection:
        try:
            command.upgrade(alembic_config(connection), "head")
        except CommandError as error:
            raise ConfigurationError(f"the warehouse cannot be migrated to {head}: {error}") from error
    return head


@contextmanager
def _naming_the_owner() -> Iterator[None]:
    """Who may only write cannot migrate, and is told who can."""
    try:
        yield
    except ConfigurationError as error:
        if not isinstance(error.__cause__, DBAPIError) or not isinstance(
            error.__cause__.orig, psycopg.errors.InsufficientPrivilege
        ):
            raise
        what = str(error.__cause__.orig).splitlines()[0]
        raise ConfigurationError(
            f"the warehouse cannot be migrated by this user: {what}; run `defiyield migrate` with the owner of its "
            f"tables in DEFIYIELD_DATABASE_URL (deploy/postgres/roles.sql makes defiyield_owner), days then as before"
        ) from error


BASE = "base"
"""What alembic calls a database without any of our tables."""
FORMER_TABLES = frozenset({"coin_markets"})
"""Tables of earlier revisions that the newest no longer has."""


def revisions() -> tuple[str, ...]:
    """Every revision that this version of the program knows, oldest first; `base` before the first."""
    script = ScriptDirectory.from_config(alembic_config())
    return (BASE, *reversed([one.revision for one in script.walk_revisions()]))


def migrate_to(engine: sa.Engine, revision: str, *, may_lose: bool = False) -> str:
    """Bring the database up or down to a revision, or to `base`, and return it; in one transaction, alone.

    Raises ConfigurationError, and changes nothing, when the revision or that of the database is unknown, or when rows
    or columns with rows would go and `may_lose` is false; it names them.
    """
    known, current = revisions(), current_revision(engine) or BASE
    if revision == current:
        return revision
    if revision not in known:
        raise ConfigurationError(f"there is no revision {revision}; right would be one of {', '.join(known)}")
    if current not in known:
        raise _newer(current, known[-1])
    with _naming_the_owner(), write_transaction(engine, VERSION_TABLE) as connection:
        if known.index(revision) > known.index(current):
            command.upgrade(alembic_config(connection), revision)
            return revision
        before = {} if may_lose else _contents(connection)
        command.downgrade(alembic_config(connection), revision)
        lost = list(_lost(before, _contents(connection))) if before else []
        if lost:
            raise ConfigurationError(
                f"going back from revision {current} to {revision} would take away {', '.join(lost)}; nothing was "
                f"changed: make a backup first, then say --yes-lose-data"
            )
    return revision


def _contents(connection: sa.Connection) -> dict[str, tuple[int, frozenset[str]]]:
    """Rows and columns of every table of ours that is there; Dagster's may be in the same database."""
    inspector = sa.inspect(connection)
    found = {}
    for name in sorted({*schema.metadata.tables, *FORMER_TABLES} & set(inspector.get_table_names())):
        rows = connection.execute(sa.select(sa.func.count()).select_from(sa.table(name))).scalar_one()
        found[name] = (rows, frozenset(column["name"] for column in inspector.get_columns(name)))
    return found


def _lost(before: dict[str, tuple[int, frozenset[str]]], after: dict[str, tuple[int, frozenset[str]]]) -> Iterator[str]:
    """In words, the tables, rows and columns with rows that are no longer there."""
    for name, (rows, columns) in before.items():
        if not rows:
            continue
        left, still = after.get(name, (0, columns))
        if left < rows:
            yield f"{rows - left:,} of {rows:,} rows of {name}"
        for column in sorted(columns - still):
            yield f"the column {name}.{column} of {rows:,} rows"


# --- identity ------------------------------------------------------------------------------------------------------
def claim_market(engine: sa.Engine, market: str) -> None:
    """Make this warehouse the one of `market` on first use; raises ConfigurationError when it holds another market."""
    identity = schema.warehouse_identity
    with write_transaction(engine, identity.name) as connection:
        owners = connection.execute(sa.select(identity.c.market)).scalars().all()
        if not owners:
            connection.execute(sa.insert(identity).values(market=market))
        elif owners != [market]:
            raise ConfigurationError(
                f"this warehouse holds the market {', '.join(owners)}, not {market}; two markets never share one: "
                f"name another database for {market}"
            )
