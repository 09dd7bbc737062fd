"""Settings of vendors: published limits, keys and plans, and what an installation changes of them."""

from dataclasses import fields

import pytest

from defiyield_assets.domain.budgets import Limit
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.settings import VendorOverride
from defiyield_assets.sources.pacing import PACE_SHARE, account_of, gap_seconds
from defiyield_assets.sources.vendors import (
    ETHPLORER_FREE_KEY,
    SERVED_KEY,
    adjusted,
    default_vendors,
    served_by,
    without_pacing,
)

NODE = "https://node.example/v3/0123456789abcdef"


def test_published_limits() -> None:
    vendors = default_vendors({"ethplorer": "own", "fred": "k", "etherscan": ""})
    limits = {name: (s.max_calls, s.per_seconds) for name, s in vendors.items()}
    assert limits == {
        "defillama_yields": (300, 60.0),
        "defillama_coins": (300, 60.0),
        "coinmarketcap": (30, 60.0),
        "coingecko": (30, 60.0),
        "alpha_vantage": (5, 60.0),
        "ethgastracker": (30, 60.0),
        "ethplorer": (10, 1.0),
        "etherscan": (3, 1.0),
        "pendle": (60, 60.0),
        "ethereum_node": (5, 1.0),
        "fred": (120, 60.0),
        "cryptopanic": (60, 60.0),
        "slack": (1, 1.0),
        "ollama": (600, 60.0),
    }
    assert all(name == settings.name for name, settings in vendors.items())
    assert (vendors["fred"].api_key, vendors["etherscan"].api_key) == ("k", None)
    longer = {name: (s.per_hour, s.per_day, s.per_month) for name, s in vendors.items()}
    assert {name: found for name, found in longer.items() if found != (None, None, None)} == {
        "coinmarketcap": (None, None, 15_000),
        "coingecko": (None, None, 10_000),
        "alpha_vantage": (None, 25, None),
        "etherscan": (None, 100_000, None),
    }
    assert [name for name, settings in vendors.items() if settings.has_credits] == ["coinmarketcap"]


def test_ethplorer_without_a_key_is_asked_with_the_public_one_and_all_of_its_limits() -> None:
    free = default_vendors({})["ethplorer"]
    assert free.api_key == ETHPLORER_FREE_KEY
    assert account_of(free).limits == (Limit("minute", 20), Limit("hour", 100), Limit("day", 1_000))
    assert gap_seconds(free) > 1 / 2, "evenly spaced, 20 a minute are never 2 in a second"


def test_coingecko_goes_where_its_plan_is() -> None:
    demo = default_vendors({"coingecko": "k"})["coingecko"]
    assert (demo.base_url, demo.key_header) == ("https://api.coingecko.com/api/v3", "x-cg-demo-api-key")
    pro = default_vendors({"coingecko": "k"}, coingecko_plan="pro")["coingecko"]
    assert (pro.base_url, pro.key_header) == ("https://pro-api.coingecko.com/api/v3", "x-cg-pro-api-key")
    assert (pro.api_key, pro.per_month) == ("k", None)


def test_alpha_vantage_is_asked_at_the_pace_of_its_plan() -> None:
    free = default_vendors({"alpha_vantage": "k"})["alpha_vantage"]
    assert (free.key_param, account_of(free).limits) == ("apikey", (Limit("minute", 5), Limit("day", 25)))
    premium = default_vendors({"alpha_vantage": "k"}, alpha_vantage_plan="premium")["alpha_vantage"]
    assert account_of(premium).limits == (Limit("minute", 75),)
    assert (premium.api_key, premium.base_url) == ("k", "https://www.alphavantage.co")


def test_an_account_tells_neither_the_key_nor_the_address() -> None:
    vendors = default_vendors({"fred": "secret-key"}, node_url=NODE)
    assert "secret-key" not in repr([account_of(settings) for settings in vendors.values()])
    assert "0123456789abcdef" not in repr([*vendors.values(), *map(account_of, vendors.values())])
    keyed = {name for name, settings in vendors.items() if account_of(settings).key_id != "none"}
    assert keyed == {"fred", "ethereum_node", "ethplorer"}


def test_a_pace_uses_nearly_all_of_the_limit() -> None:
    assert gap_seconds(default_vendors({})["defillama_yields"]) == pytest.approx(0.2 / PACE_SHARE)
    assert account_of(default_vendors({})["etherscan"]).limits[0] == Limit("minute", 180)


# --- what an installation changes ------------------------------------------------------------------------------------
def test_an_installation_replaces_addresses_and_limits() -> None:
    plain = default_vendors({"coinmarketcap": "k"}, node_url=NODE)
    vendors = adjusted(
        plain,
        {
            "coinmarketcap": VendorOverride(per_minute=60, per_day=500, per_month=120_000, concurrency=7),
            "pendle": VendorOverride(base_url="http://localhost:8080/pendle/"),
            "ethereum_node": VendorOverride(base_url="http://localhost:8545/v3/key/"),
        },
    )
    changed = vendors["coinmarketcap"]
    assert (changed.max_calls, changed.per_seconds, changed.concurrency) == (60, 60.0, 7)
    assert (changed.per_day, changed.per_month, changed.api_key) == (500, 120_000, "k")
    assert vendors["pendle"].base_url == "http://localhost:8080/pendle"
    assert vendors["ethereum_node"].secret_url == "http://localhost:8545/v3/key/", "exactly as it was given"
    assert vendors["ethereum_node"].base_url == plain["ethereum_node"].base_url, "which anybody may see"
    assert {name for name in plain if plain[name] != vendors[name]} == {"coinmarketcap", "pendle", "ethereum_node"}
    assert adjusted(plain, {}) == plain


def test_an_override_of_a_pace_by_the_minute_replaces_one_by_the_second() -> None:
    settings = adjusted(default_vendors({}), {"etherscan": VendorOverride(per_minute=300)})["etherscan"]
    assert (settings.max_calls, settings.per_seconds, settings.per_day) == (300, 60.0, 100_000)


def test_every_override_is_a_setting_that_the_vendor_has() -> None:
    names = {field.name for field in fields(default_vendors({})["fred"])}
    assert set(VendorOverride.model_fields) - {"per_minute"} <= names


def test_an_unknown_vendor_is_named_with_those_that_there_are() -> None:
    with pytest.raises(
        ConfigurationError, match=r"DEFIYIELD_VENDORS names defilama; the vendors are alpha_vantage, coingecko, .*slack"
    ):
        adjusted(default_vendors({}), {"defilama": VendorOverride(per_minute=1)})


def test_one_server_speaks_for_all_vendors_below_their_hosts() -> None:
    vendors = served_by("http://127.0.0.1:8765/", default_vendors({"fred": "k"}, node_url=NODE))
    addresses = {name: settings.base_url.removeprefix("http://127.0.0.1:8765/") for name, settings in vendors.items()}
    assert addresses["defillama_yields"] == "yields.llama.fi"
    assert addresses["etherscan"] == "api.etherscan.io/v2"
    assert addresses["coingecko"] == "api.coingecko.com/api/v3"
    assert addresses["pendle"] == "api-v2.pendle.finance/core"
    assert addresses["ethereum_node"] == "ethereum-rpc.simulated"
    assert vendors["ethereum_node"].secret_url is None, "the node too"
    keys = {name: settings.api_key for name, settings in vendors.items() if settings.api_key}
    assert keys == {"fred": SERVED_KEY, "ethplorer": ETHPLORER_FREE_KEY}, "no real key leaves the installation"


def test_without_pacing_changes_nothing_but_the_limits() -> None:
    vendors = default_vendors({})
    quick = without_pacing(vendors)
    assert all(settings.max_calls / settings.per_seconds >= 1_000_000 for settings in quick.values())
    assert {len(account_of(settings).limits) for settings in quick.values()} == {1}
    assert {s.base_url for s in quick.values()} == {s.base_url for s in vendors.values()}
