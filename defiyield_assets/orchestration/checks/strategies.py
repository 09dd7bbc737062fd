"""Checks of backtests and ranks: what equity is made of, whether curves and trades are those of their runs, whether
every strategy does anything at all, whether ranks are those of the runs that are stored.

Lives here: reading what is compared. Not here: the engine (domain/strategies).
"""

import json
from collections.abc import Iterator

import dagster as dg
import numpy as np
import pandas as pd
import sqlalchemy as sa
from sqlalchemy import Engine

from defiyield_assets.domain.strategies.assessment import SLACK
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.orchestration.lab.assessments import Assessment, current_runs, current_set, read_assessment
from defiyield_assets.orchestration.lab.inputs import strategies_in
from defiyield_assets.orchestration.reporting import offending, preview
from defiyield_assets.orchestration.resources import PolicyResource, WarehouseResource
from defiyield_assets.store import reads, schema

SHOWN = 20
READ_AT_ONCE = 200
"""Runs whose curves are held at a time."""


@dg.asset_check(asset="equity_curves", additional_deps=["backtest_results"], blocking=False)
def equity_is_cash_and_positions(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """At every mark of every stored curve of the current set equity is cash and positions, and cash not negative."""
    engine = warehouse.engine
    runs = _runs(engine)
    keys = runs.loc[runs["has_curve"].astype(bool), "run_key"].tolist()
    parts, n_rows = [], 0
    for curves in _in_parts(engine, schema.equity_curves, keys):
        parts.append(out_of_balance(curves))
        n_rows += len(curves)
    broken = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return dg.AssetCheckResult(
        passed=broken.empty,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{len(broken)} of {n_rows} marks of {len(keys)} runs do not add up",
        metadata={"marks": n_rows, "runs": len(keys), "listed": preview(broken, SHOWN)},
    )


@dg.asset_check(asset="equity_curves", additional_deps=["backtest_results"], blocking=False)
def curves_are_those_of_their_runs(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """A stored curve has a mark for every bar and ends at the total return of its run; drawdown is what it has lost."""
    engine = warehouse.engine
    runs = _runs(engine)
    runs = runs[runs["has_curve"].astype(bool)]
    apart: list[str] = []
    for start in range(0, len(runs), READ_AT_ONCE):
        own = runs.iloc[start : start + READ_AT_ONCE]
        apart += curves_apart(own, reads.read_all(engine, schema.equity_curves, {"run_key": own["run_key"].tolist()}))
    return _told_apart(runs, apart, "curves are not those of their runs")


@dg.asset_check(asset="backtest_trades", additional_deps=["backtest_results"], blocking=False)
def trades_are_those_of_their_runs(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Of every run as many round trips are stored as it had."""
    engine = warehouse.engine
    runs = _runs(engine)
    counts: dict[str, int] = {}
    for trades in _in_parts(engine, schema.backtest_trades, runs["run_key"].tolist()):
        counts |= {str(key): int(n) for key, n in trades["run_key"].value_counts().items()}
    is_apart = runs["run_key"].map(counts).fillna(0).astype(int) != runs["n_trades"].fillna(0).astype(int)
    return _told_apart(runs, runs.loc[is_apart, "run_key"].tolist(), "runs have another number of round trips stored")


@dg.asset_check(asset="strategy_rankings", additional_deps=["backtest_results"], blocking=False)
def ranks_are_those_of_the_runs(warehouse: WarehouseResource, policy: PolicyResource) -> dg.AssetCheckResult:
    """The stored ranking has every strategy of the runs that are stored, with their scenarios and round trips."""
    engine = warehouse.engine
    try:
        told = read_assessment(engine, strategies_in(policy).values())
        apart = ranks_apart(told, reads.read_all(engine, schema.strategy_rankings, {"as_of": told.as_of}))
        words = f"{len(apart)} ranks are not those of the runs that are stored"
    except SuspiciousDataError as error:
        apart, words = ["all"], str(error)
    return dg.AssetCheckResult(
        passed=not apart,
        severity=dg.AssetCheckSeverity.ERROR,
        description=words,
        metadata={"apart": len(apart), "listed": offending(apart, "scope and strategy")},
    )


@dg.asset_check(asset="backtest_results", blocking=False)
def every_strategy_traded_somewhere(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Each current strategy has a round trip in some scenario of the current set; one without tells nothing."""
    engine = warehouse.engine
    runs = _runs(engine)
    idle = idle_strategies(runs, reads.read_all(engine, schema.strategies, {"is_current": True}))
    return dg.AssetCheckResult(
        passed=not idle,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(idle)} strategies have no trade in any of {runs['scenario_id'].nunique()} scenarios"
        + (f": {', '.join(idle[:SHOWN])}" if idle else ""),
        metadata={
            "runs": len(runs),
            "runs_without_a_trade": int((runs["n_trades"] == 0).sum()),
            "idle": len(idle),
            "listed": offending(idle, "strategy"),
        },
    )


def _runs(engine: Engine) -> pd.DataFrame:
    """Runs of current strategies over the bars of the current set."""
    return current_runs(engine, current_set(engine), reads.read_all(engine, schema.strategies))


def _in_parts(engine: Engine, table: sa.Table, keys: list[str]) -> Iterator[pd.DataFrame]:
    """The rows of some runs, so many runs at a time."""
    for start in range(0, len(keys), READ_AT_ONCE):
        yield reads.read_all(engine, table, {"run_key": keys[start : start + READ_AT_ONCE]})


def _told_apart(runs: pd.DataFrame, apart: list[str], words: str) -> dg.AssetCheckResult:
    listed = runs.loc[runs["run_key"].isin(apart), ["strategy_id", "scenario_id", "run_key"]]
    return dg.AssetCheckResult(
        passed=not apart,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{len(apart)} of {len(runs)} {words}",
        metadata={"runs": len(runs), "apart": len(apart), "listed": preview(listed, SHOWN)},
    )


def curves_apart(runs: pd.DataFrame, curves: pd.DataFrame) -> list[str]:
    """Keys of runs whose curve lacks a mark, ends elsewhere than at their total return, or has another drawdown."""
    of_run = dict(iter(curves.sort_values(["run_key", "step"]).groupby("run_key")))
    found = []
    for run in runs.to_dict("records"):
        curve = of_run.get(run["run_key"])
        if curve is None or curve["step"].tolist() != list(range(int(run["n_bars"]) + 1)):
            found.append(str(run["run_key"]))
            continue
        equity = curve["equity"].to_numpy(float)
        ends = equity[-1] / json.loads(run["account_json"])["capital"] - 1.0
        lost = equity / np.maximum.accumulate(equity) - 1.0
        is_same = np.isclose(ends, run["total_return"], rtol=SLACK, atol=SLACK)
        if not is_same or not np.allclose(lost, curve["drawdown"].to_numpy(float), rtol=SLACK, atol=SLACK):
            found.append(str(run["run_key"]))
    return found


def ranks_apart(told: Assessment, stored: pd.DataFrame) -> list[str]:
    """scope/strategy of rows that lack, are too many, or tell of other scenarios and round trips than the runs."""
    known = {(row["scope"], row["strategy_id"]): row for row in stored.to_dict("records")}
    due = {}
    for scope, results in told.scopes().items():
        for name, own in results.groupby("strategy_id"):
            n_scenarios = int(own["total_return"].notna().sum())
            due[scope, str(name)] = (n_scenarios, int(own["n_trades"].sum()), float(own["total_return"].min()))
    names = ("n_scenarios", "n_trades", "worst_return")
    apart = [
        key
        for key in sorted({*known, *due})
        if key not in known or key not in due or tuple(known[key][name] for name in names) != due[key]
    ]
    return [f"{scope}/{name}" for scope, name in apart]


def out_of_balance(curves: pd.DataFrame) -> pd.DataFrame:
    """Marks at which equity is not cash and positions, or cash is negative."""
    equity, cash, value = (curves[name].to_numpy(float) for name in ("equity", "cash", "positions_value"))
    scale = np.maximum(np.maximum(np.abs(equity), np.abs(cash)), np.maximum(np.abs(value), 1.0))
    is_broken = (np.abs(equity - cash - value) > SLACK * scale) | (cash < -SLACK * scale)
    columns = ["run_key", "step", "date", "equity", "cash", "positions_value"]
    return curves.loc[is_broken, columns].reset_index(drop=True)


def idle_strategies(runs: pd.DataFrame, current: pd.DataFrame) -> list[str]:
    """Current strategies without a round trip in any run."""
    traded = set(runs.loc[runs["n_trades"] > 0, "strategy_hash"])
    idle = current[~current["content_hash"].isin(traded)]
    return sorted(idle["strategy_id"])
