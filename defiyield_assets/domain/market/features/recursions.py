"""Metrics with memory: each bar moves a named state on, from which the next day goes on as the batch would.

Lives here: the state, one step of it for all instruments at once, and the metrics read from it. Not here: windows
(windows.py), where state is kept (table `feature_state`), when it is thrown away (calculate.py).

Seeds and formulas are those of TA-Lib, which the tests compare with: an average starts as the mean of its first
values. A bar that lacks an input of a recursion starts it anew; a row that is not new leaves everything as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from defiyield_assets.domain.market.features.metric import Metric, Need
from defiyield_assets.domain.market.features.panel import Bars, Matrix, Vector
from defiyield_assets.domain.market.features.windows import log

State = dict[str, Vector]
"""Field of STATE_FIELDS -> its value for each instrument, behind the instrument's last bar."""


@dataclass(frozen=True)
class Average:
    """An exponential average kept in the state: the sum of its values until there are `period`, then the average.

    It takes its first value at the `skip` + 1-th of the bars that its count tells.
    """

    name: str
    period: int
    weight: float
    count: str
    skip: int
    comment: str


def _ema(name: str, period: int, skip: int = 0) -> Average:
    return Average(name, period, 2.0 / (period + 1), "n_close", skip, f"EMA {period} of the close")


def _wilder(name: str, period: int, count: str, skip: int, what: str) -> Average:
    return Average(name, period, 1.0 / period, count, skip, f"Wilder average over {period} of {what}")


EMA_PERIODS = (12, 20, 26, 50, 200)
SIGNAL, DIRECTION, EWMA_SEED = 9, 14, 20
FIRST_AVERAGES = (
    *[_ema(f"ema_{period}", period) for period in EMA_PERIODS],
    _ema("macd_fast", 12, skip=26 - 12),
    _wilder("gain_14", 14, "n_close", 1, "rises"),
    _wilder("gain_21", 21, "n_close", 1, "rises"),
    _wilder("loss_14", 14, "n_close", 1, "falls"),
    _wilder("loss_21", 21, "n_close", 1, "falls"),
    _wilder("atr_14", 14, "n_range", 1, "the true range"),
    Average("ewma_variance", EWMA_SEED, 1.0 - 0.94, "n_close", 1, "EWMA 0.94 of squared log returns"),
)
"""Averages of what a bar tells at once."""
SECOND_AVERAGES = (
    Average("macd_signal", SIGNAL, 2.0 / (SIGNAL + 1), "n_close", 26 - 1, f"EMA {SIGNAL} of MACD"),
    _wilder("adx_14", 14, "n_range", DIRECTION, "DX"),
)
"""Averages of what other averages tell."""
COUNTS = {
    "n_close": "Bars in a row with a close",
    "n_range": "Bars in a row with high, low and close",
    "n_volume": "Bars in a row with close and volume",
    "n_flow": "Bars in a row with high, low, close and volume",
}
SUMS = {
    "plus_dm_14": "Wilder sum over 14 of upward movement",
    "minus_dm_14": "Wilder sum over 14 of downward movement",
    "true_range_14": "Wilder sum over 14 of the true range",
}
REST = {
    "close_before": "Close of the bar",
    "high_before": "High of the bar",
    "low_before": "Low of the bar",
    "psar": "Parabolic SAR of the bar",
    "psar_next": "Parabolic SAR for the next bar",
    "psar_extreme": "Extreme point of its trend",
    "psar_factor": "Its acceleration factor",
    "psar_is_long": "1: its trend is up",
    "obv": "On-balance volume",
    "accumulation_distribution": "Accumulation/distribution line",
    "benchmark_close": "Level of the benchmark: another one now restates everything",
    "first_factor": "Factor of the instrument's first bar: another one now restates everything",
}
STATE_FIELDS: dict[str, str] = {
    **COUNTS,
    **{
        average.name: f"{average.comment}; their sum until there are {average.period}"
        for average in (*FIRST_AVERAGES, *SECOND_AVERAGES)
    },
    **SUMS,
    **REST,
}
"""Fields of the state with their descriptions, in the order of the columns of `feature_state`."""
_ROW = {name: row for row, name in enumerate(STATE_FIELDS)}
_ACCELERATION, _GREATEST_ACCELERATION = 0.02, 0.2


def _rows(names: tuple[str, ...]) -> slice:
    """The rows of fields that follow each other."""
    return slice(_ROW[names[0]], _ROW[names[-1]] + 1)


class _Told(NamedTuple):
    """One bar of every instrument: (columns,) each; `square` is its squared log return."""

    high: Vector
    low: Vector
    close: Vector
    volume: Vector
    square: Vector
    benchmark: Vector


class _Averages:
    """Averages side by side: parameters as columns that broadcast over instruments."""

    def __init__(self, averages: tuple[Average, ...]) -> None:
        self.rows = _rows(tuple(average.name for average in averages))
        self.counts = np.array([_ROW[average.count] for average in averages])
        self.periods = np.array([[float(average.period)] for average in averages])
        self.weights = np.array([[average.weight] for average in averages])
        self.skips = np.array([[float(average.skip)] for average in averages])

    def moved(self, old: Matrix, new: Matrix, values: Matrix) -> Matrix:
        """The averages with one value more each; `new` has the counts already."""
        kept = old[self.rows]
        number = new[self.counts] - self.skips
        total = kept + values
        seeded = np.where(number < self.periods, total, total / self.periods)
        moved = np.where(number <= self.periods, seeded, kept + self.weights * (values - kept))
        return np.where(number > 0, moved, 0.0)


_FIRST, _SECOND = _Averages(FIRST_AVERAGES), _Averages(SECOND_AVERAGES)
_COUNT_ROWS, _SUM_ROWS = _rows(tuple(COUNTS)), _rows(tuple(SUMS))


def blank_state(n_columns: int) -> State:
    """The state before an instrument's first bar."""
    return {name: np.zeros(n_columns) for name in STATE_FIELDS}


@np.errstate(divide="ignore", invalid="ignore")
def advance(bars: Bars, state: State) -> tuple[dict[str, Matrix], dict[str, Matrix], State]:
    """Every recursive metric of the new rows, those of REMEMBERED at the bar before each, and the state behind them.

    `state`: behind the bar before each instrument's first new one. Matrices are (n_new, columns), NaN where a row is
    not new or the metric is not known yet.
    """
    path = np.empty((bars.n_new + 1, len(STATE_FIELDS), bars.n_columns))
    path[0] = np.stack([state[name] for name in STATE_FIELDS])
    start = bars.n_rows - bars.n_new
    volume, benchmark = bars.volume[start:], bars.benchmark_close[start:]
    fresh = (bars.high[start:], bars.low[start:], bars.close[start:], volume, _squared_returns(bars), benchmark)
    is_whole = [bool(row.all()) for row in bars.is_new]
    for row in range(bars.n_new):
        moved = _step(path[row], _Told(*(matrix[row] for matrix in fresh)))
        path[row + 1] = moved if is_whole[row] else np.where(bars.is_new[row], moved, path[row])
    after, before = path[1:], path[:-1]
    outside = ~bars.is_new
    told = {name: _only(read(after, bars), outside) for name, read in _READINGS.items()}
    earlier = {name: _only(_READINGS[name](before, bars), outside) for name in REMEMBERED}
    behind = {name: path[-1, row].copy() for name, row in _ROW.items()}
    return told, earlier, behind


def _only(values: Matrix, outside: NDArray[np.bool_]) -> Matrix:
    values[outside] = np.nan
    return values


def _squared_returns(bars: Bars) -> Matrix:
    """Squared log returns of the new rows; the close before the first of them is in the history."""
    close = bars.close[bars.n_rows - bars.n_new - 1 :]
    returns = log(close[1:] / close[:-1])
    return returns * returns


def _step(old: Matrix, told: _Told) -> Matrix:
    """The state (fields, instruments) one bar on."""
    new = np.empty_like(old)
    high, low, close = told.high, told.low, told.close
    has_close, has_volume = close > 0, ~np.isnan(told.volume)
    has_range = has_close & ~np.isnan(high) & ~np.isnan(low)
    known = np.stack([has_close, has_range, has_close & has_volume, has_range & has_volume])
    new[_COUNT_ROWS] = np.where(known, old[_COUNT_ROWS] + 1.0, 0.0)
    change = close - old[_ROW["close_before"]]
    reach = np.abs(np.stack([high, low]) - old[_ROW["close_before"]])
    true_range = np.maximum(high - low, np.maximum(reach[0], reach[1]))
    rise, fall = np.maximum(change, 0.0), np.maximum(-change, 0.0)
    values = np.stack([close] * (len(EMA_PERIODS) + 1) + [rise, rise, fall, fall, true_range, told.square])
    new[_FIRST.rows] = _FIRST.moved(old, new, values)
    up, down = high - old[_ROW["high_before"]], old[_ROW["low_before"]] - low
    _move_direction(old, new, up, down, true_range)
    macd = new[_ROW["macd_fast"]] - new[_ROW["ema_26"]]
    new[_SECOND.rows] = _SECOND.moved(old, new, np.stack([macd, _directional_index(old, new)]))
    _move_psar(old, new, high, low, (down > 0) & (up < down))
    _move_volume(old, new, told, change)
    new[_ROW["close_before"]] = np.where(has_close, close, 0.0)
    new[_ROW["high_before"]] = np.where(has_range, high, 0.0)
    new[_ROW["low_before"]] = np.where(has_range, low, 0.0)
    new[_ROW["benchmark_close"]] = told.benchmark
    new[_ROW["first_factor"]] = old[_ROW["first_factor"]]
    return new


def _move_direction(old: Matrix, new: Matrix, up: Vector, down: Vector, true_range: Vector) -> None:
    """Wilder's sums of directional movement and true range: the first 13 added up, then each loses a 14th."""
    movement = np.stack([np.where((up > down) & (up > 0), up, 0.0), np.where((down > up) & (down > 0), down, 0.0)])
    told = np.concatenate([movement, true_range[None, :]])
    number = new[_ROW["n_range"]] - 1.0
    kept = old[_SUM_ROWS]
    moved = np.where(number < DIRECTION, kept, kept - kept / DIRECTION) + told
    new[_SUM_ROWS] = np.where(number > 0, moved, 0.0)


def _directional_index(old: Matrix, new: Matrix) -> Vector:
    """DX = 100 |+DM - -DM| / (+DM + -DM), 0..100. Without any movement ADX stays as it is: while it is seeded by 0, as
    TA-Lib does it, later by its own value.
    """
    plus, minus = new[_ROW["plus_dm_14"]], new[_ROW["minus_dm_14"]]
    both = plus + minus
    number = new[_ROW["n_range"]] - DIRECTION
    stays = np.where(number > DIRECTION, old[_ROW["adx_14"]], 0.0)
    return np.where(both > 0, 100.0 * (np.abs(plus - minus) / both), stays)


def _move_psar(old: Matrix, new: Matrix, high: Vector, low: Vector, is_falling: NDArray[np.bool_]) -> None:
    """Wilder's parabolic stop and reverse (0.02, at most 0.2) with TA-Lib's start: the second bar's direction tells
    the trend, the first bar's far end is the first stop. Falling trends are mirrored into rising ones by their sign.
    """
    number = new[_ROW["n_range"]]
    is_first = number == 2
    is_long = np.where(is_first, ~is_falling, old[_ROW["psar_is_long"]] == 1.0)
    sign = np.where(is_long, 1.0, -1.0)
    behind, ahead = np.where(is_long, low, -high), np.where(is_long, high, -low)
    low_before = np.where(is_first, low, old[_ROW["low_before"]])
    high_before = np.where(is_first, high, old[_ROW["high_before"]])
    behind_before = np.where(is_long, low_before, -high_before)
    ahead_before = np.where(is_long, high_before, -low_before)
    start = np.where(is_long, old[_ROW["low_before"]], -old[_ROW["high_before"]])
    stop = np.where(is_first, start, sign * old[_ROW["psar_next"]])
    extreme = np.where(is_first, ahead, sign * old[_ROW["psar_extreme"]])
    factor = np.where(is_first, _ACCELERATION, old[_ROW["psar_factor"]])
    # The trend turns: the stop jumps to the extreme, not inside the last two bars, and falls behind the other side.
    is_turned = behind <= stop
    turned = np.maximum(extreme, np.maximum(ahead_before, ahead))
    turned_next = np.maximum(turned + _ACCELERATION * (behind - turned), np.maximum(ahead_before, ahead))
    # The trend goes on: the stop follows the extreme, not into the last two bars.
    is_further = ahead > extreme
    followed = np.where(is_further, ahead, extreme)
    faster = np.where(is_further, np.minimum(factor + _ACCELERATION, _GREATEST_ACCELERATION), factor)
    followed_next = np.minimum(stop + faster * (followed - stop), np.minimum(behind_before, behind))
    told = {
        "psar": sign * np.where(is_turned, turned, stop),
        "psar_next": sign * np.where(is_turned, turned_next, followed_next),
        "psar_extreme": sign * np.where(is_turned, behind, followed),
        "psar_factor": np.where(is_turned, _ACCELERATION, faster),
        "psar_is_long": np.where(is_turned, ~is_long, is_long).astype(float),
    }
    for name, values in told.items():
        new[_ROW[name]] = np.where(number >= 2, values, 0.0)


def _move_volume(old: Matrix, new: Matrix, told: _Told, change: Vector) -> None:
    """OBV starts as the first volume and adds the signed volume; A/D adds volume x ((C - L) - (H - C)) / (H - L)."""
    high, low, close, volume = told.high, told.low, told.close, told.volume
    number = new[_ROW["n_volume"]]
    signed = np.where(number == 1, volume, np.sign(change) * volume)
    new[_ROW["obv"]] = np.where(number > 0, np.where(number == 1, 0.0, old[_ROW["obv"]]) + signed, 0.0)
    spread = high - low
    flow = np.where(spread > 0, ((close - low) - (high - close)) / spread * volume, 0.0)
    line = np.where(new[_ROW["n_flow"]] == 1, 0.0, old[_ROW["accumulation_distribution"]])
    new[_ROW["accumulation_distribution"]] = np.where(new[_ROW["n_flow"]] > 0, line + flow, 0.0)


# --- what the state tells ------------------------------------------------------------------------------------------
Reading = Callable[[Matrix, Bars], Matrix]
"""(states of the rows: (n_new, fields, columns), bars) -> a metric (n_new, columns)."""


def _known(path: Matrix, name: str, count: str, warm_up: int) -> Matrix:
    """A field where its count has reached `warm_up`, else NaN."""
    return np.where(path[:, _ROW[count]] >= warm_up, path[:, _ROW[name]], np.nan)


def _field(path: Matrix, _bars: Bars, *, name: str, count: str, warm_up: int) -> Matrix:
    return _known(path, name, count, warm_up)


def _macd(path: Matrix, _bars: Bars) -> Matrix:
    return _known(path, "macd_fast", "n_close", 26) - path[:, _ROW["ema_26"]]


def _macd_histogram(path: Matrix, bars: Bars) -> Matrix:
    return _macd(path, bars) - _known(path, "macd_signal", "n_close", 34)


def _rsi(path: Matrix, _bars: Bars, *, period: int) -> Matrix:
    gain = _known(path, f"gain_{period}", "n_close", period + 1)
    both = gain + path[:, _ROW[f"loss_{period}"]]
    return 100.0 * (gain / np.where(both > 0, both, np.nan))


def _atr_percent(path: Matrix, _bars: Bars) -> Matrix:
    return _known(path, "atr_14", "n_range", 15) / path[:, _ROW["close_before"]]


def _directional(path: Matrix, _bars: Bars, *, name: str) -> Matrix:
    true_range = _known(path, "true_range_14", "n_range", DIRECTION + 1)
    share = path[:, _ROW[name]] / np.where(true_range > 0, true_range, np.nan)
    return np.minimum(100.0 * share, 100.0)


def _ewma_vol(path: Matrix, bars: Bars) -> Matrix:
    return np.sqrt(_known(path, "ewma_variance", "n_close", EWMA_SEED + 1) * bars.periods_per_year)


_READINGS: dict[str, Reading] = {
    **{
        f"ema_{period}": partial(_field, name=f"ema_{period}", count="n_close", warm_up=period)
        for period in EMA_PERIODS
    },
    "macd": _macd,
    "macd_signal": partial(_field, name="macd_signal", count="n_close", warm_up=34),
    "macd_histogram": _macd_histogram,
    "adx_14": partial(_field, name="adx_14", count="n_range", warm_up=2 * DIRECTION),
    "plus_di_14": partial(_directional, name="plus_dm_14"),
    "minus_di_14": partial(_directional, name="minus_dm_14"),
    "psar": partial(_field, name="psar", count="n_range", warm_up=2),
    "rsi_14": partial(_rsi, period=14),
    "rsi_21": partial(_rsi, period=21),
    "atr_14": partial(_field, name="atr_14", count="n_range", warm_up=15),
    "atr_percent_14": _atr_percent,
    "ewma_vol_94": _ewma_vol,
    "obv": partial(_field, name="obv", count="n_volume", warm_up=1),
    "accumulation_distribution": partial(_field, name="accumulation_distribution", count="n_flow", warm_up=1),
}
REMEMBERED = ("ema_20", "atr_14", "macd", "macd_signal")
"""Recursive metrics that others want of the bar before too."""


def _metric(
    name: str,
    group: str,
    unit: str,
    warm_up: int,
    formula: str,
    *needs: Need,
    bounds: tuple[float | None, float | None],
) -> Metric:
    return Metric(name, group, unit, warm_up, formula, frozenset(needs), bounds, lambda bars: bars.recursive(name))


_UP, _ANY, _INDEX = (0.0, None), (None, None), (0.0, 100.0)
METRICS: tuple[Metric, ...] = (
    *[
        _metric(
            f"ema_{period}",
            "trend",
            "price",
            period,
            f"E + 2/{period + 1} (C − E); starts as the mean of the first {period} closes",
            "close",
            bounds=_UP,
        )
        for period in EMA_PERIODS
    ],
    _metric(
        "macd",
        "trend",
        "price",
        26,
        "EMA 12 − EMA 26, the short one started with bars 15 to 26 (TA-Lib)",
        "close",
        bounds=_ANY,
    ),
    _metric("macd_signal", "trend", "price", 34, "EMA 9 of macd", "close", bounds=_ANY),
    _metric("macd_histogram", "trend", "price", 34, "macd − macd_signal", "close", bounds=_ANY),
    _metric(
        "adx_14",
        "trend",
        "index",
        28,
        "Wilder average over 14 of DX = 100 |+DI − −DI| / (+DI + −DI); a bar without movement leaves it",
        "ohlc",
        bounds=_INDEX,
    ),
    _metric("plus_di_14", "trend", "index", 15, "100 × Wilder sum of +DM / of true range, 14", "ohlc", bounds=_INDEX),
    _metric("minus_di_14", "trend", "index", 15, "100 × Wilder sum of −DM / of true range, 14", "ohlc", bounds=_INDEX),
    _metric("psar", "trend", "price", 2, "Parabolic SAR, acceleration 0.02 to 0.2", "ohlc", bounds=_ANY),
    *[
        _metric(
            f"rsi_{period}",
            "momentum",
            "index",
            period + 1,
            f"100 G / (G + L), Wilder averages over {period} of rises and falls; null without either",
            "close",
            bounds=_INDEX,
        )
        for period in (14, 21)
    ],
    _metric(
        "atr_14",
        "volatility",
        "price",
        15,
        "Wilder average over 14 of max(H − L, |H − C₋₁|, |L − C₋₁|)",
        "ohlc",
        bounds=_UP,
    ),
    _metric("atr_percent_14", "volatility", "fraction", 15, "atr_14 / C", "ohlc", bounds=_UP),
    _metric(
        "ewma_vol_94",
        "volatility",
        "fraction",
        EWMA_SEED + 1,
        f"√(v × periods a year), v = 0.94 v + 0.06 r², r = ln(C / C₋₁); starts as the mean of {EWMA_SEED} r²",
        "close",
        bounds=_UP,
    ),
    _metric("obv", "volume", "units", 1, "Σ sign(C − C₋₁) V; starts as the first V", "close", "volume", bounds=_ANY),
    _metric(
        "accumulation_distribution",
        "volume",
        "units",
        1,
        "Σ V ((C − L) − (H − C)) / (H − L)",
        "ohlc",
        "volume",
        bounds=_ANY,
    ),
)
