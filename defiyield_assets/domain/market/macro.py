"""Macro series by vintage: what was known of them on a day.

Lives here: the view as of a day, levels and changes. Not here: asking FRED (sources/fred.py), the table
(store/schema/prices.py).
"""

import math
from bisect import insort
from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import pandas as pd

from defiyield_assets.domain.market.features.panel import Vector

CHANGE_OBSERVATIONS = 20
"""Known observations over which the change of a series is taken."""


def known_on(rows: pd.DataFrame, day: date) -> pd.DataFrame:
    """The rows of `macro_series` as they stood on the day: of each series and observation the newest vintage known.

    Nothing is known before its vintage, revisions after the day are invisible, and so is an observation without a
    vintage by then. An observation that was withdrawn or never given (value NaN) stays, as unknown. Ordered by series
    and date.
    """
    visible = rows[(rows["vintage"] <= day) & (rows["date"] <= day)]
    newest = visible.sort_values(["series_id", "date", "vintage"]).drop_duplicates(["series_id", "date"], keep="last")
    return newest.reset_index(drop=True)


def levels_known(rows: pd.DataFrame, days: Sequence[date]) -> tuple[Vector, Vector]:
    """Level and change of one series as known on each of some days, which ascend.

    `rows`: its rows of `macro_series`. The level is the newest observation known (`known_on`), the change its
    difference to the one CHANGE_OBSERVATIONS known observations earlier, both in the series' unit; NaN where there are
    too few. Observations that were withdrawn or never given do not count.
    """
    told = rows.sort_values(["date", "vintage"])
    since = [max(vintage, happens) for vintage, happens in zip(told["vintage"], told["date"], strict=True)]
    facts = list(zip(since, told["date"], told["vintage"], told["value"], strict=True))
    facts.sort(key=lambda fact: fact[0])  # stable: of one day the newer vintage last
    observed: list[date] = []
    newest: dict[date, tuple[date, float]] = {}
    level, change = np.full(len(days), np.nan), np.full(len(days), np.nan)
    place = 0
    for number, day in enumerate(days):
        while place < len(facts) and facts[place][0] <= day:
            _, happens, vintage, value = facts[place]
            if happens not in newest:
                insort(observed, happens)
            if happens not in newest or newest[happens][0] <= vintage:
                newest[happens] = (vintage, float(value))
            place += 1
        known = _newest_known(observed, newest)
        level[number] = known[0] if known else np.nan
        if len(known) > CHANGE_OBSERVATIONS:
            change[number] = known[0] - known[CHANGE_OBSERVATIONS]
    return level, change


def _newest_known(observed: Sequence[date], newest: Mapping[date, tuple[date, float]]) -> list[float]:
    """The values of the newest observations that have one, newest first: as many as a change needs."""
    known: list[float] = []
    for happens in reversed(observed):
        value = newest[happens][1]
        if not math.isnan(value):
            known.append(value)
            if len(known) > CHANGE_OBSERVATIONS:
                break
    return known
