"""What a report is made of: the tables of one day and the names of tokens and wallets.

Lives here: the input type and how things are called in print. Not here: figures as text (formats.py) or what is said
(content.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pandas as pd

from defiyield_assets.domain.reporting.formats import clean, is_missing, short_id

NATIVE_TOKEN = "native"  # noqa: S105 - a token address, not a secret


@dataclass(frozen=True)
class TokenLabel:
    """How an approved token is called and divided."""

    symbol: str
    decimals: int


@dataclass(frozen=True)
class ReportInputs:
    """The day's tables, each a frame with the columns of its table in store/schema; empty frames are fine.

    `allocation_runs`, `allocations`, `allocation_steps` and `allocation_limits` of the day's plan; `eligible_pools`,
    `prefiltered_pools`, `icebox`, `icebox_events`, `yield_attribution`, `forecast_scores`, `forecast_scoreboard` of the
    day; `nav_daily` of the day and the day before; `unexplained_transactions` of the day; `decided_runs` is the row of
    `allocation_runs` of the day before when its plan was published: the day's earnings follow it. `outcomes` are the
    day's `asset_outcomes`. Of `forecast_scores` the champions' rows suffice. `tokens` maps lower-case addresses to
    labels, `wallets` lower-case addresses to names. `market` is the name of the market (live, simulated, recorded) as
    the reader has to know it.
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
    tokens: Mapping[str, TokenLabel] = field(default_factory=dict)
    wallets: Mapping[str, str] = field(default_factory=dict)
    market: str = ""


@dataclass(frozen=True)
class Names:
    """Print names of pools, tokens and wallets."""

    pools: Mapping[str, str]
    tokens: Mapping[str, TokenLabel]
    wallets: Mapping[str, str]

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
            place = "" if is_missing(chain) or chain == "Ethereum" else f" ({clean(chain, 24)})"
            names[str(pool_id)] = f"{clean(symbol, 32)} · {clean(protocol, 32)}{place}"
    seen: dict[str, int] = {}
    for name in names.values():
        seen[name] = seen.get(name, 0) + 1
    labels = {pool_id: name if seen[name] == 1 else f"{name} #{short_id(pool_id)}" for pool_id, name in names.items()}
    return Names(labels, inputs.tokens, inputs.wallets)
