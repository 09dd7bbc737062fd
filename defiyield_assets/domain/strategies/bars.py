"""What a strategy is run on: bars of several instruments side by side over common dates, with their features.

Lives here: `PriceHistory`, its checks and its cuts. Not here: where bars come from (store, domain/market/scenarios),
features (domain/market/features), external signals (external.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
"""Rows are bars, columns are instruments."""
Vector = NDArray[np.float64]
PRICES = ("open", "high", "low", "close")
BAR_COLUMNS = (*PRICES, "volume", "gap_flag")
"""Columns that every history has beside its features."""


@dataclass(frozen=True)
class PriceHistory:
    """Bars (n, k) of k instruments over n common dates, ascending.

    A bar is there where its close is: NaN before the listing, after the end and on days without a session. `open,
    high, low, close`: adjusted prices (a source of closes alone leaves the others NaN); `volume`: units, NaN unknown;
    `gap_flag`: 1.0 where the bar hides a jump behind a false open. `features`: registry name -> (n, k).
    `first_scored`: rows before it are warm-up (`step` < 0): no decision is taken there. `risk_free` (n,): simple
    return of cash over each bar, None: 0. `spreads` (n,): the bid-ask spread of each bar as a multiple of the cost
    model's, None: 1. `opens_at` (n, k) datetime64[s], UTC: when each bar opened, None: 00:00 of
    its date. `regimes` (n,): name of the market's regime as known on each date, None: unknown.
    """

    instruments: tuple[str, ...]
    dates: NDArray[np.datetime64]
    open: Matrix
    high: Matrix
    low: Matrix
    close: Matrix
    volume: Matrix
    gap_flag: Matrix
    features: Mapping[str, Matrix] = field(default_factory=dict)
    periods_per_year: float = 365.0
    first_scored: int = 0
    risk_free: Vector | None = None
    spreads: Vector | None = None
    opens_at: NDArray[np.datetime64] | None = None
    regimes: Sequence[str | None] | None = None

    def __post_init__(self) -> None:
        """ValueError for shapes that do not fit, dates out of order, or a price that is not positive and finite."""
        shape = (len(self.dates), len(self.instruments))
        for name in (*BAR_COLUMNS, *self.features):
            if self.column(name).shape != shape:
                raise ValueError(f"{name} has the shape {self.column(name).shape}, dates and instruments make {shape}")
        if len(self.dates) > 1 and not bool(np.all(np.diff(self.dates) > np.timedelta64(0, "D"))):
            raise ValueError("dates have to ascend, each once")
        for name in PRICES:
            known = self.column(name)
            if bool(np.any(np.isinf(known) | (known <= 0.0))):
                raise ValueError(f"{name} holds a price that is not positive and finite; unknown is NaN")
        for name, told in (("risk_free", self.risk_free), ("spreads", self.spreads)):
            if told is not None and told.shape != shape[:1]:
                raise ValueError(f"{name} has the shape {told.shape}, there are {shape[0]} dates")
        if self.spreads is not None and not bool(np.all(np.isfinite(self.spreads) & (self.spreads >= 0.0))):
            raise ValueError("spreads holds a multiple that is negative or unknown")
        if not 0 <= self.first_scored <= len(self.dates):
            raise ValueError(f"first_scored {self.first_scored} is outside of {len(self.dates)} bars")

    @property
    def n_bars(self) -> int:
        """Dates, warm-up included."""
        return len(self.dates)

    @property
    def is_bar(self) -> NDArray[np.bool_]:
        """Where there is a bar (n, k)."""
        return np.isfinite(self.close)

    def column(self, name: str) -> Matrix:
        """A bar column or a feature (n, k); KeyError without one of that name."""
        if name in BAR_COLUMNS:
            values: Matrix = getattr(self, name)
            return values
        return self.features[name]

    def until(self, n_bars: int) -> PriceHistory:
        """The first `n_bars` dates, as one knew the history then."""
        cut = {name: self.column(name)[:n_bars] for name in BAR_COLUMNS}
        return replace(
            self,
            dates=self.dates[:n_bars],
            **cut,  # type: ignore[arg-type]
            features={name: matrix[:n_bars] for name, matrix in self.features.items()},
            first_scored=min(self.first_scored, n_bars),
            risk_free=None if self.risk_free is None else self.risk_free[:n_bars],
            spreads=None if self.spreads is None else self.spreads[:n_bars],
            opens_at=None if self.opens_at is None else self.opens_at[:n_bars],
            regimes=None if self.regimes is None else self.regimes[:n_bars],
        )

    def opening_times(self) -> NDArray[np.datetime64]:
        """When each bar opened, UTC, (n, k) datetime64[s]."""
        if self.opens_at is not None:
            return self.opens_at
        midnight = self.dates.astype("datetime64[s]")
        return np.repeat(midnight[:, None], len(self.instruments), axis=1)


def price_history(
    instruments: Sequence[str],
    dates: NDArray[np.datetime64],
    columns: Mapping[str, Matrix],
    features: Mapping[str, Matrix] | None = None,
    *,
    periods_per_year: float = 365.0,
    first_scored: int = 0,
) -> PriceHistory:
    """A history from whatever of BAR_COLUMNS is known; what is left out is unknown, `gap_flag` 0."""
    shape = (len(dates), len(instruments))
    unknown = np.full(shape, np.nan)

    def of(name: str, otherwise: Matrix) -> Matrix:
        return np.asarray(columns.get(name, otherwise), dtype=np.float64)

    return PriceHistory(
        tuple(instruments),
        np.asarray(dates, dtype="datetime64[D]"),
        open=of("open", unknown),
        high=of("high", unknown),
        low=of("low", unknown),
        close=of("close", unknown),
        volume=of("volume", unknown),
        gap_flag=of("gap_flag", np.zeros(shape)),
        features={} if features is None else dict(features),
        periods_per_year=periods_per_year,
        first_scored=first_scored,
    )
