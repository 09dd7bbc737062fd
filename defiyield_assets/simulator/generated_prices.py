"""Token prices, gas and the macro series of the generated market, from a seed.

Lives here: closes and bars of approved tokens (one loses its peg around the demo day), ETH, hourly gas, a bill
rate. Not here: pools (generated_pools.py) or the wire format (vendor_answers.py). USD, gwei, percent for the rate.
"""

import zlib
from collections.abc import Sequence
from datetime import date, datetime, timedelta

import numpy as np
import numpy.typing as npt

from defiyield_assets.domain.days import start_of, utc_day
from defiyield_assets.domain.policy import Token
from defiyield_assets.simulator.generated_pools import wander
from defiyield_assets.simulator.vendor_answers import Bar, CloseSeries, Coin, GasHour, Observation

Vector = npt.NDArray[np.float64]
DEPEG_SYMBOLS = ("USD0", "GUSD", "USDP", "LUSD")
"""The first approved one loses its peg."""
DEPEG_DEPTHS = (0.985, 0.955, 0.935, 0.93, 0.931, 0.934, 0.94, 0.946, 0.955, 0.965, 0.975, 0.984, 0.991, 0.996)
"""Closes from `DEPEG_LEAD` days before the demo day on; afterwards the peg holds again."""
DEPEG_LEAD = 4
RATE_SPREADS = {"DGS3MO": 0.0, "DGS10": -0.2, "T10Y3M": -4.6}
"""Generated FRED series and what is added to the bill rate, in percentage points."""
_SMALL_CAPS = {"GUSD": 21e6, "LUSD": 27e6}
_CAPS = {"USDT": 150e9, "USDC": 60e9, "DAI": 4.5e9, "USDe": 5.5e9, "PYUSD": 9e8, "GHO": 2.5e8, "USDP": 7e7}
_DIGITS = 8


def _rng(seed: int, name: str) -> np.random.Generator:
    """A stream that depends on the seed and the name only."""
    return np.random.default_rng([seed, 4, zlib.crc32(name.encode())])


class GeneratedPrices:
    """All price and fee series over the market's whole life, made once."""

    def __init__(self, seed: int, tokens: Sequence[Token], demo_day: date, first: date, last: date) -> None:
        self._seed = seed
        self._first = first
        self._days = (last - first).days + 3
        self._tokens = {token.address.lower(): token for token in tokens}
        self.depegged = next((t for s in DEPEG_SYMBOLS for t in tokens if t.symbol == s), None)
        self._depeg_row = (demo_day - timedelta(days=DEPEG_LEAD) - first).days
        noise = self._noise(0.7, *(f"close {token.symbol}" for token in self._tokens.values()))
        self._closes = {
            address: self._close_path(token, noise[:, i]) for i, (address, token) in enumerate(self._tokens.items())
        }
        self._by_cmc_id = {token.cmc_id: token for token in self._tokens.values() if token.cmc_id is not None}
        self._eth = self._eth_path()
        self._base_fee, self._tip = self._gas_paths()
        self._rate = self._rate_path()

    def _row(self, day: date) -> int:
        return min((day - self._first).days, self._days - 1)

    def _noise(self, memory: float, *names: str) -> npt.NDArray[np.float64]:
        """AR(1) noise of unit variance, shape (days, names); each column depends on its own name only."""
        shocks = np.column_stack([_rng(self._seed, name).standard_normal(self._days) for name in names])
        return wander(shocks, memory, np.zeros(len(names)))

    def _hourly_noise(self, name: str, memory: float) -> Vector:
        """Noise by the hour that remembers the hours before it within its day."""
        shocks = _rng(self._seed, name).standard_normal((24, self._days))
        return wander(shocks, memory, np.zeros(self._days)).T.ravel()

    def _close_path(self, token: Token, noise: Vector) -> Vector:
        rng = _rng(self._seed, f"growth {token.symbol}")
        if token.peg == "accruing":
            start, growth = rng.uniform(1.0, 1.12), rng.uniform(0.04, 0.08)
            path = start * (1 + growth) ** (np.arange(self._days) / 365) * (1 + 0.0002 * noise)
        else:
            path = 1 + (0.0004 if token.peg == "usd" else 0.01) * np.clip(noise, -4, 4)
        if self.depegged is not None and token.address == self.depegged.address and self._depeg_row >= 0:
            rows = slice(self._depeg_row, self._depeg_row + len(DEPEG_DEPTHS))
            path[rows] = np.array(DEPEG_DEPTHS)[: len(path[rows])] + 0.0005 * np.clip(noise[rows], -3, 3)
        return np.round(path, _DIGITS)

    def close_series(self, address: str, day: date) -> CloseSeries | None:
        """Closes of an approved token up to the day."""
        token = self._tokens.get(address)
        if token is None:
            return None
        closes = self._closes[address][: max(self._row(day) + 1, 0)]
        return CloseSeries(token.symbol, token.decimals, 0.99, self._first, closes)

    def coin(self, cmc_id: int, first: date, last: date) -> Coin | None:
        """CoinMarketCap bars of an approved token."""
        token = self._by_cmc_id.get(cmc_id)
        if token is None:
            return None
        close = self._closes[token.address.lower()]
        rng = _rng(self._seed, f"bars {token.symbol}")
        up, down, turnover, drift = (np.abs(rng.standard_normal(self._days)) for _ in range(4))
        cap = _SMALL_CAPS.get(token.symbol, _CAPS.get(token.symbol, 4e8))
        rows = range(max((first - self._first).days, 1), min((last - self._first).days, self._days - 1) + 1)
        bars = []
        for i in rows:
            day = self._first + timedelta(days=i)
            opened, closed = float(close[i - 1]), float(close[i])
            figures = (
                opened,
                round(max(opened, closed) * (1 + 0.0004 * float(up[i])), _DIGITS),
                round(min(opened, closed) * (1 - 0.0004 * float(down[i])), _DIGITS),
                closed,
                round(cap * (0.02 + 0.05 * float(turnover[i])), 2),
                round(cap * (1 + 0.002 * float(drift[i])), 2),
            )
            stamp = day.isoformat()
            bars.append(Bar(day, f"{stamp}T15:04:00.000Z", f"{stamp}T07:21:00.000Z", *figures))
        return Coin(cmc_id, token.symbol, token.symbol, bars)

    # --- ETH and gas -----------------------------------------------------------------------------------------------
    def _eth_path(self) -> Vector:
        return np.round(2_600 * np.exp(0.35 * self._noise(0.99, "eth")[:, 0]), 4)

    def _gas_paths(self) -> tuple[Vector, Vector]:
        """Base fee and tip by the hour: daily regimes, quiet nights (UTC mornings) and week-ends, hourly noise."""
        hours = 24 * self._days
        regime = np.repeat(np.exp(0.8 * self._noise(0.93, "gas regime")[:, 0]), 24)
        hour = np.arange(hours) % 24
        weekday = (np.arange(hours) // 24 + self._first.weekday()) % 7
        shape = (1 + 0.35 * np.cos(2 * np.pi * (hour - 15) / 24)) * np.where(weekday >= 5, 0.75, 1.0)
        base: Vector = 3.0 * regime * shape * np.exp(0.15 * self._hourly_noise("gas hour", 0.5))
        tip: Vector = 0.1 + 0.1 * np.abs(self._hourly_noise("gas tip", 0.3))
        return base.clip(min=0.05).round(6), tip.round(6)

    def gas_hours(self, hours: Sequence[datetime], day: date) -> list[GasHour]:
        """Fees of the asked hours; the ETH price is interpolated between the day's closes, never beyond the day."""
        rows = []
        for hour in hours:
            at = int((hour - start_of(self._first)).total_seconds()) // 3600
            if at < 0 or at >= len(self._base_fee):
                continue
            today, share = divmod(at, 24)
            closed = min(today, self._row(day))
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

    # --- macro -----------------------------------------------------------------------------------------------------
    def _rate_path(self) -> Vector:
        return np.round(4.4 + 0.5 * self._noise(0.995, "bill rate")[:, 0], 2)

    def observations(self, series_id: str, day: date) -> list[Observation] | None:
        """A rate of RATE_SPREADS (None: unknown series) on business days, released on the next one; no value on 1
        January and 25 December.
        """
        if series_id not in RATE_SPREADS:
            return None
        rows = []
        for i in range(self._row(day) + 1):
            observed = self._first + timedelta(days=i)
            if observed.weekday() >= 5:
                continue
            released = observed + timedelta(days=3 if observed.weekday() == 4 else 1)
            if released <= day:
                is_holiday = (observed.month, observed.day) in ((1, 1), (12, 25))
                rows.append(
                    Observation(
                        observed, None if is_holiday else f"{self._rate[i] + RATE_SPREADS[series_id]:.2f}", released
                    )
                )
        return rows
