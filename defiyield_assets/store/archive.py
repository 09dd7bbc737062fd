"""The archive of vendors' answers: every request is a row, every distinct body is kept once and never changed.

Lives here: keeping and finding answers, and how many there were. Not here: asking vendors (sources/transport.py), what
a request is (domain/provenance.py).
"""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from defiyield_assets import errors
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.provenance import LARGEST_BODY_BYTES, ArchivedAnswer, ArchivedFailure, FetchRecord
from defiyield_assets.errors import DefiYieldError, SuspiciousDataError
from defiyield_assets.store import schema
from defiyield_assets.store.engine import read_transaction, write_transaction
from defiyield_assets.store.rows import storable

ZLIB_LEVEL = 6
"""Measured on charts: 9 is 1.5 % smaller and 2.6 times slower, 1 is 19 % larger and 3.4 times faster."""
ERROR_CLASSES = tuple(
    name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, DefiYieldError)
)
GROUPINGS = ("vendor", "endpoint", "partition_date", "error_class")


class WarehouseArchive:
    """The `Archive` of domain/provenance.py in the tables raw_fetches and raw_bodies."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def record(self, fetch: FetchRecord, body: bytes | None, fetch_id: int | None = None) -> int:
        """Keep one request and its body in one transaction, so that no fetch ever points at a body that is not there.

        A body that is already kept is not written again. With `fetch_id` the row of that request is changed instead of
        a new one added. Raises SuspiciousDataError when `fetch.sha256` is not the hash of `body`; a null `fetch.sha256`
        is filled in.
        """
        digest = None if body is None else hashlib.sha256(body).hexdigest()
        if fetch.sha256 not in (None, digest):
            raise SuspiciousDataError(
                f"{fetch.vendor} {fetch.endpoint}: the request names body {fetch.sha256}, the body's hash is {digest}; "
                f"nothing was archived"
            )
        # Compressed before the lock is taken: a snapshot of all pools is 15 MB.
        packed = None if body is None else zlib.compress(body, ZLIB_LEVEL)
        row = _row_of(fetch) | {"sha256": digest}
        table = schema.raw_fetches
        with write_transaction(self._engine, table.name) as connection:
            if body is not None:
                kept = {"sha256": digest, "encoding": "zlib", "body": packed, "bytes": len(body)}
                connection.execute(_insert_once(connection).values(kept))
            if fetch_id is not None:
                connection.execute(sa.update(table).where(table.c.fetch_id == fetch_id).values(row))
                return fetch_id
            added = connection.execute(sa.insert(table).values(row).returning(table.c.fetch_id))
            return int(added.scalar_one())

    def settle(self, fetch_id: int, fetch: FetchRecord) -> None:
        """Write down how a recorded request ended."""
        table = schema.raw_fetches
        with write_transaction(self._engine, table.name) as connection:
            connection.execute(sa.update(table).where(table.c.fetch_id == fetch_id).values(_row_of(fetch)))

    def find(
        self,
        vendor: str,
        endpoint: str,
        params_hash: str,
        not_before: datetime,
        not_after: datetime,
        *,
        earliest: bool = False,
        skip: int = 0,
    ) -> ArchivedAnswer | None:
        """The newest (or `earliest`) successful answer (2xx, no error) with not_before <= fetched_at <= not_after.

        A request that nobody settled, because its process was killed, counts as successful. `skip` passes over that
        many answers. None when there is none; SuspiciousDataError when the body was damaged.
        """
        table = schema.raw_fetches
        order = (
            (table.c.fetched_at, table.c.fetch_id) if earliest else (table.c.fetched_at.desc(), table.c.fetch_id.desc())
        )
        query = (
            _answers_to(vendor, endpoint, params_hash)
            .where(table.c.fetched_at.between(not_before, not_after), *_is_answer())
            .order_by(*order)
            .limit(1)
            .offset(skip)
        )
        with read_transaction(self._engine, table.name) as connection:
            found = connection.execute(query).one_or_none()
        return None if found is None else _answer(found)

    def of_partition(
        self, vendor: str, endpoint: str, params_hash: str, day: date, *, not_before: datetime, not_after: datetime
    ) -> ArchivedAnswer | ArchivedFailure | None:
        """The last answer that partition `day` got to that request inside the window, else its last failure.

        A request that ended in something that is no error of ours (a bug, a cancellation) says nothing.
        """
        table = schema.raw_fetches
        asked = _answers_to(vendor, endpoint, params_hash).where(
            table.c.partition_date == day, table.c.fetched_at.between(not_before, not_after)
        )
        newest_first = asked.order_by(table.c.fetch_id.desc()).limit(1)
        with read_transaction(self._engine, table.name) as connection:
            found = connection.execute(newest_first.where(*_is_answer())).one_or_none()
            if found is not None:
                return _answer(found)
            failed = connection.execute(newest_first.where(table.c.error_class.in_(ERROR_CLASSES))).one_or_none()
        if failed is None:
            return None
        return ArchivedFailure(failed.fetched_at, failed.status, failed.error_class, failed.error_message or "")

    def newest_stamp(self, day: date) -> datetime | None:
        """The newest stamp of any request of partition `day`, None when there is none."""
        table = schema.raw_fetches
        query = sa.select(sa.func.max(table.c.fetched_at)).where(table.c.partition_date == day)
        with read_transaction(self._engine, table.name) as connection:
            stamp: datetime | None = connection.execute(query).scalar_one()
        return stamp

    def asked(self, vendor: str, day: date) -> bool:
        """Whether partition `day` asked the vendor anything."""
        table = schema.raw_fetches
        return self._has(table.c.vendor == vendor, table.c.partition_date == day)

    def answered(self, vendor: str, not_before: datetime, not_after: datetime) -> bool:
        """Whether any partition got an answer of the vendor stamped in that time."""
        table = schema.raw_fetches
        return self._has(table.c.vendor == vendor, table.c.fetched_at.between(not_before, not_after), *_is_answer())

    def _has(self, *conditions: sa.ColumnElement[bool]) -> bool:
        table = schema.raw_fetches
        with read_transaction(self._engine, table.name) as connection:
            return connection.execute(sa.select(table.c.fetch_id).where(*conditions).limit(1)).first() is not None


def _row_of(fetch: FetchRecord) -> dict[str, Any]:
    """The values of a row of raw_fetches."""
    return {name: storable(value) if isinstance(value, str) else value for name, value in asdict(fetch).items()}


def _answers_to(vendor: str, endpoint: str, params_hash: str) -> sa.Select[Any]:
    """Requests of that kind with their bodies."""
    table, bodies = schema.raw_fetches, schema.raw_bodies
    return (
        sa.select(
            table.c.fetched_at,
            table.c.status,
            table.c.error_class,
            table.c.error_message,
            bodies.c.sha256,
            bodies.c.body,
        )
        .join(bodies, bodies.c.sha256 == table.c.sha256, isouter=True)
        .where(table.c.vendor == vendor, table.c.endpoint == endpoint, table.c.params_hash == params_hash)
    )


def _is_answer() -> tuple[sa.ColumnElement[bool], ...]:
    table = schema.raw_fetches
    return table.c.status.between(200, 299), table.c.error_class.is_(None), table.c.sha256.is_not(None)


def _answer(found: sa.Row[Any]) -> ArchivedAnswer:
    return ArchivedAnswer(fetched_at=found.fetched_at, status=found.status, body=_unpack(found.sha256, found.body))


def _insert_once(connection: sa.Connection) -> sa.Insert:
    """Bodies are append-only: two processes may bring the same one at once, the first wins."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(schema.raw_bodies).on_conflict_do_nothing()
    return sqlite.insert(schema.raw_bodies).on_conflict_do_nothing()


def _unpack(digest: str, packed: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        body = unpacking.decompress(packed, LARGEST_BODY_BYTES + 1)
    except zlib.error as error:
        raise SuspiciousDataError(f"table raw_bodies: body {digest} cannot be decompressed: {error}") from error
    if len(body) > LARGEST_BODY_BYTES:
        raise SuspiciousDataError(f"table raw_bodies: body {digest} unpacks to more than {LARGEST_BODY_BYTES:,} bytes")
    if not unpacking.eof:
        raise SuspiciousDataError(f"table raw_bodies: body {digest} cannot be decompressed: it ends too early")
    if hashlib.sha256(body).hexdigest() != digest:
        raise SuspiciousDataError(f"table raw_bodies: body {digest} does not have that hash; it was damaged")
    return body


def newest_partition(engine: sa.Engine) -> date | None:
    """The newest partition that asked a vendor anything."""
    table = schema.raw_fetches
    with read_transaction(engine, table.name) as connection:
        newest: date | None = connection.execute(sa.select(sa.func.max(table.c.partition_date))).scalar_one()
    return newest


def fetches(engine: sa.Engine, days: DayRange | None = None, by: Sequence[str] = ("vendor",)) -> pd.DataFrame:
    """How many requests there were, by vendor (or any of GROUPINGS), for the partitions `days` or for all.

    One row per group, in the order of `by`: requests (rows of raw_fetches), attempts (retries included), failed (ended
    in an error), bytes, waited_seconds, first_fetched_at and last_fetched_at (UTC).
    """
    unknown = sorted(set(by) - set(GROUPINGS))
    if unknown or not by:
        raise ValueError(f"fetches can be counted by {', '.join(GROUPINGS)}, not by {', '.join(unknown) or 'nothing'}")
    table = schema.raw_fetches
    groups = [table.c[name] for name in by]
    figures: dict[str, sa.ColumnElement[Any]] = {
        "requests": sa.func.count(),
        "attempts": sa.func.sum(table.c.attempts),
        "failed": sa.func.count(table.c.error_class),
        "bytes": sa.func.sum(table.c.bytes),
        "waited_seconds": sa.func.sum(table.c.waited_seconds),
        "first_fetched_at": sa.func.min(table.c.fetched_at),
        "last_fetched_at": sa.func.max(table.c.fetched_at),
    }
    query = sa.select(*groups, *[figure.label(name) for name, figure in figures.items()]).group_by(*groups)
    if days is not None:
        query = query.where(table.c.partition_date.between(days.start, days.end))
    with read_transaction(engine, table.name) as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    frame = pd.DataFrame(rows, columns=[*by, *figures])
    counts = dict.fromkeys(("requests", "attempts", "failed", "bytes"), "int64")
    return frame.astype(counts | {"waited_seconds": "float64"}).sort_values(list(by), ignore_index=True)


def bodies_of(engine: sa.Engine, vendor: str, endpoint: str, days: DayRange, limit: int) -> list[bytes]:
    """Bodies of the newest successful answers that the partitions `days` got from an endpoint, at most `limit`."""
    table = schema.raw_fetches
    query: sa.Select[Any] = (
        sa.select(table.c.fetched_at, table.c.status, schema.raw_bodies.c.sha256, schema.raw_bodies.c.body)
        .join(schema.raw_bodies, schema.raw_bodies.c.sha256 == table.c.sha256)
        .where(
            table.c.vendor == vendor,
            table.c.endpoint == endpoint,
            table.c.partition_date.between(days.start, days.end),
            *_is_answer(),
        )
        .order_by(table.c.fetched_at.desc(), table.c.fetch_id.desc())
        .limit(limit)
    )
    with read_transaction(engine, table.name) as connection:
        return [_answer(found).body for found in connection.execute(query).all()]
