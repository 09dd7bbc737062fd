"""The risk-gain frontier: what other caps on pools and protocols would gain, and what they would risk.

Lives here: the sweep of caps and the figures of each point. Not here: asking the optimiser (what_if.py), what is drawn
(plots.py), tables of the day (orchestration). Every point is a plan from today's holdings, costs included, made by the
same optimiser with HiGHS alone; none is executed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

import pandas as pd

from defiyield_assets.domain.allocation.facts import AllocationProblem, exact_sum
from defiyield_assets.domain.allocation.gains import pool_gain
from defiyield_assets.domain.allocation.limits import Limits
from defiyield_assets.domain.allocation.plan import AllocationPlan
from defiyield_assets.domain.allocation.what_if import objective_of, solve_what_if

POOL_SHARES = (0.10, 0.25, 0.50, 1.00)
PROTOCOL_SHARES = (0.25, 0.50, 1.00)
"""Caps of the sweep; a cap on pools above that on protocols says nothing more and is left out."""
FRONTIER_COLUMNS = [
    "date",
    "point",
    "max_pool_share",
    "max_protocol_share",
    "is_chosen",
    "status",
    "message",
    "gain_usd",
    "low_gain_usd",
    "worst_protocol",
    "worst_loss_usd",
    "projected_apy",
    "n_pools",
    "solver",
    "verified_by",
]


@dataclass(frozen=True)
class Risk:
    """What the holdings of a plan may lose. `low_gain`: gain of the positions over the horizon when every pool ends at
    the p10 of its forecast at once, before costs; None when a held pool has no such forecast."""

    low_gain: float | None
    worst_protocol: str | None
    worst_loss: Decimal


def build_frontier(problem: AllocationProblem, low_apys: Mapping[str, float]) -> pd.DataFrame:
    """One row per pair of caps, the policy's own among them (`is_chosen`), by caps.

    `low_apys`: p10 forecast of the APY over the horizon by pool id, fractions. A point without a plan keeps its row:
    status and message say why, its figures are null.
    """
    rows = []
    for number, (pool_share, protocol_share) in enumerate(cap_pairs(problem), start=1):
        parameters = replace(problem.parameters, max_pool_share=pool_share, max_protocol_share=protocol_share)
        point = replace(problem, parameters=parameters)
        rows.append(
            {
                "date": problem.day,
                "point": number,
                "max_pool_share": pool_share,
                "max_protocol_share": protocol_share,
                "is_chosen": parameters == problem.parameters,
                **_figures(point, solve_what_if(point), low_apys),
            }
        )
    return _frame(rows)


def cap_pairs(problem: AllocationProblem) -> list[tuple[float, float]]:
    """The pairs (cap on a pool, cap on a protocol) of the sweep, in order, with those of the policy."""
    own = (problem.parameters.max_pool_share, problem.parameters.max_protocol_share)
    swept = {(pool, protocol) for pool in POOL_SHARES for protocol in PROTOCOL_SHARES if pool <= protocol}
    return sorted(swept | {own})


def low_apys(forecasts: pd.DataFrame, day: date, horizon_days: int) -> dict[str, float]:
    """p10 of the APY over the horizon by pool id, from the day's rows of `pool_forecasts`."""
    is_wanted = (forecasts["as_of"] == day) & (forecasts["horizon_days"] == horizon_days)
    rows = forecasts[is_wanted & (forecasts["target"] == "apy")]
    return {str(pool): float(low) for pool, low in zip(rows["pool_id"], rows["p10"], strict=True) if not pd.isna(low)}


def _figures(problem: AllocationProblem, plan: AllocationPlan, lows: Mapping[str, float]) -> dict[str, Any]:
    """Gain and risk of one point; null where it has no plan that the solver finished."""
    run = plan.runs.iloc[0]
    told = {
        "status": run["status"],
        "message": run["message"],
        "solver": run["solver"],
        "verified_by": run["verified_by"] if run["solver"] is not None else None,
    }
    if objective_of(plan) is None:
        unknown = ("gain_usd", "low_gain_usd", "worst_protocol", "worst_loss_usd", "projected_apy", "n_pools")
        return told | dict.fromkeys(unknown)
    risk = risk_of(problem, plan.allocations, lows)
    cost = float(run["gas_usd"]) + float(run["conversion_usd"])
    return told | {
        "gain_usd": run["gain_usd"],
        "low_gain_usd": None if risk.low_gain is None else Decimal(repr(round(risk.low_gain - cost, 6))),
        "worst_protocol": risk.worst_protocol,
        "worst_loss_usd": risk.worst_loss,
        "projected_apy": float(run["projected_apy"]),
        "n_pools": int(run["n_pools"]),
    }


def risk_of(problem: AllocationProblem, allocations: pd.DataFrame, lows: Mapping[str, float]) -> Risk:
    """Risk of the holdings in `allocations` (rows of the table) on the problem's pools."""
    value = {pool.pool_id: Decimal(0) for pool in problem.pools}
    for pool_id, usd in zip(allocations["pool_id"], allocations["value_usd"], strict=True):
        if pool_id in value:
            value[pool_id] += usd
    by_protocol: dict[str, list[Decimal]] = {}
    low: float | None = 0.0
    lows_only = replace(
        problem, pools=tuple(replace(pool, apy=lows.get(pool.pool_id, pool.apy)) for pool in problem.pools)
    )
    limits = Limits(lows_only)
    for pool in problem.pools:
        usd = value[pool.pool_id]
        leaving = max(Decimal(0), exact_sum(problem.leg_values(pool)) - usd) if pool.is_queued else Decimal(0)
        if not usd + leaving:
            continue
        by_protocol.setdefault(pool.protocol, []).extend([usd, leaving])
        if low is not None:
            low += limits.leaving_return(pool) * float(leaving)
        if not usd:
            continue
        if pool.pool_id not in lows:
            low = None
        elif low is not None:
            held = problem.position_usd[pool.pool_id]
            low += pool_gain(replace(pool, apy=lows[pool.pool_id]), float(usd), held, problem.parameters)
    losses = {protocol: exact_sum(values) for protocol, values in by_protocol.items()}
    worst = min(losses, key=lambda protocol: (-losses[protocol], protocol), default=None)
    return Risk(low, worst, losses[worst] if worst is not None else Decimal(0))


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Object columns, so that exact money stays exact; plain types where they suffice."""
    frame = pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in FRONTIER_COLUMNS})
    return frame.astype(
        {
            "point": "int64",
            "max_pool_share": float,
            "max_protocol_share": float,
            "is_chosen": bool,
            "projected_apy": float,
        }
    )
