"""The table of limits: how much of each the plan uses, which bind, and what room is worth at the plan's decisions.

Lives here: rows of `allocation_limits`. Not here: the bounds (limits.py), prices (prices.py), solving again with a
limit relaxed (worth.py), which fills what these rows leave open.
"""

from decimal import Decimal
from typing import Any

import pandas as pd

from defiyield_assets.domain.allocation.facts import AllocationProblem, exact_sum
from defiyield_assets.domain.allocation.limits import Limits, SharedLimit
from defiyield_assets.domain.allocation.prices import PRICE_TINY, Prices, is_loose
from defiyield_assets.domain.allocation.steps import ExactPlan

LIMIT_COLUMNS = [
    "run_id",
    "limit_name",
    "subject",
    "date",
    "limit_usd",
    "used_usd",
    "is_binding",
    "gain_per_usd",
    "relaxation",
    "worth_usd",
    "worth_by",
]
WHOLE_PLAN = "plan"
"""Subject of limits that are about the plan as a whole."""
ONE_PERCENT = "1% of AUM more"
ONE_POOL = "one pool fewer"
WHOLE_HORIZON = "the whole horizon to earn costs back"
ENOUGH_ETH = "as much ETH as it takes"


def build_limits_frame(plan: ExactPlan, limits: Limits, prices: Prices) -> pd.DataFrame:
    """One row per limit that a plan of the day can meet, with its use after the plan; worth is not known yet."""
    if limits.aum <= 0:
        return _frame([])
    rows = [*_pool_rows(plan, limits, prices), *_shared_rows(plan, limits, prices), *_plan_rows(plan, limits, prices)]
    return _frame(sorted(rows, key=lambda row: (row["limit_name"], row["subject"])))


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in LIMIT_COLUMNS})
    return frame.assign(is_binding=frame["is_binding"].astype(bool), gain_per_usd=frame["gain_per_usd"].astype(float))


def _row(
    problem: AllocationProblem,
    name: str,
    subject: str,
    *,
    limit: float | None = None,
    used: Decimal | None = None,
    is_binding: bool = False,
    price: float | None = None,
    relaxation: str = ONE_PERCENT,
) -> dict[str, Any]:
    return {
        "run_id": problem.run_id,
        "limit_name": name,
        "subject": subject,
        "date": problem.day,
        "limit_usd": None if limit is None else Decimal(repr(round(limit, 6))),
        "used_usd": used,
        "is_binding": is_binding,
        "gain_per_usd": price,
        "relaxation": relaxation,
        "worth_usd": None,
        "worth_by": None,
    }


def _pool_rows(plan: ExactPlan, limits: Limits, prices: Prices) -> list[dict[str, Any]]:
    """Own limits of pools that the plan holds and that may grow."""
    rows = []
    for pool in plan.problem.pools:
        bounds, used = limits.pools[pool.pool_id], plan.position_usd(pool)
        if not (pool.can_grow and used > 0 and bounds.parameter) or is_loose(limits, bounds.upper):
            continue
        price = prices.pools[pool.pool_id] if prices.are_known else None
        is_full = float(used) >= bounds.upper - 4.0 * limits.margin
        rows.append(
            _row(
                plan.problem,
                bounds.parameter,
                pool.pool_id,
                limit=bounds.upper,
                used=used,
                is_binding=is_full or (price or 0.0) > PRICE_TINY,
                price=price,
            )
        )
    return rows


def _shared_rows(plan: ExactPlan, limits: Limits, prices: Prices) -> list[dict[str, Any]]:
    """Shared caps that can be reached at all and that the plan uses, or would."""
    rows = []
    for shared, known in zip(limits.shared, prices.shared, strict=True):
        if not shared.held or is_loose(limits, shared.limit):
            continue
        used, price = used_of(plan, shared), known if prices.are_known else None
        if not used and not price:
            continue
        is_full = used > 0 and float(used) >= shared.limit - 4.0 * limits.margin
        rows.append(
            _row(
                plan.problem,
                shared.parameter,
                shared.subject,
                limit=shared.limit,
                used=used,
                is_binding=is_full or (price or 0.0) > PRICE_TINY,
                price=price,
            )
        )
    return rows


def _plan_rows(plan: ExactPlan, limits: Limits, prices: Prices) -> list[dict[str, Any]]:
    """Limits of the plan as a whole. Whether those without a figure in USD bind is known when worth.py has asked."""
    problem, rows = plan.problem, []
    if problem.parameters.idle_buffer_share > 0:
        idle = exact_sum(token.value(plan.wallet[token.address]) for token in problem.tokens)
        price = prices.idle_buffer if prices.are_known else None
        is_full = float(idle) <= limits.idle_buffer + 4.0 * limits.margin
        rows.append(
            _row(
                problem,
                "idle_buffer_share",
                WHOLE_PLAN,
                limit=limits.idle_buffer,
                used=idle,
                is_binding=is_full or (price or 0.0) > PRICE_TINY,
                price=price,
                relaxation="1% of AUM less",
            )
        )
    if not limits.is_relaxed:
        if problem.parameters.min_pools > 1:
            rows.append(_row(problem, "min_pools", WHOLE_PLAN, relaxation=ONE_POOL))
        rows.append(_row(problem, "break_even_days", WHOLE_PLAN, relaxation=WHOLE_HORIZON))
        rows.append(_row(problem, "eth_balance", WHOLE_PLAN, relaxation=ENOUGH_ETH))
    return rows


def used_of(plan: ExactPlan, shared: SharedLimit) -> Decimal:
    """What a plan puts under a shared cap: whole positions, under an issuer's cap its tokens only."""
    token = plan.problem.token
    is_issuer = shared.parameter == "max_token_share"
    return exact_sum(
        token[address].value(amount)
        for pool in plan.problem.pools
        if pool.pool_id in shared.held
        for address, amount in zip(pool.tokens, plan.positions[pool.pool_id], strict=True)
        if not is_issuer or token[address].issuer == shared.subject
    )
