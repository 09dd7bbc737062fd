"""Signals that come from outside: what a model or the news said of an instrument, and since when one could act on it.

Lives here: the records and their join to bars. Not here: kinds of signals and asking models (domain/signals),
strategies that follow signals (plans.py).
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.domain.strategies.bars import Matrix, PriceHistory, Vector

Times = NDArray[np.datetime64]
ONE_DAY = np.timedelta64(1, "D")

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
    bar, filled at that open. The open after the last bar is taken to be ONE_DAY after its own: what one can act on only
    later belongs to no bar yet. KeyError for a frame without COLUMNS, ValueError for a signal that is none of SIDES.
    """
    shape = (history.n_bars, len(history.instruments))
    side, confidence, stop, target = (np.full(shape, np.nan) for _ in range(4))
    in_sample = np.zeros(shape, dtype=bool)
    opens, is_bar = history.opening_times(), history.is_bar
    told = _told(signals, signal_type)
    for column, name in enumerate(history.instruments):
        rows = np.flatnonzero(is_bar[:, column])
        own = told.get(name)
        if own is None or len(rows) < 2:
            continue
        number = _newest(own.actionable, opens[rows, column], valid_bars)
        known = number >= 0
        at, chosen = rows[known], number[known]
        side[at, column], confidence[at, column] = own.side[chosen], own.confidence[chosen]
        stop[at, column], target[at, column] = own.stop[chosen], own.target[chosen]
        cutoffs = own.cutoff[chosen]
        in_sample[at, column] = ~np.isnat(cutoffs) & (cutoffs >= history.dates[at])
    return JoinedSignals(side, confidence, stop, target, in_sample)


def _newest(actionable: Times, opens: Times, valid_bars: int) -> NDArray[np.intp]:
    """Of each bar of an instrument the newest signal that its decision may know, -1 none.

    `actionable` ascending. A signal that could be acted on at the first bar's open belongs to no bar: there is none
    before it to decide on.
    """
    first = np.searchsorted(opens, actionable, side="left") - 1
    count = int(np.searchsorted(actionable, opens[-1] + ONE_DAY, side="right"))
    place = np.arange(len(opens))
    number = np.searchsorted(first[:count], place, side="right") - 1
    is_there = number >= 0
    start = first[np.maximum(number, 0)] if count else np.full(len(opens), -1)
    is_there &= (start >= 0) & (place - start < valid_bars)
    return np.where(is_there, number, -1)


@dataclass(frozen=True)
class _Told:
    """Signals of one instrument, ascending by when one could act; each (m,)."""

    actionable: Times
    side: Vector
    confidence: Vector
    stop: Vector
    target: Vector
    cutoff: Times


def _told(signals: pd.DataFrame, signal_type: str) -> dict[str, _Told]:
    """Signals of a type by instrument, as arrays."""
    chosen = signals.loc[signals["signal_type"] == signal_type, list(COLUMNS)]
    chosen = chosen.sort_values("actionable_from", kind="stable")
    unknown = sorted(set(chosen["signal"].astype(str)) - set(SIDES))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no signal; signals are {', '.join(SIDES)}")
    found = {}
    for name, own in chosen.groupby("instrument_id", sort=False):
        cutoffs = pd.to_datetime(own["training_cutoff"]).to_numpy(dtype="datetime64[D]")
        found[str(name)] = _Told(
            actionable=_utc(own["actionable_from"]),
            side=_figures(own["signal"].map(SIDES)),
            confidence=_figures(own["confidence"]),
            stop=_figures(own["stop_loss_price"]),
            target=_figures(own["target_price"]),
            cutoff=cutoffs,
        )
    return found


def _figures(cells: pd.Series) -> Vector:
    """Numbers, NaN where there is none."""
    return np.asarray(pd.to_numeric(cells).to_numpy(dtype=np.float64), dtype=np.float64)


def signals_hash(signals: pd.DataFrame, signal_types: Collection[str]) -> str:
    """SHA-256 of the signals of some types, whatever their order: what a run that follows them rests on beside bars."""
    own = signals.loc[signals["signal_type"].isin(list(signal_types)), list(COLUMNS)]
    told = own.assign(actionable_from=_utc(own["actionable_from"]).astype(str)).astype(object)
    rows = sorted("|".join("" if pd.isna(cell) else str(cell) for cell in row) for row in told.itertuples(index=False))
    return content_hash(rows)


def types_heard(signals: pd.DataFrame, instruments: Collection[str], first: date, last: date) -> set[str]:
    """Types of which one of the instruments has a signal that one could act on in bars from `first` to `last`."""
    opens, end = pd.Timestamp(first, tz="UTC"), pd.Timestamp(last, tz="UTC") + pd.Timedelta(days=1)
    is_own = signals["instrument_id"].isin(list(instruments))
    is_own &= (signals["actionable_from"] >= opens) & (signals["actionable_from"] < end)
    return set(signals.loc[is_own, "signal_type"])


def signal_frame(rows: Iterable[Sequence[object]]) -> pd.DataFrame:
    """A frame of signals from rows in the order of COLUMNS."""
    frame = pd.DataFrame(list(rows), columns=list(COLUMNS))
    frame["actionable_from"] = pd.to_datetime(frame["actionable_from"], utc=True)
    return frame


def _utc(times: pd.Series) -> NDArray[np.datetime64]:
    """Times as datetime64[ns] of UTC."""
    return pd.to_datetime(times, utc=True).dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")
