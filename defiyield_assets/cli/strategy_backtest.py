"""`defiyield backtest`: one strategy over stored bars, its figures, what costs do to it, and its tear sheet.

Lives here: wiring and the printed tables. Not here: the engine (domain/strategies), reading bars
(orchestration/lab/bars.py), many scenarios (assess.py), the policy's own backtest (backtest.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from defiyield_assets.cli import show
from defiyield_assets.cli.output import write_json
from defiyield_assets.cli.strategies import chosen_strategy
from defiyield_assets.cli.tables import print_table
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.reporting.formats import clean, is_missing
from defiyield_assets.domain.signals.types import STUB_TYPE
from defiyield_assets.domain.strategies.bars import PriceHistory
from defiyield_assets.domain.strategies.cells import written
from defiyield_assets.domain.strategies.columns import known_columns
from defiyield_assets.domain.strategies.costs import Account, CostModel
from defiyield_assets.domain.strategies.runs import BacktestResult, run
from defiyield_assets.domain.strategies.strategy import Strategy
from defiyield_assets.domain.strategies.tear_sheet import FIGURES, SheetInputs, tear_sheet
from defiyield_assets.orchestration.lab.bars import decided_days, scored_bars
from defiyield_assets.orchestration.lab.pages import market_words, write_page
from defiyield_assets.orchestration.lab.signals import counted_signals, signals_for
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.settings import load_settings

NO_MODEL = "the stub: no model was asked"
IN_SAMPLE = "the model was trained on days that it judges here; it may remember them, and nothing of this is evidence"


@dataclass(frozen=True)
class Wish:
    """What is asked for: a strategy by id or file, first and last day, factor of all costs, the capital."""

    strategy: str
    first: date
    last: date
    cost_factor: float
    capital: float
    universe: str | None = None


def backtest(wish: Wish, console: Console, *, is_json: bool) -> int:
    """Run a strategy over the stored bars of its universe; everything before the first day is warm-up."""
    strategy = chosen_strategy(wish.strategy)
    settings = load_settings()
    engine = WarehouseResource(market=settings.warehouse_market).engine
    name = wish.universe or strategy.spec.universe
    history = scored_bars(engine, strategy, DayRange(wish.first, wish.last), name)
    costs, account = CostModel().scaled(wish.cost_factor), Account(capital=wish.capital)
    told = f"{name}, {history.dates[history.first_scored]} to {history.dates[-1]}"
    n_before, n_wanted = history.first_scored, strategy.warm_up(known_columns())
    decided = decided_days(history, wish.last)
    signals = signals_for(engine, strategy, decided, history.instruments)
    counted = counted_signals(engine, decided, strategy.signal_types, history.instruments)
    result = run(strategy, history, costs, account, scenario_id=told, signals=signals)
    result = replace(result, cost_grid=result.cost_grid.assign(cost_factor=of_usual_costs(result.cost_grid, wish)))
    provenance = {"Market": market_words(settings.market), **_provenance(result, costs, history)}
    provenance |= {"Signals": _followed(counted)} if counted else {}
    page = _write_sheet(settings.reports_path / "backtests", strategy, result, provenance)
    if is_json:
        facts = {"strategy_id": result.strategy_id, "strategy_hash": result.strategy_hash, "run_key": result.run_key}
        grid = [{name: _known(value) for name, value in row.items()} for row in result.cost_grid.to_dict("records")]
        beside = {"over": told, "instruments": list(history.instruments), "refusals": result.refusals}
        warm_up = {"warm_up_bars": n_before, "warm_up_bars_wanted": n_wanted}
        followed = {"is_in_sample": result.is_in_sample, "is_stub": STUB_TYPE in counted, "signals": counted}
        shown = {**facts, **beside, **warm_up, **followed}
        write_json({**shown, "metrics": result.metrics, "cost_grid": grid, "page": str(page)})
        return 0
    _print(result, told, len(history.instruments), console)
    if n_before < n_wanted:
        words = f"warm-up: {n_before} bars before the first day, {n_wanted} are wanted: what is unknown is never true"
        console.print(show.plain(words), style="yellow", soft_wrap=True)
    if counted:
        is_stub = STUB_TYPE in counted
        console.print(show.plain(f"signals: {_followed(counted)}"), style="red" if is_stub else None, soft_wrap=True)
    if result.is_in_sample:
        console.print(f"[bold red]in_sample[/]: {IN_SAMPLE}", soft_wrap=True)
    console.print(show.plain(f"tear sheet: {page}"), soft_wrap=True)
    return 0


def _followed(counted: Mapping[str, Mapping[str, int]]) -> str:
    """Which signals a run followed, how they were answered, and that nobody was asked where it was the stub."""
    told = []
    for kind, by_status in sorted(counted.items()):
        words = ", ".join(f"{n:,} {status}" for status, n in by_status.items())
        told.append(f"{kind} ({NO_MODEL}; {words})" if kind == STUB_TYPE else f"{kind} ({words})")
    return "; ".join(told)


def of_usual_costs(grid: pd.DataFrame, wish: Wish) -> pd.Series:
    """Factors of the usual costs, not of those that were asked for already multiplied."""
    return grid["cost_factor"] * wish.cost_factor


def _provenance(result: BacktestResult, costs: CostModel, history: PriceHistory) -> dict[str, str]:
    marked = {"In sample": IN_SAMPLE} if result.is_in_sample else {}
    return marked | {
        "Run": result.run_key,
        "Bars": f"{result.scenario_id}, {len(history.instruments)} instruments",
        "Costs": f"fee {costs.fee:g}, half-spread {costs.half_spread:g} a side",
        "Bars of a year": f"{history.periods_per_year:g}",
    }


def _write_sheet(folder: Path, strategy: Strategy, result: BacktestResult, provenance: Mapping[str, str]) -> Path:
    """The tear sheet of the run as a file named by its key."""
    inputs = SheetInputs(
        strategy_id=result.strategy_id,
        strategy_hash=result.strategy_hash,
        scenario=result.scenario_id,
        equity=result.equity,
        trades=result.trades,
        metrics=result.metrics,
        cost_grid=result.cost_grid,
        periods_per_year=float(provenance["Bars of a year"]),
        description=strategy.spec.description,
        provenance=provenance,
    )
    return write_page(folder / f"{result.strategy_id}-{result.run_key[:12]}.html", tear_sheet(inputs))


def _known(value: Any) -> Any:
    """A number of JSON: null where it is unknown."""
    return None if is_missing(value) else value


def _print(result: BacktestResult, told: str, n_instruments: int, console: Console) -> None:
    title = f"{clean(result.strategy_id)} over {told}, {n_instruments} instruments"
    console.print(show.plain(title), style="bold", soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("figure")
    table.add_column("value", justify="right")
    for label, name, kind in FIGURES:
        table.add_row(label, written(result.metrics.get(name), kind))
    for label, name in (("Buy and hold", "buy_and_hold_return"), ("Cash", "cash_return")):
        table.add_row(label, written(result.metrics.get(name), "signed"))
    print_table(table, console)
    grid = Table(title="Costs", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("factor", "total return", "Sharpe ratio", "round trips"):
        grid.add_column(name, justify="right")
    for row in result.cost_grid.to_dict("records"):
        figures = (("total_return", "signed"), ("sharpe", "ratio"), ("n_trades", "count"))
        grid.add_row(f"{row['cost_factor']:g}×", *(written(row[name], kind) for name, kind in figures))
    print_table(grid, console)
    print_refusals(result.refusals, len(result.trades), console)


def print_refusals(refusals: Mapping[str, int], n_trades: int, console: Console) -> None:
    """Orders that were not filled, by reason; of a run without a trade that there was none."""
    if refusals:
        told = ", ".join(f"{reason} {n:,}" for reason, n in sorted(refusals.items()))
        console.print(show.plain(f"orders that were not filled: {told}"), soft_wrap=True)
    else:
        console.print("every order was filled" if n_trades else "no order was ever made", soft_wrap=True)
