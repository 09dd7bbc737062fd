"""Closes of barred tokens beside the bands that they have to be above.

Lives here: one chart a token. Not here: the bands' rules (domain/selection/icebox.py), the rest of the page
(icebox.py), how a chart is drawn (domain/reporting/charts.py).
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import pandas as pd

from defiyield_assets.console.layout import Panel
from defiyield_assets.console.views import View
from defiyield_assets.domain.policy import Policy
from defiyield_assets.domain.reporting.charts import PRICE
from defiyield_assets.domain.reporting.formats import clean, is_missing
from defiyield_assets.domain.reporting.icebox_sections import price
from defiyield_assets.domain.reporting.layout import Chart, Point, Section, Series
from defiyield_assets.domain.reporting.plan_sections import records
from defiyield_assets.store import schema

SHOWN_DAYS = 60
MOST_TOKENS = 12
"""Charts of a page; the tables have every token."""


def closes_panel(view: View, policy: Policy, recent: pd.DataFrame) -> tuple[Panel, ...]:
    """Charts of the tokens that `recent` rows of `icebox` name, those barred longest first; none without any."""
    tokens: dict[tuple[str, str], dict[str, Any]] = {}
    for row in records(recent.sort_values("date")) if len(recent) else []:
        tokens[row["chain"], row["address"]] = row
    newest = sorted(tokens.values(), key=lambda row: (-row["date"].toordinal(), row["since"], row["address"]))
    charts = [chart for row in newest[:MOST_TOKENS] if (chart := _chart(view, policy, row)) is not None]
    if not charts:
        return ()
    words = [
        f"Up to {SHOWN_DAYS} days that end on {view.day}. The band is that below which a close bars, against the "
        "reference of the token's last row in the icebox."
    ]
    if len(newest) > MOST_TOKENS:
        words.append(f"{len(newest) - MOST_TOKENS} more tokens were barred lately and are not drawn.")
    section = Section("closes", "Closes and bands", tuple(words), charts=tuple(charts))
    return (Panel(section, ("daily_bars", "icebox"), view.day),)


def _chart(view: View, policy: Policy, row: Mapping[str, Any]) -> Chart | None:
    """Closes of one token; None where it has no bar or no reference."""
    instrument_id = f"{str(row['chain']).lower()}:{row['address']}"
    bars = view.read(schema.daily_bars, {"instrument_id": instrument_id}, ("date", "close"), back=SHOWN_DAYS - 1)
    closes = {bar["date"]: float(bar["close"]) for bar in records(bars) if not is_missing(bar["close"])}
    if not closes or is_missing(row["reference_price"]):
        return None
    reference = float(row["reference_price"])
    band = reference * (1.0 - policy.parameters.icebox_close_depth)
    first, last = min(closes), max(closes)
    days = [first + timedelta(days=offset) for offset in range((view.day - first).days + 1)]
    symbol = clean(row["symbol"], 24)
    summary = (
        f"The last close, of {last}, is {price(closes[last])}; the band is at {price(band)}, the reference at "
        f"{price(reference)}."
    )
    series = (
        Series("Close", tuple(Point(str(day), closes.get(day)) for day in days), "main"),
        _level("Band", days, band),
        _level("Reference", days, reference),
    )
    state = "barred since" if row["date"] == view.day else f"barred until {row['date']}, since"
    return Chart("lines", f"{symbol}, {state} {row['since']}", PRICE, series, summary)


def _level(name: str, days: list[date], value: float) -> Series:
    return Series(name, tuple(Point(str(day), value) for day in days), "other")
