"""Bars made for tests of features: one panel of different instruments, calculated once, and references beside it.

Lives here: the panel and how a metric is compared with an independent calculation. Not here: the references (one file
per group), rules that hold for every metric (test_metrics.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from defiyield_assets.domain.market.features.calculate import features
from defiyield_assets.domain.market.features.panel import FIELDS, Bars, Matrix, pack
from defiyield_assets.domain.market.features.recursions import blank_state

N_BARS = 470
CALENDARS = {"coin": 365.0, "share": 252.0, "late": 365.0, "closes": 252.0, "no_volume": 365.0, "flat": 252.0}
"""Instruments of the panel and their periods a year: two whole ones, one that is listed 60 bars later, one of closes
only, one without volume, one whose price never moves."""
LATE_BARS = N_BARS - 60
WHOLE = ("coin", "share", "late")

Reference = Callable[[pd.DataFrame, float], Any]
"""(bars of one instrument: open, high, low, close, volume, dollar_volume; periods a year) -> a value per bar."""


@dataclass(frozen=True)
class Made:
    """Bars by instrument and what the registry makes of them, a vector per metric and instrument."""

    frames: Mapping[str, pd.DataFrame]
    values: Mapping[str, Matrix]

    def of(self, metric: str, instrument: str) -> np.ndarray:
        """A metric of the instrument's own bars."""
        column = list(self.frames).index(instrument)
        found: np.ndarray = self.values[metric][len(self.values[metric]) - len(self.frames[instrument]) :, column]
        return found


def random_bars(n: int, seed: int, volatility: float = 0.03) -> pd.DataFrame:
    """n bars of a random walk with gaps at the open, consistent high and low, and log-normal volume."""
    rng = np.random.default_rng(seed)
    close = 50.0 * np.exp(np.cumsum(rng.normal(0.0005, volatility, n)))
    opened = np.concatenate([[50.0], close[:-1]]) * np.exp(rng.normal(0.0, volatility / 4, n))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0.0, volatility / 3, n)))
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0.0, volatility / 3, n)))
    volume = np.exp(rng.normal(10.0, 0.8, n))
    return pd.DataFrame(
        {"open": opened, "high": high, "low": low, "close": close, "volume": volume, "dollar_volume": volume * close}
    )


def flat_bars(n: int, price: float = 0.1, volume: float = 1000.0) -> pd.DataFrame:
    """Bars of a price that stands still."""
    whole = {name: np.full(n, price) for name in ("open", "high", "low", "close")}
    return pd.DataFrame({**whole, "volume": np.full(n, volume), "dollar_volume": np.full(n, volume * price)})


def panel_of(frames: Mapping[str, pd.DataFrame], calendars: Mapping[str, float]) -> Bars:
    """A panel whose every bar is new. Columns that a frame lacks are unknown; the benchmark is a walk of its own."""
    lengths = [len(frame) for frame in frames.values()]
    rows = pd.concat([_with_benchmark(frame) for frame in frames.values()])
    return pack(
        np.repeat(np.arange(len(frames)), lengths),
        np.concatenate([np.arange(N_BARS * 2)[-n:].astype("datetime64[D]") for n in lengths]),
        {name: rows[name].to_numpy(float) for name in FIELDS if name in rows},
        np.ones(len(rows), dtype=bool),
        np.array([calendars[name] for name in frames]),
    )


def _with_benchmark(frame: pd.DataFrame) -> pd.DataFrame:
    if "benchmark_close" in frame:
        return frame
    steps = np.random.default_rng(99).normal(0.0, 0.01, len(frame))
    return frame.assign(benchmark_close=1000.0 * np.exp(np.cumsum(steps)))


def made(frames: Mapping[str, pd.DataFrame], calendars: Mapping[str, float] | None = None) -> Made:
    """Every metric of a panel from its first bar."""
    bars = panel_of(frames, dict.fromkeys(frames, 365.0) if calendars is None else calendars)
    return Made(frames, features(bars, blank_state(bars.n_columns))[0])


@cache
def market() -> Made:
    """The panel of CALENDARS."""
    frames = {
        "coin": random_bars(N_BARS, seed=1),
        "share": random_bars(N_BARS, seed=2, volatility=0.012),
        "late": random_bars(LATE_BARS, seed=3),
        "closes": random_bars(N_BARS, seed=4)[["close"]],
        "no_volume": random_bars(N_BARS, seed=5).drop(columns=["volume", "dollar_volume"]),
        "flat": flat_bars(N_BARS),
    }
    return made(frames, CALENDARS)


def assert_equals_reference(metric: str, reference: Reference, tolerance: float = 1e-9) -> None:
    """A metric of all whole instruments is the reference's values, null where that has none."""
    for instrument in WHOLE:
        bars = market().frames[instrument]
        expected = np.asarray(reference(bars, CALENDARS[instrument]), dtype=float)
        np.testing.assert_allclose(
            market().of(metric, instrument), expected, rtol=tolerance, atol=1e-10, err_msg=f"{metric} of {instrument}"
        )


def rolled(function: Callable[..., float], n: int, *series: pd.Series) -> np.ndarray:
    """function(window of each series) for every whole window of n bars without a null, NaN before."""
    columns = [one.to_numpy(float) for one in series]
    found = np.full(len(columns[0]), np.nan)
    for end in range(n, len(found) + 1):
        windows = [column[end - n : end] for column in columns]
        if not any(np.isnan(window).any() for window in windows):
            found[end - 1] = function(*windows)
    return found
