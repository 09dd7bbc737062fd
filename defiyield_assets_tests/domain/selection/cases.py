"""A small world for the tests of selection: a few tokens, two protocols, one good pool that each test spoils."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from defiyield_assets.domain.canonical import canonical_json, stable_address
from defiyield_assets.domain.days import market_stamp
from defiyield_assets.domain.policy import BarredToken, Parameters, Policy, Token, Wallet
from defiyield_assets.domain.pools.snapshot import POOL_COLUMNS
from defiyield_assets.domain.prices.curation import BAR_COLUMNS
from defiyield_assets.domain.selection.prefilter import prefilter_pools
from defiyield_assets.domain.selection.registry import build_token_registry

DAY = date(2025, 6, 2)
YESTERDAY = DAY - timedelta(days=1)


def token(symbol: str, **more: Any) -> Token:
    """An approved token with a made-up address."""
    facts = {"chain": "Ethereum", "address": stable_address("token", symbol), "decimals": 18, "issuer": symbol, **more}
    return Token(symbol=symbol, **facts)


USDC, DAI, CRVUSD = token("USDC"), token("DAI"), token("crvUSD")
SDAI = token("sDAI", peg="accruing")
OUSG = token("OUSG", peg="accruing", access="permissioned")
STKGHO = token("stkGHO", exit_days=20)
EURX = token("EURX", peg="other")
FRAX = token("FRAX")
WARM = Wallet("warm", 1, stable_address("wallet", "warm"), investable=True)


def policy(**more: Any) -> Policy:
    """The default policy; keyword arguments replace its fields, those of Parameters included."""
    names = set(Parameters.__dataclass_fields__)
    numbers = {name: value for name, value in more.items() if name in names}
    base = Policy(
        parameters=Parameters(**numbers),
        tokens=(USDC, DAI, CRVUSD, SDAI, OUSG, STKGHO, EURX, FRAX),
        protocols=("aave-v3", "curve-dex", "morpho-v1"),
        blacklist=(BarredToken("FRAX", "Ethereum", FRAX.address), BarredToken("USDD", "Ethereum")),
        protocol_aliases={"morpho-blue": "morpho-v1"},
        wallets=(WARM,),
    )
    return replace(base, **{name: value for name, value in more.items() if name not in names})


def pool(pool_id: str = "p", tokens: tuple[Token, ...] = (USDC,), **changes: Any) -> dict[str, Any]:
    """A row of `pools` that passes every rule."""
    row = dict.fromkeys(POOL_COLUMNS) | {
        "snapshot_date": DAY,
        "pool_id": pool_id,
        "chain": "Ethereum",
        "project": "aave-v3",
        "symbol": "-".join(item.symbol for item in tokens),
        "tvl_usd": 1_000_000.0,
        "total_supply_usd": np.nan,
        "total_borrow_usd": np.nan,
        "apy": 0.05,
        "apy_base": 0.05,
        "apy_reward": np.nan,
        "exposure": "single" if len(tokens) == 1 else "multi",
        "underlying_addresses_json": canonical_json([item.address for item in tokens]),
        "reward_tokens_json": "[]",
        "observed_at": market_stamp(DAY),
        "is_stale": False,
    }
    return row | changes


def pools(*rows: Mapping[str, Any]) -> pd.DataFrame:
    """The `pools` slice of the day."""
    frame = pd.DataFrame(list(rows), columns=list(POOL_COLUMNS))
    return frame.astype({"tvl_usd": float, "total_supply_usd": float, "total_borrow_usd": float, "apy": float})


def bar(item: Token, day: date = DAY, close: float = 1.0, **more: Any) -> dict[str, Any]:
    """One `daily_bars` row; a bar without open, high and low unless they are named."""
    row = dict.fromkeys(BAR_COLUMNS) | {
        "instrument_id": item.instrument_id,
        "date": day,
        "close": close,
        "adj_factor": 1.0,
        "market_cap_usd": 1e9,
        "source": "defillama_coins",
        "quality": "close_only",
    }
    return row | more


def bars(*rows: Mapping[str, Any]) -> pd.DataFrame:
    """A `daily_bars` frame."""
    frame = pd.DataFrame(list(rows), columns=list(BAR_COLUMNS))
    numbers = ["open", "high", "low", "close", "market_cap_usd", "volume_usd", "volume_units", "adj_factor"]
    return frame.astype(dict.fromkeys(numbers, float))


CAPS = bars(*(bar(item) for item in policy().tokens))


def judged(
    *rows: Mapping[str, Any], rules: Policy | None = None, caps: pd.DataFrame = CAPS, **more: Any
) -> pd.DataFrame:
    """The pre-filter's table for some pools, by pool id."""
    rules = rules or policy()
    today = pools(*rows)
    frame = prefilter_pools(today, build_token_registry(today, rules, DAY), caps, rules, DAY, **more)
    return frame.set_index("pool_id", drop=False)
