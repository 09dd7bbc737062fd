"""Whether a paper portfolio did what a backtest of the same strategy does over the same bars.

Lives here: the comparison of round trips. Not here: trading (portfolios.py), backtests (domain/strategies/runs.py),
reading either (orchestration/paper).

A round trip is stored in the prices of its day; a backtest has the prices as splits and dividends restate them today.
So what was stored is restated first. Without a split or dividend the two are the same to the bit; behind one, both were
rounded on other ways, and they are the same but for RESTATED.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from defiyield_assets.domain.paper.portfolios import Portfolio
from defiyield_assets.domain.strategies.bars import PriceHistory
from defiyield_assets.domain.strategies.plans import plan
from defiyield_assets.domain.strategies.runs import TRADE_COLUMNS, simulate, terms_of, trade_table

AT_THE_END = "end"
"""Why a backtest closes what is open on its last bar; a paper portfolio goes on holding it."""
RESTATED = 1e-9
"""Relative difference that restating explains: the rounding of binary floats, ten million times over."""
UNITS, PRICES = ("quantity",), ("entry_price", "exit_price")
MONEY = ("entry_fee", "exit_fee", "borrow_cost", "pnl")
"""Columns in currency: measured by the value of the entry."""


@dataclass(frozen=True)
class Comparison:
    """Round trips of a portfolio beside those of the backtest that were closed before its end.

    `first_difference`: in words, None: they are the same. `equity_apart`: of the last mark, currency. `tolerance`:
    relative; 0: to the bit, RESTATED: splits or dividends restated what is compared.
    """

    n_paper: int
    n_backtest: int
    n_open: int
    first_difference: str | None
    equity_apart: float
    tolerance: float = 0.0
    equity: float = 0.0

    @property
    def is_equal(self) -> bool:
        """Same trades, same equity."""
        return self.first_difference is None and abs(self.equity_apart) <= self.tolerance * abs(self.equity)


def compared(
    trades: pd.DataFrame,
    equity: float,
    portfolio: Portfolio,
    history: PriceHistory,
    signals: pd.DataFrame | None = None,
    *,
    restated: Sequence[float] | None = None,
) -> Comparison:
    """A portfolio's trades (TRADE_COLUMNS, in their order) and its equity beside the backtest over a history.

    `restated`: by what the prices of each trade have been multiplied since it was stored; None: no split or dividend
    ever restated what the portfolio held, so that all has to be the same to the bit.
    """
    made = plan(portfolio.strategy, history, signals)
    ran = simulate(made, history, terms_of(made, history, portfolio.costs, portfolio.account))
    told = trade_table(ran.trades, history.instruments)
    closed = told[told["exit_reason"] != AT_THE_END].reset_index(drop=True)
    own, tolerance = trades.reset_index(drop=True), 0.0
    if restated is not None:
        own, tolerance = in_prices_of_today(own, restated), RESTATED
    return Comparison(
        len(trades),
        len(closed),
        len(told) - len(closed),
        first_difference(own, closed, tolerance=tolerance),
        equity - ran.last_state.equity,
        tolerance,
        ran.last_state.equity,
    )


def in_prices_of_today(trades: pd.DataFrame, ratios: Sequence[float]) -> pd.DataFrame:
    """Trades with prices times the ratio of each and units divided by it; what is in currency stays."""
    by = np.asarray(ratios, dtype=np.float64)
    told = {name: trades[name].astype(float) / by for name in UNITS}
    return trades.assign(**told, **{name: trades[name].astype(float) * by for name in PRICES})


def first_difference(
    paper: pd.DataFrame, backtest: pd.DataFrame, columns: Sequence[str] = TRADE_COLUMNS, tolerance: float = 0.0
) -> str | None:
    """The first trade that differs by more than a tolerance (relative), in words; None where there is none."""
    for number in range(min(len(paper), len(backtest))):
        for name in columns:
            one, other = paper[name].iloc[number], backtest[name].iloc[number]
            if name.endswith("_date"):
                one, other = (np.datetime64(day, "D") for day in (one, other))
            if one != other and not (tolerance and _is_close(name, one, other, tolerance, backtest.iloc[number])):
                return f"trade {number + 1}: {name} is {one} on paper and {other} in the backtest"
    if len(paper) != len(backtest):
        return f"{len(paper)} trades on paper, {len(backtest)} in the backtest"
    return None


def _is_close(name: str, one: object, other: object, tolerance: float, row: pd.Series) -> bool:
    """Whether two cells are the same but for a tolerance; only numbers have any."""
    if name in MONEY:
        size = float(row["quantity"] * row["entry_price"])
    elif name in (*UNITS, *PRICES):
        size = abs(float(row[name]))
    else:
        size = 1.0 if name == "return" else 0.0
    return size > 0.0 and abs(float(str(one)) - float(str(other))) <= tolerance * size
