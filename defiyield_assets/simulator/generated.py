"""The generated market: thousands of pools, prices, gas and a treasury from one seed, answered as the vendors would.

Lives here: what the parts make together. Not here: the parts (generated_catalogue.py, generated_crowd.py,
generated_pools.py, generated_prices.py, generated_gas.py, generated_genesis.py, generated_coins.py,
generated_shares.py, generated_news.py), what both markets share (market.py) or
HTTP (wire.py). How believable it is: docs/explanation/simulated-market.md.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from defiyield_assets.domain.policy import GasUnits, PoolAlias, PoolOverride, Token, Wallet
from defiyield_assets.domain.prices.instruments import Instrument
from defiyield_assets.simulator.chain import SimulatedChain
from defiyield_assets.simulator.chain_records import ChainPool, pool_on_chain
from defiyield_assets.simulator.generated_catalogue import CatalogueBuilder, unapproved_protocol
from defiyield_assets.simulator.generated_character import Catalogue, PoolCharacter
from defiyield_assets.simulator.generated_coins import GeneratedCoins
from defiyield_assets.simulator.generated_gas import GeneratedGas
from defiyield_assets.simulator.generated_genesis import HELD, generated_genesis
from defiyield_assets.simulator.generated_news import GeneratedNews
from defiyield_assets.simulator.generated_pools import GeneratedPools
from defiyield_assets.simulator.generated_prices import VOLATILITY, GeneratedPrices, volatility_observations
from defiyield_assets.simulator.generated_shares import GeneratedShares
from defiyield_assets.simulator.market import Market, at_hour, ethereum_tokens
from defiyield_assets.simulator.news_records import NewsPost
from defiyield_assets.simulator.pendle_records import PendleMarket
from defiyield_assets.simulator.share_records import Quarter, ShareHistory
from defiyield_assets.simulator.vendor_answers import CloseSeries, Coin, GasHour, Observation

DEMO_DAY = date(2025, 6, 3)
_HISTORY_FROM = date(2023, 10, 1)


class GeneratedMarket(Market):
    """Answers any day from 2024 on for five years; the same seed and lists give the same answers in any process."""

    name = "simulated"
    knows_all_caps = True
    first_day = date(2024, 1, 1)
    last_day = date(2028, 12, 31)

    def __init__(
        self,
        seed: int,
        chain_path: Path,
        wallets: Sequence[Wallet],
        tokens: Sequence[Token],
        protocols: Sequence[str],
        *,
        instruments: Sequence[Instrument] = (),
        demo_day: date = DEMO_DAY,
        gas_units: GasUnits | None = None,
        n_pools: int | None = None,
    ) -> None:
        """`tokens`, `protocols`: the approved lists, around which the designed pools are built; `instruments`: coins
        and shares of the market universe. Nothing is made yet.

        `n_pools` makes a smaller market, a world of its own: so many designed pools with those held, and no crowd.
        """
        self.demo_day = demo_day
        self._n_pools = n_pools
        self._seed = seed
        self._chain_path = chain_path
        self._wallets = tuple(wallets)
        self._by_address = ethereum_tokens(tokens)
        self._protocols = tuple(protocols)
        self._gas_units = gas_units or GasUnits()
        self.instruments = tuple(instruments)

    # --- parts, each made once -------------------------------------------------------------------------------------
    @cached_property
    def _catalogue(self) -> Catalogue:
        by_symbol = {token.symbol: token for token in self._by_address.values()}
        builder = CatalogueBuilder(self._seed, self.demo_day, _HISTORY_FROM, self.last_day, by_symbol)
        catalogue = builder.build(self._protocols)
        if self._n_pools is None:
            return catalogue
        return catalogue.cut_to(self._n_pools, set(self._names_of_held().values()))

    @cached_property
    def _pools(self) -> GeneratedPools:
        return GeneratedPools(self._seed, self._catalogue.pools, _HISTORY_FROM)

    @cached_property
    def _prices(self) -> GeneratedPrices:
        tokens = list(self._by_address.values())
        return GeneratedPrices(self._seed, tokens, self.demo_day, _HISTORY_FROM, self.last_day)

    @cached_property
    def _gas(self) -> GeneratedGas:
        return GeneratedGas(self._seed, _HISTORY_FROM, (self.last_day - _HISTORY_FROM).days + 3)

    @cached_property
    def _coins(self) -> GeneratedCoins:
        return GeneratedCoins(self._seed, self.instruments, _HISTORY_FROM, self._gas.ether_closes)

    @cached_property
    def _shares(self) -> GeneratedShares:
        return GeneratedShares(self._seed, self.instruments, self.demo_day, _HISTORY_FROM, self.last_day)

    @cached_property
    def _news(self) -> GeneratedNews:
        return GeneratedNews(self._seed, self._coins, _HISTORY_FROM)

    @cached_property
    def chain(self) -> SimulatedChain:
        """The chain in `chain_path`, with the treasury's history before the demo day."""
        world = self._world(self._wallets, self._by_address, self._gas_units)
        named = {name: world.pools[pool.facts.pool_id] for name, pool in self.held_pools().items()}
        genesis = generated_genesis(self.demo_day, self._wallets, world, named)
        return self._chain(self._chain_path, world, genesis, self._apy_on)

    def _apy_on(self, pool_id: str, day: date) -> float | None:
        return self._pools.panel(day).apy_on(pool_id, day)

    # --- the policy's side -----------------------------------------------------------------------------------------
    def pool_overrides(self) -> tuple[PoolOverride, ...]:
        """Roles of the designed pools, and maturity, access or exit days where the demo shows them."""
        found = []
        for pool in self._catalogue.pools:
            if pool.override is not None:
                ids = [one for one in (pool.facts.pool_id, pool.facts.id_before) if one is not None]
                found += [replace(pool.override, pool_id=one) for one in ids]
        return tuple(sorted(found, key=lambda override: override.pool_id))

    def pool_aliases(self) -> tuple[PoolAlias, ...]:
        """Every pool that goes on under another id, with the day from which it does."""
        facts = [pool.facts for pool in self._catalogue.pools]
        found = [
            PoolAlias(fact.id_before, fact.pool_id, fact.moved_since, source=f"{self.name} market")
            for fact in facts
            if fact.id_before is not None and fact.moved_since is not None
        ]
        return tuple(sorted(found, key=lambda alias: alias.old_id))

    def pendle_markets(self, day: date) -> tuple[PendleMarket, ...]:
        """Markets that were open by the day, matured ones included."""
        return tuple(market for market in self._catalogue.pendle if market.opened <= day)

    def held_pools(self) -> dict[str, PoolCharacter]:
        """The pools that the treasury holds at the demo day, by the names of the genesis."""
        named = self._catalogue.named
        return {name: named[key] for name, key in self._names_of_held().items() if key in named}

    def _names_of_held(self) -> dict[str, str]:
        """Names of the genesis and of the catalogue."""
        must_exit = f"{unapproved_protocol(self._protocols)}/USDC"
        return {name: must_exit if name == "must exit" else name for name, _ in HELD}

    def _chain_pools(self) -> list[ChainPool]:
        return [
            pool_on_chain(
                pool.facts.pool_id,
                pool.role or "vault",
                [self._by_address[address] for address in pool.facts.underlyings or ()],
                label=pool.facts.symbol,
                project=pool.facts.project,
            )
            for pool in self._catalogue.pools
            if pool.is_on_chain
        ]

    # --- the vendors' side -----------------------------------------------------------------------------------------
    def pool_rows(self, day: date) -> list[dict[str, Any]]:
        """Every pool that lives on the day, stale ones with their last point."""
        return self._pools.panel(day).pool_rows(day)

    def chart_points(self, pool_id: str, day: date) -> list[dict[str, Any]] | None:
        """The pool's points up to the day."""
        return self._pools.panel(day).chart_points(pool_id, day)

    def lend_borrow_rows(self, day: date) -> list[dict[str, Any]]:
        """Supply and borrow of the lending pools."""
        return self._pools.panel(day).lend_borrow_rows(day)

    def lend_borrow_points(self, pool_id: str, day: date) -> list[dict[str, Any]] | None:
        """Supply, borrow and both rates of the pool up to the day."""
        return self._pools.panel(day).lend_borrow_points(pool_id, day)

    def close_series(self, address: str, day: date) -> CloseSeries | None:
        """Closes of an approved token."""
        return self._prices.close_series(address, day)

    def coin(self, cmc_id: int, first: date, last: date) -> Coin | None:
        """Bars of an approved token, or of a coin of the universe, with a CoinMarketCap id."""
        token = self._prices.coin(cmc_id, first, last)
        if token is not None:
            return token
        instrument = self._coins.with_cmc_id(cmc_id)
        return None if instrument is None else self._coins.coin(instrument, first, last)

    def universe_coin(self, instrument: Instrument, first: date, last: date) -> Coin | None:
        """Bars of a coin of the universe."""
        return self._coins.coin(instrument, first, last) if instrument.type == "crypto" else None

    def share(self, symbol: str, day: date) -> ShareHistory | None:
        """Sessions of a share or fund of the universe."""
        return self._shares.share(symbol, day)

    def quarters(self, symbol: str, day: date) -> list[Quarter] | None:
        """Reported quarters of a company of the universe."""
        return self._shares.quarters(symbol, day)

    def news(self, day: date) -> Sequence[NewsPost]:
        """Posts about coins of the universe, about what their prices did before and about nothing at all."""
        return self._news.posts(day)

    def gas_hours(self, hours: Sequence[datetime], day: date) -> list[GasHour]:
        """Base fee and effective prices by the hour."""
        return self._gas.gas_hours(hours, day)

    def observations(self, series_id: str, day: date) -> list[Observation] | None:
        """One of the generated rates, or the volatility of the generated shares; None for every other series."""
        if series_id == VOLATILITY:
            return volatility_observations(self._shares.volatility_index(day), day)
        return self._prices.observations(series_id, day)

    def _gas_price_wei(self, day: date) -> int:
        return self._gas.gas_price_wei(at_hour(day, 1))
