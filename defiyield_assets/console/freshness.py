"""Whether the warehouse is still as it was: a number that changes with every commit of anybody.

Lives here: asking the database for it, at most once a second. Not here: what is kept by it (remembered.py).
"""

import threading
from collections.abc import Callable, Hashable
from time import monotonic

import sqlalchemy as sa

ASKED_EVERY = 1.0
"""Seconds: a page may be that much older than the warehouse."""


class Freshness:
    """The state of one database. SQLite counts commits of other connections; PostgreSQL numbers transactions."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], float] = monotonic) -> None:
        self._engine, self._clock = engine, clock
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self._version: Hashable = None
        self._connection: sa.Connection | None = None

    def version(self) -> Hashable:
        """The state as it was known within the last second."""
        with self._lock:
            now = self._clock()
            if self._asked_at is None or now - self._asked_at >= ASKED_EVERY:
                self._version, self._asked_at = self._ask(), now
            return self._version

    def is_asked(self) -> bool:
        """Whether `version` would answer without asking the database."""
        return self._asked_at is not None and self._clock() - self._asked_at < ASKED_EVERY

    def _ask(self) -> Hashable:
        if self._engine.dialect.name == "postgresql":
            with self._engine.connect() as connection:
                return str(connection.exec_driver_sql("SELECT pg_snapshot_xmax(pg_current_snapshot())").scalar_one())
        if self._connection is None:  # the counter is that of one connection, which has to stay open
            self._connection = self._engine.connect()
        driver = self._connection.connection.driver_connection
        if driver is None:
            raise RuntimeError("the database closed the connection")
        (version,) = driver.execute("PRAGMA data_version").fetchone()
        return int(version)

    def close(self) -> None:
        """Give the connection back."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
