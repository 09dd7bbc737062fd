"""What the Dagster UI shows of every asset: group, page, columns with units, where columns come from, when it is stale.

Not here: the shape of the graph (test_graph_snapshot.py), checks of one subject (their own files).
"""

import json
import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from defiyield_assets.definitions import build_defs
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.forecasting.scoreboard import scoreboard_from_sums, sum_scores
from defiyield_assets.domain.gas.fees import daily_fees
from defiyield_assets.domain.policy import Parameters, Policy, Token
from defiyield_assets.domain.pools.groups import assign_groups
from defiyield_assets.domain.pools.plots import plot_metrics
from defiyield_assets.domain.pools.revisions import revisions_seen
from defiyield_assets.domain.selection.plots import distances, plot_icebox
from defiyield_assets.orchestration.catalogue import GROUPS, page_url
from defiyield_assets.orchestration.column_lineage import LINEAGE, lineage_of
from defiyield_assets.orchestration.freshness import DAILY_BY_0300, HOURLY_BY_HALF_PAST, WEEKLY_BY_0600
from defiyield_assets.orchestration.reporting import (
    PREVIEW_WIDTH,
    offending,
    picture,
    plain,
    preview,
    report,
    table_schema,
)
from defiyield_assets.settings import PROJECT_ROOT, Settings
from defiyield_assets.store import schema
from defiyield_assets.store.units import WITHOUT, unit_of, with_unit
from defiyield_assets.store.validation import column_schema, column_type
from defiyield_assets.store.writes import WriteReceipt

DOCS_URL = "https://docs.example.org/defiyield"
GRAPH = build_defs(Settings(market="simulated", state_dir=Path("nowhere"), docs_url=DOCS_URL)).resolve_asset_graph()
NODES = {key.to_user_string(): GRAPH.get(key) for key in sorted(GRAPH.get_all_asset_keys())}
NUMBERS = ("int", "long", "float", "decimal", "base units")
DAY = date(2025, 6, 5)


# --- groups, pages, freshness ---------------------------------------------------------------------------------------
def test_groups_are_those_of_the_catalogue() -> None:
    assert {node.group_name for node in NODES.values()} == set(GROUPS)


@pytest.mark.parametrize("name", NODES)
def test_every_asset_leads_to_its_page_and_names_its_section(name: str) -> None:
    node = NODES[name]
    explained = page_url(DOCS_URL, GROUPS[node.group_name].page)
    assert f"[How it works]({explained})" in node.description
    assert node.metadata["docs"].url == explained
    assert f"Specification: {node.metadata['spec']}" in node.description
    if name != "migrations":
        anchor = name.replace("_", "-")
        assert f"[Columns]({DOCS_URL}/reference/tables.html#{anchor})" in node.description
    assert node.kinds
    assert node.owners


def test_every_page_is_in_the_documentation() -> None:
    for group in GROUPS.values():
        assert (PROJECT_ROOT / "docs" / f"{group.page}.md").is_file(), group.page


def test_what_a_schedule_makes_has_a_deadline() -> None:
    """Exactly that: by 03:00 the day and its signals, at half past news, on Sundays the scenarios."""
    for name, node in NODES.items():
        if "daily" in node.tags or node.group_name == "signals":
            policy = node.freshness_policy
            assert policy is not None, name
            assert policy.deadline_cron in (DAILY_BY_0300.deadline_cron, "0 3 * * 2-6"), name
        elif node.group_name == "news":
            assert node.freshness_policy == HOURLY_BY_HALF_PAST, name
        else:
            assert node.freshness_policy == (WEEKLY_BY_0600 if name == "scenarios" else None), name


# --- columns and their units ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("table", list(schema.metadata.sorted_tables), ids=lambda table: str(table.name))
def test_every_figure_tells_its_unit(table: Any) -> None:
    """Only what names or orders something has none, and it is on a list."""
    shown = {column.name: column.description or "" for column in table_schema(table).columns}
    for column in table.columns:
        unit = unit_of(column)
        if column_type(column) in NUMBERS:
            assert (unit is None) == (column.name in WITHOUT), f"{table.name}.{column.name} is in {unit}"
        if unit is not None:
            assert unit.lower() in shown[column.name].lower(), f"{table.name}.{column.name}"


@pytest.mark.parametrize(
    ("table", "column", "unit"),
    [
        ("pools", "tvl_usd", "USD"),
        ("pools", "apy", "fraction a year"),
        ("pools", "observed_at", "UTC"),
        ("pools", "symbol", None),
        ("daily_bars", "close", "USD"),
        ("gas_fees_daily", "p90_gwei", "gwei"),
        ("gas_forecasts", "mean", "gwei"),
        ("account_transactions", "gas_price_wei", "wei"),
        ("account_transactions", "gas_used", "units of gas"),
        ("allocation_runs", "break_even_days", "days"),
        ("allocation_runs", "turnover", "fraction"),
        ("allocations", "amount", "base units"),
        ("allocation_limits", "gain_per_usd", "USD per USD"),
        ("market_regimes", "p_calm", "probability"),
        ("market_regimes", "n_returns", "count"),
        ("backtest_results", "longest_drawdown_bars", "bars"),
        ("strategy_rankings", "deflated_sharpe", "probability"),
        ("daily_features", "rsi_14", "index"),
        ("daily_features", "dollar_volume", "USD"),
        ("intraday_features", "dollar_volume", "USD"),
        ("daily_features", "obv", "units"),
        ("daily_features", "amihud_20", "fraction per million USD"),
        ("feature_state", "n_close", "bars"),
        ("feature_state", "first_factor", "ratio"),
        ("feature_state", "adj_factor", "ratio"),
        ("feature_state", "psar_factor", "ratio"),
        ("feature_state", "psar_is_long", None),
        ("feature_state", "ewma_variance", "squared logarithm of a ratio"),
        ("feature_state", "ema_12", "of the metric that it goes on with"),
        ("backtest_results", "longest_winning_streak", "trades"),
        ("backtest_results", "longest_losing_streak", "trades"),
        ("backtest_results", "win_rate", "fraction"),
        ("backtest_results", "sharpe", "ratio, a year"),
        ("forecast_scoreboard", "mae", "of its target: fraction a year, USD or gwei"),
        ("forecast_scoreboard", "coverage", "fraction"),
        ("forecast_score_sums", "n_forecasts", "count"),
        ("nav_daily", "nav_usd", "USD"),
        ("nav_daily", "return_1d", "fraction"),
        ("nav_daily", "idle_share", "fraction"),
        ("yield_attribution", "realised_apy", "fraction a year"),
        ("yield_attribution", "gap_rate", "fraction a year"),
        ("icebox", "last_low", "USD"),
        ("gas_hour_profiles", "saving", "fraction"),
        ("chain_balances", "balance", "base units"),
        ("paper_portfolio", "cash", "currency of the account"),
        ("pool_groups", "pool_group", None),
    ],
)
def test_units_are_what_they_are(table: str, column: str, unit: str | None) -> None:
    assert unit_of(schema.metadata.tables[table].columns[column]) == unit


def test_a_unit_is_told_once() -> None:
    assert with_unit("Open in USD", "USD") == "Open in USD"
    assert with_unit("Value of cost_usd", "USD") == "Value of cost_usd (USD)"
    assert with_unit("Operations", "ratio") == "Operations (ratio)"
    assert with_unit("Days ahead", "days") == "Days ahead"
    assert with_unit("Total APY, fraction", "fraction a year") == "Total APY, fraction a year"
    assert with_unit("Pool", None) == "Pool"


def test_keys_are_marked() -> None:
    keys = {column.name for column in table_schema(schema.pool_groups).columns if "key" in column.constraints.other}
    assert keys == {column["name"] for column in column_schema(schema.pool_groups) if column["is_key"]}
    assert keys == {"date", "pool_id"}


# --- where columns come from ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", LINEAGE)
def test_lineage_names_columns_that_are_there_of_assets_that_it_rests_on(name: str) -> None:
    above = {key.to_user_string() for key in dg.AssetSelection.assets(name).upstream().resolve(GRAPH)} - {name}
    own = schema.metadata.tables[name].columns
    for column, sources in LINEAGE[name].items():
        assert column in own
        assert sources
        for asset, source in sources:
            assert asset in above, f"{name}.{column} rests on {asset}"
            assert source in schema.metadata.tables[asset].columns, f"{asset}.{source}"


def test_columns_of_these_tables_without_a_lineage_are_days_that_are_in_no_source() -> None:
    """A day of a partition is not a column of the tables that are read for it."""
    without = {
        name: {column.name for column in schema.metadata.tables[name].columns} - set(columns)
        for name, columns in LINEAGE.items()
    }
    assert {name: columns for name, columns in without.items() if columns} == {
        "gas_hour_profiles": {"as_of"},
        "forecast_scoreboard": {"date"},
        "token_registry": {"date"},
    }


def test_a_materialisation_carries_the_lineage_of_its_table() -> None:
    told = report(WriteReceipt("pool_groups", 1, 1, "0")).metadata
    assert told is not None
    assert told["dagster/column_lineage"] == lineage_of("pool_groups")
    assert "dagster/column_lineage" not in (report(WriteReceipt("pools", 1, 1, "0")).metadata or {})


def _hours(rng: np.random.Generator) -> pd.DataFrame:
    rows = [
        {"hour": datetime(2025, 6, 5, hour, tzinfo=UTC), "kind": "base_fee", "source": "one", "date": DAY}
        for hour in range(24)
    ]
    frame = pd.DataFrame(rows)
    for name in ("mean_gwei", "median_gwei", "p10_gwei", "p90_gwei", "max_gwei", "eth_price_usd"):
        frame[name] = rng.uniform(1.0, 9.0, len(frame))
    frame.loc[frame.index[::3], "mean_gwei"] = np.nan
    frame.loc[frame.index[::4], "max_gwei"] = np.nan
    return frame.assign(fetched_at=datetime(2025, 6, 6, tzinfo=UTC))


def _metrics(rng: np.random.Generator) -> pd.DataFrame:
    frame = pd.DataFrame({"date": DAY, "pool_id": [f"pool {number}" for number in range(40)]})
    for column in schema.pool_metrics.columns:
        if column_type(column) == "float":
            frame[column.name] = rng.uniform(0.0, 0.06, len(frame))
    return frame.assign(observed_days=30, age_days=90, is_hindsight=False)


def _scores(rng: np.random.Generator) -> pd.DataFrame:
    frame = pd.DataFrame({"date": DAY, "pool_id": [f"pool {number}" for number in range(40)]})
    frame = frame.assign(target="apy", horizon_days=7, model="ewma", is_champion=True, as_of=DAY - timedelta(days=7))
    for column in schema.forecast_scores.columns:
        if column_type(column) == "float":
            frame[column.name] = rng.uniform(0.01, 0.06, len(frame))
    frame["has_band"], frame["is_covered"] = rng.random(40) < 0.8, rng.random(40) < 0.7
    frame.loc[frame.index[::5], "mase_scale"] = np.nan
    return frame


def _points(rng: np.random.Generator) -> pd.DataFrame:
    seen = datetime(2025, 6, 1, tzinfo=UTC)
    frame = pd.DataFrame(
        {
            "pool_id": [f"pool {number // 2}" for number in range(20)],
            "date": date(2025, 5, 30),
            "revision": [number % 2 for number in range(20)],
            "seen_at": [seen if number % 2 == 0 else datetime(2025, 6, 5, 12, tzinfo=UTC) for number in range(20)],
            "source": "chart",
            "is_provisional": False,
        }
    )
    for name in ("apy", "apy_base", "apy_reward", "tvl_usd", "il_7d"):
        frame[name] = rng.uniform(0.01, 0.06, len(frame))
    return frame


CALCULATED: dict[str, tuple[str, Any, Any]] = {
    "gas_fees_daily": ("gas_fees_hourly", _hours, lambda frame: daily_fees(frame, DayRange.of(DAY))),
    "pool_groups": ("pool_metrics", _metrics, assign_groups),
    "forecast_score_sums": ("forecast_scores", _scores, sum_scores),
    "forecast_scoreboard": (
        "forecast_score_sums",
        lambda rng: sum_scores(_scores(rng)),
        lambda frame: scoreboard_from_sums(frame, DAY),
    ),
    "history_revisions": ("pool_histories", _points, lambda frame: revisions_seen(frame, DAY)),
}
"""Table -> the asset that it is made of, example rows of that, and the calculation."""
UNMOVED = {"n_hours"}
"""A count of hours of which either figure is known: changes only where both are lost."""


@pytest.mark.parametrize("name", CALCULATED)
def test_lineage_is_what_the_calculation_reads(name: str) -> None:
    """Change one column of figures of the source: exactly the columns change that are said to rest on it."""
    asset, make, calculate = CALCULATED[name]
    rows = make(np.random.default_rng(7))
    before = calculate(rows)
    figures = [
        column.name
        for column in schema.metadata.tables[asset].columns
        if column.name in rows and column_type(column) in ("float", "int") and not column.primary_key
    ]
    assert figures
    for source in figures:
        changed, column = rows.copy(), schema.metadata.tables[asset].columns[source]
        changed[source] = changed[source] // 2 if column_type(column) == "int" else 3.0 * changed[source]
        if column.nullable:
            changed.loc[changed.index[1], source] = np.nan
        after = calculate(changed)
        differing = {
            column
            for column in before.columns
            if [_shown(cell) for cell in before[column]] != [_shown(cell) for cell in after[column]]
        }
        told = {column for column, sources in LINEAGE[name].items() if (asset, source) in sources}
        assert differing <= told, f"{asset}.{source} changes {differing - told} unsaid"
        assert told - differing <= UNMOVED, f"{asset}.{source} leaves {told - differing} as it was"


def _shown(cell: Any) -> str:
    return "null" if isinstance(cell, float) and math.isnan(cell) else repr(cell)


# --- what is shown of rows ------------------------------------------------------------------------------------------
HOSTILE = "<img src=x onerror=alert(1)>[a](javascript:x)\u202e\x00\x1b[31m\nhttp://evil.example " + "y" * 500


def test_strangers_text_is_one_visible_line() -> None:
    told = plain(HOSTILE)
    assert len(told) == PREVIEW_WIDTH
    assert told.endswith("…")
    assert told.isprintable()
    assert "\u202e" not in told


def test_offending_rows_are_a_table_of_text_that_the_ui_can_read() -> None:
    """Nothing is Markdown, nothing is a number that JSON or a browser cannot hold."""
    frame = pd.DataFrame(
        [{"pool": HOSTILE, "amount": 2**70, "apy": float("nan"), "tvl": math.inf, "n": np.int64(3), "day": DAY}]
    )
    told = preview(frame)
    assert isinstance(told, dg.TableMetadataValue)
    (record,) = told.records
    assert record.data == {
        "pool": plain(HOSTILE),
        "amount": str(2**70),
        "apy": None,
        "tvl": None,
        "n": 3,
        "day": DAY.isoformat(),
    }
    json.dumps(record.data, allow_nan=False)
    assert {column.name: column.type for column in told.schema.columns} == {
        **{"pool": "string", "amount": "string", "apy": "string", "tvl": "string", "n": "int", "day": "string"}
    }


def test_a_table_without_rows_still_has_its_columns() -> None:
    told = preview(pd.DataFrame(columns=["pool_id", "apy"]))
    assert (list(told.records), [column.name for column in told.schema.columns]) == ([], ["pool_id", "apy"])


def test_what_a_check_found_is_cut_to_so_many_rows() -> None:
    told = offending([f"row {number}" for number in range(100)], "pool", 20)
    assert [record.data for record in told.records] == [{"pool": f"row {number}"} for number in range(20)]


# --- pictures -------------------------------------------------------------------------------------------------------
def test_the_picture_of_metrics_is_the_same_in_any_order_and_with_nothing() -> None:
    rows = _metrics(np.random.default_rng(1))
    groups = {pool_id: 1 + number % 4 for number, pool_id in enumerate(rows["pool_id"])}
    drawn = plot_metrics(rows, groups, {"pool 1": "evil\x00$name$"})
    assert drawn.startswith(b"\x89PNG")
    assert plot_metrics(rows.sample(frac=1.0, random_state=3), groups, {"pool 1": "evil\x00$name$"}) == drawn
    assert plot_metrics(rows.iloc[:0], {}).startswith(b"\x89PNG")


HOSTILE_NAME = r"USD$ $\frac{"
"""What matplotlib would read as a formula that does not end."""


def test_names_of_pools_are_no_formulas() -> None:
    rows = _metrics(np.random.default_rng(1))
    groups = dict.fromkeys(rows["pool_id"], 1)
    drawn = plot_metrics(rows, groups, dict.fromkeys(rows["pool_id"], HOSTILE_NAME))
    assert drawn.startswith(b"\x89PNG")


def test_symbols_of_tokens_are_no_formulas() -> None:
    token = replace(POLICY.tokens[0], symbol=HOSTILE_NAME)
    icebox = pd.DataFrame([{"symbol": HOSTILE_NAME, "chain": "Ethereum", "address": "0x01"}])
    drawn = plot_icebox(_closes(), icebox, replace(POLICY, tokens=(token, *POLICY.tokens[1:])), DAY)
    assert drawn.startswith(b"\x89PNG")


@pytest.mark.usefixtures("pictures")
def test_a_picture_that_cannot_be_drawn_is_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    def draw() -> bytes:
        raise ValueError(HOSTILE)

    assert picture(draw, "Pools") is None
    (told,) = (entry.getMessage() for entry in caplog.records)
    assert told.startswith("picture 'Pools' is left out: ValueError: <img src=x")
    assert told.isprintable()
    assert "plot" not in (report(WriteReceipt("pools", 1, 1, "0"), plot=None).metadata or {})
    shown = picture(lambda: b"\x89PNG", "Pools")
    assert shown is not None
    assert str(shown.value).startswith("![Pools](data:image/png;base64,")


def test_an_installation_may_do_without_pictures() -> None:
    assert picture(lambda: pytest.fail("drawn all the same"), "Pools") is None


POLICY = Policy(
    parameters=Parameters(),
    protocols=(),
    tokens=(
        Token("USDX", "Ethereum", "0x01", 6, "x"),
        Token("SUSDX", "Ethereum", "0x02", 18, "x", peg="accruing"),
        Token("WETH", "Ethereum", "0x03", 18, "x", peg="other"),
    ),
)


def _closes() -> pd.DataFrame:
    days = [DAY - timedelta(days=age) for age in range(40)]
    told = {"0x01": lambda age: 0.97 if age == 0 else 1.0, "0x02": lambda age: 1.2 - 0.001 * age, "0x03": lambda _: 2e3}
    return pd.DataFrame(
        [
            {"instrument_id": f"ethereum:{address}", "date": day, "close": close(age)}
            for address, close in told.items()
            for age, day in enumerate(days)
        ]
    )


def test_the_icebox_is_drawn_as_distances_from_the_reference() -> None:
    """1 for a dollar, the highest close so far for what accrues; what is not watched is not drawn."""
    told = distances(_closes(), POLICY, DAY)
    assert list(told.columns) == ["ethereum:0x01", "ethereum:0x02"]
    assert len(told) == 30
    assert told["ethereum:0x01"].iloc[-1] == pytest.approx(-3.0)
    assert told["ethereum:0x02"].abs().max() == 0.0  # it only rises


def test_the_picture_of_the_icebox_is_the_same_in_any_order_and_with_nothing() -> None:
    icebox = pd.DataFrame([{"symbol": "USDX$\x00", "chain": "Ethereum", "address": "0x01"}])
    drawn = plot_icebox(_closes(), icebox, POLICY, DAY)
    assert drawn.startswith(b"\x89PNG")
    assert plot_icebox(_closes().sample(frac=1.0, random_state=2), icebox, POLICY, DAY) == drawn
    assert plot_icebox(_closes(), icebox.iloc[:0], POLICY, DAY) != drawn
    assert plot_icebox(_closes().iloc[:0], icebox, POLICY, DAY).startswith(b"\x89PNG")
