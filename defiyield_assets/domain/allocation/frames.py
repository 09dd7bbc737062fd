"""Tables of a finished plan: allocations with their reasons, and steps.

Lives here: rows of `allocations` and `allocation_steps`. Not here: deciding (plan.py), exact amounts (steps.py), why
(reasons.py), the table of limits (limit_rows.py).
"""

from decimal import Decimal
from typing import Any

import pandas as pd

from defiyield_assets.domain.allocation.facts import AllocationProblem, PoolOption, exact_sum
from defiyield_assets.domain.allocation.gains import diluted_apy
from defiyield_assets.domain.allocation.limits import Limits
from defiyield_assets.domain.allocation.prices import Prices
from defiyield_assets.domain.allocation.reasons import Reason, explain
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
    "gain_usd",
    "marginal_apy",
    "dollar_apy",
    "binding_limit",
    "cost_usd",
    "break_even_days",
]
RATES = ("share_of_aum", "forecast_apy", "diluted_apy", "marginal_apy", "dollar_apy", "break_even_days")
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


def build_allocations_frame(plan: ExactPlan, limits: Limits, message: str, prices: Prices) -> pd.DataFrame:
    """One row per pool and token of every usable or held pool, left-out ones with amount 0, and the idle tokens."""
    problem = plan.problem
    actions = {pool.pool_id: action_of(plan, pool) for pool in problem.pools}
    reasons = explain(plan, limits, message, prices, actions)
    rows: list[dict[str, Any]] = []
    for pool in problem.pools:
        value = float(plan.position_usd(pool))
        held = problem.position_usd[pool.pool_id]
        amounts = dict(zip(pool.tokens, plan.positions[pool.pool_id], strict=True))
        before = dict(zip(pool.tokens, pool.amounts, strict=True))
        for token, decimals in pool.listed:
            row = _allocation(problem, token, decimals, amounts.get(token, 0), before.get(token, 0))
            row |= {"pool_id": pool.pool_id, "forecast_apy": pool.apy, "pool_group": pool.pool_group}
            row |= {"diluted_apy": diluted_apy(pool, value, held)}
            row |= {"action": actions[pool.pool_id]} | _reason_columns(reasons[pool.pool_id])
            rows.append(row)
    for holding in problem.tokens:
        amount = plan.wallet[holding.address]
        if amount or holding.balance:
            row = _allocation(problem, holding.address, holding.decimals, amount, holding.balance)
            row |= {"pool_id": IDLE, "forecast_apy": None, "pool_group": None, "diluted_apy": None}
            cash = Reason("cash that no step of the plan uses", 0.0)
            rows.append(row | {"action": "idle"} | _reason_columns(cash))
    rows.sort(key=lambda row: (row["pool_id"], row["token_address"]))
    return _frame(rows, ALLOCATION_COLUMNS, integers=("decimals",))


def _reason_columns(reason: Reason) -> dict[str, Any]:
    """The reason of a pool as columns; money to a millionth of a dollar."""
    return {
        "why": reason.text,
        "gain_usd": _usd(reason.gain_usd),
        "marginal_apy": reason.marginal_apy,
        "dollar_apy": reason.dollar_apy,
        "binding_limit": reason.binding_limit,
        "cost_usd": None if reason.cost_usd is None else _usd(reason.cost_usd),
        "break_even_days": reason.break_even_days,
    }


def _usd(value: float) -> Decimal:
    return Decimal(repr(round(value, 6)))


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
    frame = pd.DataFrame([[row[name] for name in columns] for row in rows], columns=columns, dtype=object)
    for name in columns:
        if name in integers:
            frame[name] = frame[name].astype("int64")
        elif name.startswith("is_"):
            frame[name] = frame[name].astype(bool)
        elif name in RATES:
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


def stuck_usd(limits: Limits) -> Decimal:
    """What cannot be withdrawn today from pools that must be left, in USD."""
    stuck = [
        limits.pools[pool.pool_id].stuck
        for pool in limits.problem.pools
        if pool.is_must_exit and pool.is_held and limits.pools[pool.pool_id].stuck > 0
    ]
    return exact_sum(Decimal(repr(round(value, 6))) for value in stuck)
