"""Figures of what vendors were asked, from the archive of requests and answers.

Lives here: counts by vendor over raw_fetches and raw_bodies. Not here: budgets (budgets.py), what is archived
(store/archive.py). The counts are of what the archive holds: retention makes them smaller.
"""

import sqlalchemy as sa

from defiyield_assets.observability.families import Sample
from defiyield_assets.store import schema
from defiyield_assets.store.engine import read_transaction

NO_ANSWER = "none"
"""Status of a request that no answer came to."""


def request_figures(engine: sa.Engine) -> list[Sample]:
    """Requests, attempts, waits and errors by vendor."""
    table = schema.raw_fetches
    grouped = (table.c.vendor, (table.c.status // 100).label("hundreds"), table.c.error_class)
    query = sa.select(
        *grouped,
        sa.func.count().label("requests"),
        sa.func.sum(table.c.attempts).label("attempts"),
        sa.func.sum(table.c.waited_seconds).label("waited"),
    ).group_by(*grouped)
    with read_transaction(engine, table.name) as connection:
        rows = connection.execute(query).all()
    sums: dict[tuple[str, tuple[str, ...]], float] = {}
    for row in rows:
        status = NO_ANSWER if row.hundreds is None else f"{row.hundreds}xx"
        parts = {
            ("vendor_requests", (row.vendor, status)): row.requests,
            ("vendor_attempts", (row.vendor,)): row.attempts,
            ("vendor_waited_seconds", (row.vendor,)): row.waited,
        }
        if row.error_class is not None:
            parts["vendor_errors", (row.vendor, row.error_class)] = row.requests
        for key, value in parts.items():
            sums[key] = sums.get(key, 0.0) + float(value)
    return [Sample(family, value, labels) for (family, labels), value in sorted(sums.items())]


def body_figures(engine: sa.Engine) -> list[Sample]:
    """How many answers are kept, and their size."""
    table = schema.raw_bodies
    with read_transaction(engine, table.name) as connection:
        query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(table.c.bytes), 0))
        count, size = connection.execute(query.select_from(table)).one()
    return [Sample("archive_bodies", float(count)), Sample("archive_body_bytes", float(size))]
