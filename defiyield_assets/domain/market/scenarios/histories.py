"""Cuts of price histories that scenarios are made of: some rows, some instruments, up to a day, one after another.

Lives here: these cuts and the packing of a long table. Not here: the history itself (domain/strategies/bars.py), which
cuts make a scenario (source.py, windows.py).
"""

from collections.abc import Sequence
from datetime import date
from difflib import get_close_matches

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.strategies.bars import BAR_COLUMNS, Matrix, PriceHistory, price_history
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError

Rows = NDArray[np.intp]
SHAPE_SLACK = 1e-9
"""By which open or close may lie outside low .. high, as a fraction: prices were rounded by whoever told them."""


def rows_of(history: PriceHistory, rows: Rows | slice) -> PriceHistory:
    """The bars of some rows, in order, without features."""
    return price_history(
        history.instruments,
        history.dates[rows],
        {name: np.ascontiguousarray(history.column(name)[rows]) for name in BAR_COLUMNS},
        periods_per_year=history.periods_per_year,
    )


def instruments_of(history: PriceHistory, names: Sequence[str]) -> PriceHistory:
    """The bars of some instruments, without features; ConfigurationError for a name that is not there."""
    columns = [_column(history, name) for name in names]
    return price_history(
        names,
        history.dates,
        {name: np.ascontiguousarray(history.column(name)[:, columns]) for name in BAR_COLUMNS},
        periods_per_year=history.periods_per_year,
    )


def until_day(history: PriceHistory, day: date) -> PriceHistory:
    """Nothing dated after `day`, without features."""
    return rows_of(history, slice(0, int(np.searchsorted(history.dates, np.datetime64(day, "D"), side="right"))))


def with_later(history: PriceHistory, dates: NDArray[np.datetime64], columns: dict[str, Matrix]) -> PriceHistory:
    """The history and then later bars of the same instruments."""
    return price_history(
        history.instruments,
        np.concatenate([history.dates, dates]),
        {name: np.vstack([history.column(name), columns[name]]) for name in BAR_COLUMNS},
        periods_per_year=history.periods_per_year,
    )


def history_of_rows(rows: pd.DataFrame) -> PriceHistory:
    """A history from a long table: instrument_id, date, close and, where known, open, high, low, volume, gap_flag.

    Prices are adjusted ones. Raises SuspiciousDataError for a bar that is there twice or whose open or close lies
    outside low .. high; ValueError for a price that is not positive.
    """
    repeated = rows.duplicated(["instrument_id", "date"])
    if repeated.any():
        first = rows[repeated].iloc[0]
        raise SuspiciousDataError(f"bars: {first['instrument_id']} has two bars on {first['date']}; keep one")
    names, column = np.unique(rows["instrument_id"].to_numpy(dtype=str), return_inverse=True)
    days = pd.to_datetime(rows["date"]).to_numpy().astype("datetime64[D]")
    dates, row = np.unique(days, return_inverse=True)
    columns = {}
    for name in [name for name in BAR_COLUMNS if name in rows]:
        columns[name] = np.full((len(dates), len(names)), 0.0 if name == "gap_flag" else np.nan)
        columns[name][row, column] = rows[name].to_numpy(dtype=np.float64)
    history = price_history(names.tolist(), dates, columns)
    _check_shapes(history)
    return history


def _check_shapes(history: PriceHistory) -> None:
    with np.errstate(invalid="ignore"):
        top = np.fmax(history.open, history.close) * (1.0 - SHAPE_SLACK) > history.high
        bottom = np.fmin(history.open, history.close) * (1.0 + SHAPE_SLACK) < history.low
    broken = top | bottom
    if broken.any():
        row, column = (int(place[0]) for place in np.nonzero(broken))
        raise SuspiciousDataError(
            f"bars: {history.instruments[column]} on {history.dates[row]} has open or close outside low .. high"
        )


def _column(history: PriceHistory, name: str) -> int:
    if name in history.instruments:
        return history.instruments.index(name)
    near = get_close_matches(name, history.instruments, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(history.instruments[:20])}"
    raise ConfigurationError(f"instrument {name!r} has no bars; {hint}")
