"""Checks of signals: prices that fit their side, kinds that exist, no act before the close, no stub among models.

Lives here: reading the days and the verdict. Not here: the rules (domain/signals/rules.py), which the assets also keep
before they write.
"""

from typing import Any

import dagster as dg
import pandas as pd

from defiyield_assets.domain.signals.rules import row_problems
from defiyield_assets.domain.signals.stub import is_stub_digest
from defiyield_assets.domain.signals.types import STUB, type_of
from defiyield_assets.orchestration.partitions import DAILY, day_range
from defiyield_assets.orchestration.reporting import offending
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema


def _result(broken: list[str], rows: int) -> dg.AssetCheckResult:
    told: dict[str, Any] = {
        "rows": rows,
        "broken": len(broken),
        "listed": offending(broken, "signal"),
    }
    return dg.AssetCheckResult(
        passed=not broken,
        description=f"{len(broken)} of {rows} signals are broken" if broken else None,
        metadata=told,
    )


def _signals(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> pd.DataFrame:
    return reads.read_days(warehouse.engine, schema.trading_signals, day_range(context))


@dg.asset_check(asset="trading_signals", blocking=True, partitions_def=DAILY)
def levels_fit_their_side(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """BUY has stop < close < target, SELL the inverse, HOLD has neither."""
    rows = _signals(context, warehouse)
    return _result(row_problems(rows)["levels"], len(rows))


@dg.asset_check(asset="trading_signals", blocking=True, partitions_def=DAILY)
def nobody_acts_before_the_close(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> dg.AssetCheckResult:
    """A signal is decided after its bar opened and can be acted on when that bar has closed, not before."""
    rows = _signals(context, warehouse)
    return _result(row_problems(rows)["time"], len(rows))


@dg.asset_check(asset="trading_signals", blocking=True, partitions_def=DAILY, additional_deps=["signal_types"])
def types_and_statuses_are_known(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> dg.AssetCheckResult:
    """Every signal is of a type that exists, and only a reply that fits is BUY or SELL."""
    rows = _signals(context, warehouse)
    known = set(reads.read_all(warehouse.engine, schema.signal_types)["signal_type"])
    strange = sorted(set(rows["signal_type"]) - known)
    return _result([*(f"no type {name}" for name in strange), *row_problems(rows)["status"]], len(rows))


@dg.asset_check(asset="ai_signals", blocking=True, partitions_def=DAILY)
def stub_is_never_mixed(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """What the stand-in says has its name, type and digest, and no model's row has any of them."""
    rows = reads.read_days(warehouse.engine, schema.ai_signals, day_range(context))
    return _result(mixed_up(rows), len(rows))


def mixed_up(rows: pd.DataFrame) -> list[str]:
    """Rows of `ai_signals` whose model, type and digest do not all say the same of who spoke."""
    found = []
    for row in rows.to_dict("records"):
        model = str(row["model"])
        is_one = row["signal_type"] == type_of(model) and is_stub_digest(row["model_digest"]) == (model == STUB)
        if not is_one or (model == STUB and row["answered_at"] is not None and not pd.isna(row["answered_at"])):
            found.append(
                f"{row['instrument_id']} on {row['date']}: {model}, {row['signal_type']}, {row['model_digest']}"
            )
    return found
