"""Structure: what a chart shows as events, as flags 0 or 1: fair-value gaps, crossings of averages, breakouts.

Lives here: flags made of a few bars or averages. Not here: the levels they compare with (trend.py), the squeeze
(volatility.py), regimes (domain/market/regimes.py).
"""

from functools import partial

from defiyield_assets.domain.market.features.metric import CLOSE, OHLC, SHARE, Metric
from defiyield_assets.domain.market.features.panel import Bars, Matrix
from defiyield_assets.domain.market.features.series import highest_before, sma
from defiyield_assets.domain.market.features.trend import HIGH_PERIODS
from defiyield_assets.domain.market.features.windows import flag, last, shift

FAST, SLOW = 50, 200


def _rising_gap(bars: Bars) -> Matrix:
    low, high = last(bars.low, bars.n_new), shift(bars.high, 2, bars.n_new)
    return flag(low > high, low, high, *_opens(bars))


def _falling_gap(bars: Bars) -> Matrix:
    high, low = last(bars.high, bars.n_new), shift(bars.low, 2, bars.n_new)
    return flag(high < low, low, high, *_opens(bars))


def _opens(bars: Bars) -> tuple[Matrix, Matrix]:
    """Opens of the outer two of three bars: high and low hold an old close where the open is unknown."""
    return last(bars.open, bars.n_new), shift(bars.open, 2, bars.n_new)


def _cross(bars: Bars, *, is_golden: bool) -> Matrix:
    """The fast average was not beyond the slow one at the bar before and is now.

    On a price that stands still both are the same number: their sums are folded by the same tree, four times as wide.
    """
    fast, slow = sma(bars, FAST, bars.n_new + 1), sma(bars, SLOW, bars.n_new + 1)
    apart = fast - slow if is_golden else slow - fast
    return flag((apart[:-1] <= 0.0) & (apart[1:] > 0.0), apart[:-1], apart[1:])


def _breakout(bars: Bars, *, n: int) -> Matrix:
    close, level = last(bars.close, bars.n_new), highest_before(bars, n)
    return flag(close > level, close, level)


_metric = partial(Metric, group="structure", unit="flag", bounds=SHARE)
METRICS: tuple[Metric, ...] = (
    _metric(
        name="is_fair_value_gap_bullish",
        warm_up=3,
        formula="L > H₋₂; null where O or O₋₂ is unknown",
        needs=OHLC,
        calculate=_rising_gap,
    ),
    _metric(
        name="is_fair_value_gap_bearish",
        warm_up=3,
        formula="H < L₋₂; null where O or O₋₂ is unknown",
        needs=OHLC,
        calculate=_falling_gap,
    ),
    _metric(
        name="is_golden_cross",
        warm_up=SLOW + 1,
        formula="sma_50 > sma_200, and at the bar before sma_50 ≤ sma_200",
        needs=CLOSE,
        calculate=partial(_cross, is_golden=True),
    ),
    _metric(
        name="is_death_cross",
        warm_up=SLOW + 1,
        formula="sma_50 < sma_200, and at the bar before sma_50 ≥ sma_200",
        needs=CLOSE,
        calculate=partial(_cross, is_golden=False),
    ),
    *[
        _metric(
            name=f"is_breakout_{n}",
            warm_up=n + 1,
            formula=f"C > high_{n}, the greatest H of the {n} bars before",
            needs=CLOSE | OHLC,
            calculate=partial(_breakout, n=n),
        )
        for n in HIGH_PERIODS
    ],
)
