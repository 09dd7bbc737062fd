"""Assets of strategies: which there are, their backtests over every scenario, rankings and the report.

Lives here: wiring of domain/strategies. Not here: scenarios (scenarios.py), the processes (lab/runs.py), what a ranking
rests on (lab/assessments.py), files (lab/pages.py).

A run is known by its key: strategy, scenario, costs, account and version of the engine. One that is stored over the
same bars is not run again, so that an assessment that was interrupted goes on where it stopped.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
from pydantic import Field
from sqlalchemy import Engine

from defiyield_assets.domain.canonical import canonical_json
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.strategies.assessment import why_left_out
from defiyield_assets.domain.strategies.bars import BAR_COLUMNS
from defiyield_assets.domain.strategies.columns import known_columns, nearest
from defiyield_assets.domain.strategies.costs import Account, CostModel
from defiyield_assets.domain.strategies.evidence import count_trials
from defiyield_assets.domain.strategies.limits import MOST_PROCESSES
from defiyield_assets.domain.strategies.plots import plot_curves, plot_matrix, plot_scores
from defiyield_assets.domain.strategies.ranking import Ranking, rank_strategies
from defiyield_assets.domain.strategies.scopes import EVERYWHERE
from defiyield_assets.domain.strategies.strategy import Strategy
from defiyield_assets.domain.strategies.trials import EVIDENCE_COLUMNS
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.assets.scenarios import REGENERATED, bars_of_set, rows_of_partitions
from defiyield_assets.orchestration.bars import EVER
from defiyield_assets.orchestration.declarations import tell_progress
from defiyield_assets.orchestration.lab.assessments import (
    Assessment,
    current_runs,
    ranked_scopes,
    read_assessment,
)
from defiyield_assets.orchestration.lab.bars import with_read_features
from defiyield_assets.orchestration.lab.inputs import records, strategies_in, surroundings
from defiyield_assets.orchestration.lab.pages import page_of, write_pages
from defiyield_assets.orchestration.lab.rested_on import inputs_hash
from defiyield_assets.orchestration.lab.runs import (
    World,
    assessed,
    curve_rows,
    default_workers,
    due_task,
    result_rows,
    trade_rows,
)
from defiyield_assets.orchestration.lab.signals import stored_signals
from defiyield_assets.orchestration.lab.steps import Pace, lab_asset, lab_spec, scenario_keys
from defiyield_assets.orchestration.notifier import NotifierResource
from defiyield_assets.orchestration.partitions import SCENARIOS
from defiyield_assets.orchestration.policies import ONE_RUN
from defiyield_assets.orchestration.reporting import picture, report, whole_table
from defiyield_assets.orchestration.resources import PolicyResource, WarehouseResource
from defiyield_assets.orchestration.steps import own_step
from defiyield_assets.store import reads, schema, writes

STEP, RANKING_STEP = "backtests", "rankings"
SPEC = "market.md#strategies"
SHOWN_RANKS = ["scope", "rank", "strategy_id", "score", "dispersion", "worst_return", "deflated_sharpe", "pbo"]


@lab_asset(schema.strategies, deps=["instruments"], spec=SPEC, kinds=("yaml", "sql"))
def strategies(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, policy: PolicyResource
) -> dg.MaterializeResult:
    """Every strategy that was ever tried, by the hash of its content: their number is the number of trials.

    A wrong file stops here, with file, line and the nearest known name.
    """
    engine, columns = warehouse.engine, known_columns()
    current = strategies_in(policy)
    _require_instruments(engine, current.values())
    frame = pd.DataFrame([_listed(one, columns) for one in current.values()], columns=schema.strategies.columns.keys())
    keys = set(zip(frame["strategy_id"], frame["content_hash"], strict=True))
    stored = reads.read_all(engine, schema.strategies)
    is_old = [pair not in keys for pair in zip(stored["strategy_id"], stored["content_hash"], strict=True)]
    whole = pd.concat([frame, stored[np.array(is_old, dtype=bool)].assign(is_current=False)], ignore_index=True)
    receipt = writes.upsert(engine, schema.strategies, whole)
    context.log.info("%d strategies, %d ever tried", len(frame), count_trials(whole["content_hash"]))
    return report(
        receipt,
        frame[["strategy_id", "version", "type", "universe", "description"]],
        current=len(frame),
        trials=count_trials(whole["content_hash"]),
    )


def _require_instruments(engine: Engine, current: Iterable[Strategy]) -> None:
    """ConfigurationError for a strategy that names an instrument which is not of its universe."""
    listed = reads.read_all(engine, schema.instruments)
    members = {str(name): set(own) for name, own in listed.groupby("universe")["instrument_id"]}
    for one in current:
        known = members.get(one.spec.universe, set())
        strangers = sorted(one.named_instruments - known)
        if strangers:
            raise ConfigurationError(
                f"strategy {one.strategy_id} names {strangers[0]!r}, which is not in its universe "
                f"{one.spec.universe!r}; {nearest(strangers[0], known)}"
            )


def _listed(one: Strategy, columns: dict[str, int]) -> dict[str, Any]:
    spec = one.spec.model_dump(mode="json")
    return {
        "strategy_id": one.strategy_id,
        "content_hash": one.content_hash,
        "version": one.version,
        "type": str(spec.get("type", "signal")),
        "universe": one.spec.universe,
        "description": one.spec.description,
        "spec_json": canonical_json(spec),
        "columns_json": canonical_json(sorted(one.columns)),
        "warm_up_bars": one.warm_up(columns),
        "is_current": True,
    }


# --- backtests -----------------------------------------------------------------------------------------------------
class Backtesting(dg.Config):
    """How strategies are run."""

    strategies: list[str] = Field(default=[], description="Ids; empty: all")
    every_curve: bool = Field(default=False, description="Store equity curves over stochastic scenarios too")
    again: bool = Field(default=False, description="Run also what is stored")
    workers: int = Field(default=0, ge=0, le=MOST_PROCESSES, description="Processes; 0: one for each processor")
    capital: float = Field(default=100_000.0, gt=0.0, description="Currency")
    fee: float = Field(default=0.0010, ge=0.0, lt=1.0, description="Of each side's value")
    half_spread: float = Field(default=0.0005, ge=0.0, lt=0.1, description="By which orders are filled against us")

    @property
    def costs(self) -> CostModel:
        """The cost model."""
        return replace(CostModel(), fee=self.fee, half_spread=self.half_spread)

    @property
    def account(self) -> Account:
        """The account."""
        return replace(Account(), capital=self.capital)


TABLES = {
    schema.backtest_results: (
        "Every strategy over every scenario that its universe takes part in, with all figures, benchmarks and a grid "
        "of costs; runs without a trade are kept."
    ),
    schema.backtest_trades: "Round trips of these runs.",
    schema.equity_curves: (
        "Their equity beside buy and hold and cash; over stochastic scenarios only with `every_curve`, because the run "
        "makes them again."
    ),
}
DEPS = ("scenarios", "scenario_paths", "strategies")
ThreeResults = tuple[dg.MaterializeResult, dg.MaterializeResult, dg.MaterializeResult]


@dg.multi_asset(
    name=STEP,
    specs=[lab_spec(table, words, DEPS, ("numpy", "sql"), SPEC) for table, words in TABLES.items()],
    partitions_def=SCENARIOS,
    backfill_policy=ONE_RUN,
)
@own_step(STEP)
def backtests(
    context: dg.AssetExecutionContext, config: Backtesting, warehouse: WarehouseResource, policy: PolicyResource
) -> ThreeResults:
    """Scenario by scenario, each in one transaction, as many at a time as there are processes."""
    engine = warehouse.engine
    chosen = rows_of_partitions(engine, scenario_keys(context))
    done = run_backtests(engine, policy, chosen, config)
    context.log.info("%d runs made, %d were there", done.n_made, done.n_there)
    for name, reason in sorted(done.left_out.items()):
        context.log.warning("%s was not run: %s", name, reason)
    drawn = _pictures(engine, chosen)
    results, trades, curves = (
        report(
            writes.together(table, done.receipts[table.name]),
            asset=table.name,
            scenarios=len(chosen),
            runs_made=done.n_made,
            runs_there=done.n_there,
            plot=drawn.get(table.name),
            left_out=done.left_out or None,
        )
        for table in TABLES
    )
    return results, trades, curves


def _pictures(engine: Engine, chosen: pd.DataFrame) -> dict[str, Any]:
    """Of the results the matrix, of the curves those of the longest scenario among the chosen ones, by table."""
    runs = current_runs(engine, chosen, reads.read_all(engine, schema.strategies))
    runs = runs.drop_duplicates(["strategy_id", "scenario_id"])
    runs = runs.merge(chosen[["scenario_id", "name"]], on="scenario_id")
    if runs.empty:
        return {}
    drawn = {schema.backtest_results.name: picture(lambda: plot_matrix(runs), "Total returns")}
    kept = runs[runs["has_curve"].astype(bool)].sort_values(["n_bars", "scenario_id"])
    if len(kept):
        own = kept[kept["scenario_id"] == kept["scenario_id"].iloc[-1]]
        stored = reads.read_all(engine, schema.equity_curves, {"run_key": own["run_key"].tolist()})
        stored = stored.sort_values(["run_key", "step"])
        of_run = dict(iter(stored.groupby("run_key")))
        curves = {row["strategy_id"]: of_run[row["run_key"]] for row in records(own) if row["run_key"] in of_run}
        drawn[schema.equity_curves.name] = picture(lambda: plot_curves(curves, str(own["name"].iloc[0])), "Equity")
    return drawn


@dataclass
class Done:
    """What became of the runs of some scenarios."""

    receipts: dict[str, list[writes.WriteReceipt]]
    n_made: int = 0
    n_there: int = 0
    left_out: dict[str, str] = field(default_factory=dict)


def run_backtests(engine: Engine, policy: PolicyResource, chosen: pd.DataFrame, config: Backtesting) -> Done:
    """Run what is due over some scenarios (rows of `scenarios`) and store it."""
    wanted = _wanted(strategies_in(policy), config.strategies)
    bars = bars_of_set(engine, chosen)
    universes = {one.spec.universe for one in wanted}
    beside = surroundings(engine, replace(bars, universes={name: bars.universes.get(name, ()) for name in universes}))
    followed = {name for one in wanted for name in one.signal_types}
    if followed:
        beside = replace(beside, signals=stored_signals(engine, DayRange(EVER.start, bars.as_of), followed))
    reasons = {one.strategy_id: why_left_out(one, beside.signals) for one in wanted}
    wanted = [one for one in wanted if reasons[one.strategy_id] is None]
    columns = set().union(*(one.columns for one in wanted)) - set(BAR_COLUMNS)
    world = World(with_read_features(engine, bars.history, columns), beside, config.costs, config.account)
    there = {} if config.again else stored_runs(engine, chosen["scenario_id"].tolist(), with_curve=config.every_curve)
    rows = {row["scenario_id"]: row for row in records(chosen)}
    tasks = [task for row in rows.values() if (task := due_task(row, wanted, bars.universes, there, world)) is not None]
    whole = [due_task(row, wanted, bars.universes, {}, world) for row in rows.values()]
    n_due = sum(len(task.strategies) for task in tasks)
    done = Done({table.name: [] for table in TABLES})
    done.left_out = {name: reason for name, reason in reasons.items() if reason is not None}
    done.n_there = sum(len(task.strategies) for task in whole if task is not None) - n_due
    workers, pace = config.workers or default_workers(), Pace(STEP)
    for number, (task, runs) in enumerate(assessed(tasks, world, workers), start=1):
        row = rows[task.request.scenario_id]
        has_curves = config.every_curve or row["family"] != REGENERATED
        inputs = {one.content_hash: inputs_hash(one, row, world) for one in task.strategies}
        frames = {
            schema.backtest_results: result_rows(runs, row, inputs, world, has_curves=has_curves),
            schema.backtest_trades: trade_rows(runs),
            schema.equity_curves: curve_rows(runs if has_curves else ()),
        }
        if runs:
            made = writes.replace_where(engine, frames, {"run_key": [one.result.run_key for one in runs]})
            for name, receipt in made.items():
                done.receipts[name].append(receipt)
        done.n_made += len(runs)
        pace.tell(number, len(tasks), f"scenarios, {done.n_made} of {n_due} runs")
    return done


def _wanted(known: dict[str, Strategy], names: list[str]) -> list[Strategy]:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigurationError(f"there is no strategy {unknown[0]!r}; known: {', '.join(sorted(known))}")
    return [known[name] for name in sorted(names or known)]


def stored_runs(engine: Engine, scenario_ids: list[str], *, with_curve: bool) -> dict[str, tuple[str, str]]:
    """run_key -> the bars that it ran over and what it rested on beside them; only of runs whose curve is stored, where
    it is asked for.
    """
    rows = reads.read_all(engine, schema.backtest_results, {"scenario_id": scenario_ids})
    rows = rows[rows["has_curve"].astype(bool)] if with_curve else rows
    return dict(zip(rows["run_key"], zip(rows["paths_hash"], rows["inputs_hash"], strict=True), strict=True))


# --- rankings ------------------------------------------------------------------------------------------------------
RANKING_TABLES = {
    schema.strategy_rankings: (
        "Ranks by percentiles averaged inside families and then across, with dispersion, worst scenario, number of "
        "trials, deflated Sharpe ratio, overfitting and walk-forward."
    ),
    schema.regime_performance: "What each strategy did in each regime of its market.",
}


@dg.multi_asset(
    name=RANKING_STEP,
    specs=[
        lab_spec(
            table, words, ("backtest_results", "equity_curves"), ("numpy", "sql"), "market.md#one-execution-engine"
        )
        for table, words in RANKING_TABLES.items()
    ],
)
@own_step(RANKING_STEP)
def rankings(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, policy: PolicyResource
) -> tuple[dg.MaterializeResult, dg.MaterializeResult]:
    """Both tables of the newest set of scenarios, in one transaction."""
    engine = warehouse.engine
    told = read_assessment(engine, strategies_in(policy).values())
    ranks, regimes = [], []
    for scope, results in ranked_scopes(told).items():
        context.log.info("%s: %d runs in %d scenarios", scope, len(results), results["scenario_id"].nunique())
        ranking = rank_strategies(results)
        ranks.append(_rank_rows(ranking, told, scope, results))
        regimes.append(ranking.regimes.assign(as_of=told.as_of, scope=scope))
    frame = pd.concat(ranks, ignore_index=True)
    of_regimes = pd.concat(regimes, ignore_index=True)[schema.regime_performance.columns.keys()]
    frames = {schema.strategy_rankings: frame, schema.regime_performance: of_regimes}
    receipts = writes.replace_where(engine, frames, {"as_of": told.as_of})
    shown = frame[frame["scope"] == (EVERYWHERE if (frame["scope"] == EVERYWHERE).any() else frame["scope"].iloc[0])]
    names, regime_names = (table.name for table in RANKING_TABLES)
    return (
        report(
            receipts[names],
            asset=names,
            as_of=told.as_of.isoformat(),
            trials=told.n_trials,
            scenarios=int(told.results.loc[told.results["is_ranked"], "scenario_id"].nunique()),
            ranking=whole_table(shown[SHOWN_RANKS]),
            plot=picture(
                lambda: plot_scores(shown, f"Ranking as of {told.as_of}: {shown['scope'].iloc[0]}"), "Ranking"
            ),
        ),
        report(receipts[regime_names], of_regimes, asset=regime_names),
    )


def _rank_rows(ranking: Ranking, told: Assessment, scope: str, results: pd.DataFrame) -> pd.DataFrame:
    hashes = dict(zip(results["strategy_id"], results["strategy_hash"], strict=True))
    table = ranking.table.merge(told.evidence.drop(columns="n_trials"), on="strategy_id", how="left")
    table = table.assign(
        as_of=told.as_of,
        scope=scope,
        n_trials=told.n_trials,
        strategy_hash=table["strategy_id"].map(hashes),
        eligibility_flags=[", ".join(flags) for flags in table["eligibility_flags"]],
    )
    floats = [name for name in ("full_history_sharpe", *EVIDENCE_COLUMNS[3:]) if name in table]
    table[floats] = table[floats].astype(np.float64)
    for name in ("rank", "worst_regime", "worst_scenario"):
        table[name] = pd.Series([None if pd.isna(one) else one for one in table[name].tolist()], dtype=object)
    return table[schema.strategy_rankings.columns.keys()]


@lab_asset(
    schema.assessment_report,
    deps=["strategy_rankings", "regime_performance", "backtest_results", "equity_curves", "scenarios"],
    spec="market.md#one-execution-engine",
    kinds=("html", "sql"),
)
def assessment_report(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, policy: PolicyResource, notifier: NotifierResource
) -> dg.MaterializeResult:
    """The pages of the newest assessment: ranking, families, matrix and regimes of all and of each universe, and a tear
    sheet of each strategy; as files below the installation's reports, the path of the first is in the metadata.
    """
    engine = warehouse.engine
    told = read_assessment(engine, strategies_in(policy).values())
    rows = []
    for scope, results in ranked_scopes(told).items():
        ranking = rank_strategies(results)
        best = ranking.table.loc[ranking.table["rank"] == 1, "strategy_id"]
        context.log.info("%s: best is %s", scope, "nobody" if best.empty else best.iloc[0])
        rows.append(
            {
                "as_of": told.as_of,
                "scope": scope,
                "n_strategies": len(ranking.table),
                "n_scenarios": int(results["scenario_id"].nunique()),
                "n_runs": len(results),
                "n_trials": told.n_trials,
                "best_strategy": None if best.empty else str(best.iloc[0]),
                "page_html": page_of(ranking, told, scope),
            }
        )
    frame = pd.DataFrame(rows)
    receipt = writes.replace_where(engine, {schema.assessment_report: frame}, {"as_of": told.as_of})
    pages = write_pages(engine, Path(notifier.local_folder), told, partial(_tell_pages, schema.assessment_report.name))
    return report(
        receipt[schema.assessment_report.name],
        frame.drop(columns="page_html"),
        index=dg.MetadataValue.path(str(pages.index)),
        pages={scope: str(path) for scope, path in pages.scopes.items()},
        tear_sheets={name: str(path) for name, path in pages.sheets.items()},
    )


def _tell_pages(step: str, number: int, total: int) -> None:
    tell_progress(step, f"{number} of {total} tear sheets")
