"""`yield_attribution`: what each held pool promised, what we expected and what it really earned.

Lives here: realised return of a pool-day, its dollars and the split of its gap to the forecast. Not here: the forecasts
(domain/forecasting), the plan behind them (domain/allocation), the return of the whole treasury (nav.py) or the test
that everything adds up (checks.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from math import expm1, isfinite, log1p

import pandas as pd

from defiyield_assets.domain.ledger.accounts import (
    CONVERSION_COST,
    CONVERSIONS,
    GAS,
    POOL_PREFIX,
    REWARDS,
    YIELD_PREFIX,
    AddressBook,
)
from defiyield_assets.domain.ledger.nav import reprice
from defiyield_assets.domain.ledger.rates import DAYS_PER_YEAR
from defiyield_assets.domain.ledger.tables import YIELD_ATTRIBUTION, make_frame
from defiyield_assets.domain.ledger.unexplained_shares import worth_of_unexplained_shares
from defiyield_assets.domain.ledger.valuation import EXACT, RATIO, ZERO, Prices, exact_sum, tidy, with_values
from defiyield_assets.domain.policy import Policy

_COST_ACCOUNTS = frozenset({GAS, CONVERSION_COST, CONVERSIONS})
_UNKNOWN = (None, None, None)
_UNKNOWN_GAP = (None, None, None, None)

Gap = tuple[Decimal | None, Decimal | None, Decimal | None, Decimal | None]
"""Rate, dilution, price, cost."""


def annualise(daily: float) -> float | None:
    """(1 + r)^365 - 1 for a daily return as a fraction; -1 for a total loss, None beyond what a float can say."""
    if daily <= -1.0:
        return -1.0
    exponent = DAYS_PER_YEAR * log1p(daily)
    return expm1(exponent) if exponent < 700.0 else None


def decided_rates(forecasts: pd.DataFrame, allocations: pd.DataFrame) -> tuple[dict[str, float], dict[str, float]]:
    """(forecast APY, the same after our own deposit) by pool id, of the day when we decided; fractions.

    `forecasts` are that day's means over the policy's horizon (pool_id, mean), `allocations` the rows of its published
    plan (empty: there was none). What the plan rests on counts before the mean, because a robust plan decides on a
    lower quantile; a pool without a forecast of that day has none here, whatever APY the plan had to make do with.
    Only pools that the plan keeps or enters are diluted.
    """
    expected = {
        str(pool_id): float(mean) for pool_id, mean in zip(forecasts["pool_id"], forecasts["mean"], strict=True)
    }
    diluted: dict[str, float] = {}
    columns = (allocations[name] for name in ("pool_id", "amount", "forecast_apy", "diluted_apy"))
    for pool_id, amount, before, after in zip(*columns, strict=True):
        if pool_id in expected and amount > 0 and pd.notna(before) and pd.notna(after):
            expected[pool_id], diluted[pool_id] = float(before), float(after)
    return expected, diluted


def yield_attribution(
    day: date,
    *,
    positions: pd.DataFrame,
    previous_positions: pd.DataFrame,
    postings: pd.DataFrame,
    policy: Policy,
    contracts: pd.DataFrame,
    prices: Prices,
    advertised: Mapping[str, float],
    forecasts: Mapping[str, float],
    diluted: Mapping[str, float] | None = None,
    is_first_day: bool = False,
) -> pd.DataFrame:
    """`yield_attribution` rows of a day for every pool held at its start or end, or paid in and out within it.

    `positions` are the day's `pool_positions`, `previous_positions` yesterday's, `postings` holds at least the day's.
    By pool id, APYs as fractions: `advertised` by the vendor for the day before; `forecasts` of the day when we decided
    and `diluted`, the same after our own deposit (see decided_rates; absent: no dilution).

    Dollars are exact: closing = opening + flows + income + price change. Flows are payments in less payments out at
    today's close, rewards of the pool's own transactions among those out, and shares that came or went unexplained at
    their worth; income is growth beyond them; price change is yesterday's units times the change of their closes. All
    pools' income is the pool part of `nav_daily.income_usd`.
    `is_first_day`: the ledger has no NAV of yesterday, so all that is held is a flow and nothing was measured.

    Daily return r = (income + price change - cost) / (yesterday's position and today's capital at today's close), cost
    the gas and conversions of the pool's transactions. `realised_apy` annualises r by compounding and is null for a
    pool that was left, and on a day on which its past was corrected: then income is that of many days. The gap
    realised - forecast = rate + dilution + price + cost exactly, each float taken as the decimal that it prints as:
    price is what the annualised return gains by adding price change to income, cost what it loses by adding cost to
    both, dilution what our own size takes from the forecast, rate the rest of what the pool paid.
    """
    book = AddressBook.of(policy, contracts)
    if is_first_day:
        previous_positions = previous_positions.head(0)
    repriced = _sums(previous_positions["pool_id"], reprice(previous_positions, "underlying_amount", book, prices, day))
    opening = _sums(previous_positions["pool_id"], previous_positions["value_usd"])
    closing = _sums(positions["pool_id"], positions["value_usd"])
    own = postings[postings["date"] == day]
    payments = _payments(with_values(own[own["pool_id"].notna()]))
    shares = worth_of_unexplained_shares(
        own, positions=positions, previous_positions=previous_positions, book=book, prices=prices, day=day
    )
    for pool_id, worth in shares.items():
        payments[pool_id] = payments.get(pool_id, _Payments()).with_shares(worth)
    paid_only = {pool_id for pool_id, paid in payments.items() if paid.flows}
    rows = []
    for pool_id in sorted({*opening, *closing, *paid_only}):
        paid = payments.get(pool_id, _Payments())
        start, end = opening.get(pool_id, ZERO), closing.get(pool_id, ZERO)
        price = _minus(repriced.get(pool_id, ZERO), start)
        flows = end if is_first_day else paid.flows
        income = _minus(end, exact_sum([start, price, flows]))
        at_work = exact_sum([start, price, paid.capital])
        is_measured = pool_id in closing and at_work > 0 and not (paid.is_corrected or is_first_day)
        levels = _levels(income, price, paid.cost, at_work) if is_measured else _UNKNOWN
        forecast = _known(forecasts, pool_id)
        gap = _gap(levels, forecast, _known(diluted or {}, pool_id))
        dollars = (start, flows, income, price, end, paid.cost)
        rows.append((day, pool_id, _known(advertised, pool_id), forecast, levels[2], *dollars, *gap))
    return make_frame(YIELD_ATTRIBUTION, rows)


@dataclass(frozen=True, slots=True)
class _Payments:
    """What a pool's transactions of the day moved, in dollars at its close. `capital` are flows without rewards."""

    capital: Decimal = ZERO
    flows: Decimal = ZERO
    cost: Decimal = ZERO
    is_corrected: bool = False

    def with_shares(self, worth: Decimal) -> "_Payments":
        """With shares that nobody explains, which are paid in or out as any other capital."""
        return replace(self, capital=exact_sum([self.capital, worth]), flows=exact_sum([self.flows, worth]))


def _payments(postings: pd.DataFrame) -> dict[str, _Payments]:
    """Payments by pool id from the day's postings that name one."""
    found: dict[str, dict[str, list[Decimal]]] = {}
    corrected = set()
    columns = (postings[name] for name in ("pool_id", "account", "valued_usd", "corrects"))
    for pool_id, account, value, corrects in zip(*columns, strict=True):
        if not isinstance(pool_id, str):
            continue
        sums = found.setdefault(pool_id, {"capital": [], "rewards": [], "cost": []})
        if account.startswith((POOL_PREFIX, YIELD_PREFIX)):
            sums["capital"].append(value)
            if pd.notna(corrects):
                corrected.add(pool_id)
        elif account == REWARDS:
            sums["rewards"].append(value)
        elif account in _COST_ACCOUNTS:
            sums["cost"].append(value)
    return {
        pool_id: _Payments(
            exact_sum(sums["capital"]),
            exact_sum([*sums["capital"], *sums["rewards"]]),
            exact_sum(sums["cost"]),
            pool_id in corrected,
        )
        for pool_id, sums in found.items()
    }


def _minus(left: Decimal, right: Decimal) -> Decimal:
    return tidy(EXACT.subtract(left, right))


def _known(rates: Mapping[str, float], pool_id: str) -> float | None:
    rate = rates.get(pool_id)
    return float(rate) if rate is not None and isfinite(rate) else None


def _sums(pool_ids: Iterable[str], values: Iterable[Decimal]) -> dict[str, Decimal]:
    """Exact sum of the values of each pool."""
    found: dict[str, list[Decimal]] = {}
    for pool_id, value in zip(pool_ids, values, strict=True):
        found.setdefault(pool_id, []).append(value)
    return {pool_id: exact_sum(listed) for pool_id, listed in found.items()}


def _levels(income: Decimal, price: Decimal, cost: Decimal, at_work: Decimal) -> tuple[float | None, ...]:
    """Annualised return of income alone, with price change, and with price change and cost; all or none are known."""
    sums = (income, exact_sum([income, price]), exact_sum([income, price, cost.copy_negate()]))
    levels = tuple(annualise(float(RATIO.divide(total, at_work))) for total in sums)
    return _UNKNOWN if None in levels else levels


def _gap(levels: tuple[float | None, ...], forecast: float | None, diluted: float | None) -> Gap:
    """The parts of the gap; all None where realised or forecast is unknown. From one level to the next, so that the
    parts add up whatever the levels are.
    """
    if forecast is None or None in levels:
        return _UNKNOWN_GAP
    rate, with_price, realised = (Decimal(repr(level)) for level in levels)
    expected = Decimal(repr(forecast))
    after = expected if diluted is None else Decimal(repr(diluted))
    return _minus(rate, after), _minus(after, expected), _minus(with_price, rate), _minus(realised, with_price)
