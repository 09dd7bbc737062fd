"""The loop of a backtest: decide in the evening, execute and be paid on the next day, keep exact books.

Lives here: the order of events and the daily books. Not here: who decides (strategies.py), balances (treasury.py),
what the books amount to (figures.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Protocol

import pandas as pd

from defiyield_assets.domain.allocation.backtest.records import KnownDay, Records, closes, decision_days, growth
from defiyield_assets.domain.allocation.backtest.strategies import Decision, due
from defiyield_assets.domain.allocation.backtest.treasury import Prices, Treasury, fresh_treasury
from defiyield_assets.domain.allocation.facts import EXACT, exact_sum
from defiyield_assets.domain.policy import Policy, Wallet
from defiyield_assets.errors import SuspiciousDataError

BOOK_COLUMNS = (
    "date",
    "status",
    "n_usable",
    "n_transactions",
    "n_pools",
    "wealth_before_usd",
    "yield_usd",
    "revaluation_usd",
    "gas_usd",
    "conversion_usd",
    "wealth_usd",
    "idle_usd",
    "turnover_usd",
    "unobserved_usd",
)
POOL_COLUMNS = ("date", "pool_id", "value_usd", "yield_usd")
WEI_PER_ETH_DIGITS = 18


class Strategy(Protocol):
    """Decides every so many days."""

    @property
    def every_days(self) -> int:
        """Days between decisions."""

    def decide(self, known: KnownDay, treasury: Treasury, prices: Prices) -> Decision:
        """Steps for what is known and held."""


@dataclass(frozen=True)
class Start:
    """Where a backtest begins: the days that are paid (inclusive), capital in one token, the wallet."""

    first_day: date
    last_day: date
    capital_usd: Decimal
    token: str
    wallet: Wallet


@dataclass(frozen=True)
class Books:
    """A finished replay: one row per day (BOOK_COLUMNS), one per day and held pool (POOL_COLUMNS), steps as sent.

    wealth_usd = wealth_before_usd + yield_usd + revaluation_usd - gas_usd - conversion_usd, exactly, on every row.
    """

    daily: pd.DataFrame
    pools: pd.DataFrame
    steps: pd.DataFrame
    start: Start


def replay(
    strategy: Strategy,
    records: Records,
    start: Start,
    policy: Policy,
    *,
    progress: Callable[[date], None] | None = None,
) -> Books:
    """Run a strategy from cash over all days.

    On the evening before a day the strategy sees that evening's tables; what it decides is sent on the day, at the
    day's gas price, and every position is then paid the day's yield, diluted by our own size. Raises
    SuspiciousDataError when the books of a day do not balance to the last digit.
    """
    decimals = {token.address: token.decimals for token in policy.tokens}
    evenings = decision_days(start.first_day, start.last_day)
    prices = prices_of(records.known(evenings[0]))
    treasury = fresh_treasury(start.wallet, decimals, start.token, start.capital_usd, prices)
    daily, pools, steps = [], list[tuple[object, ...]](), []
    for evening in evenings:
        known = records.known(evening)
        prices = prices_of(known)
        before = treasury.wealth(prices)
        decision = None
        if due(evenings[0], evening, strategy.every_days):
            decision = strategy.decide(known, treasury, prices)
            steps.append(decision.steps)
        day = evening + timedelta(days=1)
        row, held = _pass_day(treasury, decision, records, prices, before=before, day=day)
        daily.append(row)
        pools.extend((day, *item) for item in held)
        if progress is not None:
            progress(day)
    return Books(
        pd.DataFrame(daily, columns=list(BOOK_COLUMNS)),
        pd.DataFrame(pools, columns=list(POOL_COLUMNS)),
        pd.concat(steps, ignore_index=True),
        start,
    )


def prices_of(known: KnownDay) -> Prices:
    """Closes of the evening by token address."""
    return {name.split(":", 1)[1]: price for name, price in closes(known).items()}


def _pass_day(
    treasury: Treasury, decision: Decision | None, records: Records, prices: Prices, *, before: Decimal, day: date
) -> tuple[tuple[object, ...], list[tuple[str, Decimal, Decimal]]]:
    """Execute, pay gas, be paid, revalue at the day's close; the row of the books and the yields by pool."""
    gas, conversion, n_transactions, turnover = Decimal(0), Decimal(0), 0, Decimal(0)
    if decision is not None:
        moving = decision.steps[decision.steps["step_type"] != "HOLD"]
        conversion = treasury.execute(decision.steps)
        n_transactions = int(moving["seq"].nunique())
        gas = _gas_usd(int(moving["gas_units"].sum()), records, day)
        treasury.gas_usd = EXACT.add(treasury.gas_usd, gas)
        turnover = max(
            exact_sum(moving.loc[moving["step_type"] == kind, "value_usd"]) for kind in ("WITHDRAW", "DEPOSIT")
        )
    values = {pool_id: treasury.position_usd(pool_id, prices) for pool_id in treasury.positions}
    growths, unobserved = _growths(values, records, day)
    idle = treasury.idle_usd(prices)
    paid = treasury.pay(growths, prices)
    earned = exact_sum(paid.values())
    at_old_prices = treasury.wealth(prices)
    if EXACT.add(at_old_prices, exact_sum([gas, conversion])) != EXACT.add(before, earned):
        raise SuspiciousDataError(f"the books of {day} do not balance: {at_old_prices} USD after {before} USD")
    after = treasury.wealth(prices_of(records.known(day)))
    row = (
        day,
        decision.status if decision is not None else "rest",
        decision.n_usable if decision is not None else None,
        n_transactions,
        len(values),
        before,
        earned,
        EXACT.subtract(after, at_old_prices),
        gas,
        conversion,
        after,
        idle,
        turnover,
        unobserved,
    )
    return row, [(pool_id, value, paid[pool_id]) for pool_id, value in values.items()]


def _gas_usd(units: int, records: Records, day: date) -> Decimal:
    """What gas units cost at the average price of the day."""
    price_wei, eth_usd = records.execution_gas(day)
    return EXACT.scaleb(EXACT.multiply(Decimal(units * price_wei), eth_usd), -WEI_PER_ETH_DIGITS)


def _growths(values: Mapping[str, Decimal], records: Records, day: date) -> tuple[dict[str, Decimal], Decimal]:
    """Growth of each held pool on a day, diluted by our position; and what stood in pools nobody recorded that day."""
    yields = records.yields
    column, rows = yields.column(day), yields.row
    found, unobserved = {}, []
    for pool_id, value in values.items():
        row = rows[pool_id]
        size, own = float(yields.size[row, column]), float(value)
        share = size / (size + own) if size > 0 else 1.0
        found[pool_id] = growth(float(yields.base[row, column]), float(yields.reward[row, column]), share)
        if not yields.is_observed[row, column]:
            unobserved.append(value)
    return found, exact_sum(unobserved)
