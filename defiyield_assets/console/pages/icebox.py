"""Tokens that are barred, how far each is from its band, what happened, and what the policy says by hand.

Lives here: reading and putting panels together. Not here: the rules (domain/selection/icebox.py), the words of the
day's tables (domain/reporting/icebox_sections.py), charts of closes (icebox_charts.py).
"""

from datetime import date
from typing import Any

import pandas as pd

from defiyield_assets.console.layout import Page, Panel
from defiyield_assets.console.pages.day_content import DayContent, content_of
from defiyield_assets.console.pages.icebox_charts import closes_panel
from defiyield_assets.console.paging import turn
from defiyield_assets.console.questions import Question
from defiyield_assets.console.views import View
from defiyield_assets.domain.policy import Parameters, Policy
from defiyield_assets.domain.reporting.formats import UNKNOWN, clean, is_missing, number, percent
from defiyield_assets.domain.reporting.icebox_sections import price
from defiyield_assets.domain.reporting.inputs import Names
from defiyield_assets.domain.reporting.layout import Section, Table, numbers, text
from defiyield_assets.domain.reporting.plan_sections import records
from defiyield_assets.domain.selection.icebox import CHECKED
from defiyield_assets.store import schema
from defiyield_assets.store.row_pages import Wanted, count_rows, read_page

MOST = 50
"""Events of a page."""
RECENT_DAYS = 30
KINDS = ("enter", "leave", "override_in", "override_out", "premium_alert")
BARRED_COLUMNS = (
    *text("Token", "Since"),
    *numbers("Reference", "Low", "Below reference", "Low band", "Close", "Below reference", "Close band"),
    *numbers("Good lows", "Good closes"),
    *text("Why", "Address"),
)
EVENT_COLUMNS = (*text("Day", "Token", "Event", "Why", "Reasons"), *numbers("Grade"), *text("Address"))
OVERRIDE_COLUMNS = text("Token", "Word", "Reason", "Since", "Expires", "In force", "Address")


def icebox(view: View, question: Question) -> Page:
    """The page."""
    day, policy = content_of(view), view.warehouse.policy(view.day)
    wanted = Wanted(schema.icebox_events, through=view.day, where={"kind": list(KINDS)}, newest_by=("date",))
    pager = turn(question, count_rows(view.connection, wanted), MOST, "icebox", date=question.day())
    events = records(read_page(view.connection, wanted, pager.first, MOST))
    barred = records(view.read(schema.icebox))
    return Page(
        title="Icebox",
        here="icebox",
        headline=_headline(view, barred),
        tone="warn" if barred else "calm",
        day=view.day,
        panels=(
            _events_panel(view, events, day.names),
            _barred_panel(view, day, barred, policy.parameters),
            *closes_panel(view, policy, _recent(view)),
            _overrides_panel(view, day.names, policy),
        ),
        template="icebox.html.j2",
        extra={"pager": pager},
    )


def _headline(view: View, barred: list[dict[str, Any]]) -> str:
    if barred:
        count = "1 token is" if len(barred) == 1 else f"{number(len(barred))} tokens are"
        return f"{count} barred at the end of {view.day}"
    checked = view.read(schema.icebox_events, {"kind": CHECKED})
    return f"No token is barred at the end of {view.day}" if len(checked) else f"The icebox of {view.day} was not made"


def _recent(view: View) -> pd.DataFrame:
    """Rows of `icebox` of the last days: every token that was barred on one of them."""
    return view.read(schema.icebox, back=RECENT_DAYS - 1)


def _barred_panel(view: View, day: DayContent, barred: list[dict[str, Any]], limits: Parameters) -> Panel:
    """Each barred token with its bands, and how many good days it still needs."""
    words = (
        f"A token is barred when a low is {percent(limits.icebox_low_depth, 1)} or more below its reference within "
        f"{number(limits.icebox_low_days)} days, or a close {percent(limits.icebox_close_depth, 1)} or more within "
        f"{number(limits.icebox_close_days)}, or it has no price. It leaves after "
        f"{number(limits.icebox_recovery_low_days)} good lows and {number(limits.icebox_recovery_close_days)} good "
        "closes in a row. The reference is 1 USD, or the highest close of a token that accrues."
    )
    rows = tuple(_barred_row(row, day.names, limits) for row in barred)
    tables = (Table(BARRED_COLUMNS, rows, caption="Barred tokens, prices in USD", fold="never"),) if rows else ()
    section = Section("barred", f"Barred at the end of {view.day}", (words,), tables=tables)
    return Panel(section, ("icebox", "policy_snapshot"), view.day)


def _barred_row(row: dict[str, Any], names: Names, limits: Parameters) -> tuple[str, ...]:
    reference = None if is_missing(row["reference_price"]) else float(row["reference_price"])
    return (
        clean(row["symbol"], 24),
        str(row["since"]),
        price(reference),
        price(row["last_low"]),
        _depth(row["last_low"], reference),
        _band(reference, limits.icebox_low_depth),
        price(row["last_close"]),
        _depth(row["last_close"], reference),
        _band(reference, limits.icebox_close_depth),
        f"{number(row['good_lows'])} of {number(limits.icebox_recovery_low_days)}",
        f"{number(row['good_closes'])} of {number(limits.icebox_recovery_close_days)}",
        clean(row["reason"]) + (" (by hand)" if bool(row["is_manual"]) else ""),
        names.token_link(row["address"], clean(row["address"], 60), row["chain"]),
    )


def _depth(value: Any, reference: float | None) -> str:
    """How far a price is below its reference, negative above it."""
    return UNKNOWN if is_missing(value) or not reference else percent(1.0 - float(value) / reference)


def _band(reference: float | None, depth: float) -> str:
    return UNKNOWN if reference is None else price(reference * (1.0 - depth))


def _events_panel(view: View, events: list[dict[str, Any]], names: Names) -> Panel:
    """What happened up to the day, newest first; premium alerts among it."""
    words = (
        "Newest first. A premium alert bars nothing: it says that a token trades above its band, its grade how many "
        "bands above."
        if events
        else f"Nothing happened up to {view.day}."
    )
    rows = tuple(
        (
            str(row["date"]),
            clean(row["symbol"], 24),
            clean(row["kind"], 24).replace("_", " "),
            clean(row["reason"]),
            clean(row["reason_codes"], 60),
            "" if is_missing(row["grade"]) else number(row["grade"]),
            names.token_link(row["address"], clean(row["address"], 60), row["chain"]),
        )
        for row in events
    )
    tables = (Table(EVENT_COLUMNS, rows, caption="Events", fold="never"),) if rows else ()
    return Panel(Section("events", "Events", (words,), tables=tables), ("icebox_events",), view.day)


def _overrides_panel(view: View, names: Names, policy: Policy) -> Panel:
    """What the policy of the day says by hand."""
    rows = tuple(
        (
            names.token(one.address),
            "barred" if one.barred else "free",
            clean(one.reason),
            str(one.since),
            "never" if one.expires is None else str(one.expires),
            _in_force(view.day, one.since, one.expires),
            names.token_link(one.address, clean(one.address, 60), one.chain),
        )
        for one in policy.icebox_overrides
    )
    words = (
        "They win over every rule until they expire; the day of expiry still counts."
        if rows
        else f"The policy of {view.day} says nothing by hand."
    )
    tables = (Table(OVERRIDE_COLUMNS, rows, caption="Overrides", fold="never"),) if rows else ()
    return Panel(Section("overrides", "Overrides by hand", (words,), tables=tables), ("policy_snapshot",), view.day)


def _in_force(day: date, since: date, expires: date | None) -> str:
    if since > day:
        return "not yet"
    return "yes" if expires is None or expires >= day else "no, expired"
