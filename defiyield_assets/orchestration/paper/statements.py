"""What is stored of a paper portfolio: its newest row, orders and round trips, and the backtest beside them.

Lives here: reading for the command line. Not here: printing (cli/paper.py), writing (books.py).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pandas as pd
from sqlalchemy import Engine

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.paper.book_codec import Restatement, restatements_in, restatements_text, scales_in
from defiyield_assets.domain.paper.equality import Comparison, compared
from defiyield_assets.domain.paper.portfolios import Portfolio, changed_factors
from defiyield_assets.domain.strategies.columns import nearest
from defiyield_assets.domain.strategies.costs import Account, CostModel
from defiyield_assets.domain.strategies.runs import TRADE_COLUMNS
from defiyield_assets.domain.strategies.strategy import Strategy
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.paper.books import LAST_DAY
from defiyield_assets.orchestration.paper.inputs import Inputs, read_inputs
from defiyield_assets.store import reads, schema

EVER = DayRange(date(1970, 1, 1), LAST_DAY)
NO_RESTATEMENTS = restatements_text(())


@dataclass(frozen=True)
class Statement:
    """A portfolio at the end of a day: its row of `paper_portfolio`, all its orders and round trips up to it."""

    row: Mapping[str, Any]
    orders: pd.DataFrame
    trades: pd.DataFrame
    restated: Sequence[tuple[date, Restatement]] = ()
    """Splits and dividends by the day on which the portfolio took them in."""

    @property
    def balances(self) -> dict[str, str]:
        """Units by asset."""
        return {str(name): str(units) for name, units in json.loads(self.row["balances_json"]).items()}

    @property
    def pending(self) -> list[dict[str, Any]]:
        """What waits for the next open."""
        return list(json.loads(self.row["pending_json"]))

    @property
    def positions(self) -> list[dict[str, Any]]:
        """What is held."""
        return list(json.loads(self.row["positions_json"]))

    @property
    def signal_types(self) -> tuple[str, ...]:
        """Types of signals that the strategy follows."""
        told = self.row["signal_types"]
        return tuple(told.split(", ")) if told else ()

    @property
    def total_return(self) -> float:
        """Equity over capital, less one."""
        return float(self.row["equity"] / self.row["capital"] - 1)


def newest_rows(engine: Engine, through: date | None = None) -> pd.DataFrame:
    """The newest row of every portfolio (not after a day), by id."""
    rows = reads.read_days(engine, schema.paper_portfolio, DayRange(EVER.start, through or EVER.end))
    newest = rows.sort_values("date").groupby("portfolio_id", sort=True).tail(1)
    return newest.sort_values("portfolio_id", ignore_index=True)


def newest_day(engine: Engine, portfolio_id: str) -> date | None:
    """The newest day of a portfolio; None before its first."""
    return reads.newest_day(engine, schema.paper_portfolio, LAST_DAY, {"portfolio_id": portfolio_id})


def statement(engine: Engine, portfolio_id: str, day: date | None = None) -> Statement:
    """A portfolio at the end of a day, None: the newest. ConfigurationError where there is no such row."""
    where = {"portfolio_id": portfolio_id}
    chosen = day or newest_day(engine, portfolio_id)
    if chosen is None:
        known = [name for (name,) in reads.distinct(engine, schema.paper_portfolio, ["portfolio_id"], LAST_DAY)]
        told = nearest(portfolio_id, known) if known else "none is stored yet: run `defiyield paper run`"
        raise ConfigurationError(f"no paper portfolio is called {portfolio_id!r}; {told}")
    rows = reads.read_days(engine, schema.paper_portfolio, DayRange.of(chosen), where)
    if rows.empty:
        raise ConfigurationError(
            f"{portfolio_id} has no row of {chosen}; its newest is of {newest_day(engine, portfolio_id)}"
        )
    row = {str(name): value for name, value in rows.iloc[0].items()}
    days = DayRange(EVER.start, chosen)
    orders = reads.read_days(engine, schema.paper_orders, days, where).sort_values("number", ignore_index=True)
    trades = reads.read_days(engine, schema.paper_trades, days, where).sort_values("number", ignore_index=True)
    books = reads.read_days(engine, schema.paper_portfolio, days, where, ["date", "restated_json"]).sort_values("date")
    restated = [
        (day, one)
        for day, text in zip(books["date"], books["restated_json"], strict=True)
        for one in restatements_in(text)
    ]
    return Statement(row, orders, trades, restated)


def beside_backtest(engine: Engine, told: Statement, strategies: Collection[Strategy]) -> Comparison:
    """A statement beside the backtest of its strategy over the bars that are stored now.

    ConfigurationError where no strategy has the content that the portfolio was begun with.
    """
    row = told.row
    strategy = next((one for one in strategies if one.content_hash == row["strategy_hash"]), None)
    if strategy is None:
        raise ConfigurationError(f"{row['strategy_id']} was changed since {row['portfolio_id']} was begun")
    terms = json.loads(row["terms_json"])
    portfolio = Portfolio(
        row["portfolio_id"],
        strategy,
        row["universe"],
        row["starts_on"],
        tuple(json.loads(row["instruments_json"])),
        CostModel(**terms["costs"]),
        Account(**terms["account"]),
    )
    inputs = read_inputs(engine, portfolio, row["date"])
    history, signals = inputs.known_on(row["date"])
    return compared(
        told.trades[list(TRADE_COLUMNS)],
        float(row["engine_equity"]),
        portfolio,
        history,
        signals,
        restated=_restated_since(engine, told, inputs),
    )


def _restated_since(engine: Engine, told: Statement, inputs: Inputs) -> list[float] | None:
    """By what the prices of each round trip have been multiplied since its day; None: nothing was restated ever."""
    days, where = DayRange(EVER.start, told.row["date"]), {"portfolio_id": told.row["portfolio_id"]}
    rows = reads.read_days(engine, schema.paper_portfolio, days, where, ["date", "scales_json", "restated_json"])
    scales = {day: scales_in(text) for day, text in zip(rows["date"], rows["scales_json"], strict=True)}
    dates, names = inputs.history.dates, inputs.history.instruments
    ratios = []
    for one in told.trades.to_dict("records"):
        own = {name: scale for name, scale in scales[one["date"]].items() if name == one["instrument_id"]}
        changed = changed_factors(names, own, dates, inputs.factors)
        ratios += [changed[name] / own[name].factor for name in changed] or [1.0]
    newest = changed_factors(names, scales[told.row["date"]], dates, inputs.factors)
    is_as_it_was = not newest and set(rows["restated_json"]) <= {NO_RESTATEMENTS} and set(ratios) <= {1.0}
    return None if is_as_it_was else ratios


def newest_bar(engine: Engine, universe: str, through: date) -> date | None:
    """The newest day up to `through` on which an instrument of a universe has a bar."""
    listed = reads.read_all(engine, schema.instruments, {"universe": universe})
    names = listed["instrument_id"].tolist()
    if not names:
        return None
    return reads.newest_day(engine, schema.daily_bars, through, {"instrument_id": names})


def day_after(day: date) -> date:
    """The UTC day behind."""
    return day + timedelta(days=1)
