"""A parameter sweep: 1,000 variants x 2,000 bars x 10 instruments, beside vectorbt and backtesting.py in the same run.

Equal rules in all: long from a crossing of a fast mean above a slow one to the crossing back, decided at the close,
filled at the next open, 10 bp fee and 5 bp spread a side, every account all in. Ours is the screen (domain/strategies/
screen.py); the exact engine confirms its winners. Timed: from parameters and prices to return, Sharpe, drawdown and
trades of every variant and instrument; the ratio that is judged is the lesser of the clock's and of CPU time's. Both
libraries come with the tools of development, neither with the package; without one of them its line is left out and
nothing of it is judged.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.backtesting_peers import Peer, Window, by_backtesting_py, by_vectorbt, vectorbt_trades
from benchmarks.targets import finish
from defiyield_assets.domain.strategies.bars import PRICES, PriceHistory, price_history
from defiyield_assets.domain.strategies.conditions import Comparison
from defiyield_assets.domain.strategies.costs import Account, CostModel
from defiyield_assets.domain.strategies.engine import Terms
from defiyield_assets.domain.strategies.language import FixedSizing, Indicator, Rule, SignalStrategy
from defiyield_assets.domain.strategies.plans import plan
from defiyield_assets.domain.strategies.runs import simulate, terms_of, trade_table
from defiyield_assets.domain.strategies.screen import screen
from defiyield_assets.domain.strategies.strategy import Strategy

RECORDED = Path(__file__).resolve().parents[2] / "shared" / "data"
COINS = "prices/yfinance_daily_crypto_2018-01_2025-08.parquet"
N_BARS, N_INSTRUMENTS = 2_000, 10
WINDOWS: tuple[Window, ...] = tuple((fast, slow) for fast in range(5, 45) for slow in range(50, 175, 5))
CAPITAL = 1_000_000.0
COSTS = CostModel(borrow=0.0)
WITHOUT_SPREAD = CostModel(half_spread=0.0, borrow=0.0)
"""What backtesting.py is compared under: it takes a spread from entries only."""
CONFIRMED = 20
"""Winners of the screen that the exact engine runs again."""
BY_HAND = 20
"""Variants that backtesting.py runs: it takes one at a time."""
NAME_WIDTH = 44
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Timed:
    """What was run, on how many backtests, and its seconds."""

    name: str
    n_backtests: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Backtests of one variant on one instrument a second."""
        return self.n_backtests / self.seconds


def recorded_or_made(folder: Path) -> tuple[PriceHistory, str]:
    """Ten coins of the recorded panel with every one of 2,000 days; without the panel a seeded random walk."""
    if (folder / COINS).is_file():
        frame = pd.read_parquet(folder / COINS).rename(columns={"close_adj": "close"})
        wide = {name: frame.pivot_table(index="date", columns="ticker", values=name) for name in (*PRICES, "volume")}
        whole = np.logical_and.reduce([(wide[name] > 0).to_numpy() for name in PRICES])
        for last in range(len(whole), N_BARS, -1):
            known = np.flatnonzero(whole[last - N_BARS : last].all(axis=0))
            if len(known) >= N_INSTRUMENTS:
                rows, kept = slice(last - N_BARS, last), known[:N_INSTRUMENTS]
                columns = {name: wide[name].to_numpy()[rows][:, kept] for name in wide}
                dates = pd.to_datetime(wide["close"].index[rows]).to_numpy(dtype="datetime64[D]")
                names = [str(wide["close"].columns[column]) for column in kept]
                return price_history(names, dates, columns), f"recorded: {', '.join(names)}"
    rng = np.random.default_rng(8)
    shape = (N_BARS, N_INSTRUMENTS)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.03, shape), axis=0))
    opened = np.concatenate([close[:1], close[:-1]]) * np.exp(rng.normal(0.0, 0.005, shape))
    high, low = np.maximum(opened, close) * 1.01, np.minimum(opened, close) / 1.01
    columns = {"open": opened, "high": high, "low": low, "close": close, "volume": np.full(shape, 1e6)}
    dates = np.datetime64("2018-01-01") + np.arange(N_BARS)
    return price_history([f"made:{j}" for j in range(N_INSTRUMENTS)], dates, columns), "random walk, seed 8"


def variants(windows: Sequence[Window]) -> list[Strategy]:
    """The sweep in the language of strategies."""
    enter = Comparison(col="fast", op="crosses_above", ref="slow")
    leave = Comparison(col="fast", op="crosses_below", ref="slow")
    written = SignalStrategy(
        id="sma_cross",
        version=1,
        universe="all",
        sizing=FixedSizing(method="fixed", share=1.0),
        rules=(Rule(enter=enter, exit=leave),),
    )
    return [
        Strategy(
            written.model_copy(
                update={
                    "indicators": {
                        "fast": Indicator(method="sma", bars=fast),
                        "slow": Indicator(method="sma", bars=slow),
                    }
                }
            )
        )
        for fast, slow in windows
    ]


def timed(name: str, n: int, work: Callable[[], Any], rounds: int = 3) -> tuple[Any, Timed]:
    """The result of some work and its least seconds of several rounds, by the clock and of this process's CPU."""
    clock, cpu, result = float("inf"), float("inf"), None
    for _ in range(rounds):
        started = perf_counter(), process_time()
        result = work()
        clock, cpu = min(clock, perf_counter() - started[0]), min(cpu, process_time() - started[1])
    return result, Timed(name, n, clock, cpu)


def alone(history: PriceHistory, instrument: int) -> PriceHistory:
    """The history of one instrument."""
    columns = {name: history.column(name)[:, [instrument]] for name in (*PRICES, "volume")}
    return price_history([history.instruments[instrument]], history.dates, columns)


def exact(
    window: Window, history: PriceHistory, account: Account, costs: CostModel = COSTS
) -> tuple[pd.DataFrame, float]:
    """Trades and final equity of one variant on a history of one instrument by the engine."""
    made = plan(variants([window])[0], history)
    terms: Terms = terms_of(made, history, costs, account)
    ran = simulate(made, history, terms)
    return trade_table(ran.trades, history.instruments), float(ran.equity[-1])


def same_trades(own: pd.DataFrame, other: pd.DataFrame) -> tuple[int, int]:
    """How many trades of the engine are the other's to rounding, and how many there are at most.

    A trade that is open at the end has no exit in the market: its entry and size are compared.
    """
    n = 0
    for one, two in zip(own.to_dict("records"), other.to_dict("records"), strict=False):
        pairs = [(one["entry_price"], two["entry_price"]), (one["quantity"], two["quantity"])]
        is_same = one["entry_date"] == two["entry_date"] and (one["exit_reason"] == "end") == bool(two["is_open"])
        if not two["is_open"]:
            pairs.append((one["exit_price"], two["exit_price"]))
            is_same &= one["exit_date"] == two["exit_date"]
        n += int(is_same and all(abs(a - b) <= TOLERANCE * abs(b) for a, b in pairs))
    return n, max(len(own), len(other))


def compare_vectorbt(found: pd.DataFrame, peer: Peer, winners: Sequence[int], history: PriceHistory) -> list[float]:
    """Share of accounts whose final equity and number of trades are vectorbt's, of those that end in cash whose deepest
    fall is, and of the winners' trades."""
    is_open = np.zeros(len(found), dtype=bool)
    told = peer.portfolio.trades.records
    is_open[told.loc[told["status"] == 0, "col"].to_numpy()] = True
    closed = np.where(is_open, peer.final_value * (1.0 - COSTS.fee), peer.final_value)
    same = np.isclose(found["final_equity"], closed, rtol=TOLERANCE, atol=0) & (found["n_trades"] == peer.n_trades)
    falls = np.isclose(found["max_drawdown"].abs(), np.abs(peer.max_drawdown), rtol=TOLERANCE, atol=TOLERANCE)
    k, equal, of = len(history.instruments), 0, 0
    for account in winners:
        own, _ = exact(WINDOWS[account // k], alone(history, account % k), Account(CAPITAL))
        n, most = same_trades(own, vectorbt_trades(peer, account, history))
        equal, of = equal + n, of + most
    return [float(same.mean()), float(falls[~is_open].mean()), equal / of]


def compare_backtesting_py(winners: Sequence[int], history: PriceHistory) -> float:
    """Share of the winners' trades that backtesting.py makes too, both in whole units."""
    k, equal, of = len(history.instruments), 0, 0
    for account in winners:
        one = alone(history, account % k)
        own, _ = exact(WINDOWS[account // k], one, Account(CAPITAL, whole_units=True), WITHOUT_SPREAD)
        n, most = same_trades(own, by_backtesting_py(WINDOWS[account // k], one, WITHOUT_SPREAD, CAPITAL))
        equal, of = equal + n, of + most
    return equal / of


def table(lines: Sequence[Timed], ours: Timed, versions: dict[str, str]) -> None:
    """Backtests a second of each, and how many times ours is as fast: by the clock, and by CPU time."""
    heads = ("backtests", "seconds", "CPU s", "a second", "ours / it", "by CPU")
    print(f"{'':<{NAME_WIDTH}}" + "".join(f"{head:>11}" for head in heads))
    for one in lines:
        clock, cpu = ours.per_second / one.per_second, (one.cpu_seconds / one.n_backtests) * ours.n_backtests
        ratios = ("", "") if one is ours else (f"{clock:,.1f}x", f"{cpu / ours.cpu_seconds:,.1f}x")
        cells = (f"{one.n_backtests:,}", f"{one.seconds:.3f}", f"{one.cpu_seconds:.3f}", f"{one.per_second:,.0f}")
        print(f"{one.name:<{NAME_WIDTH}}" + "".join(f"{cell:>11}" for cell in (*cells, *ratios)))
    print(
        "a backtest: one variant on one instrument, 2,000 bars; " + ", ".join(f"{a} {b}" for a, b in versions.items())
    )


def main(arguments: Sequence[str]) -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backtesting", description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    parser.parse_args(arguments)
    folder = Path(os.environ.get("DEFIYIELD_RECORDED_DATA", RECORDED))
    history, what = recorded_or_made(folder)
    account, k = Account(CAPITAL), len(history.instruments)
    print(f"{len(WINDOWS):,} variants x {history.n_bars:,} bars x {k} instruments ({what})\n")
    n_all = len(WINDOWS) * k
    found, ours = timed(
        "screen (all variants at once)", n_all, lambda: screen(variants(WINDOWS), history, COSTS, account)
    )
    lines, versions, figures, shares = [ours], {}, {}, []
    winners = found["total_return"].nlargest(CONFIRMED).index.tolist()
    confirmed, line = timed(
        "exact engine (one at a time)",
        CONFIRMED,
        lambda: [exact(WINDOWS[one // k], alone(history, one % k), account)[1] for one in winners],
        1,
    )
    lines.append(line)
    gap = float(np.max(np.abs(np.array(confirmed) / found.loc[winners, "final_equity"].to_numpy() - 1.0)))
    if find_spec("vectorbt"):
        import vectorbt

        by_vectorbt(WINDOWS[:10], history, COSTS, CAPITAL)  # its compiler's time is not counted
        peer, line = timed(
            "vectorbt (all variants at once)", n_all, lambda: by_vectorbt(WINDOWS, history, COSTS, CAPITAL)
        )
        lines.append(line)
        figures["speed_ratio_vs_vectorbt"] = min(line.seconds / ours.seconds, line.cpu_seconds / ours.cpu_seconds)
        versions["vectorbt"] = str(vectorbt.__version__)
        shares += compare_vectorbt(found, peer, winners, history)
    if find_spec("backtesting"):
        import backtesting

        _, line = timed(
            "backtesting.py (one at a time)",
            BY_HAND,
            lambda: [
                by_backtesting_py(window, alone(history, 0), WITHOUT_SPREAD, CAPITAL) for window in WINDOWS[:BY_HAND]
            ],
            1,
        )
        lines.append(line)
        versions["backtesting"] = str(backtesting.__version__)
        shares.append(compare_backtesting_py(winners, history))
    table(lines, ours, versions)
    print(f"exact engine against the screen, {CONFIRMED} winners: greatest relative difference of equity {gap:.1e}")
    names = (
        "accounts equal to vectorbt's",
        "deepest falls, vectorbt",
        "winners' trades, vectorbt",
        "winners' trades, backtesting.py",
    )
    names = names if find_spec("vectorbt") else names[-1:]
    for name, share in zip(names, shares, strict=False):
        print(f"{name}: {share:.2%} equal")
    if shares:
        figures["trades_equal_to_reference"] = min([*shares, 1.0 if gap < TOLERANCE else 0.0])
    figures["backtests_per_second"] = ours.per_second
    return finish("backtesting", figures)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
