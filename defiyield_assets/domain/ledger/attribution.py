"""`yield_attribution`: what each held pool promised, what we expected and what it really earned.

Lives here: realised return of a pool-day and the split of its gap to the forecast. Not here: the forecasts
(domain/forecasting) or the return of the whole treasury (nav.py).
"""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from math import expm1, isfinite, log1p

import pandas as pd

from defiyield_assets.domain.ledger.accounts import CONVERSION_COST, CONVERSIONS, GAS, POOL_PREFIX, YIELD_PREFIX
from defiyield_assets.domain.ledger.rates import DAYS_PER_YEAR
from defiyield_assets.domain.ledger.tables import YIELD_ATTRIBUTION, make_frame
from defiyield_assets.domain.ledger.valuation import EXACT, RATIO, ZERO, Prices, exact_sum, tidy

_COST_ACCOUNTS = frozenset({GAS, CONVERSION_COST, CONVERSIONS})


def annualise(daily: float) -> float | None:
    """(1 + r)^365 - 1 for a daily return as a fraction; -1 for a total loss, None beyond what a float can say."""
    if daily <= -1.0:
        return -1.0
    exponent = DAYS_PER_YEAR * log1p(daily)
    return expm1(exponent) if exponent < 700.0 else None


def yield_attribution(
    day: date,
    *,
    positions: pd.DataFrame,
    previous_positions: pd.DataFrame,
    postings: pd.DataFrame,
    prices: Prices,
    advertised: Mapping[str, float],
    forecasts: Mapping[str, float],
    diluted: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """`yield_attribution` rows of a day for every pool held at its start or end.

    `positions` are the day's `pool_positions`, `previous_positions` yesterday's, `postings` holds at least the day's.
    By pool id, APYs as fractions: `advertised` by the vendor for the day before, `forecasts` of the day when we
    decided, `diluted` the same forecasts after our own deposit (absent: no dilution).

    Daily return r = (yield + price change - cost) / (yesterday's position and today's payments at today's close):
    yield is growth beyond payments, price change yesterday's units times the change of their closes, cost the gas and
    conversions of the pool's transactions. `realised_apy` annualises r by compounding and is null for a pool that was
    left. Gap = realised - forecast = rate + dilution + price + cost (to the last bit but float rounding): price is
    what the annualised return gains by adding price change to yield, cost what it loses by adding cost to both.
    """
    today, flows, costs = _by_pool(positions), _flows(postings, day), _costs(postings, day)
    before = _by_pool(previous_positions)
    rows = []
    for pool_id in sorted({*today, *before}):
        held, previous = today.get(pool_id, []), before.get(pool_id, [])
        opening = exact_sum(value for *_, value in previous)
        repriced = exact_sum(prices.value(chain_id, token, units, day) for chain_id, token, units, _ in previous)
        at_work = exact_sum([repriced, flows.get(pool_id, ZERO)])
        income = _minus(exact_sum(value for *_, value in held), at_work)
        price = _minus(repriced, opening)
        forecast = _known(forecasts, pool_id)
        levels = _levels(income, price, costs.get(pool_id, ZERO), at_work) if held and at_work > 0 else (None,) * 3
        after = _known(diluted or {}, pool_id)
        dilution = 0.0 if forecast is None or after is None else after - forecast
        gaps = _gaps(levels, forecast, dilution)
        rows.append((day, pool_id, _known(advertised, pool_id), forecast, levels[2], opening, income, *gaps))
    return make_frame(YIELD_ATTRIBUTION, rows)


def _minus(left: Decimal, right: Decimal) -> Decimal:
    return tidy(EXACT.subtract(left, right))


def _known(rates: Mapping[str, float], pool_id: str) -> float | None:
    rate = rates.get(pool_id)
    return float(rate) if rate is not None and isfinite(rate) else None


def _by_pool(positions: pd.DataFrame) -> dict[str, list[tuple[int, str, int, Decimal]]]:
    """(chain, token, units, value) of each pool's rows."""
    found: dict[str, list[tuple[int, str, int, Decimal]]] = {}
    columns = (positions[name] for name in ("pool_id", "chain_id", "token_address", "underlying_amount", "value_usd"))
    for pool_id, chain_id, token, units, value in zip(*columns, strict=True):
        found.setdefault(pool_id, []).append((chain_id, token, units, value))
    return found


def _pool_values(postings: pd.DataFrame, day: date) -> Iterable[tuple[str, str, Decimal]]:
    columns = (postings[name] for name in ("date", "pool_id", "account", "valued_usd"))
    for posted, pool_id, account, value in zip(*columns, strict=True):
        if posted == day and isinstance(pool_id, str):
            yield pool_id, account, value


def _flows(postings: pd.DataFrame, day: date) -> dict[str, Decimal]:
    """What was paid in (+) and out (-) of each pool on the day, in dollars at its close."""
    found: dict[str, list[Decimal]] = {}
    for pool_id, account, value in _pool_values(postings, day):
        if account.startswith((POOL_PREFIX, YIELD_PREFIX)):
            found.setdefault(pool_id, []).append(value)
    return {pool_id: exact_sum(values) for pool_id, values in found.items()}


def _costs(postings: pd.DataFrame, day: date) -> dict[str, Decimal]:
    """Gas and conversion cost of the pool's own transactions on the day, in dollars."""
    found: dict[str, list[Decimal]] = {}
    for pool_id, account, value in _pool_values(postings, day):
        if account in _COST_ACCOUNTS:
            found.setdefault(pool_id, []).append(value)
    return {pool_id: exact_sum(values) for pool_id, values in found.items()}


def _levels(income: Decimal, price: Decimal, cost: Decimal, at_work: Decimal) -> tuple[float | None, ...]:
    """Annualised return of yield alone, with price change, and with price change and cost."""
    sums = (income, exact_sum([income, price]), exact_sum([income, price, cost.copy_negate()]))
    return tuple(annualise(float(RATIO.divide(total, at_work))) for total in sums)


def _gaps(levels: tuple[float | None, ...], forecast: float | None, dilution: float) -> tuple[float | None, ...]:
    """(rate, dilution, price, cost); all None where realised or forecast is unknown."""
    rate, with_price, realised = levels
    if forecast is None or rate is None or with_price is None or realised is None:
        return (None,) * 4
    return rate - forecast - dilution, dilution, with_price - rate, realised - with_price
