"""What a plan depends on, as frozen data: what the wallet holds, what the pools offer, what gas costs.

Lives here: the dataclasses of the problem and exact money. Not here: reading the day's tables (problem.py), bounds and
caps (limits.py), returns (gains.py), the model (model.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Context, Decimal, Inexact
from functools import cached_property, reduce
from typing import Any

from defiyield_assets.domain.allocation.utilisation import UtilisationCurve
from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.domain.policy import Parameters

EXACT = Context(prec=400, traps=[Inexact])
"""Decimal context for money: products and sums of finite decimals are exact, and anything else raises."""


def exact_sum(values: Iterable[Decimal]) -> Decimal:
    """Sum without rounding."""
    return reduce(EXACT.add, values, Decimal(0))


@dataclass(frozen=True)
class TokenHolding:
    """A token that the plan may touch: its price and what the investable wallet holds of it (base units)."""

    address: str
    symbol: str
    decimals: int
    price: Decimal
    balance: int
    issuer: str
    is_buyable: bool
    is_price_assumed: bool
    slippage: Decimal = Decimal(0)
    """Extra part lost per USD converted on either side of a swap (1/USD): v USD after u USD lose k·((u+v)² - u²)."""

    def value(self, amount: int) -> Decimal:
        """Exact USD value of an amount of base units."""
        return EXACT.scaleb(EXACT.multiply(Decimal(amount), self.price), -self.decimals)


@dataclass(frozen=True)
class PoolOption:
    """A pool that may be entered, kept or left. Rates are fractions, `amounts` base units per token of `tokens`.

    `listed` names all its tokens with their decimals; `tokens` is empty when the plan can do nothing with the pool.
    `reserve_shares`: value share of each token in a deposit, equal shares when empty. What is withdrawn where
    `exit_days` > 0 is on its way for so long: nothing of it can be spent today. `curve` tells how the base APY of a
    lending pool follows from supply and borrow; without one it falls pro rata. `exit_reason`: why it must be left, in
    the words of the final filter; empty where it need not be. Words change no plan: they are no part of its hash.
    """

    pool_id: str
    chain: str
    protocol: str
    role: str
    listed: tuple[tuple[str, int], ...]
    tokens: tuple[str, ...]
    amounts: tuple[int, ...]
    apy: float
    reward_share: float
    size_usd: float | None
    withdrawable_usd: float | None
    pool_group: int
    exit_days: int
    can_grow: bool
    is_must_exit: bool
    is_frozen: bool
    blocked: str
    reserve_shares: tuple[float, ...] = ()
    supply_usd: float | None = None
    borrow_usd: float | None = None
    curve: UtilisationCurve | None = None
    exit_reason: str = field(default="", compare=False)

    @property
    def is_held(self) -> bool:
        """We have a position in it."""
        return any(self.amounts)

    @property
    def is_queued(self) -> bool:
        """What leaves it is not there today."""
        return self.exit_days > 0

    @property
    def deposit_shares(self) -> tuple[float, ...]:
        """Value share of each token of a deposit."""
        return self.reserve_shares or tuple(1.0 / len(self.tokens) for _ in self.tokens)


@dataclass(frozen=True)
class AllocationProblem:
    """Everything that the plan of one day and one wallet depends on. Prices and fees are those of the day."""

    day: date
    chain: str
    wallet: str
    parameters: Parameters
    tokens: tuple[TokenHolding, ...]
    pools: tuple[PoolOption, ...]
    gas_price_wei: int
    gas_price_p90_wei: int
    eth_price_usd: Decimal
    eth_balance_wei: int
    policy_hash: str
    allowances: tuple[tuple[str, str, float], ...] = ()
    """Single limits made wider to see what they are worth: parameter, subject, USD. Never part of a published plan."""

    def allowance(self, parameter: str, subject: str) -> float:
        """USD by which one limit is wider than the policy says."""
        return sum(usd for *limit, usd in self.allowances if limit == [parameter, subject])

    @cached_property
    def token(self) -> dict[str, TokenHolding]:
        """Tokens by address."""
        return {token.address: token for token in self.tokens}

    @cached_property
    def position_usd(self) -> dict[str, float]:
        """Value of our position per pool."""
        return {pool.pool_id: float(exact_sum(self.leg_values(pool))) for pool in self.pools}

    @cached_property
    def aum_usd(self) -> Decimal:
        """Investable capital: dollar tokens of the wallet and its positions; ETH is not part of it."""
        wallet = [token.value(token.balance) for token in self.tokens]
        return exact_sum(wallet + [value for pool in self.pools for value in self.leg_values(pool)])

    @cached_property
    def input_hash(self) -> str:
        """SHA-256 over everything but the policy."""
        facts = [self.tokens, self.pools, self.gas_price_wei, self.gas_price_p90_wei, self.eth_price_usd]
        return content_hash([self.day, self.chain, self.wallet, *map(_plain, facts), self.eth_balance_wei])

    @property
    def run_id(self) -> str:
        """`<date>-<policy hash 8>-<input hash 8>`."""
        return f"{self.day.isoformat()}-{self.policy_hash[:8]}-{self.input_hash[:8]}"

    def leg_values(self, pool: PoolOption) -> list[Decimal]:
        """Value of each token leg of our position in a pool."""
        return [self.token[address].value(amount) for address, amount in zip(pool.tokens, pool.amounts, strict=True)]

    def leg_shares(self, pool: PoolOption) -> list[float]:
        """Share of each token in our position (what a withdrawal returns); equal shares where there is none."""
        values = [float(value) for value in self.leg_values(pool)]
        total = sum(values)
        return [value / total for value in values] if total > 0 else [1 / len(values)] * len(values)

    def deposit_gas(self, pool: PoolOption) -> int:
        """Gas units of a deposit: one approval per token and the deposit itself."""
        units = self.parameters.gas_units
        by_role = {"lend": units.lend_in, "vault": units.vault_in, "staking": units.vault_in, "liquidity": units.lp_in}
        return by_role[pool.role] + units.approve * len(pool.tokens)

    def withdraw_gas(self, pool: PoolOption) -> int:
        """Gas units of a withdrawal; a held pool without a role counts as the dearest of them."""
        units = self.parameters.gas_units
        by_role = {"lend": units.lend_out, "vault": units.vault_out, "staking": units.vault_out}
        dearest = max(units.lend_out, units.vault_out, units.lp_out)
        return by_role.get(pool.role, units.lp_out if pool.role == "liquidity" else dearest)

    @property
    def swap_gas(self) -> int:
        """Gas units of a direct swap with its approval."""
        return self.parameters.gas_units.swap + self.parameters.gas_units.approve

    def gas_usd(self, units: int) -> Decimal:
        """Expected cost of gas units, exact."""
        return EXACT.scaleb(EXACT.multiply(Decimal(units * self.gas_price_wei), self.eth_price_usd), -18)


def _plain(value: Any) -> Any:
    """Hashable-by-JSON form: dataclasses to the fields by which they compare, tuples kept."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: getattr(value, name) for name, one in value.__dataclass_fields__.items() if one.compare}
    return value
