"""Coins of the market universe on the generated market, from a seed: daily bars with capitalisations.

Lives here: a factor that all coins share and each coin's own ways. Not here: dollar tokens (generated_prices.py), the
price of ETH (generated_gas.py), shares (generated_shares.py) or wire formats. USD. A coin is made when it is first
asked for, from streams of its own; every day rests on those before it only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import numpy as np

from defiyield_assets.domain.prices.instruments import Instrument
from defiyield_assets.simulator.generated_paths import Vector, heavy_tailed, stream, wander
from defiyield_assets.simulator.vendor_answers import Bar, Coin

DAYS_A_YEAR = 365
_FACTOR_VOL, _STORM_MEMORY, _STORM_SPREAD = 0.55, 0.97, 0.35
_OWN_VOL, _OWN_VOL_SPREAD, _BETA, _BETA_SPREAD = 0.5, 0.25, 1.1, 0.15
_LEADER_BETA, _LEADER_OWN_VOL = 0.9, 0.15
"""The coin that others are measured against is mostly the factor itself."""
_WICK = 0.3
_DIGITS = 8
_STARTS = {
    **{"BTC": (28_000.0, 19.5e6), "ETH": (2_600.0, 120e6), "BNB": (215.0, 150e6), "XRP": (0.52, 54e9)},
    **{"ADA": (0.26, 35e9), "SOL": (23.0, 430e6), "DOGE": (0.06, 142e9), "TRX": (0.09, 89e9), "LTC": (65.0, 74e6)},
    **{"LINK": (7.5, 560e6), "AVAX": (9.3, 370e6), "SHIB": (7.3e-6, 589e12), "DOT": (4.0, 1.3e9)},
    "MATIC": (0.53, 9.3e9),
}
"""Price at the market's beginning and supply of coins that people know; others draw theirs."""
_MOST = {"BTC": 21e6, "LTC": 84e6, "XRP": 100e9, "ADA": 45e9, "LINK": 1e9}
"""Coins of which there will never be more."""


@dataclass(frozen=True)
class _Path:
    """A coin's days over the market's life."""

    open: Vector
    high: Vector
    low: Vector
    close: Vector
    volume: Vector
    supply: float


class GeneratedCoins:
    """Every instrument of type crypto, each made when it is first asked for. `ether`: closes of ETH by day."""

    def __init__(self, seed: int, instruments: Sequence[Instrument], first: date, ether: Vector) -> None:
        self._seed = seed
        self._first, self._days = first, len(ether)
        self._ether = ether
        self.instruments = tuple(one for one in instruments if one.type == "crypto")
        self._benchmarks = {one.benchmark for one in instruments}
        self._by_cmc_id = {one.cmc_id: one for one in self.instruments if one.cmc_id is not None}
        self._made: dict[str, _Path] = {}

    def with_cmc_id(self, cmc_id: int) -> Instrument | None:
        """The coin of a CoinMarketCap id."""
        return self._by_cmc_id.get(cmc_id)

    @cached_property
    def _factor(self) -> Vector:
        """What all coins share: a daily logarithmic return, calm and stormy for weeks."""
        rng = stream(self._seed, "coin factor")
        level = _STORM_SPREAD * wander(rng.standard_normal((self._days, 1)), _STORM_MEMORY, np.zeros(1))[:, 0]
        storm = _FACTOR_VOL / np.sqrt(DAYS_A_YEAR) * np.exp(level - _STORM_SPREAD**2)
        factor: Vector = 0.1 / DAYS_A_YEAR + storm * heavy_tailed(rng, (self._days,), 2)
        return factor

    def _closes(self, coin: Instrument, start: float) -> Vector:
        if coin.symbol == "ETH":
            return self._ether
        rng = stream(self._seed, f"coin {coin.symbol}")
        beta = float(np.clip(rng.normal(_BETA, _BETA_SPREAD), 0.6, 1.6))
        own = float(_OWN_VOL * np.exp(_OWN_VOL_SPREAD * rng.standard_normal()))
        if coin.instrument_id in self._benchmarks:
            beta, own = _LEADER_BETA, _LEADER_OWN_VOL
        returns = beta * self._factor + own / np.sqrt(DAYS_A_YEAR) * heavy_tailed(rng, (self._days,), 2)
        return _rounded(start * np.exp(np.cumsum(returns)))

    def _path(self, coin: Instrument) -> _Path:
        if coin.symbol in self._made:
            return self._made[coin.symbol]
        rng = stream(self._seed, f"coin bars {coin.symbol}")
        drawn = (float(np.exp(2 * rng.standard_normal())), float(np.exp(20 + rng.standard_normal())))
        start, supply = _STARTS.get(coin.symbol, drawn)
        close = self._closes(coin, start)
        opened = np.concatenate([close[:1], close[:-1]])
        moved = np.abs(np.log(close / opened))
        reach = np.exp(_WICK * (moved.mean() + moved) * np.abs(rng.standard_normal((2, self._days))))
        high = np.maximum(_rounded(np.maximum(opened, close) * reach[0]), np.maximum(opened, close))
        low = np.minimum(_rounded(np.minimum(opened, close) / reach[1]), np.minimum(opened, close))
        turnover = 0.01 * np.exp(0.4 * rng.standard_normal(self._days)) + 0.5 * moved
        self._made[coin.symbol] = _Path(opened, high, low, close, np.round(close * supply * turnover, 2), supply)
        return self._made[coin.symbol]

    def coin(self, instrument: Instrument, first: date, last: date) -> Coin:
        """Bars of the days on which the coin was listed."""
        path = self._path(instrument)
        rows = range(max((first - self._first).days, 1), min((last - self._first).days, self._days - 1) + 1)
        bars = []
        for i in rows:
            day = self._first + timedelta(days=i)
            if not instrument.is_listed(day):
                continue
            stamp = day.isoformat()
            prices = (float(path.open[i]), float(path.high[i]), float(path.low[i]), float(path.close[i]))
            cap = round(prices[3] * path.supply, 2)
            times = (f"{stamp}T15:04:00.000Z", f"{stamp}T07:21:00.000Z")
            bars.append(Bar(day, *times, *prices, float(path.volume[i]), cap))
        name = instrument.name or instrument.symbol
        return Coin(instrument.cmc_id or 0, name, instrument.symbol, bars, _MOST.get(instrument.symbol))


def _rounded(prices: Vector) -> Vector:
    """Prices of `_DIGITS` significant digits, however small they are."""
    scale = 10.0 ** (_DIGITS - 1 - np.floor(np.log10(prices)))
    found: Vector = np.round(prices * scale) / scale
    return found
