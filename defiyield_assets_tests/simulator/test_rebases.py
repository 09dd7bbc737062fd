"""Balances of rebasing tokens and shares grow on the chain without a transfer, to the unit."""

from datetime import timedelta
from pathlib import Path

import pytest

from defiyield_assets.domain.days import end_of, start_of
from defiyield_assets.domain.ledger.rates import accrue
from defiyield_assets.simulator import chain_answers
from defiyield_assets.simulator.chain_records import PlanRejected
from defiyield_assets_tests.simulator.small_chain import (
    AAVE,
    APY,
    COLD,
    DAY,
    FOUNDED,
    MILLION,
    REBASE_APY,
    USDC,
    USDM,
    VAULTS,
    WARM,
    convert,
    deposit,
    execute,
    open_chain,
    told,
    transferred,
    withdraw,
)

POSITION = (WARM, AAVE.pool_id, USDC.address)


def test_a_rebasing_token_grows_at_every_midnight_in_every_wallet(tmp_path: Path) -> None:
    chain = open_chain(tmp_path)
    for wallet, start in ((WARM, 5_000 * 10**18 + 1), (COLD, 10**6 + 3)):
        expected = start
        for offset in range(400):
            day = FOUNDED.date() + timedelta(days=offset)
            assert chain.balances(wallet, end_of(day) - timedelta(seconds=1))[USDM.address] == expected
            expected = accrue(expected, REBASE_APY)
            assert chain.balances(wallet, end_of(day))[USDM.address] == expected
            assert told(chain, day, wallet)[USDM.address] == expected
        assert transferred(chain, day, USDM.address, wallet) == start, "no transfer tells of it"


def test_rebasing_shares_are_the_underlying_in_its_decimals(tmp_path: Path) -> None:
    chain = open_chain(tmp_path)
    assert (AAVE.share_decimals, AAVE.is_rebasing) == (6, True)
    execute(chain, deposit(AAVE, 10**9 + 7))
    expected = 10**9 + 7
    for after in range(1, 60):
        day = DAY + timedelta(days=after)
        assert chain.balances(WARM, start_of(day) + timedelta(hours=23))[AAVE.share_token] == expected
        expected = accrue(expected, APY)
        assert told(chain, day)[AAVE.share_token] == chain.positions(day)[POSITION] == expected
    assert transferred(chain, day, AAVE.share_token) == 10**9 + 7
    (token,) = [
        one["tokenInfo"]
        for one in chain_answers.address_info(chain, end_of(day), WARM, {}, None)["tokens"]
        if one["tokenInfo"]["address"] == AAVE.share_token
    ]
    assert token["decimals"] == "6"


def test_rebasing_shares_are_minted_and_burnt_one_for_one_at_any_time(tmp_path: Path) -> None:
    chain = open_chain(tmp_path)
    execute(chain, deposit(AAVE, 10**9))
    for after in range(1, 20):
        execute(chain, deposit(AAVE, 1_000_003), withdraw(AAVE, 999_999), after=after)
    day = DAY + timedelta(days=20)
    held = chain.positions(day)[POSITION]
    assert transferred(chain, day, AAVE.share_token) == 10**9 + 19 * 4
    assert told(chain, day)[AAVE.share_token] == held > 10**9 + 19 * 4
    execute(chain, withdraw(AAVE, held, full=True), after=20)
    after_exit = told(chain, day + timedelta(days=1))
    assert AAVE.share_token not in after_exit
    assert transferred(chain, day + timedelta(days=1), AAVE.share_token) < 0, "more was burnt than was ever minted"
    assert after_exit[USDC.address] == MILLION - 10**9 - 19 * 4 + held


def test_what_has_grown_can_be_spent_and_not_a_unit_more(tmp_path: Path) -> None:
    chain = open_chain(tmp_path)
    held = told(chain, DAY)[USDM.address]
    assert held > 5_000 * 10**18 + 1
    with pytest.raises(PlanRejected, match=f"needs {held + 1} base units of USDM, the wallet has {held}"):
        execute(chain, convert(USDM, held + 1, USDC, 5_000 * 10**6))
    execute(chain, convert(USDM, held - 10**18, USDC, 4_998 * 10**6))
    tomorrow = DAY + timedelta(days=1)
    assert told(chain, tomorrow)[USDM.address] == accrue(10**18, REBASE_APY), "the rest goes on growing"
    execute(chain, convert(USDC, 10**6, USDM, 10**18 - 5), after=1)
    grown = accrue(accrue(10**18, REBASE_APY) + 10**18 - 5, REBASE_APY)
    assert told(chain, tomorrow + timedelta(days=1))[USDM.address] == grown


def test_other_shares_and_tokens_stand_still(tmp_path: Path) -> None:
    chain = open_chain(tmp_path)
    pool = VAULTS[False, False]
    execute(chain, deposit(pool, 10**9))
    last = DAY + timedelta(days=90)
    assert told(chain, last)[pool.share_token] == transferred(chain, last, pool.share_token) == 10**9 * 10**12
    assert told(chain, last)[USDC.address] == MILLION - 10**9


def test_a_chain_that_is_read_again_has_grown_the_same(tmp_path: Path) -> None:
    chain = open_chain(tmp_path)
    execute(chain, deposit(AAVE, 10**9), convert(USDM, 10**18, USDC, 10**6))
    for after in (1, 9, 4, 30):
        day = DAY + timedelta(days=after)
        again = open_chain(tmp_path)
        assert again.balances(WARM, end_of(day)) == chain.balances(WARM, end_of(day))
        assert again.positions(day) == chain.positions(day)
    chain.reset(DAY)
    assert told(chain, DAY + timedelta(days=9)).keys() == {USDC.address, USDM.address}
