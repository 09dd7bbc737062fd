"""A source fails and another stands in: what is degraded, what is said of it, what fails when nobody is left.

Not here: the rules of who rests on whom (domain/test_outcomes.py), faults over a socket (faults/), the sensor's
decision (test_repair.py).
"""

from datetime import timedelta
from pathlib import Path

import dagster as dg
import httpx
import pytest

from defiyield_assets.domain.days import cutoff
from defiyield_assets.domain.gas.sources import ETH_FEE_HISTORY, ETHGASTRACKER
from defiyield_assets.domain.outcomes import (
    DEGRADED_UPSTREAM,
    LEDGER_NOT_READ,
    NO_CROSS_CHECK,
    NOT_CONFIGURED,
    UPSTREAM_NOT_RECOVERABLE,
    dependants,
)
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.degradation import parents_of_steps, tables_of
from defiyield_assets.orchestration.resources import MarketResource
from defiyield_assets.settings import KEY_VARIABLES
from defiyield_assets.store import schema
from defiyield_assets_tests.installations import (
    FIRST,
    Installation,
    Loop,
    day_after,
    failed_steps,
    failing,
    materialised,
    meddle,
    together,
)
from defiyield_assets_tests.test_graph_snapshot import BESIDE_THE_DAY, OF_THE_LAB

pytestmark = pytest.mark.slow

NEXT = day_after(FIRST)
CMC, GECKO, COINS = "pro-api.coinmarketcap.com", "api.coingecko.com", "coins.llama.fi"
TRACKER, NODE = "www.ethgastracker.com", "ethereum-rpc.simulated"
PRICES = ["policy_snapshot", "instruments", "ohlcv_coinmarketcap", "ohlcv_coingecko", "closes_defillama"]
BARS = [*PRICES, "pools", "pool_aliases", "token_registry", "daily_bars"]
GAS = ["policy_snapshot", "gas_fees_hourly", "gas_fees_daily", "gas_candidates", "gas_forecasts"]


@pytest.fixture
def after_first(first_day: Loop, tmp_path: Path) -> Installation:
    """A state on which the first day has run."""
    return first_day.installation.copy_to(tmp_path / "state")


def classes(installation: Installation) -> dict[str, str]:
    """Class of the outcome of each asset of the next day."""
    rows = installation.rows(schema.asset_outcomes, NEXT)
    return dict(zip(rows["asset"], rows["error_class"], strict=True))


def reason(installation: Installation, asset: str) -> str:
    """Why the asset of the next day is not whole."""
    rows = installation.rows(schema.asset_outcomes, NEXT).set_index("asset")
    return str(rows.loc[asset, "reason"])


def attempts(result: dg.ExecuteInProcessResult, step: str) -> int:
    """How often Dagster ran a step."""
    return 1 + sum(event.is_step_up_for_retry and event.step_key == step for event in result.all_events)


def facts(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
    """What the UI shows beside the asset."""
    (event,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}


APART = {"daily_bars": {"ohlcv_alpha_vantage", "corporate_actions", "ohlcv_csv", "intraday_bars"}}
"""Parents whose trouble does not degrade a step: bars of tokens do not rest on what exchanges and files tell."""


# --- the register ---------------------------------------------------------------------------------------------------
def test_the_register_is_the_graph_of_one_day(first_day: Loop) -> None:
    """Every asset but those of the lab, of signals and of paper trading, which no plan waits for, is registered, with
    exactly the parents that Dagster knows, those of other days left out."""
    graph = first_day.installation.definitions.resolve_asset_graph()
    parents = parents_of_steps()
    beside = OF_THE_LAB | BESIDE_THE_DAY | {"signal_types"}
    assert tables_of(parents) == {key.to_user_string() for key in graph.materializable_asset_keys} - beside
    for step in parents:
        found: set[str] = set()
        for key in (dg.AssetKey(table) for table in tables_of([step])):
            node = graph.get(key)
            found |= {
                parent.to_user_string()
                for parent in node.parent_keys
                if getattr(node.partition_mappings.get(parent), "end_offset", 0) == 0
            }
        found -= APART.get(step, set())
        assert tables_of(parents[step]) >= found - tables_of([step]), step
        assert not parents[step] - {name for name in parents if tables_of([name]) & found}, step


# --- prices ---------------------------------------------------------------------------------------------------------
def test_a_dead_price_vendor_degrades_what_rests_on_it_and_the_plan_is_still_made(
    after_first: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    meddle(monkeypatch, failing(CMC, 500, b"down"))
    result = after_first.run(NEXT)
    assert result.success
    found, parents = classes(after_first), parents_of_steps()
    assert found.pop("ohlcv_coinmarketcap") == "VendorUnavailable"
    assert set(found) == dependants(parents, "ohlcv_coinmarketcap")
    assert set(found.values()) == {DEGRADED_UPSTREAM}
    assert {reason(after_first, asset) for asset in found} == {"rests on ohlcv_coinmarketcap"}
    assert attempts(result, "ohlcv_coinmarketcap") == 3, "all attempts of the step come first"
    told = facts(result, "ohlcv_coinmarketcap")
    assert (told["vendor"], told["endpoint"], told["http_status"]) == (
        "coinmarketcap",
        "/v2/cryptocurrency/ohlcv/historical",
        500,
    )
    assert "bars come from CoinGecko, closes from DeFiLlama" in str(told["degraded"])
    assert facts(result, "daily_bars")["rests_on_degraded"] == ["ohlcv_coinmarketcap"]
    bars = after_first.rows(schema.daily_bars, NEXT)
    bars = bars[bars["instrument_type"] == "crypto"]
    assert len(bars) > 10
    assert set(bars["source"]) <= {"coingecko", "defillama_coins"}
    assert after_first.rows(schema.ohlcv_coinmarketcap, NEXT).empty, "nothing was written for it"
    assert len(after_first.rows(schema.allocation_runs, NEXT)) == 1
    report = after_first.rows(schema.daily_report, NEXT).iloc[0]["html"]
    assert "rests on ohlcv_coinmarketcap" in report
    told_of = set(found) - {"daily_report", "slack_notification", "plan_executions"}
    assert f"{len(told_of)} assets rest on them" in report, "what comes after the report is not in it"

    monkeypatch.undo()
    assert after_first.run(NEXT, ["ohlcv_coinmarketcap", "daily_bars"]).success
    assert set(classes(after_first)) == set(found) - {"daily_bars"}, "a clean run clears what was said of what it made"


def test_a_permanent_error_degrades_at_once(after_first: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    meddle(monkeypatch, failing(CMC, 401, b"who are you"))
    result = after_first.run(NEXT, PRICES)
    assert attempts(result, "ohlcv_coinmarketcap") == 1
    assert classes(after_first) == {"ohlcv_coinmarketcap": "VendorAuthError"}


def test_without_any_price_the_bars_fail(after_first: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    meddle(monkeypatch, together(*(failing(host, 500, b"down") for host in (CMC, GECKO, COINS))))
    result = after_first.run(NEXT, BARS, raise_on_error=False)
    assert failed_steps(result) == {"daily_bars"}
    found = classes(after_first)
    assert found["daily_bars"] == "SuspiciousDataError"
    assert "none of coinmarketcap, coingecko, defillama_coins told one" in reason(after_first, "daily_bars")
    for source in ("ohlcv_coinmarketcap", "ohlcv_coingecko", "closes_defillama"):
        assert found[source] == "VendorUnavailable"
    assert after_first.rows(schema.daily_bars, NEXT).empty


def test_a_bug_in_a_source_is_no_degradation(after_first: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object, **_options: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr("defiyield_assets.orchestration.assets.prices.CoinMarketCap", broken)
    result = after_first.run(NEXT, PRICES, raise_on_error=False)
    assert failed_steps(result) == {"ohlcv_coinmarketcap"}


# --- gas ------------------------------------------------------------------------------------------------------------
def test_the_node_stands_in_for_the_gas_vendor(after_first: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    meddle(monkeypatch, failing(TRACKER, 500, b"down"))
    result = after_first.run(NEXT, GAS)
    assert attempts(result, "gas_fees_hourly") == 3
    assert classes(after_first) == {
        "gas_fees_hourly": "VendorUnavailable",
        "gas_fees_daily": DEGRADED_UPSTREAM,
        "gas_forecasts": DEGRADED_UPSTREAM,
    }
    assert f"{ETH_FEE_HISTORY} stands in" in reason(after_first, "gas_fees_hourly")
    hours = after_first.rows(schema.gas_fees_hourly, NEXT)
    assert set(hours["source"]) == {ETH_FEE_HISTORY}
    assert hours.groupby("kind")["hour"].nunique().to_dict() == {"base_fee": 24, "gas_price": 24}
    close = after_first.rows(schema.gas_fees_hourly, FIRST)["eth_price_usd"].astype(float).iloc[-1]
    assert hours["eth_price_usd"].astype(float).tolist() == pytest.approx([close] * 48, rel=0.2), "WETH's close"
    assert set(after_first.rows(schema.gas_forecasts, NEXT)["kind"]) == {"base_fee", "gas_price"}


def test_a_lost_cross_check_is_told_and_degrades_nothing_behind_it(
    after_first: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    meddle(monkeypatch, failing(NODE, 500, b"down"))
    assert after_first.run(NEXT, GAS).success
    assert classes(after_first) == {"gas_fees_hourly": NO_CROSS_CHECK}
    assert set(after_first.rows(schema.gas_fees_hourly, NEXT)["source"]) == {ETHGASTRACKER}


def test_without_any_gas_its_branch_fails(after_first: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    meddle(monkeypatch, together(failing(TRACKER, 500, b"down"), failing(NODE, 500, b"down")))
    result = after_first.run(NEXT, GAS, raise_on_error=False)
    assert failed_steps(result) == {"gas_fees_hourly"}
    assert materialised(result) == {"policy_snapshot"}
    failure = next(event for event in result.all_events if event.is_step_failure).step_failure_data
    assert failure.user_failure_data is not None
    told = {name: value.value for name, value in failure.user_failure_data.metadata.items()}
    assert (told["vendor"], told["error_class"], told["http_status"]) == ("ethgastracker", "VendorUnavailable", 500)


def test_gas_without_a_configured_source_names_both_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, _ in KEY_VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("DEFIYIELD_VENDOR_SERVER", raising=False)
    monkeypatch.setattr(MarketResource, "_transport", nobody)
    installation = Installation(tmp_path, "live")
    result = installation.run(NEXT, ["migrations", "policy_snapshot", "gas_fees_hourly"], raise_on_error=False)
    assert failed_steps(result) == {"gas_fees_hourly"}
    assert classes(installation)["gas_fees_hourly"] == ConfigurationError.__name__
    said = reason(installation, "gas_fees_hourly")
    for vendor in ("ethgastracker", "ethereum_node"):
        variable, adds = KEY_VARIABLES[vendor]
        assert variable in said
        assert adds in said
    assert "pools, histories, prices" in said, "what works without"


def nobody(_market: MarketResource, _day: object) -> httpx.AsyncBaseTransport:
    """A transport that must not be asked for."""
    raise AssertionError("a vendor was asked without its key")


# --- what cannot be recovered, what is not configured ---------------------------------------------------------------
def test_what_rests_on_a_lost_day_is_marked_and_named(
    after_first: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MarketResource, "stamp", lambda _market, day: cutoff(day) + timedelta(minutes=1))
    assert not after_first.run(NEXT, ["policy_snapshot", "pools", "token_registry"], raise_on_error=False).success
    found = classes(after_first)
    assert found.pop("pools") == "NotRecoverable"
    assert set(found) == dependants(parents_of_steps(), "pools")
    assert set(found.values()) == {UPSTREAM_NOT_RECOVERABLE}
    assert reason(after_first, "token_registry") == "rests on pools, which cannot be recovered"
    rows = after_first.rows(schema.asset_outcomes, NEXT).set_index("asset")
    assert not rows["is_recoverable"].any()
    assert rows.loc["token_registry", "status"] == "degraded"


def test_a_missing_key_is_told_once_and_of_the_source_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, _ in KEY_VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("DEFIYIELD_VENDOR_SERVER", raising=False)
    monkeypatch.setattr(MarketResource, "_transport", nobody)
    installation = Installation(tmp_path, "live")
    assets = ["ohlcv_coinmarketcap", "ohlcv_coingecko", "observations", "macro_series", "account_transactions"]
    base = ["migrations", "policy_snapshot", "instruments", "pool_contracts"]
    result = installation.run(NEXT, [*base, *assets, "daily_bars"], raise_on_error=False)
    assert failed_steps(result) == {"daily_bars"}, "no price at all"
    found = classes(installation)
    assert found.pop("daily_bars") == "SuspiciousDataError"
    assert found.pop("daily_bars:exchanges") == "SuspiciousDataError", "the same run was to make them"
    assert found.pop("account_transactions") == LEDGER_NOT_READ
    assert found == dict.fromkeys([*assets[:-1], "pool_contracts"], NOT_CONFIGURED)


@pytest.mark.nightly
def test_no_plan_is_made_on_a_ledger_that_nobody_read(
    after_first: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MarketResource, "has_key", lambda _market, vendor: vendor != "etherscan")
    result = after_first.run(NEXT)
    assert result.success
    found = classes(after_first)
    assert found.pop("account_transactions") == LEDGER_NOT_READ
    assert "DEFIYIELD_ETHERSCAN_API_KEY" in reason(after_first, "account_transactions")
    assert set(found) == dependants(parents_of_steps(), "account_transactions")
    unmade = (schema.allocation_runs, schema.allocations, schema.allocation_steps, schema.allocation_limits)
    unmade += (schema.risk_gain_frontier,)
    for table in (schema.nav_daily, schema.yield_attribution, *unmade):
        assert after_first.rows(table, NEXT).empty, table.name
    executed = after_first.rows(schema.plan_executions, NEXT).iloc[0]
    assert (executed["status"], executed["n_transactions"]) == ("not_published", 0)
    assert len(after_first.rows(schema.pool_forecasts, NEXT)), "everything else comes"
    report = after_first.rows(schema.daily_report, NEXT).iloc[0]
    assert "Do not act: there is no plan for this day" in report["title"]
    assert "DEFIYIELD_ETHERSCAN_API_KEY" in report["html"]
    check = next(
        event.asset_check_evaluation_data
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
        and event.asset_check_evaluation_data.check_name == "balances_equal_the_chain"
    )
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
