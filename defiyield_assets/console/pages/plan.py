"""The plan of a day: its steps, before and after, why each pool is in or out, and what it is compared with.

Lives here: choosing parts of the day's report, the comparison with the day before and with doing nothing, the way to
the explanation of any pool. Not here: what the report says (domain/reporting), the explanation of a pool (pool.py).
"""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pandas as pd

from defiyield_assets.console.layout import Inner, Page, Panel
from defiyield_assets.console.pages.day_content import DayContent, content_of
from defiyield_assets.console.pages.plan_outcome import told_of_plan
from defiyield_assets.console.questions import Question
from defiyield_assets.console.views import View
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.reporting.content import plan_of_day
from defiyield_assets.domain.reporting.formats import is_missing, number, percent, points, usd
from defiyield_assets.domain.reporting.layout import Section, Table, numbers, text
from defiyield_assets.domain.reporting.plan_sections import IDLE, records
from defiyield_assets.store import reads, schema

COMPARED = (
    ("Projected APY", "projected_apy", percent),
    ("Projected APY after costs", "projected_apy_net", percent),
    ("Gain over the horizon, after costs", "gain_usd", usd),
    ("Gas", "gas_usd", usd),
    ("Conversion", "conversion_usd", usd),
    ("Transactions", "n_steps", number),
    ("Pools at the end", "n_pools", number),
    ("Part of assets that is moved", "turnover", percent),
    ("Assets under management", "aum_usd", usd),
)
DOING_NOTHING = {
    "projected_apy": "hold_apy",
    "projected_apy_net": "hold_apy",
    "gain_usd": "hold_gain_usd",
    "aum_usd": "aum_usd",
}
"""Figure of a plan -> the same of doing nothing; beside them only the pools that are held are not none."""
SHARE_COLUMNS = (*text("Pool"), *numbers("Yesterday's plan", "Today's plan", "Change", "Forecast now"))
SHARES_ALONE = (*text("Pool"), *numbers("Today's plan", "Forecast now"))
"""Of a day before which there is no plan."""


def plan(view: View, _question: Question) -> Page:
    """The page."""
    day = content_of(view)
    compared = _compared(view, day)
    return Page(
        title="Plan",
        here="plan",
        headline=day.content.headline,
        tone=day.content.tone,
        day=view.day,
        paragraphs=told_of_plan(view, day),
        facts=day.content.facts,
        facts_assets=("allocation_runs",),
        panels=(
            *day.panels("steps", "plan"),
            *compared,
            *day.panels("why", "pools", "limits", "left-out", "assumed"),
        ),
        template="plan.html.j2",
    )


def _compared(view: View, day: DayContent) -> tuple[Panel, ...]:
    """Today's plan beside yesterday's and beside doing nothing; nothing where the day has no plan."""
    run = plan_of_day(day.inputs)
    if run is None:
        return ()
    before = view.day - timedelta(days=1)
    runs = records(reads.read_days(view.connection, schema.allocation_runs, DayRange.of(before)))
    earlier = runs[-1] if runs else None
    columns = (*text("Figure"), *numbers("This plan", "Doing nothing"))
    columns += () if earlier is None else numbers(f"Plan of {before}")
    nothing = _doing_nothing(run, day.inputs.allocations)
    rows = tuple(
        (
            name,
            told(run[figure]),
            told(nothing[figure]),
            *(() if earlier is None else (told(earlier[figure]),)),
        )
        for name, figure, told in COMPARED
    )
    words = f"Doing nothing keeps what is held on {view.day}: no transaction, no costs. " + (
        f"There is no plan of {before} to compare with."
        if earlier is None
        else f"The plan of {before} is told as it was made then, with the forecasts of that day."
    )
    shares = _shares(view, day)
    tables = (Table(columns, rows, caption="Figures", fold="never"), *(() if shares is None else (shares,)))
    section = Section("compared", "Compared with yesterday and with doing nothing", (words,), tables=tables)
    return (Panel(section, ("allocation_runs", "allocations"), view.day),)


def _doing_nothing(run: dict[str, Any], allocations: pd.DataFrame) -> dict[str, Any]:
    """Every figure of COMPARED as it is where what is held is kept."""
    own = allocations[allocations["run_id"] == run["run_id"]] if len(allocations) else allocations
    held = {row["pool_id"] for row in records(own) if int(row["amount_before"]) > 0} - {IDLE}
    return {
        **{figure: _nothing(run[figure]) for _, figure, _ in COMPARED},
        **{figure: run[same] for figure, same in DOING_NOTHING.items()},
        "n_pools": len(held),
    }


def _nothing(value: Any) -> Any:
    """Zero of the same kind."""
    return Decimal(0) if isinstance(value, Decimal) else 0


def _shares(view: View, day: DayContent) -> Table | None:
    """Every pool that yesterday's or today's plan holds, largest first; None where there is none."""
    before = DayRange.of(view.day - timedelta(days=1))
    earlier = _by_pool(reads.read_days(view.connection, schema.allocations, before))
    now = _by_pool(day.inputs.allocations)
    is_known = bool(earlier)
    rows: list[tuple[str, ...]] = []
    for pool_id in sorted({*earlier, *now}, key=lambda one: (-now.get(one, (0.0, None))[0], one)):
        then, (share, forecast) = earlier.get(pool_id, (0.0, None))[0], now.get(pool_id, (0.0, None))
        if max(then, share) < 5e-5:
            continue
        name = "Cash" if pool_id == IDLE else Inner(day.names.pool(pool_id), "pools", pool_id, date=view.day)
        told = "" if forecast is None else percent(forecast)
        compared = (percent(then), percent(share), points(share - then)) if is_known else (percent(share),)
        rows.append((name, *compared, told))
    columns = SHARE_COLUMNS if is_known else SHARES_ALONE
    return Table(columns, tuple(rows), caption="Shares of assets, pool by pool", fold="never") if rows else None


def _by_pool(allocations: pd.DataFrame) -> dict[str, tuple[float, float | None]]:
    """Pool id -> its share of assets after the plan, all tokens together, and its forecast APY."""
    found: dict[str, tuple[float, float | None]] = {}
    for row in records(allocations):
        share = found.get(row["pool_id"], (0.0, None))[0] + float(row["share_of_aum"])
        found[row["pool_id"]] = (share, None if is_missing(row["forecast_apy"]) else float(row["forecast_apy"]))
    return found
