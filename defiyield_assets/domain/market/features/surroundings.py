"""What surrounds an instrument on a day: the regime of its market and macro series, as known on that day.

Lives here: a second pass over the new bars of a table. Not here: regimes (domain/market/regimes.py), vintages
(domain/market/macro.py), kernels (windows.py).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from defiyield_assets.domain.market.features.metric import NOTHING, SHARE, UNBOUNDED, Bounds, Definition
from defiyield_assets.domain.market.features.panel import BarTable, Vector
from defiyield_assets.domain.market.macro import CHANGE_OBSERVATIONS, levels_known
from defiyield_assets.domain.market.regimes import STATES
from defiyield_assets.domain.prices.instruments import ALWAYS_OPEN

SERIES: Mapping[str, str] = {"DGS10": "ten-year Treasury yield", "T10Y3M": "ten-year less three-month Treasury yield"}
"""FRED series that are features, and what they are; both are told in percent."""
PERCENT = 100.0
US_EXCHANGES = ("XNYS", "NYSE", "XNAS", "NASDAQ", "XASE", "ARCX", "BATS", "OOTC")
"""Names of the one calendar that exchanges of the United States keep."""
MARKET_OF: Mapping[str, str] = {ALWAYS_OPEN: "crypto", **dict.fromkeys(US_EXCHANGES, "us_equities")}
"""Calendar -> the market of regimes.MARKETS whose regime an instrument has; others have none."""


def _column(name: str, group: str, unit: str, formula: str, bounds: Bounds) -> Definition:
    return Definition(name, group, unit, 1, formula, NOTHING, bounds)


METRICS: tuple[Definition, ...] = (
    *[
        _column(
            f"regime_p_{state}",
            "structure",
            "fraction",
            f"filtered probability that the market of the calendar (24x7: BTC, XNYS: SPY) is {state}, of the bar's day",
            SHARE,
        )
        for state in STATES
    ],
    *[
        column
        for series, words in SERIES.items()
        for column in (
            _column(f"macro_{series.lower()}", "macro", "fraction", f"{words} a year, as known", UNBOUNDED),
            _column(
                f"macro_{series.lower()}_change_{CHANGE_OBSERVATIONS}",
                "macro",
                "fraction",
                f"its difference to {CHANGE_OBSERVATIONS} known observations earlier",
                UNBOUNDED,
            ),
        )
    ],
)
"""Columns of the second pass."""


def surrounding_columns(
    table: BarTable, calendars: Sequence[str], regimes: pd.DataFrame, macro: pd.DataFrame
) -> dict[str, Vector]:
    """METRICS by name, (rows,), NaN where nothing is known and where a row is not new; columns of which nothing is
    known are one and the same vector.

    `calendars`: of the table's instruments, in their order; `regimes`: rows of `market_regimes`; `macro`: rows of
    `macro_series`. A bar of a day without a regime of its market has none.
    """
    unknown = np.full(len(table.dates), np.nan)
    found = {metric.name: unknown for metric in METRICS}
    days, place = np.unique(table.dates, return_inverse=True)
    market = np.repeat(np.array([MARKET_OF.get(name) for name in calendars], dtype=object), np.diff(table.starts))
    for name, own in regimes.groupby("market", sort=True):
        at = pd.Index(np.array(own["date"].tolist(), dtype="datetime64[D]")).get_indexer(pd.Index(days))[place]
        inside = (market == name) & (at >= 0)
        for state in STATES:
            shares = own[f"p_{state}"].to_numpy(dtype=np.float64)
            found[f"regime_p_{state}"] = np.where(inside, shares[at], found[f"regime_p_{state}"])
    told = days.astype(object).tolist()
    for series in SERIES:
        own = macro[macro["series_id"] == series]
        if len(own):
            level, change = levels_known(own, told)
            found[f"macro_{series.lower()}"] = level[place] / PERCENT
            found[f"macro_{series.lower()}_change_{CHANGE_OBSERVATIONS}"] = change[place] / PERCENT
    for values in found.values():
        values[~table.is_new] = np.nan
    return found
