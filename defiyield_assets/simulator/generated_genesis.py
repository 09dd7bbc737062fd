"""How the treasury of the generated market came to what it holds: funding, deposits, spam, a failure.

Lives here: the genesis transactions. Not here: the pools (generated_catalogue.py) or the chain's rules (chain.py).
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from defiyield_assets.domain.canonical import stable_address
from defiyield_assets.domain.policy import Wallet
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.simulator import chain_transactions as tx
from defiyield_assets.simulator.blocks import SLOT_SECONDS
from defiyield_assets.simulator.chain_records import CHAIN_ID, ChainPool, ChainWorld, Transaction
from defiyield_assets.simulator.market import GWEI, at_hour, investable_wallet, token_named

FUNDING_LEAD = timedelta(days=45)
"""How long before the demo day the treasury was funded and invested: on one day, so that no plan comes in between."""
GENESIS_GAS_PRICE_WEI = 5 * GWEI
HELD: tuple[tuple[str, Mapping[str, int]], ...] = (
    ("aave-v3/USDC", {"USDC": 260_000}),
    ("morpho-v1/STEAKUSDC", {"USDC": 210_000}),
    ("sparklend/USDT", {"USDT": 140_000}),
    ("curve-dex/USDC-USDT", {"USDC": 75_000, "USDT": 75_000}),
    ("aave-v2/DAI", {"DAI": 90_000}),
    ("must exit", {"USDC": 110_000}),
)
"""Positions in whole tokens; `must exit` is in a protocol that is not approved, aave-v2/DAI yields too little."""
_FUNDING = {"USDC": 820_000, "USDT": 300_000, "DAI": 150_000}
_REBASING, _COLD_REBASING, _WARM_REBASING = "USDM", 25_000, 40
"""A rebasing token: in the reserve, which no plan touches, and too little in the other wallet to be worth a step."""
_COLD_USDC, _SENT_TO_WARM_USDC = 350_000, 60_000
_WARM_WEI, _COLD_WEI, _REFUND_WEI = 25 * 10**17, 5 * 10**17, 10**16


def cold_wallet(wallets: Sequence[Wallet]) -> Wallet:
    """The first reserve wallet of chain 1."""
    for wallet in wallets:
        if not wallet.investable and wallet.chain_id == CHAIN_ID:
            return wallet
    raise ConfigurationError(
        f"accounts.yaml: the simulated market needs a wallet of chain {CHAIN_ID} that is not investable"
    )


class _Clock:
    """Block after block from an instant on."""

    def __init__(self, start: datetime) -> None:
        self._next = start

    def __call__(self) -> datetime:
        now = self._next
        self._next += timedelta(seconds=SLOT_SECONDS)
        return now


def generated_genesis(
    demo_day: date, wallets: Sequence[Wallet], world: ChainWorld, pools: Mapping[str, ChainPool]
) -> list[Transaction]:
    """The treasury's history before the demo day. `pools`: the pools of `HELD` by name; missing ones are not bought."""
    warm, cold = investable_wallet(wallets).address.lower(), cold_wallet(wallets).address.lower()
    tokens = list(world.tokens.values())
    usdc = token_named(tokens, "USDC")
    founded = demo_day - FUNDING_LEAD
    clock = _Clock(at_hour(founded, 9))
    sent = [
        tx.send_ether(clock(), tx.OUTSIDE, warm, _WARM_WEI),
        tx.send_ether(clock(), tx.OUTSIDE, cold, _COLD_WEI),
        tx.send_tokens(clock(), tx.OUTSIDE, cold, (usdc, _COLD_USDC * 10**usdc.decimals)),
    ]
    for symbol, amount in _FUNDING.items():
        token = token_named(tokens, symbol)
        sent.append(tx.send_tokens(clock(), tx.OUTSIDE, warm, (token, amount * 10**token.decimals)))
    for token in (token for token in tokens if token.symbol == _REBASING and token.rebasing):
        for receiver, amount in ((cold, _COLD_REBASING), (warm, _WARM_REBASING)):
            sent.append(tx.send_tokens(clock(), tx.OUTSIDE, receiver, (token, amount * 10**token.decimals)))
    value = _SENT_TO_WARM_USDC * 10**usdc.decimals
    sent.append(tx.send_tokens(clock(), cold, warm, (usdc, value), GENESIS_GAS_PRICE_WEI))
    for name, amounts in HELD:
        if name in pools:
            sent += _buy(clock, warm, pools[name], amounts, world)
    failed_in = stable_address("contract", "reverts")
    return [
        *sent,
        tx.failed_call(clock(), warm, failed_in, world.gas_units.vault_in, GENESIS_GAS_PRICE_WEI),
        tx.refund_ether(at_hour(demo_day - timedelta(days=20), 14), warm, _REFUND_WEI),
        tx.airdrop_spoof(at_hour(demo_day - timedelta(days=3), 16), warm, usdc, 1_000_000 * 10**usdc.decimals),
    ]


def _buy(
    clock: _Clock, wallet: str, pool: ChainPool, amounts: Mapping[str, int], world: ChainWorld
) -> list[Transaction]:
    tokens = [token_named(list(world.tokens.values()), symbol) for symbol in amounts]
    units = {token.address: amounts[token.symbol] * 10**token.decimals for token in tokens}
    shares = tx.minted_shares(pool, units, world, held=0, position={})
    approvals = [tx.approve(clock(), wallet, token, world.gas_units.approve, GENESIS_GAS_PRICE_WEI) for token in tokens]
    bought = tx.deposit(
        clock(), wallet, pool, amounts=units, shares=shares, world=world, gas_price_wei=GENESIS_GAS_PRICE_WEI
    )
    return [*approvals, bought]
