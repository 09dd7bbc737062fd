"""Which portfolios a run trades: those of paper.yaml, or those that a command names with all their terms.

Lives here: the run's configuration and what it means. Not here: the file (config/paper.py), bars (inputs.py), stored
books (books.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

import dagster as dg
from pydantic import Field

from defiyield_assets.config.paper import load_paper
from defiyield_assets.domain.paper.limits import LEAST_CAPITAL, MOST_CAPITAL
from defiyield_assets.domain.paper.portfolios import portfolio_id_of
from defiyield_assets.domain.strategies.columns import nearest
from defiyield_assets.domain.strategies.costs import Account, CostModel
from defiyield_assets.domain.strategies.strategy import Strategy
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.lab.inputs import strategies_in
from defiyield_assets.orchestration.resources import PolicyResource


class Terms(dg.Config):
    """A portfolio that is no part of paper.yaml; its id is made of all that stands here."""

    strategy: str = Field(description="Id of a strategy")
    starts_on: str = Field(description="First day on which an order may be filled, YYYY-MM-DD")
    capital: float = Field(default=100_000.0, ge=LEAST_CAPITAL, le=MOST_CAPITAL, description="Currency")
    fee: float = Field(default=CostModel().fee, ge=0.0, lt=1.0, description="Of each side's value")
    half_spread: float = Field(default=CostModel().half_spread, ge=0.0, lt=0.1, description="Against us")
    universe: str = Field(default="", description="Empty: the strategy's own")


class PaperTrading(dg.Config):
    """What is traded."""

    portfolios: list[str] = Field(default=[], description="Ids of paper.yaml; empty: all, or none beside `others`")
    others: list[Terms] = Field(default=[], description="Portfolios that are not in paper.yaml")
    goes_on: bool = Field(
        default=False,
        description="A portfolio goes on from its newest day; days before it are left as they are",
    )
    restate: bool = Field(
        default=False,
        description="A day that comes out differently than it is stored replaces it, and later days are deleted",
    )


@dataclass(frozen=True)
class Wish:
    """A portfolio before it is known what it trades; `starts_on` None: the first day that is made."""

    portfolio_id: str
    strategy: Strategy
    universe: str
    starts_on: date | None
    costs: CostModel
    account: Account


def wishes(policy: PolicyResource, config: PaperTrading) -> list[Wish]:
    """The portfolios of a run. ConfigurationError for a portfolio or strategy that there is not."""
    strategies = strategies_in(policy)
    found = [wish_of(one, strategies) for one in config.others]
    if config.others and not config.portfolios:
        return found
    listed = load_paper(policy.folder, strategies)
    for name in config.portfolios:
        if name not in listed:
            raise ConfigurationError(f"paper.yaml has no portfolio {name!r}; {nearest(name, listed)}")
    for name in config.portfolios or listed:
        one = listed[name]
        strategy = strategies[one.strategy]
        costs, account = _terms(one.fee, one.half_spread, one.capital)
        found.append(Wish(one.id, strategy, one.universe or strategy.spec.universe, one.starts_on, costs, account))
    return found


def wish_of(terms: Terms, strategies: Mapping[str, Strategy]) -> Wish:
    """The portfolio that a command means."""
    if terms.strategy not in strategies:
        raise ConfigurationError(f"no strategy is called {terms.strategy!r}; {nearest(terms.strategy, strategies)}")
    strategy = strategies[terms.strategy]
    try:
        starts_on = date.fromisoformat(terms.starts_on)
    except ValueError as error:
        raise ConfigurationError(f"starts_on {terms.starts_on!r} is no date; write it as YYYY-MM-DD") from error
    costs, account = _terms(terms.fee, terms.half_spread, terms.capital)
    universe = terms.universe or strategy.spec.universe
    name = portfolio_id_of(strategy, universe, starts_on, costs, account)
    return Wish(name, strategy, universe, starts_on, costs, account)


def _terms(fee: float, half_spread: float, capital: float) -> tuple[CostModel, Account]:
    return replace(CostModel(), fee=fee, half_spread=half_spread), replace(Account(), capital=capital)
