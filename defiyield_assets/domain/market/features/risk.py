"""Risk of a year of bars: tail losses, downside, return per unit of risk, depth and length of falls.

Lives here: metrics of the last 252 simple returns r. Not here: volatility (volatility.py), drawdown of today
(returns.py), results of strategies, which are judged against a daily risk-free rate.

Conventions: no distribution is assumed; losses are positive fractions (a negative VaR is a gain); the risk-free rate
and the least acceptable return are 0; yearly figures are × periods a year (365 or 252), deviations × its root.
"""

from functools import partial

import numpy as np

from defiyield_assets.domain.market.features.metric import CLOSE, POSITIVE, UNBOUNDED, Bounds, Metric
from defiyield_assets.domain.market.features.panel import Bars, Matrix
from defiyield_assets.domain.market.features.series import above_noise, log_return, simple_return, yearly
from defiyield_assets.domain.market.features.windows import (
    last,
    rolling_max_drawdown,
    rolling_mean,
    rolling_quantile_low,
    rolling_std,
    rolling_ulcer,
)

PERIOD = 252
TAILS = {95: 13, 99: 3}
"""Confidence in percent -> the lowest returns of 252 that are its tail: 5 % and 1 % of them, rounded up."""
LOSS: Bounds = (None, 1.0)


def _tail(bars: Bars) -> Matrix:
    """The lowest 13 of the last 252 returns, lowest first: (13, n_new, columns)."""
    return bars.cached(
        "tail", lambda: rolling_quantile_low(simple_return(bars), PERIOD, max(TAILS.values()), bars.n_new)
    )


def _value_at_risk(bars: Bars, *, n: int) -> Matrix:
    loss: Matrix = 0.0 - _tail(bars)[n - 1]
    return loss


def _expected_shortfall(bars: Bars, *, n: int) -> Matrix:
    tail = _tail(bars)
    total: Matrix = tail[0].copy()
    for row in tail[1:n]:
        total += row
    return 0.0 - total / n


def _mean_return(bars: Bars) -> Matrix:
    return bars.cached("mean_return", lambda: rolling_mean(simple_return(bars), PERIOD, bars.n_new))


def _downside(bars: Bars) -> Matrix:
    """√(mean min(r, 0)²) per bar."""

    def calculate() -> Matrix:
        losses = np.minimum(last(simple_return(bars), bars.n_new + PERIOD - 1), 0.0)
        return np.sqrt(rolling_mean(losses * losses, PERIOD, bars.n_new))

    return bars.cached("downside", calculate)


def _downside_deviation(bars: Bars) -> Matrix:
    return yearly(_downside(bars), bars)


def _sharpe(bars: Bars) -> Matrix:
    deviation = rolling_std(simple_return(bars), PERIOD, bars.n_new)
    return yearly(_mean_return(bars) / above_noise(deviation), bars)


def _sortino(bars: Bars) -> Matrix:
    return yearly(_mean_return(bars) / above_noise(_downside(bars)), bars)


def _calmar(bars: Bars) -> Matrix:
    """Young, Calmar Ratio: A Smoother Tool, Futures 1991."""
    a_year = np.expm1(last(log_return(bars, PERIOD), bars.n_new) * (bars.periods_per_year / PERIOD))
    return a_year / above_noise(rolling_max_drawdown(bars.close, PERIOD + 1, bars.n_new))


def _ulcer(bars: Bars) -> Matrix:
    """Martin and McCann, The Investor's Guide to Fidelity Funds, 1989; as a fraction."""
    return rolling_ulcer(bars.close, PERIOD, bars.n_new)


_metric = partial(Metric, group="risk", is_intraday=False)
METRICS: tuple[Metric, ...] = (
    *[
        _metric(
            name=f"var_{confidence}_{PERIOD}",
            unit="fraction",
            warm_up=PERIOD + 1,
            formula=f"−(the {n}{'rd' if n == 3 else 'th'} lowest of the last 252 r), r = C / C₋₁ − 1",
            needs=CLOSE,
            bounds=LOSS,
            calculate=partial(_value_at_risk, n=n),
        )
        for confidence, n in TAILS.items()
    ],
    *[
        _metric(
            name=f"cvar_{confidence}_{PERIOD}",
            unit="fraction",
            warm_up=PERIOD + 1,
            formula=f"−(mean of the {n} lowest of the last 252 r), r = C / C₋₁ − 1",
            needs=CLOSE,
            bounds=LOSS,
            calculate=partial(_expected_shortfall, n=n),
        )
        for confidence, n in TAILS.items()
    ],
    _metric(
        name=f"downside_deviation_{PERIOD}",
        unit="fraction",
        warm_up=PERIOD + 1,
        formula="√(mean₂₅₂ min(r, 0)² × periods a year), r = C / C₋₁ − 1",
        needs=CLOSE,
        bounds=POSITIVE,
        calculate=_downside_deviation,
    ),
    _metric(
        name=f"sharpe_{PERIOD}",
        unit="ratio",
        warm_up=PERIOD + 1,
        formula="mean₂₅₂ r / sample σ of them × √(periods a year), risk-free rate 0; null where σ < 1e-12",
        needs=CLOSE,
        bounds=UNBOUNDED,
        calculate=_sharpe,
    ),
    _metric(
        name=f"sortino_{PERIOD}",
        unit="ratio",
        warm_up=PERIOD + 1,
        formula="mean₂₅₂ r / √(mean₂₅₂ min(r, 0)²) × √(periods a year), target 0; null without a loss",
        needs=CLOSE,
        bounds=UNBOUNDED,
        calculate=_sortino,
    ),
    _metric(
        name=f"calmar_{PERIOD}",
        unit="ratio",
        warm_up=PERIOD + 1,
        formula=(
            "((C / C₋₂₅₂)^(periods a year / 252) − 1) / deepest fall from a peak within the same 253 C; "
            "null without a fall"
        ),
        needs=CLOSE,
        bounds=UNBOUNDED,
        calculate=_calmar,
    ),
    _metric(
        name=f"ulcer_index_{PERIOD}",
        unit="fraction",
        warm_up=PERIOD,
        formula="√(mean₂₅₂ d²), d = 1 − C / greatest C so far of the last 252 bars",
        needs=CLOSE,
        bounds=(0.0, 1.0),
        calculate=_ulcer,
    ),
)
