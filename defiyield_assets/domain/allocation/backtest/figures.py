"""What the books of a backtest amount to: yearly yield, cost, turnover, worst day, parts of it, pools.

Lives here: measures of `Books`. Not here: the books (engine.py), pictures (plots.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pandas as pd

from defiyield_assets.domain.allocation.backtest.engine import Books
from defiyield_assets.domain.ledger.rates import DAYS_PER_YEAR

VERIFIED = ("optimal", "hold", "simple")
"""Outcomes after which every position is within its caps."""


@dataclass(frozen=True)
class Figures:
    """Rates are fractions a year of mean wealth, USD amounts as they fell; `worst_day` is a day's return."""

    n_days: int
    net_apy: float
    yield_usd: float
    gas_usd: float
    conversion_usd: float
    cost_share: float
    turnover: float
    worst_day: float
    idle_share: float
    n_transactions: int

    @property
    def cost_usd(self) -> float:
        """Gas and conversions."""
        return self.gas_usd + self.conversion_usd


def figures(books: Books, first: date | None = None, last: date | None = None) -> Figures:
    """Measures of the books between two paid days (inclusive); from the wealth before the first of them."""
    days = books.daily
    days = days[(days["date"] >= (first or days["date"].min())) & (days["date"] <= (last or days["date"].max()))]
    numbers = {name: days[name].astype(float) for name in days.columns if name.endswith("_usd")}
    n_days, before, after = len(days), numbers["wealth_before_usd"], numbers["wealth_usd"]
    mean, years = float(before.mean()), len(days) / DAYS_PER_YEAR
    gas, conversion = float(numbers["gas_usd"].sum()), float(numbers["conversion_usd"].sum())
    return Figures(
        n_days=n_days,
        net_apy=yearly(float(before.iloc[0]), float(after.iloc[-1]), n_days),
        yield_usd=float(numbers["yield_usd"].sum()),
        gas_usd=gas,
        conversion_usd=conversion,
        cost_share=(gas + conversion) / mean / years,
        turnover=float(numbers["turnover_usd"].sum()) / mean / years,
        worst_day=float((after / before - 1.0).min()),
        idle_share=float((numbers["idle_usd"] / before).mean()),
        n_transactions=int(days["n_transactions"].sum()),
    )


def yearly(before_usd: float, after_usd: float, n_days: int) -> float:
    """Compounded annual rate that leads from one wealth to the other."""
    return float((after_usd / before_usd) ** (DAYS_PER_YEAR / n_days) - 1.0)


def halves(books: Books) -> tuple[tuple[date, date], tuple[date, date]]:
    """First and last paid day of each half; the middle day of an odd number belongs to the first."""
    days: Sequence[date] = list(books.daily["date"])
    middle = (len(days) + 1) // 2
    return (days[0], days[middle - 1]), (days[middle], days[-1])


def days_without_plan(books: Books) -> int:
    """Longest run of days after the first plan on which no verified plan brought positions under their caps."""
    longest = run = 0
    is_started = False
    for status in books.daily["status"]:
        is_verified = status in VERIFIED
        is_started |= is_verified
        run = 0 if is_verified or not is_started else run + 1
        longest = max(longest, run)
    return longest


def attribution(books: Books) -> pd.DataFrame:
    """Per pool, largest yield first: days held, mean value while held (USD), yield (USD), its share, APY while held."""
    rows = books.pools.assign(
        value_usd=books.pools["value_usd"].astype(float), yield_usd=books.pools["yield_usd"].astype(float)
    )
    by_pool = rows.groupby("pool_id").agg(
        days=("date", "nunique"),
        mean_usd=("value_usd", "mean"),
        total=("value_usd", "sum"),
        yield_usd=("yield_usd", "sum"),
    )
    by_pool["share"] = by_pool["yield_usd"] / by_pool["yield_usd"].sum()
    by_pool["apy"] = (1.0 + by_pool["yield_usd"] / by_pool["total"]) ** DAYS_PER_YEAR - 1.0
    return by_pool.drop(columns="total").sort_values("yield_usd", ascending=False).reset_index()
