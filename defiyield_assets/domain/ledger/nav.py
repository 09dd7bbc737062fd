"""`nav_daily`: what everything is worth at the end of a day, and what moved it since yesterday, exactly.

Lives here: net asset value, its parts and returns. Not here: the holdings (balances.py, positions.py) or the test that
the parts add up (checks.py).
"""

from datetime import date, timedelta
from decimal import Decimal
from math import prod

import pandas as pd

from defiyield_assets.domain.ledger.accounts import (
    CONVERSION_COST,
    CONVERSIONS,
    EXTERNAL_PREFIX,
    GAS,
    NATIVE,
    OPENING_ACCOUNT,
    POOL_PREFIX,
    REWARDS,
    UNEXPLAINED_ACCOUNT,
    YIELD_PREFIX,
    AddressBook,
)
from defiyield_assets.domain.ledger.tables import NAV_DAILY, make_frame
from defiyield_assets.domain.ledger.unexplained_shares import worth_of_unexplained_shares
from defiyield_assets.domain.ledger.valuation import EXACT, RATIO, ZERO, Prices, exact_sum, tidy, with_values
from defiyield_assets.domain.policy import Policy
from defiyield_assets.errors import SuspiciousDataError


def nav_daily(
    day: date,
    *,
    balances: pd.DataFrame,
    positions: pd.DataFrame,
    previous_balances: pd.DataFrame,
    previous_positions: pd.DataFrame,
    postings: pd.DataFrame,
    previous_nav: pd.DataFrame,
    policy: Policy,
    contracts: pd.DataFrame,
    prices: Prices,
) -> pd.DataFrame:
    """The `nav_daily` row of a day.

    `balances` and `positions` are the day's, the `previous_` ones yesterday's; `postings` holds at least the day's;
    `previous_nav` any earlier `nav_daily` rows, of which yesterday's is needed. Without any earlier row the day is the
    first: all of its NAV is a flow. Earlier rows without yesterday's, postings without a value: SuspiciousDataError.

    Everything that moved is valued at today's close, so price change is yesterday's holdings times the change of their
    closes, and NAV_D - NAV_{D-1} = flows + income - expenses + price change + unexplained holds exactly (checks.py
    tests it; nothing here is a residual of it). Flows: external capital and opening balances of wallets. Income: growth
    of positions beyond what was paid in and out, rewards and rebases. Expenses: gas and the dollar difference of the
    two sides of conversions. Shares that nobody explains are no income: what they are worth is unexplained. A
    correction moves value from the part where it was to the part where it belongs.

    Returns are time-weighted with flows at the start of the day, (NAV_D - NAV_{D-1} - F) / (NAV_{D-1} + F); realised
    yield is income over the same NAV_{D-1} + F. Both are chained within month and year (product of 1 + r, less 1; a day
    without one counts as 0), and null when nothing was at work and on the first day, when nothing was measured.
    """
    wallets = _sum(balances.loc[balances["token_address"] != NATIVE, "value_usd"])
    eth, pools = _sum(balances.loc[balances["token_address"] == NATIVE, "value_usd"]), _sum(positions["value_usd"])
    nav = exact_sum([wallets, eth, pools])
    before = _yesterday(previous_nav, day)
    opening: Decimal = ZERO if before is None else before["nav_usd"]
    parts = {"flows": nav, "income": ZERO, "expenses": ZERO, "price_change": ZERO, "unexplained": ZERO}
    if before is not None:
        book = AddressBook.of(policy, contracts)
        held_pools = exact_sum(reprice(previous_positions, "underlying_amount", book, prices, day))
        held_wallets = exact_sum(reprice(previous_balances, "balance", book, prices, day))
        own = with_values(postings[postings["date"] == day])
        parts = _moves(own, _minus(pools, held_pools))
        shares = worth_of_unexplained_shares(
            own, positions=positions, previous_positions=previous_positions, book=book, prices=prices, day=day
        )
        parts["unexplained"] = exact_sum([parts["unexplained"], *shares.values()])
        parts["income"] = _minus(parts["income"], exact_sum(shares.values()))
        worth = exact_sum([*previous_positions["value_usd"], *previous_balances["value_usd"]])
        parts["price_change"] = _minus(exact_sum([held_pools, held_wallets]), worth)
    at_work = exact_sum([opening, parts["flows"]])
    is_measured = before is not None and at_work > 0
    gained = float(RATIO.divide(_minus(nav, at_work), at_work)) if is_measured else None
    earned = float(RATIO.divide(parts["income"], at_work)) if is_measured else None
    row = (
        day,
        nav,
        wallets,
        pools,
        eth,
        parts["flows"],
        parts["income"],
        parts["expenses"],
        parts["price_change"],
        parts["unexplained"],
        *_chains(gained, previous_nav, "return_1d", day),
        *_chains(earned, previous_nav, "realised_yield_1d", day),
        _idle_share(nav, pools),
    )
    return make_frame(NAV_DAILY, [row])


def _sum(values: pd.Series) -> Decimal:
    return exact_sum(list(values))


def _minus(left: Decimal, right: Decimal) -> Decimal:
    return tidy(EXACT.subtract(left, right))


def _yesterday(previous_nav: pd.DataFrame, day: date) -> pd.Series | None:
    """Yesterday's row; None on the first day of the ledger."""
    earlier = previous_nav[previous_nav["date"] < day] if len(previous_nav) else previous_nav
    if earlier.empty:
        return None
    wanted = day - timedelta(days=1)
    found = earlier[earlier["date"] == wanted]
    if found.empty:
        raise SuspiciousDataError(
            f"nav_daily has rows up to {max(earlier['date'])}, but none for {wanted}: materialise that day first"
        )
    return found.iloc[0]


def reprice(held: pd.DataFrame, amount: str, book: AddressBook, prices: Prices, day: date) -> list[Decimal]:
    """Each row of yesterday's holdings at today's closes; share tokens and untrusted tokens are worth 0."""
    return [
        ZERO if book.pool_of_share(chain_id, token) is not None else prices.value(chain_id, token, units, day)
        for chain_id, token, units in zip(held["chain_id"], held["token_address"], held[amount], strict=True)
    ]


def _moves(postings: pd.DataFrame, grown: Decimal) -> dict[str, Decimal]:
    """The day's postings by what they did to NAV. `grown`: change of the positions at today's closes, with flows."""
    found: dict[str, list[Decimal]] = {name: [] for name in ("flows", "income", "expenses", "unexplained", "paid_in")}
    columns = (postings[name] for name in ("account", "pool_id", "valued_usd"))
    for account, pool_id, value in zip(*columns, strict=True):
        if account.startswith(POOL_PREFIX) or (account.startswith(YIELD_PREFIX) and isinstance(pool_id, str)):
            found["paid_in"].append(value)
        elif account == REWARDS or account.startswith(YIELD_PREFIX):
            found["income"].append(value.copy_negate())
        elif account in {GAS, CONVERSION_COST, CONVERSIONS}:
            found["expenses"].append(value)
        elif account == UNEXPLAINED_ACCOUNT:
            found["unexplained"].append(value.copy_negate())
        elif account == OPENING_ACCOUNT or account.startswith(EXTERNAL_PREFIX):
            found["flows"].append(value.copy_negate())
    moves = {name: exact_sum(values) for name, values in found.items()}
    paid_in = moves.pop("paid_in")
    moves["income"] = exact_sum([moves["income"], _minus(grown, paid_in)])
    return moves


def income_outside_pools(postings: pd.DataFrame) -> Decimal:
    """Income that belongs to no pool: rewards that name none, and rebases of tokens in wallets."""
    columns = (postings[name] for name in ("account", "pool_id", "valued_usd"))
    return exact_sum(
        value.copy_negate()
        for account, pool_id, value in zip(*columns, strict=True)
        if not isinstance(pool_id, str) and (account == REWARDS or account.startswith(YIELD_PREFIX))
    )


def _chains(
    today: float | None, previous_nav: pd.DataFrame, column: str, day: date
) -> tuple[float | None, float | None, float | None]:
    """(today's, month to date, year to date) of a daily rate; null while no day of the span has one."""
    past = dict(zip(previous_nav["date"], previous_nav[column], strict=True)) if len(previous_nav) else {}
    rates = {known: float(rate) for known, rate in past.items() if known < day and pd.notna(rate)}
    if today is not None:
        rates[day] = today
    of_year = [rates[known] for known in sorted(rates) if known.year == day.year]
    of_month = [rates[known] for known in sorted(rates) if (known.year, known.month) == (day.year, day.month)]
    return today, _chained(of_month), _chained(of_year)


def _chained(rates: list[float]) -> float | None:
    """Product of 1 + r, less 1; a single rate stays what it is to the last bit."""
    if len(rates) <= 1:
        return rates[0] if rates else None
    return prod(1.0 + rate for rate in rates) - 1.0


def _idle_share(nav: Decimal, pools: Decimal) -> float:
    """Share of NAV that is in no pool; 1 when there is nothing."""
    return float(RATIO.divide(_minus(nav, pools), nav)) if nav > 0 else 1.0
