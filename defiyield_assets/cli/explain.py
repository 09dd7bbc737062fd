"""`defiyield explain POOL`: why a pool is in the plan or out of it.

Lives here: which day is meant, and drawing. Not here: what is said (domain/selection/explanation.py) and what it is
called (domain/reporting/explanation_sections.py), reading (store/evidence.py), the arguments (explain_arguments.py).
"""

from datetime import date

import sqlalchemy as sa
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from defiyield_assets.cli.output import write_json
from defiyield_assets.domain.reporting.explanation_sections import WIDE, figure_words, label_words, passed_words
from defiyield_assets.domain.reporting.formats import clean, percent, usd, worth_words
from defiyield_assets.domain.selection.explanation import DOUBTED, PASSED, REFUSED, Explanation, explain_pool
from defiyield_assets.errors import NotFound
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.settings import load_settings
from defiyield_assets.store import reads, schema
from defiyield_assets.store.evidence import find_pool, read_decided, read_evidence

TONES = {PASSED: "green", DOUBTED: "yellow", REFUSED: "red", "enter": "green", "increase": "green", "hold": "green"}


def engine_of_market() -> sa.Engine:
    """The migrated warehouse of the market that settings name."""
    return WarehouseResource(market=load_settings().warehouse_market).engine


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
    told = explain_pool(pool, chosen, read_evidence(engine, pool.pool_id, chosen, days, read_decided(engine, chosen)))
    if is_json:
        write_json(told)
    else:
        print_explanation(told, console)
    return 0


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
            figures.add_row(Text(label_words(name), style="dim"), Text(figure_words(name, value)))
    console.print(figures)
    if told.limits:
        console.print(_limits_table(told))
    if told.changes:
        console.print(Text("What would have to change", style="bold"))
        for change in told.changes:
            console.print(Text(f"  - {clean(change, WIDE)}"))
    console.print(_history_table(told))


def _limits_table(told: Explanation) -> Table:
    table = Table(title="Limits of the plan that concern it", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("limit", "of", "binds"):
        table.add_column(name, overflow="fold")
    for name in ("limit in USD", "used", "worth"):
        table.add_column(name, justify="right")
    for limit in told.limits:
        subject = "the pool" if limit.subject == told.pool.pool_id else clean(limit.subject, 40)
        amounts = (usd(limit.limit_usd), usd(limit.used_usd), worth_words(limit.worth_usd, limit.worth_by))
        table.add_row(Text(limit.name), Text(subject), "yes" if limit.is_binding else "no", *amounts)
    return table


def _history_table(told: Explanation) -> Table:
    table = Table(title="Days before", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("day", "pre-filter", "final", "plan", "share", "reasons against"):
        table.add_column(name, overflow="fold", justify="right" if name == "share" else "left")
    for past in told.history:
        share = "" if past.share_of_aum is None else percent(past.share_of_aum)
        action = (past.action or "").replace("_", " ")
        verdicts = (passed_words(past.is_prefiltered), passed_words(past.is_eligible))
        table.add_row(str(past.day), *verdicts, action, share, Text(", ".join(past.codes)))
    return table
