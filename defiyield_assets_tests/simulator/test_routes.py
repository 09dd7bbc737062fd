"""Routers between wallet and pool, and steps that revert the first time: wealth does not care, gas does."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from defiyield_assets.domain.days import end_of
from defiyield_assets.simulator import chain_answers
from defiyield_assets.simulator.chain_records import NATIVE, ROUTER, ZERO_ADDRESS, PlanRejected
from defiyield_assets_tests.simulator.small_chain import (
    DAI,
    DAY,
    FOUNDED,
    GAS_PRICE,
    MILLION,
    USDC,
    VAULTS,
    WARM,
    convert,
    deposit,
    execute,
    open_chain,
    told,
    withdraw,
)

TOMORROW = DAY + timedelta(days=1)
IN, OUT = 180_000, 200_000
APPROVE = 50_000


@pytest.mark.parametrize("is_routed_out", [False, True], ids=["out directly", "out through the router"])
@pytest.mark.parametrize("is_routed_in", [False, True], ids=["in directly", "in through the router"])
def test_a_route_changes_neither_wealth_nor_gas(tmp_path: Path, *, is_routed_in: bool, is_routed_out: bool) -> None:
    chain, pool = open_chain(tmp_path), VAULTS[is_routed_in, is_routed_out]
    assert execute(chain, deposit(pool, 10**9)).n_transactions == 2
    held = chain.positions(TOMORROW)[WARM, pool.pool_id, USDC.address]
    assert told(chain, TOMORROW)[pool.share_token] == 10**9 * 10**12
    assert execute(chain, withdraw(pool, held, full=True), after=1).n_transactions == 1
    balances = chain.balances(WARM, end_of(TOMORROW + timedelta(days=1)))
    assert pool.share_token not in balances
    assert balances[USDC.address] == MILLION - 10**9 + held
    assert balances[NATIVE] == 10**18 - (APPROVE + IN + OUT) * GAS_PRICE
    for address in (ROUTER, ZERO_ADDRESS):
        left = chain.balances(address, end_of(TOMORROW + timedelta(days=1)))
        assert USDC.address not in left
        assert pool.share_token not in left, "nothing stays on the way"


def test_the_router_stands_between_wallet_and_pool_in_one_transaction(tmp_path: Path) -> None:
    chain, pool = open_chain(tmp_path), VAULTS[True, True]
    execute(chain, deposit(pool, 5))
    held = chain.positions(TOMORROW)[WARM, pool.pool_id, USDC.address]
    execute(chain, withdraw(pool, held, full=True), after=1)
    bought, sold = (chain.transactions(end_of(DAY + timedelta(days=days)))[-1] for days in (1, 2))
    assert (bought.receiver, sold.receiver) == (ROUTER, ROUTER)
    assert [(t.token, t.sender, t.receiver, t.value) for t in bought.transfers] == [
        (USDC.address, WARM, ROUTER, 5),
        (USDC.address, ROUTER, pool.contract, 5),
        (pool.share_token, ZERO_ADDRESS, ROUTER, 5 * 10**12),
        (pool.share_token, ROUTER, WARM, 5 * 10**12),
    ]
    assert [(t.token, t.sender, t.receiver, t.value) for t in sold.transfers] == [
        (pool.share_token, WARM, ROUTER, 5 * 10**12),
        (pool.share_token, ROUTER, ZERO_ADDRESS, 5 * 10**12),
        (USDC.address, pool.contract, ROUTER, held),
        (USDC.address, ROUTER, WARM, held),
    ]
    asked = {"module": "account", "action": "tokentx", "address": WARM}
    rows = chain_answers.etherscan(chain, end_of(TOMORROW), asked)["result"]
    assert [(row["from"], row["to"]) for row in rows if row["hash"] == bought.hash] == [(WARM, ROUTER), (ROUTER, WARM)]


def test_every_kind_of_route_is_taken_by_some_vaults() -> None:
    assert {(pool.is_routed_in, pool.is_routed_out) for pool in VAULTS.values()} == set(VAULTS)
    lender = replace(VAULTS[True, True], role="lend")
    assert (lender.is_routed_in, lender.is_routed_out) == (False, False)


def test_a_step_that_reverts_burns_its_gas_and_is_sent_again(tmp_path: Path) -> None:
    chain, pool = open_chain(tmp_path, reverts_one_in=1), VAULTS[False, False]
    receipt = execute(chain, convert(USDC, 10**9, DAI, 999 * 10**18), deposit(pool, 10**9))
    assert receipt.n_transactions == 6, "two approvals never revert, a swap and a deposit do"
    sent = chain.transactions(end_of(TOMORROW))[-6:]
    assert [one.is_success for one in sent] == [True, False, True, True, False, True]
    assert [one.block - sent[0].block for one in sent] == list(range(6)), "one block each"
    assert len({one.hash for one in sent}) == 6
    for failed, again in zip(sent[1::3], sent[2::3], strict=True):
        assert (failed.function, failed.fee_wei, failed.receiver) == (again.function, again.fee_wei, again.receiver)
        assert (failed.transfers, failed.position_changes, failed.value) == ((), (), 0)
    balances = chain.balances(WARM, end_of(TOMORROW))
    assert balances[NATIVE] == 10**18 - (2 * APPROVE + 2 * 180_000 + 2 * IN) * GAS_PRICE
    assert (balances[USDC.address], balances[DAI.address]) == (MILLION - 2 * 10**9, 999 * 10**18)


def test_nothing_reverts_where_ether_would_not_last_for_the_plan(tmp_path: Path) -> None:
    needed = (APPROVE + IN) * GAS_PRICE
    for ether, expected in ((needed, 2), (needed + IN * GAS_PRICE - 1, 2), (needed + IN * GAS_PRICE, 3)):
        folder = tmp_path / str(ether)
        chain = open_chain(folder, reverts_one_in=1, ether=ether)
        assert execute(chain, deposit(VAULTS[False, False], 5)).n_transactions == expected
    chain = open_chain(tmp_path / "short", reverts_one_in=1, ether=needed - 1)
    with pytest.raises(PlanRejected, match="short of 1 wei"):
        execute(chain, deposit(VAULTS[False, False], 5))


def test_the_same_plan_reverts_in_the_same_places(tmp_path: Path) -> None:
    steps = [deposit(VAULTS[False, False], 10**6 + number) for number in range(60)]
    chains = [open_chain(tmp_path / name, reverts_one_in=9) for name in ("one", "two")]
    counts = [execute(chain, *steps).n_transactions for chain in chains]
    hashes = [[one.hash for one in chain.transactions(end_of(TOMORROW))] for chain in chains]
    assert hashes[0] == hashes[1]
    assert 121 <= counts[0] == counts[1] <= 140, "some of sixty revert"
    assert FOUNDED < chains[0].transactions(end_of(TOMORROW))[-1].time < end_of(TOMORROW)
