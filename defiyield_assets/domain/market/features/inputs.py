"""What metrics are calculated from: rows of `daily_bars` as adjusted prices and volumes of one panel.

Lives here: adjustment and units of bars, and the benchmark beside each of them. Not here: reading them
(orchestration/assets/market.py), factors (domain/prices/adjustments.py), panels (panel.py).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.market.features.panel import Vector

Columns = Mapping[str, NDArray[Any]]
BAR_COLUMNS = (
    *("instrument_id", "date", "open", "high", "low", "close", "adj_factor", "split_factor"),
    *("volume_usd", "volume_units", "volume_source", "quality"),
)
"""Columns of `daily_bars` that features read."""
MASKED_GAP = "masked_gap"


def adjusted_values(bars: Columns) -> dict[str, Vector]:
    """Prices and volumes of a panel (panel.FIELDS without the benchmark) from BAR_COLUMNS of `daily_bars`, ordered by
    instrument and date.

    Prices are raw prices x adj_factor; the open of a bar that hides a gap is the old close and so unknown. Volume:
    units / split_factor; a source that tells only USD is taken at the day's close. Dollar volume: USD; a source that
    tells only units is taken at the raw close. Both are unknown where they come from another source than those of the
    bar before: one exchange's trades and a vendor's worldwide ones are never in one window. Unknown is NaN.
    """
    close, units, usd = bars["close"], bars["volume_units"], bars["volume_usd"]
    is_spliced = _is_spliced(bars["instrument_id"], bars["volume_source"])
    units, usd = np.where(is_spliced, np.nan, units), np.where(is_spliced, np.nan, usd)
    with np.errstate(divide="ignore", invalid="ignore"):
        at_close = np.where(close > 0, usd / close, np.nan)
    opened = np.where(bars["quality"] == MASKED_GAP, np.nan, bars["open"])
    return {
        "open": opened * bars["adj_factor"],
        **{name: bars[name] * bars["adj_factor"] for name in ("high", "low", "close")},
        "volume": np.where(np.isnan(units), at_close, units) / bars["split_factor"],
        "dollar_volume": np.where(np.isnan(usd), units * close, usd),
    }


def _is_spliced(instruments: NDArray[Any], sources: NDArray[Any]) -> NDArray[np.bool_]:
    """Which bars have their volume of another source than the bar before of the same instrument; None is no source."""
    found = np.zeros(len(sources), dtype=bool)
    changed = np.flatnonzero(sources[1:] != sources[:-1]) + 1
    found[changed] = [
        None not in (sources[row], sources[row - 1]) and instruments[row] == instruments[row - 1] for row in changed
    ]
    return found


def order_of_bars(instrument_ids: NDArray[Any], dates: NDArray[np.datetime64]) -> tuple[list[str], NDArray[np.intp]]:
    """The different instruments in order of their ids, and the order of rows by instrument and date."""
    number, names = pd.factorize(instrument_ids, sort=True)
    if not len(names):
        return [], np.zeros(0, dtype=np.intp)
    day = dates.astype("datetime64[D]").astype(np.int64)
    key = number * (np.ptp(day) + 1) + (day - day.min())  # one number by which a row is sorted
    return [str(name) for name in names], np.argsort(key, kind="stable")


def levels_beside(
    instruments: NDArray[Any],
    dates: NDArray[np.datetime64],
    levels: Mapping[str, tuple[NDArray[np.datetime64], Vector]],
    benchmarks: Mapping[str, str],
) -> Vector:
    """The level of each bar's benchmark on the bar's date, NaN where there is none.

    `instruments` (rows,), ordered; `levels`: benchmark -> its dates, ascending, and levels; `benchmarks`: instrument
    -> its benchmark.
    """
    beside = np.full(len(instruments), np.nan)
    if not len(instruments):
        return beside
    edges = np.flatnonzero(instruments[1:] != instruments[:-1]) + 1
    for first, stop in zip([0, *edges.tolist()], [*edges.tolist(), len(instruments)], strict=True):
        known = levels.get(benchmarks.get(str(instruments[first]), ""))
        if known is not None and len(known[0]):
            place = np.minimum(np.searchsorted(known[0], dates[first:stop]), len(known[0]) - 1)
            beside[first:stop] = np.where(known[0][place] == dates[first:stop], known[1][place], np.nan)
    return beside
