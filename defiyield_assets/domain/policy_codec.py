"""The policy as canonical JSON and back, without loss.

Lives here: the text that `policy_snapshot` stores and its hash. Not here: YAML files and their validation
(config/loader.py).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import date, datetime
from typing import Any

from defiyield_assets.domain.canonical import canonical_json
from defiyield_assets.domain.policy import (
    BarredToken,
    GasUnits,
    IceboxOverride,
    LotChoice,
    Opening,
    OpeningBalance,
    Parameters,
    Policy,
    PoolAlias,
    PoolContract,
    PoolOverride,
    Token,
    TokenAmount,
    Wallet,
)

FLOAT_PARAMETERS = frozenset(field.name for field in fields(Parameters) if field.type is float)


def policy_to_json(policy: Policy) -> str:
    """Canonical JSON of the whole policy; equal policies give equal text, whether a share was written 1 or 1.0."""
    written = json.loads(canonical_json(policy))
    parameters = written["parameters"]
    for name in FLOAT_PARAMETERS:
        parameters[name] = float(parameters[name])
    parameters["max_group_share"] = [float(share) for share in parameters["max_group_share"]]
    return canonical_json(written)


def policy_hash(policy: Policy) -> str:
    """SHA-256 (hex) of `policy_to_json`."""
    return hashlib.sha256(policy_to_json(policy).encode()).hexdigest()


def policy_from_json(text: str) -> Policy:
    """The policy that `policy_to_json` wrote. Raises KeyError or TypeError on text of another shape."""
    data = json.loads(text)
    numbers = data["parameters"]
    parameters = Parameters(
        **{
            **numbers,
            "max_group_share": tuple(numbers["max_group_share"]),
            "chains": tuple(numbers["chains"]),
            "gas_units": GasUnits(**numbers["gas_units"]),
        }
    )
    return Policy(
        parameters=parameters,
        tokens=tuple(Token(**row) for row in data["tokens"]),
        protocols=tuple(data["protocols"]),
        blacklist=tuple(BarredToken(**row) for row in data["blacklist"]),
        protocol_aliases=dict(data["protocol_aliases"]),
        pool_overrides=tuple(_pool_override(row) for row in data["pool_overrides"]),
        icebox_overrides=tuple(IceboxOverride(**_dated(row, "since", "expires")) for row in data["icebox_overrides"]),
        wallets=tuple(_wallet(row) for row in data["wallets"]),
        pool_aliases=tuple(PoolAlias(**_dated(row, "since")) for row in data["pool_aliases"]),
        pool_contracts=tuple(PoolContract(**row) for row in data["pool_contracts"]),
        lot_choices=tuple(LotChoice(**{**row, "lots": tuple(row["lots"])}) for row in data.get("lot_choices", ())),
    )


def _pool_override(row: Mapping[str, Any]) -> PoolOverride:
    dated = _dated(row, "maturity", "since", "until")
    lists = {name: row.get(name) for name in ("underlying_addresses", "reserve_shares")}
    return PoolOverride(**dated | {name: None if found is None else tuple(found) for name, found in lists.items()})


def _wallet(row: Mapping[str, Any]) -> Wallet:
    opening = row.get("opening")  # a policy of before there were openings has none
    return Wallet(
        **{
            **row,
            "permitted_tokens": tuple(row["permitted_tokens"]),
            "opening": None if opening is None else _opening(opening),
        }
    )


def _opening(row: Mapping[str, Any]) -> Opening:
    balances = tuple(
        OpeningBalance(**{**item, "underlying": tuple(TokenAmount(**of_pool) for of_pool in item["underlying"])})
        for item in row["balances"]
    )
    return Opening(row["block"], datetime.fromisoformat(row["time"]), balances)


def _dated(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {**row, **{name: date.fromisoformat(row[name]) for name in names if row[name] is not None}}
