"""Tables of a finished plan: allocations with their reasons, and steps.

Lives here: rows of `allocations` and `allocation_steps`. Not here: deciding (plan.py), exact amounts (steps.py).
"""

from decimal import Decimal
from typing import Any

import pandas as pd

from defiyield_assets.domain.allocation.facts import AllocationProblem, PoolOption, exact_sum
from defiyield_assets.domain.allocation.gains import dilution
from defiyield_assets.domain.allocation.limits import Limits
from defiyield_assets.domain.allocation.steps import ExactPlan

IDLE = "IDLE"
ALLOCATION_COLUMNS = [
    "run_id",
    "pool_id",
    "token_address",
    "date",
    "amount",
    "amount_before",
    "decimals",
    "value_usd",
    "share_of_aum",
    "forecast_apy",
    "diluted_apy",
    "pool_group",
    "is_price_assumed",
    "action",
    "why",
]
STEP_COLUMNS = [
    "run_id",
    "seq",
    "leg",
    "date",
    "step_type",
    "wallet",
    "pool_id",
    "token_in",
    "amount_in",
    "token_out",
    "amount_out",
    "is_full_exit",
    "value_usd",
    "gas_units",
    "gas_usd",
    "conversion_usd",
]


def build_steps_frame(plan: ExactPlan) -> pd.DataFrame:
    """One row per step and leg, in executable order; gas stands on the first leg."""
    problem = plan.problem
    rows = [
        {
            "run_id": problem.run_id,
            "seq": seq,
            "leg": number,
            "date": problem.day,
            "step_type": step.step_type,
            "wallet": problem.wallet,
            "pool_id": step.pool_id,
            "token_in": leg.token_in,
            "amount_in": leg.amount_in,
            "token_out": leg.token_out,
            "amount_out": leg.amount_out,
            "is_full_exit": step.is_full_exit,
            "value_usd": leg.value_usd,
            "gas_units": 0 if number else step.gas_units,
            "gas_usd": Decimal(0) if number else step.gas_usd,
            "conversion_usd": leg.conversion_usd,
        }
        for seq, step in enumerate(plan.steps, start=1)
        for number, leg in enumerate(step.legs)
    ]
    return _frame(rows, STEP_COLUMNS, integers=("seq", "leg", "gas_units"))


def build_allocations_frame(plan: ExactPlan, limits: Limits, message: str) -> pd.DataFrame:
    """One row per pool and token of every usable or held pool, left-out ones with amount 0, and the idle tokens."""
    problem = plan.problem
    reasons = explain(plan, limits, message)
    rows: list[dict[str, Any]] = []
    for pool in problem.pools:
        value = float(plan.position_usd(pool))
        held = problem.position_usd[pool.pool_id]
        amounts = dict(zip(pool.tokens, plan.positions[pool.pool_id], strict=True))
        before = dict(zip(pool.tokens, pool.amounts, strict=True))
        for token, decimals in pool.listed:
            row = _allocation(problem, token, decimals, amounts.get(token, 0), before.get(token, 0))
            row |= {"pool_id": pool.pool_id, "forecast_apy": pool.apy, "pool_group": pool.pool_group}
            row |= {"diluted_apy": pool.apy * dilution(value, held, pool.size_usd)}
            row |= {"action": action_of(plan, pool), "why": reasons[pool.pool_id]}
            rows.append(row)
    for holding in problem.tokens:
        amount = plan.wallet[holding.address]
        if amount or holding.balance:
            row = _allocation(problem, holding.address, holding.decimals, amount, holding.balance)
            row |= {"pool_id": IDLE, "forecast_apy": None, "pool_group": None, "diluted_apy": None}
            rows.append(row | {"action": "idle", "why": "cash that no step of the plan uses"})
    rows.sort(key=lambda row: (row["pool_id"], row["token_address"]))
    return _frame(rows, ALLOCATION_COLUMNS, integers=("decimals",))


def _allocation(problem: AllocationProblem, token: str, decimals: int, amount: int, before: int) -> dict[str, Any]:
    holding = problem.token.get(token)
    value = holding.value(amount) if holding else Decimal(0)
    aum = problem.aum_usd
    return {
        "run_id": problem.run_id,
        "token_address": token,
        "date": problem.day,
        "amount": amount,
        "amount_before": before,
        "decimals": decimals,
        "value_usd": value,
        "share_of_aum": float(value) / float(aum) if aum else 0.0,
        "is_price_assumed": holding.is_price_assumed if holding else False,
    }


def _frame(rows: list[dict[str, Any]], columns: list[str], integers: tuple[str, ...]) -> pd.DataFrame:
    """Object columns, so that exact integers and decimals stay what they are; plain types where they suffice."""
    frame = pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in columns})
    for name in columns:
        if name in integers:
            frame[name] = frame[name].astype("int64")
        elif name.startswith("is_"):
            frame[name] = frame[name].astype(bool)
        elif name in ("share_of_aum", "forecast_apy", "diluted_apy"):
            frame[name] = frame[name].astype(float)
    return frame


def action_of(plan: ExactPlan, pool: PoolOption) -> str:
    """What the plan does with a pool, in the words of the table."""
    before, after = list(pool.amounts), plan.positions[pool.pool_id]
    if before == after:
        return "hold" if any(before) else "left_out"
    if not any(before):
        return "enter"
    if not any(after):
        return "exit"
    return "increase" if sum(after) > sum(before) else "decrease"


def explain(plan: ExactPlan, limits: Limits, message: str) -> dict[str, str]:
    """Why each pool ends as it does: the binding limit, the next best pool, or why it was left out."""
    problem = plan.problem
    values = {pool.pool_id: float(plan.position_usd(pool)) for pool in problem.pools}
    rates = {pool.pool_id: _rate(problem, pool, values[pool.pool_id]) for pool in problem.pools}
    actions = {pool.pool_id: action_of(plan, pool) for pool in problem.pools}
    grown = [pool for pool in problem.pools if actions[pool.pool_id] in ("enter", "increase")]
    full = _full_caps(plan, limits, values)
    spare = [
        pool
        for pool in problem.pools
        if actions[pool.pool_id] == "left_out" and limits.pools[pool.pool_id].can_deposit and pool.pool_id not in full
    ]
    next_best = max(spare, key=lambda pool: (rates[pool.pool_id], pool.pool_id), default=None)
    worst = min((rates[pool.pool_id] for pool in grown), default=None)
    reasons = {}
    for pool in problem.pools:
        key, action = pool.pool_id, actions[pool.pool_id]
        if action in ("enter", "increase"):
            reasons[key] = _why_grown(limits, pool, values[key], full.get(key))
            if next_best is not None:
                name = f"{next_best.protocol} {next_best.pool_id[:8]}"
                reasons[key] += f"; next best left out: {name} at {rates[next_best.pool_id]:.2%}"
        elif action == "left_out":
            reasons[key] = _why_left_out(limits, pool, full.get(key), rates[key], worst) or message
        else:
            reasons[key] = _why_kept(limits, pool, action)
    return reasons


def _rate(problem: AllocationProblem, pool: PoolOption, value: float) -> float:
    """APY after haircut and own deposit."""
    haircut = 1.0 - pool.reward_share * problem.parameters.reward_haircut
    return pool.apy * haircut * dilution(value, problem.position_usd[pool.pool_id], pool.size_usd)


def _full_caps(plan: ExactPlan, limits: Limits, values: dict[str, float]) -> dict[str, str]:
    """The first shared cap that is used up, per pool that it holds back."""
    full: dict[str, str] = {}
    for shared in limits.shared:
        if shared.limit >= limits.aum - 4.0 * limits.margin:
            continue
        used = sum(
            float(plan.problem.token[token].value(amount)) * _member(limits, shared.name, token)
            for pool in plan.problem.pools
            if pool.pool_id in shared.held and values[pool.pool_id] > 0
            for token, amount in zip(pool.tokens, plan.positions[pool.pool_id], strict=True)
        )
        if used > 0 and used >= shared.limit - 4.0 * limits.margin:
            for pool_id in shared.held:
                full.setdefault(pool_id, shared.name)
    return full


def _member(limits: Limits, name: str, token: str) -> float:
    """Whether a token of a pool counts under a cap: all tokens do, except under an issuer's cap."""
    issuer = limits.problem.token[token].issuer
    return 1.0 if not name.startswith("issuer ") or name.startswith(f"issuer {issuer} cap") else 0.0


def _why_grown(limits: Limits, pool: PoolOption, value: float, full: str | None) -> str:
    bounds = limits.pools[pool.pool_id]
    if value >= bounds.upper - 4.0 * limits.margin:
        return f"at its limit: {bounds.cap_name}"
    if full:
        return f"held back by the {full}"
    if value <= max(limits.min_position, bounds.held + limits.min_transaction) + 4.0 * limits.margin:
        return "at the smallest position that counts towards min_pools"
    return "takes what the better pools leave"


def _why_left_out(limits: Limits, pool: PoolOption, full: str | None, rate: float, worst: float | None) -> str:
    """Empty when nothing was chosen at all: then the outcome of the day is the reason."""
    bounds = limits.pools[pool.pool_id]
    if pool.blocked:
        return pool.blocked
    if not bounds.can_deposit:
        room = max(0.0, bounds.deposit_max)
        least = f"the smallest position is {bounds.deposit_min:,.2f} USD"
        return f"too small: room for {room:,.2f} USD ({bounds.cap_name}), {least}"
    if full:
        return f"the {full} is used up"
    if worst is None:
        return ""
    if rate < worst:
        return f"lower gain: {rate:.2%} against {worst:.2%} of the least chosen pool"
    return f"its {rate:.2%} do not cover the gas and conversion that entering would cost"


def _why_kept(limits: Limits, pool: PoolOption, action: str) -> str:
    bounds = limits.pools[pool.pool_id]
    if pool.is_must_exit:
        stuck = f"; {bounds.stuck:,.2f} USD are stuck until liquidity returns" if bounds.stuck > 0 else ""
        return f"must be left{stuck}"
    if pool.is_frozen:
        return "kept: no APY is known, and a missing number never forces a sale"
    if bounds.held > bounds.upper:
        return f"reduced to its limit: {bounds.cap_name}"
    if action == "hold":
        return f"kept: {pool.blocked}" if pool.blocked else "kept: moving it would not earn back its costs"
    return "makes room for better pools or for a shared cap"


def stuck_usd(limits: Limits) -> Decimal:
    """What cannot be withdrawn today from pools that must be left, in USD."""
    stuck = [
        limits.pools[pool.pool_id].stuck
        for pool in limits.problem.pools
        if pool.is_must_exit and pool.is_held and limits.pools[pool.pool_id].stuck > 0
    ]
    return exact_sum(Decimal(repr(round(value, 6))) for value in stuck)
