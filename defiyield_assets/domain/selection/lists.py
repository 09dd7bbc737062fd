"""The policy's lists as they stand on a day: overrides in force, barred symbols, permissions, and their snapshots.

Lives here: reading the lists and freezing them into `policy_snapshot` and `allocation_snapshot`. Not here: loading
them from files (config/loader.py) or judging pools (prefilter.py, final.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from datetime import date

import pandas as pd

from defiyield_assets.domain.canonical import canonical_json, content_hash
from defiyield_assets.domain.policy import Policy, PoolOverride, Token
from defiyield_assets.domain.policy_codec import policy_hash, policy_to_json

POLICY_SNAPSHOT_COLUMNS = ("date", "policy_hash", "policy_json", "n_tokens", "n_protocols", "n_overrides")
ALLOCATION_SNAPSHOT_COLUMNS = (
    "date",
    "allocation_hash",
    "policy_hash",
    "allowed_tokens_json",
    "barred_tokens_json",
    "parameters_json",
)


def overrides_in_force(
    overrides: Iterable[PoolOverride], day: date, aliases: Mapping[str, str] | None = None
) -> dict[str, PoolOverride]:
    """Pool id (today's) -> what the overrides in force on `day` say of it; `since` and `until` are inclusive.

    Of several overrides of one pool the one with the latest `since` speaks last, field by field, so that a newer word
    on the maturity leaves an older word on the role standing; at equal dates the later entry wins.
    """
    known = [
        override
        for override in overrides
        if (override.since is None or override.since <= day) and (override.until is None or day <= override.until)
    ]
    merged: dict[str, PoolOverride] = {}
    for override in sorted(known, key=lambda item: item.since or date.min):
        pool_id = (aliases or {}).get(override.pool_id, override.pool_id)
        said = {
            field.name: getattr(override, field.name)
            for field in fields(override)
            if field.name != "pool_id" and getattr(override, field.name) is not None
        }
        merged[pool_id] = replace(merged.get(pool_id, PoolOverride(pool_id)), **said)
    return merged


def permissions(policy: Policy) -> frozenset[str]:
    """Token addresses (and ids of permissioned pools) that an investable wallet is listed for."""
    return frozenset(entry for wallet in policy.wallets if wallet.investable for entry in wallet.permitted_tokens)


def barred_addresses(policy: Policy) -> frozenset[tuple[str, str]]:
    """Blacklisted (chain, lower-case address) pairs."""
    return frozenset((row.chain, row.address.lower()) for row in policy.blacklist if row.address)


def barred_symbols(policy: Policy) -> frozenset[tuple[str, str]]:
    """(chain, exact symbol) of blacklist rows that carry no address."""
    return frozenset((row.chain, row.symbol) for row in policy.blacklist if not row.address)


def is_blacklisted(policy: Policy, token: Token) -> bool:
    """Whether a token of our own list is barred, by address or by the exact symbol of a row without one."""
    return (token.chain, token.address) in barred_addresses(policy) or (token.chain, token.symbol) in barred_symbols(
        policy
    )


def build_policy_snapshot(policy: Policy, day: date) -> pd.DataFrame:
    """The `policy_snapshot` row of a day."""
    row = (
        day,
        policy_hash(policy),
        policy_to_json(policy),
        len(policy.tokens),
        len(policy.protocols),
        len(overrides_in_force(policy.pool_overrides, day)),
    )
    return pd.DataFrame([row], columns=list(POLICY_SNAPSHOT_COLUMNS))


def build_allocation_snapshot(policy: Policy, hash_of_policy: str, icebox: pd.DataFrame, day: date) -> pd.DataFrame:
    """The `allocation_snapshot` row of a day: the lists that are in effect once the icebox has spoken.

    `allowed_tokens_json`: sorted `<chain>:<address>` ids of approved tokens that may be bought. `barred_tokens_json`:
    sorted objects {token, symbol, reason_codes, reason} of what may not: in the icebox, blacklisted (token null for
    rows without an address) or permissioned without our wallet being listed.
    """
    permitted = permissions(policy)
    today = (icebox[icebox["date"] == day] if len(icebox) else icebox).to_dict("records")
    blacklisted = [
        _barred(row.chain, row.address.lower() if row.address else None, row.symbol, "BLACKLISTED", "on the blacklist")
        for row in policy.blacklist
    ]
    frozen = [_barred(row["chain"], row["address"], row["symbol"], row["reason_codes"], row["reason"]) for row in today]
    closed = [
        _barred(token.chain, token.address, token.symbol, "ACCESS_RESTRICTED", "permissioned, wallet not listed")
        for token in policy.tokens
        if token.access != "open" and token.address not in permitted
    ]
    barred = [*blacklisted, *frozen, *closed]
    out = {item["token"] for item in barred}
    allowed = sorted(
        token.instrument_id
        for token in policy.tokens
        if token.instrument_id not in out and not is_blacklisted(policy, token)
    )
    barred.sort(key=lambda item: (item["token"] or "", item["symbol"] or "", item["reason_codes"] or ""))
    parameters = policy.parameters
    content = {"allowed": allowed, "barred": barred, "policy_hash": hash_of_policy, "parameters": parameters}
    snapshot = (
        day,
        content_hash(content),
        hash_of_policy,
        canonical_json(allowed),
        canonical_json(barred),
        canonical_json(parameters),
    )
    return pd.DataFrame([snapshot], columns=list(ALLOCATION_SNAPSHOT_COLUMNS))


def _barred(chain: str, address: str | None, symbol: str, codes: str, reason: str) -> dict[str, str | None]:
    token = f"{chain.lower()}:{address}" if address else None
    return {"token": token, "symbol": symbol, "reason_codes": codes, "reason": reason}
