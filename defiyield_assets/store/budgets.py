"""The counters behind the vendors' budgets, shared by every run and process on this warehouse.

Lives here: reserving calls in vendor_usage and instants in vendor_paces, in one transaction. Not here: the arithmetic
(domain/budgets.py), waiting for an instant (sources/pacing.py).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from defiyield_assets.domain.budgets import (
    MAX_QUEUE,
    Account,
    Standing,
    Usage,
    amounts_of,
    period_start,
    place_calls,
    standing,
)
from defiyield_assets.store import schema
from defiyield_assets.store.engine import read_transaction, write_transaction

KEPT_MINUTES = timedelta(hours=2)
"""Minutes older than this count for nothing any more and are deleted."""


class WarehouseBudgets:
    """The `Budgets` of domain/budgets.py in the tables vendor_usage and vendor_paces."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def lease(self, account: Account, wanted: int, cost: int, now: datetime) -> list[datetime]:
        """Reserve up to `wanted` calls of `cost` credits each: the instants to send them at, one at least.

        Raises VendorPlanLimit, and reserves nothing, when a limit other than the minute has no room.
        """
        with write_transaction(self._engine, schema.vendor_usage.name) as connection:
            reserved = _next_at(connection, account)
            is_believable = reserved is not None and reserved <= now + MAX_QUEUE
            earliest = max(now, reserved) if reserved is not None and is_believable else now
            slots = place_calls(account, wanted, cost, _usage(connection, account, now), earliest)
            _add(connection, account, amounts_of(account, slots, cost))
            _reserve(connection, account, slots[-1] + timedelta(seconds=account.gap_seconds))
            _forget(connection, account, now)
        return slots

    def give_back(self, account: Account, slots: Sequence[datetime], cost: int) -> None:
        """Take reserved calls that were not sent off the counters."""
        table = schema.vendor_usage
        with write_transaction(self._engine, table.name) as connection:
            for (period, start), amount in amounts_of(account, slots, cost).items():
                row = (*_of(table, account), table.c.period == period, table.c.starts_at == start)
                left = sa.case((table.c.calls > amount, table.c.calls - amount), else_=0)
                connection.execute(sa.update(table).where(*row).values(calls=left))

    def hold(self, account: Account, until: datetime) -> None:
        """Nobody sends before that instant, whichever process."""
        with write_transaction(self._engine, schema.vendor_usage.name) as connection:
            reserved = _next_at(connection, account)
            _reserve(connection, account, until if reserved is None else max(reserved, until))

    def standings(self, account: Account, now: datetime) -> tuple[Standing, ...]:
        """How every limit of the account stands."""
        with read_transaction(self._engine, schema.vendor_usage.name) as connection:
            usage = _usage(connection, account, now)
        return tuple(standing(limit, usage, now) for limit in account.limits)


def _of(table: sa.Table, account: Account) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.vendor == account.vendor, table.c.key_id == account.key_id


def _next_at(connection: sa.Connection, account: Account) -> datetime | None:
    table = schema.vendor_paces
    found: datetime | None = connection.execute(
        sa.select(table.c.next_at).where(*_of(table, account))
    ).scalar_one_or_none()
    return found


def _usage(connection: sa.Connection, account: Account, now: datetime) -> Usage:
    """The counters that may matter from now on."""
    table = schema.vendor_usage
    is_current = sa.or_(
        sa.and_(table.c.period == "minute", table.c.starts_at >= now - KEPT_MINUTES),
        sa.and_(table.c.period == "day", table.c.starts_at >= period_start("day", now)),
        sa.and_(table.c.period == "month", table.c.starts_at >= period_start("month", now)),
    )
    query = sa.select(table.c.period, table.c.starts_at, table.c.calls).where(*_of(table, account), is_current)
    return {(row.period, row.starts_at): row.calls for row in connection.execute(query)}


def _add(connection: sa.Connection, account: Account, added: Usage) -> None:
    table = schema.vendor_usage
    rows = [
        {"vendor": account.vendor, "key_id": account.key_id, "period": period, "starts_at": start, "calls": amount}
        for (period, start), amount in added.items()
    ]
    insert = _insert(connection, table)
    keys = [column.name for column in table.primary_key.columns]
    merge = insert.on_conflict_do_update(index_elements=keys, set_={"calls": table.c.calls + insert.excluded["calls"]})
    connection.execute(merge, rows)


def _reserve(connection: sa.Connection, account: Account, next_at: datetime) -> None:
    insert = _insert(connection, schema.vendor_paces).values(
        vendor=account.vendor, key_id=account.key_id, next_at=next_at
    )
    keys = [column.name for column in schema.vendor_paces.primary_key.columns]
    connection.execute(insert.on_conflict_do_update(index_elements=keys, set_={"next_at": next_at}))


def _forget(connection: sa.Connection, account: Account, now: datetime) -> None:
    table = schema.vendor_usage
    old = (table.c.period == "minute", table.c.starts_at < now - KEPT_MINUTES)
    connection.execute(sa.delete(table).where(*_of(table, account), *old))


def _insert(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
