"""How much each pool may hold, take and give, and what pools share: bounds as tight as they are reachable.

Lives here: per-pool bounds with exit liquidity, shared caps with what is stuck in them. Not here: the model (model.py),
and not the check of the finished plan, which replay.py writes again from the specification without this module.
Caps on issuers count what is in pools: idle cash is free to wait in any trusted token, so that a treasury that starts
with one token is never forced to convert. A token of a pool counts by its value, in a deposit by its share.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from defiyield_assets.domain.allocation.facts import AllocationProblem, PoolOption
from defiyield_assets.domain.allocation.gains import pool_gain


@dataclass(frozen=True)
class PoolLimits:
    """Bounds of one pool in USD. `exit` is what leaving it pays out today; the rest of the position is stuck."""

    held: float
    upper: float
    exit: float
    deposit_min: float
    deposit_max: float
    part_min: float
    part_max: float
    counts_when_kept: bool
    cap_name: str
    parameter: str
    """The policy's parameter that sets `upper`; empty when none does."""

    @property
    def stuck(self) -> float:
        """What stays in the pool even when we leave."""
        return self.held - self.exit

    @property
    def can_deposit(self) -> bool:
        """A deposit that respects all minimum sizes fits under the cap."""
        return self.deposit_max > 0 and self.deposit_max >= self.deposit_min

    @property
    def can_exit(self) -> bool:
        """Something can be taken out."""
        return self.exit > 0

    @property
    def can_part(self) -> bool:
        """A withdrawal that leaves a position of proper size is possible."""
        reaches_cap = self.held - self.part_max <= self.upper or self.held <= self.upper
        return self.part_max > 0 and self.part_max >= self.part_min and reaches_cap

    @property
    def is_exit_forced(self) -> bool:
        """Nothing but leaving brings the position under its cap."""
        return self.can_exit and self.held > self.upper and not self.can_part

    @property
    def is_idle(self) -> bool:
        """Nothing is held and nothing may be deposited: the pool has no place in the model."""
        return self.held <= 0 and not self.can_deposit


@dataclass(frozen=True)
class SharedLimit:
    """A cap over several pools: Σ held·share_held − withdrawn·share_held + deposited·share_new ≤ limit (USD).

    `is_all`: its share of AUM is 1 and what leaves one pool makes no room for another.
    """

    name: str
    limit: float
    held: dict[str, float]
    new: dict[str, float]
    parameter: str
    subject: str
    is_all: bool


@dataclass(frozen=True)
class Limits:
    """All bounds of a problem."""

    problem: AllocationProblem
    is_relaxed: bool = False

    @cached_property
    def aum(self) -> float:
        """Capital as a float, for the solver only."""
        return float(self.problem.aum_usd)

    @cached_property
    def margin(self) -> float:
        """Room (USD) that keeps caps and minima valid after rounding to base units and within solver tolerances."""
        unit = max((float(token.value(1)) for token in self.problem.tokens), default=0.0)
        return max(0.01, 1e-8 * self.aum, 8.0 * unit)

    @cached_property
    def give(self) -> float:
        """Slack of limits that only leaving everything meets: no flow is as small as this, but solvers round sums."""
        return self.margin / 4.0

    @cached_property
    def min_position(self) -> float:
        """Smallest position that a plan may leave after touching it; the relaxed model knows no minima."""
        return 0.0 if self.is_relaxed else self.problem.parameters.min_position_share * self.aum + self.margin

    def below(self, cap: float) -> float:
        """How far up to a cap a plan goes: a position right at it would be over it tomorrow and trimmed every day.

        A cap of all AUM needs no room: nothing grows out of it.
        """
        room = self.problem.parameters.cap_headroom if cap < self.aum else 0.0
        return cap * (1.0 - room) - self.margin

    @cached_property
    def min_transaction(self) -> float:
        """Smallest deposit, partial withdrawal and conversion."""
        return 0.0 if self.is_relaxed else self.problem.parameters.min_transaction_usd + self.margin

    @cached_property
    def _worth_moving(self) -> float:
        """Less than this of a position that cannot be left whole counts as stuck, in the relaxed model too."""
        return self.problem.parameters.min_transaction_usd + self.margin

    @cached_property
    def pool(self) -> dict[str, PoolOption]:
        """The pools by id."""
        return {pool.pool_id: pool for pool in self.problem.pools}

    @cached_property
    def pools(self) -> dict[str, PoolLimits]:
        """Bounds per pool id."""
        return {pool.pool_id: self._pool(pool) for pool in self.problem.pools}

    def cap(self, pool: PoolOption) -> tuple[float, str, str]:
        """The pool's cap C in USD, its name and the parameter that sets it."""
        share, part = self.problem.parameters.max_pool_share, self.problem.parameters.max_pool_tvl_share
        caps = [(share * self.aum, f"pool cap of {share:.0%} of AUM", "max_pool_share")]
        if pool.size_usd is not None:
            caps.append((part * pool.size_usd, f"{part:.0%} of the pool's size", "max_pool_tvl_share"))
        return min((usd + self.problem.allowance(limit, pool.pool_id), name, limit) for usd, name, limit in caps)

    def _pool(self, pool: PoolOption) -> PoolLimits:
        held = self.problem.position_usd[pool.pool_id]
        cap, name, parameter = self.cap(pool)
        liquid = pool.withdrawable_usd
        # a billionth less than the vendor says, so that rounding never asks for more than can be paid out
        exit_ = 0.0 if pool.is_frozen else held if liquid is None or liquid >= held else liquid * (1.0 - 1e-9)
        is_worthless = held < self.margin and not pool.is_must_exit
        if is_worthless or (exit_ < held and exit_ < self._worth_moving):
            exit_ = 0.0
        if pool.is_must_exit:
            upper, name, parameter = held - exit_, "must be left", ""
        elif held > cap:
            upper = max(self.below(cap), held - exit_)
        else:
            upper = max(self.below(cap), held)
            exit_cap = float("inf") if liquid is None else self.problem.parameters.exit_share * liquid
            exit_cap += self.problem.allowance("exit_share", pool.pool_id)
            if max(held, exit_cap - self.margin) < upper:
                upper, parameter = max(held, exit_cap - self.margin), "exit_share"
                name = f"{self.problem.parameters.exit_share:.0%} of what can be withdrawn"
        if not pool.can_grow:
            upper = min(upper, held)
        # what the wallet and all other positions could bring is as much as can ever arrive here
        room = min(upper - held, self.aum - self._wanted_idle - held)
        return PoolLimits(
            held=held,
            upper=upper,
            exit=exit_,
            deposit_min=max(self.min_transaction, self.min_position - held),
            deposit_max=room if pool.can_grow else 0.0,
            part_min=self.min_transaction,
            part_max=min(exit_, held - self.min_position) if not pool.is_must_exit else 0.0,
            counts_when_kept=held >= self.problem.parameters.min_position_share * self.aum and held > 0,
            cap_name=name,
            parameter=parameter,
        )

    @cached_property
    def _wanted_idle(self) -> float:
        share = self.problem.parameters.idle_buffer_share
        return max(0.0, share * self.aum - self.problem.allowance("idle_buffer_share", "plan"))

    @cached_property
    def idle_buffer(self) -> float:
        """USD that must stay idle, as far as what is stuck in pools allows."""
        share = self.problem.parameters.idle_buffer_share
        if share <= 0:
            return 0.0
        idle = sum(float(token.value(token.balance)) for token in self.problem.tokens)
        wanted = self._wanted_idle
        wanted = min(wanted + self.margin, idle) if idle >= wanted else wanted + self.margin
        reachable = self.aum - sum(self._out_of_reach(pool) for pool in self.problem.pools) - self.give
        return max(0.0, min(wanted, reachable))

    def _out_of_reach(self, pool: PoolOption) -> float:
        """What of a position cannot lie in the wallet today."""
        limit = self.pools[pool.pool_id]
        return limit.held if pool.is_queued else limit.stuck

    @cached_property
    def hold_gain(self) -> float:
        """What doing nothing earns over the horizon, in USD."""
        held = self.problem.position_usd
        return sum(
            pool_gain(pool, held[pool.pool_id], held[pool.pool_id], self.problem.parameters)
            for pool in self.problem.pools
        )

    def leaving_return(self, pool: PoolOption) -> float:
        """What a dollar that leaves the pool earns until the horizon: nothing on its way, then what all AUM earns now,
        or what the best pool with room would pay if that is less; nothing where no pool has room.

        What is at hand today is the model's to place: for it this is zero.
        """
        days = self.problem.parameters.horizon_days
        rest = max(0, days - pool.exit_days)
        if not pool.is_queued or self.aum <= 0:
            return 0.0
        other = next((earned for earned, name in self._returns_of_room if name != pool.pool_id), 0.0)
        later = min(self.hold_gain / self.aum, other)
        return float((1.0 + max(0.0, later)) ** (rest / days) - 1.0)

    @cached_property
    def _returns_of_room(self) -> list[tuple[float, str]]:
        """What a dollar earns over the horizon in the two best pools that are filled to their limits, best first."""
        found = []
        for pool in self.problem.pools:
            bounds = self.pools[pool.pool_id]
            if bounds.can_deposit:
                ends = (bounds.held, bounds.held + bounds.deposit_max)
                low, high = (pool_gain(pool, value, bounds.held, self.problem.parameters) for value in ends)
                found.append(((high - low) / bounds.deposit_max, pool.pool_id))
        return sorted(found, reverse=True)[:2]

    @cached_property
    def shared(self) -> list[SharedLimit]:
        """Every cap that several pools share, in force order: protocol, issuer, chain, illiquid, group."""
        parameters = self.problem.parameters
        pools = self.problem.pools
        found: list[SharedLimit] = []

        def whole(
            words: str, parameter: str, share: float, of: Callable[[PoolOption], object], subject: object
        ) -> None:
            members = {pool.pool_id: 1.0 for pool in pools if pool.tokens and of(pool) == subject}
            named = "illiquid" if subject is True else str(subject)
            name = f"{words.format(named)} cap of {share:.0%} of AUM"
            found.append(self._shared(name, share, members, members, parameter=parameter, subject=named))

        for protocol in sorted({pool.protocol for pool in pools}):
            share = parameters.max_protocol_share
            whole("protocol {}", "max_protocol_share", share, lambda pool: pool.protocol, protocol)
        issuers = sorted({token.issuer for token in self.problem.tokens})
        found.extend(self._issuer(issuer, parameters.max_token_share) for issuer in issuers)
        for chain in sorted({pool.chain for pool in pools}):
            whole("chain {}", "max_chain_share", parameters.max_chain_share, lambda pool: pool.chain, chain)
        share = parameters.max_illiquid_share
        whole("illiquid positions", "max_illiquid_share", share, lambda pool: pool.exit_days > 0, True)
        if parameters.group_caps:
            for group, share in enumerate(parameters.max_group_share, start=1):
                whole("risk group {}", "max_group_share", share, lambda pool: pool.pool_group, group)
        return found

    def _issuer(self, issuer: str, share: float) -> SharedLimit:
        held: dict[str, float] = {}
        new: dict[str, float] = {}
        for pool in self.problem.pools:
            own = [self.problem.token[token].issuer == issuer for token in pool.tokens]
            if any(own):
                shares = self.problem.leg_shares(pool)
                held[pool.pool_id] = sum(part for part, is_own in zip(shares, own, strict=True) if is_own)
                new[pool.pool_id] = sum(part for part, is_own in zip(pool.deposit_shares, own, strict=True) if is_own)
        name = f"issuer {issuer} cap of {share:.0%} of AUM"
        return self._shared(name, share, held, new, parameter="max_token_share", subject=issuer)

    def _shared(
        self, name: str, share: float, held: dict[str, float], new: dict[str, float], *, parameter: str, subject: str
    ) -> SharedLimit:
        cap = share * self.aum + self.problem.allowance(parameter, subject)
        current = sum(self.pools[pool].held * part for pool, part in held.items())
        stuck = sum(self.pools[pool].stuck * part for pool, part in held.items())
        limit = self.below(cap) if current > cap else max(self.below(cap), current)
        return SharedLimit(name, max(limit, stuck + self.give, self.give), held, new, parameter, subject, share >= 1.0)
