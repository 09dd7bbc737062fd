"""The benchmark's alternatives: the same crossings of means by vectorbt and by backtesting.py, under the same rules.

Lives here: what is asked of the two libraries, and their trades in one shape. Not here: our own runs, the table
(backtesting.py). Both are imported inside functions: neither is a dependency of the package.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from defiyield_assets.domain.strategies.bars import PriceHistory
from defiyield_assets.domain.strategies.costs import CostModel

Window = tuple[int, int]
"""Bars of the fast and of the slow mean."""


@dataclass(frozen=True)
class Peer:
    """What a library made of the sweep: figures by account (variant · k + instrument), its portfolio."""

    final_value: np.ndarray
    total_return: np.ndarray
    sharpe: np.ndarray
    max_drawdown: np.ndarray
    n_trades: np.ndarray
    portfolio: Any


def by_vectorbt(windows: Sequence[Window], history: PriceHistory, costs: CostModel, capital: float) -> Peer:
    """The sweep by vectorbt: decided at the close, filled at the next open, all of an account a trade."""
    import vectorbt as vbt

    index = pd.DatetimeIndex(history.dates.astype("datetime64[ns]"))
    close = pd.DataFrame(history.close, index=index, columns=list(history.instruments))
    fast = vbt.MA.run(close, window=[one for one, _ in windows], short_name="fast")
    slow = vbt.MA.run(close, window=[two for _, two in windows], short_name="slow")
    enter = fast.ma_crossed_above(slow).vbt.signals.fshift(1)
    leave = fast.ma_crossed_below(slow).vbt.signals.fshift(1)
    portfolio = vbt.Portfolio.from_signals(
        close=np.tile(history.close, (1, len(windows))),
        entries=enter.to_numpy(),
        exits=leave.to_numpy(),
        price=np.tile(history.open, (1, len(windows))),
        fees=costs.fee,
        slippage=costs.half_spread,
        init_cash=capital,
        freq="1D",
    )
    value = portfolio.value().to_numpy()
    return Peer(
        value[-1],
        portfolio.total_return().to_numpy(),
        portfolio.sharpe_ratio().to_numpy(),
        portfolio.max_drawdown().to_numpy(),
        portfolio.trades.count().to_numpy(),
        portfolio,
    )


def vectorbt_trades(peer: Peer, account: int, history: PriceHistory) -> pd.DataFrame:
    """Trades of one account: entry_date, entry_price, exit_date, exit_price, quantity, is_open."""
    told = peer.portfolio.trades.records
    told = told[told["col"] == account]
    return pd.DataFrame(
        {
            "entry_date": history.dates[told["entry_idx"].to_numpy()],
            "entry_price": told["entry_price"].to_numpy(),
            "exit_date": history.dates[told["exit_idx"].to_numpy()],
            "exit_price": told["exit_price"].to_numpy(),
            "quantity": told["size"].to_numpy(),
            "is_open": told["status"].to_numpy() == 0,
        }
    )


def by_backtesting_py(window: Window, history: PriceHistory, costs: CostModel, capital: float) -> pd.DataFrame:
    """Trades of one variant on a history of one instrument by backtesting.py (whole units), in the same shape.

    Without a spread: it takes one from entries only. ValueError for costs that have one.
    """
    import warnings

    if costs.half_spread:
        raise ValueError("backtesting.py takes a spread from entries only: compare without one")
    from backtesting import Backtest, Strategy
    from backtesting.lib import crossover

    def mean(values: Any, n: int) -> Any:
        return pd.Series(values).rolling(n).mean()

    class Crossing(Strategy):  # type: ignore[misc, unused-ignore]
        def init(self) -> None:
            self.fast = self.I(mean, self.data.Close, window[0])
            self.slow = self.I(mean, self.data.Close, window[1])

        def next(self) -> None:
            if crossover(self.fast, self.slow):
                self.buy()
            elif crossover(self.slow, self.fast):
                self.position.close()

    index = pd.DatetimeIndex(history.dates.astype("datetime64[ns]"))
    frame = pd.DataFrame(
        {name.title(): history.column(name)[:, 0] for name in ("open", "high", "low", "close", "volume")}, index=index
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = Backtest(
            frame, Crossing, cash=capital, commission=costs.fee, exclusive_orders=True, finalize_trades=True
        ).run()
    told = made["_trades"]
    return pd.DataFrame(
        {
            "entry_date": told["EntryTime"].to_numpy(dtype="datetime64[D]"),
            "entry_price": told["EntryPrice"].to_numpy(),
            "exit_date": told["ExitTime"].to_numpy(dtype="datetime64[D]"),
            "exit_price": told["ExitPrice"].to_numpy(),
            "quantity": told["Size"].abs().to_numpy(dtype=np.float64),
            "is_open": told["ExitBar"].to_numpy() == len(frame) - 1,
        }
    )
