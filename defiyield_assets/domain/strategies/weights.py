"""Target shares of equity and regular purchases: what allocation strategies hold, and when they act.

Lives here: candidates, their shares, the rhythm. Not here: how they are written (language.py), trading towards them
(engine.py).
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.strategies.bars import Matrix
from defiyield_assets.domain.strategies.language import AccumulationStrategy, AllocationStrategy, Written
from defiyield_assets.domain.strategies.signals import Columns, Flags, holds

CARRIED_BARS = 5
"""Dates without a bar over which an instrument is still a candidate, by what its last bar said: weekends, holidays."""
PERIODS = {"weekly": "W", "monthly": "M", "quarterly": "Q"}


def acting_rows(dates: NDArray[np.datetime64], rhythm: str, start: int) -> NDArray[np.intp]:
    """Rows on which a rhythm acts: `start`, and the first completed bar of every period after it."""
    if rhythm == "once":
        return np.arange(start, min(start + 1, len(dates)))
    if rhythm == "daily":
        return np.arange(start, len(dates))
    periods = np.asarray(pd.DatetimeIndex(dates.astype("datetime64[ns]")).to_period(PERIODS[rhythm]))
    is_new = np.concatenate([[True], periods[1:] != periods[:-1]])
    is_new[: start + 1] = False
    is_new[start : start + 1] = True
    return np.flatnonzero(is_new)


def target_shares(spec: AllocationStrategy, columns: Columns, start: int) -> Matrix:
    """Shares of equity (n, k) on the rows that act, NaN on all others; 0: to be sold."""
    history = columns.history
    rows = acting_rows(history.dates, spec.rebalance, start)
    is_candidate = _lasting(_candidates(spec, columns), history.is_bar)[rows]
    rank = None if spec.rank is None else _lasting_values(columns.values(spec.rank))[rows]
    if rank is not None and spec.top is not None:
        is_candidate &= _is_among_greatest(np.where(is_candidate, rank, np.nan), spec.top)
    needs_volatility = spec.volatility_target is not None or spec.weights == "inverse_volatility"
    volatility = _lasting_values(columns.values(spec.volatility_col))[rows] if needs_volatility else None
    if volatility is not None:
        is_candidate &= volatility > 0
    result = np.full(history.close.shape, np.nan)
    result[rows] = spec.invested * _divided(spec, history.instruments, is_candidate, volatility)
    return result


def _divided(
    spec: AllocationStrategy, instruments: tuple[str, ...], is_candidate: Flags, volatility: Matrix | None
) -> Matrix:
    """Shares among the candidates of each row."""
    if isinstance(spec.weights, dict):
        named = np.array([spec.weights.get(name, 0.0) for name in instruments])
        shares = np.where(is_candidate, named, 0.0)
    else:
        raw = np.where(is_candidate, 1.0, 0.0)
        if spec.weights == "inverse_volatility" and volatility is not None:
            raw = np.divide(1.0, volatility, out=np.zeros_like(raw), where=is_candidate)
        total = raw.sum(axis=1, keepdims=True)
        shares = np.divide(raw, total, out=np.zeros_like(raw), where=total > 0)
    if spec.volatility_target is not None and volatility is not None:
        scale = np.divide(spec.volatility_target, volatility, out=np.zeros_like(shares), where=is_candidate)
        shares = shares * np.minimum(1.0, scale)
    return shares


def purchases(spec: Written, columns: Columns, start: int) -> Matrix:
    """Shares of the first capital (n, k) to buy for on the rows that act, NaN on all others."""
    if not isinstance(spec, AccumulationStrategy):
        raise TypeError(f"{type(spec).__name__} is no accumulation")
    history = columns.history
    rows = acting_rows(history.dates, spec.every, start)
    wanted = history.is_bar if spec.when is None else holds(spec.when, columns)
    is_candidate = _lasting(wanted, history.is_bar)[rows]
    total = is_candidate.sum(axis=1, keepdims=True)
    result = np.full(history.close.shape, np.nan)
    result[rows] = np.where(is_candidate, spec.share / np.maximum(total, 1), np.nan)
    return result


def _candidates(spec: AllocationStrategy, columns: Columns) -> Flags:
    """Instruments that may be held, by bar."""
    found = columns.history.is_bar
    if spec.when is not None:
        found = found & holds(spec.when, columns)
    if spec.rank is not None:
        found = found & np.isfinite(columns.values(spec.rank))
    if isinstance(spec.weights, dict):
        missing = sorted(set(spec.weights) - set(columns.history.instruments))
        if missing:
            raise ValueError(f"{spec.id} holds {', '.join(missing)}, which the history has no bars of")
    return found


def _is_among_greatest(rank: Matrix, top: int) -> Flags:
    """The `top` greatest known values of each row; of equal ones the first instruments."""
    order = np.argsort(-np.where(np.isnan(rank), -np.inf, rank), axis=1, kind="stable")
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(rank.shape[1])[None, :], axis=1)
    return (place < top) & np.isfinite(rank)


def _lasting(flags: Flags, is_bar: Flags) -> Flags:
    """Flags of bars, carried over the next dates without one."""
    told = pd.DataFrame(np.where(is_bar, flags.astype(np.float64), np.nan)).ffill(limit=CARRIED_BARS)
    return np.asarray(told.to_numpy() == 1.0, dtype=bool)


def _lasting_values(values: Matrix) -> Matrix:
    """Values carried over dates without a bar."""
    return pd.DataFrame(values).ffill(limit=CARRIED_BARS).to_numpy()
