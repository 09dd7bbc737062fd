"""How much each pool may hold, take and give, and what pools share: bounds as tight as they are reachable.

Lives here: per-pool bounds with exit liquidity, shared caps with what is stuck in them. Not here: the model (model.py),
and not the check of the finished plan, which replay.py writes again from the specification without this module.
Caps on issuers count what is in pools: idle cash is free to wait in any trusted token, so that a treasury that starts
with one token is never forced to convert. A token of a pool counts by its value; a deposit splits equally over tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from defiyield_assets.domain.allocation.facts import AllocationProblem, PoolOption


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
    """A cap over several pools: Σ held·share_held − withdrawn·share_held + deposited·share_new ≤ limit (USD)."""

    name: str
    limit: float
    held: dict[str, float]
    new: dict[str, float]


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

    @cached_property
    def min_transaction(self) -> float:
        """Smallest deposit, partial withdrawal and conversion."""
        return 0.0 if self.is_relaxed else self.problem.parameters.min_transaction_usd + self.margin

    @cached_property
    def pools(self) -> dict[str, PoolLimits]:
        """Bounds per pool id."""
        return {pool.pool_id: self._pool(pool) for pool in self.problem.pools}

    def cap(self, pool: PoolOption) -> tuple[float, str]:
        """The pool's cap C in USD and its name."""
        parameters = self.problem.parameters
        caps = [(parameters.max_pool_share * self.aum, f"pool cap of {parameters.max_pool_share:.0%} of AUM")]
        if pool.size_usd is not None:
            caps.append(
                (
                    parameters.max_pool_tvl_share * pool.size_usd,
                    f"{parameters.max_pool_tvl_share:.0%} of the pool's size",
                )
            )
        return min(caps)

    def _pool(self, pool: PoolOption) -> PoolLimits:
        held = self.problem.position_usd[pool.pool_id]
        cap, name = self.cap(pool)
        liquid = pool.withdrawable_usd
        # a billionth less than the vendor says, so that rounding never asks for more than can be paid out
        exit_ = 0.0 if pool.is_frozen else held if liquid is None or liquid >= held else liquid * (1.0 - 1e-9)
        is_worthless = held < self.margin and not pool.is_must_exit
        if is_worthless or (exit_ < held and exit_ < self.min_transaction):
            exit_ = 0.0
        if pool.is_must_exit:
            upper, name = held - exit_, "must be left"
        elif held > cap:
            upper = max(cap - self.margin, held - exit_)
        else:
            upper = max(cap - self.margin, held)
            exit_cap = float("inf") if liquid is None else self.problem.parameters.exit_share * liquid
            if max(held, exit_cap - self.margin) < upper:
                upper, name = (
                    max(held, exit_cap - self.margin),
                    f"{self.problem.parameters.exit_share:.0%} of what can be withdrawn",
                )
        if not pool.can_grow:
            upper = min(upper, held)
        # what the wallet and all other positions could bring is as much as can ever arrive here
        room = min(upper - held, self.aum * (1.0 - self.problem.parameters.idle_buffer_share) - held)
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
        )

    @cached_property
    def idle_buffer(self) -> float:
        """USD that must stay idle, as far as what is stuck in pools allows."""
        share = self.problem.parameters.idle_buffer_share
        if share <= 0:
            return 0.0
        idle = sum(float(token.value(token.balance)) for token in self.problem.tokens)
        wanted = share * self.aum
        wanted = min(wanted + self.margin, idle) if idle >= wanted else wanted + self.margin
        reachable = self.aum - sum(limit.stuck for limit in self.pools.values()) - self.give
        return max(0.0, min(wanted, reachable))

    @cached_property
    def shared(self) -> list[SharedLimit]:
        """Every cap that several pools share, in force order: protocol, issuer, chain, illiquid, group."""
        parameters = self.problem.parameters
        pools = self.problem.pools
        found: list[SharedLimit] = []

        def whole(name: str, share: float, is_member: Callable[[PoolOption], bool]) -> None:
            members = {pool.pool_id: 1.0 for pool in pools if pool.tokens and is_member(pool)}
            found.append(self._shared(f"{name} cap of {share:.0%} of AUM", share, members, members))

        for protocol in sorted({pool.protocol for pool in pools}):
            whole(f"protocol {protocol}", parameters.max_protocol_share, lambda pool, p=protocol: pool.protocol == p)  # type: ignore[misc]
        issuers = sorted({token.issuer for token in self.problem.tokens})
        found.extend(self._issuer(issuer, parameters.max_token_share) for issuer in issuers)
        for chain in sorted({pool.chain for pool in pools}):
            whole(f"chain {chain}", parameters.max_chain_share, lambda pool, c=chain: pool.chain == c)  # type: ignore[misc]
        whole("illiquid positions", parameters.max_illiquid_share, lambda pool: pool.exit_days > 0)
        if parameters.group_caps:
            for group, share in enumerate(parameters.max_group_share, start=1):
                whole(f"risk group {group}", share, lambda pool, g=group: pool.pool_group == g)  # type: ignore[misc]
        return found

    def _issuer(self, issuer: str, share: float) -> SharedLimit:
        held: dict[str, float] = {}
        new: dict[str, float] = {}
        for pool in self.problem.pools:
            own = [self.problem.token[token].issuer == issuer for token in pool.tokens]
            if any(own):
                shares = self.problem.leg_shares(pool)
                held[pool.pool_id] = sum(part for part, is_own in zip(shares, own, strict=True) if is_own)
                new[pool.pool_id] = sum(own) / len(own)
        return self._shared(f"issuer {issuer} cap of {share:.0%} of AUM", share, held, new)

    def _shared(self, name: str, share: float, held: dict[str, float], new: dict[str, float]) -> SharedLimit:
        cap = share * self.aum
        current = sum(self.pools[pool].held * part for pool, part in held.items())
        stuck = sum(self.pools[pool].stuck * part for pool, part in held.items())
        limit = cap - self.margin if current > cap else max(cap - self.margin, current)
        return SharedLimit(name, max(limit, stuck + self.give, self.give), held, new)
