"""The section about the treasury over time: net asset value, what was put in, and the time-weighted return.

Lives here: up to 90 days of nav_daily as two charts and a table. Not here: what the day itself earned
(ledger_sections.py), the figures of a day (domain/ledger/nav.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.valuation import exact_sum
from defiyield_assets.domain.reporting.formats import is_missing, number, signed_percent, signed_usd, usd
from defiyield_assets.domain.reporting.inputs import ReportInputs
from defiyield_assets.domain.reporting.layout import Chart, Fact, Point, Section, Series, Table, numbers, text
from defiyield_assets.domain.reporting.ledger_sections import FIRST_DAY
from defiyield_assets.domain.reporting.plan_sections import records

SHOWN_DAYS = 90
"""Days drawn, the day of the report included."""
TITLE = "Net asset value and return"
NAV_COLUMNS = (
    *text("Day"),
    *numbers("Net asset value", "Put in so far", "Income", "Expenses", "Return", "Return so far", "Yield so far"),
)


@dataclass(frozen=True)
class _Day:
    """A day of the window; everything is None on a day that the ledger does not have."""

    day: date
    row: Mapping[str, Any] | None
    put_in: Decimal | None
    growth: float | None
    earned: float | None


def nav_section(inputs: ReportInputs) -> Section | None:
    """Net asset value beside the capital put in, and the chained return, over the last days that the ledger has; None
    where the day itself has no net asset value, which the section about the day's earnings tells."""
    shown = DayRange.of(inputs.day).back(SHOWN_DAYS - 1)
    nav = inputs.nav_daily
    rows = {row["date"]: row for row in records(nav)} if len(nav) else {}
    known = sorted(day for day in rows if day in shown)
    if not known or known[-1] != inputs.day:
        return None
    days = _chain(rows, DayRange(known[0], inputs.day))
    first, last = known[0], inputs.day
    if len(known) == 1:
        return Section("nav", TITLE, (FIRST_DAY.format(last),))
    words = [
        f"From {first} to {last}, UTC, at most {SHOWN_DAYS} days. Put in so far is the net asset value of the first "
        "day and the capital that came or went since. The return is time-weighted: each day's return chained, so that "
        "capital that comes or goes does not count."
    ]
    n_missing = len(days) - len(known)
    if n_missing:
        noun = "day is" if n_missing == 1 else "days are"
        words.append(
            f"{n_missing} {noun} missing: such a day counts as no return, and what was put in starts anew after it."
        )
    unknown = _told_unknown(days)
    if unknown:
        words.append(f"{unknown[0].upper()}{unknown[1:]}: nothing was measured, which counts as none.")
    return Section(
        "nav",
        TITLE,
        tuple(words),
        facts=tuple(_facts(days)),
        tables=(_table(days),),
        charts=(_nav_chart(days), _return_chart(days)),
    )


def _chain(rows: Mapping[date, Mapping[str, Any]], days: DayRange) -> list[_Day]:
    """Every day of the range with capital put in, return and yield since the end of the first; a day without a rate
    counts as 0."""
    chained: list[_Day] = []
    growth, earned, put_in = 1.0, 1.0, Decimal(0)
    for day in days:
        row = rows.get(day)
        if row is None:
            chained.append(_Day(day, None, None, None, None))
            continue
        # What the first day itself brought belongs to the time before.
        growth *= 1.0 + (_rate(row["return_1d"]) if chained else 0.0)
        earned *= 1.0 + (_rate(row["realised_yield_1d"]) if chained else 0.0)
        goes_on = bool(chained) and chained[-1].row is not None
        put_in = exact_sum([put_in, row["flows_usd"]]) if goes_on else row["nav_usd"]
        chained.append(_Day(day, row, put_in, growth - 1.0, earned - 1.0))
    return chained


def _told_unknown(days: list[_Day]) -> str:
    """On how many days that the ledger has a rate of the chain is unknown, by rate; empty where all are known."""
    told = []
    for column, name in (("return_1d", "return"), ("realised_yield_1d", "yield")):
        count = sum(day.row is not None and is_missing(day.row[column]) for day in days[1:])
        if count:
            told.append(f"the {name} of {number(count)} {'day' if count == 1 else 'days'} is unknown")
    return " and ".join(told)


def _rate(value: Any) -> float:
    return 0.0 if is_missing(value) else float(value)


def _facts(days: list[_Day]) -> list[Fact]:
    first, last = days[0], days[-1]
    since = f"since the end of {first.day}, {number(len(days) - 1)} {'day' if len(days) == 2 else 'days'}"
    unknown = _told_unknown(days)
    since += f"; {unknown}" if unknown else ""
    return [
        Fact("Time-weighted return", signed_percent(last.growth), since),
        Fact("Realised yield", signed_percent(last.earned), f"{since}; without price changes and costs"),
    ]


def _nav_chart(days: list[_Day]) -> Chart:
    worth = [(day.day, None if day.row is None else day.row["nav_usd"]) for day in days]
    known = [(day, value) for day, value in worth if value is not None]
    lowest, highest = min(known, key=lambda pair: pair[1]), max(known, key=lambda pair: pair[1])
    summary = (
        f"Net asset value went from {usd(known[0][1])} on {known[0][0]} to {usd(known[-1][1])} on {known[-1][0]}; "
        f"lowest {usd(lowest[1])} on {lowest[0]}, highest {usd(highest[1])} on {highest[0]}."
    )
    series = (
        Series("Net asset value", tuple(Point(str(day), _drawn(value)) for day, value in worth), "main"),
        Series("Put in so far", tuple(Point(str(day.day), _drawn(day.put_in)) for day in days), "other"),
    )
    return Chart("lines", "Net asset value in dollars, end of day", "usd", series, summary, is_tabled=True)


def _return_chart(days: list[_Day]) -> Chart:
    last = days[-1]
    summary = (
        f"From the end of {days[0].day} to the end of {last.day} the time-weighted return is "
        f"{signed_percent(last.growth)}, the realised yield {signed_percent(last.earned)}."
    )
    unknown = _told_unknown(days)
    summary += f" In them {unknown}." if unknown else ""
    series = (
        Series("Time-weighted return", tuple(Point(str(day.day), day.growth) for day in days), "main"),
        Series("Realised yield", tuple(Point(str(day.day), day.earned) for day in days), "other"),
    )
    title = f"Time-weighted return since the end of {days[0].day}"
    return Chart("lines", title, "percent", series, summary, is_tabled=True)


def _table(days: list[_Day]) -> Table:
    rows = tuple(_row(day, is_first=place == 0) for place, day in enumerate(days))
    return Table(NAV_COLUMNS, rows[::-1], caption="Day by day, the newest first", fold="always")


def _row(day: _Day, *, is_first: bool) -> tuple[str, ...]:
    if day.row is None:
        return (str(day.day), "missing", *[""] * (len(NAV_COLUMNS) - 2))
    row = day.row
    return (
        str(day.day),
        usd(row["nav_usd"]),
        usd(day.put_in),
        signed_usd(row["income_usd"]),
        usd(row["expenses_usd"]),
        "" if is_first else signed_percent(row["return_1d"], 4),
        signed_percent(day.growth, 4),
        signed_percent(day.earned, 4),
    )


def _drawn(worth: Decimal | None) -> float | None:
    """Here money becomes a float: a height on a page."""
    return None if worth is None else float(worth)
