"""The recorded market: real DeFiLlama, CoinMarketCap and gas data of a folder, answered as the vendors would have.

Lives here: what is known as of a day and which chain the treasury starts with. Not here: the files (recorded_files.py,
layout in docs/how-to/recorded-data.md), what both markets share (market.py) or HTTP (wire.py).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from defiyield_assets.domain.days import utc_day
from defiyield_assets.domain.policy import GasUnits, PoolOverride, Token, Wallet
from defiyield_assets.domain.prices.instruments import Instrument
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.simulator import chain_transactions as tx
from defiyield_assets.simulator import recorded_files as files
from defiyield_assets.simulator.chain import SimulatedChain
from defiyield_assets.simulator.chain_records import ChainPool, Transaction, pool_on_chain
from defiyield_assets.simulator.market import GWEI, Market, at_hour, ethereum_tokens, investable_wallet, token_named
from defiyield_assets.simulator.pool_panel import PoolPanel
from defiyield_assets.simulator.vendor_answers import Bar, CloseSeries, Coin, GasHour, Observation

CAPITAL_USDC = 1_000_000 * 10**6
CAPITAL_WEI = 2 * 10**18
_VAULT_ROLES = ("vault", "staking")


def _day_of(bar: Bar) -> date:
    return bar.day


class RecordedMarket(Market):
    """Answers any day of the recorded panel; the chain starts with 1,000,000 USDC and 2 ETH to invest."""

    name = "recorded"
    first_day = date(2024, 6, 6)
    last_day = date(2025, 6, 5)
    absent_vendors = frozenset({"alpha_vantage", "cryptopanic"})

    def __init__(
        self,
        folder: Path,
        chain_path: Path,
        wallets: Sequence[Wallet],
        tokens: Sequence[Token],
        protocol_aliases: Mapping[str, str] | None = None,
        *,
        instruments: Sequence[Instrument] = (),
        gas_units: GasUnits | None = None,
    ) -> None:
        """`folder`: recorded data; `tokens`: the approved list; `instruments`: the market universe, of which the
        recorded coins are answered for. Files are read when first asked for.

        `protocol_aliases` is accepted for symmetry with the policy: protocols are answered as they were recorded.
        """
        if not folder.is_dir():
            raise ConfigurationError(f"{files.VARIABLE} names no folder: {folder}")
        self._folder = folder
        self._chain_path = chain_path
        self._wallets = tuple(wallets)
        self._tokens = tuple(tokens)
        self._by_address = ethereum_tokens(tokens)
        self._aliases = dict(protocol_aliases or {})
        self._gas_units = gas_units or GasUnits()
        self.instruments = tuple(instruments)

    # --- files, each read once -------------------------------------------------------------------------------------
    @cached_property
    def _panel_and_series(self) -> tuple[tuple[files.Series, ...], PoolPanel]:
        by_symbol = {token.symbol.lower(): token for token in self._by_address.values()}
        return files.read_panel(self._folder, by_symbol)

    @property
    def _panel(self) -> PoolPanel:
        return self._panel_and_series[1]

    @cached_property
    def _bars(self) -> dict[int, list[Bar]]:
        return files.read_cmc_bars(self._folder)

    @cached_property
    def _coin_bars(self) -> dict[str, list[Bar]]:
        symbols = [one.symbol for one in self.instruments if one.type == "crypto"]
        return files.read_coin_bars(self._folder, symbols)

    @cached_property
    def _eth_closes(self) -> dict[date, float]:
        return files.read_eth_closes(self._folder)

    @cached_property
    def _gas_prices(self) -> dict[date, int]:
        return files.read_gas_prices(self._folder)

    # --- the policy's side -----------------------------------------------------------------------------------------
    def pool_overrides(self) -> tuple[PoolOverride, ...]:
        """Role, underlying, maturity and exit days of every series, from the reference list and the series' names."""
        return tuple(sorted((one.override for one in self._panel_and_series[0]), key=lambda one: one.pool_id))

    def _chain_pools(self) -> list[ChainPool]:
        return [
            pool_on_chain(
                one.pool_id,
                "vault" if one.role in _VAULT_ROLES else "lend",
                [self._by_address[address] for address in one.underlyings],
                label=one.symbol,
                project=one.project,
            )
            for one in self._panel_and_series[0]
            if one.underlyings is not None
        ]

    @cached_property
    def chain(self) -> SimulatedChain:
        """The chain in `chain_path`, founded on the market's first day."""
        world = self._world(self._wallets, self._by_address, self._gas_units)
        return self._chain(self._chain_path, world, self._genesis(), self._panel.apy_on)

    def _genesis(self) -> list[Transaction]:
        warm = investable_wallet(self._wallets).address.lower()
        usdc = token_named(self._tokens, "USDC")
        return [
            tx.send_ether(at_hour(self.first_day, 9), tx.OUTSIDE, warm, CAPITAL_WEI),
            tx.send_tokens(at_hour(self.first_day, 9, 1), tx.OUTSIDE, warm, (usdc, CAPITAL_USDC)),
        ]

    # --- the vendors' side -----------------------------------------------------------------------------------------
    def pool_rows(self, day: date) -> list[dict[str, Any]]:
        """Every series with a point on the day or, stale and stamped so, at most seven days before."""
        return self._panel.pool_rows(day)

    def chart_points(self, pool_id: str, day: date) -> list[dict[str, Any]] | None:
        """The recorded points up to the day."""
        return self._panel.chart_points(pool_id, day)

    def lend_borrow_rows(self, day: date) -> list[dict[str, Any]]:
        """Nothing: the panel was recorded without supply and borrow."""
        return self._panel.lend_borrow_rows(day)

    def lend_borrow_points(self, pool_id: str, day: date) -> list[dict[str, Any]] | None:
        """The recorded rates up to the day, without supply and borrow."""
        return self._panel.lend_borrow_points(pool_id, day)

    def close_series(self, address: str, day: date) -> CloseSeries | None:
        """Recorded closes where there are bars, else 1.00 with confidence 0; None for tokens off the approved list."""
        token = self._by_address.get(address)
        if token is None:
            return None
        bars = self._bars.get(files.CMC_IDS.get(token.symbol, 0))
        if bars is None:
            first = self.first_day - timedelta(days=365)
            return CloseSeries(token.symbol, token.decimals, 0.0, first, np.ones((day - first).days + 1))
        first, known = bars[0].day, (day - bars[0].day).days + 1
        closes = np.array([bar.close for bar in bars[: max(known, 0)]])
        return CloseSeries(token.symbol, token.decimals, 0.99, first, closes)

    def coin(self, cmc_id: int, first: date, last: date) -> Coin | None:
        """Bars of USDT, USDC and DAI and of the recorded coins of the universe; None for every other id."""
        bars = self._bars.get(cmc_id)
        if bars is None:
            known = next((one for one in self.instruments if one.cmc_id == cmc_id), None)
            return None if known is None else self.universe_coin(known, first, last)
        symbol = next(symbol for symbol, known in files.CMC_IDS.items() if known == cmc_id)
        return Coin(cmc_id, symbol, symbol, [bar for bar in bars if first <= bar.day <= last])

    def universe_coin(self, instrument: Instrument, first: date, last: date) -> Coin | None:
        """Recorded bars of a coin of the universe, holes as they are; its capitalisation is not known (0)."""
        bars = self._coin_bars.get(instrument.symbol) if instrument.type == "crypto" else None
        if bars is None:
            return None
        name = instrument.name or instrument.symbol
        kept = bars[bisect_left(bars, first, key=_day_of) : bisect_right(bars, last, key=_day_of)]
        return Coin(instrument.cmc_id or 0, name, instrument.symbol, kept)

    def gas_hours(self, hours: Sequence[datetime], day: date) -> list[GasHour]:
        """The day's average gas price for each of its hours; the hour after midnight still tells the day before."""
        rows = []
        for hour in hours:
            told = min(utc_day(hour), day)
            gwei = self._gas_price_wei(told) / GWEI
            rows.append(GasHour(hour, None, gwei, gwei, gwei, self._eth_closes.get(told)))
        return rows

    def observations(self, series_id: str, day: date) -> list[Observation] | None:
        """A recorded FRED export; releases are assumed one day after the observed day or month."""
        known = files.read_observations(self._folder, series_id)
        return None if known is None else [one for one in known if one.known_since <= day]

    def _gas_price_wei(self, day: date) -> int:
        if day not in self._gas_prices:
            raise ConfigurationError(f"the recorded gas prices in {self._folder} do not reach {day}")
        return self._gas_prices[day]
