"""Shares and funds of the generated market, from a seed: raw sessions with dividends and splits, reported quarters.

Lives here: a market factor with calm and stormy months, shares that follow it each in its own way, the volatility index
of that factor. Not here: the records (share_records.py), coins (generated_coins.py) or wire formats
(alpha_vantage_answers.py). A share is made when it is first asked for, from streams of its own; every session rests on
those before it only.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import date, timedelta
from functools import cached_property

import numpy as np

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.prices.calendars import sessions
from defiyield_assets.domain.prices.instruments import Instrument
from defiyield_assets.simulator.generated_paths import Vector, heavy_tailed, stream, wander
from defiyield_assets.simulator.share_records import Quarter, ShareHistory
from defiyield_assets.simulator.vendor_answers import next_weekday

SESSIONS_A_YEAR = 252
DESIGNED_SPLIT = 4.0
"""New shares for an old one that the first company gives `SPLIT_AFTER` sessions after the demo day."""
SPLIT_AFTER, DIVIDEND_AFTER, HALT_BEFORE = 3, 2, 8
"""Sessions from the demo day: to the first company's split, the second one's dividend, and before it the day on which
the third one is not traded."""
_FACTOR_VOL, _FACTOR_DRIFT = 0.16, 0.09
_STORM_MEMORY, _STORM_SPREAD = 0.97, 0.3
"""The factor's volatility resembles itself for weeks; spread of its logarithm."""
_OWN_VOL, _OWN_VOL_SPREAD, _BETA_SPREAD = 0.21, 0.35, 0.25
_FUND_OWN_VOL = 0.01
_OVERNIGHT = 0.3
"""Share of a day's variance that happens before the open."""
_WICK = 0.35
"""Mean reach of high and low beyond open and close, in daily volatilities."""
_SPLIT_CHANCE, _SPLITS = 1 / (8 * SESSIONS_A_YEAR), (2.0, 3.0, 4.0, 10.0)
_SPLIT_ABOVE, _REVERSE_BELOW, _REVERSE = 60.0, 4.0, 0.1
"""Nobody splits a share that is cheaper; one that has become a penny stock is put together."""
_PAYERS, _DIVIDEND_SESSIONS = 0.75, 63
_QUARTERS = ((3, 31), (6, 30), (9, 30), (12, 31))
_SURPRISE, _REACTION = 0.06, 0.6
"""Spread of earnings over estimates as a fraction, and the jump of the price for one."""
_LEAST_PRICE = 0.05


class GeneratedShares:
    """Every instrument with an Alpha Vantage symbol, each made when it is first asked for."""

    def __init__(self, seed: int, instruments: Sequence[Instrument], demo_day: date, first: date, last: date) -> None:
        self._seed = seed
        self._demo_day = demo_day
        self._first, self._last = first, last
        self._by_symbol = {one.alpha_vantage_symbol: one for one in instruments if one.alpha_vantage_symbol}
        self._companies = [symbol for symbol, one in self._by_symbol.items() if one.type == "equity"]
        self._benchmarks = {one.benchmark for one in instruments}
        self._made: dict[str, ShareHistory] = {}
        self._reported: dict[str, list[Quarter]] = {}

    # --- the factor ------------------------------------------------------------------------------------------------
    @cached_property
    def sessions(self) -> tuple[date, ...]:
        """Every session of the New York exchange in the market's life."""
        return tuple(sessions("XNYS", DayRange(self._first, self._last)))

    @cached_property
    def _storm(self) -> Vector:
        """The factor's daily volatility."""
        shocks = stream(self._seed, "share storms").standard_normal((len(self.sessions), 1))
        level = _STORM_SPREAD * wander(shocks, _STORM_MEMORY, np.zeros(1))[:, 0]
        storm: Vector = _FACTOR_VOL / np.sqrt(SESSIONS_A_YEAR) * np.exp(level - _STORM_SPREAD**2)
        return storm

    @cached_property
    def _factor(self) -> Vector:
        """The factor's daily logarithmic return."""
        rng = stream(self._seed, "share factor")
        returns: Vector = _FACTOR_DRIFT / SESSIONS_A_YEAR + self._storm * rng.standard_normal(len(self.sessions))
        return returns

    def volatility_index(self, day: date) -> dict[date, float]:
        """The factor's volatility of a year in percent and a little more, by session up to the day."""
        noise = stream(self._seed, "share fear").standard_normal(len(self.sessions))
        level = 100 * np.sqrt(SESSIONS_A_YEAR) * self._storm * 1.15 * np.exp(0.05 * noise)
        return {
            session: round(float(value), 2)
            for session, value in zip(self.sessions, np.maximum(level, 9.0), strict=True)
            if session <= day
        }

    def _place(self, offset: int) -> int:
        """The place of the session that many sessions after the last one up to the demo day."""
        return bisect_right(self.sessions, self._demo_day) - 1 + offset

    # --- shares ----------------------------------------------------------------------------------------------------
    def share(self, symbol: str, day: date) -> ShareHistory | None:
        """Sessions of a share up to the day; None: unknown symbol."""
        if symbol not in self._by_symbol:
            return None
        if symbol not in self._made:
            self._made[symbol] = self._listed(self._path(symbol), self._by_symbol[symbol])
        return self._made[symbol].until(day)

    def _listed(self, share: ShareHistory, instrument: Instrument) -> ShareHistory:
        """Without the sessions on which it was not listed, or not traded."""
        is_halted = share.symbol in self._companies[2:3]
        halted = self.sessions[self._place(-HALT_BEFORE)] if is_halted else None
        kept = [i for i, day in enumerate(share.sessions) if instrument.is_listed(day) and day != halted]
        return share.kept(np.array(kept, dtype=np.intp))

    def _returns(self, symbol: str) -> tuple[Vector, float]:
        """Daily logarithmic returns of one share before dividends and splits, and its usual daily volatility."""
        instrument, rng, days = self._by_symbol[symbol], stream(self._seed, f"share {symbol}"), len(self.sessions)
        is_company = instrument.type == "equity"
        beta = float(np.clip(rng.normal(1.0, _BETA_SPREAD), 0.3, 1.9))
        own = float(_OWN_VOL * np.exp(_OWN_VOL_SPREAD * rng.standard_normal())) / np.sqrt(SESSIONS_A_YEAR)
        if not is_company:
            beta = 1.0 if instrument.instrument_id in self._benchmarks else beta
            own = _FUND_OWN_VOL / np.sqrt(SESSIONS_A_YEAR)
        returns = beta * self._factor + own * heavy_tailed(rng, (days,), 3)
        for quarter in self._quarters(symbol) if is_company else ():
            # A report after the close moves the next session.
            at = (bisect_left if quarter.is_before_open else bisect_right)(self.sessions, quarter.reported)
            if at < days and quarter.estimate:
                returns[at] += float(np.clip(_REACTION * (quarter.eps / quarter.estimate - 1), -0.15, 0.15))
        return returns, float(np.hypot(beta * _FACTOR_VOL / np.sqrt(SESSIONS_A_YEAR), own))

    def _events(self, symbol: str) -> tuple[Vector, Vector]:
        """Split coefficients, and dividends as fractions of the close before, by session."""
        instrument, days = self._by_symbol[symbol], len(self.sessions)
        rng = stream(self._seed, f"events {symbol}")
        splits, yields = np.ones(days), np.zeros(days)
        if instrument.type == "equity":
            drawn = rng.choice(_SPLITS, days)
            splits = np.where(rng.random(days) < _SPLIT_CHANCE, drawn, splits)
        quarterly = rng.uniform(0.002, 0.009)
        if instrument.type == "etf" or rng.random() < _PAYERS or symbol in self._companies[1:2]:
            yields[int(rng.integers(1, _DIVIDEND_SESSIONS)) :: _DIVIDEND_SESSIONS] = quarterly
        if symbol in self._companies[:1]:
            near = slice(max(self._place(-3 * _DIVIDEND_SESSIONS), 0), self._place(3 * _DIVIDEND_SESSIONS))
            splits[near] = 1.0
            splits[self._place(SPLIT_AFTER)] = DESIGNED_SPLIT
        if symbol in self._companies[1:2]:
            yields[:] = 0.0
            yields[self._place(DIVIDEND_AFTER) % _DIVIDEND_SESSIONS :: _DIVIDEND_SESSIONS] = quarterly
        if symbol in self._companies[2:3]:
            halted = self._place(-HALT_BEFORE)
            splits[halted], yields[halted] = 1.0, 0.0
        return splits, yields

    def _path(self, symbol: str) -> ShareHistory:
        """All sessions of the market's life, in cents."""
        rng, days = stream(self._seed, f"bars {symbol}"), len(self.sessions)
        returns, usual = self._returns(symbol)
        splits, yields = self._events(symbol)
        overnight = usual * np.sqrt(_OVERNIGHT) * rng.standard_normal(days)
        dividends, opens, closes = np.zeros(days), np.empty(days), np.empty(days)
        designed = self._place(SPLIT_AFTER) if symbol in self._companies[:1] else None
        before = float(np.round(120 * np.exp(0.6 * rng.standard_normal()), 2))
        for i in range(days):
            if before < _SPLIT_ABOVE and i != designed:
                splits[i] = _REVERSE if before < _REVERSE_BELOW else 1.0
            dividends[i] = round(before * yields[i], 2) if i else 0.0
            start = (before - dividends[i]) / splits[i]
            opens[i] = max(round(start * np.exp(min(max(overnight[i], -0.2), 0.2)), 2), _LEAST_PRICE)
            before = closes[i] = max(round(start * np.exp(returns[i]), 2), _LEAST_PRICE)
        reach = np.exp(usual * _WICK * np.abs(rng.standard_normal((2, days))))
        high = np.maximum(np.round(np.maximum(opens, closes) * reach[0], 2), np.maximum(opens, closes))
        low = np.minimum(np.round(np.minimum(opens, closes) / reach[1], 2), np.minimum(opens, closes)).clip(min=0.01)
        turnover = float(np.exp(19.5 + rng.standard_normal()))
        crowd = np.exp(0.35 * rng.standard_normal(days) + 0.5 * np.minimum(np.abs(returns) / usual, 6.0))
        return ShareHistory(
            symbol, self.sessions, opens, high, low, closes, np.ceil(turnover * crowd / closes), dividends, splits
        )

    # --- earnings --------------------------------------------------------------------------------------------------
    def quarters(self, symbol: str, day: date) -> list[Quarter] | None:
        """Quarters reported up to the day, ascending; None: no company of that symbol."""
        if symbol not in self._companies:
            return None
        return [one for one in self._quarters(symbol) if one.reported <= day]

    def _quarters(self, symbol: str) -> list[Quarter]:
        if symbol not in self._reported:
            self._reported[symbol] = self._made_quarters(symbol)
        return self._reported[symbol]

    def _made_quarters(self, symbol: str) -> list[Quarter]:
        """Quarters of the market's life, reported three to seven weeks after their end; the oldest without estimate."""
        rng = stream(self._seed, f"earnings {symbol}")
        eps, growth, is_before_open = rng.uniform(0.4, 3.0), rng.normal(0.02, 0.02), bool(rng.random() < 0.5)
        found: list[Quarter] = []
        for year in range(self._first.year - 1, self._last.year + 1):
            for month, last_day in _QUARTERS:
                ends = date(year, month, last_day)
                reported = next_weekday(ends + timedelta(days=int(rng.integers(20, 50))))
                estimate = round(float(eps), 2)
                told = round(estimate * (1 + _SURPRISE * float(heavy_tailed(rng, (1,), 2)[0])), 2)
                found.append(Quarter(ends, reported, told, estimate if found else None, is_before_open))
                eps *= 1 + growth + 0.05 * rng.standard_normal()
        return found
