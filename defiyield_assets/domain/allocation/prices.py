"""What one more dollar is worth at the plan's decisions: shadow prices by pool, shared cap and token.

Lives here: reading the duals of the flows with fixed binaries, and what entering a pool would cost at these prices.
Not here: the linear program (solve.py), the words about it (reasons.py), the table of limits (limit_rows.py).
A price is the gain over the horizon in USD per USD of room, for the decisions as they are: which pools are used and
which tokens are sold or bought. At these decisions a price never promises too little for more room; other decisions may
make more of it, which is why the worth of the best limits is solved again (worth.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from defiyield_assets.domain.allocation.facts import PoolOption
from defiyield_assets.domain.allocation.gains import DAYS_PER_YEAR, pool_gain
from defiyield_assets.domain.allocation.limits import Limits, SharedLimit
from defiyield_assets.domain.allocation.steps import ExactPlan

ENTRY_SIZES = 8
"""Sizes at which an entry is tried, from the smallest to the largest possible one."""
PRICE_TINY = 1e-7
"""A price below this (USD over the horizon per USD of room) is none."""


@dataclass(frozen=True)
class Entry:
    """The best size for entering (or adding to) a pool at the plan's prices; USD, gains over the horizon.

    `added_usd`: what goes in. `gain_usd`: what it earns there. `lost_usd`: what the same money earns where the plan has
    it, own conversion included; `caps_usd`: what the room under shared caps earns now. `gas_usd`: of deposit and swap.
    """

    added_usd: float
    gain_usd: float
    lost_usd: float
    caps_usd: float
    gas_usd: float
    gas_units: int
    conversion_usd: float

    @property
    def cost_usd(self) -> float:
        """Gas and conversion."""
        return self.gas_usd + self.conversion_usd

    @property
    def profit_usd(self) -> float:
        """An upper bound on what the plan would gain with this pool in it, its other decisions unchanged."""
        return self.gain_usd - self.lost_usd - self.caps_usd - self.gas_usd


@dataclass(frozen=True)
class Prices:
    """Marginal worth at a plan's decisions. `rows` are the duals of `Flows.prices`; none are known when it is empty."""

    limits: Limits
    rows: Mapping[str, float] = field(repr=False)
    present: frozenset[str]
    """Tokens of which the plan has something to spend: what is less than the smallest transaction cannot be."""
    _entries: dict[str, Entry | None] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def are_known(self) -> bool:
        """There is a solved plan, and hysteresis does not bend its prices."""
        return bool(self.rows) and not any(
            price > 1e-9 for name, price in self.rows.items() if name.startswith(("hysteresis", "component"))
        )

    @cached_property
    def pools(self) -> dict[str, float]:
        """Room under the own limit of each pool, which stands in the model as a row and as bounds of the deposit.

        None is worth anything where all that there is fits in.
        """
        return {
            pool.pool_id: 0.0
            if is_loose(self.limits, self.limits.pools[pool.pool_id].upper)
            else self._sum(f"cap{index}", f"d{index}", f"d{index}_most")
            for index, pool in enumerate(self.limits.problem.pools)
        }

    @cached_property
    def least(self) -> dict[str, float]:
        """What a smaller smallest position would be worth, by pool."""
        pools = enumerate(self.limits.problem.pools)
        return {pool.pool_id: self._sum(f"d{index}_least") for index, pool in pools}

    @cached_property
    def shared(self) -> tuple[float, ...]:
        """Room under each shared cap, in their order; none is worth anything where all that there is fits under it."""
        return tuple(
            0.0 if is_loose(self.limits, shared.limit) else self._sum(f"shared{index}")
            for index, shared in enumerate(self.limits.shared)
        )

    @cached_property
    def dear(self) -> tuple[tuple[SharedLimit, float], ...]:
        """Shared caps whose room has a price, with it."""
        pairs = zip(self.limits.shared, self.shared, strict=True)
        return tuple((shared, price) for shared, price in pairs if price > PRICE_TINY)

    @property
    def idle_buffer(self) -> float:
        """A smaller idle buffer."""
        return self._sum("idle_buffer")

    @cached_property
    def tokens(self) -> dict[str, float]:
        """A dollar of each token in the wallet: as it is where there is some, otherwise bought with the cheapest."""
        problem, rate = self.limits.problem, self.limits.problem.parameters.conversion_rate
        own = {
            token.address: self._sum(f"idle{index}") + self.idle_buffer
            for index, token in enumerate(problem.tokens)
            if token.address in self.present
        }
        cheapest = min(own.values(), default=0.0)
        bought = (cheapest + rate) / (1.0 - rate)
        return {token.address: min(own.get(token.address, bought), bought) for token in problem.tokens}

    def _sum(self, *names: str) -> float:
        return sum(max(0.0, self.rows.get(name, 0.0)) for name in names)

    def dollar(self, pool: PoolOption) -> float:
        """What a dollar earns that would be split over the pool's tokens, over the horizon."""
        return sum(self.tokens[token] * share for token, share in zip(pool.tokens, pool.deposit_shares, strict=True))

    def caps(self, pool: PoolOption) -> float:
        """What room under the shared caps of a pool earns, per dollar put into it."""
        return sum(price * shared.new.get(pool.pool_id, 0.0) for shared, price in self.dear)

    def entry(self, pool: PoolOption) -> Entry | None:
        """The best of several sizes for a pool; None where nothing may be put in."""
        if pool.pool_id not in self._entries:
            self._entries[pool.pool_id] = self.entry_up_to(pool, float("inf"))
        return self._entries[pool.pool_id]

    def entry_up_to(self, pool: PoolOption, most: float) -> Entry | None:
        """The same with at most so many USD."""
        bounds, problem = self.limits.pools[pool.pool_id], self.limits.problem
        low, high = max(bounds.deposit_min, self.limits.margin), min(bounds.deposit_max, most)
        if not bounds.can_deposit or high < low:
            return None
        missing = [token for token in pool.tokens if token not in self.present]
        units = problem.deposit_gas(pool) + problem.swap_gas * len(missing)
        gas = 0.0 if self.limits.is_relaxed else float(problem.gas_usd(units))
        shares = dict(zip(pool.tokens, pool.deposit_shares, strict=True))
        converted = sum(shares[token] for token in missing)
        now = pool_gain(pool, bounds.held, bounds.held, problem.parameters)
        dollar, caps = self.dollar(pool), self.caps(pool)
        rate = problem.parameters.conversion_rate
        sizes = [low * (high / low) ** (step / ENTRY_SIZES) for step in range(ENTRY_SIZES + 1)]
        entries = [
            Entry(
                added_usd=size,
                gain_usd=pool_gain(pool, bounds.held + size, bounds.held, problem.parameters) - now,
                lost_usd=dollar * size,
                caps_usd=caps * size,
                gas_usd=gas,
                gas_units=units,
                conversion_usd=converted * size * rate / (1.0 - rate),
            )
            for size in sizes
        ]
        return max(entries, key=lambda entry: entry.profit_usd)

    def yearly(self, horizon: float) -> float:
        """A return over the horizon as an annual rate, compounded."""
        days = self.limits.problem.parameters.horizon_days
        return float(max(0.0, 1.0 + horizon) ** (DAYS_PER_YEAR / days) - 1.0)


def is_loose(limits: Limits, limit: float) -> bool:
    """Everything that there is fits under it."""
    return limit >= limits.aum - 4.0 * limits.margin


def prices_of(plan: ExactPlan, limits: Limits, rows: Mapping[str, float]) -> Prices:
    """The prices at a plan's decisions; `rows` are those of its flows."""
    arrived = {leg.token_out for step in plan.transactions for leg in step.legs if leg.token_out}
    least = max(limits.margin, limits.min_transaction)
    held = {token.address for token in plan.problem.tokens if float(token.value(token.balance)) >= least}
    return Prices(limits, rows, frozenset(held | arrived))
