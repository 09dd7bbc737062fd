"""Rows going into the warehouse: whole slices, upserts, additions; each in one transaction, locked, with a receipt.

Lives here: SQL that changes tables. Not here: what rows may look like (validation.py), the archive of vendors' answers
(archive.py).
"""

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.store.columnar_frames import Columns, columns_of
from defiyield_assets.store.engine import write_transaction
from defiyield_assets.store.inserts import Rows, insert, insert_json, json_of, merge
from defiyield_assets.store.reads import conditions
from defiyield_assets.store.rows import rows_hash, storable_text, to_rows, without_collector
from defiyield_assets.store.validation import day_column, require_valid

CHUNK_ROWS = 25_000
"""Rows of a long history that are made ready at a time."""


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


@dataclass(frozen=True)
class Deletion:
    """Rows that go in the transaction of another write: those of `days` that match every condition of `where`."""

    table: sa.Table
    where: Mapping[str, Any]
    days: DayRange

    def apply(self, connection: sa.Connection) -> None:
        """Delete them."""
        day = day_column(self.table).between(self.days.start, self.days.end)
        connection.execute(sa.delete(self.table).where(day, *conditions(self.table, self.where)))


@dataclass(frozen=True)
class Update:
    """Columns that are set in the transaction of another write: `values` (null: None) in the rows of `days` that match
    every condition of `where`."""

    table: sa.Table
    where: Mapping[str, Any]
    days: DayRange
    values: Mapping[str, float | None]

    def apply(self, connection: sa.Connection) -> None:
        """Set them."""
        day = day_column(self.table).between(self.days.start, self.days.end)
        changed = sa.update(self.table).where(day, *conditions(self.table, self.where))
        connection.execute(changed.values(dict(self.values)))


@dataclass(frozen=True)
class Correction:
    """Whole rows that are inserted in the transaction of another write, or replace those with the same key."""

    table: sa.Table
    frame: pd.DataFrame

    def apply(self, connection: sa.Connection) -> None:
        """Check and write them."""
        if len(self.frame):
            merge(connection, self.table, _valid_rows(self.table, self.frame), is_replacing=True)


Beside = Deletion | Update | Correction
"""What a writer does to other tables, or beside its slice, in its own transaction and before its own rows."""


def _names(table: sa.Table, beside: Sequence[Beside]) -> list[str]:
    """The tables of a transaction."""
    return sorted({table.name, *(one.table.name for one in beside)})


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
    engine: sa.Engine,
    table: sa.Table,
    frame: pd.DataFrame,
    days: DayRange,
    where: Mapping[str, Any] | None = None,
    *,
    corrections: pd.DataFrame | None = None,
    beside: Sequence[Beside] = (),
    within: sa.Connection | None = None,
) -> WriteReceipt:
    """Make the rows of `days` (and matching `where`) exactly those of the frame, or change nothing at all.

    An empty frame empties the slice. `corrections`: rows outside the slice that are inserted, or replace those with the
    same key, in the same transaction; they are in no receipt, nor is what is done `beside` before. `within`: the
    caller's `write_transaction` over all these tables, whose end it is that commits. Raises SuspiciousDataError for
    rows that break the table's rules or lie outside the slice.
    """
    day = day_column(table)
    with without_collector(), ThreadPoolExecutor(1, "receipt") as thread:
        rows = _valid_rows(table, frame, days, where)
        corrected = _valid_rows(table, corrections) if corrections is not None and len(corrections) else []
        opened = write_transaction(engine, *_names(table, beside)) if within is None else nullcontext(within)
        receipt = thread.submit(_receipt, table, rows)
        with opened as connection:
            for one in beside:
                one.apply(connection)
            connection.execute(sa.delete(table).where(day.between(days.start, days.end), *conditions(table, where)))
            insert(connection, table, rows)
            merge(connection, table, corrected, is_replacing=True)
            return receipt.result()


class SliceWriter:
    """Slices of several tables that are being replaced in one transaction, frame by frame.

    A thread of its own holds the transaction and writes a frame while the caller makes the next one. Meanwhile nothing
    else of the caller may write to the warehouse: SQLite has one writer.
    """

    def __init__(
        self, connection: sa.Connection, thread: ThreadPoolExecutor, days: DayRange, where: Mapping[str, Any] | None
    ) -> None:
        self._connection = connection
        self._thread = thread
        self._days = days
        self._where = where
        self._receipts: dict[str, list[WriteReceipt]] = {}
        self._under_way: Future[None] | None = None

    def add(self, table: sa.Table, frame: pd.DataFrame, *, is_counted: bool = True) -> None:
        """Insert rows into the table's slice. SuspiciousDataError for rows that break its rules or lie outside.

        What an earlier frame failed with is raised too. Rows that are not `is_counted` have no part in the receipt.
        """
        if not len(frame):
            return
        with without_collector():
            rows = _valid_rows(table, frame, self._days, self._where)
            if is_counted:
                self._receipts.setdefault(table.name, []).append(_receipt(table, rows))
            text = json_of(self._connection, table, rows)
        self.settle()
        if text is None:
            self._under_way = self._thread.submit(insert, self._connection, table, rows)
        else:
            self._under_way = self._thread.submit(insert_json, self._connection, table, text, is_missing_only=False)

    def correct(self, table: sa.Table, frame: pd.DataFrame) -> None:
        """Insert rows of any day, replacing those with the same primary key; they are in no receipt."""
        if len(frame):
            rows = _valid_rows(table, frame)
            self.settle()
            self._under_way = self._thread.submit(merge, self._connection, table, rows, is_replacing=True)

    def forget(self, table: sa.Table, where: Mapping[str, Any], through: date) -> None:
        """Delete the rows up to and including the day `through`, inside the slice or not, that match every condition;
        `where` is not empty."""
        if not where:
            raise ValueError(f"forget({table.name}) without a condition would empty the table")
        self.settle()
        forgotten = sa.delete(table).where(day_column(table) <= through, *conditions(table, where))
        self._thread.submit(self._connection.execute, forgotten).result()

    def settle(self) -> None:
        """Wait until what was added is in the tables; raises what that failed with."""
        if self._under_way is not None:
            self._under_way.result()
            self._under_way = None

    def receipt(self, table: sa.Table) -> WriteReceipt:
        """What was inserted into the table so far."""
        found = self._receipts.get(table.name, [])
        return found[0] if len(found) == 1 else together(table, found)


@contextmanager
def replacing(
    engine: sa.Engine,
    tables: Sequence[sa.Table],
    days: DayRange,
    where: Mapping[str, Any] | None = None,
    *,
    beside: Sequence[Beside] = (),
) -> Iterator[SliceWriter]:
    """Replace the slices of `days` (and matching `where`) of several tables: all, or nothing when anything raises; what
    is given `beside` is done first.

    For slices too large for one frame, and for tables that must never be seen apart.
    """
    with _written_beside(engine, [*tables, *(one.table for one in beside)]) as (connection, thread):
        for one in beside:
            thread.submit(one.apply, connection).result()
        for table in tables:
            is_inside = (day_column(table).between(days.start, days.end), *conditions(table, where))
            emptied = sa.delete(table).where(*is_inside)
            thread.submit(connection.execute, emptied).result()
        writer = SliceWriter(connection, thread, days, where)
        yield writer
        writer.settle()


@contextmanager
def _written_beside(
    engine: sa.Engine, tables: Sequence[sa.Table]
) -> Iterator[tuple[sa.Connection, ThreadPoolExecutor]]:
    """A write transaction in the hands of a thread: everything that is done with the connection is submitted to it."""
    with ThreadPoolExecutor(1, "writer") as thread:
        transaction = ExitStack()
        opened = write_transaction(engine, *sorted({table.name for table in tables}))
        connection = thread.submit(transaction.enter_context, opened).result()
        try:
            yield connection, thread
        except BaseException:
            thread.submit(transaction.__exit__, *sys.exc_info()).result()
            raise
        thread.submit(transaction.close).result()


def upsert(engine: sa.Engine, table: sa.Table, frame: pd.DataFrame) -> WriteReceipt:
    """Insert the rows, replacing those with the same primary key. Raises SuspiciousDataError for repeated keys."""
    with without_collector(), ThreadPoolExecutor(1, "receipt") as thread:
        rows = _valid_rows(table, frame)
        receipt = thread.submit(_receipt, table, rows)
        with write_transaction(engine, table.name) as connection:
            merge(connection, table, rows, is_replacing=True)
            return receipt.result()


def insert_missing(
    engine: sa.Engine, table: sa.Table, frame: pd.DataFrame, *, beside: Sequence[Beside] = ()
) -> WriteReceipt:
    """Insert the rows whose primary key is new and leave the others as they are; the receipt counts all rows given, and
    nothing of what is done `beside` in the same transaction."""
    with without_collector(), ThreadPoolExecutor(1, "receipt") as thread:
        rows = _valid_rows(table, frame)
        receipt = thread.submit(_receipt, table, rows)
        with write_transaction(engine, *_names(table, beside)) as connection:
            for one in beside:
                one.apply(connection)
            merge(connection, table, rows, is_replacing=False)
            return receipt.result()


def add_history(engine: sa.Engine, table: sa.Table, frame: pd.DataFrame) -> int:
    """`insert_missing` for a frame of any length: in chunks, written by a second core; returns the rows handed over.

    All or nothing. There is no fingerprint: it would take as long as the rows themselves.
    """
    keys = [column.name for column in table.primary_key.columns]
    if len(frame) > CHUNK_ROWS and storable_text(frame[keys]).duplicated().any():  # each chunk finds its own
        require_valid(table, storable_text(frame))
    if frame.empty:
        return 0
    with _written_beside(engine, [table]) as (connection, thread):
        under_way: Future[None] | None = None
        for start in range(0, len(frame), CHUNK_ROWS):
            with without_collector():
                rows = _valid_rows(table, frame.iloc[start : start + CHUNK_ROWS])
                text = json_of(connection, table, rows)
            if under_way is not None:
                under_way.result()
            if text is None:
                under_way = thread.submit(merge, connection, table, rows, is_replacing=False)
            else:
                under_way = thread.submit(insert_json, connection, table, text, is_missing_only=True)
        if under_way is not None:
            under_way.result()
    return len(frame)


def replace_where(
    engine: sa.Engine, frames: Mapping[sa.Table, pd.DataFrame], where: Mapping[str, Any]
) -> dict[str, WriteReceipt]:
    """Make the rows of several tables that match every condition exactly those of their frames, or change nothing.

    For tables that are not written by day; `where` names columns of all of them and is not empty. Receipts by table.
    Raises SuspiciousDataError for rows that break a table's rules or do not match.
    """
    if not where:
        raise ValueError("replace_where without a condition would empty the tables")
    with without_collector(), ThreadPoolExecutor(1, "receipt") as thread:
        made = {table: _valid_rows(table, frame, None, where) for table, frame in frames.items()}
        receipts = {table.name: thread.submit(_receipt, table, rows) for table, rows in made.items()}
        with write_transaction(engine, *(table.name for table in frames)) as connection:
            for table, rows in made.items():
                connection.execute(sa.delete(table).where(*conditions(table, where)))
                insert(connection, table, rows)
            return {name: receipt.result() for name, receipt in receipts.items()}


def delete_where(engine: sa.Engine, table: sa.Table, where: Mapping[str, Any]) -> int:
    """Delete the rows that match every condition (a list means any of it) and return how many; `where` is not empty."""
    if not where:
        raise ValueError(f"delete_where({table.name}) without a condition would empty the table")
    with write_transaction(engine, table.name) as connection:
        return connection.execute(sa.delete(table).where(*conditions(table, where))).rowcount


def _valid_rows(
    table: sa.Table, frame: pd.DataFrame, days: DayRange | None = None, where: Mapping[str, Any] | None = None
) -> Rows:
    columns = columns_of(table, frame, days, where)
    if columns is not None:
        return columns
    clean = storable_text(frame)
    require_valid(table, clean, days, where)
    return to_rows(table, clean)


def _receipt(table: sa.Table, rows: Rows) -> WriteReceipt:
    has_days = table.info["day"] is not None
    if isinstance(rows, Columns):
        return WriteReceipt(table.name, len(rows), rows.n_days() if has_days else 0, rows.sha256())
    covered = 0
    if has_days:
        place = [column.name for column in table.columns].index(day_column(table).name)
        covered = len({row[place] for row in rows} - {None})
    return WriteReceipt(table.name, len(rows), covered, rows_hash(table, rows))
