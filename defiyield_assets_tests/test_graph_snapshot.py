"""The shape of the asset graph: a stored snapshot that changes only on purpose, and rules that every asset keeps.

`python -m defiyield_assets_tests.test_graph_snapshot` writes graph_snapshot.json anew; read the difference first.
"""

import json
import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from defiyield_assets.definitions import build_defs
from defiyield_assets.orchestration.declarations import OWNERS, PHASES
from defiyield_assets.orchestration.partitions import DAILY, SCENARIOS
from defiyield_assets.settings import Settings
from defiyield_assets.store import schema

SNAPSHOT = Path(__file__).with_name("graph_snapshot.json")
DEFINITIONS = build_defs(Settings(market="simulated", state_dir=Path("nowhere")))
GRAPH = DEFINITIONS.resolve_asset_graph()
NODES = {key.to_user_string(): GRAPH.get(key) for key in sorted(GRAPH.materializable_asset_keys)}
CHUNKED = {
    *("costly_candidates", "forecast_evaluations", "forecast_candidates", "pool_forecasts"),
    *("gas_candidates", "gas_forecasts", "gas_hour_profiles"),
}
"""Forecasts: thirty days a run."""
OF_FILES = {"ohlcv_csv", "csv_imports", "intraday_bars", "intraday_features"}
"""Made when a file comes, of whatever days it tells; they have no partitions."""
BY_SCENARIO = {
    *("scenario_paths", "scenario_metrics", "backtest_results", "backtest_trades", "equity_curves"),
}
"""Of the strategy lab: a partition is a scenario."""
OF_THE_LAB = {
    *BY_SCENARIO,
    *("scenarios", "strategies", "strategy_rankings", "regime_performance", "assessment_report"),
}
OF_NEWS = {"news_articles", "news_coverage", "news_instrument_links", "news_sentiment", "news_votes", "signal_types"}
"""Watermarked, or a list of kinds; they have no partitions."""
BESIDE_THE_DAY = {"ai_signals", "trading_signals", "paper_orders", "paper_portfolio", "paper_trades"}
"""Made by day, in jobs of their own: the treasury's plan does not wait for them."""
UNDATED = OF_FILES | OF_THE_LAB | OF_NEWS
COLUMN_SCHEMA = "dagster/column_schema"
NAMED_IN_THE_SPEC = {
    *("pools", "token_registry", "pool_aliases", "pool_histories", "ohlcv_coinmarketcap", "closes_defillama"),
    *("daily_bars", "instruments", "gas_fees_hourly", "gas_fees_daily", "macro_series", "account_transactions"),
    *("chain_balances", "policy_snapshot", "allocation_snapshot", "prefiltered_pools", "pool_quality", "pool_metrics"),
    *("pool_groups", "icebox", "icebox_events", "eligible_pools", "pool_forecasts", "gas_forecasts", "forecast_scores"),
    *("ledger_postings", "daily_balances", "pool_positions", "nav_daily", "yield_attribution", "allocation_runs"),
    *("allocations", "allocation_steps", "risk_gain_frontier", "daily_report", "slack_notification"),
}


def days_before(mapping: dg.PartitionMapping | None) -> str:
    """How a dependency maps days: `same day`, or the offsets of its window."""
    if mapping is None:
        return "same day"
    assert isinstance(mapping, dg.TimeWindowPartitionMapping)
    return f"days {mapping.start_offset} to {mapping.end_offset}"


def columns_of(node: Any) -> list[dg.TableColumn]:
    """The column schema in the asset's metadata."""
    stored = node.metadata.get(COLUMN_SCHEMA)
    return [] if stored is None else list(getattr(stored, "value", stored).columns)


def describe(node: Any) -> dict[str, Any]:
    """What the snapshot keeps of one asset."""
    policy = node.backfill_policy
    whole = policy is None or policy.max_partitions_per_run is None
    runs = "one run" if whole else f"{policy.max_partitions_per_run} days a run"
    return {
        "group": node.group_name,
        "phase": int(node.tags.get("phase", 0)),
        "backfill": runs,
        "pools": sorted(node.pools or ()),
        "kinds": sorted(node.kinds),
        "owners": list(node.owners),
        "description": node.description,
        "deps": {
            key.to_user_string(): days_before(node.partition_mappings.get(key)) for key in sorted(node.parent_keys)
        },
        "checks": sorted(key.name for key in node.check_keys),
        "columns": {column.name: column.type for column in columns_of(node)},
    }


def graph() -> dict[str, Any]:
    """The whole graph as the snapshot keeps it."""
    return {name: describe(node) for name, node in NODES.items()}


def test_the_graph_is_the_one_that_was_agreed_on() -> None:
    agreed = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    found = json.loads(json.dumps(graph()))
    assert found.keys() == agreed.keys()
    for name, node in found.items():
        assert node == agreed[name], f"{name} differs from graph_snapshot.json"


def test_every_asset_that_the_specification_names_is_there() -> None:
    assert set(NODES) >= NAMED_IN_THE_SPEC


@pytest.mark.parametrize("name", NODES)
def test_every_asset_is_documented_and_daily(name: str) -> None:
    node = NODES[name]
    assert len(node.description) > 20
    assert node.group_name
    assert node.group_name != "default"
    assert list(node.owners) == OWNERS
    assert node.kinds
    assert node.metadata["spec"]
    if name in UNDATED:
        assert node.partitions_def == (SCENARIOS if name in BY_SCENARIO else None)
        assert "daily" not in node.tags
    elif name in BESIDE_THE_DAY:
        assert node.partitions_def == DAILY
        assert node.backfill_policy is not None
        assert "daily" not in node.tags
    else:
        assert node.tags["daily"] == ""
        assert int(node.tags["phase"]) in PHASES
        assert node.partitions_def == DAILY
        assert node.backfill_policy is not None
    assert name == "migrations" or node.parent_keys, "every asset stands on something"


@pytest.mark.parametrize("name", [name for name in NODES if name != "migrations"])
def test_every_column_is_described_as_the_table_has_it(name: str) -> None:
    columns = columns_of(NODES[name])
    table = schema.metadata.tables[name]
    assert [column.name for column in columns] == [column.name for column in table.columns]
    for column, stored in zip(columns, table.columns, strict=True):
        assert column.description, column.name
        assert column.constraints.nullable == stored.nullable, column.name


def test_every_table_has_one_writer() -> None:
    kept_by_the_store = {
        *("raw_fetches", "raw_bodies", "vendor_usage", "vendor_paces"),
        *("warehouse_identity", "asset_outcomes", "account_cursors", "forecast_cache"),
        *("slack_messages", "slack_alerts", "policy_versions", "console_audit"),
    }
    assert set(schema.metadata.tables) - set(NODES) == kept_by_the_store


def test_names_are_plural_snake_case_or_a_known_noun() -> None:
    for name in NODES:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)


def test_rates_units_and_flags_are_named_as_agreed() -> None:
    for table in schema.metadata.tables.values():
        for column in table.columns:
            if column.type.python_type is bool:
                assert column.name.startswith(("is_", "has_", "was_")), f"{table.name}.{column.name}"
            assert not column.name.endswith(("_pct", "_percent", "_dollars")), f"{table.name}.{column.name}"


def test_a_phase_never_needs_a_later_one() -> None:
    """Phases are parts of the day in order."""
    backwards = {
        (name, parent.to_user_string())
        for name, node in NODES.items()
        for parent in node.parent_keys
        if parent.to_user_string() in set(NODES) - UNDATED
        and name not in UNDATED | BESIDE_THE_DAY
        and int(node.tags["phase"]) < int(GRAPH.get(parent).tags["phase"])
    }
    assert backwards == set()


def test_the_ledger_never_reads_a_plan() -> None:
    ledger = dg.AssetSelection.groups("ledger").upstream().resolve(GRAPH)
    assert not {key for key in ledger if GRAPH.get(key).group_name == "allocation"}


def test_nothing_leaves_the_house_before_the_replay() -> None:
    steps = GRAPH.get(dg.AssetKey("allocation_steps"))
    assert [key.name for key in steps.check_keys] == ["plan_replay"]
    specs = {spec.name: spec for checks in DEFINITIONS.asset_checks or () for spec in checks.check_specs}
    assert {name for name, spec in specs.items() if spec.blocking} == {
        *("plan_replay", "postings_sum_to_zero", "balances_equal_the_chain", "nav_change_is_explained"),
        *("positions_equal_the_chain", "attribution_adds_up"),
        *("every_factor_knows_every_action", "no_bar_after_delisting"),
        *("levels_fit_their_side", "nobody_acts_before_the_close", "types_and_statuses_are_known"),
        "stub_is_never_mixed",
        *("published_before_told", "votes_are_not_negative", "links_are_known", "hours_rest_on_the_past"),
        *("balances_reconcile", "no_order_without_a_decision", "stops_lie_behind_the_price"),
        "units_follow_from_orders",
        *("answers_keep_their_shape", "quantiles_do_not_cross", "every_tracked_pool_has_a_forecast_or_a_reason"),
    }
    assert dg.AssetKey("allocation_steps") in GRAPH.get(dg.AssetKey("plan_executions")).parent_keys


def test_from_the_ledger_on_a_day_is_a_run_and_before_it_a_range_is() -> None:
    for name, node in NODES.items():
        if name in UNDATED | BESIDE_THE_DAY:
            continue
        by_day = node.group_name in ("ledger", "allocation", "reporting") or name in (
            "allocation_snapshot",
            "eligible_pools",
        )
        wanted = 1 if by_day else (30 if name in CHUNKED else None)
        assert node.backfill_policy.max_partitions_per_run == wanted, name


def test_only_assets_that_ask_vendors_try_again() -> None:
    for definition in DEFINITIONS.assets or ():
        if not isinstance(definition, dg.AssetsDefinition):
            continue
        policy = definition.op.retry_policy
        asks = bool(definition.op.pool)
        assert (policy is not None) == asks, definition.key


def test_the_schedule_runs_at_0045_utc_and_the_sensors_are_on() -> None:
    repository = DEFINITIONS.get_repository_def()
    schedule = repository.get_schedule_def("plan_the_day_at_0045_utc")
    assert schedule.cron_schedule == "45 0 * * *"
    assert schedule.execution_timezone == "UTC"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "repair_recent_gaps",
        "tell_of_failed_runs",
        "tell_of_recoveries",
        "import_dropped_files",
        "assess_new_scenarios",
        *("paper_trade_after_daily_features", "paper_trade_after_trading_signals", "scenarios_after_set_up"),
    }
    assert all(sensor.default_status == dg.DefaultSensorStatus.RUNNING for sensor in repository.sensor_defs)


def test_definitions_are_valid_and_no_resource_shows_a_secret() -> None:
    dg.Definitions.validate_loadable(DEFINITIONS)
    for resource in (DEFINITIONS.resources or {}).values():
        assert not re.search(r"key|token|secret|webhook", " ".join(type(resource).model_fields))


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(graph(), indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
