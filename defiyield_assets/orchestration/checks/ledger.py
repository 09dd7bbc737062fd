"""Blocking checks of the ledger: a break stops the plan, because a plan on wrong balances moves real money wrongly.

Lives here: wiring of domain/ledger/checks.py.
"""

from collections.abc import Sequence
from datetime import date

import dagster as dg

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.checks import (
    Violation,
    find_differences_with_chain,
    find_nav_gap,
    find_negative_balances,
    find_unbalanced,
)
from defiyield_assets.orchestration.assets.ledger import postings_through, prices_of
from defiyield_assets.orchestration.partitions import DAILY, day_before
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema

SHOWN = 20


def _verdict(violations: Sequence[Violation], doubts: Sequence[Violation] = ()) -> dg.AssetCheckResult:
    """Passed when nothing is violated; the first violations and doubts are shown."""
    listed = [f"{item.name}: {item.subject}: {item.detail}" for item in [*violations, *doubts]][:SHOWN]
    return dg.AssetCheckResult(
        passed=not violations, metadata={"violations": len(violations), "doubts": len(doubts), "listed": listed}
    )


def _day(context: dg.AssetCheckExecutionContext) -> date:
    return date.fromisoformat(context.partition_key)


@dg.asset_check(asset="ledger_postings", blocking=True, partitions_def=DAILY)
def postings_sum_to_zero(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """All postings sum to zero per token, in each transaction and in total; no asset account is ever negative."""
    postings = postings_through(warehouse, _day(context))
    return _verdict([*find_unbalanced(postings), *find_negative_balances(postings)])


@dg.asset_check(asset="daily_balances", additional_deps=["chain_balances"], blocking=True, partitions_def=DAILY)
def balances_equal_the_chain(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> dg.AssetCheckResult:
    """Every wallet balance equals the chain's to the base unit; differences of untrusted tokens are doubts only."""
    day = _day(context)
    only = DayRange.of(day)
    found = find_differences_with_chain(
        reads.read_days(warehouse.engine, schema.daily_balances, only),
        reads.read_days(warehouse.engine, schema.chain_balances, only),
        policy=warehouse.policy(day),
        contracts=reads.read_all(warehouse.engine, schema.pool_contracts),
        prices=prices_of(warehouse, only),
    )
    hard = [item for item in found if not item.name.startswith("untrusted_")]
    return _verdict(hard, [item for item in found if item not in hard])


@dg.asset_check(asset="nav_daily", blocking=True, partitions_def=DAILY)
def nav_change_is_explained(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> dg.AssetCheckResult:
    """NAV change = flows + income - expenses + price change + unexplained, exactly."""
    day = _day(context)
    nav = reads.read_days(warehouse.engine, schema.nav_daily, DayRange.of(day))
    before = reads.read_days(warehouse.engine, schema.nav_daily, DayRange.of(day_before(day)))
    return _verdict(find_nav_gap(nav, before))
