"""What trading costs, and what an account allows.

Lives here: `CostModel`, `Account` and the prices at which market orders are filled. Not here: when orders are filled
(engine.py), stops and targets (levels.py).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import isnan, sqrt

BASIS_POINT = 1e-4
MOST_HALF_SPREAD = 0.5


@dataclass(frozen=True)
class CostModel:
    """Costs of trading, fractions.

    `fee`: of each side's value, at least `min_fee` (currency). `half_spread`: by which market orders are filled against
    us. `impact`: Y in Y · σ_day · √(quantity / volume of the day before) (the square-root law, Almgren et al. 2005);
    0: none. `borrow`: a year, of a short's value. `cash_earns`: share of the risk-free rate that idle cash is paid.
    """

    fee: float = 10 * BASIS_POINT
    half_spread: float = 5 * BASIS_POINT
    min_fee: float = 0.0
    impact: float = 0.0
    borrow: float = 0.03
    cash_earns: float = 0.0

    def __post_init__(self) -> None:
        """ValueError for a negative cost, or one that eats a whole price."""
        if min(asdict(self).values()) < 0 or self.fee >= 1 or self.half_spread >= 1 or self.cash_earns > 1:
            raise ValueError(f"costs are fractions from 0 to 1, not {self}")

    def scaled(self, factor: float) -> CostModel:
        """All costs times a factor; what cash earns is no cost."""
        return replace(
            self,
            fee=self.fee * factor,
            half_spread=self.half_spread * factor,
            min_fee=self.min_fee * factor,
            impact=self.impact * factor,
            borrow=self.borrow * factor,
        )

    def widened(self, multiple: float) -> CostModel:
        """The costs of a bar whose spread is a multiple of the usual one; half of it takes at most half a price."""
        half = min(self.half_spread * multiple, MOST_HALF_SPREAD)
        return self if multiple == 1.0 else replace(self, half_spread=half)

    def price(self, raw: float, *, is_buy: bool, impact: float = 0.0) -> float:
        """What a market order pays or gets where the market is at `raw`."""
        away = self.half_spread + impact
        return raw * (1.0 + away) if is_buy else raw * max(0.0, 1.0 - away)

    def fee_of(self, value: float) -> float:
        """Fee of a fill of that value (currency)."""
        return max(self.min_fee, self.fee * value)

    def impact_of(self, quantity: float, volume: float, sigma: float) -> float:
        """Share of the price that an order moves it; NaN where volume or volatility is unknown and impact is asked."""
        if self.impact == 0.0:
            return 0.0
        if isnan(volume) or isnan(sigma) or volume <= 0.0:
            return float("nan")
        return self.impact * sigma * sqrt(quantity / volume)


@dataclass(frozen=True)
class Account:
    """`capital`: at the start, in the currency of prices. `whole_units`: no fractions. `allow_short`: else a short
    rule's entry closes longs only. `maintenance`: shorts are covered at the next open once cash is below this many
    times their value.
    """

    capital: float = 100_000.0
    whole_units: bool = False
    allow_short: bool = True
    maintenance: float = 1.3
