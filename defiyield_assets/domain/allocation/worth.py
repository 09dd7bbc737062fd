"""What relaxing a limit is worth: the day solved again with that one limit wider.

Lives here: `worth_usd` of the table of limits. Not here: its rows (limit_rows.py) or shadow prices (prices.py), which
stand in for limits that are not solved again: they hold for the plan's decisions, a wider limit may allow others.
"""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pandas as pd

from defiyield_assets.domain.allocation.facts import AllocationProblem
from defiyield_assets.domain.allocation.plan import AllocationPlan
from defiyield_assets.domain.allocation.solve import GAP_RELATIVE, GAP_USD
from defiyield_assets.domain.allocation.what_if import gain_of, objective_of, solve_what_if

SOLVED = 8
"""Limits in USD that are solved again, the most valuable first; the others go by their shadow price."""
WITHOUT_PRICE = ("min_pools", "break_even_days", "eth_balance")
"""Limits that are not counted in USD: only solving again tells whether they bind."""


def with_worths(problem: AllocationProblem, plan: AllocationPlan, most: int = SOLVED) -> pd.DataFrame:
    """The plan's limits with `worth_usd`: what relaxing each binding one by its `relaxation` gains over the horizon.

    Gains are those of finished plans (`gain_usd`), like the one that is published.

    `worth_by` is `solved` (by HiGHS alone, at most `most` limits in USD and all others) or `shadow_price`; both stay
    empty where the day has no plan to compare with, or where the question could not be answered in time.
    """
    rows, base, gain = plan.limits, objective_of(plan), gain_of(plan)
    if base is None or rows.empty:
        return rows
    tolerance = 2.0 * max(GAP_USD, GAP_RELATIVE * abs(base))
    asked: list[dict[str, Any]] = [_named(row) for row in rows.to_dict("records")]
    bound = [row for row in asked if row["is_binding"]]
    bound.sort(key=lambda row: (-(row["gain_per_usd"] or 0.0), row["limit_name"], row["subject"]))
    again = {(row["limit_name"], row["subject"]) for row in bound[:most]}
    one_percent = float(problem.aum_usd) / 100.0
    for row in asked:
        limit = (row["limit_name"], row["subject"])
        if limit in again or row["limit_name"] in WITHOUT_PRICE:
            other = solve_what_if(relaxed(problem, *limit))
            found = objective_of(other)
            if found is not None:
                is_better = found - base > tolerance
                worth = max(Decimal(0), gain_of(other) - gain) if is_better else Decimal(0)
                row["worth_usd"], row["worth_by"] = worth, "solved"
                if row["limit_name"] in WITHOUT_PRICE:
                    row["is_binding"] = is_better
        elif row["is_binding"] and row["gain_per_usd"] is not None:
            row["worth_usd"], row["worth_by"] = _usd(row["gain_per_usd"] * one_percent), "shadow_price"
    return pd.DataFrame(
        {name: pd.Series([row[name] for row in asked], dtype=object) for name in map(str, rows.columns)}
    ).astype({"is_binding": bool, "gain_per_usd": float})


def relaxed(problem: AllocationProblem, limit_name: str, subject: str) -> AllocationProblem:
    """The problem with one limit relaxed: by 1 % of AUM, by one pool, or lifted."""
    parameters = problem.parameters
    if limit_name == "min_pools":
        return replace(problem, parameters=replace(parameters, min_pools=parameters.min_pools - 1))
    if limit_name == "break_even_days":
        return replace(problem, parameters=replace(parameters, break_even_days=parameters.horizon_days))
    if limit_name == "eth_balance":
        return replace(problem, eth_balance_wei=10**30)
    room = float(problem.aum_usd) / 100.0
    return replace(problem, allowances=((limit_name, subject, room),))


def _named(row: dict[Any, Any]) -> dict[str, Any]:
    """A row with None for what is not known."""
    return {str(name): None if pd.isna(value) else value for name, value in row.items()}


def _usd(value: float) -> Decimal:
    return Decimal(repr(round(value, 6)))
