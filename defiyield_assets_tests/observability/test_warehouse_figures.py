"""Figures of the warehouse: those of real days by independent queries, those of made rows by hand."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.domain.budgets import Account, Limit
from defiyield_assets.errors import ConfigurationError, DefiYieldError
from defiyield_assets.observability import archive
from defiyield_assets.observability import warehouse as figures
from defiyield_assets.observability.budgets import budget_figures
from defiyield_assets.observability.families import require_known
from defiyield_assets.store import schema
from defiyield_assets.store.budgets import WarehouseBudgets
from defiyield_assets_tests.databases import url_text
from defiyield_assets_tests.observability.exposition import Values, values_of

if TYPE_CHECKING:
    from defiyield_assets_tests.installations import Loop

DAY = date(2026, 3, 2)
NOW = datetime(2026, 3, 3, 12, 0, 30, tzinfo=UTC)


def all_figures(engine: sa.Engine) -> Values:
    """Everything that the warehouse alone tells."""
    groups = (
        *(figures.is_up, figures.plan_figures, figures.ledger_figures, figures.outcome_figures, figures.size_figures),
        *(archive.request_figures, archive.body_figures),
    )
    return values_of(require_known(sample for group in groups for sample in group(engine)))


def start(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def insert(engine: sa.Engine, table: sa.Table, *rows: dict[str, Any]) -> None:
    """Rows as they stand, every other column that must have a value filled in by its type."""
    filled = []
    for row in rows:
        blank = {column.name: _blank(column) for column in table.columns if not column.nullable}
        filled.append({name: value for name, value in {**blank, **row}.items() if name != "fetch_id" or name in row})
    with engine.begin() as connection:
        connection.execute(sa.insert(table), filled)


def _blank(column: sa.Column[Any]) -> Any:
    if "isin" in column.info:
        return column.info["isin"][0]
    kind = (
        column.type.python_type if column.type.__class__.__name__ in ("Text", "Integer", "Float", "Boolean") else None
    )
    by_type = {"Date": DAY, "UtcDateTime": NOW, "ExactDecimal": Decimal(0), "BaseUnits": 0, "LargeBinary": b"x"}
    return kind() if kind is not None else by_type[column.type.__class__.__name__]


# --- real days ------------------------------------------------------------------------------------------------------
def test_figures_of_five_real_days_are_those_of_other_queries(closed_loop: "Loop") -> None:
    """Every value again by SQLite and pandas alone, from columns by name."""
    engine = closed_loop.installation.engine
    told = all_figures(engine)
    with sa.create_engine(engine.url).connect() as raw:

        def frame(query: str) -> pd.DataFrame:
            return pd.read_sql_query(sa.text(query), raw)

        run = frame("select * from allocation_runs order by date desc limit 1").iloc[0]
        nav = frame("select * from nav_daily order by date").astype({"nav_usd": float, "return_1d": float})
        fetches = frame("select vendor, status / 100 as hundreds, count(*) as n from raw_fetches group by 1, 2")
        rows = {name: frame(f"select count(*) as n from {name}").loc[0, "n"] for name in schema.metadata.tables}
        strange = frame(f"select valued_usd from unexplained_transactions where date = '{nav['date'].iloc[-1]}'")
    last = date.fromisoformat(str(run["date"])[:10])
    assert last == closed_loop.days[-1]
    assert told["plan_day_timestamp_seconds", ()] == start(last) == told["nav_day_timestamp_seconds", ()]
    assert told["plan_status", (run["status"],)] == 1.0
    assert sum(value for (name, _), value in told.items() if name == "plan_status") == 1.0
    assert told["plan_gain_over_hold_usd", ()] == float(Decimal(run["gain_usd"]) - Decimal(run["hold_gain_usd"]))
    for kind in ("gas", "conversion"):
        assert told["plan_cost_usd", (kind,)] == float(run[f"{kind}_usd"])
    assert told["plan_expected_apy_ratio", ()] == run["projected_apy_net"]
    assert told["plan_solver_seconds", ()] == run["solver_seconds"]
    assert told["plan_steps", ()] == run["n_steps"]
    assert told["nav_usd", ()] == nav["nav_usd"].iloc[-1]
    assert sum(told["nav_part_usd", (part,)] for part in ("wallets", "pools", "eth")) == pytest.approx(
        told["nav_usd", ()], rel=1e-12
    )
    assert told["nav_return_30d_ratio", ()] == pytest.approx((1 + nav["return_1d"].dropna()).prod() - 1, abs=1e-15)
    assert told["nav_return_1d_ratio", ()] == nav["return_1d"].iloc[-1]
    assert told["unexplained_transactions", ()] == len(strange)
    by_vendor = {(row.vendor, f"{int(row.hundreds)}xx"): row.n for row in fetches.dropna().itertuples()}
    requests = {labels: value for (name, labels), value in told.items() if name == "vendor_requests"}
    assert {labels: value for labels, value in requests.items() if labels[1] != archive.NO_ANSWER} == by_vendor
    assert {labels[0]: value for (name, labels), value in told.items() if name == "table_rows"} == rows
    assert told["warehouse_size_bytes", ()] >= Path(engine.url.database or "").stat().st_size * 0.5


def test_no_label_of_real_days_comes_from_outside(closed_loop: "Loop") -> None:
    """Bounded by our own names: no pool, no address, no symbol."""
    engine = closed_loop.installation.engine
    with engine.connect() as connection:
        outside = {
            str(value)
            for column in (schema.pools.c.pool_id, schema.pools.c.symbol, schema.daily_balances.c.token_address)
            for value in connection.execute(sa.select(column).distinct()).scalars()
        }
    labels = {label for _, values in all_figures(engine) for label in values}
    assert not labels & outside
    assert all(len(label) <= 40 for label in labels)


# --- made rows ------------------------------------------------------------------------------------------------------
def test_an_empty_warehouse_has_figures_that_are_as_old_as_can_be(warehouse: sa.Engine) -> None:
    told = all_figures(warehouse)
    assert told["up", ("warehouse",)] == told["warehouse_is_migrated", ()] == 1.0
    for name in ("plan_day_timestamp_seconds", "nav_day_timestamp_seconds", "day_begun_timestamp_seconds"):
        assert told[name, ()] == 0.0
    assert told["archive_bodies", ()] == told["archive_body_bytes", ()] == 0.0
    assert {labels[0] for name, labels in told if name == "table_rows"} == set(schema.metadata.tables)


def test_outcomes_revisions_icebox_and_what_nobody_explains(warehouse: sa.Engine) -> None:
    earlier = DAY - timedelta(days=1)
    insert(warehouse, schema.policy_snapshot, {"date": earlier}, {"date": DAY})
    insert(
        warehouse,
        schema.asset_outcomes,
        {"date": earlier, "asset": "old", "status": "failed"},
        {"date": DAY, "asset": "pools", "status": "degraded"},
        {"date": DAY, "asset": "nav_daily", "status": "failed"},
    )
    insert(warehouse, schema.history_revisions, *({"date": DAY, "pool_id": f"p{n}", "revision": 1} for n in range(3)))
    insert(
        warehouse,
        schema.icebox,
        {"date": DAY, "chain": "Ethereum", "address": "0x1", "since": DAY},
        {"date": DAY, "chain": "Ethereum", "address": "0x2", "since": earlier},
    )
    insert(warehouse, schema.icebox_events, {"date": DAY, "kind": "checked", "grade": 2})
    insert(warehouse, schema.nav_daily, {"date": earlier, "return_1d": 0.1}, {"date": DAY, "return_1d": -0.5})
    insert(
        warehouse,
        schema.unexplained_transactions,
        {"date": DAY, "tx_hash": "a", "valued_usd": Decimal("-2.5")},
        {"date": DAY, "tx_hash": "b", "valued_usd": Decimal(4)},
        {"date": DAY, "tx_hash": "c", "valued_usd": None},
    )
    told = all_figures(warehouse)
    assert told["day_begun_timestamp_seconds", ()] == start(DAY)
    assert told["asset_outcomes", ("degraded",)] == told["asset_outcomes", ("failed",)] == 1.0
    assert {labels for name, labels in told if name == "asset_outcome"} == {
        ("pools", "degraded"),
        ("nav_daily", "failed"),
    }
    assert told["revisions_seen", ()] == 3.0
    assert (told["icebox_tokens", ()], told["icebox_entries", ()]) == (2.0, 1.0)
    assert (told["unexplained_transactions", ()], told["unexplained_usd", ()]) == (3.0, 6.5)
    assert told["nav_return_30d_ratio", ()] == pytest.approx(1.1 * 0.5 - 1)


def test_a_day_whose_icebox_is_not_there_bars_what_the_day_before_did(warehouse: sa.Engine) -> None:
    """The day has begun, or failed, before its icebox: none barred would be good news that nobody has."""
    earlier = DAY - timedelta(days=1)
    insert(warehouse, schema.policy_snapshot, {"date": earlier}, {"date": DAY})
    assert ("icebox_tokens", ()) not in values_of(figures.plan_figures(warehouse)), "before the first icebox"
    insert(warehouse, schema.icebox_events, {"date": earlier, "kind": "checked", "grade": 1})
    insert(warehouse, schema.icebox, {"date": earlier, "chain": "Ethereum", "address": "0x1", "since": earlier})
    told = values_of(figures.plan_figures(warehouse))
    assert (told["icebox_tokens", ()], told["icebox_entries", ()]) == (1.0, 1.0)
    insert(warehouse, schema.icebox_events, {"date": DAY, "kind": "checked", "grade": 0})
    told = values_of(figures.plan_figures(warehouse))
    assert (told["icebox_tokens", ()], told["icebox_entries", ()]) == (0.0, 0.0)


def test_requests_are_counted_by_vendor_status_and_error(warehouse: sa.Engine) -> None:
    rows = [
        {"vendor": "fred", "status": 200, "attempts": 1, "waited_seconds": 0.5},
        {"vendor": "fred", "status": 204, "attempts": 2, "waited_seconds": 1.0},
        {"vendor": "fred", "status": 503, "attempts": 5, "waited_seconds": 9.0, "error_class": "VendorUnavailable"},
        {"vendor": "pendle", "status": None, "attempts": 1, "waited_seconds": 0.0, "error_class": "VendorUnavailable"},
    ]
    insert(warehouse, schema.raw_fetches, *({"status": None, "error_class": None, **row} for row in rows))
    told = values_of(archive.request_figures(warehouse))
    assert told == {
        ("vendor_requests", ("fred", "2xx")): 2.0,
        ("vendor_requests", ("fred", "5xx")): 1.0,
        ("vendor_requests", ("pendle", "none")): 1.0,
        ("vendor_attempts", ("fred",)): 8.0,
        ("vendor_attempts", ("pendle",)): 1.0,
        ("vendor_waited_seconds", ("fred",)): 10.5,
        ("vendor_waited_seconds", ("pendle",)): 0.0,
        ("vendor_errors", ("fred", "VendorUnavailable")): 1.0,
        ("vendor_errors", ("pendle", "VendorUnavailable")): 1.0,
    }


def test_budgets_are_those_of_the_key_that_used_most_whoever_asks(warehouse: sa.Engine) -> None:
    limits = Limit("minute", 30), Limit("month", 1_000, "credits")
    ours, used = Account("coinmarketcap", "none", limits, 0.0), WarehouseBudgets(warehouse)
    for key_id, calls in (("abc", 3), ("def", 1)):
        used.lease(Account("coinmarketcap", key_id, limits, 0.0), calls, 2, NOW)
    idle = Account("fred", "none", (Limit("day", 7),), 0.0)
    assert values_of(require_known(budget_figures(warehouse, [ours, idle], NOW))) == {
        ("vendor_calls", ("coinmarketcap", "minute")): 3.0,
        ("vendor_budget_limit", ("coinmarketcap", "minute", "calls")): 30.0,
        ("vendor_budget_left", ("coinmarketcap", "minute", "calls")): 27.0,
        ("vendor_calls", ("coinmarketcap", "month")): 6.0,
        ("vendor_budget_limit", ("coinmarketcap", "month", "credits")): 1_000.0,
        ("vendor_budget_left", ("coinmarketcap", "month", "credits")): 994.0,
        ("vendor_calls", ("fred", "day")): 0.0,
        ("vendor_budget_limit", ("fred", "day", "calls")): 7.0,
        ("vendor_budget_left", ("fred", "day", "calls")): 7.0,
    }


# --- reading only ---------------------------------------------------------------------------------------------------
def test_the_engine_of_figures_cannot_write_on_either_database(warehouse: sa.Engine) -> None:
    engine = figures.open_for_reading(url_text(warehouse.url))
    try:
        assert figures.newest_plan_day(engine) is None
        with pytest.raises(sa.exc.DBAPIError, match="read"), engine.begin() as connection:
            connection.execute(sa.insert(schema.warehouse_identity).values(market="live"))
    finally:
        engine.dispose()


def test_a_warehouse_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no warehouse"):
        figures.open_for_reading(f"sqlite:///{tmp_path / 'none.sqlite'}")
    assert list(tmp_path.iterdir()) == []


def test_a_database_without_tables_is_a_failure_and_no_empty_answer(tmp_path: Path) -> None:
    path = tmp_path / "empty.sqlite"
    path.touch()
    engine = figures.open_for_reading(f"sqlite:///{path}")
    try:
        assert values_of(figures.is_up(engine))["warehouse_is_migrated", ()] == 0.0
        with pytest.raises(DefiYieldError):
            figures.plan_figures(engine)
    finally:
        engine.dispose()
