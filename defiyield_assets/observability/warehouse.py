"""Figures of the treasury and of the warehouse itself, by queries that only read.

Lives here: the plan, the ledger, outcomes of the newest day, sizes. Not here: what vendors were asked (archive.py),
budgets (budgets.py), what a figure is called and means (families.py).
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from math import prod
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from defiyield_assets.domain.days import start_of
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.observability.families import Sample
from defiyield_assets.store import schema
from defiyield_assets.store.engine import current_revision, head_revision, make_engine, read_transaction

CONNECT_SECONDS = 3
SILENT_MILLISECONDS = 20_000
"""A connection whose server is gone without a word is given up: the system's own patience is a quarter of an hour."""
STATEMENT_SECONDS = 60
"""Longest query on PostgreSQL: a scrape gives up long before, and the next one may find the answer."""
RETURN_DAYS = 30
NO_DAY = 0.0
"""Instant that stands for a day that is not there: as old as can be, so that alerts on age fire."""


def open_for_reading(url: str) -> sa.Engine:
    """An engine that cannot write, and makes no file; ConfigurationError when a file of SQLite is not there."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        path = Path(parsed.database or "")
        if not path.is_file():
            raise ConfigurationError(f"there is no warehouse at {path}")
        engine = make_engine(url)
        event.listen(engine, "connect", _only_read)
        return engine
    told = f"-c default_transaction_read_only=on -c statement_timeout={STATEMENT_SECONDS * 1000}"
    options = {
        "connect_timeout": str(CONNECT_SECONDS),
        "tcp_user_timeout": str(SILENT_MILLISECONDS),
        "options": told,
    }
    own = {name: value for name, value in options.items() if name not in parsed.query}
    return make_engine(parsed.update_query_dict(own).render_as_string(hide_password=False))


def _only_read(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA query_only=ON")


def is_up(engine: sa.Engine) -> list[Sample]:
    """Whether it answers, and is at the revision that the program needs."""
    is_migrated = current_revision(engine) == head_revision()
    return [Sample("up", 1.0, ("warehouse",)), Sample("warehouse_is_migrated", float(is_migrated))]


def instant(day: date | None) -> float:
    """Start of the UTC day as Prometheus has instants."""
    return NO_DAY if day is None else start_of(day).timestamp()


def _newest(connection: sa.Connection, table: sa.Table) -> date | None:
    found: date | None = connection.execute(sa.select(sa.func.max(table.c[table.info["day"]]))).scalar_one()
    return found


def _rows(connection: sa.Connection, table: sa.Table, day: date) -> Sequence[sa.RowMapping]:
    return connection.execute(sa.select(table).where(table.c[table.info["day"]] == day)).mappings().all()


def _count(connection: sa.Connection, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> float:
    return float(connection.execute(sa.select(sa.func.count()).select_from(table).where(*conditions)).scalar_one())


def _known(name: str, value: Any, *labels: str) -> Iterator[Sample]:
    """The sample, or none where the value is unknown. Decimals become floats here and nowhere before."""
    if value is not None:
        yield Sample(name, float(value), labels)


# --- plan and ledger ------------------------------------------------------------------------------------------------
def plan_figures(engine: sa.Engine) -> list[Sample]:
    """The newest plan: what it promises, costs and rests on."""
    runs, tokens = schema.allocation_runs, schema.icebox
    with read_transaction(engine, runs.name) as connection:
        day = _newest(connection, runs)
        found = [Sample("plan_day_timestamp_seconds", instant(day))]
        # A day that bars nothing and one whose icebox is not there yet have no row in it: only the first has an event.
        checked = _newest(connection, schema.icebox_events)
        if checked is not None:
            found.append(Sample("icebox_tokens", _count(connection, tokens, tokens.c.date == checked)))
            entered = _count(connection, tokens, tokens.c.date == checked, tokens.c.since == checked)
            found.append(Sample("icebox_entries", entered))
        for row in () if day is None else _rows(connection, runs, day)[:1]:
            found += _plan(row)
    return found


def _plan(row: sa.RowMapping) -> Iterator[Sample]:
    for status in schema.allocation_runs.c.status.info["isin"]:
        yield Sample("plan_status", float(row["status"] == status), (status,))
    yield from _known("plan_aum_usd", row["aum_usd"])
    yield from _known("plan_expected_apy_ratio", row["projected_apy_net"])
    yield from _known("plan_hold_apy_ratio", row["hold_apy"])
    yield from _known("plan_gain_over_hold_usd", row["gain_usd"] - row["hold_gain_usd"])
    yield from _known("plan_cost_usd", row["gas_usd"], "gas")
    yield from _known("plan_cost_usd", row["conversion_usd"], "conversion")
    yield from _known("plan_turnover_ratio", row["turnover"])
    yield from _known("plan_steps", row["n_steps"])
    yield from _known("plan_solver_seconds", row["solver_seconds"])
    yield from _known("plan_solver_gap_usd", row["solver_gap"])


def ledger_figures(engine: sa.Engine) -> list[Sample]:
    """Net asset value of the newest day, what it returned, and what nobody explained."""
    nav, strange = schema.nav_daily, schema.unexplained_transactions
    with read_transaction(engine, nav.name) as connection:
        day = _newest(connection, nav)
        found = [Sample("nav_day_timestamp_seconds", instant(day))]
        if day is None:
            return found
        (row,) = _rows(connection, nav, day)
        found += _nav(row)
        since = sa.and_(nav.c.date > day - timedelta(days=RETURN_DAYS), nav.c.return_1d.is_not(None))
        returns = connection.execute(sa.select(nav.c.return_1d).where(since).order_by(nav.c.date)).scalars().all()
        if returns:
            found.append(Sample("nav_return_30d_ratio", prod(1.0 + one for one in returns) - 1.0))
        values = [one["valued_usd"] for one in _rows(connection, strange, day)]
    found.append(Sample("unexplained_transactions", float(len(values))))
    found.append(Sample("unexplained_usd", float(sum(abs(one) for one in values if one is not None))))
    return found


def _nav(row: sa.RowMapping) -> Iterator[Sample]:
    yield from _known("nav_usd", row["nav_usd"])
    for part in ("wallets", "pools", "eth"):
        yield from _known("nav_part_usd", row[f"{part}_usd"], part)
    yield from _known("nav_return_1d_ratio", row["return_1d"])
    yield from _known("nav_idle_ratio", row["idle_share"])


def newest_plan_day(engine: sa.Engine) -> date | None:
    """The newest UTC day that has a plan."""
    with read_transaction(engine, schema.allocation_runs.name) as connection:
        return _newest(connection, schema.allocation_runs)


def outcome_figures(engine: sa.Engine) -> list[Sample]:
    """What became of the assets of the newest day that was begun, and which past values vendors changed on it."""
    outcomes, changed = schema.asset_outcomes, schema.history_revisions
    with read_transaction(engine, outcomes.name) as connection:
        day = _newest(connection, schema.policy_snapshot)
        found = [Sample("day_begun_timestamp_seconds", instant(day))]
        if day is None:
            return found
        rows = _rows(connection, outcomes, day)
        found.append(Sample("revisions_seen", _count(connection, changed, changed.c.date == day)))
    told = [row["status"] for row in rows]
    found += [Sample("asset_outcomes", float(told.count(one)), (one,)) for one in outcomes.c.status.info["isin"]]
    return [*found, *(Sample("asset_outcome", 1.0, (row["asset"], row["status"])) for row in rows)]


# --- sizes ----------------------------------------------------------------------------------------------------------
def size_figures(engine: sa.Engine) -> list[Sample]:
    """How large the warehouse and its tables are."""
    with read_transaction(engine, "sizes") as connection:
        if engine.dialect.name == "sqlite":
            pages, size = (connection.exec_driver_sql(f"PRAGMA page_{name}").scalar_one() for name in ("count", "size"))
            whole = Sample("warehouse_size_bytes", float(pages * size))
            tables = schema.metadata.sorted_tables
            return [whole, *(Sample("table_rows", _count(connection, table), (table.name,)) for table in tables)]
        return list(_postgres_sizes(connection))


_POSTGRES_SIZES = sa.text(
    """
    SELECT parent.relname AS name, sum(greatest(part.reltuples, 0)) AS rows,
           sum(pg_total_relation_size(tree.relid)) AS bytes
    FROM pg_class AS parent
    JOIN pg_namespace AS space ON space.oid = parent.relnamespace AND space.nspname = current_schema()
    CROSS JOIN LATERAL (
        SELECT parent.oid AS relid
        UNION
        SELECT relid FROM pg_partition_tree(parent.oid) WHERE isleaf
    ) AS tree
    JOIN pg_class AS part ON part.oid = tree.relid AND part.relkind = 'r'
    WHERE parent.relkind IN ('r', 'p') AND NOT parent.relispartition
    GROUP BY parent.relname
    """
)
"""A partitioned table is the sum of its leaves; the planner's estimates cost no scan."""


def _postgres_sizes(connection: sa.Connection) -> Iterator[Sample]:
    whole = connection.execute(sa.text("SELECT pg_database_size(current_database())")).scalar_one()
    yield Sample("warehouse_size_bytes", float(whole))
    ours = set(schema.metadata.tables)
    for row in connection.execute(_POSTGRES_SIZES):
        if row.name in ours:
            yield Sample("table_rows", float(row.rows), (row.name,))
            yield Sample("table_size_bytes", float(row.bytes), (row.name,))
