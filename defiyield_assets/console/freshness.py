"""In which state the warehouse is: a value that changes with every commit of anybody.

Lives here: asking the database for it, and views of the warehouse with the state that they are of. Not here: what is
kept by it (remembered.py).
"""

import sqlite3
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic
from typing import TypeVar

import sqlalchemy as sa

from defiyield_assets.console.remembered import Made
from defiyield_assets.errors import TransientError
from defiyield_assets.store.engine import one_view, read_transaction, typed_errors

T = TypeVar("T")
ASKED_EVERY = 1.0
"""Seconds: a page may be that much older than the warehouse."""
SNAPSHOT = sa.select(sa.cast(sa.func.pg_current_snapshot(), sa.Text))
"""Which transactions are seen. Its parts alone do not do: an older transaction may end after a younger one."""


class Freshness:
    """The state of one database. SQLite counts commits of other connections; PostgreSQL numbers transactions."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], float] = monotonic) -> None:
        self._engine, self._clock = engine, clock
        self._is_postgres = engine.dialect.name == "postgresql"
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self._version: Hashable = None
        self._connection: sa.Connection | None = None

    def version(self) -> Hashable:
        """The state as it was known within the last second."""
        with self._lock:
            return self._version if self.is_asked() else self._asked()

    def is_asked(self) -> bool:
        """Whether `version` would answer without asking the database."""
        return self._asked_at is not None and self._clock() - self._asked_at < ASKED_EVERY

    @contextmanager
    def one_view(self) -> Iterator[tuple[sa.Connection, Hashable]]:
        """A view of the warehouse as it is at one moment, and that state; one that is never again where it is unknown,
        since somebody has just committed."""
        if self._is_postgres:
            with one_view(self._engine) as connection:
                yield connection, str(connection.execute(SNAPSHOT).scalar_one())
            return
        with self._lock:
            before = self._asked()
        with one_view(self._engine) as connection:
            connection.exec_driver_sql("SELECT 1 FROM sqlite_schema LIMIT 1").all()  # the view begins with a read
            with self._lock:
                after = self._asked()
            yield connection, after if after == before else object()

    def of_elsewhere(self, make: Callable[[], Made[T]]) -> Made[T]:
        """What another process makes, with the state that it is of as this one counts them; as in `one_view` one that
        is never again where somebody commits meanwhile. PostgreSQL numbers for all."""
        if self._is_postgres:
            return make()
        with self._lock:
            before = self._asked()
        made = make()
        with self._lock:
            after = self._asked()
        return replace(made, version=after if after == before else object())

    def _asked(self) -> Hashable:
        now = self._clock()
        self._version, self._asked_at = self._of_postgres() if self._is_postgres else self._of_sqlite(), now
        return self._version

    def _of_postgres(self) -> str:
        with read_transaction(self._engine, "the warehouse's state") as connection:
            return str(connection.execute(SNAPSHOT).scalar_one())

    def _of_sqlite(self) -> int:
        if self._connection is None:  # the counter is that of one connection, which has to stay open
            with typed_errors("cannot read the warehouse's state"):
                self._connection = self._engine.connect()
        driver = self._connection.connection.driver_connection
        if driver is None:
            raise TransientError("cannot read the warehouse's state: the database closed the connection")
        try:
            (version,) = driver.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error as error:
            raise TransientError(f"cannot read the warehouse's state: {error}") from error
        return int(version)

    def close(self) -> None:
        """Give the connection back."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
