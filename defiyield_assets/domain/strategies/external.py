"""Signals that come from outside: what a model or the news said of an instrument, and since when one could act on it.

Lives here: the records, their types and their join to bars. Not here: asking models (issue 9), strategies that follow
signals (plans.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.strategies.bars import Matrix, PriceHistory

SIGNAL_TYPES = ("ai:llama3.1", "ai:stub", "news:sentiment")
"""Types that strategies may follow where no list is given: `<kind>:<source>`, the spelling of `trading_signals`."""
SIDES = {"BUY": 1.0, "SELL": -1.0, "HOLD": 0.0}
COLUMNS = (
    *("instrument_id", "signal_type", "actionable_from", "signal", "confidence"),
    *("stop_loss_price", "target_price", "training_cutoff"),
)
"""Of a frame of signals. `actionable_from`: UTC; prices in the adjusted scale of the bars, null: none named;
`training_cutoff`: last date that the model was trained on, null: none."""


@dataclass(frozen=True)
class JoinedSignals:
    """Signals beside the bars on which they are decided, (n, k): row t holds what can be acted on at the next open.

    `side`: 1 BUY, -1 SELL, 0 HOLD, NaN none. `is_in_sample`: of a model that was trained on the bar's date or later.
    """

    side: Matrix
    confidence: Matrix
    stop: Matrix
    target: Matrix
    is_in_sample: NDArray[np.bool_]


def join(signals: pd.DataFrame, signal_type: str, history: PriceHistory, valid_bars: int) -> JoinedSignals:
    """The newest signal of a type at each bar, for `valid_bars` bars from the first that could act on it.

    A signal belongs to the row before the first bar with `actionable_from` ≤ that bar's open: decided on the completed
    bar, filled at that open. KeyError for a frame without COLUMNS.
    """
    shape = (history.n_bars, len(history.instruments))
    side, confidence, stop, target = (np.full(shape, np.nan) for _ in range(4))
    in_sample = np.zeros(shape, dtype=bool)
    opens, is_bar = history.opening_times(), history.is_bar
    chosen = signals.loc[signals["signal_type"] == signal_type, list(COLUMNS)]
    for column, name in enumerate(history.instruments):
        rows = np.flatnonzero(is_bar[:, column])
        own = chosen[chosen["instrument_id"] == name].sort_values("actionable_from", kind="stable")
        if own.empty or len(rows) < 2:
            continue
        at = np.searchsorted(opens[rows, column], _utc(own["actionable_from"]), side="left")
        cutoffs = pd.to_datetime(own["training_cutoff"]).to_numpy(dtype="datetime64[D]")
        for number, (first, cutoff) in enumerate(zip(at, cutoffs, strict=True)):
            if first == 0:
                continue
            one = own.iloc[number]
            for row in rows[first - 1 : first - 1 + valid_bars]:
                side[row, column] = SIDES[str(one["signal"])]
                confidence[row, column] = _number(one["confidence"])
                stop[row, column] = _number(one["stop_loss_price"])
                target[row, column] = _number(one["target_price"])
                in_sample[row, column] = bool(not np.isnat(cutoff) and cutoff >= history.dates[row])
    return JoinedSignals(side, confidence, stop, target, in_sample)


def signal_frame(rows: Iterable[Sequence[object]]) -> pd.DataFrame:
    """A frame of signals from rows in the order of COLUMNS."""
    frame = pd.DataFrame(list(rows), columns=list(COLUMNS))
    frame["actionable_from"] = pd.to_datetime(frame["actionable_from"], utc=True)
    return frame


def _utc(times: pd.Series) -> NDArray[np.datetime64]:
    """Times as datetime64[ns] of UTC."""
    return pd.to_datetime(times, utc=True).dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")


def _number(value: Any) -> float:
    return float("nan") if value is None or pd.isna(value) else float(value)
