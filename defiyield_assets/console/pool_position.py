"""Our own position in a pool, and what it earned.

Lives here: value over time, what is held, income day by day. Not here: what the whole ledger earned (pages/ledger.py),
what the plan wants (pages/plan.py).
"""

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from defiyield_assets.console.layout import Panel
from defiyield_assets.console.pool_rows import rows_of
from defiyield_assets.console.views import View
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.valuation import exact_sum
from defiyield_assets.domain.reporting.formats import (
    UNKNOWN,
    about_amount,
    is_missing,
    number,
    percent,
    short_id,
    signed_percent,
    signed_usd,
    usd,
)
from defiyield_assets.domain.reporting.layout import Chart, Fact, Point, Section, Series, Table, numbers, text
from defiyield_assets.domain.reporting.ledger_sections import LARGEST_APY
from defiyield_assets.store import reads, schema

SHOWN_DAYS = 365
LISTED_DAYS = 90
"""Days of income that are listed; the sums are of all that are shown."""
HELD_COLUMNS = (
    *text("Token", "Wallet"),
    *numbers("Amount", "Price", "Value", "Underlying per share"),
    *text("Rate from"),
    *numbers("Age of the rate, days"),
)
EARNED_COLUMNS = (
    *text("Day"),
    *numbers("At the start", "In and out", "Earned", "Price change", "At the end", "Costs"),
    *numbers("Advertised", "Forecast", "Realised"),
)
MOVES = (("flows_usd", signed_usd), ("income_usd", signed_usd), ("price_change_usd", signed_usd))


def positions_of(view: View, pool_id: str) -> list[dict[str, Any]]:
    """Our positions in the pool on the day and before, rows of `pool_positions`."""
    return _own_rows(view, schema.pool_positions, pool_id)


def _own_rows(view: View, table: sa.Table, pool_id: str) -> list[dict[str, Any]]:
    """The pool's rows of a table that knows the few pools that we held lately: it is not asked about the others."""
    held = view.remembered("pools that we held", None, lambda: _pools_held(view))
    return rows_of(view, table, {"pool_id": pool_id}, back=SHOWN_DAYS - 1) if pool_id in held[table.name] else []


def _pools_held(view: View) -> dict[str, frozenset[str]]:
    """The pools of which there are rows, by table."""
    days = DayRange.of(view.day).back(SHOWN_DAYS - 1)
    tables = (schema.pool_positions, schema.yield_attribution)
    return {
        table.name: frozenset(name for (name,) in reads.distinct_values(view.connection, table, ("pool_id",), days))
        for table in tables
    }


def is_held(view: View, positions: Sequence[dict[str, Any]]) -> bool | None:
    """Whether we hold one of these positions on the day; None where the ledger does not have the day."""
    if any(row["date"] == view.day for row in positions):
        return True
    return False if view.remembered("ledger has the day", None, lambda: _has_the_day(view)) else None


def _has_the_day(view: View) -> bool:
    """Whether the ledger knows what was held on the day."""
    tables = (schema.pool_positions, schema.nav_daily)
    return any(reads.newest_day(view.connection, table, view.day) == view.day for table in tables)


def position_panels(
    view: View, pool_id: str, positions: Sequence[dict[str, Any]], *, held: bool | None
) -> tuple[Panel, ...]:
    """What we hold and what it earned; nothing where we never held anything.

    `positions` as positions_of and `held` as is_held give them.
    """
    earned = _own_rows(view, schema.yield_attribution, pool_id)
    found = []
    if positions:
        found.append(Panel(_held_section(view.day, positions, held=held), ("pool_positions",), view.day))
    if earned:
        found.append(Panel(_earned_section(view.day, earned), ("yield_attribution",), view.day))
    return tuple(found)


def _held_section(day: date, rows: Sequence[dict[str, Any]], *, held: bool | None) -> Section:
    values: dict[date, Decimal] = {}
    for row in rows:
        values[row["date"]] = values.get(row["date"], Decimal(0)) + row["value_usd"]
    points = tuple(Point(str(known), float(values[known])) for known in sorted(values))
    last = max(values)
    words = f"Held on {len(values)} of the {SHOWN_DAYS} days up to {day}."
    if not held:
        end = "What is held" if held is None else "Nothing is held"
        known = " is not known yet" if held is None else ""
        words = f"{words} {end} at the end of {day}{known}; the last position is of {last}."
    summary = f"From {usd(values[min(values)])} on {min(values)} to {usd(values[last])} on {last}."
    chart = Chart("lines", "Value of our position by day", "usd", (Series("Our position", points),), summary)
    today = [row for row in rows if row["date"] == day]
    today.sort(key=lambda row: (row["token_address"], row["wallet"]))
    facts = (Fact(f"Our position on {day}", UNKNOWN if held is None else usd(values.get(day, Decimal(0)))),)
    tables = (
        (Table(HELD_COLUMNS, tuple(map(_held_row, today)), caption=f"Held on {day}", fold="never"),) if today else ()
    )
    return Section("position", "Our position", (words,), facts, charts=(chart,), tables=tables)


def _held_row(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        short_id(row["token_address"]),
        short_id(row["wallet"]),
        about_amount(row["underlying_amount"], int(row["decimals"])),
        usd(row["price_usd"]),
        usd(row["value_usd"]),
        # both are counted in base units, whose decimals may differ
        f"{row['exchange_rate']:.6g}",
        str(row["rate_source"]).replace("_", " "),
        number(row["rate_age_days"]),
    )


def _earned_section(day: date, rows: list[dict[str, Any]]) -> Section:
    rows.sort(key=lambda row: row["date"], reverse=True)
    facts = (
        Fact("Earned", _sum(rows, "income_usd"), f"{len(rows)} days, {rows[-1]['date']} to {rows[0]['date']}"),
        Fact("Change of prices", _sum(rows, "price_change_usd"), "on what was held at the start of each day"),
        Fact("In and out", _sum(rows, "flows_usd"), "paid in minus paid out"),
        Fact("Costs", _sum(rows, "cost_usd", usd), "gas and conversions of its own transactions"),
    )
    listed = tuple(_earned_row(row) for row in rows[:LISTED_DAYS])
    words = [
        f"Up to {day}. Advertised is what the vendor told for the day before, forecast what we expected when we "
        "decided, realised what the day really paid, annualised."
    ]
    if len(rows) > LISTED_DAYS:
        words.append(f"Listed are the last {LISTED_DAYS} days; the sums are of all {len(rows)}.")
    table = Table(EARNED_COLUMNS, listed, caption="Day by day")
    return Section("earned", "What it earned us", tuple(words), facts, tables=(table,))


def _sum(rows: Sequence[dict[str, Any]], name: str, words: Callable[[Decimal], str] = signed_usd) -> str:
    """The exact sum; what is unknown on any day is unknown in sum."""
    values = [row[name] for row in rows]
    return UNKNOWN if any(map(is_missing, values)) else words(exact_sum(values))


def _earned_row(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(row["date"]),
        usd(row["opening_usd"]),
        *(told(row[name]) for name, told in MOVES),
        usd(row["closing_usd"]),
        usd(row["cost_usd"]),
        percent(row["advertised_apy"]),
        percent(row["forecast_apy"]),
        _realised(row["realised_apy"]),
    )


def _realised(rate: Any) -> str:
    """A day's move, annualised; beyond a limit its digits say nothing."""
    if is_missing(rate) or abs(float(rate)) <= LARGEST_APY:
        return signed_percent(rate)
    return f"over {percent(LARGEST_APY, 0)}" if float(rate) > 0 else f"under {percent(-LARGEST_APY, 0)}"
