"""Who decides in a backtest: the policy itself (filters, forecasts, optimiser), and the simple strategies beside it.

Lives here: from the tables of a day and what is held to exact steps. Not here: the accounts (treasury.py), the order
of days (engine.py), the forecasts that know the future (foresight.py). Simple strategies buy the same pools under the
same caps and pay the same costs; they only choose differently.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

import numpy as np
import pandas as pd

from defiyield_assets.domain.allocation.backtest.records import KnownDay
from defiyield_assets.domain.allocation.backtest.treasury import Prices, Treasury
from defiyield_assets.domain.allocation.facts import AllocationProblem, PoolOption
from defiyield_assets.domain.allocation.frames import STEP_COLUMNS, build_steps_frame
from defiyield_assets.domain.allocation.limits import Limits
from defiyield_assets.domain.allocation.plan import SOLVERS, plan_allocation
from defiyield_assets.domain.allocation.problem import build_problem
from defiyield_assets.domain.allocation.solve import Flows, Solver
from defiyield_assets.domain.allocation.steps import build_steps
from defiyield_assets.domain.policy import Policy
from defiyield_assets.domain.selection.final import select_eligible

Forecasts = Callable[[KnownDay], pd.DataFrame]
"""Rows of `pool_forecasts` of a day."""
Choice = Literal["equal", "size", "trailing"]
EXECUTED = ("optimal",)
POURS = 50
"""Parts in which weights are placed, so that pools under a shared cap fill evenly."""


@dataclass(frozen=True)
class Decision:
    """What is sent on the next day: rows of `allocation_steps`, how many pools could be used, how the plan ended."""

    steps: pd.DataFrame
    n_usable: int
    status: str


def stored_forecasts(known: KnownDay) -> pd.DataFrame:
    """The forecasts that were made on the day."""
    return known.forecasts


@dataclass(frozen=True)
class Setting:
    """The policy in force, its hash, and where the forecasts come from."""

    policy: Policy
    policy_hash: str
    forecasts: Forecasts = stored_forecasts

    def problem(self, known: KnownDay, treasury: Treasury, prices: Prices) -> AllocationProblem:
        """The allocation problem of a day for what the treasury holds, filters included."""
        day, positions = known.day, treasury.positions_frame(known.day, prices)
        forecasts = self.forecasts(known)
        eligible = select_eligible(
            known.prefiltered,
            known.quality,
            known.metrics,
            known.groups,
            forecasts,
            positions=positions,
            icebox=known.icebox,
            pools=known.pools,
            policy=self.policy,
            day=day,
        )
        held = {pool_id: float(treasury.position_usd(pool_id, prices)) for pool_id in treasury.positions}
        return build_problem(
            day=day,
            eligible=with_own_deposits(eligible, held),
            forecasts=forecasts,
            balances=treasury.balances_frame(day),
            positions=positions,
            bars=known.bars,
            gas_forecasts=known.gas_forecasts,
            gas_daily=known.gas_daily,
            policy=self.policy,
            barred=known.barred,
            wallet=treasury.wallet_facts,
            policy_hash=self.policy_hash,
        )


def with_own_deposits(eligible: pd.DataFrame, held: Mapping[str, float]) -> pd.DataFrame:
    """`eligible_pools` as a vendor would have told them with our deposits in the pools: recordings are without us.

    Sizes grow by what we hold (USD by pool id), APYs are diluted by it: forecast·S/(S + V0), so that the optimiser's
    gain V·r·S'/(S' + V - V0) with S' = S + V0 is what the accounts pay for V.
    """
    own = eligible["pool_id"].map(held).fillna(0.0).to_numpy(dtype=float)
    told = eligible["total_supply_usd"].fillna(eligible["size_usd"]).to_numpy(dtype=float)
    share = np.where((own > 0) & (told > 0), told / np.where(told + own > 0, told + own, 1.0), 1.0)
    return eligible.assign(
        size_usd=eligible["size_usd"] + own,
        total_supply_usd=eligible["total_supply_usd"] + own,
        forecast_apy=eligible["forecast_apy"] * share,
        last_apy=eligible["last_apy"] * share,
    )


def usable_pools(problem: AllocationProblem) -> int:
    """Pools that passed every filter and may take deposits."""
    return sum(pool.can_grow for pool in problem.pools)


@dataclass(frozen=True)
class Optimiser:
    """The policy: filters, forecasts, both solvers, the exact plan; every `every_days` days from the first."""

    setting: Setting
    every_days: int = 1
    solvers: tuple[Solver, Solver] = field(default=SOLVERS)

    def decide(self, known: KnownDay, treasury: Treasury, prices: Prices) -> Decision:
        """The plan of a day; anything but an optimal, verified plan moves nothing."""
        problem = self.setting.problem(known, treasury, prices)
        plan = plan_allocation(problem, solvers=self.solvers)
        steps = plan.steps if plan.status in EXECUTED else plan.steps.iloc[:0]
        return Decision(steps, usable_pools(problem), plan.status)


@dataclass(frozen=True)
class Hold:
    """The first plan of the policy, kept ever after."""

    setting: Setting
    every_days: int = 10_000

    def decide(self, known: KnownDay, treasury: Treasury, prices: Prices) -> Decision:
        """The policy's plan while nothing is held, nothing afterwards."""
        if treasury.positions:
            return Decision(pd.DataFrame(columns=STEP_COLUMNS), 0, "hold")
        return Optimiser(self.setting).decide(known, treasury, prices)


@dataclass(frozen=True)
class Simple:
    """Equal weights, weights by size, or the best APY of the day first; within the caps of the policy."""

    setting: Setting
    choice: Choice
    every_days: int

    def decide(self, known: KnownDay, treasury: Treasury, prices: Prices) -> Decision:
        """Sell what is above its target, buy what is below; differences below the smallest transaction stay."""
        problem = self.setting.problem(known, treasury, prices)
        limits = Limits(problem)
        apys = dict(zip(known.pools["pool_id"], known.pools["apy"], strict=True))
        targets = targets_of(problem, limits, self.choice, apys)
        plan = build_steps(problem, limits, flows_to(problem, limits, targets))
        return Decision(build_steps_frame(plan), usable_pools(problem), "simple")


def targets_of(
    problem: AllocationProblem, limits: Limits, choice: Choice, apys: Mapping[str, float]
) -> dict[str, float]:
    """USD by pool under pool, protocol and issuer caps; money that no weight can place is spread over the others."""
    usable = [pool for pool in problem.pools if pool.can_grow and pool.tokens]
    room = _Room(problem, limits)
    if choice == "trailing":
        for pool in sorted(usable, key=lambda pool: (-apys.get(pool.pool_id, 0.0), pool.pool_id)):
            room.put(pool, limits.aum)
        return room.placed
    weights = {pool.pool_id: 1.0 if choice == "equal" else pool.size_usd or 0.0 for pool in usable}
    for _ in range(2 * POURS):
        open_pools = [pool for pool in usable if room.left(pool) > limits.min_transaction]
        total, rest = sum(weights[pool.pool_id] for pool in open_pools), room.rest
        if not open_pools or total <= 0 or rest < limits.min_transaction:
            break
        for pool in open_pools:
            room.put(pool, min(rest, limits.aum / POURS) * weights[pool.pool_id] / total)
    return {pool_id: usd for pool_id, usd in room.placed.items() if usd >= limits.min_transaction}


class _Room:
    """What is left under the caps while targets are placed."""

    def __init__(self, problem: AllocationProblem, limits: Limits) -> None:
        parameters, aum = problem.parameters, limits.aum
        self.problem, self.limits, self.placed = problem, limits, dict[str, float]()
        self.rest = aum * (1.0 - parameters.idle_buffer_share)
        self._protocols = {pool.protocol: parameters.max_protocol_share * aum for pool in problem.pools}
        self._issuers = {token.issuer: parameters.max_token_share * aum for token in problem.tokens}

    def _issuer_parts(self, pool: PoolOption) -> dict[str, float]:
        parts: dict[str, float] = {}
        for token in pool.tokens:
            issuer = self.problem.token[token].issuer
            parts[issuer] = parts.get(issuer, 0.0) + 1.0 / len(pool.tokens)
        return parts

    def left(self, pool: PoolOption) -> float:
        """USD that the pool may still take."""
        own = self.limits.cap(pool)[0] - self.placed.get(pool.pool_id, 0.0)
        issuers = [self._issuers[issuer] / part for issuer, part in self._issuer_parts(pool).items()]
        return max(0.0, min(own, self.rest, self._protocols[pool.protocol], *issuers))

    def put(self, pool: PoolOption, usd: float) -> None:
        """Place as much of `usd` as fits."""
        amount = min(usd, self.left(pool))
        self.placed[pool.pool_id] = self.placed.get(pool.pool_id, 0.0) + amount
        self.rest -= amount
        self._protocols[pool.protocol] -= amount
        for issuer, part in self._issuer_parts(pool).items():
            self._issuers[issuer] -= amount * part


def flows_to(problem: AllocationProblem, limits: Limits, targets: Mapping[str, float]) -> Flows:
    """Decisions that bring positions (USD) to their targets, as far as withdrawals and minimum sizes allow."""
    deposits: dict[str, float] = {}
    parts: dict[str, float] = {}
    exits: set[str] = set()
    for pool in problem.pools:
        held, wanted = problem.position_usd[pool.pool_id], targets.get(pool.pool_id, 0.0)
        bounds = limits.pools[pool.pool_id]
        if wanted - held >= limits.min_transaction and bounds.can_deposit:
            deposits[pool.pool_id] = wanted - held
        elif wanted <= 0 < held and bounds.can_exit:
            exits.add(pool.pool_id)
        elif held - wanted >= limits.min_transaction and bounds.can_part:
            parts[pool.pool_id] = min(held - wanted, bounds.part_max)
    tokens = frozenset(problem.token)
    buyable = frozenset(token.address for token in problem.tokens if token.is_buyable)
    return Flows(deposits, parts, frozenset(exits), tokens, buyable, 0.0)


def due(first: date, day: date, every_days: int) -> bool:
    """Whether a strategy decides on a day."""
    return (day - first).days % every_days == 0
