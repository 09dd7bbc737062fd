"""Underlying tokens and maturities of pools whose vendor names none, from sources that do.

Lives here: which pools are worth asking about, and when a source's word is good enough. Not here: asking (sources),
what the pre-filter makes of it (prefilter.py). A list is whole or it is not there: a pool of several tokens is never
resolved to one of them.
"""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

import pandas as pd

from defiyield_assets.domain.policy import Policy
from defiyield_assets.domain.selection.lists import overrides_in_force

RESOLVED_COLUMNS = ("date", "pool_id", "address", "resolver", "evidence", "maturity")
WANTED_COLUMNS = ("pool_id", "protocol", "symbol", "pool_meta", "exposure", "contract", "is_unnamed")
PENDLE = "pendle"
PENDLE_MAP, FREQUENCY = "pendle_market_map", "most_frequent_token"
CHAIN_IDS = {"Ethereum": 1}
"""Chains that the resolvers know, as DeFiLlama spells them."""
MIN_SHARE = 0.6
"""Of an address's newest transfers, the share that its most frequent token must hold to be called the underlying."""
MIN_TRANSFERS = 20
"""Fewer transfers than this say nothing about a pool."""
_MATURITY = re.compile(r"(?<!\d)(\d{1,2})(JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)(\d{4})(?!\d)")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def pools_to_resolve(
    pools: pd.DataFrame, policy: Policy, day: date, aliases: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """The day's pools that a resolver could help into the pre-filter (columns `WANTED_COLUMNS`), sorted by id.

    Protocol approved, chain allowed and known here, large enough, not stale, and no override that names the
    underlyings; `is_unnamed` where the vendor names none. Of Pendle also those with underlyings, for their maturity.
    `contract` is the address of `pool_contracts`, where there is one.
    """
    limits = policy.parameters
    overrides = overrides_in_force(policy.pool_overrides, day, aliases)
    contracts = {
        (aliases or {}).get(contract.pool_id, contract.pool_id): contract.contract
        for contract in policy.pool_contracts
        if contract.chain_id in CHAIN_IDS.values()
    }
    rows = []
    today = pools[pools["snapshot_date"] == day] if len(pools) else pools
    for row in today.to_dict("records"):
        protocol, override = policy.protocol_of(row["project"]), overrides.get(row["pool_id"])
        size = row["tvl_usd"] if pd.isna(row["total_supply_usd"]) else row["total_supply_usd"]
        could_pass = (
            protocol in policy.protocols
            and row["chain"] in limits.chains
            and row["chain"] in CHAIN_IDS
            and not row["is_stale"]
            and not pd.isna(size)
            and size >= limits.pool_tvl_min_usd
        )
        is_unnamed = row["underlying_addresses_json"] == "[]"
        is_told = override is not None and bool(override.underlying_addresses)
        if could_pass and not is_told and (is_unnamed or protocol == PENDLE):
            contract = contracts.get(row["pool_id"])
            named = (row["pool_id"], protocol, row["symbol"], row["pool_meta"], row["exposure"])
            rows.append((*named, contract, is_unnamed))
    return pd.DataFrame(rows, columns=list(WANTED_COLUMNS)).sort_values("pool_id", ignore_index=True)


def maturity_in(text: str | None) -> date | None:
    """The day in a remark such as `For LP | Maturity 26MAR2026`; None without one, with two, or when it is no day."""
    found = set(_MATURITY.findall(text.upper())) if isinstance(text, str) else set()
    if len(found) != 1:
        return None
    day, month, year = found.pop()
    try:
        return date(int(year), _MONTHS.index(month) + 1, int(day))
    except ValueError:
        return None


def resolve_by_pendle(wanted: pd.DataFrame, markets: pd.DataFrame, day: date) -> pd.DataFrame:
    """`resolved_underlyings` of Pendle pools, from the rows of `pendle_markets` of the day.

    A pool is the market whose address is its contract, else the only market of its symbol (letter case aside) and of
    the maturity in its remark. Two such markets, or one without an underlying on this chain, resolve nothing.
    """
    rows = []
    for pool in wanted[wanted["protocol"] == PENDLE].to_dict("records"):
        found, how = _market_of(pool, markets)
        if found is None or not isinstance(found["underlying"], str):
            continue
        evidence = f"market {found['market']} ({found['name']}, matures {found['expiry']}) {how}"
        rows.append((day, pool["pool_id"], found["underlying"], PENDLE_MAP, evidence, found["expiry"]))
    return pd.DataFrame(rows, columns=list(RESOLVED_COLUMNS), dtype=object)


def _market_of(pool: Mapping[Any, Any], markets: pd.DataFrame) -> tuple[Mapping[Any, Any] | None, str]:
    """The one market that a pool is, and how that is known."""
    by_address = markets[markets["market"] == pool["contract"]] if isinstance(pool["contract"], str) else markets[:0]
    if len(by_address) == 1:
        return by_address.to_dict("records")[0], "has the address of the pool's contract"
    expiry = maturity_in(pool["pool_meta"])
    if expiry is None or markets.empty:
        return None, ""
    is_named = markets["name"].str.casefold() == str(pool["symbol"]).casefold()
    by_name = markets[is_named & (markets["expiry"] == expiry)]
    if len(by_name) != 1:
        return None, ""
    return by_name.to_dict("records")[0], "is the only one of this name and maturity"


def addresses_to_ask(wanted: pd.DataFrame) -> dict[str, str]:
    """Pool -> contract of the pools that the most frequent token of their address may resolve.

    Only single-token pools of other protocols than Pendle whose vendor names no token and whose contract we know: a
    pool of several tokens has no one most frequent token.
    """
    is_single = (wanted["exposure"] != "multi") & ~wanted["symbol"].str.contains("-", regex=False)
    asked = wanted[is_single & wanted["is_unnamed"].astype(bool) & (wanted["protocol"] != PENDLE)]
    asked = asked[asked["contract"].notna()]
    return dict(zip(asked["pool_id"], asked["contract"], strict=True))


def resolve_by_frequency(pool_id: str, shares: pd.DataFrame, day: date) -> pd.DataFrame:
    """`resolved_underlyings` of one pool from its address's newest transfers (token_address, n_transfers, share).

    The most frequent token is the underlying when it was moved in at least `MIN_SHARE` of at least `MIN_TRANSFERS`
    transfers; otherwise nothing is.
    """
    empty = pd.DataFrame(columns=list(RESOLVED_COLUMNS), dtype=object)
    total = int(shares["n_transfers"].sum()) if len(shares) else 0
    if total < MIN_TRANSFERS or float(shares["share"].iloc[0]) < MIN_SHARE:
        return empty
    top = shares.iloc[0]
    evidence = (
        f"in {int(top['n_transfers'])} of the newest {total} transfers of the pool's address ({top['share']:.0%})"
    )
    row = (day, pool_id, str(top["token_address"]), FREQUENCY, evidence, None)
    return pd.DataFrame([row], columns=list(RESOLVED_COLUMNS), dtype=object)
