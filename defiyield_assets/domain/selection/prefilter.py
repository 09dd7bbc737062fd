"""The pre-filter: which pools could be used at all, before any costly history is fetched.

Lives here: the rules on protocol, chain, tokens, role, access, exit, maturity and size. Not here: forecasts, icebox,
data quality (final.py), or the words of the reasons (reasons.py).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pandas as pd

from defiyield_assets.domain.canonical import canonical_json
from defiyield_assets.domain.policy import DOLLAR_ROLES, Policy, PoolOverride, Token
from defiyield_assets.domain.prices.curation import latest_market_caps
from defiyield_assets.domain.selection.lists import barred_symbols, overrides_in_force, permissions
from defiyield_assets.domain.selection.reasons import PREFILTER, PREFILTER_WARNINGS, WORDS, codes_of, words_of
from defiyield_assets.domain.selection.resolvers import PENDLE, maturity_in

PREFILTER_COLUMNS = (
    "date",
    "pool_id",
    "is_passed",
    "reason_codes",
    "warning_codes",
    "reasons",
    "chain",
    "protocol",
    "symbol",
    "role",
    "underlying_addresses_json",
    "underlying_symbols",
    "size_usd",
    "is_size_lower_bound",
    "exit_days",
    "maturity",
)
DOLLAR_PEGS = ("usd", "accruing")


@dataclass(frozen=True)
class PoolFacts:
    """One pool as the rules see it, overrides applied."""

    pool_id: str
    chain: str
    protocol: str
    symbol: str
    role: str
    addresses: tuple[str, ...]
    size_usd: float | None
    is_size_lower_bound: bool
    exit_days: int
    maturity: date | None
    access: str | None
    has_apy: bool
    is_stale: bool


@dataclass(frozen=True)
class Lists:
    """What the rules look things up in."""

    policy: Policy
    day: date
    tokens: Mapping[tuple[str, str], Token]
    verdicts: Mapping[tuple[str, str], str]
    barred_symbols: frozenset[tuple[str, str]]
    market_caps: Mapping[str, float]
    permitted: frozenset[str]
    reserves: Mapping[str, tuple[float, ...]]
    resolved: Mapping[str, tuple[tuple[str, ...], date | None]]


Say = Callable[..., None]


def prefilter_pools(
    pools: pd.DataFrame,
    registry: pd.DataFrame,
    bars: pd.DataFrame,
    policy: Policy,
    day: date,
    *,
    aliases: Mapping[str, str] | None = None,
    reserves: Mapping[str, tuple[float, ...]] | None = None,
    markets: pd.DataFrame | None = None,
    resolved: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The `prefiltered_pools` slice of a day: every pool of the snapshot with its verdict and all reasons, not only
    the first.

    `registry`: the day's `token_registry`. `bars`: `daily_bars` of the last week, for market capitalisations;
    `markets`: capitalisations among `observations` of the same days, which stand in where bars tell none.
    `resolved`: `resolved_underlyings` of the day, for pools whose vendor names no token, and for maturities that no
    override states; where neither does, the day named in the pool's remark or symbol counts. A Pendle pool without
    any maturity is out, since it may mature tomorrow.
    `aliases`: old pool id -> today's, applied to the overrides. `reserves`: USD value of each token in a pool, where
    known. A pool override in force wins for role, underlyings, maturity, access and days to leave. Without one, a
    pool of several tokens (or of exposure `multi`) is `liquidity`; a single token is `lend` where supply and borrow
    are known, else `vault`. The size is the supply where known, else the TVL, which is then a lower bound. Addresses
    decide, with one exception: a blacklist row without an address bars a pool when one part of the pool's symbol,
    split at '-', equals it exactly.
    """
    if pools.empty:
        return pd.DataFrame(columns=list(PREFILTER_COLUMNS))
    lists = Lists(
        policy,
        day,
        policy.token_by_address(),
        dict(zip(zip(registry["chain"], registry["address"], strict=True), registry["verdict"], strict=True)),
        barred_symbols(policy),
        latest_market_caps(bars, day, markets=markets),
        permissions(policy),
        reserves or {},
        _resolutions(resolved, day),
    )
    overrides = overrides_in_force(policy.pool_overrides, day, aliases)
    today = pools[pools["snapshot_date"] == day]
    rows = [
        _judge(_facts(row, overrides.get(row["pool_id"], PoolOverride(row["pool_id"])), lists), lists)
        for row in today.to_dict("records")
    ]
    frame = pd.DataFrame(rows, columns=list(PREFILTER_COLUMNS))
    flags = {"is_passed": bool, "is_size_lower_bound": bool, "exit_days": int, "size_usd": float}
    return frame.astype(flags).sort_values("pool_id").reset_index(drop=True)


def _facts(row: Mapping[Any, Any], override: PoolOverride, lists: Lists) -> PoolFacts:
    found, maturity = lists.resolved.get(row["pool_id"], ((), None))
    listed = override.underlying_addresses or tuple(json.loads(row["underlying_addresses_json"])) or found
    addresses = tuple(address.lower() for address in listed)
    supply, tvl = _known(row["total_supply_usd"]), _known(row["tvl_usd"])
    tokens = [lists.tokens[key] for address in addresses if (key := (row["chain"], address)) in lists.tokens]
    slowest = max((token.exit_days for token in tokens), default=0)
    return PoolFacts(
        pool_id=row["pool_id"],
        chain=row["chain"],
        protocol=lists.policy.protocol_of(row["project"]),
        symbol=row["symbol"],
        role=override.role or _role(row["exposure"], addresses, has_legs=supply is not None),
        addresses=addresses,
        size_usd=tvl if supply is None else supply,
        is_size_lower_bound=supply is None,
        exit_days=slowest if override.exit_days is None else override.exit_days,
        maturity=override.maturity or maturity or maturity_in(row["pool_meta"]) or maturity_in(row["symbol"]),
        access=override.access,
        has_apy=_known(row["apy"]) is not None,
        is_stale=bool(row["is_stale"]),
    )


def _resolutions(resolved: pd.DataFrame | None, day: date) -> dict[str, tuple[tuple[str, ...], date | None]]:
    """Pool -> underlying addresses and maturity, as the day's resolvers found them."""
    if resolved is None or resolved.empty:
        return {}
    found: dict[str, tuple[tuple[str, ...], date | None]] = {}
    for row in resolved[resolved["date"] == day].to_dict("records"):
        addresses, maturity = found.get(row["pool_id"], ((), None))
        stated = None if pd.isna(row["maturity"]) else row["maturity"]
        found[row["pool_id"]] = ((*addresses, row["address"]), maturity or stated)
    return found


def _role(exposure: str | None, addresses: tuple[str, ...], *, has_legs: bool) -> str:
    if exposure == "multi" or len(addresses) > 1:
        return "liquidity"
    return "lend" if has_legs else "vault"


def _judge(pool: PoolFacts, lists: Lists) -> tuple[object, ...]:
    """The row of one pool."""
    found: dict[str, str] = {}

    def say(code: str, **details: object) -> None:
        found[code] = WORDS[code].format(**details)

    _judge_pool(pool, lists, say)
    _judge_tokens(pool, lists, say)
    _judge_access(pool, lists, say)
    symbols = [_name(lists, pool.chain, address) for address in pool.addresses]
    barring = {code: text for code, text in found.items() if code in PREFILTER}
    doubts = {code: text for code, text in found.items() if code in PREFILTER_WARNINGS}
    return (
        lists.day,
        pool.pool_id,
        not barring,
        codes_of(barring),
        codes_of(doubts),
        words_of(found),
        pool.chain,
        pool.protocol,
        pool.symbol,
        pool.role,
        canonical_json(list(pool.addresses)),
        "+".join(symbols),
        pool.size_usd,
        pool.is_size_lower_bound,
        pool.exit_days,
        pool.maturity,
    )


def _judge_pool(pool: PoolFacts, lists: Lists, say: Say) -> None:
    """Protocol, chain, role, exit, maturity, size, freshness."""
    limits = lists.policy.parameters
    if pool.protocol not in lists.policy.protocols:
        say("PROTOCOL_NOT_APPROVED", protocol=pool.protocol)
    if pool.chain not in limits.chains:
        say("CHAIN_NOT_ALLOWED", chain=pool.chain)
    if pool.role not in DOLLAR_ROLES:
        say("NOT_A_DOLLAR_POOL", why=f"its role is {pool.role}")
    if pool.exit_days > limits.max_exit_days:
        say("EXIT_TOO_SLOW", days=pool.exit_days, limit=limits.max_exit_days)
    if pool.maturity is not None and pool.maturity <= lists.day + timedelta(days=limits.horizon_days):
        say("MATURES_WITHIN_HORIZON", maturity=pool.maturity, horizon=limits.horizon_days)
    if pool.maturity is None and pool.protocol == PENDLE:
        say("NO_MATURITY")
    if pool.size_usd is None:
        say("SIZE_UNKNOWN")
    elif pool.size_usd < limits.pool_tvl_min_usd:
        say("TOO_SMALL", size=pool.size_usd, minimum=limits.pool_tvl_min_usd)
    reserves = lists.reserves.get(pool.pool_id, ())
    if len(reserves) == 2 and sum(reserves) > 0:
        share, low, high = min(reserves) / sum(reserves), limits.pair_reserve_ratio_min, limits.pair_reserve_ratio_max
        if not low <= share <= high:
            say("RESERVES_UNBALANCED", share=share, low=low, high=high)
    if pool.is_stale:
        say("STALE")
    if not pool.has_apy:
        say("NO_APY")


def _judge_tokens(pool: PoolFacts, lists: Lists, say: Say) -> None:
    """Every underlying: known, approved, not barred, pegged, large enough."""
    if not pool.addresses:
        say("NO_UNDERLYING")
    keys = [(pool.chain, address) for address in pool.addresses]
    barred = [_name(lists, *key) for key in keys if lists.verdicts.get(key) == "blacklisted"]
    barred += sorted(
        {part for part in pool.symbol.split("-") if (pool.chain, part) in lists.barred_symbols} - set(barred)
    )
    unknown = [_name(lists, *key) for key in keys if key not in lists.tokens]
    approved = [lists.tokens[key] for key in keys if key in lists.tokens]
    unpegged = [token.symbol for token in approved if token.peg not in DOLLAR_PEGS]
    minimum = lists.policy.parameters.token_market_cap_min_usd
    caps = {token.symbol: lists.market_caps.get(token.instrument_id) for token in approved}
    small = [symbol for symbol, cap in caps.items() if cap is not None and cap < minimum]
    unsized = [symbol for symbol, cap in caps.items() if cap is None]
    if barred:
        say("TOKEN_BLACKLISTED", tokens=", ".join(barred))
    if unknown:
        say("TOKEN_NOT_APPROVED", tokens=", ".join(unknown))
    if unpegged and pool.role in DOLLAR_ROLES:
        say("NOT_A_DOLLAR_POOL", why=f"{', '.join(unpegged)} follows no dollar")
    if small:
        say("MARKET_CAP_TOO_SMALL", minimum=minimum, tokens=", ".join(small))
    if unsized:
        say("NO_MARKET_CAP", tokens=", ".join(unsized))


def _judge_access(pool: PoolFacts, lists: Lists, say: Say) -> None:
    """A pool's own access, where an override states it, else that of its tokens."""
    if pool.access == "permissioned" and pool.pool_id not in lists.permitted:
        say("ACCESS_RESTRICTED", tokens="the pool")
    elif pool.access is None:
        tokens = [lists.tokens[key] for address in pool.addresses if (key := (pool.chain, address)) in lists.tokens]
        closed = [token.symbol for token in tokens if token.access != "open" and token.address not in lists.permitted]
        if closed:
            say("ACCESS_RESTRICTED", tokens=", ".join(closed))


def _name(lists: Lists, chain: str, address: str) -> str:
    """Our symbol of a token, or its address: a claimed symbol is never shown as if it were ours."""
    token = lists.tokens.get((chain, address))
    return token.symbol if token else address


def _known(value: object) -> float | None:
    return None if value is None or pd.isna(value) else float(value)  # type: ignore[arg-type, call-overload]
