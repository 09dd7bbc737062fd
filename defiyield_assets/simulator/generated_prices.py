"""Token prices and the macro series of the generated market, from a seed.

Lives here: closes and bars of approved tokens (one loses its peg around the demo day, others slip now and then), a bill
rate. Not here: gas and ETH (generated_gas.py), pools (generated_pools.py) or the wire format (vendor_answers.py). USD,
percent for the rate.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import numpy as np

from defiyield_assets.domain.policy import Token
from defiyield_assets.simulator.generated_paths import Vector, fading, heavy_tailed, stream, wander
from defiyield_assets.simulator.pool_panel import Matrix
from defiyield_assets.simulator.vendor_answers import Bar, CloseSeries, Coin, Observation, next_weekday

DEPEG_SYMBOLS = ("USD0", "GUSD", "USDP", "LUSD")
"""The first approved one loses its peg."""
DEPEG_DEPTHS = (0.985, 0.955, 0.935, 0.93, 0.931, 0.934, 0.94, 0.946, 0.955, 0.965, 0.975, 0.984, 0.991, 0.996)
"""Closes from `DEPEG_LEAD` days before the demo day on; afterwards the peg holds again."""
DEPEG_LEAD = 4
MONTHLY_RATE, MONTHLY_SPREAD = "FEDFUNDS", -0.07
"""A series of monthly means, released on the first weekday of the next month, and what is added to the bill rate."""
VOLATILITY = "VIXCLS"
"""A series that is the volatility index of the generated shares."""
RATE_SPREADS = {"DGS3MO": 0.0, "DGS10": -0.2, "T10Y3M": -4.6}
"""Generated FRED series and what is added to the bill rate, in percentage points."""
_SMALL_CAPS = {"GUSD": 21e6, "LUSD": 27e6}
_CAPS = {"USDT": 150e9, "USDC": 60e9, "DAI": 4.5e9, "USDe": 5.5e9, "PYUSD": 9e8, "GHO": 2.5e8, "USDP": 7e7}
_DIGITS = 8
_DEVIATION, _DRIFT_MEMORY = 0.0004, 0.98
"""Standard deviation of a close from par on quiet days (the median token), and the memory of its slow part."""
_SLIP_CHANCE, _SLIP_DEPTH, _DEEPEST_SLIP, _SLIP_KEEP, _UPWARD_SHARE = 1.5 / 365, 0.006, 0.05, 0.35, 0.25
"""Slips from par: chance a day, mean and greatest depth, what is left of one the next day, and how many go up."""
_CALM_DAYS = 45
"""Days up to the demo day without slips, so that the token that loses its peg is the only one in the icebox."""
_WICK, _WICK_SPREAD = 0.0005, 0.8
"""High above, and low below, open and close: median share, and spread of its logarithm."""
_LEAST_PRICE = 0.01


class GeneratedPrices:
    """All price and fee series over the market's whole life, made once."""

    def __init__(self, seed: int, tokens: Sequence[Token], demo_day: date, first: date, last: date) -> None:
        self._seed = seed
        self._first = first
        self._days = (last - first).days + 3
        self._tokens = {token.address.lower(): token for token in tokens}
        self.depegged = next((t for s in DEPEG_SYMBOLS for t in tokens if t.symbol == s), None)
        self._depeg_row = (demo_day - timedelta(days=DEPEG_LEAD) - first).days
        self._calm_rows = slice(max((demo_day - first).days - _CALM_DAYS, 0), max((demo_day - first).days + 1, 0))
        deviations = self._deviations()
        self._closes = {
            address: self._close_path(token, deviations[:, i])
            for i, (address, token) in enumerate(self._tokens.items())
        }
        self._by_cmc_id = {token.cmc_id: token for token in self._tokens.values() if token.cmc_id is not None}
        self._rate = self._rate_path()

    def _row(self, day: date) -> int:
        return min((day - self._first).days, self._days - 1)

    def _deviations(self) -> Matrix:
        """How far closes are from what the tokens stand for, shape (days, tokens): slow drifts, daily noise and rare
        slips that heal. Each column depends on its token's name only.
        """
        count, days = len(self._tokens), self._days
        drift, noise, slips = (np.empty((days, count)) for _ in range(3))
        scale = np.empty(count)
        for i, token in enumerate(self._tokens.values()):
            rng = stream(self._seed, f"close {token.symbol}")
            scale[i] = rng.lognormal(np.log(_DEVIATION), 0.4)
            drift[:, i] = rng.standard_normal(days)
            noise[:, i] = heavy_tailed(rng, (days,), 3)
            depths = np.minimum(rng.exponential(_SLIP_DEPTH, days), _DEEPEST_SLIP)
            begins, is_up = rng.random(days) < _SLIP_CHANCE, rng.random(days) < _UPWARD_SHARE
            begins[self._calm_rows] = False
            slips[:, i] = np.where(begins, np.where(is_up, 0.3 * depths, -depths), 0.0)
        nothing = np.zeros(count)
        path: Matrix = scale * (0.7 * wander(drift, _DRIFT_MEMORY, nothing) + 0.8 * noise)
        return path + fading(slips, np.full(count, _SLIP_KEEP), nothing)

    def _close_path(self, token: Token, deviation: Vector) -> Vector:
        rng = stream(self._seed, f"growth {token.symbol}")
        if token.peg == "accruing":
            start, growth = rng.uniform(1.0, 1.12), rng.uniform(0.04, 0.08)
            path = start * (1 + growth) ** (np.arange(self._days) / 365) * (1 + deviation)
        else:
            path = 1 + deviation * (1.0 if token.peg == "usd" else 20.0)
        if self.depegged is not None and token.address == self.depegged.address and self._depeg_row >= 0:
            rows = slice(self._depeg_row, self._depeg_row + len(DEPEG_DEPTHS))
            path[rows] = np.array(DEPEG_DEPTHS)[: len(path[rows])] + np.clip(deviation[rows], -0.001, 0.001)
        return np.round(path.clip(min=_LEAST_PRICE), _DIGITS)

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
        rng = stream(self._seed, f"bars {token.symbol}")
        up, down = (np.exp(_WICK_SPREAD * rng.standard_normal(self._days)) for _ in range(2))
        turnover, drift = (np.abs(rng.standard_normal(self._days)) for _ in range(2))
        cap = _SMALL_CAPS.get(token.symbol, _CAPS.get(token.symbol, 4e8))
        rows = range(max((first - self._first).days, 1), min((last - self._first).days, self._days - 1) + 1)
        bars = []
        for i in rows:
            day = self._first + timedelta(days=i)
            opened, closed = float(close[i - 1]), float(close[i])
            figures = (
                opened,
                round(max(opened, closed) * (1 + _WICK * float(up[i])), _DIGITS),
                round(min(opened, closed) * (1 - _WICK * float(down[i])), _DIGITS),
                closed,
                round(cap * (0.02 + 0.05 * float(turnover[i])), 2),
                round(cap * (1 + 0.002 * float(drift[i])), 2),
            )
            stamp = day.isoformat()
            bars.append(Bar(day, f"{stamp}T15:04:00.000Z", f"{stamp}T07:21:00.000Z", *figures))
        return Coin(cmc_id, token.symbol, token.symbol, bars)

    # --- macro -----------------------------------------------------------------------------------------------------
    def _rate_path(self) -> Vector:
        shocks = stream(self._seed, "bill rate").standard_normal((self._days, 1))
        path: Vector = 4.4 + 0.5 * wander(shocks, 0.995, np.zeros(1))[:, 0]
        rate: Vector = np.round(path, 2)
        return rate

    def observations(self, series_id: str, day: date) -> list[Observation] | None:
        """A rate of RATE_SPREADS (None: unknown series) on business days, released on the next one; no value on 1
        January and 25 December. `MONTHLY_RATE`: means of the months that are over.
        """
        if series_id == MONTHLY_RATE:
            return self._monthly(day)
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

    def _monthly(self, day: date) -> list[Observation]:
        rows: list[Observation] = []
        first = (self._first.replace(day=1) + timedelta(days=32)).replace(day=1)
        while True:
            following = (first + timedelta(days=32)).replace(day=1)
            released = next_weekday(following)
            if released > day:
                return rows
            mean = self._rate[self._row(first) : self._row(following)].mean() + MONTHLY_SPREAD
            rows.append(Observation(first, f"{mean:.2f}", released))
            first = following


def volatility_observations(index: Mapping[date, float], day: date) -> list[Observation]:
    """A volatility index as FRED tells it: each session's value on the next weekday."""
    rows = [
        Observation(session, f"{value:.2f}", next_weekday(session + timedelta(days=1)))
        for session, value in index.items()
    ]
    return [row for row in rows if row.known_since <= day]
