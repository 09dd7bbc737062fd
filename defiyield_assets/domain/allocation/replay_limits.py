"""Whether the holdings that a replay ends with respect every cap and minimum of the policy.

Lives here: the limits of allocation.md, written a second time in exact fractions. Not here: the optimiser's bounds
(limits.py), which this module must not read.
"""

from collections.abc import Callable
from fractions import Fraction

from defiyield_assets.domain.allocation.replay_facts import Facts, PoolFacts, exact


class LimitCheck:
    """Compares holdings before and after a plan with the limits; `errors` collects the breaches in words."""

    def __init__(self, facts: Facts, positions: dict[str, dict[str, int]], touched: dict[str, set[str]]) -> None:
        self.facts = facts
        self.touched = touched
        self.aum = facts.aum
        self.before = {pool: facts.total(held) for pool, held in facts.positions.items()}
        self.amounts = {pool: held for pool, held in positions.items() if any(held.values())}
        self.after = {pool: facts.total(held) for pool, held in self.amounts.items()}
        self.errors: list[str] = []

    def run(self, idle: Fraction) -> list[str]:
        """All limits; `idle` is the value left in the wallet, without what is on its way there."""
        for pool_id in sorted({*self.before, *self.after}):
            self._pool(self.facts.pools[pool_id])
        self._shared()
        self._minimum_pools()
        share = exact(self.facts.parameters.idle_buffer_share)
        beyond = sum((self._beyond_reach(self.facts.pools[pool]) for pool in self.before), Fraction(0))
        if share > 0 and idle < min(share * self.aum, self.aum - beyond) - self._margin():
            self.errors.append(
                f"idle buffer: {float(idle):.2f} USD are idle, {float(share * self.aum):.2f} are required"
            )
        return self.errors

    def _beyond_reach(self, pool: PoolFacts) -> Fraction:
        """What of a position cannot be in the wallet today: what is stuck, and all of what takes days to leave."""
        return self.before[pool.pool_id] if pool.exit_days > 0 else self.stuck(pool)

    def stuck(self, pool: PoolFacts) -> Fraction:
        """What cannot be withdrawn of the position that we had: worthless, no known APY, or not enough liquidity."""
        held = self.before.get(pool.pool_id, Fraction(0))
        if not pool.must_exit and (not pool.has_apy or held < self._margin()):
            return held
        if pool.liquid is None or pool.liquid >= held:
            return Fraction(0)
        # less than a minimum transaction is not worth taking out, the whole rest counts as stuck
        smallest = self.facts.worth_moving + self._margin()
        return held if pool.liquid < smallest else held - pool.liquid

    def _margin(self) -> Fraction:
        """Room that plans keep to every limit for rounding: a cent, 1e-8 of AUM or eight base units.

        Here it is the tolerance on stuck rests, which are a vendor's float, and the value below which nothing is moved.
        """
        unit = max((self.facts.value(token, 1) for token in self._tokens()), default=Fraction(0))
        return max(Fraction(1, 100), self.aum / 10**8, 8 * unit)

    def _tokens(self) -> set[str]:
        held = {token for amounts in (*self.facts.positions.values(), *self.amounts.values()) for token in amounts}
        usable = {token for pool in self.facts.pools.values() if pool.may_grow for token in pool.tokens}
        return {token for token in held | usable | set(self.facts.balances) if token in self.facts.prices}

    def _cap(self, pool: PoolFacts) -> Fraction:
        cap = exact(self.facts.parameters.max_pool_share) * self.aum
        return cap if pool.size is None else min(cap, exact(self.facts.parameters.max_pool_tvl_share) * pool.size)

    def _fail(self, pool: PoolFacts, what: str) -> None:
        self.errors.append(f"pool {pool.pool_id}: {what}")

    def _pool(self, pool: PoolFacts) -> None:
        before, after = (values.get(pool.pool_id, Fraction(0)) for values in (self.before, self.after))
        stuck, cap = self.stuck(pool), self._cap(pool)
        rest = stuck + self._margin() if stuck else Fraction(0)
        touched = self.touched.get(pool.pool_id, set())
        held = self.facts.positions.get(pool.pool_id, {})
        grown = any(amount > held.get(token, 0) for token, amount in self.amounts.get(pool.pool_id, {}).items())
        if grown and not pool.may_grow:
            self._fail(pool, "grows, but may only be kept or left")
        if pool.must_exit and after > rest:
            self._fail(pool, f"must be left, but {float(after):.2f} USD stay")
        if not pool.must_exit and after > max(cap, rest):
            self._fail(pool, f"{float(after):.2f} USD are above the cap of {float(cap):.2f} USD")
        if grown and pool.liquid is not None:
            exit_cap = exact(self.facts.parameters.exit_share) * pool.liquid
            if after > max(before, exit_cap):
                self._fail(pool, f"{float(after):.2f} USD are more than exit_share of what can be withdrawn")
        if pool.liquid is not None and "WITHDRAW" in touched and before - after > pool.liquid:
            self._fail(pool, "more is withdrawn than the pool can pay out")
        if not pool.has_apy and not pool.must_exit and touched & {"WITHDRAW", "DEPOSIT"}:
            self._fail(pool, "is touched although no APY is known")
        smallest = exact(self.facts.parameters.min_position_share) * self.aum
        if touched & {"WITHDRAW", "DEPOSIT"} and rest < after < smallest:
            self._fail(pool, f"{float(after):.2f} USD are below the smallest position of {float(smallest):.2f} USD")
        least = exact(self.facts.parameters.min_transaction_usd)
        if touched & {"WITHDRAW", "DEPOSIT"} and after > rest and abs(after - before) < least:
            self._fail(pool, f"a transaction of {float(abs(after - before)):.2f} USD is below the minimum")

    def _shared(self) -> None:
        parameters = self.facts.parameters
        pools = [self.facts.pools[pool] for pool in {*self.before, *self.after}]
        for protocol in {pool.protocol for pool in pools}:
            share = exact(parameters.max_protocol_share)
            self._whole(f"protocol {protocol}", share, lambda pool, name=protocol: pool.protocol == name)  # type: ignore[misc]
        for chain in {pool.chain for pool in pools}:
            share = exact(parameters.max_chain_share)
            self._whole(f"chain {chain}", share, lambda pool, name=chain: pool.chain == name)  # type: ignore[misc]
        self._whole("illiquid positions", exact(parameters.max_illiquid_share), lambda pool: pool.exit_days > 0)
        for group, most in enumerate(parameters.max_group_share if parameters.group_caps else (), start=1):
            self._whole(f"group {group}", exact(most), lambda pool, number=group: pool.group == number)  # type: ignore[misc]
        for issuer in {self.facts.issuer(token) for pool in self.amounts.values() for token in pool}:
            self._issuer(issuer, exact(parameters.max_token_share))

    def _issuer(self, issuer: str, share: Fraction) -> None:
        self._capped(f"issuer {issuer}", share, lambda _, token: self.facts.issuer(token) == issuer)

    def _whole(self, name: str, share: Fraction, is_member: Callable[[PoolFacts], bool]) -> None:
        self._capped(name, share, lambda pool, _: is_member(pool))

    def _capped(self, name: str, share: Fraction, counts: Callable[[PoolFacts, str], bool]) -> None:
        """Σ of what counts ≤ max(cap, what is stuck in it)."""
        facts = self.facts
        used = sum(
            (
                facts.value(token, amount)
                for pool, held in self.amounts.items()
                for token, amount in held.items()
                if counts(facts.pools[pool], token)
            ),
            Fraction(0),
        )
        stuck = Fraction(0)
        for pool, held in facts.positions.items():
            own = sum(
                (facts.value(t, amount) for t, amount in held.items() if counts(facts.pools[pool], t)), Fraction(0)
            )
            stuck += own * self.stuck(facts.pools[pool]) / self.before[pool] if self.before[pool] else 0
        cap = share * self.aum
        if used > max(cap, stuck + self._margin() if stuck else Fraction(0)):
            self.errors.append(f"{name}: {float(used):.2f} USD are above the cap of {float(cap):.2f} USD")

    def _minimum_pools(self) -> None:
        """Counts only when something is deposited: keeping and leaving is always allowed."""
        parameters = self.facts.parameters
        smallest = exact(parameters.min_position_share) * self.aum
        used = sum(value >= smallest for value in self.after.values())
        if any("DEPOSIT" in kinds for kinds in self.touched.values()) and used < parameters.min_pools:
            self.errors.append(f"min_pools: {used} positions of proper size, {parameters.min_pools} are required")
