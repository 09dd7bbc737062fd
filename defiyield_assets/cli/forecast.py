"""`defiyield forecast show`: forecasts with their bands, who made them, and what such forecasts were worth.

Lives here: reading and drawing. Not here: the models, their evidence and scores (domain/forecasting), the arguments
(forecast_arguments.py).
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pandas as pd
import sqlalchemy as sa
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from defiyield_assets.cli.explain import engine_of_market
from defiyield_assets.cli.output import write_json
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.reporting.formats import about_usd, clean, is_missing, number, percent, short_id
from defiyield_assets.domain.selection.explanation import Known, known_pools
from defiyield_assets.errors import NotFound
from defiyield_assets.store import reads, schema
from defiyield_assets.store.evidence import find_pool

CHAMPION = "champion"
NONE_DUE = "no forecast has fallen due yet, so none is scored"
NONE_OF_POOL_DUE = "none of this pool's forecasts has fallen due yet"
SCORED_DAYS = 90
BANDS = ["target", "horizon_days", "mean", "p10", "p50", "p90", "model", "tier", "fallback_reason", "n_obs"]
CANDIDATES = ["horizon_days", "model", "mean", "p10", "p90", "is_champion"]
SCORES = ["horizon_days", "model", "n_forecasts", "mae", "mae_last_value", "skill", "coverage", "bias"]
NAMES = ["pool_id", "symbol", "protocol", "chain"]


@dataclass(frozen=True)
class Wanted:
    """What was typed."""

    pool: str | None
    day: date | None
    target: str
    most: int


def show_forecasts(wanted: Wanted, console: Console, *, is_json: bool) -> int:
    """Show forecasts of all pools that may be used, or of one; 0."""
    engine = engine_of_market()
    newest = reads.newest_day(engine, schema.pool_forecasts)
    if newest is None:
        raise NotFound("the warehouse holds no forecasts yet: `defiyield demo` or `defiyield run` makes some")
    day = wanted.day or newest
    if reads.newest_day(engine, schema.pool_forecasts, day) != day:
        raise NotFound(f"the warehouse holds no forecasts of {day}; the newest are of {newest}")
    if wanted.pool is None:
        return _show_all(engine, day, wanted, console, is_json=is_json)
    return _show_one(engine, find_pool(engine, wanted.pool, day), day, wanted, console, is_json=is_json)


def _show_all(engine: sa.Engine, day: date, wanted: Wanted, console: Console, *, is_json: bool) -> int:
    only = DayRange.of(day)
    made = reads.read_days(engine, schema.pool_forecasts, only, {"target": wanted.target})
    horizons = sorted({int(days) for days in made["horizon_days"]})
    runs = reads.read_days(engine, schema.allocation_runs, only)
    of_plan = int(runs.iloc[0]["horizon_days"]) if len(runs) else horizons[-1]
    horizon = of_plan if of_plan in horizons else horizons[-1]
    pools = {pool.pool_id: pool for pool in _pools_of(engine, day)}
    usable = reads.read_days(engine, schema.eligible_pools, only, {"is_passed": True}, columns=["pool_id"])
    chosen = made[(made["horizon_days"] == horizon) & made["pool_id"].isin(usable["pool_id"])]
    chosen = chosen.sort_values(["mean", "pool_id"], ascending=[False, True]).head(wanted.most)
    scores = _scoreboard(engine, day, wanted.target)
    if is_json:
        told = [
            {**row, "symbol": _name(pools, row["pool_id"]).symbol, "protocol": _name(pools, row["pool_id"]).protocol}
            for row in chosen[["pool_id", *BANDS]].to_dict("records")
        ]
        write_json({"date": day, "target": wanted.target, "horizon_days": horizon, "forecasts": told, "scores": scores})
        return 0
    console.print(Text(f"Forecasts of {wanted.target}, made on {day}", style="bold"))
    _draw_scores(scores, "Forecasts", NONE_DUE, wanted.target, console)
    table = _table(f"Pools that may be used, over {horizon} days", ("pool", "model", "id"), ("p10", "mean", "p90"))
    for row in chosen.to_dict("records"):
        figures = (_value(wanted.target, row[name]) for name in ("p10", "mean", "p90"))
        name = clean(_name(pools, row["pool_id"]).name, 60)
        table.add_row(Text(name), Text(str(row["model"])), Text(short_id(row["pool_id"])), *figures)
    console.print(table)
    if len(chosen) == wanted.most:
        console.print(Text(f"the best {wanted.most}; --most shows more, POOL tells all of one", style="dim"))
    return 0


def _show_one(engine: sa.Engine, pool: Known, day: date, wanted: Wanted, console: Console, *, is_json: bool) -> int:
    only, of_pool = DayRange.of(day), {"pool_id": pool.pool_id}
    made = reads.read_days(engine, schema.pool_forecasts, only, of_pool)
    if made.empty:
        raise NotFound(f"{clean(pool.name, 80)} has no forecast of {day}: `defiyield explain` says why")
    candidates = reads.read_days(
        engine, schema.forecast_candidates, only, {**of_pool, "target": wanted.target}, columns=CANDIDATES
    )
    past = DayRange(day - timedelta(days=SCORED_DAYS - 1), day)
    due = reads.read_days(
        engine, schema.forecast_scores, past, {**of_pool, "target": wanted.target, "is_champion": True}
    )
    horizons = sorted({int(days) for days in due["horizon_days"]})
    worth = [_worth(horizon, due[due["horizon_days"] == horizon]) for horizon in horizons]
    reasons = _reasons(engine, day, pool, wanted.target)
    if is_json:
        document = {"date": day, "pool": pool, "target": wanted.target, "forecasts": made[BANDS]}
        write_json({**document, "candidates": candidates, "scores": worth, "evidence": reasons})
        return 0
    console.print(Text(f"{clean(pool.name, 120)}, forecasts made on {day}", style="bold"))
    console.print(Text(pool.pool_id, style="dim"))
    table = _table("Mean over the horizon", ("target", "model", "by"), ("days", "p10", "p50", "mean", "p90"))
    for row in made.sort_values(["target", "horizon_days"]).to_dict("records"):
        told = (_value(row["target"], row[name]) for name in ("p10", "p50", "mean", "p90"))
        table.add_row(str(row["target"]), Text(str(row["model"])), str(row["tier"]), str(row["horizon_days"]), *told)
    console.print(table)
    for words in dict.fromkeys(str(one) for one in made["fallback_reason"] if not is_missing(one)):
        console.print(Text(f"a simpler model: {clean(words, 400)}", style="yellow"))
    if reasons:
        console.print(Text("Why the champion", style="bold"))
        for reason in reasons:
            words = f"  {reason['horizon_days']} days, by {reason['scope']}: {reason['model']}: "
            console.print(Text(words + clean(reason["reason"], 300)))
    _draw_candidates(candidates, wanted.target, console)
    _draw_scores(worth, "This pool's forecasts", NONE_OF_POOL_DUE, wanted.target, console)
    return 0


def _pools_of(engine: sa.Engine, day: date) -> list[Known]:
    tables = (schema.prefiltered_pools, schema.eligible_pools)
    return known_pools(pd.concat([reads.read_days(engine, table, DayRange.of(day), columns=NAMES) for table in tables]))


def _name(pools: dict[str, Known], pool_id: str) -> Known:
    return pools.get(pool_id, Known(pool_id, short_id(pool_id), "", ""))


def _scoreboard(engine: sa.Engine, day: date, target: str) -> list[dict[str, Any]]:
    """What champions were worth, by horizon; empty before any forecast fell due."""
    board = reads.read_days(
        engine, schema.forecast_scoreboard, DayRange.of(day), {"target": target, "model": CHAMPION}, columns=SCORES
    )
    return [{str(name): cell for name, cell in row.items()} for row in board.to_dict("records")]


def _reasons(engine: sa.Engine, day: date, pool: Known, target: str) -> list[dict[str, Any]]:
    """Why each champion was chosen: the pool's own evidence where there is some, else that of all pools."""
    where = {"target": target, "is_champion": True, "scope_id": [pool.pool_id, "all"]}
    rows = reads.read_latest(engine, schema.forecast_evaluations, day, where).to_dict("records")
    best: dict[int, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["scope"] == "pool"):
        best[int(row["horizon_days"])] = {
            name: row[name] for name in ("horizon_days", "scope", "model", "reason", "n_origins", "mae", "skill")
        }
    return [best[days] for days in sorted(best)]


def _worth(horizon: int, rows: pd.DataFrame) -> dict[str, Any]:
    """What the pool's forecasts over a horizon that fell due were worth."""
    mae, naive = float(rows["absolute_error"].mean()), float(rows["naive_absolute_error"].mean())
    bands = rows[rows["has_band"]]
    return {
        "horizon_days": horizon,
        "n_forecasts": len(rows),
        "mae": mae,
        "mae_last_value": naive,
        "skill": 1.0 - mae / naive if naive > 0 else None,
        "coverage": float(bands["is_covered"].mean()) if len(bands) else None,
        "bias": float(rows["error"].mean()),
    }


def _value(target: str, value: Any) -> str:
    return about_usd(value) if target == "tvl_usd" else percent(value)


def _table(title: str, words: tuple[str, ...], figures: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in words:
        table.add_column(name, overflow="fold")
    for name in figures:
        table.add_column(name, justify="right")
    return table


def _draw_scores(scores: list[dict[str, Any]], whose: str, none: str, target: str, console: Console) -> None:
    """What forecasts that fell due were worth; `none` is said where there are none."""
    if not scores:
        console.print(Text(none, style="dim"))
        return
    title = f"{whose} due in the last {SCORED_DAYS} days"
    table = _table(title, (), ("days", "forecasts", "error", "last value's", "skill", "within band"))
    for row in scores:
        _add_score(table, row, target)
    console.print(table)


def _add_score(table: Table, row: dict[str, Any], target: str) -> None:
    errors = (_value(target, row["mae"]), _value(target, row["mae_last_value"]))
    shares = (percent(row["skill"], 1), percent(row["coverage"], 0))
    table.add_row(str(row["horizon_days"]), number(row["n_forecasts"]), *errors, *shares)


def _draw_candidates(candidates: pd.DataFrame, target: str, console: Console) -> None:
    if candidates.empty:
        return
    table = _table(f"Candidates for {target}", ("model", ""), ("days", "p10", "mean", "p90"))
    for row in candidates.sort_values(["horizon_days", "model"]).to_dict("records"):
        told = (_value(target, row[name]) for name in ("p10", "mean", "p90"))
        mark = CHAMPION if row["is_champion"] else ""
        table.add_row(Text(str(row["model"])), mark, str(row["horizon_days"]), *told)
    console.print(table)
