"""The archive of vendors' answers: every request is a row, every distinct body is kept once and never changed.

Lives here: keeping and finding answers, and how many there were. Not here: asking vendors (sources/transport.py), what
a request is (domain/provenance.py).
"""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.provenance import ArchivedAnswer, FetchRecord
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.store import schema
from defiyield_assets.store.engine import read_transaction, write_transaction
from defiyield_assets.store.rows import storable

GROUPINGS = ("vendor", "endpoint", "partition_date", "error_class")


class WarehouseArchive:
    """The `Archive` of domain/provenance.py in the tables raw_fetches and raw_bodies."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def record(self, fetch: FetchRecord, body: bytes | None) -> None:
        """Keep one request and its body in one transaction, so that no fetch ever points at a body that is not there.

        A body that is already kept is not written again. Raises SuspiciousDataError when `fetch.sha256` is not the hash
        of `body`; a null `fetch.sha256` is filled in.
        """
        digest = None if body is None else hashlib.sha256(body).hexdigest()
        if fetch.sha256 not in (None, digest):
            raise SuspiciousDataError(
                f"{fetch.vendor} {fetch.endpoint}: the request names body {fetch.sha256}, the body's hash is {digest}; "
                f"nothing was archived"
            )
        # Compressed before the lock is taken: a snapshot of all pools is 15 MB.
        packed = None if body is None or self._holds(digest) else zlib.compress(body)
        values = asdict(fetch) | {"sha256": digest}
        row = {name: storable(value) if isinstance(value, str) else value for name, value in values.items()}
        with write_transaction(self._engine, schema.raw_fetches.name) as connection:
            if body is not None and packed is not None:
                kept = {"sha256": digest, "encoding": "zlib", "body": packed, "bytes": len(body)}
                connection.execute(_insert_once(connection).values(kept))
            connection.execute(sa.insert(schema.raw_fetches).values(row))

    def find(
        self, vendor: str, endpoint: str, params_hash: str, not_before: datetime, not_after: datetime
    ) -> ArchivedAnswer | None:
        """The newest successful answer (2xx, no error) to that request with not_before <= fetched_at <= not_after.

        None when there is none; SuspiciousDataError when the body was damaged.
        """
        fetches, bodies = schema.raw_fetches, schema.raw_bodies
        query = (
            sa.select(fetches.c.fetched_at, fetches.c.status, bodies.c.sha256, bodies.c.body)
            .join(bodies, bodies.c.sha256 == fetches.c.sha256)
            .where(
                fetches.c.vendor == vendor,
                fetches.c.endpoint == endpoint,
                fetches.c.params_hash == params_hash,
                fetches.c.fetched_at.between(not_before, not_after),
                fetches.c.status.between(200, 299),
                fetches.c.error_class.is_(None),
            )
            .order_by(fetches.c.fetched_at.desc(), fetches.c.fetch_id.desc())
            .limit(1)
        )
        with read_transaction(self._engine, fetches.name) as connection:
            found = connection.execute(query).one_or_none()
        if found is None:
            return None
        return ArchivedAnswer(fetched_at=found.fetched_at, status=found.status, body=_unpack(found.sha256, found.body))

    def _holds(self, digest: str | None) -> bool:
        query = sa.select(schema.raw_bodies.c.sha256).where(schema.raw_bodies.c.sha256 == digest)
        with read_transaction(self._engine, schema.raw_bodies.name) as connection:
            return connection.execute(query).first() is not None


def _insert_once(connection: sa.Connection) -> sa.Insert:
    """Bodies are append-only: two processes may bring the same one at once, the first wins."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(schema.raw_bodies).on_conflict_do_nothing()
    return sqlite.insert(schema.raw_bodies).on_conflict_do_nothing()


def _unpack(digest: str, packed: bytes) -> bytes:
    try:
        body = zlib.decompress(packed)
    except zlib.error as error:
        raise SuspiciousDataError(f"table raw_bodies: body {digest} cannot be decompressed: {error}") from error
    if hashlib.sha256(body).hexdigest() != digest:
        raise SuspiciousDataError(f"table raw_bodies: body {digest} does not have that hash; it was damaged")
    return body


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
