"""Every token that a pool of the day names, with what we think of it.

Lives here: the verdict on tokens. Not here: the verdict on pools (prefilter.py, final.py) or on prices (icebox.py).
"""

import json
from collections import Counter
from datetime import date

import pandas as pd

from defiyield_assets.domain.policy import Policy
from defiyield_assets.domain.selection.lists import barred_addresses, is_blacklisted

REGISTRY_COLUMNS = (
    "date",
    "chain",
    "address",
    "instrument_id",
    "symbol",
    "decimals",
    "issuer",
    "peg",
    "is_rebasing",
    "access",
    "exit_days",
    "coingecko_id",
    "cmc_id",
    "verdict",
    "n_pools",
)


def build_token_registry(pools: pd.DataFrame, policy: Policy, day: date) -> pd.DataFrame:
    """The `token_registry` slice of a day, keyed (chain, address).

    Holds every token that a pool of the day names, and every token of our own lists even when no pool names it,
    because prices are needed for those too. Addresses decide: a symbol of the vendor is never read. A blacklisted
    address is `blacklisted` even when it is on the approved list; so is an approved token whose own symbol equals a
    blacklist row without address. Everything else is `unknown`.
    """
    tokens = policy.token_by_address()
    barred = barred_addresses(policy)
    counts: Counter[tuple[str, str]] = Counter(dict.fromkeys([*tokens, *barred], 0))
    if len(pools):
        today = pools[pools["snapshot_date"] == day]
        for chain, text in zip(today["chain"], today["underlying_addresses_json"], strict=True):
            counts.update((chain, address) for address in set(json.loads(text)))
    rows = []
    for (chain, address), n_pools in sorted(counts.items()):
        token = tokens.get((chain, address))
        is_barred = (chain, address) in barred or (token is not None and is_blacklisted(policy, token))
        verdict = "blacklisted" if is_barred else "approved" if token else "unknown"
        rows.append(
            (
                day,
                chain,
                address,
                f"{chain.lower()}:{address}",
                *(
                    (token.symbol, token.decimals, token.issuer, token.peg, token.rebasing, token.access)
                    if token
                    else (None,) * 6
                ),
                *((token.exit_days, token.coingecko_id, token.cmc_id) if token else (None,) * 3),
                verdict,
                n_pools,
            )
        )
    return pd.DataFrame(rows, columns=list(REGISTRY_COLUMNS), dtype=object).astype({"n_pools": int})
