"""The ledger of a closed loop against the chain itself, in base units: balances, positions, wealth from day to day.

Lives here: reading both sides and every difference between them, for tests and benchmarks. Not here: what is done about
a difference. The chain is asked directly, not through the vendors' answers that the ledger was made from.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange, end_of, market_stamp, start_of
from defiyield_assets.simulator.chain import SimulatedChain
from defiyield_assets.simulator.chain_plan import StepLeg, read_steps
from defiyield_assets.simulator.chain_records import IN_WALLET, NATIVE, PositionKey, Transaction
from defiyield_assets.simulator.market import Market
from defiyield_assets.store import reads, schema

Balances = Mapping[tuple[str, str], int]
"""Base units by (wallet, token); `native` is wei; nothing is 0."""
Positions = Mapping[PositionKey, int]
"""Base units by (wallet, pool_id, underlying token); nothing is 0."""


@dataclass(frozen=True)
class Books:
    """What our wallets hold at the end of a day: tokens and shares, and what the shares stand for."""

    balances: Balances
    positions: Positions


@dataclass(frozen=True)
class Difference:
    """One number of the ledger that is not what it should be."""

    day: date
    what: str
    ledger: int
    truth: int

    @property
    def base_units(self) -> int:
        """By how much."""
        return abs(self.ledger - self.truth)

    def __str__(self) -> str:
        return f"{self.day} {self.what}: ledger {self.ledger}, truth {self.truth}, {self.ledger - self.truth:+d}"


def ledger_of(engine: sa.Engine, day: date) -> Books:
    """`daily_balances` and `pool_positions` of the day."""
    only = DayRange.of(day)
    held = reads.read_days(engine, schema.daily_balances, only)
    pools = reads.read_days(engine, schema.pool_positions, only)
    balances = zip(held["wallet"], held["token_address"], held["balance"], strict=True)
    positions = zip(pools["wallet"], pools["pool_id"], pools["token_address"], pools["underlying_amount"], strict=True)
    return Books(
        {(wallet, token): amount for wallet, token, amount in balances if amount},
        {(wallet, pool, token): amount for wallet, pool, token, amount in positions if amount},
    )


def chain_of(chain: SimulatedChain, day: date) -> Books:
    """What the chain holds for our wallets at the end of the day, as far as the vendors could tell."""
    at = market_stamp(day)
    balances = {
        (wallet, token): amount
        for wallet in chain.world.wallets
        for token, amount in chain.balances(wallet, at).items()
    }
    return Books(balances, chain.positions(day))


def differences(day: date, ledger: Books, chain: Books) -> list[Difference]:
    """Every balance and position on which the two do not agree to the unit."""
    found: list[Difference] = []
    for ours, theirs, name in (
        (ledger.balances, chain.balances, "balance of"),
        (ledger.positions, chain.positions, "position of"),
    ):
        found += [
            Difference(day, f"{name} {', '.join(key)}", ours.get(key, 0), theirs.get(key, 0))
            for key in sorted({*ours, *theirs})
            if ours.get(key, 0) != theirs.get(key, 0)
        ]
    return found


def wealth(books: Books, shares: Iterable[str]) -> dict[str, int]:
    """Base units by token in wallets and pools together; share tokens stand for underlying and do not count."""
    is_share, totals = frozenset(shares), Counter[str]()
    for (_, token), amount in books.balances.items():
        if token not in is_share:
            totals[token] += amount
    for (_, _, token), amount in books.positions.items():
        totals[token] += amount
    return {token: amount for token, amount in totals.items() if amount}


def own_transactions(chain: SimulatedChain, day: date) -> list[Transaction]:
    """What our wallets sent in the blocks of the day."""
    return [
        one
        for one in chain.transactions(end_of(day))
        if start_of(day) <= one.time < end_of(day) and one.sender in chain.world.wallets
    ]


def expected_wealth(market: Market, engine: sa.Engine, day: date, before: Books) -> dict[str, int]:
    """Base units by token at the end of the day, from the ledger of the day before and its plan: less the gas that was
    burnt, less what conversions gave, plus what they took, plus the growth of what the plan left in pools and wallets.

    Nothing else moves wealth in a closed loop after its first day.
    """
    chain = market.chain
    steps = read_steps(reads.read_days(engine, schema.allocation_steps, DayRange.of(day_before(day))))
    moved = Counter(wealth(before, [pool.share_token for pool in chain.world.pools.values()]))
    for one in own_transactions(chain, day):
        moved[NATIVE] -= one.fee_wei
    for leg in steps:
        if leg.step_type == "CONVERT":
            moved[str(leg.token_in)] -= leg.amount_in or 0
            moved[str(leg.token_out)] += leg.amount_out or 0
    for key, amount in _what_grows(market, before, steps).items():
        moved[key[2]] += chain.grown(key, day, amount) - amount
    return {token: amount for token, amount in moved.items() if amount}


def day_before(day: date) -> date:
    """Yesterday."""
    return date.fromordinal(day.toordinal() - 1)


def _what_grows(market: Market, before: Books, steps: Iterable[StepLeg]) -> dict[PositionKey, int]:
    """Positions and balances of rebasing tokens once the plan has been executed."""
    todays_ids = {alias.old_id: alias.new_id for alias in market.pool_aliases()}
    rebasing = market.chain.world.rebasing_tokens
    grows = Counter(before.positions)
    for (wallet, token), amount in before.balances.items():
        if token in rebasing:
            grows[wallet, IN_WALLET, token] += amount
    for leg in steps:
        pool_id = todays_ids.get(leg.pool_id or "", leg.pool_id or "")
        if leg.step_type == "DEPOSIT":
            grows[leg.wallet, pool_id, str(leg.token_in)] += leg.amount_in or 0
        if leg.step_type == "WITHDRAW":
            grows[leg.wallet, pool_id, str(leg.token_out)] -= leg.amount_out or 0
        for moved, change in ((leg.token_in, -(leg.amount_in or 0)), (leg.token_out, leg.amount_out or 0)):
            if moved in rebasing:
                grows[leg.wallet, IN_WALLET, str(moved)] += change
    return {key: amount for key, amount in grows.items() if amount > 0}


def wealth_differences(market: Market, engine: sa.Engine, day: date, ledger: Books, before: Books) -> list[Difference]:
    """Tokens whose wealth is not yesterday's less gas, plus and minus conversions, plus growth."""
    shares = [pool.share_token for pool in market.chain.world.pools.values()]
    ours, theirs = wealth(ledger, shares), expected_wealth(market, engine, day, before)
    return [
        Difference(day, f"wealth in {token}", ours.get(token, 0), theirs.get(token, 0))
        for token in sorted({*ours, *theirs})
        if ours.get(token, 0) != theirs.get(token, 0)
    ]
