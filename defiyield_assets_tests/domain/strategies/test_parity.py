"""SmaCross(10, 20) on the recorded GOOG bars: trade by trade with backtesting.py, and with its published figures.

backtesting.py is a library for tests only (AGPL: the package never imports it). What differs, line by line:

| line | published (its README) | library 0.6.6 | ours | why |
|---|---|---|---|---|
| trades | 93 | 94 | 94 | the README's run leaves the last trade open and uncounted |
| commission | in the entry's price only, none at the exit | both sides | both sides | older rule of the library |
| return | 589.35 % | 455.75 % | 461.52 % | commission (above); the last trade's exit: next line |
| last exit | marked at 806.19 | the last open, 797.80 | final mark, 806.19 | what is open closes at its mark |
| win rate | 53.76 % | 53.19 % | 53.19 % | 50 of 93 closed trades; 50 of 94 |
| buy and hold | 703.46 % | 607.37 % | 689.30 % | from close 1; from close 20; from open 2, with fees |
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.strategies.costs import Account, CostModel
from defiyield_assets.domain.strategies.runs import BacktestResult, run
from defiyield_assets_tests.domain.strategies.histories import recorded_goog, strategy_of

pytestmark = pytest.mark.recorded
CROSSING = """
id: sma_cross_10_20
version: 1
universe: us_equities
sizing: {method: fixed, share: 1.0}
rules:
  - side: long
    enter: {col: sma_10, op: crosses_above, ref: sma_20}
  - side: short
    enter: {col: sma_10, op: crosses_below, ref: sma_20}
"""
CAPITAL, COMMISSION = 10_000.0, 0.002


@pytest.fixture(scope="module")
def ours(recorded_data: Path) -> BacktestResult:
    """Whole units, commission on both sides, no spread, nothing paid for borrowing, no margin calls: their rules."""
    costs = CostModel(fee=COMMISSION, half_spread=0.0, borrow=0.0)
    account = Account(CAPITAL, whole_units=True, maintenance=0.0)
    return run(strategy_of(CROSSING), recorded_goog(recorded_data), costs, account)


@pytest.fixture(scope="module")
def bars(recorded_data: Path) -> pd.DataFrame:
    """The recorded bars as the library reads them."""
    return pd.read_csv(recorded_data / "equities" / "backtesting_py_GOOG.csv", index_col=0, parse_dates=True)


@pytest.fixture(scope="module")
def published(recorded_data: Path) -> dict[str, float]:
    """Figures of the library's README."""
    text = (recorded_data / "peers" / "backtesting_py_readme_SmaCross10_20_GOOG_stats.txt").read_text(encoding="utf-8")
    found = {}
    for line in text.splitlines():
        name, _, value = line.strip().rpartition("  ")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            continue
    return found


@pytest.fixture(scope="module")
def theirs(bars: pd.DataFrame) -> Any:
    """The library's own run of the README's strategy."""
    library = pytest.importorskip("backtesting")
    from backtesting.lib import crossover

    def mean(values: Any, n: int) -> Any:
        return pd.Series(values).rolling(n).mean()

    class SmaCross(library.Strategy):  # type: ignore[misc, name-defined]
        def init(self) -> None:
            self.fast, self.slow = (self.I(mean, self.data.Close, n) for n in (10, 20))

        def next(self) -> None:
            if crossover(self.fast, self.slow):
                self.buy()
            elif crossover(self.slow, self.fast):
                self.sell()

    test = library.Backtest(
        bars, SmaCross, cash=CAPITAL, commission=COMMISSION, exclusive_orders=True, finalize_trades=True
    )
    return test.run()


@pytest.mark.filterwarnings("ignore")
def test_every_trade_is_the_librarys_but_for_the_exit_of_the_last(ours: BacktestResult, theirs: Any) -> None:
    own, other = ours.trades, theirs["_trades"]
    assert len(own) == len(other) == 94
    sides = own["side"].map({"long": 1, "short": -1}).to_numpy()
    assert np.array_equal(own["quantity"].to_numpy() * sides, other["Size"].to_numpy())
    for column, name in (("entry_date", "EntryTime"), ("exit_date", "ExitTime")):
        assert own[column].astype(str).tolist() == other[name].astype(str).tolist()
    np.testing.assert_allclose(own["entry_price"], other["EntryPrice"], rtol=1e-12)
    np.testing.assert_allclose(own["exit_price"][:-1], other["ExitPrice"][:-1], rtol=1e-12)
    fees = own["entry_fee"] + own["exit_fee"]
    np.testing.assert_allclose(fees[:-1], other["Commission"][:-1], rtol=1e-12)
    np.testing.assert_allclose(own["pnl"][:-1], other["PnL"][:-1], rtol=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_the_ends_differ_by_the_last_exit_alone(ours: BacktestResult, theirs: Any, bars: pd.DataFrame) -> None:
    last, other = ours.trades.iloc[-1], theirs["_trades"].iloc[-1]
    assert last["exit_price"] == bars["Close"].iloc[-1] == 806.19
    assert other["ExitPrice"] == bars["Open"].iloc[-1] == 797.80
    moved = last["quantity"] * (806.19 - 797.80) * (1.0 - COMMISSION)
    assert ours.equity["equity"].iloc[-1] - moved == pytest.approx(theirs["Equity Final [$]"], abs=1e-6)
    assert 100.0 * ours.metrics["win_rate"] == pytest.approx(theirs["Win Rate [%]"])
    assert ours.metrics["max_drawdown"] == pytest.approx(theirs["Max. Drawdown [%]"] / 100.0, abs=1e-9)


def test_our_trades_under_the_older_rule_of_commission_end_at_the_published_equity_to_the_cent(
    ours: BacktestResult, published: dict[str, float], bars: pd.DataFrame
) -> None:
    equity, made, gains, losses = CAPITAL, [], 0.0, 0.0
    for trade in ours.trades.to_dict("records"):
        side = 1 if trade["side"] == "long" else -1
        price = trade["entry_price"] * (1.0 + side * COMMISSION)
        units = int(equity // price)
        pnl = side * units * (trade["exit_price"] - price)
        equity += pnl
        made.append(side * (trade["exit_price"] / price - 1.0))
    closed = np.array(made[:-1])
    gains, losses = closed[closed > 0].sum(), -closed[closed < 0].sum()
    days = (ours.trades["exit_date"] - ours.trades["entry_date"]).dt.days[:-1]
    assert equity == pytest.approx(published["Equity Final [$]"], abs=0.005)
    assert len(closed) == published["# Trades"]
    assert 100.0 * (closed > 0).mean() == pytest.approx(published["Win Rate [%]"], abs=0.005)
    assert 100.0 * closed.max() == pytest.approx(published["Best Trade [%]"], abs=0.005)
    assert 100.0 * closed.min() == pytest.approx(published["Worst Trade [%]"], abs=0.005)
    assert gains / losses == pytest.approx(published["Profit Factor"], abs=0.005)
    assert days.max() == 121
    assert round(float(days.mean())) == 32
    geometric = np.exp(np.log1p(closed).mean()) - 1.0
    assert 100.0 * geometric == pytest.approx(published["Avg. Trade [%]"], abs=0.005)
    held = bars["Close"].iloc[-1] / bars["Close"].iloc[0] - 1.0
    assert 100.0 * held == pytest.approx(published["Buy & Hold Return [%]"], abs=0.005)
