"""How a position grows in a day: the one formula that the ledger and the simulated chain share, to the unit.

Lives here: daily growth at an APY, the last known APY of a pool. Not here: which APYs were known when (store/reads.py)
or who holds what (positions.py, simulator/chain.py).
"""

from bisect import bisect_right
from datetime import date
from decimal import ROUND_FLOOR, Context, Decimal
from functools import lru_cache
from math import isfinite

import pandas as pd

DAYS_PER_YEAR = 365
_RATE = Context(prec=60)
_EXACT = Context(prec=400, rounding=ROUND_FLOOR)
"""Wide enough that 256-bit amounts times a 60-digit factor are exact."""


@lru_cache(maxsize=65_536)
def daily_factor(apy: float) -> Decimal:
    """(1 + apy)^(1/365) to 60 digits for an APY as a fraction; 0 when apy <= -1. Not finite: ValueError.

    The APY is compounding by definition, hence the 365th root. Computed as exp(ln(1 + apy) / 365), because `decimal`
    rounds ln and exp correctly: the digits are the same on every platform.
    """
    rate = Decimal(repr(float(apy)))
    if not rate.is_finite():
        raise ValueError(f"an APY is a finite fraction, not {apy!r}")
    base = _RATE.add(Decimal(1), rate)
    if base <= 0:
        return Decimal(0)
    return _RATE.exp(_RATE.divide(_RATE.ln(base), Decimal(DAYS_PER_YEAR)))


def accrue(amount: int, apy: float) -> int:
    """Base units after one more day at this APY: floor(amount * (1 + apy)^(1/365)); apy a fraction, <= -1 gives 0.

    `amount` is a non-negative python int of any size (ValueError when negative).
    """
    if amount < 0:
        raise ValueError(f"a position is not negative: {amount}")
    return int(_EXACT.multiply(Decimal(amount), daily_factor(apy)).to_integral_value(rounding=ROUND_FLOOR))


class KnownApys:
    """Last known APY of each pool on or before a day."""

    def __init__(self, apys: pd.DataFrame) -> None:
        """`apys` has columns pool_id, date, apy (fraction), in any order; null and infinite values are left out."""
        self._known: dict[str, tuple[list[date], list[float]]] = {}
        for pool_id, day, apy in sorted(zip(apys["pool_id"], apys["date"], apys["apy"], strict=True)):
            if pd.notna(apy) and isfinite(apy):
                days, values = self._known.setdefault(pool_id, ([], []))
                days.append(day)
                values.append(float(apy))

    def of(self, pool_id: str, day: date) -> float:
        """APY as a fraction; 0 before the first known day."""
        days, values = self._known.get(pool_id, ([], []))
        found = bisect_right(days, day)
        return values[found - 1] if found else 0.0
