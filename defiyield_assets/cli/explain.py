"""`defiyield explain POOL`: why a pool is in the plan or out of it.

Lives here: reading the tables that speak of one pool, and drawing. Not here: what is said
(domain/selection/explanation.py), the arguments (explain_arguments.py).
"""

from datetime import date, timedelta
from typing import Any

import pandas as pd
import sqlalchemy as sa
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from defiyield_assets.cli.output import write_json
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.policy import Parameters
from defiyield_assets.domain.policy_codec import policy_from_json
from defiyield_assets.domain.reporting.formats import about_usd, clean, percent, usd
from defiyield_assets.domain.selection.explanation import (
    DOUBTED,
    PASSED,
    REFUSED,
    Evidence,
    Explanation,
    Known,
    explain_pool,
    known_pools,
    matching_pools,
    unclear_words,
)
from defiyield_assets.errors import NotFound
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.settings import load_settings
from defiyield_assets.store import reads, schema

TONES = {PASSED: "green", DOUBTED: "yellow", REFUSED: "red", "enter": "green", "increase": "green", "hold": "green"}
NAMES = ["pool_id", "symbol", "protocol", "chain"]
WIDE = 2_000
"""Characters of a reason that are shown: every reason of a verdict, not the first ones."""
RATES = ("last_apy", "apy_mean_30d", "apy_std_30d", "reward_share", "forecast_apy", "forecast_p10", "forecast_p90")
LABELS = {
    "size_usd": "size",
    "last_apy": "last APY",
    "age_days": "days known",
    "is_held": "held",
    "apy_mean_30d": "mean APY of 30 days",
    "apy_std_30d": "its standard deviation",
    "reward_share": "part paid as rewards",
    "pool_group": "risk group",
    "forecast_apy": "forecast APY",
    "forecast_p10": "forecast, p10",
    "forecast_p90": "forecast, p90",
    "model": "forecast by",
    "value_usd": "value in the plan",
    "share_of_aum": "share of all assets",
    "diluted_apy": "APY with our money in it",
    "gain_usd": "gain over the horizon",
    "cost_usd": "costs",
    "marginal_apy": "its next dollar earns",
    "dollar_apy": "a dollar in the plan earns",
    "break_even_days": "days to earn back",
    "binding_limit": "limit that binds",
}
"""Figure -> how it is called on the page; JSON keeps the names."""
PLAN_RATES = ("share_of_aum", "diluted_apy", "marginal_apy", "dollar_apy")


def engine_of_market() -> sa.Engine:
    """The migrated warehouse of the market that settings name."""
    return WarehouseResource(market=load_settings().warehouse_market).engine


def find_pool(engine: sa.Engine, typed: str, day: date) -> Known:
    """The one pool that somebody means on a day; NotFound naming those it may be."""
    of_day = DayRange.of(day)
    tables = (schema.prefiltered_pools, schema.eligible_pools)
    known = known_pools(pd.concat([reads.read_days(engine, table, of_day, columns=NAMES) for table in tables]))
    found = matching_pools(typed, known)
    if len(found) != 1:
        raise NotFound(unclear_words(clean(typed, 80), found, known))
    return found[0]


def explain(typed: str, day: date | None, days: int, console: Console, *, is_json: bool) -> int:
    """Explain the pool that was typed; always 0, whatever the verdict."""
    engine = engine_of_market()
    newest = reads.newest_day(engine, schema.prefiltered_pools)
    if newest is None:
        raise NotFound("the warehouse holds no verdicts yet: `defiyield demo` or `defiyield run` makes some")
    chosen = day or newest
    if reads.newest_day(engine, schema.prefiltered_pools, chosen) != chosen:
        raise NotFound(f"the warehouse holds no verdicts of {chosen}; the newest are of {newest}")
    pool = find_pool(engine, typed, chosen)
    told = explain_pool(pool, chosen, read_evidence(engine, pool.pool_id, chosen, days))
    if is_json:
        write_json(told)
    else:
        print_explanation(told, console)
    return 0


def read_evidence(engine: sa.Engine, pool_id: str, day: date, days: int) -> Evidence:
    """What the warehouse knows of one pool: verdicts of `days` days up to `day`, the rest of the day alone."""
    only, past = DayRange.of(day), DayRange(day - timedelta(days=days - 1), day)
    of_pool: dict[str, Any] = {"pool_id": pool_id}
    return Evidence(
        prefiltered=reads.read_days(engine, schema.prefiltered_pools, past, of_pool),
        eligible=reads.read_days(engine, schema.eligible_pools, past, of_pool),
        allocations=reads.read_days(engine, schema.allocations, past, of_pool),
        quality=reads.read_days(engine, schema.pool_quality, only, of_pool),
        groups=reads.read_days(engine, schema.pool_groups, only, of_pool),
        metrics=reads.read_days(engine, schema.pool_metrics, only, of_pool),
        forecasts=reads.read_days(engine, schema.pool_forecasts, only, of_pool),
        allocation_limits=reads.read_days(engine, schema.allocation_limits, only),
        runs=reads.read_days(engine, schema.allocation_runs, only),
        parameters=_parameters(engine, day),
    )


def _parameters(engine: sa.Engine, day: date) -> Parameters | None:
    """The policy's numbers of the day; None where its snapshot is missing."""
    rows = reads.read_days(engine, schema.policy_snapshot, DayRange.of(day))
    return None if rows.empty else policy_from_json(rows.iloc[0]["policy_json"]).parameters


def print_explanation(told: Explanation, console: Console) -> None:
    """The answer, the stages, figures, limits, what would have to change, and the days before."""
    console.print(Text(f"{clean(told.pool.name, 120)}, {told.day}", style="bold"))
    console.print(Text(told.pool.pool_id, style="dim"))
    console.print(Text(clean(told.answer, WIDE)))
    console.print()
    stages = Table(title="Verdicts", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("stage", "verdict", "reasons"):
        stages.add_column(name, overflow="fold")
    for stage in told.stages:
        codes = f" [{', '.join(stage.codes)}]" if stage.codes else ""
        verdict = Text(stage.verdict.replace("_", " "), style=TONES.get(stage.verdict, ""))
        stages.add_row(stage.name, verdict, Text(clean(stage.words, WIDE) + codes))
    console.print(stages)
    figures = Table(box=None, show_header=False, pad_edge=False, title="Figures", title_justify="left")
    for name, value in told.figures.items():
        if value is not None:
            figures.add_row(Text(LABELS.get(name, name.replace("_", " ")), style="dim"), Text(_figure(name, value)))
    console.print(figures)
    if told.limits:
        console.print(_limits_table(told))
    if told.changes:
        console.print(Text("What would have to change", style="bold"))
        for change in told.changes:
            console.print(Text(f"  - {clean(change, WIDE)}"))
    console.print(_history_table(told))


def _figure(name: str, value: Any) -> str:
    if name in RATES or name in PLAN_RATES:
        return percent(value)
    if name == "size_usd":
        return about_usd(value)
    if name.endswith("_usd"):
        return usd(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.1f}"
    if name == "action":
        return str(value).replace("_", " ")
    return clean(value, 120)


def _limits_table(told: Explanation) -> Table:
    table = Table(title="Limits of the plan that concern it", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("limit", "of", "binds"):
        table.add_column(name, overflow="fold")
    for name in ("limit in USD", "used", "worth"):
        table.add_column(name, justify="right")
    for limit in told.limits:
        subject = "the pool" if limit.subject == told.pool.pool_id else clean(limit.subject, 40)
        amounts = (usd(limit.limit_usd), usd(limit.used_usd), usd(limit.worth_usd))
        table.add_row(Text(limit.name), Text(subject), "yes" if limit.is_binding else "no", *amounts)
    return table


def _history_table(told: Explanation) -> Table:
    table = Table(title="Days before", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("day", "pre-filter", "final", "plan", "share", "reasons against"):
        table.add_column(name, overflow="fold", justify="right" if name == "share" else "left")
    for past in told.history:
        share = "" if past.share_of_aum is None else percent(past.share_of_aum, 1)
        action = (past.action or "").replace("_", " ")
        verdicts = (_yes(past.is_prefiltered), _yes(past.is_eligible))
        table.add_row(str(past.day), *verdicts, action, share, Text(", ".join(past.codes)))
    return table


def _yes(is_passed: bool | None) -> str:
    return "" if is_passed is None else PASSED if is_passed else REFUSED
