"""Calls of share tokens at the simulated node: vaults answer by ERC-4626 what the chain holds, to the unit.

Not here: blocks and fees of that node (test_second_sources.py), the client (sources/test_erc4626.py).
"""

from datetime import date, timedelta
from typing import Any

import pytest

from defiyield_assets.domain.days import end_of
from defiyield_assets.domain.ledger.rates import accrue
from defiyield_assets.simulator.blocks import block_at
from defiyield_assets.simulator.chain_records import ChainPool
from defiyield_assets.simulator.generated import DEMO_DAY, GeneratedMarket
from defiyield_assets_tests.simulator.test_second_sources import rpc

REVERTED = 3
NEXT = DEMO_DAY + timedelta(days=1)


def last_block(day: date) -> int:
    return block_at(end_of(day)) - 1


def call(market: GeneratedMarket, to: str, data: str, block: int, day: date = NEXT, **more: str) -> dict[str, Any]:
    answer: dict[str, Any] = rpc(market, day, "eth_call", {"to": to, "data": data, **more}, hex(block))
    return answer


def assets(market: GeneratedMarket, pool: ChainPool, shares: int, block: int, **more: str) -> int:
    return int(call(market, pool.share_token, f"0x07a2d13a{shares:064x}", block, **more)["result"], 16)


def vaults(market: GeneratedMarket) -> list[tuple[str, ChainPool, int]]:
    """(wallet, pool, shares at the end of the demo day) of every position in a pool with one token."""
    chain = market.chain
    held = {(wallet, pool_id) for wallet, pool_id, _ in chain.positions(DEMO_DAY)}
    pools = [(wallet, chain.world.pools[pool_id]) for wallet, pool_id in sorted(held)]
    return [
        (wallet, pool, chain.balances(wallet, end_of(DEMO_DAY))[pool.share_token])
        for wallet, pool in pools
        if len(pool.tokens) == 1 and not pool.is_rebasing
    ]


def test_all_shares_of_a_wallet_are_its_position_at_the_end_of_the_day(generated: GeneratedMarket) -> None:
    asked = vaults(generated)
    assert asked
    for wallet, pool, shares in asked:
        for day in (DEMO_DAY, NEXT):
            worth = assets(generated, pool, shares, last_block(day), **{"from": wallet})
            assert worth == generated.chain.positions(day)[wallet, pool.pool_id, pool.tokens[0]]


def test_the_yield_of_a_day_is_in_its_last_block(generated: GeneratedMarket) -> None:
    wallet, pool, shares = vaults(generated)[0]
    before, grown = (assets(generated, pool, shares, last_block(NEXT) - back, **{"from": wallet}) for back in (1, 0))
    assert before == generated.chain.positions(DEMO_DAY)[wallet, pool.pool_id, pool.tokens[0]]
    apy = generated.chain._apy_on(pool.pool_id, NEXT)
    assert grown == accrue(before, apy or 0.0)


def test_other_shares_stand_for_their_part(generated: GeneratedMarket) -> None:
    wallet, pool, shares = vaults(generated)[0]
    whole = assets(generated, pool, shares, last_block(DEMO_DAY), **{"from": wallet})
    assert abs(assets(generated, pool, shares // 3, last_block(DEMO_DAY)) - whole // 3) <= 1
    empty = next(
        pool
        for pool in generated.chain.world.pools.values()
        if len(pool.tokens) == 1
        and not pool.is_rebasing
        and pool.pool_id not in {p.pool_id for _, p, _ in vaults(generated)}
    )
    one = 10 ** generated.chain.world.tokens[empty.tokens[0]].decimals
    assert assets(generated, empty, 10**empty.share_decimals, last_block(DEMO_DAY)) == one


def test_a_vault_names_its_token(generated: GeneratedMarket) -> None:
    _, pool, _ = vaults(generated)[0]
    answer = call(generated, pool.share_token, "0x38d52e0f", last_block(DEMO_DAY))
    assert answer["result"] == "0x" + "0" * 24 + pool.tokens[0][2:]


def test_everything_else_reverts(generated: GeneratedMarket) -> None:
    world, block = generated.chain.world, last_block(DEMO_DAY)
    pair = next(pool for pool in world.pools.values() if len(pool.tokens) > 1)
    rebasing = next(pool for pool in world.pools.values() if pool.is_rebasing)
    _, vault, _ = vaults(generated)[0]
    for to, data in (
        (pair.share_token, "0x38d52e0f"),
        (rebasing.share_token, "0x38d52e0f"),
        (vault.contract, "0x38d52e0f"),
        (vault.share_token, "0x07a2d13a"),
        (vault.share_token, "0x12345678"),
        (vault.share_token, ""),
    ):
        assert call(generated, to, data, block)["error"]["code"] == REVERTED


def test_blocks_that_are_not_there_have_no_state(generated: GeneratedMarket) -> None:
    _, pool, _ = vaults(generated)[0]
    newest = int(rpc(generated, DEMO_DAY, "eth_blockNumber")["result"], 16)
    for block in (newest + 1, 5):
        assert call(generated, pool.share_token, "0x38d52e0f", block, DEMO_DAY)["error"]["code"] == -32000
    assert rpc(generated, DEMO_DAY, "eth_call", {"to": pool.share_token})["error"]["code"] == -32602


@pytest.mark.parametrize("back", [0, 1])
def test_an_answer_about_a_block_never_changes(generated: GeneratedMarket, back: int) -> None:
    wallet, pool, shares = vaults(generated)[0]
    told = {
        str(
            call(
                generated,
                pool.share_token,
                f"0x07a2d13a{shares:064x}",
                last_block(DEMO_DAY) - back,
                day,
                **{"from": wallet},
            )
        )
        for day in (DEMO_DAY, NEXT, DEMO_DAY + timedelta(days=9))
    }
    assert len(told) == 1
