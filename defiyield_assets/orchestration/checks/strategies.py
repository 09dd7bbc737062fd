"""Checks of backtests: what equity is made of, and whether every strategy does anything at all.

Lives here: reading what is compared. Not here: the engine (domain/strategies).
"""

import dagster as dg
import numpy as np
import pandas as pd
from sqlalchemy import Engine

from defiyield_assets.domain.strategies.assessment import SLACK
from defiyield_assets.orchestration.reporting import preview
from defiyield_assets.orchestration.resources import WarehouseResource
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
    for start in range(0, len(keys), READ_AT_ONCE):
        curves = reads.read_all(engine, schema.equity_curves, {"run_key": keys[start : start + READ_AT_ONCE]})
        parts.append(out_of_balance(curves))
        n_rows += len(curves)
    broken = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return dg.AssetCheckResult(
        passed=broken.empty,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{len(broken)} of {n_rows} marks of {len(keys)} runs do not add up",
        metadata={"marks": n_rows, "runs": len(keys), "listed": preview(broken, SHOWN)},
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
        metadata={"runs": len(runs), "runs_without_a_trade": int((runs["n_trades"] == 0).sum()), "idle": idle},
    )


def _runs(engine: Engine) -> pd.DataFrame:
    """Runs of current strategies over the bars of the current set."""
    scenarios = reads.read_all(engine, schema.scenarios, {"is_current": True, "status": "ready"})
    runs = reads.read_all(engine, schema.backtest_results, {"scenario_id": scenarios["scenario_id"].tolist()})
    current = reads.read_all(engine, schema.strategies, {"is_current": True})
    runs = runs[runs["strategy_hash"].isin(set(current["content_hash"]))]
    hashes = dict(zip(scenarios["scenario_id"], scenarios["paths_hash"], strict=True))
    return runs[runs["paths_hash"] == runs["scenario_id"].map(hashes)].reset_index(drop=True)


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
