"""The one table of chains, and that only ETH counts in dollars without being on a list."""

from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from defiyield_assets.domain.chains import CHAINS, chain_name, is_native_trusted, name_or_none
from defiyield_assets.domain.ledger.valuation import Prices
from defiyield_assets.domain.policy import Parameters, Policy, Token
from defiyield_assets.errors import ConfigurationError
from defiyield_assets_tests.domain.ledger.facts import START, USDC


def test_names_and_coins_are_those_of_the_chains() -> None:
    told = {chain.chain_id: (chain.name, chain.native_symbol) for chain in CHAINS.values()}
    assert told == {
        1: ("Ethereum", "ETH"),
        10: ("Optimism", "ETH"),
        56: ("BSC", "BNB"),
        100: ("Gnosis", "XDAI"),
        137: ("Polygon", "POL"),
        8453: ("Base", "ETH"),
        42161: ("Arbitrum", "ETH"),
        43114: ("Avalanche", "AVAX"),
        534352: ("Scroll", "ETH"),
    }
    assert {chain.native_decimals for chain in CHAINS.values()} == {18}


@pytest.mark.recorded
def test_chains_are_spelled_as_the_vendor_spells_them(recorded_data: Path) -> None:
    pools = pd.read_json(recorded_data / "yields/defillama_pools_api_shape_stables151_2026-03-02.json")
    by_letters = {row["chain"].lower(): row["chain"] for row in pools["data"]}
    common = [chain.name for chain in CHAINS.values() if chain.name.lower() in by_letters]
    assert len(common) >= 4
    assert [by_letters[name.lower()] for name in common] == common


def test_an_unknown_chain_has_no_name_and_no_trusted_coin() -> None:
    assert (name_or_none(4242), is_native_trusted(4242)) == (None, False)
    with pytest.raises(ConfigurationError, match="chain id 4242"):
        chain_name(4242)


@pytest.mark.parametrize(
    ("chain_id", "symbol"), [(1, "ETH"), (10, "ETH"), (8453, "ETH"), (42161, "ETH"), (534352, "ETH")]
)
def test_eth_counts_on_every_chain_where_it_is_the_coin(chain_id: int, symbol: str) -> None:
    prices = Prices.of(Policy(Parameters(), (), ()), pd.DataFrame(columns=["instrument_id", "date", "close"]), ETH)
    assert (prices.is_trusted(chain_id, "native"), prices.symbol(chain_id, "native")) == (True, symbol)
    assert prices.value(chain_id, "native", 10**18, START) == Decimal(2_000)


@pytest.mark.parametrize("chain_id", [56, 100, 137, 43114, 4242])
def test_no_other_coin_is_taken_for_eth(chain_id: int) -> None:
    prices = Prices.of(Policy(Parameters(), (), ()), pd.DataFrame(columns=["instrument_id", "date", "close"]), ETH)
    assert (prices.is_trusted(chain_id, "native"), prices.symbol(chain_id, "native")) == (False, None)
    assert (prices.value(chain_id, "native", 10**18, START), prices.decimals(chain_id, "native", 6)) == (0, 18)


def test_a_token_is_approved_on_its_own_chain_only() -> None:
    token = Token("USDC", "Base", USDC, 6, "Circle")
    bars = pd.DataFrame([(token.instrument_id, START, 1.0)], columns=["instrument_id", "date", "close"])
    prices = Prices.of(Policy(Parameters(), (token,), ()), bars, ETH)
    assert [prices.is_trusted(chain_id, USDC) for chain_id in (8453, 1, 4242)] == [True, False, False]
    assert prices.value(8453, USDC, 5 * 10**6, START) == Decimal(5)


ETH = {START: Decimal(2_000)}
