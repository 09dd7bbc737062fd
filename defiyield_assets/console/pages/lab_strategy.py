"""One strategy: its ranks, a run with its curve, months, costs and trades, regimes, evidence against luck.

Lives here: choosing the run, and these panels. Not here: curves (lab_curves.py), which runs count (lab_tables.py), the
same as a file (lab_sheet.py), all strategies (lab.py).
"""

import json
from typing import Any

import numpy as np
import pandas as pd

from defiyield_assets.console.layout import Inner, Page, Panel, address
from defiyield_assets.console.pages.lab import scope_words
from defiyield_assets.console.pages.lab_curves import run_charts
from defiyield_assets.console.pages.lab_runs import StrategyRanks, StrategyRuns, read_strategy
from defiyield_assets.console.pages.lab_tables import NOT_KEPT, empty_lab
from defiyield_assets.console.paging import Pager, turn
from defiyield_assets.console.questions import Question
from defiyield_assets.console.views import View
from defiyield_assets.domain.reporting.formats import UNKNOWN, clean, is_missing, number, signed_percent
from defiyield_assets.domain.reporting.layout import Fact, Section, Table, numbers, text
from defiyield_assets.domain.reporting.plan_sections import records
from defiyield_assets.domain.strategies.cells import figures_of, price, written
from defiyield_assets.domain.strategies.runs import GRID_FIGURES
from defiyield_assets.domain.strategies.tear_sheet import EVIDENCE, FIGURES, MONTHS, cost_rows, monthly_rows
from defiyield_assets.store import reads, schema
from defiyield_assets.store.row_pages import Wanted, count_rows, read_page
from defiyield_assets.store.schema.lab import RUN_FIGURES

MOST = 50
"""Trades of a page."""
TRADE_COLUMNS = (
    *text("Instrument", "Side", "In"),
    *numbers("at"),
    *text("Out"),
    *numbers("at "),
    *text("Why out"),
    *numbers("Bars", "Quantity", "Costs", "Profit", "Return"),
)
COST_COLUMNS = (*text("Costs"), *numbers("Return", "A year", "Sharpe", "Drawdown", "Round trips"))
SCENARIO_COLUMNS = (
    *text("Scenario", "Family", "Counts"),
    *numbers("Bars", "Return", "Excess", "Sharpe", "Drawdown", "Round trips"),
)
REGIME_COLUMNS = (*text("Regime", "Ranked in"), *numbers("Sharpe", "Return", "Scenarios", "Percentile"))
RANK_COLUMNS = (*text("Ranked in"), *numbers("Rank", "Score"), *text("Against a rank"))


def strategy(view: View, question: Question) -> Page:
    """The page."""
    found = read_strategy(view, question)
    if found is None:
        return empty_lab(view, "Strategy")
    if not isinstance(found, StrategyRuns):
        return _ranks_alone(view, found)
    run, name = found.run, clean(found.strategy_id, 60)
    parts = ("lab", "strategies", found.strategy_id)
    scenario = question.words("scenario")
    trades = Wanted(schema.backtest_trades, where={"run_key": str(run["run_key"])}, newest_by=("number",))
    pager = turn(question, count_rows(view.connection, trades), MOST, *parts, date=question.day(), scenario=scenario)
    shown = read_page(view.connection, trades, pager.first, MOST)
    equity = reads.read_all(view.connection, schema.equity_curves, {"run_key": str(run["run_key"])})
    return Page(
        title=f"Strategy {name}",
        here="lab",
        headline=f"{name}: {written(run['total_return'], 'signed')} over {found.scenario_name(run)}",
        day=view.day,
        paragraphs=(
            *((clean(found.description, 600),) if found.description else ()),
            f"Assessment as of {found.as_of}. Figures and charts are of one run, over {found.scenario_name(run)}; the "
            "table of scenarios leads to the others.",
        ),
        panels=(
            _trades(found, shown, pager),
            _curves(found, equity),
            _metrics(found),
            _months(found, equity),
            _costs(found),
            _standing(found),
            _regimes(view, found),
            _scenarios(found, question),
            _provenance(found),
        ),
        downloads=(("Tear sheet as a file", address(*parts, "sheet.html", date=view.day, scenario=scenario)),),
        template="strategy.html.j2",
        extra={"pager": pager},
    )


def _ranks_alone(view: View, found: StrategyRanks) -> Page:
    """The page where runs are no longer kept: what the assessment stored of the strategy."""
    name = clean(found.strategy_id, 60)
    return Page(
        title=f"Strategy {name}",
        here="lab",
        headline=f"{name}: its ranks as of {found.as_of}",
        day=view.day,
        paragraphs=(*((clean(found.description, 600),) if found.description else ()), NOT_KEPT),
        panels=(_standing(found), _regimes(view, found)),
    )


def _figures(run: dict[str, Any]) -> dict[str, float | None]:
    return {name: None if is_missing(run[name]) else float(run[name]) for name in RUN_FIGURES}


def _curves(found: StrategyRuns, equity: pd.DataFrame) -> Panel:
    charts = run_charts(equity)
    words = () if charts else ("The curve of this run is not stored: the command defiyield backtest makes it again.",)
    return Panel(Section("curves", "Equity and drawdown", words, charts=charts), ("equity_curves",), found.as_of)


def _metrics(found: StrategyRuns) -> Panel:
    figures = _figures(found.run)
    labelled = tuple(Fact(label, value) for label, value in figures_of(figures, FIGURES))
    every = tuple((name.replace("_", " "), _plain(figures[name]), words) for name, words in RUN_FIGURES.items())
    columns = (*text("Figure"), *numbers("Value"), *text("Meaning"))
    table = Table(columns, every, caption="All figures; shares and returns are fractions: 0.05 is 5%", fold="always")
    section = Section("figures", "Figures of the run", facts=labelled, tables=(table,))
    return Panel(section, ("backtest_results",), found.as_of)


def _plain(value: float | None) -> str:
    return UNKNOWN if value is None or not np.isfinite(value) else f"{value:,.6g}"


def _months(found: StrategyRuns, equity: pd.DataFrame) -> Panel:
    rows: tuple[tuple[str, ...], ...] = ()
    if len(equity) > 1:
        dates = pd.to_datetime(equity["date"]).to_numpy().astype("datetime64[D]")
        by_year = monthly_rows(dates, equity["equity"].to_numpy(dtype=np.float64))
        rows = tuple((year, *(cell.text for cell in cells)) for year, cells in by_year)
    columns = (*text("Year"), *numbers(*MONTHS, "Whole year"))
    tables = (Table(columns, rows, caption="Months in percent", fold="never"),) if rows else ()
    words = "Return of each calendar month, all costs paid." if rows else "The curve of this run is not stored."
    return Panel(Section("months", "Months", (words,), tables=tables), ("equity_curves",), found.as_of)


def _costs(found: StrategyRuns) -> Panel:
    grid = pd.DataFrame(json.loads(str(found.run["cost_grid_json"])), columns=["cost_factor", *GRID_FIGURES])
    words = "The same run with other multiples of all costs: 1 is the cost model."
    tables = (Table(COST_COLUMNS, tuple(cost_rows(grid)), fold="never"),) if len(grid) else ()
    return Panel(Section("costs", "What costs do to it", (words,), tables=tables), ("backtest_results",), found.as_of)


def _standing(found: StrategyRanks) -> Panel:
    """Ranks in every scope, and what speaks for the figures being luck."""
    rows = tuple(
        (
            scope_words(str(row["scope"])),
            "none" if is_missing(row["rank"]) else number(row["rank"]),
            written(row["score"], "ratio"),
            clean(str(row["eligibility_flags"]).replace("_", " ").replace(",", ", "), 200)
            if row["eligibility_flags"]
            else "",
        )
        for row in found.rankings
    )
    evidence = found.rankings[0]
    luck = tuple(figures_of({name: evidence[name] for _, name, _ in EVIDENCE}, EVIDENCE))
    tables = (
        Table(RANK_COLUMNS, rows, caption="Ranks", fold="never"),
        Table((*text("Evidence"), *numbers("Value")), luck, caption="Walk-forward and luck", fold="never"),
    )
    return Panel(Section("standing", "Ranks and evidence", tables=tables), ("strategy_rankings",), found.as_of)


def _regimes(view: View, found: StrategyRanks) -> Panel:
    where = {"as_of": found.as_of, "strategy_id": found.strategy_id}
    told = records(reads.read_all(view.connection, schema.regime_performance, where))
    rows = tuple(
        (
            clean(row["regime"], 40),
            scope_words(str(row["scope"])),
            written(row["sharpe"], "ratio"),
            written(row["return"], "signed"),
            number(row["n_scenarios"]),
            written(row["sharpe_percentile"], "ratio"),
        )
        for row in sorted(told, key=lambda row: (row["regime"], row["scope"]))
    )
    words = "Medians over scenarios with at least 20 bars of the regime; unknown where there is none."
    tables = (Table(REGIME_COLUMNS, rows, fold="never"),) if rows else ()
    return Panel(Section("regimes", "By regime", (words,), tables=tables), ("regime_performance",), found.as_of)


def _scenarios(found: StrategyRuns, question: Question) -> Panel:
    rows = tuple(
        (
            Inner(
                found.scenario_name(run),
                *("lab", "strategies", found.strategy_id),
                date=question.day(),
                scenario=run["scenario_id"],
            ),
            clean(run["family"], 40).replace("_", " "),
            found.counts(run),
            written(run["n_bars"], "count"),
            written(run["total_return"], "signed"),
            written(run["excess_return"], "signed"),
            written(run["sharpe"], "ratio"),
            written(run["max_drawdown"], "signed"),
            written(run["n_trades"], "count"),
        )
        for run in found.runs
    )
    words = "Every run of the strategy in this assessment, by family. Excess is over buy and hold."
    table = Table(SCENARIO_COLUMNS, rows, fold="always" if len(rows) > MOST else "never")
    return Panel(
        Section("scenarios", "Scenarios", (words,), tables=(table,)), ("backtest_results", "scenarios"), found.as_of
    )


def _trades(found: StrategyRuns, shown: pd.DataFrame, pager: Pager) -> Panel:
    rows = tuple(
        (
            clean(trade["instrument_id"], 40),
            clean(trade["side"], 8),
            str(trade["entry_date"]),
            price(trade["entry_price"]),
            str(trade["exit_date"]),
            price(trade["exit_price"]),
            clean(trade["exit_reason"], 20),
            number(trade["bars_held"]),
            f"{trade['quantity']:,.6g}",
            number(trade["entry_fee"] + trade["exit_fee"] + trade["borrow_cost"], 2),
            number(trade["pnl"], 2),
            signed_percent(trade["return"]),
        )
        for trade in records(shown)
    )
    words = (
        f"{number(pager.total)} round trips, newest first; costs and profit in USD, profit net of all costs."
        if rows
        else "No trade was made."
    )
    tables = (Table(TRADE_COLUMNS, rows, fold="never"),) if rows else ()
    return Panel(Section("trades", "Trades", (words,), tables=tables), ("backtest_trades",), found.as_of)


def _provenance(found: StrategyRuns) -> Panel:
    run = found.run
    told = (
        ("Strategy hash", clean(run["strategy_hash"], 80)),
        ("Run", clean(run["run_key"], 80)),
        ("Bars", clean(run["paths_hash"], 80)),
        ("Instruments", clean(", ".join(json.loads(str(run["instruments_json"]))), 1_000)),
        ("Costs", clean(run["costs_json"], 600)),
        ("Account", clean(run["account_json"], 600)),
        ("Engine", clean(run["engine_version"], 40)),
    )
    table = Table(text("What", "Value"), told, fold="never")
    return Panel(Section("provenance", "What the run rests on", tables=(table,)), ("backtest_results",), found.as_of)
