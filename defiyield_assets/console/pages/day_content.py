"""What the report says of a day, for the pages that show parts of it.

Lives here: the report's content, remembered, and which assets each of its sections rests on. Not here: what it says
(domain/reporting/content.py), which page shows what (overview.py, plan.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

from defiyield_assets.console.layout import Inner, Panel
from defiyield_assets.console.views import View
from defiyield_assets.domain.reporting.content import PUBLISHED, build_content
from defiyield_assets.domain.reporting.formats import percent
from defiyield_assets.domain.reporting.inputs import Names, ReportInputs, collect_names
from defiyield_assets.domain.reporting.layout import Content, Section, Table
from defiyield_assets.domain.reporting.plan_sections import ALL_SHARES

SOURCES = {
    "steps": ("allocation_steps", "allocations", "gas_forecasts"),
    "plan": ("allocations", "allocation_runs"),
    "why": ("allocations", "allocation_limits"),
    "pools": ("eligible_pools", "pool_forecasts", "allocations"),
    "limits": ("allocation_limits",),
    "left-out": ("allocations", "eligible_pools", "prefiltered_pools"),
    "earned": ("yield_attribution", "nav_daily"),
    "nav": ("nav_daily",),
    "unexplained": ("unexplained_transactions",),
    "forecasts": ("pool_forecasts", "forecast_scores", "forecast_scoreboard"),
    "icebox": ("icebox", "icebox_events"),
    "health": ("asset_outcomes", "pool_quality", "chain_balances"),
    "assumed": ("allocation_runs", "daily_bars"),
}
"""Section of the report -> the assets whose tables it shows."""
WITH_CAPS = ("plan", "why", "limits")
"""Sections that name caps as the policy sets them."""


@dataclass(frozen=True)
class DayContent:
    """What the report says of a day, and what it is made of."""

    inputs: ReportInputs
    content: Content
    names: Names

    def panels(self, *anchors: str) -> tuple[Panel, ...]:
        """Those of the sections that the day has."""
        found = (self.content.section(anchor) for anchor in anchors)
        return tuple(
            Panel(section, SOURCES.get(section.anchor, ()), self.inputs.day) for section in found if section is not None
        )


def content_of(view: View) -> DayContent:
    """The report's content of the day that is looked at."""

    view.require_policy()

    def make() -> DayContent:
        inputs = view.desk.report_inputs(view.warehouse, view.day)
        names = collect_names(inputs)
        content = build_content(inputs, names)
        pools = {name: pool_id for pool_id, name in names.pools.items()}
        told = content.sections if content.status not in PUBLISHED else _with_headroom(view, content.sections)
        sections = tuple(_with_links(section, pools, view.day) for section in told)
        return DayContent(inputs, replace(content, sections=sections), names)

    return view.remembered("day content", None, make)


def _with_headroom(view: View, sections: tuple[Section, ...]) -> tuple[Section, ...]:
    """The sections that tell caps, with how far below them the plan stays."""
    parameters = view.warehouse.policy(view.day).parameters
    room, share = parameters.cap_headroom, parameters.max_pool_share
    if not room:
        return sections
    told = (
        "A cap in percent of AUM or of a pool's size is the policy's; what the plan puts in stays below it by "
        f"{percent(room)} of it, the headroom, and so does a limit in USD"
    )
    if share < 1:
        told += (
            f": in one pool at most {percent(share)} of AUM less {percent(room)} of that, which is "
            f"{percent(share * (1 - room))} of AUM"
        )
    return tuple(
        replace(section, paragraphs=(*section.paragraphs, f"{told}.")) if section.anchor in WITH_CAPS else section
        for section in sections
    )


def _with_links(section: Section, pools: Mapping[str, str], day: date) -> Section:
    """The section whose cells that name a pool lead to the pool's page; names of pools (name -> id) are all different.

    Every chart gets its figures in a table of its own, from which the script tells them.
    """

    def linked_cell(cell: str) -> str:
        pool_id = pools.get(str(cell).removesuffix(ALL_SHARES))
        return cell if pool_id is None else Inner(str(cell), "pools", pool_id, date=day)

    def linked(table: Table) -> Table:
        return replace(table, rows=tuple(tuple(map(linked_cell, row)) for row in table.rows))

    charts = tuple(replace(chart, is_tabled=False) for chart in section.charts)
    return replace(section, tables=tuple(map(linked, section.tables)), charts=charts)
