"""A small chain with a rebasing token, rebasing shares and routed vaults, for tests of what happens on it.

Lives here: its world, its genesis, plans and two views of its balances. Not here: what is expected (test_rebases.py,
test_routes.py).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count, product
from pathlib import Path
from typing import Any

from defiyield_assets.domain.days import market_stamp
from defiyield_assets.domain.policy import Token
from defiyield_assets.simulator import chain_answers
from defiyield_assets.simulator import chain_transactions as tx
from defiyield_assets.simulator.chain import SimulatedChain
from defiyield_assets.simulator.chain_records import ChainPool, ChainWorld, ExecutionReceipt, pool_on_chain
from defiyield_assets_tests.simulator.asking import plan

USDC = Token("USDC", "Ethereum", "0x" + "a" * 40, 6, "Circle")
DAI = Token("DAI", "Ethereum", "0x" + "b" * 40, 18, "Sky")
USDM = Token("USDM", "Ethereum", "0x" + "c" * 40, 18, "Mountain", rebasing=True)
WARM, COLD = "0x" + "1" * 40, "0x" + "2" * 40


def vault(*, is_routed_in: bool, is_routed_out: bool) -> ChainPool:
    """A vault of USDC whose deposits and withdrawals go that way."""
    candidates = (pool_on_chain(f"vault{number}", "vault", [USDC], "VAULT", "morpho-v1") for number in count())
    return next(one for one in candidates if (one.is_routed_in, one.is_routed_out) == (is_routed_in, is_routed_out))


WAYS = tuple(product((False, True), repeat=2))
AAVE = pool_on_chain("aave-usdc", "lend", [USDC], "USDC", "aave-v3")
VAULTS = {(way_in, way_out): vault(is_routed_in=way_in, is_routed_out=way_out) for way_in, way_out in WAYS}
WORLD = ChainWorld(
    wallets=frozenset({WARM, COLD}),
    tokens={token.address: token for token in (USDC, DAI, USDM)},
    pools={pool.pool_id: pool for pool in (AAVE, *VAULTS.values())},
)
DAY = date(2025, 6, 3)
FOUNDED = datetime(2025, 6, 1, 9, tzinfo=UTC)
GAS_PRICE = 2 * 10**9
MILLION = 10**6 * 10**6
APY, REBASE_APY = 0.07, 0.05


def open_chain(folder: Path, *, reverts_one_in: int = 0, ether: int = 10**18) -> SimulatedChain:
    """The chain in the folder: 1,000,000 USDC and 5,000 USDM in one wallet, 3 base units of USDM in the other."""
    genesis = [
        tx.send_ether(FOUNDED, tx.OUTSIDE, WARM, ether),
        tx.send_tokens(FOUNDED + timedelta(seconds=12), tx.OUTSIDE, WARM, (USDC, MILLION)),
        tx.send_tokens(FOUNDED + timedelta(seconds=24), tx.OUTSIDE, WARM, (USDM, 5_000 * 10**18 + 1)),
        tx.send_tokens(FOUNDED + timedelta(seconds=36), tx.OUTSIDE, COLD, (USDM, 10**6 + 3)),
    ]
    return SimulatedChain(
        folder / "chain.sqlite",
        genesis=genesis,
        world=replace(WORLD, reverts_one_in=reverts_one_in),
        apy_on=lambda _pool, _day: APY,
        token_apy_on=lambda _token, _day: REBASE_APY,
    )


def execute(chain: SimulatedChain, *steps: dict[str, Any], after: int = 0) -> ExecutionReceipt:
    """Execute steps as the plan of so many days after `DAY`."""
    day = DAY + timedelta(days=after)
    return chain.execute_plan(day, f"run {after}", plan(*steps, day=day, wallet=WARM), gas_price_wei=GAS_PRICE)


def deposit(pool: ChainPool, amount: int) -> dict[str, Any]:
    """A step into a pool of USDC."""
    return {"step_type": "DEPOSIT", "pool_id": pool.pool_id, "token_in": USDC.address, "amount_in": amount}


def withdraw(pool: ChainPool, amount: int, *, full: bool = False) -> dict[str, Any]:
    """A step out of a pool of USDC."""
    step = {"step_type": "WITHDRAW", "pool_id": pool.pool_id, "token_out": USDC.address, "amount_out": amount}
    return step | {"is_full_exit": full}


def convert(sold: Token, amount: int, bought: Token, received: int) -> dict[str, Any]:
    """A step from one token to another."""
    amounts = {"amount_in": amount, "amount_out": received}
    return {"step_type": "CONVERT", "token_in": sold.address, "token_out": bought.address, **amounts}


def told(chain: SimulatedChain, day: date, wallet: str = WARM) -> Mapping[str, int]:
    """Base units by token that `getAddressInfo` tells of partition `day`."""
    info = chain_answers.address_info(chain, market_stamp(day), wallet, {}, None)
    return {token["tokenInfo"]["address"]: int(token["rawBalance"]) for token in info["tokens"]}


def transferred(chain: SimulatedChain, day: date, token: str, wallet: str = WARM) -> int:
    """Base units of a token by the transfers that `tokentx` tells of partition `day`."""
    asked = {"module": "account", "action": "tokentx", "address": wallet, "contractaddress": token}
    rows = chain_answers.etherscan(chain, market_stamp(day), asked)["result"]
    return sum(int(row["value"]) * ((row["to"] == wallet) - (row["from"] == wallet)) for row in rows)
