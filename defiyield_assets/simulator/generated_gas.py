"""Gas and the ether price of the generated market, from a seed.

Lives here: base fees and tips by the hour, regimes and jumps, quiet nights and week-ends, ETH. Not here: token prices
and rates (generated_prices.py) or wire formats (vendor_answers.py). Gwei and USD.
"""

from collections.abc import Sequence
from datetime import date, datetime

import numpy as np

from defiyield_assets.domain.days import start_of, utc_day
from defiyield_assets.simulator.generated_paths import Vector, fading, heavy_tailed, stream, wander
from defiyield_assets.simulator.vendor_answers import GasHour

_MEDIAN_GWEI, _LEAST_GWEI = 2.4, 0.05
_REGIME_MEMORY, _REGIME_SPREAD = 0.984, 0.74
"""Quiet and busy months: what the fee of a month resembles."""
_WEEK_MEMORY, _WEEK_SPREAD = 0.8, 0.25
_DAY_SPREAD = 0.12
_JUMP_CHANCE, _JUMP_SIZE, _JUMP_KEEP = 0.04, 0.7, 0.6
"""Mints, liquidations, airdrops: the fee jumps by a random factor and comes back within days."""
_HOUR_SWING, _HOUR_SPREAD, _HOUR_MEMORY = 0.35, 0.15, 0.5
_WEEKEND = 0.7
_ETH_MEDIAN, _ETH_MEMORY, _ETH_SPREAD = 2_600, 0.992, 0.3


class GeneratedGas:
    """Fees and ETH over the market's whole life, made once."""

    def __init__(self, seed: int, first: date, days: int) -> None:
        self._seed = seed
        self._first = first
        self._days = days
        self._eth = self._eth_path()
        self._base_fee, self._tip = self._gas_paths()

    def _eth_path(self) -> Vector:
        shocks = heavy_tailed(stream(self._seed, "eth"), (self._days, 1), 2)
        return np.round(_ETH_MEDIAN * np.exp(_ETH_SPREAD * wander(shocks, _ETH_MEMORY, np.zeros(1))[:, 0]), 4)

    @property
    def ether_closes(self) -> Vector:
        """ETH at the end of each day of the market's life."""
        return self._eth

    def _daily_level(self) -> Vector:
        """Logarithm of the day's fee relative to its median: months, weeks, days and jumps."""
        rng, days = stream(self._seed, "gas days"), (self._days, 1)
        nothing = np.zeros(1)
        regime = wander(rng.standard_normal(days), _REGIME_MEMORY, rng.standard_normal(1))
        week = wander(heavy_tailed(rng, days, 2), _WEEK_MEMORY, nothing)
        heights = rng.exponential(_JUMP_SIZE, days) * (rng.random(days) < _JUMP_CHANCE)
        jumps = fading(heights, np.full(1, _JUMP_KEEP), nothing)
        day = _DAY_SPREAD * heavy_tailed(rng, days, 2)
        level: Vector = (_REGIME_SPREAD * regime + _WEEK_SPREAD * week + jumps + day)[:, 0]
        return level

    def _hourly_noise(self, name: str, memory: float) -> Vector:
        """Noise by the hour that remembers the hours before it within its day."""
        shocks = stream(self._seed, name).standard_normal((24, self._days))
        return wander(shocks, memory, np.zeros(self._days)).T.ravel()

    def _gas_paths(self) -> tuple[Vector, Vector]:
        """Base fee and tip by the hour."""
        hours = np.arange(24 * self._days)
        weekday = (hours // 24 + self._first.weekday()) % 7
        shape = 1 + _HOUR_SWING * np.cos(2 * np.pi * (hours % 24 - 15) / 24)
        level = np.repeat(np.exp(self._daily_level()), 24) * np.where(weekday >= 5, _WEEKEND, 1.0)
        noise = np.exp(_HOUR_SPREAD * self._hourly_noise("gas hour", _HOUR_MEMORY))
        base: Vector = _MEDIAN_GWEI * level * shape * noise
        tip: Vector = 0.1 + 0.1 * np.abs(self._hourly_noise("gas tip", 0.3))
        return base.clip(min=_LEAST_GWEI).round(6), tip.round(6)

    def gas_hours(self, hours: Sequence[datetime], day: date) -> list[GasHour]:
        """Fees of the asked hours; the ETH price is interpolated between the day's closes, never beyond the day."""
        rows = []
        newest = min((day - self._first).days, self._days - 1)
        for hour in hours:
            at = int((hour - start_of(self._first)).total_seconds()) // 3600
            if at < 0 or at >= len(self._base_fee):
                continue
            today, share = divmod(at, 24)
            closed = min(today, newest)
            eth = self._eth[max(today - 1, 0)] * (1 - share / 24) + self._eth[closed] * share / 24
            base, tip = float(self._base_fee[at]), float(self._tip[at])
            rows.append(
                GasHour(
                    hour,
                    base,
                    round(base * 0.9 + tip, 6),
                    round(base * 1.6 + 3 * tip, 6),
                    round(base + tip, 6),
                    round(float(eth), 4),
                )
            )
        return rows

    def gas_price_wei(self, at: datetime) -> int:
        """Median effective price of the hour, in wei."""
        (fees,) = self.gas_hours([at], utc_day(at))
        return round(fees.median * 10**9)
