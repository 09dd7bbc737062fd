"""Figures of the vendors' budgets, from the counters that all processes share.

Lives here: what is used and left by vendor and period. Not here: the counters (store/budgets.py), the arithmetic
(domain/budgets.py). Whoever serves these figures needs no key: counters are found by the fingerprints that are stored.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from defiyield_assets.domain.budgets import Account, Standing
from defiyield_assets.observability.families import Sample
from defiyield_assets.store import schema
from defiyield_assets.store.budgets import WarehouseBudgets
from defiyield_assets.store.engine import read_transaction


def budget_figures(engine: sa.Engine, accounts: Iterable[Account], now: datetime) -> list[Sample]:
    """Every limit of every vendor: what it allows, and what is used and left by the key that used most."""
    table, budgets = schema.vendor_usage, WarehouseBudgets(engine)
    with read_transaction(engine, table.name) as connection:
        stored = connection.execute(sa.select(table.c.vendor, table.c.key_id).distinct()).all()
    found: list[Sample] = []
    for account in accounts:
        key_ids = {row.key_id for row in stored if row.vendor == account.vendor} or {account.key_id}
        stands = [budgets.standings(replace(account, key_id=key_id), now) for key_id in sorted(key_ids)]
        for of_limit in zip(*stands, strict=True):
            found += _figures(account.vendor, max(of_limit, key=lambda one: one.used))
    return found


def _figures(vendor: str, stand: Standing) -> list[Sample]:
    limit = stand.limit
    return [
        Sample("vendor_calls", float(stand.used), (vendor, limit.period)),
        Sample("vendor_budget_limit", float(limit.amount), (vendor, limit.period, limit.unit)),
        Sample("vendor_budget_left", float(stand.left), (vendor, limit.period, limit.unit)),
    ]
