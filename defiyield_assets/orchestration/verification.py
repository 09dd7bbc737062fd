"""What must hold before a plan is made, shown or executed, whoever asks for it.

Dagster runs a blocking check only in the run that makes its asset; a repair or a phase that starts behind it would pass
by. So the same invariants are asked for here by the assets themselves. Lives here: reading what the pure checks judge.
Not here: the checks (checks/) or the rules (domain/ledger/checks.py, domain/allocation/replay.py).
"""

from datetime import date, timedelta

from defiyield_assets.domain.allocation.replay import ReplayResult, replay_plan
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.accounts import ASSETS_PREFIX, UNEXPLAINED_ACCOUNT, AddressBook
from defiyield_assets.domain.ledger.checks import (
    POSTING_COLUMNS,
    Violation,
    find_attribution_gaps,
    find_broken_blocks,
    find_differences_with_chain,
    find_nav_gap,
    find_unbalanced_accounts,
)
from defiyield_assets.domain.ledger.position_checks import find_positions_beside_the_chain, find_rate_jumps
from defiyield_assets.domain.reporting.content import PUBLISHED
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.orchestration.assets.ledger import prices_of
from defiyield_assets.orchestration.assets.positions import last_apys
from defiyield_assets.orchestration.closing import booked_with
from defiyield_assets.orchestration.partitions import day_before
from defiyield_assets.orchestration.plan_inputs import plan_inputs
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema
from defiyield_assets.store.warehouse import ReadableWarehouse


def posting_violations(warehouse: ReadableWarehouse, day: date) -> list[Violation]:
    """Postings that do not sum to zero, accounts that do not, and asset accounts below zero at any block.

    Looks at the postings that were booked with the day, which go on from the trial balance before them.
    """
    engine, days = warehouse.engine, booked_with(warehouse.engine, day)
    before = reads.trial_balance(engine, days.start - timedelta(days=1), ASSETS_PREFIX)
    rows = reads.stream_days(engine, schema.ledger_postings, days, columns=POSTING_COLUMNS, order=POSTING_COLUMNS[:3])
    return [*find_broken_blocks(rows, before), *find_unbalanced_accounts(reads.trial_balance(engine, day))]


def balance_violations(warehouse: ReadableWarehouse, day: date) -> tuple[list[Violation], list[Violation]]:
    """Differences between ledger and chain: of trusted tokens and shares, and of untrusted ones (doubts only)."""
    only = DayRange.of(day)
    found = find_differences_with_chain(
        reads.read_days(warehouse.engine, schema.daily_balances, only),
        reads.read_days(warehouse.engine, schema.chain_balances, only),
        policy=warehouse.policy(day),
        contracts=warehouse.contracts(day),
        prices=prices_of(warehouse, only),
    )
    hard = [item for item in found if not item.name.startswith("untrusted_")]
    return hard, [item for item in found if item not in hard]


def position_violations(warehouse: ReadableWarehouse, day: date) -> tuple[list[Violation], list[Violation]]:
    """Shares of listed pools on the chain that are in no position and the reverse, and those that are doubts only."""
    engine, only = warehouse.engine, DayRange.of(day)
    found = find_positions_beside_the_chain(
        reads.read_days(engine, schema.pool_positions, only),
        reads.read_days(engine, schema.chain_balances, only),
        reads.trial_balance(engine, day, UNEXPLAINED_ACCOUNT),
        AddressBook.of(warehouse.policy(day), warehouse.contracts(day)),
    )
    hard = [item for item in found if not item.name.startswith("untrusted_")]
    return hard, [item for item in found if item not in hard]


def rate_jumps(warehouse: ReadableWarehouse, day: date) -> list[Violation]:
    """Positions whose rate is not yesterday's grown by a day."""
    positions = reads.read_days(warehouse.engine, schema.pool_positions, DayRange.of(day))
    before = reads.read_days(warehouse.engine, schema.pool_positions, DayRange.of(day_before(day)))
    pool_ids = sorted(set(positions["pool_id"]))
    return find_rate_jumps(positions, before, last_apys(warehouse, pool_ids, DayRange.of(day)), day)


def nav_violations(warehouse: ReadableWarehouse, day: date) -> list[Violation]:
    """Parts of the day's NAV change that do not add up."""
    nav = reads.read_days(warehouse.engine, schema.nav_daily, DayRange.of(day))
    before = reads.read_days(warehouse.engine, schema.nav_daily, DayRange.of(day_before(day)))
    return find_nav_gap(nav, before)


def attribution_violations(warehouse: ReadableWarehouse, day: date) -> list[Violation]:
    """Positions, incomes and gaps in the day's attribution that do not add up."""
    only, before = DayRange.of(day), DayRange.of(day_before(day))
    return find_attribution_gaps(
        reads.read_days(warehouse.engine, schema.yield_attribution, only),
        nav=reads.read_days(warehouse.engine, schema.nav_daily, only),
        previous_nav=reads.read_days(warehouse.engine, schema.nav_daily, before),
        postings=reads.read_days(warehouse.engine, schema.ledger_postings, only),
    )


def require_sound_ledger(warehouse: WarehouseResource, day: date) -> None:
    """SuspiciousDataError naming the first violations when the day's ledger does not hold."""
    if reads.read_days(warehouse.engine, schema.nav_daily, DayRange.of(day)).empty:
        raise SuspiciousDataError(f"nav_daily of {day} is missing: the ledger of the day is not complete")
    found = [
        *posting_violations(warehouse, day),
        *balance_violations(warehouse, day)[0],
        *position_violations(warehouse, day)[0],
        *nav_violations(warehouse, day),
    ]
    if found:
        listed = "; ".join(f"{item.name}: {item.subject}: {item.detail}" for item in found[:5])
        raise SuspiciousDataError(f"no plan is made on a ledger that does not hold on {day}: {listed}")


def replay_stored_plan(warehouse: WarehouseResource, day: date) -> ReplayResult:
    """The plan that is stored for the day, replayed on the day's balances."""
    engine, only = warehouse.engine, DayRange.of(day)
    return replay_plan(
        runs=reads.read_days(engine, schema.allocation_runs, only),
        allocations=reads.read_days(engine, schema.allocations, only),
        steps=reads.read_days(engine, schema.allocation_steps, only),
        **plan_inputs(warehouse, day),
    )


def require_replayed(warehouse: WarehouseResource, day: date) -> None:
    """SuspiciousDataError when the day has a plan to act on that does not replay to the base unit."""
    runs = reads.read_days(warehouse.engine, schema.allocation_runs, DayRange.of(day))
    if runs.empty or runs.iloc[0]["status"] not in PUBLISHED:
        return
    result = replay_stored_plan(warehouse, day)
    if not result.is_passed:
        raise SuspiciousDataError(
            f"the plan of {day} does not replay, so it is neither shown nor executed: {'; '.join(result.errors[:5])}"
        )
