"""What a market knows of a share: its sessions with raw prices, dividends and splits, and its reported quarters.

Lives here: the records. Not here: where they come from (generated_shares.py) or Alpha Vantage's words for them
(alpha_vantage_answers.py). USD a share, raw: as it was traded on the day.
"""

from bisect import bisect_right
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ShareHistory:
    """Sessions in which a share was traded, ascending; every array has one value a session.

    `dividend`: USD a share with this ex-date; `split`: new shares for an old one with this ex-date, 1 for none.
    """

    symbol: str
    sessions: tuple[date, ...]
    open: Vector
    high: Vector
    low: Vector
    close: Vector
    volume: Vector
    dividend: Vector
    split: Vector

    def __len__(self) -> int:
        return len(self.sessions)

    def until(self, day: date) -> "ShareHistory":
        """What is known at the end of the day."""
        return self.kept(slice(0, bisect_right(self.sessions, day)))

    def kept(self, rows: slice | npt.NDArray[np.intp]) -> "ShareHistory":
        """The same share with some of its sessions."""
        names = ("open", "high", "low", "close", "volume", "dividend", "split")
        days = self.sessions[rows] if isinstance(rows, slice) else tuple(self.sessions[i] for i in rows.tolist())
        return replace(self, sessions=days, **{name: getattr(self, name)[rows] for name in names})

    def adjusted_close(self) -> Vector:
        """Closes less later dividends and splits: times (1 - dividend / close before) / split of each later ex-date."""
        before = np.concatenate([[np.inf], self.close[:-1]])
        factors = (1 - self.dividend / before) / self.split
        later = np.concatenate([np.cumprod(factors[:0:-1])[::-1], [1.0]]) if len(self) else factors
        adjusted: Vector = self.close * later
        return adjusted


@dataclass(frozen=True)
class Quarter:
    """A reported quarter: USD a share; `is_before_open` says when on the day of the report it came."""

    ends: date
    reported: date
    eps: float
    estimate: float | None
    is_before_open: bool
