"""The market resource: keys and addresses of a live market, budgets before calls, faults, and days from the archive."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.cli.rebuild import archived_definitions
from defiyield_assets.definitions import build_resources
from defiyield_assets.domain.budgets import Need
from defiyield_assets.domain.days import cutoff, market_stamp
from defiyield_assets.errors import ConfigurationError, NotRecoverable, VendorNotFound, VendorPlanLimit, VendorThrottled
from defiyield_assets.orchestration.calls import FIRST_DAY, askable_vendors, expected_calls
from defiyield_assets.orchestration.resources import (
    ArchivedMarket,
    MarketResource,
    configured_vendors,
    live_vendors,
    vendor_standings,
)
from defiyield_assets.settings import KEY_VARIABLES, Settings, load_settings
from defiyield_assets.sources.defillama_yields import DefiLlamaYields
from defiyield_assets.sources.ethgastracker import EthGasTracker
from defiyield_assets.sources.transport import Gateway
from defiyield_assets.store import engine as engines
from defiyield_assets.store import reads, schema
from defiyield_assets_tests.installations import FIRST, Loop

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
DAY = date(2026, 3, 3)
NODE = "https://node.example/v3/0123456789abcdef"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DEFIYIELD_{name.upper()}", raising=False)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[httpx.Request]:
    """A live network that answers every request with an empty object at noon; what was sent to it."""
    requests: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json={})

    monkeypatch.setattr(MarketResource, "_transport", lambda _market, _day: httpx.MockTransport(reply))
    monkeypatch.setattr(MarketResource, "wall_clock", lambda _market: NOON)
    return requests


def live() -> MarketResource:
    return MarketResource(market="live", chain_path="unused", seed=7)


def asking(vendor: str, **options: Any) -> Callable[[Gateway], Any]:
    return lambda gateway: gateway.get(vendor, "/x", {}, {}, lambda answer: answer, **options)


# --- keys and addresses ----------------------------------------------------------------------------------------------
def test_a_live_market_asks_whoever_it_has_a_key_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(live().has_key(vendor) for vendor in KEY_VARIABLES)
    for vendor, (variable, _) in KEY_VARIABLES.items():
        monkeypatch.setenv(variable, NODE)
        assert live().has_key(vendor), "the variable that is named is the one that helps"
        monkeypatch.delenv(variable)
    assert MarketResource(market="simulated", chain_path="unused", seed=7).has_key("fred")


def test_a_market_without_a_vendor_promises_nothing_of_its_key() -> None:
    recorded = MarketResource(market="recorded", chain_path="unused", seed=7)
    assert not recorded.has_key("alpha_vantage")
    assert recorded.why_not_asked("alpha_vantage").startswith("the recorded market has nothing of alpha_vantage")
    assert live().why_not_asked("alpha_vantage").startswith("no DEFIYIELD_ALPHA_VANTAGE_API_KEY, which would add")


def test_a_server_or_an_address_of_its_own_makes_a_node() -> None:
    assert configured_vendors(Settings(vendor_server="http://127.0.0.1:8000")) == {"ethereum_node"}
    own = Settings(vendors={"ethereum_node": {"base_url": "http://127.0.0.1:8545"}})
    assert configured_vendors(own) == {"ethereum_node"}
    assert live_vendors(own)["ethereum_node"].secret_url == "http://127.0.0.1:8545"
    assert configured_vendors(Settings(vendors={"ethereum_node": {"per_minute": 60}})) == frozenset(), "a pace is none"


def test_a_served_market_is_told_no_key_and_knows_the_same_vendors() -> None:
    settings = Settings(vendor_server="http://127.0.0.1:8000", fred_api_key="k", coingecko_api_key="k")
    assert "k" not in [vendor.api_key for vendor in live_vendors(settings).values()]
    assert configured_vendors(settings) == {"fred", "coingecko", "ethereum_node"}


def test_a_served_market_is_kept_apart_from_the_live_one() -> None:
    real, served = Settings(market="live"), Settings(market="live", vendor_server="http://127.0.0.1:8000")
    assert (real.state_path.name, served.state_path.name) == ("live", "served")
    assert Settings(vendor_server="http://127.0.0.1:8000").state_path.name == "simulated"
    resources = build_resources(served)
    assert (resources["warehouse"].market, resources["market"].market) == ("served", "live")
    assert build_resources(real)["warehouse"].market == "live"


def test_settings_become_addresses_keys_and_limits() -> None:
    settings = Settings(
        coingecko_api_key="k", coingecko_plan="pro", ethereum_rpc_url=NODE, vendors={"fred": {"per_minute": 7}}
    )
    vendors = live_vendors(settings)
    assert (vendors["coingecko"].base_url, vendors["coingecko"].api_key) == (
        "https://pro-api.coingecko.com/api/v3",
        "k",
    )
    assert vendors["ethereum_node"].secret_url == NODE
    assert vendors["fred"].max_calls == 7
    served = live_vendors(Settings(vendor_server="http://127.0.0.1:8000", vendors={"pendle": {"base_url": "http://p"}}))
    assert served["fred"].base_url == "http://127.0.0.1:8000/api.stlouisfed.org/fred"
    assert served["pendle"].base_url == "http://p", "an address of its own wins over the server"


def test_the_address_of_a_node_is_used_and_never_kept(
    sqlite_warehouse: sa.Engine, sent: list[httpx.Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFIYIELD_ETHEREUM_RPC_URL", NODE)

    def reply(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(403, text=f"denied for {request.url}")

    monkeypatch.setattr(MarketResource, "_transport", lambda _market, _day: httpx.MockTransport(reply))
    with pytest.raises(Exception, match=r"ethereum_node /: HTTP 403: 'denied for \[redacted\]'"):
        live().ask(sqlite_warehouse, DAY, lambda gateway: gateway.post_json("ethereum_node", "/", {}, lambda x: x))
    assert str(sent[0].url) == NODE
    kept = [reads.read_all(sqlite_warehouse, table) for table in (schema.raw_fetches, schema.vendor_usage)]
    assert "0123456789abcdef" not in "".join(frame.to_csv() for frame in kept)


# --- budgets ---------------------------------------------------------------------------------------------------------
def test_live_calls_are_counted_and_closed_loops_count_nothing(
    sqlite_warehouse: sa.Engine, sent: list[httpx.Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    live().ask(sqlite_warehouse, DAY, asking("fred"))
    counted = reads.read_all(sqlite_warehouse, schema.vendor_usage)
    assert set(zip(counted["period"], counted["calls"], strict=True)) == {("minute", 1), ("day", 1), ("month", 1)}
    assert set(counted["vendor"]) == {"fred"}
    assert counted["starts_at"].max() == pd.Timestamp(NOON)
    MarketResource(market="simulated", chain_path="unused", seed=7).ask(sqlite_warehouse, DAY, asking("fred"))
    assert len(sent) == 2
    assert reads.read_all(sqlite_warehouse, schema.vendor_usage).equals(counted)


def test_budgets_go_by_the_wall_clock_where_the_market_stands_still(
    sqlite_warehouse: sa.Engine, sent: list[httpx.Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MarketResource, "stamp", lambda _market, day: market_stamp(day))
    live().ask(sqlite_warehouse, DAY, asking("fred"))
    assert reads.read_all(sqlite_warehouse, schema.vendor_usage)["starts_at"].max() == pd.Timestamp(NOON)
    assert reads.read_all(sqlite_warehouse, schema.raw_fetches)["fetched_at"].max() == pd.Timestamp(market_stamp(DAY))


def test_a_plan_is_stated_and_refused_before_the_first_call(
    sqlite_warehouse: sa.Engine,
    sent: list[httpx.Request],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("DEFIYIELD_VENDORS", '{"fred": {"per_day": 5}}')
    with caplog.at_level("INFO"):
        live().ask(sqlite_warehouse, DAY, asking("fred"), calls={"fred": 2, "pendle": 0})
    assert "2026-03-03: 2 calls to fred (about 1 s, 5 of 5 calls a day left)" in caplog.text
    with pytest.raises(
        VendorPlanLimit, match=r"fred: 5 calls are needed and 4 of 5 calls a day are left \(1 used\); .*"
    ):
        live().ask(sqlite_warehouse, DAY, asking("fred"), calls={"fred": 5})
    assert len(sent) == 1
    assert live().state(sqlite_warehouse, {"fred": Need(4)}).plans[0].refused_by is None


def test_what_a_call_costs_counts_where_the_plan_counts_credits(
    sqlite_warehouse: sa.Engine, sent: list[httpx.Request]
) -> None:
    live().ask(sqlite_warehouse, DAY, asking("coinmarketcap", credits_used=40))
    month = vendor_standings(load_settings(), sqlite_warehouse, NOON)["coinmarketcap"][1]
    assert (month.used, month.left) == (40, 14_960)
    statement = live().state(sqlite_warehouse, {"coinmarketcap": Need(1, 14_961)})
    with pytest.raises(
        VendorPlanLimit, match=r"14,961 credits are needed and 14,960 of 15,000 credits a month are left"
    ):
        statement.require()


def test_a_statement_about_nobody_is_a_mistake(sqlite_warehouse: sa.Engine) -> None:
    with pytest.raises(ConfigurationError, match="no vendor defilama; there are alpha_vantage, coingecko"):
        live().state(sqlite_warehouse, {"defilama": 1})


def test_a_closed_loop_states_its_calls_without_limits() -> None:
    market = MarketResource(market="simulated", chain_path="unused", seed=7)
    assert str(market.state(None, {"fred": 5, "pendle": 10**6})) == (
        "5 calls to fred; 1,000,000 calls to pendle (about 1 s)"
    )


# --- estimates -------------------------------------------------------------------------------------------------------
def test_a_run_is_estimated_by_the_newest_day_and_generously_without_one(
    sqlite_warehouse: sa.Engine, sent: list[httpx.Request]
) -> None:
    everybody = frozenset(FIRST_DAY)
    for engine in (None, sqlite_warehouse):
        first = expected_calls(engine, 2, frozenset({"fred", "pendle"}))
        assert first.needs == {name: Need(2 * FIRST_DAY[name]) for name in ("fred", "pendle")}
        assert "first run" in first.basis
    for day, n in ((date(2026, 3, 1), 5), (DAY, 3)):
        for _ in range(n):
            live().ask(sqlite_warehouse, day, asking("fred"))
    found = expected_calls(sqlite_warehouse, 10, everybody)
    assert (found.needs, found.basis) == ({"fred": Need(30)}, "as on 2026-03-03")
    assert expected_calls(sqlite_warehouse, 10, everybody - {"fred"}).needs == {}


def test_a_live_run_asks_only_whom_it_may() -> None:
    settings = Settings(market="live", fred_api_key="k")
    assert askable_vendors(settings, configured_vendors(settings)) == {
        *("defillama_yields", "defillama_coins", "pendle", "ethplorer", "fred")
    }
    assert askable_vendors(Settings(), frozenset()) == set(FIRST_DAY)
    assert set(KEY_VARIABLES) - set(FIRST_DAY) == {"cryptopanic"}, "news have no day"


# --- faults ----------------------------------------------------------------------------------------------------------
def test_simulated_vendors_can_be_told_to_fail(first_day: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFIYIELD_SIMULATED_FAULTS", '[{"kind": "throttled", "host": "*gastracker*"}]')
    market = first_day.installation.definitions.resources["market"]
    monkeypatch.setattr("defiyield_assets.sources.transport.ATTEMPTS", 1)
    with pytest.raises(VendorThrottled):
        market.ask(first_day.installation.engine, FIRST, lambda gateway: EthGasTracker(gateway).hourly())


# --- days from the archive -------------------------------------------------------------------------------------------
@pytest.fixture
def archived(first_day: Loop) -> ArchivedMarket:
    """The first day's market, as a rebuild sees it."""
    market = first_day.installation.definitions.resources["market"]
    return ArchivedMarket(
        market="simulated",
        chain_path=market.chain_path,
        seed=market.seed,
        day=FIRST.isoformat(),
        url=first_day.installation.settings.warehouse_url,
    )


def test_a_day_is_asked_again_from_the_archive_alone(first_day: Loop, archived: ArchivedMarket) -> None:
    engine = first_day.installation.engine
    before = len(reads.read_all(engine, schema.raw_fetches))

    async def question(gateway: Gateway) -> Any:
        return await DefiLlamaYields(gateway).pools()

    fetched = archived.ask(engine, FIRST, question, calls={"defillama_yields": 10**9})
    assert fetched.from_archive
    assert fetched.fetched_at == market_stamp(FIRST) == archived.stamp(FIRST)
    assert len(fetched.rows) > 2_000
    assert len(reads.read_all(engine, schema.raw_fetches)) == before
    with pytest.raises(NotRecoverable):
        archived.ask(engine, FIRST, asking("fred"))


def test_a_rebuild_asks_what_the_plan_of_the_key_asked(
    sqlite_warehouse: sa.Engine, archived: ArchivedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for plan, header in (("demo", "x-cg-demo-api-key"), ("pro", "x-cg-pro-api-key")):
        monkeypatch.setenv("DEFIYIELD_COINGECKO_PLAN", plan)
        assert archived._gateway(sqlite_warehouse, FIRST).settings("coingecko").key_header == header


def test_a_rebuild_of_a_served_market_reads_its_own_warehouse(sqlite_warehouse: sa.Engine) -> None:
    engines.claim_market(sqlite_warehouse, "served")
    url = sqlite_warehouse.url.render_as_string(hide_password=False)
    settings = Settings(market="live", vendor_server="http://127.0.0.1:8000", database_url=url)
    market = archived_definitions(settings, DAY).resources["market"]
    assert market.market == "live"
    assert not market.has_key("fred"), "nothing was asked; a claim for live would have been refused"


def test_a_rebuild_opens_no_socket(archived: ArchivedMarket) -> None:
    transport = archived._transport(FIRST)
    assert isinstance(transport, httpx.MockTransport)
    with pytest.raises(ConfigurationError, match="asks nobody"):
        transport.handle_request(httpx.Request("GET", "https://yields.llama.fi/pools"))


def test_a_rebuilt_live_day_that_only_reused_answers_had_the_key_for_them(
    sqlite_warehouse: sa.Engine, sent: list[httpx.Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    engines.claim_market(sqlite_warehouse, "live")
    earlier = date(2026, 3, 1)
    live().ask(sqlite_warehouse, DAY, asking("fred"))
    monkeypatch.setattr(MarketResource, "wall_clock", lambda _market: NOON + timedelta(hours=1))
    live().ask(sqlite_warehouse, earlier, asking("pendle"))
    monkeypatch.setattr(MarketResource, "wall_clock", lambda _market: NOON + timedelta(hours=2))
    live().ask(sqlite_warehouse, DAY, asking("coingecko"))
    url = sqlite_warehouse.url.render_as_string(hide_password=False)
    market = ArchivedMarket(market="live", chain_path="unused", seed=7, day=earlier.isoformat(), url=url)
    assert market.has_key("fred"), "its answer was there when the day ran"
    assert not market.has_key("coingecko"), "that came later"


def test_a_rebuilt_live_day_has_the_keys_that_it_used(
    sqlite_warehouse: sa.Engine, sent: list[httpx.Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    engines.claim_market(sqlite_warehouse, "live")
    live().ask(sqlite_warehouse, DAY, asking("fred"))
    url = sqlite_warehouse.url.render_as_string(hide_password=False)

    def of(day: date) -> ArchivedMarket:
        return ArchivedMarket(market="live", chain_path="unused", seed=7, day=day.isoformat(), url=url)

    monkeypatch.setattr(MarketResource, "_transport", lambda *_: httpx.MockTransport(lambda _: httpx.Response(404)))
    with pytest.raises(VendorNotFound):
        live().ask(sqlite_warehouse, DAY, asking("etherscan"))
    assert of(DAY).has_key("fred")
    assert of(DAY).has_key("etherscan"), "a key that helped nothing was a key"
    assert not of(DAY).has_key("coinmarketcap")
    assert not of(date(2026, 3, 2)).has_key("fred")
    assert of(DAY).stamp(DAY) == NOON
    assert of(date(2026, 3, 2)).stamp(date(2026, 3, 2)) == cutoff(date(2026, 3, 2))
