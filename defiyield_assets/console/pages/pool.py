"""One pool: why it is in or out, what it paid, what is expected of it, what forecasts were worth, our position.

Lives here: finding the pool and putting the page together. Not here: the explanation
(domain/selection/explanation.py), the panels (pool_rates.py, pool_outlook.py, pool_position.py), all pools (pools.py).
"""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from defiyield_assets.console.layout import Inner, Page, Panel
from defiyield_assets.console.pool_day import SHORT, pool_table
from defiyield_assets.console.pool_outlook import outlook_panel, worth_panel
from defiyield_assets.console.pool_position import is_held, position_panels, positions_of
from defiyield_assets.console.pool_rates import history_of, history_panel, revisions_panel
from defiyield_assets.console.pool_table import PoolTable, Wanted
from defiyield_assets.console.pool_words import in_words
from defiyield_assets.console.questions import Question
from defiyield_assets.console.views import View
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.policy import Parameters
from defiyield_assets.domain.reporting.content import PUBLISHED
from defiyield_assets.domain.reporting.explanation_sections import (
    WIDE,
    changes_section,
    figure_words,
    past_section,
    stages_section,
)
from defiyield_assets.domain.reporting.formats import UNKNOWN, clean, percent
from defiyield_assets.domain.reporting.layout import Fact, Link
from defiyield_assets.domain.reporting.links import pool_url
from defiyield_assets.domain.reporting.plan_sections import group_name
from defiyield_assets.domain.selection.explanation import (
    PASSED,
    REFUSED,
    Evidence,
    Explanation,
    Known,
    explain_pool,
)
from defiyield_assets.errors import NotFound
from defiyield_assets.store import reads, schema
from defiyield_assets.store.evidence import read_decided, read_evidence

LONGEST_ID = 500
ALIKE = 3
"""Characters with which a pool has to begin, or that stand in its names, to be near another."""
MOST_COMPARED = 300
MOST_NAMED = 5
"""Pools that are named of those whose ids begin as what was typed."""
EXPLAINED_DAYS = 30
"""Days of verdicts, the day of the page included."""
HELD_WORDS = {True: "we hold a position", False: "we hold nothing", None: "whether we hold it is not known yet"}
EVIDENCE = (
    *("prefiltered_pools", "pool_quality", "pool_groups", "pool_forecasts", "eligible_pools", "allocations"),
    "allocation_limits",
)


def pool(view: View, question: Question) -> Page:
    """The page."""
    pool_id = question.asked.get("pool_id", "")
    if not pool_id or len(pool_id) > LONGEST_ID or "\x00" in pool_id:
        raise NotFound("no pool has such an id")
    decided = view.remembered("decided", None, lambda: read_decided(view.connection, view.day))
    evidence = read_evidence(view.connection, pool_id, view.day, EXPLAINED_DAYS, decided)
    known = _known(view, pool_id, evidence)
    name, protocol = clean(known.name, 120), clean(known.protocol, SHORT)
    told = in_words(explain_pool(known, view.day, evidence))
    positions = positions_of(view, pool_id)
    held = is_held(view, positions)
    history = history_of(view, pool_id)
    changes = changes_section(told)
    panels = (
        Panel(stages_section(told), EVIDENCE, view.day),
        None if changes is None else Panel(changes, ("allocation_limits", "policy_snapshot"), view.day),
        history_panel(view, history, evidence.metrics),
        outlook_panel(view, name, history, evidence.forecasts),
        worth_panel(view, pool_id),
        *position_panels(view, pool_id, positions, held=held),
        revisions_panel(view, pool_id),
        Panel(past_section(told), ("prefiltered_pools", "eligible_pools", "allocations"), view.day),
    )
    return Page(
        title="Pool",
        here="pools",
        headline=name,
        day=view.day,
        tone=_tone(told),
        paragraphs=(
            clean(told.answer, WIDE),
            Inner(f"All pools of {protocol}", "pools", protocol=protocol, date=view.day),
        ),
        facts=_facts(view, told, evidence, HELD_WORDS[held]),
        facts_assets=(
            *("prefiltered_pools", "eligible_pools", "pool_groups", "pool_forecasts", "allocations"),
            "pool_positions",
        ),
        panels=tuple(panel for panel in panels if panel is not None),
    )


def _known(view: View, pool_id: str, evidence: Evidence) -> Known:
    """The pool as the day's filters know it, or as the newest day before told of it; NotFound naming near ones."""
    for row in (*evidence.prefiltered, *evidence.eligible):
        if row["date"] == view.day:
            return Known(pool_id, str(row["symbol"]), str(row["protocol"]), str(row["chain"]))
    of_pool = {"pool_id": pool_id}
    last = reads.newest_day(view.connection, schema.pools, view.day, of_pool)
    if last is None:
        raise NotFound(f"no pool {clean(pool_id, 80)!r} is known on {view.day}{_near_words(view, pool_id)}")
    (row,) = reads.read_rows(view.connection, schema.pools, DayRange.of(last), of_pool)
    return Known(pool_id, str(row["symbol"]), str(row["project"]), str(row["chain"]))


def _near_words(view: View, typed: str) -> str:
    """Pools that may be meant: those whose ids begin so, the largest first, else those with the same beginning whose
    id or name is nearest."""
    table, wanted = pool_table(view), typed.lower()[:80]
    begin = [row for row, pool_id in enumerate(table.pool_id) if str(pool_id).lower().startswith(typed.lower())]
    if begin:
        more = f"; and {len(begin) - MOST_NAMED:,} more" if len(begin) > MOST_NAMED else ""
        return f"; ids that begin so: {_named(table, begin[:MOST_NAMED])}{more}"
    names: dict[str, int] = {}
    for row in table.rows(Wanted(words=(wanted[:ALIKE],)), "size_usd", is_descending=True)[:MOST_COMPARED]:
        for name in (table.pool_id[row], table.texts["name"][row], table.texts["protocol"][row]):
            names.setdefault(str(name).lower(), int(row))
    near = [names[name] for name in get_close_matches(wanted, names, n=3, cutoff=0.5)]
    return f"; near it: {_named(table, near)}" if near else ""


def _named(table: PoolTable, rows: Sequence[int]) -> str:
    """Pools by id, with what they are called."""
    return "; ".join(
        f"{clean(table.pool_id[row], 80)} ({table.texts['name'][row]}, {table.texts['protocol'][row]})" for row in rows
    )


def _tone(told: Explanation) -> str:
    """Good where it is in the plan, warn where a filter refuses it, calm otherwise."""
    verdicts = {stage.name: stage.verdict for stage in told.stages}
    if told.figures.get("share_of_aum"):
        return "good"
    return "warn" if REFUSED in (verdicts["pre-filter"], verdicts["final filter"]) else "calm"


def _share_words(told: Explanation, evidence: Evidence) -> str:
    """Share of assets in the day's plan: none where there is a plan that does not speak of it, unknown without one."""
    share = told.figures.get("share_of_aum")
    if share is not None:
        return percent(share)
    has_plan = bool(evidence.runs) and evidence.runs[-1]["status"] in PUBLISHED
    return percent(0.0) if has_plan else UNKNOWN


def _facts(view: View, told: Explanation, evidence: Evidence, held: str) -> tuple[Fact, ...]:
    figures, pool_id, parameters = told.figures, told.pool.pool_id, evidence.parameters
    verdicts = {stage.name: stage.verdict.replace("_", " ") for stage in told.stages}
    band = f"p10 to p90: {percent(figures['forecast_p10'])} to {percent(figures['forecast_p90'])}"
    return (
        Fact("Verdict", _verdict_words(told), f"pre-filter: {verdicts['pre-filter']}, plan: {verdicts['plan']}"),
        Fact("Size", _or_unknown(figures, "size_usd"), "supply where known, else TVL"),
        Fact("Last APY", _or_unknown(figures, "last_apy"), _apy_remark(figures["last_apy"], parameters)),
        Fact("Forecast APY", _or_unknown(figures, "forecast_apy"), band if figures["forecast_apy"] is not None else ""),
        Fact("Share in the plan", _share_words(told, evidence), held),
        Fact("Risk group", group_name(figures["pool_group"])),
        Fact("Protocol and chain", f"{clean(told.pool.protocol, 60)}, {clean(told.pool.chain, 40)}"),
        Fact("Id", Link(clean(pool_id, 120), pool_url(view.desk.market, pool_id))),
    )


def _apy_remark(apy: float | None, parameters: Parameters | None) -> str:
    """Whose word the rate is, and whether the day's policy believes it."""
    told = "" if apy is None else "as the vendor told it"
    if apy is None or parameters is None or 0.0 <= apy <= parameters.apy_plausible_max:
        return told
    return f"{told}; implausible: not from 0% to {percent(parameters.apy_plausible_max)}"


def _or_unknown(figures: Any, name: str) -> str:
    value = figures.get(name)
    return UNKNOWN if value is None else figure_words(name, value)


def _verdict_words(told: Explanation) -> str:
    """The last filter's verdict."""
    verdicts = {stage.name: stage.verdict for stage in told.stages}
    final = verdicts["final filter"]
    if final == "unknown":
        return "passed the pre-filter" if verdicts["pre-filter"] in (PASSED, "doubtful") else verdicts["pre-filter"]
    return "refused" if final == REFUSED else "eligible"
