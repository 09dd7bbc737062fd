"""Where cells lead: only to pages that exist, only by ids that look like ids, and nowhere from a simulated market."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from defiyield_assets.domain.reporting.content import build_content
from defiyield_assets.domain.reporting.inputs import Names, ReportInputs
from defiyield_assets.domain.reporting.layout import Content, Link
from defiyield_assets.domain.reporting.links import pool_url, token_url, transaction_url, wallet_url
from defiyield_assets_tests.domain.reporting.conftest import DAI, POOL_A, USDC, WARM, frame, unexplained

Days = Callable[..., ReportInputs]
HASH = "0x" + "7e" * 32


def links(content: Content) -> dict[str, str]:
    """Words of each linked cell, with their address."""
    tables = [table for section in content.sections for table in section.tables]
    cells = [cell for table in tables for row in table.rows for cell in row]
    return {str(cell): cell.url for cell in cells if isinstance(cell, Link)}


@pytest.mark.parametrize(
    ("market", "has_pools", "has_chain"),
    [("live", True, True), ("recorded", True, False), ("simulated", False, False), ("", False, False)],
)
def test_what_a_market_can_be_looked_at_with(market: str, has_pools: bool, has_chain: bool) -> None:
    assert bool(pool_url(market, POOL_A)) is has_pools
    assert bool(token_url(market, USDC)) is has_pools
    assert bool(wallet_url(market, WARM)) is has_chain
    assert bool(transaction_url(market, HASH)) is has_chain


def test_the_pages() -> None:
    assert pool_url("live", POOL_A) == f"https://defillama.com/yields/pool/{POOL_A}"
    assert token_url("live", USDC) == f"https://etherscan.io/token/{USDC}"
    assert wallet_url("live", WARM) == f"https://etherscan.io/address/{WARM}"
    assert transaction_url("live", HASH) == f"https://etherscan.io/tx/{HASH}"


@pytest.mark.parametrize(
    "hostile",
    [
        "../../evil",
        f"{POOL_A}?next=https://evil.example",
        f"{POOL_A}\n",
        f"{USDC}/../../x",
        POOL_A.upper(),
        "native",
        "",
        None,
        float("nan"),
        7,
    ],
)
def test_what_is_no_id_leads_nowhere(hostile: object) -> None:
    assert (pool_url("live", hostile), token_url("live", hostile)) == ("", "")
    assert (wallet_url("live", hostile), transaction_url("live", hostile)) == ("", "")


def test_a_live_report_leads_to_pools_tokens_wallets_and_transactions(day_with: Days) -> None:
    rows = (unexplained(), unexplained(tx_hash="0x" + "5a" * 32, chain_id=42161))
    inputs = day_with(market="live", unexplained_transactions=frame("unexplained_transactions", *rows))
    found = links(build_content(inputs))
    assert found["warm"] == f"https://etherscan.io/address/{WARM}"
    assert found[DAI] == f"https://etherscan.io/token/{DAI}", "the barred token"
    assert found[HASH] == f"https://etherscan.io/tx/{HASH}"
    assert "0x" + "5a" * 32 not in found, "the explorer knows Ethereum only"
    assert f"https://defillama.com/yields/pool/{POOL_A}" in found.values()
    assert any(words.endswith(" (all shares)") for words in found), "the pool that is left"


def test_a_simulated_report_leads_nowhere(day_with: Days) -> None:
    rows = frame("unexplained_transactions", unexplained())
    assert links(build_content(day_with(market="simulated", unexplained_transactions=rows))) == {}


def test_links_change_no_word(day_with: Days) -> None:
    live = build_content(day_with(market="live"))
    simulated = build_content(day_with(market="simulated"))
    assert replace(live, provenance=()) == replace(simulated, provenance=())


def test_a_token_of_another_chain_is_not_looked_up_on_ethereum() -> None:
    names = Names({}, {}, {}, "live")
    assert isinstance(names.token_link(USDC), Link)
    assert not isinstance(names.token_link(USDC, chain="Arbitrum"), Link)
