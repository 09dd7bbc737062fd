"""What is there gives way to what a backup holds, and comes back when anything goes wrong.

Lives here: files and folders moved aside and back, tables of a PostgreSQL database moved into another schema and back;
also after a process that was killed, when the next one calls `recover`. Not here: the backup's file (backup.py).
"""

import json
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from defiyield_assets.errors import ConfigurationError
from defiyield_assets.store.backup import sync_folder
from defiyield_assets.store.contents import SCHEMA, TableContent, contents, count_rows
from defiyield_assets.store.copies import server_version
from defiyield_assets.store.engine import make_engine, read_transaction, write_transaction
from defiyield_assets.store.postgres_programs import Address, require_program, restore

ASIDE = "defiyield_replaced"
"""Schema of the tables that a restore replaces, until it is done."""
STAGE = ".restore"
"""Folder below the state folder of everything that a restore has not finished."""
_LOCK_WAIT = "10s"
_KINDS = {"r": "TABLE", "p": "TABLE", "v": "VIEW", "m": "MATERIALIZED VIEW", "S": "SEQUENCE"}
_RELATIONS = sa.text(
    "SELECT c.relname, c.relkind::text FROM pg_catalog.pg_class c WHERE c.relnamespace = to_regnamespace(:schema) "
    "AND c.relkind IN ('r', 'p', 'v', 'm', 'S') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d "
    "WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND c.relkind = 'S' AND d.deptype IN ('a', 'i'))"
)


class PostgresReplacement:
    """Tables of one database; between `put` and `keep` or `undo` the earlier ones stand in the schema `ASIDE`."""

    def __init__(self, url: sa.URL, programs: Path | None) -> None:
        self._url = url.set(drivername="postgresql+psycopg")
        self._programs = programs
        self._engine = make_engine(self._url.render_as_string(hide_password=False))

    @property
    def name(self) -> str:
        """The database's name."""
        return self._url.database or ""

    def count_rows(self, only: str | None = None) -> int:
        """Rows that would be destroyed, of all tables or of one."""
        with read_transaction(self._engine, "the database") as connection:
            return count_rows(connection, only)

    def require_program(self) -> None:
        """ConfigurationError where pg_restore is missing or too old."""
        with read_transaction(self._engine, "the server's version") as connection:
            require_program("pg_restore", self._programs, server_version(connection))

    def recover(self) -> bool:
        """Undo what a killed restore left; whether there was anything."""
        with read_transaction(self._engine, "the schemas") as connection:
            is_left = connection.execute(sa.text("SELECT to_regnamespace(:name)"), {"name": ASIDE}).scalar() is not None
        if is_left:
            self.undo()
        return is_left

    def put(self, dumped: Path) -> None:
        """Move the tables aside and read the dump, each wholly or not at all."""
        with write_transaction(self._engine, ASIDE) as connection:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'")
            connection.exec_driver_sql(f"CREATE SCHEMA {ASIDE}")
            self._move(connection, SCHEMA, ASIDE)
        with read_transaction(self._engine, "the server's version") as connection:
            program = require_program("pg_restore", self._programs, server_version(connection))
        restore(program, Address.of(self._url), dumped)

    def contents(self) -> dict[str, TableContent]:
        """What the tables hold now."""
        with read_transaction(self._engine, "the restored tables") as connection:
            return contents(connection)

    def keep(self) -> None:
        """Destroy what was replaced: from here on nothing can be undone."""
        with write_transaction(self._engine, ASIDE) as connection:
            connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {ASIDE} CASCADE")
        self._engine.dispose()

    def undo(self) -> None:
        """Everything as it was before `put`; nothing to do where there was none."""
        with write_transaction(self._engine, ASIDE) as connection:
            if connection.execute(sa.text("SELECT to_regnamespace(:name)"), {"name": ASIDE}).scalar() is None:
                return
            quote = connection.dialect.identifier_preparer.quote
            for name, kind in connection.execute(_RELATIONS, {"schema": SCHEMA}).all():
                connection.exec_driver_sql(f"DROP {_KINDS[kind]} IF EXISTS {SCHEMA}.{quote(name)} CASCADE")
            self._move(connection, ASIDE, SCHEMA)
            connection.exec_driver_sql(f"DROP SCHEMA {ASIDE}")

    @staticmethod
    def _move(connection: sa.Connection, source: str, target: str) -> None:
        """Relations from one schema to another; their indexes and own sequences go with them."""
        quote = connection.dialect.identifier_preparer.quote
        for name, kind in connection.execute(_RELATIONS, {"schema": source}).all():
            what = "TABLE" if kind == "p" else _KINDS[kind]
            connection.exec_driver_sql(f"ALTER {what} {source}.{quote(name)} SET SCHEMA {target}")


class FileReplacement:
    """Files and folders; the earlier ones lie below `STAGE` with a journal of where they belong."""

    def __init__(self, state: Path) -> None:
        self.stage = state / STAGE
        self._journal = self.stage / "journal.json"

    def recover(self) -> bool:
        """Undo what a killed restore left; whether there was anything to undo."""
        is_left = self._journal.exists()
        self.undo()
        return is_left

    def make_stage(self) -> Path:
        """An empty folder for what is to be put in place, for its owner only."""
        self.stage.mkdir(mode=0o700)
        parts = self.stage / "parts"
        parts.mkdir()
        return parts

    def put(self, pairs: Sequence[tuple[Path | None, Path]]) -> None:
        """Each first path takes the place of its second; None leaves that place empty."""
        places = [{"target": str(target), "was_there": target.exists()} for _, target in pairs]
        (self.stage / "replaced").mkdir()
        self._journal.write_text(json.dumps(places), encoding="utf-8")
        sync_folder(self.stage)
        for number, (source, target) in enumerate(pairs):
            if target.exists():
                shutil.move(target, self.stage / "replaced" / str(number))
            if source is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(source, target)

    def keep(self) -> None:
        """Destroy what was replaced: from here on nothing can be undone."""
        self._journal.unlink(missing_ok=True)
        shutil.rmtree(self.stage, ignore_errors=True)

    def undo(self) -> None:
        """Everything as it was before `put`, and no trace of it."""
        if self._journal.exists():
            places = json.loads(self._journal.read_text(encoding="utf-8"))
            for number, place in enumerate(places):
                self._put_back(
                    self.stage / "replaced" / str(number), Path(place["target"]), was_there=place["was_there"]
                )
        shutil.rmtree(self.stage, ignore_errors=True)

    @staticmethod
    def _put_back(replaced: Path, target: Path, *, was_there: bool) -> None:
        """An earlier file or folder, or nothing, in place of the new one."""
        if was_there and not replaced.exists():
            return  # it was never moved
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
        if replaced.exists():
            shutil.move(replaced, target)


def rows_of_file(path: Path, only: str | None = None) -> int:
    """The same of an SQLite file; 1 for one that cannot be read, which somebody may still want."""
    if not path.exists():
        return 0
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            return count_rows(connection, only)
    except sa.exc.DatabaseError:
        return 1


def require_unused(path: Path) -> None:
    """Fold the log of an SQLite file into it; ConfigurationError while another process has the file open."""
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(path, timeout=1.0)) as connection:
            mode = connection.execute("PRAGMA journal_mode=DELETE").fetchone()[0]
    except sqlite3.OperationalError as error:
        mode = str(error)
    except sqlite3.DatabaseError:
        return  # damaged: a restore is what mends it
    if mode != "delete":
        raise ConfigurationError(f"{path} is in use ({mode}): end everything that runs on it, then restore")
