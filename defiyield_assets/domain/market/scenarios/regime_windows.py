"""Stretches of one regime in a market's history: bull, bear, high volatility, ranging.

Lives here: how they are told from the rows of `market_regimes` and closes. Not here: those rows
(domain/market/regimes.py), the bars of a window (windows.py).

A day, judged from what was known on it, is
  high_vol: its state in `market_regimes` is turbulent,
  bull:     the close is above the mean of the last 200 closes, and that mean is above its value 21 sessions before,
  bear:     the close is below that mean, and the mean is below its value 21 sessions before,
  ranging:  its state is not turbulent, and the market went nowhere in 63 sessions: |ln(C / C63)| is at most half of
            what a random walk of the same daily volatility covers, sqrt(63) x the standard deviation of the returns.
A window is a run of such days in which at most 10 sessions in a row are others; it begins and ends with one. A bull
window has to have gained and a bear window to have lost. Windows of different kinds may overlap.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.market.scenarios.definitions import RegimeKind
from defiyield_assets.errors import SuspiciousDataError

TREND_BARS, SLOPE_BARS = 200, 21
RANGE_BARS, MOST_DRIFT = 63, 0.5
BRIDGED = 10
"""Sessions of another kind in a row that do not end a window."""
TURBULENT = "turbulent"


@dataclass(frozen=True)
class RegimeWindow:
    """A stretch of one regime; both days belong to it. `gain`: simple return of the market from start to end."""

    market: str
    kind: RegimeKind
    start: date
    end: date
    gain: float


def regime_windows(
    market: str, regimes: pd.DataFrame, closes: "pd.Series[float]", as_of: date, least_days: Mapping[RegimeKind, int]
) -> list[RegimeWindow]:
    """All windows of a market up to `as_of`, by kind and start.

    `regimes`: rows of `market_regimes` (market, date, state); `closes`: adjusted closes of the market's instrument by
    date. `least_days`: calendar days, first and last included, that a window of a kind has at least. Days without a
    state are of no kind. SuspiciousDataError where the closes are not positive or no state has a close.
    """
    states = regimes.loc[(regimes["market"] == market) & (regimes["date"] <= as_of)].set_index("date")["state"]
    known = closes[closes.index <= as_of].dropna().sort_index()
    if (known <= 0.0).any():
        raise SuspiciousDataError(f"closes of {market} hold a price that is not positive")
    days = known.index.intersection(states.index)
    if not len(days):
        raise SuspiciousDataError(f"no day of market_regimes of {market} up to {as_of} has a close")
    kinds = _kinds(known, states.reindex(known.index))
    found = []
    for kind, is_kind in kinds.items():
        for first, last in _runs(is_kind):
            start, end = known.index[first], known.index[last]
            gain = float(known.iloc[last] / known.iloc[first] - 1.0)
            is_long = (end - start).days + 1 >= least_days[kind]
            if is_long and not (kind == "bull" and gain <= 0.0) and not (kind == "bear" and gain >= 0.0):
                found.append(RegimeWindow(market, kind, start, end, gain))
    return found


def _kinds(closes: "pd.Series[float]", states: "pd.Series[str]") -> dict[RegimeKind, NDArray[np.bool_]]:
    """Which sessions are of which kind; where a mean is not yet known, of none."""
    logs = pd.Series(np.log(closes.to_numpy(dtype=np.float64)))
    price = pd.Series(closes.to_numpy(dtype=np.float64))
    mean = price.rolling(TREND_BARS).mean()
    slope = mean - mean.shift(SLOPE_BARS)
    drift = (logs - logs.shift(RANGE_BARS)).abs()
    walk = logs.diff().rolling(RANGE_BARS).std() * np.sqrt(RANGE_BARS)
    has_state = states.notna().to_numpy()
    is_turbulent = (states == TURBULENT).to_numpy()
    return {
        "bull": has_state & _array((price > mean) & (slope > 0.0)),
        "bear": has_state & _array((price < mean) & (slope < 0.0)),
        "high_vol": has_state & is_turbulent,
        "ranging": has_state & ~is_turbulent & _array(drift <= MOST_DRIFT * walk),
    }


def _array(values: "pd.Series[bool]") -> NDArray[np.bool_]:
    return values.to_numpy(dtype=bool)


def _runs(is_kind: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last place of runs of true, breaks of at most BRIDGED places inside them."""
    places = np.flatnonzero(is_kind)
    if not len(places):
        return []
    breaks = np.flatnonzero(np.diff(places) > BRIDGED + 1)
    firsts = np.concatenate([[0], breaks + 1])
    lasts = np.concatenate([breaks, [len(places) - 1]])
    return [(int(places[first]), int(places[last])) for first, last in zip(firsts, lasts, strict=True)]
