"""What the warehouse forgets when it is old: vendors' answers, counters, claims on messages, outcomes.

Lives here: which rows are old, and deleting them, one transaction a table. Not here: how long things are kept
(settings.py), Dagster's own records (orchestration/run_retention.py), files (orchestration/retention.py).
Tables that the product is made of (histories, bars, the ledger, plans …) are never touched.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from defiyield_assets.domain.days import start_of
from defiyield_assets.store import schema
from defiyield_assets.store.engine import read_transaction, write_transaction

KEPT_VENDORS = ("ollama",)
"""Whose answers are never forgotten: a model asked again may answer otherwise, and ai_signals rest on what it said."""
LONGEST_PERIOD = timedelta(days=32)
"""Counters younger than this may still belong to the month of a budget."""
DELETED_AT_ONCE = 1_000


@dataclass(frozen=True)
class Forgotten:
    """How many rows of a table were deleted, or would be, and the bytes of their content where that is known."""

    table: str
    rows: int
    bytes: int = 0


def forget_archive(engine: sa.Engine, age: timedelta, *, is_dry_run: bool = False) -> list[Forgotten]:
    """Delete requests older than `age`, and every body that no request names any more; one transaction for both.

    Age counts from the newest answer in the archive, not from the clock: a market of last year, simulated or recorded,
    is not old because today is later. A request stays while its partition is younger than that, too, so that a past
    day that was asked for yesterday can be rebuilt for as long as yesterday itself.
    """
    fetches, bodies = schema.raw_fetches, schema.raw_bodies
    with _opened(engine, fetches, is_dry_run=is_dry_run) as connection:
        newest = connection.execute(sa.select(sa.func.max(fetches.c.fetched_at))).scalar_one()
        if newest is None:
            return [Forgotten(fetches.name, 0), Forgotten(bodies.name, 0)]
        is_old = _is_old(newest - age)
        n_fetches = _count(connection, fetches, is_old)
        orphans = dict(_orphans(connection, is_old))
        if not is_dry_run:
            connection.execute(sa.delete(fetches).where(is_old))
            digests = list(orphans)
            for start in range(0, len(digests), DELETED_AT_ONCE):
                some = digests[start : start + DELETED_AT_ONCE]
                connection.execute(sa.delete(bodies).where(bodies.c.sha256.in_(some)))
    return [Forgotten(fetches.name, n_fetches), Forgotten(bodies.name, len(orphans), sum(orphans.values()))]


def _is_old(before: datetime) -> sa.ColumnElement[bool]:
    table = schema.raw_fetches
    of_old_partition = sa.or_(table.c.partition_date.is_(None), table.c.partition_date < before.date())
    return sa.and_(table.c.fetched_at < before, of_old_partition, table.c.vendor.not_in(KEPT_VENDORS))


def _orphans(connection: sa.Connection, is_old: sa.ColumnElement[bool]) -> Iterator[tuple[str, int]]:
    """Digest and stored bytes of every body that only old requests name, or none at all."""
    fetches, bodies = schema.raw_fetches, schema.raw_bodies
    kept = sa.select(fetches.c.sha256).where(sa.not_(is_old), fetches.c.sha256.is_not(None)).distinct().subquery()
    earlier = sa.select(fetches.c.earlier_sha256).where(sa.not_(is_old), fetches.c.earlier_sha256.is_not(None))
    named = {digest for text in connection.execute(earlier).scalars() for digest in text.split()}
    unnamed = (
        sa.select(bodies.c.sha256, sa.func.length(bodies.c.body))
        .join(kept, kept.c.sha256 == bodies.c.sha256, isouter=True)
        .where(kept.c.sha256.is_(None))
    )
    return ((digest, size) for digest, size in connection.execute(unnamed) if digest not in named)


def forget_claims(engine: sa.Engine, now: datetime, age: timedelta, *, is_dry_run: bool = False) -> list[Forgotten]:
    """Delete outcomes, alerts that are over and claims on messages of days older than `age`.

    An alert of what still fails stays, however old. Days count from the newest day of outcomes where that is before
    `now`, as the archive's do.
    """
    outcomes, alerts, messages = schema.asset_outcomes, schema.slack_alerts, schema.slack_messages
    with read_transaction(engine, outcomes.name) as connection:
        newest = connection.execute(sa.select(sa.func.max(outcomes.c.date))).scalar_one()
    today = now.date() if newest is None else min(now.date(), newest)
    first = today - age
    rules = (
        (outcomes, outcomes.c.date < first),
        (alerts, sa.and_(alerts.c.through < first, alerts.c.recovered_at.is_not(None))),
        (messages, messages.c.date < first),
    )
    return [_forget(engine, table, is_old, is_dry_run=is_dry_run) for table, is_old in rules]


def forget_usage(engine: sa.Engine, now: datetime, age: timedelta, *, is_dry_run: bool = False) -> list[Forgotten]:
    """Delete counters of minutes, days and months older than `age`, never those that a budget may still count."""
    table = schema.vendor_usage
    before = start_of(now.date()) - max(age, LONGEST_PERIOD)
    return [_forget(engine, table, table.c.starts_at < before, is_dry_run=is_dry_run)]


def _forget(engine: sa.Engine, table: sa.Table, is_old: sa.ColumnElement[bool], *, is_dry_run: bool) -> Forgotten:
    with _opened(engine, table, is_dry_run=is_dry_run) as connection:
        if is_dry_run:
            return Forgotten(table.name, _count(connection, table, is_old))
        return Forgotten(table.name, connection.execute(sa.delete(table).where(is_old)).rowcount)


def _opened(engine: sa.Engine, table: sa.Table, *, is_dry_run: bool) -> AbstractContextManager[sa.Connection]:
    return read_transaction(engine, table.name) if is_dry_run else write_transaction(engine, table.name)


def _count(connection: sa.Connection, table: sa.Table, is_old: sa.ColumnElement[bool]) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(table).where(is_old)).scalar_one()
