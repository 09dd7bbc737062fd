"""Tables of a PostgreSQL database that give way to those of a backup, and come back when anything goes wrong.

Lives here: the schema where they stand meanwhile, marked with whose restore it is. Not here: what was begun and decided
(journal.py), files (files.py), the programs that read a dump (postgres_programs.py).
"""

from pathlib import Path

import sqlalchemy as sa

from defiyield_assets.errors import ConfigurationError
from defiyield_assets.store.backups.contents import SCHEMA, TableContent, contents, count_rows
from defiyield_assets.store.backups.copies import server_version
from defiyield_assets.store.backups.postgres_programs import Address, require_program, restore
from defiyield_assets.store.engine import make_engine, read_transaction, write_transaction

ASIDE = "defiyield_replaced"
"""Schema of the tables that a restore replaces, until it is done; its comment is the mark of that restore."""
_LOCK_WAIT = "10s"
_KINDS = {"r": "TABLE", "p": "TABLE", "v": "VIEW", "m": "MATERIALIZED VIEW", "S": "SEQUENCE"}
_RELATIONS = sa.text(
    "SELECT c.relname, c.relkind::text FROM pg_catalog.pg_class c WHERE c.relnamespace = to_regnamespace(:schema) "
    "AND c.relkind IN ('r', 'p', 'v', 'm', 'S') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d "
    "WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND c.relkind = 'S' AND d.deptype IN ('a', 'i'))"
)
_MARK = sa.text("SELECT obj_description(to_regnamespace(:schema), 'pg_namespace')")
_SET_MARK = sa.text(f"COMMENT ON SCHEMA {ASIDE} IS :mark")
_END_READERS = sa.text(
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
    "WHERE datname = current_database() AND application_name = :name"
)


class PostgresTables:
    """Tables of one database; between `put` and `keep` or `undo` the earlier ones stand in the schema `ASIDE`."""

    def __init__(self, url: sa.URL, programs: Path | None) -> None:
        self._url = url.set(drivername="postgresql+psycopg")
        self._programs = programs
        self._engine = make_engine(self._url.render_as_string(hide_password=False))

    def count_rows(self, only: str | None = None) -> int:
        """Rows that would be destroyed, of all tables or of one."""
        with read_transaction(self._engine, "the database") as connection:
            return count_rows(connection, only)

    def require_ready(self) -> None:
        """ConfigurationError where pg_restore is missing or too old, or the tables of another restore stand aside."""
        with read_transaction(self._engine, "the schemas") as connection:
            self._find_program(connection)
            is_there = connection.execute(sa.select(sa.func.to_regnamespace(ASIDE))).scalar() is not None
        if is_there:
            raise ConfigurationError(
                f"the database {self._url.database} has the schema {ASIDE}: a restore from another state folder is at "
                f"work, or was interrupted; run `defiyield restore` again with that folder, which ends it"
            )

    def put(self, dumped: Path, mark: str) -> None:
        """Move the tables aside and read the dump, each wholly or not at all."""
        with write_transaction(self._engine, ASIDE) as connection:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'")
            connection.exec_driver_sql(f"CREATE SCHEMA {ASIDE}")
            connection.execute(_SET_MARK.bindparams(sa.bindparam("mark", mark, sa.String, literal_execute=True)))
            self._move(connection, SCHEMA, ASIDE)
        with read_transaction(self._engine, "the server's version") as connection:
            program = self._find_program(connection)
        restore(program, Address.of(self._url), dumped, _reader(mark))

    def contents(self) -> dict[str, TableContent]:
        """What the tables hold now."""
        with read_transaction(self._engine, "the restored tables") as connection:
            return contents(connection)

    def keep(self, mark: str) -> None:
        """Destroy what was replaced; may be repeated."""
        with write_transaction(self._engine, ASIDE) as connection:
            if self._is_aside(connection, mark):
                connection.exec_driver_sql(f"DROP SCHEMA {ASIDE} CASCADE")
        self._engine.dispose()

    def undo(self, mark: str) -> None:
        """Everything as it was before `put`, however far that came; may be repeated."""
        with write_transaction(self._engine, ASIDE) as connection:
            if not self._is_aside(connection, mark):
                return
            connection.execute(_END_READERS, {"name": _reader(mark)})
            quote = connection.dialect.identifier_preparer.quote
            for name, kind in connection.execute(_RELATIONS, {"schema": SCHEMA}).all():
                connection.exec_driver_sql(f"DROP {_KINDS[kind]} IF EXISTS {SCHEMA}.{quote(name)} CASCADE")
            self._move(connection, ASIDE, SCHEMA)
            connection.exec_driver_sql(f"DROP SCHEMA {ASIDE}")

    def _find_program(self, connection: sa.Connection) -> Path:
        return require_program("pg_restore", self._programs, server_version(connection))

    @staticmethod
    def _is_aside(connection: sa.Connection, mark: str) -> bool:
        """Whether tables stand aside that this restore moved there."""
        return bool(connection.execute(_MARK, {"schema": ASIDE}).scalar() == mark)

    @staticmethod
    def _move(connection: sa.Connection, source: str, target: str) -> None:
        """Relations from one schema to another; their indexes and own sequences go with them."""
        quote = connection.dialect.identifier_preparer.quote
        for name, kind in connection.execute(_RELATIONS, {"schema": source}).all():
            connection.exec_driver_sql(f"ALTER {_KINDS[kind]} {source}.{quote(name)} SET SCHEMA {target}")


def _reader(mark: str) -> str:
    """The name under which pg_restore is at work: it may outlive the process that started it."""
    return f"defiyield {mark}"
