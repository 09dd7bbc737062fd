"""Blocking checks of the ledger: a break stops the plan, because a plan on wrong balances moves real money wrongly.

Lives here: the checks. Not here: what they judge (verification.py) or the rules (domain/ledger/checks.py).
"""

from collections.abc import Sequence
from datetime import date

import dagster as dg
import pandas as pd

from defiyield_assets.domain.ledger.checks import Violation
from defiyield_assets.orchestration.failures import why_ledger_is_unknown
from defiyield_assets.orchestration.partitions import DAILY
from defiyield_assets.orchestration.reporting import OFFENDING_WIDTH, plain, preview
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.orchestration.verification import (
    attribution_violations,
    balance_violations,
    nav_violations,
    position_violations,
    posting_violations,
    rate_jumps,
)

SHOWN = 20


def _verdict(violations: Sequence[Violation], doubts: Sequence[Violation] = ()) -> dg.AssetCheckResult:
    """Passed when nothing is violated; the first violations and doubts are shown."""
    return dg.AssetCheckResult(
        passed=not violations,
        description="; ".join(plain(item, OFFENDING_WIDTH) for item in [*violations, *doubts][:3]) or None,
        metadata={"violations": len(violations), "doubts": len(doubts), "listed": _listed(violations, doubts)},
    )


def _listed(violations: Sequence[Violation], doubts: Sequence[Violation] = ()) -> dg.TableMetadataValue:
    """The first violations, then doubts, as rows."""
    named = [("violation", item) for item in violations] + [("doubt", item) for item in doubts]
    told = [(kind, item.name, item.subject, item.detail) for kind, item in named]
    return preview(pd.DataFrame(told, columns=["kind", "rule", "subject", "detail"]), SHOWN, OFFENDING_WIDTH)


def _day(context: dg.AssetCheckExecutionContext) -> date:
    return date.fromisoformat(context.partition_key)


@dg.asset_check(asset="ledger_postings", blocking=True, partitions_def=DAILY)
def postings_sum_to_zero(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """All postings sum to zero per token, in each transaction and in total; no asset account is ever negative."""
    return _verdict(posting_violations(warehouse, _day(context)))


@dg.asset_check(asset="daily_balances", additional_deps=["chain_balances"], blocking=True, partitions_def=DAILY)
def balances_equal_the_chain(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> dg.AssetCheckResult:
    """Every wallet balance equals the chain's to the base unit; differences of untrusted tokens are doubts only.

    Where nobody was asked what the wallets did there is nothing to compare: a warning, and no plan is made anyway.
    """
    unknown = why_ledger_is_unknown(warehouse.engine, _day(context))
    if unknown is not None:
        return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description=unknown)
    return _verdict(*balance_violations(warehouse, _day(context)))


@dg.asset_check(asset="pool_positions", additional_deps=["chain_balances"], blocking=True, partitions_def=DAILY)
def positions_equal_the_chain(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> dg.AssetCheckResult:
    """Every share of a listed pool that a wallet holds on the chain is in a position, to the unit, and the reverse.

    Shares that are unexplained as a whole are doubts only. Where nobody was asked what the wallets did: a warning.
    """
    unknown = why_ledger_is_unknown(warehouse.engine, _day(context))
    if unknown is not None:
        return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description=unknown)
    return _verdict(*position_violations(warehouse, _day(context)))


@dg.asset_check(asset="pool_positions", partitions_def=DAILY)
def rates_agree_with_the_chain(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> dg.AssetCheckResult:
    """No rate of a share, as the chain or a mint showed it, is more than 1 % off yesterday's grown by a day."""
    jumps = rate_jumps(warehouse, _day(context))
    return dg.AssetCheckResult(
        passed=not jumps,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(plain(item, OFFENDING_WIDTH) for item in jumps[:3]) or None,
        metadata={"jumps": len(jumps), "listed": _listed((), jumps)},
    )


@dg.asset_check(asset="nav_daily", blocking=True, partitions_def=DAILY)
def nav_change_is_explained(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> dg.AssetCheckResult:
    """NAV change = flows + income - expenses + price change + unexplained, exactly."""
    return _verdict(nav_violations(warehouse, _day(context)))


@dg.asset_check(asset="yield_attribution", additional_deps=["nav_daily"], blocking=True, partitions_def=DAILY)
def attribution_adds_up(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Each pool's dollars and the parts of its gap add up exactly, and all pools' dollars are those of the NAV."""
    return _verdict(attribution_violations(warehouse, _day(context)))
