"""What a pool paid and how large it was: a year of history, figures of the day, what its vendor changed later.

Lives here: the history as it was known at the day's cutoff. Not here: forecasts (pool_outlook.py), our position
(pool_position.py), why it is in or out (domain/reporting/explanation_sections.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import repeat

import numpy as np
import numpy.typing as npt

from defiyield_assets.console.layout import Panel
from defiyield_assets.console.pool_rows import rows_of
from defiyield_assets.console.views import View
from defiyield_assets.domain.days import DayRange, cutoff
from defiyield_assets.domain.policy import Policy
from defiyield_assets.domain.reporting.forecast_sections import error_words
from defiyield_assets.domain.reporting.formats import about_usd, is_missing, number, percent, signed_percent
from defiyield_assets.domain.reporting.layout import Chart, Fact, Point, Section, Series, Table, numbers, text
from defiyield_assets.domain.selection.explanation import Row, Rows
from defiyield_assets.store import reads, schema
from defiyield_assets.store.evidence import policy_of
from defiyield_assets.store.warehouse import aliases_of

HISTORY_DAYS = 365
REVISED_DAYS = 90
"""Days back in which a vendor's changes are looked for."""
PARTS = (("APY", "apy"), ("Base", "apy_base"), ("Reward", "apy_reward"))
"""Series of the chart: name and column."""
HISTORY_COLUMNS = ("date", *(name for _, name in PARTS), "tvl_usd")
FIGURES = (
    ("APY of the day, outliers cut", "apy", percent),
    ("Mean APY of 7 days", "apy_mean_7d", percent),
    ("Mean APY of 30 days", "apy_mean_30d", percent),
    ("Deviation of 7 days", "apy_std_7d", percent),
    ("Deviation of 30 days", "apy_std_30d", percent),
    ("Weighted mean APY, half-life 7 days", "apy_ewma_7d", percent),
    ("Change of APY in a day", "apy_change_1d", partial(error_words, "apy", sign="+")),
    ("TVL", "tvl_usd", about_usd),
    ("Change of TVL in a day", "tvl_change_1d", signed_percent),
    ("Change of TVL in 7 days", "tvl_change_7d", signed_percent),
    ("Part paid as rewards", "reward_share", percent),
    ("Borrowed of what is supplied", "utilisation", percent),
    ("Days observed of the last 30", "observed_days", number),
    ("Days since the first known point", "age_days", number),
)
REVISION_COLUMNS = (*text("Seen on", "Of day"), *numbers("APY before", "APY now", "Change", "TVL before", "TVL now"))


def policy_of_day(view: View) -> Policy | None:
    """The policy that the day was made under; None where it is not kept."""
    return view.remembered("policy", None, lambda: policy_of(view.connection, view.day))


@dataclass(frozen=True)
class History:
    """Points by day: the days, the same as text, the values of each column (NaN where unknown), and whether any of them
    was first seen afterwards."""

    days: list[date]
    labels: npt.NDArray[np.str_]
    values: Mapping[str, npt.NDArray[np.float64]]
    has_hindsight: bool


def history_of(view: View, pool_id: str) -> History:
    """A year of points as they were known at the day's cutoff."""
    days = DayRange.of(view.day).back(HISTORY_DAYS - 1)
    aliases = view.remembered("aliases", None, lambda: _aliases(view))
    told = reads.pool_history_columns(
        view.connection, days, cutoff(view.day), [pool_id], aliases, columns=HISTORY_COLUMNS
    )
    values = {name: told[name] for name in HISTORY_COLUMNS if name != "date"}
    labels = np.datetime_as_string(told["date"])
    return History(told["date"].tolist(), labels, values, bool(told["is_hindsight"].any()))


def _aliases(view: View) -> dict[str, str]:
    policy = policy_of_day(view)
    return {} if policy is None else aliases_of(policy, view.day)


def history_panel(view: View, history: History, metrics: Rows) -> Panel:
    """Charts of APY and TVL, and the figures that were made of them: the row of `pool_metrics`, if there is one."""
    charts = [chart for chart in (_apy_chart(history), _tvl_chart(history)) if chart is not None]
    words = [f"The last {HISTORY_DAYS} days up to {view.day}, as they were known at the end of that day."]
    if not charts:
        words = [f"No history is kept of it up to {view.day}: only pools that pass the pre-filter are followed."]
    if history.has_hindsight:
        words.append("Some points were first seen after that day.")
    facts = _figures(metrics[0]) if metrics else ()
    section = Section("history", "History", tuple(words), facts, charts=tuple(charts))
    return Panel(section, ("pool_histories", "pool_metrics"), view.day)


def revisions_panel(view: View, pool_id: str) -> Panel | None:
    """What the vendor changed afterwards; None where nothing was."""
    changed = rows_of(view, schema.history_revisions, {"pool_id": pool_id}, back=REVISED_DAYS - 1, by_day=True)
    if not changed:
        return None
    changed.sort(key=lambda row: (row["date"], row["point_date"]), reverse=True)
    rows = tuple(
        (
            str(row["date"]),
            str(row["point_date"]),
            percent(row["apy_before"], 4),
            percent(row["apy"], 4),
            signed_percent(row["apy_change"], 4),
            about_usd(row["tvl_before_usd"]),
            about_usd(row["tvl_usd"]),
        )
        for row in changed
    )
    words = f"Past values that the vendor changed, as we saw it in the last {REVISED_DAYS} days."
    section = Section("revisions", "Changed afterwards", (words,), tables=(Table(REVISION_COLUMNS, rows),))
    return Panel(section, ("history_revisions",), view.day)


def _figures(metrics: Row) -> tuple[Fact, ...]:
    return tuple(Fact(words, told(metrics[name])) for words, name, told in FIGURES if not is_missing(metrics[name]))


def _apy_chart(history: History) -> Chart | None:
    """The total and, where the vendor tells them apart, base and reward."""
    series = []
    for words, name in PARTS:
        points = _points(history, name)
        if points and (name == "apy" or any(point.value for point in points)):
            series.append(Series(words, points))
    if not series:
        return None
    told = series[0].points
    values = [point.value for point in told if point.value is not None]
    summary = (
        f"{series[0].name} between {percent(min(values))} and {percent(max(values))} from {told[0].label} to "
        f"{told[-1].label}, last {percent(values[-1])}."
    )
    return Chart("lines", "APY by day", "percent", tuple(series), summary)


def _tvl_chart(history: History) -> Chart | None:
    points = _points(history, "tvl_usd")
    if not points:
        return None
    values = [point.value for point in points if point.value is not None]
    summary = (
        f"TVL between {about_usd(min(values))} and {about_usd(max(values))} from {points[0].label} to "
        f"{points[-1].label}, last {about_usd(values[-1])}."
    )
    return Chart("lines", "Value locked (TVL) by day", "usd", (Series("TVL", points),), summary)


def _points(history: History, name: str) -> tuple[Point, ...]:
    """Known values by day."""
    values = history.values[name]
    is_known = ~np.isnan(values)
    told = zip(history.labels[is_known].tolist(), values[is_known].tolist(), repeat(None), repeat(None), strict=False)
    return tuple(map(Point._make, told))  # there are more than a thousand on a page
