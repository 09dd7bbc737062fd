"""Every table of a small treasury, day by day, as the assets would make them.

Lives here: the run of the pure functions over a chain of the tests, NAV and attribution checked every day. Not here:
the chain's facts (facts.py) or what is expected of the tables (test_*.py).
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import pandas as pd

from defiyield_assets.domain.ledger.attribution import yield_attribution
from defiyield_assets.domain.ledger.balances import daily_balances
from defiyield_assets.domain.ledger.checks import find_attribution_gaps, find_nav_gap
from defiyield_assets.domain.ledger.nav import nav_daily
from defiyield_assets.domain.ledger.positions import pool_positions
from defiyield_assets.domain.ledger.postings import build_postings
from defiyield_assets.domain.ledger.tables import NAV_DAILY, make_frame
from defiyield_assets.domain.ledger.trial_balance import TrialBalance, advance
from defiyield_assets.domain.ledger.valuation import Prices
from defiyield_assets_tests.domain.ledger.facts import START, Chain, make_contracts, make_policy, make_prices

POLICY = make_policy()
CONTRACTS = make_contracts()
EMPTY_NAV = make_frame(NAV_DAILY, [])


def trial_balance_of(postings: pd.DataFrame, day: date) -> pd.DataFrame:
    """The trial balance that all postings up to a day come to, the newest row of each account."""
    trial = TrialBalance()
    for posted in sorted({*postings["date"]}):
        if posted <= day:
            advance(trial, postings[postings["date"] == posted], posted)
    return trial.frame(day)


class Book:
    """All tables of a chain, day by day."""

    def __init__(self, chain: Chain, prices: Prices, apys: pd.DataFrame, days: int) -> None:
        self.prices = prices
        shared = {"policy": POLICY, "contracts": CONTRACTS, "prices": prices}
        self.postings = build_postings(chain.frame(), **shared)
        self.balances: dict[date, pd.DataFrame] = {}
        self.positions: dict[date, pd.DataFrame] = {}
        self.nav = EMPTY_NAV
        for day in (START + timedelta(days=at) for at in range(days)):
            before = day - timedelta(days=1)
            self.balances[day] = daily_balances(trial_balance_of(self.postings, day), day=day, **shared)
            self.positions[day] = pool_positions(self.postings, apys=apys, day=day, **shared)
            row = nav_daily(
                day,
                balances=self.balances[day],
                positions=self.positions[day],
                previous_balances=self.balances.get(before, self.balances[day].head(0)),
                previous_positions=self.positions.get(before, self.positions[day].head(0)),
                postings=self.postings,
                previous_nav=self.nav,
                **shared,
            )
            assert find_nav_gap(row, self.nav) == []
            assert self.attribution_gaps(day, row, self.attribution(day)) == []
            self.nav = pd.concat([self.nav, row], ignore_index=True) if len(self.nav) else row

    def attribution(
        self,
        day: date,
        advertised: Mapping[str, float] | None = None,
        forecasts: Mapping[str, float] | None = None,
        diluted: Mapping[str, float] | None = None,
    ) -> pd.DataFrame:
        """`yield_attribution` of a day that the book has reached."""
        return yield_attribution(
            day,
            positions=self.positions[day],
            previous_positions=self.positions.get(day - timedelta(days=1), self.positions[day].head(0)),
            postings=self.postings,
            policy=POLICY,
            contracts=CONTRACTS,
            prices=self.prices,
            advertised=advertised or {},
            forecasts=forecasts or {},
            diluted=diluted,
            is_first_day=day == START,
        )

    def attribution_gaps(self, day: date, nav: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
        """Names of what does not add up in the day's attribution."""
        found = find_attribution_gaps(
            rows,
            nav=nav,
            previous_nav=self.nav[self.nav["date"] < day],
            postings=self.postings[self.postings["date"] == day],
        )
        return [item.name for item in found]


def flat_apys(apy: float = 0.05) -> pd.DataFrame:
    """One APY of the vault for all days."""
    return pd.DataFrame([("vault", START, apy)], columns=["pool_id", "date", "apy"])


def run(chain: Chain, days: int = 4, apys: pd.DataFrame | None = None, **closes: Sequence[float]) -> Book:
    """The chain's book over some days; `closes` by symbol as make_prices takes them."""
    return Book(chain, make_prices(POLICY, **closes), flat_apys() if apys is None else apys, days)
