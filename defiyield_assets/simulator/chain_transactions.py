"""How each kind of transaction looks on the simulated chain: approvals, deposits, withdrawals, swaps, funding, spam.

Lives here: pure builders. Not here: which transactions a plan needs and whether it can pay for them (chain_plan.py).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from defiyield_assets.domain.canonical import stable_address
from defiyield_assets.domain.policy import Token
from defiyield_assets.simulator.chain_records import (
    ROUTER,
    SHARE_DECIMALS,
    ZERO_ADDRESS,
    ChainPool,
    ChainWorld,
    InternalTransfer,
    PositionChange,
    TokenTransfer,
    Transaction,
)

TOKEN_TRANSFER_GAS = 65_000
ETHER_TRANSFER_GAS = 21_000
OUTSIDE = stable_address("wallet", "outside")
"""Where the treasury's capital comes from."""
OUTSIDE_GAS_PRICE_WEI = 10**9

APPROVE = "approve(address spender, uint256 value)"
TRANSFER = "transfer(address to, uint256 value)"
DEPOSIT = "deposit(uint256 assets, address receiver)"
WITHDRAW = "withdraw(uint256 assets, address receiver, address owner)"
SWAP = "swap(address tokenIn, address tokenOut, uint256 amountIn, uint256 minAmountOut)"


def scaled_to_shares(amount: int, decimals: int) -> int:
    """An underlying amount in 18 decimals, rounded down."""
    if decimals <= SHARE_DECIMALS:
        factor: int = 10 ** (SHARE_DECIMALS - decimals)
        return amount * factor
    scale: int = 10 ** (decimals - SHARE_DECIMALS)
    return amount // scale


def scaled(amounts: Mapping[str, int], world: ChainWorld) -> int:
    """Underlying amounts by token as one number of 18 decimals: all tokens count alike."""
    return sum(scaled_to_shares(value, world.tokens[token].decimals) for token, value in amounts.items())


def minted_shares(
    pool: ChainPool, amounts: Mapping[str, int], world: ChainWorld, *, held: int, position: Mapping[str, int]
) -> int:
    """Shares for a deposit beside `held` shares of an underlying `position`: at the position's rate, rounded down."""
    if pool.is_rebasing:
        return sum(amounts.values())
    added, worth = scaled(amounts, world), scaled(position, world)
    return max(1, added * held // worth) if held > 0 and worth > 0 else added


def burnt_shares(
    pool: ChainPool, amounts: Mapping[str, int], world: ChainWorld, *, held: int, position: Mapping[str, int]
) -> int:
    """Shares for a withdrawal out of the position: all for all of it, else rounded up, so that a partial withdrawal
    never leaves more shares than the rest is worth.
    """
    if pool.is_rebasing:
        return sum(amounts.values())
    if amounts == position:
        return held
    return min(held, -(-held * scaled(amounts, world) // max(1, scaled(position, world))))


def move(token: Token, sender: str, receiver: str, value: int) -> TokenTransfer:
    """A transfer of one of our tokens."""
    return TokenTransfer(token.address, sender, receiver, value, token.decimals, token.symbol, token.symbol)


def move_shares(pool: ChainPool, sender: str, receiver: str, value: int) -> TokenTransfer:
    """A transfer of a pool's share token (mint from, burn to the zero address)."""
    symbol = f"{'a' if pool.is_rebasing else 'sh'}{pool.label or pool.pool_id[:8]}"
    return TokenTransfer(
        pool.share_token, sender, receiver, value, pool.share_decimals, symbol, f"Shares of pool {pool.pool_id}"
    )


def _along(sender: str, receiver: str, *, is_routed: bool) -> tuple[tuple[str, str], ...]:
    """The hops from one address to another."""
    return ((sender, ROUTER), (ROUTER, receiver)) if is_routed else ((sender, receiver),)


def approve(time: datetime, wallet: str, token: Token, gas_used: int, gas_price_wei: int) -> Transaction:
    """Permission for a pool or the router to take a token; costs gas only."""
    return Transaction(time, wallet, token.address, APPROVE, gas_used, gas_price_wei)


def deposit(
    time: datetime,
    wallet: str,
    pool: ChainPool,
    *,
    amounts: Mapping[str, int],
    shares: int,
    world: ChainWorld,
    gas_price_wei: int,
) -> Transaction:
    """One transaction: every underlying goes to the pool, the shares are minted to the wallet; or both through the
    router.
    """
    paid = _along(wallet, pool.contract, is_routed=pool.is_routed_in)
    minted = _along(ZERO_ADDRESS, wallet, is_routed=pool.is_routed_in)
    return Transaction(
        time,
        wallet,
        ROUTER if pool.is_routed_in else pool.contract,
        DEPOSIT,
        world.gas_in(pool),
        gas_price_wei,
        transfers=(
            *(move(world.tokens[token], *hop, value) for token, value in amounts.items() for hop in paid),
            *(move_shares(pool, *hop, shares) for hop in minted),
        ),
        position_changes=tuple(PositionChange(wallet, pool.pool_id, token, value) for token, value in amounts.items()),
    )


def withdraw(
    time: datetime,
    wallet: str,
    pool: ChainPool,
    *,
    amounts: Mapping[str, int],
    shares: int,
    world: ChainWorld,
    gas_price_wei: int,
) -> Transaction:
    """One transaction: the shares are burnt, every underlying comes back to the wallet; or both through the router."""
    burnt = _along(wallet, ZERO_ADDRESS, is_routed=pool.is_routed_out)
    paid = _along(pool.contract, wallet, is_routed=pool.is_routed_out)
    return Transaction(
        time,
        wallet,
        ROUTER if pool.is_routed_out else pool.contract,
        WITHDRAW,
        world.gas_out(pool),
        gas_price_wei,
        transfers=(
            *(move_shares(pool, *hop, shares) for hop in burnt),
            *(move(world.tokens[token], *hop, value) for token, value in amounts.items() for hop in paid),
        ),
        position_changes=tuple(PositionChange(wallet, pool.pool_id, token, -value) for token, value in amounts.items()),
    )


def swap(
    time: datetime,
    wallet: str,
    sold: tuple[Token, int],
    bought: tuple[Token, int],
    *,
    gas_used: int,
    gas_price_wei: int,
) -> Transaction:
    """One transaction through the router: one token out, another in."""
    transfers = (move(sold[0], wallet, ROUTER, sold[1]), move(bought[0], ROUTER, wallet, bought[1]))
    return Transaction(time, wallet, ROUTER, SWAP, gas_used, gas_price_wei, transfers=transfers)


def send_tokens(
    time: datetime,
    sender: str,
    receiver: str,
    sent: tuple[Token, int],
    gas_price_wei: int = OUTSIDE_GAS_PRICE_WEI,
) -> Transaction:
    """A plain token transfer: capital from outside, or from one wallet to another."""
    token, value = sent
    transfers = (move(token, sender, receiver, value),)
    return Transaction(time, sender, token.address, TRANSFER, TOKEN_TRANSFER_GAS, gas_price_wei, transfers=transfers)


def send_ether(time: datetime, sender: str, receiver: str, value: int) -> Transaction:
    """A plain ETH transfer; value in wei."""
    return Transaction(time, sender, receiver, "", ETHER_TRANSFER_GAS, OUTSIDE_GAS_PRICE_WEI, value=value)


def refund_ether(time: datetime, receiver: str, value: int) -> Transaction:
    """ETH that a contract sends on somebody else's call: visible as an internal transfer only; value in wei."""
    contract = stable_address("contract", "refunds")
    internals = (InternalTransfer(contract, receiver, value),)
    return Transaction(
        time, OUTSIDE, contract, "refund(address to)", 60_000, OUTSIDE_GAS_PRICE_WEI, internals=internals
    )


def airdrop_spoof(time: datetime, receiver: str, imitated: Token, value: int) -> Transaction:
    """A worthless token that claims to be another one, sent unasked; its name is hostile on purpose."""
    token = stable_address("token", f"spoof of {imitated.symbol}")
    transfer = TokenTransfer(
        token,
        stable_address("wallet", "spammer"),
        receiver,
        value,
        imitated.decimals,
        imitated.symbol,
        "<b>USD Coin</b> =HYPERLINK(claim.example.invalid)",
    )
    return Transaction(
        time, transfer.sender, token, "airdrop(address[] to)", 90_000, OUTSIDE_GAS_PRICE_WEI, transfers=(transfer,)
    )


def reverted(transaction: Transaction) -> Transaction:
    """The same call at the same instant, reverted: it burns its gas and moves nothing."""
    return replace(transaction, is_success=False, value=0, transfers=(), internals=(), position_changes=())


def failed_call(time: datetime, wallet: str, contract: str, gas_used: int, gas_price_wei: int) -> Transaction:
    """A reverted call of the wallet: gas and nothing else."""
    return Transaction(time, wallet, contract, DEPOSIT, gas_used, gas_price_wei, is_success=False)
