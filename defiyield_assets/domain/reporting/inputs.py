"""What a report is made of: the tables of one day and the names of tokens and wallets.

Lives here: the input type and how things are called in print. Not here: figures as text (formats.py) or what is said
(content.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

import pandas as pd

from defiyield_assets.domain.reporting.formats import UNKNOWN, clean, is_missing, short_id
from defiyield_assets.domain.reporting.layout import Link
from defiyield_assets.domain.reporting.links import pool_url, token_url, transaction_url, wallet_url

NATIVE_TOKEN = "native"  # noqa: S105 - a token address, not a secret
ETHEREUM = "Ethereum"
"""The chain that the explorer shows, as DeFiLlama spells it."""


@dataclass(frozen=True)
class TokenLabel:
    """How an approved token is called and divided."""

    symbol: str
    decimals: int


@dataclass(frozen=True)
class JudgedCheck:
    """A rule about the day's tables that was judged again for the report: what broke it, nothing when it holds."""

    name: str
    violations: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportInputs:
    """The day's tables, each a frame with the columns of its table in store/schema; empty frames are fine.

    `allocation_runs`, `allocations`, `allocation_steps` and `allocation_limits` of the day's plan; `eligible_pools`,
    `prefiltered_pools`, `icebox`, `icebox_events`, `yield_attribution`, `forecast_scores`, `forecast_scoreboard` of the
    day; `nav_daily` of the days up to the day that are to be shown, the day before at least;
    `unexplained_transactions` of the day; `decided_runs` is the row of `allocation_runs` of the day before when its
    plan was published: the day's earnings follow it. `outcomes` are the day's `asset_outcomes`. Of `forecast_scores`
    the champions' rows suffice. `pool_forecasts` of the day (target apy) and `gas_forecasts` of the day go on from
    `pool_histories` (columns pool_id, date, apy, as known at the day's cutoff) and `gas_fees_daily` (one source a
    day). `pool_quality` of the day. `prices` are the day's closes by token address. `newest_days` says of each source,
    by its name in print, up to which day it is known (None: never told), `checks` what was judged of the day.
    `tokens` maps lower-case addresses to labels, `wallets` lower-case addresses to names. `market` is the name of the
    market (live, simulated, recorded) as the reader has to know it. What is dated later than the day is left out by
    the sections, whoever hands it in.
    """

    day: date
    allocation_runs: pd.DataFrame
    allocations: pd.DataFrame
    allocation_steps: pd.DataFrame
    eligible_pools: pd.DataFrame
    prefiltered_pools: pd.DataFrame
    icebox: pd.DataFrame
    icebox_events: pd.DataFrame
    nav_daily: pd.DataFrame
    yield_attribution: pd.DataFrame
    outcomes: pd.DataFrame
    forecast_scores: pd.DataFrame
    forecast_scoreboard: pd.DataFrame
    allocation_limits: pd.DataFrame = field(default_factory=pd.DataFrame)
    unexplained_transactions: pd.DataFrame = field(default_factory=pd.DataFrame)
    decided_runs: pd.DataFrame = field(default_factory=pd.DataFrame)
    pool_forecasts: pd.DataFrame = field(default_factory=pd.DataFrame)
    pool_histories: pd.DataFrame = field(default_factory=pd.DataFrame)
    gas_forecasts: pd.DataFrame = field(default_factory=pd.DataFrame)
    gas_fees_daily: pd.DataFrame = field(default_factory=pd.DataFrame)
    pool_quality: pd.DataFrame = field(default_factory=pd.DataFrame)
    prices: Mapping[str, Decimal] = field(default_factory=dict)
    newest_days: Mapping[str, date | None] = field(default_factory=dict)
    checks: tuple[JudgedCheck, ...] = ()
    tokens: Mapping[str, TokenLabel] = field(default_factory=dict)
    wallets: Mapping[str, str] = field(default_factory=dict)
    market: str = ""


@dataclass(frozen=True)
class Names:
    """Print names of pools, tokens and wallets, with where they are looked at on the web."""

    pools: Mapping[str, str]
    tokens: Mapping[str, TokenLabel]
    wallets: Mapping[str, str]
    market: str = ""

    def pool_link(self, pool_id: Any, remark: str = "") -> str:
        """The pool's name, a remark behind it, as a cell that leads to its page, where it has one."""
        return _linked(self.pool(pool_id) + remark, pool_url(self.market, pool_id))

    def token_link(self, address: Any, words: str | None = None, chain: Any = ETHEREUM) -> str:
        """The token's name, or other words on it, as a cell that leads to the explorer, where that knows it."""
        url = token_url(self.market, address) if chain == ETHEREUM else ""
        return _linked(self.token(address) if words is None else words, url)

    def wallet_link(self, address: Any) -> str:
        """The wallet's name as a cell that leads to the explorer, on a live market."""
        return _linked(self.wallet(address), wallet_url(self.market, address))

    def transaction_link(self, tx_hash: Any, chain_id: Any) -> str:
        """The transaction's hash as a cell that leads to the explorer, on a live market and on Ethereum."""
        url = transaction_url(self.market, tx_hash) if chain_id == 1 else ""
        return _linked(clean(tx_hash, 80), url)

    def pool(self, pool_id: Any) -> str:
        """`symbol · protocol` where it is known, otherwise the shortened id."""
        return self.pools.get(str(pool_id), short_id(pool_id))

    def token(self, address: Any) -> str:
        """Our symbol of an approved token, otherwise the shortened address; never a symbol that the token claims."""
        known = self.tokens.get(str(address))
        if known is not None:
            return clean(known.symbol, 24)
        return "ETH" if str(address) == NATIVE_TOKEN else short_id(address)

    def wallet(self, address: Any) -> str:
        """The wallet's name, otherwise its shortened address."""
        return clean(self.wallets.get(str(address), short_id(address)), 40)

    def decimals(self, address: Any) -> int | None:
        """Decimals of an approved token, None for others."""
        known = self.tokens.get(str(address))
        return None if known is None else known.decimals


def collect_names(inputs: ReportInputs) -> Names:
    """Names of every pool that the pre-filter or the final filter knows; equal names get the start of their id."""
    names: dict[str, str] = {}
    for frame in (inputs.prefiltered_pools, inputs.eligible_pools):
        columns = (frame[name] for name in ("pool_id", "symbol", "protocol", "chain"))
        for pool_id, symbol, protocol, chain in zip(*columns, strict=True):
            place = "" if is_missing(chain) or chain == ETHEREUM else f" ({clean(chain, 24)})"
            names[str(pool_id)] = f"{clean(symbol, 32)} · {clean(protocol, 32)}{place}"
    seen: dict[str, int] = {}
    for name in names.values():
        seen[name] = seen.get(name, 0) + 1
    labels = {pool_id: name if seen[name] == 1 else f"{name} #{short_id(pool_id)}" for pool_id, name in names.items()}
    return Names(labels, inputs.tokens, inputs.wallets, inputs.market)


def _linked(words: str, url: str) -> str:
    return Link(words, url) if url and words != UNKNOWN else words
