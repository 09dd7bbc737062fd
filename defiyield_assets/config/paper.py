"""Reading paper.yaml: portfolios that are traded on paper every day, checked.

Lives here: the file's shape and `load_paper`. Not here: reading of YAML (reading.py), strategies (strategy_files.py),
trading (domain/paper).
"""

from collections.abc import Collection
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from defiyield_assets.config.files import MODELS, Strict
from defiyield_assets.config.reading import listed, read_file, validate
from defiyield_assets.domain.paper.limits import LEAST_CAPITAL, MOST_CAPITAL
from defiyield_assets.domain.strategies.columns import nearest
from defiyield_assets.domain.strategies.costs import CostModel
from defiyield_assets.errors import ConfigurationError

NAME = "paper.yaml"
Snake = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
Fraction = Annotated[float, Field(ge=0, lt=0.1)]


class PortfolioEntry(Strict):
    """One portfolio."""

    id: Snake
    strategy: Snake
    capital: Annotated[float, Field(ge=LEAST_CAPITAL, le=MOST_CAPITAL)] = 100_000.0
    starts_on: date | None = None
    universe: Snake | None = None
    fee: Fraction = CostModel().fee
    half_spread: Fraction = CostModel().half_spread


class PaperFile(Strict):
    """paper.yaml."""

    portfolios: tuple[PortfolioEntry, ...] = ()


MODELS[NAME] = PaperFile  # where reading.py looks up which keys there are, to name the nearest one


def load_paper(folder: Path | None, strategies: Collection[str]) -> dict[str, PortfolioEntry]:
    """The portfolios of paper.yaml by id.

    `folder`: the user's configuration folder; its paper.yaml replaces the shipped one. `strategies`: ids that there
    are. ConfigurationError naming file, line and the nearest known name.
    """
    source = read_file(NAME, folder)
    content: PaperFile = validate(source, TypeAdapter(PaperFile))
    problems, found = [], dict[str, PortfolioEntry]()
    for index, one in enumerate(content.portfolios):
        place = source.at(("portfolios", index))
        if one.id in found:
            problems.append(f"{place}: the portfolio {one.id!r} is there twice; give each its own id")
        if one.strategy not in strategies:
            problems.append(f"{place}: no strategy is called {one.strategy!r}; {nearest(one.strategy, strategies)}")
        found[one.id] = one
    if problems:
        raise ConfigurationError(listed(problems))
    return found
