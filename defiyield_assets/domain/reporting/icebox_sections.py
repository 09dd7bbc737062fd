"""The section about the icebox: which tokens are barred, since when and why, and what changed on the day.

Lives here: tables made from icebox and icebox_events. Not here: the rules (domain/selection/icebox.py), pools that were
left out (plan_sections.py).
"""

from typing import Any

from defiyield_assets.domain.reporting.formats import UNKNOWN, clean, is_missing, number
from defiyield_assets.domain.reporting.inputs import Names, ReportInputs
from defiyield_assets.domain.reporting.layout import Section, Table, numbers, text
from defiyield_assets.domain.reporting.plan_sections import records

ICEBOX_COLUMNS = (
    *text("Token", "Chain", "Since", "Why"),
    *numbers("Low of the day", "Close of the day", "Good lows", "Good closes"),
    *text("Address"),
)
EVENT_COLUMNS = text("Token", "Event", "Why", "Address")


def icebox_section(inputs: ReportInputs, names: Names) -> Section:
    """Tokens that may not be bought, and what changed on the day."""
    barred = tuple(
        (
            clean(row["symbol"], 24),
            clean(row["chain"], 24),
            str(row["since"]),
            clean(row["reason"]) + (" (manual)" if bool(row["is_manual"]) else ""),
            price(row["last_low"]),
            price(row["last_close"]),
            number(row["good_lows"]),
            number(row["good_closes"]),
            names.token_link(row["address"], clean(row["address"], 60), row["chain"]),
        )
        for row in records(inputs.icebox)
    )
    events = tuple(
        (
            clean(row["symbol"], 24),
            clean(row["kind"], 24).replace("_", " "),
            clean(row["reason"]),
            names.token_link(row["address"], clean(row["address"], 60), row["chain"]),
        )
        for row in records(inputs.icebox_events)
    )
    count = "1 token is" if len(barred) == 1 else f"{len(barred)} tokens are"
    which = "it" if len(barred) == 1 else "them"
    words = f"{count} barred at the end of {inputs.day}: nothing is put into pools that hold {which}."
    words = words if barred else f"No token is barred at the end of {inputs.day}."
    tables = []
    if barred:
        tables.append(Table(ICEBOX_COLUMNS, barred, caption="Barred tokens"))
    if events:
        tables.append(Table(EVENT_COLUMNS, events, caption="Events of the day"))
    else:
        words += " None entered or left on the day."
    return Section("icebox", "Icebox", (words,), tables=tuple(tables))


def price(value: Any) -> str:
    """A price per token to six decimals: bands are a part of a cent wide, and a close stands close to its own."""
    return UNKNOWN if is_missing(value) else f"${number(value, 6)}"
