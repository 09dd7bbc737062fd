"""Rows in the shape of `account_transactions`, as both account vendors (Etherscan, Ethplorer) deliver them.

Lives here: building one row and the frame of rows. Not here: the ordinal's rule and the union of several wallets' views
(domain/ledger/ordinals.py), what a row means (domain/ledger/postings.py).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from defiyield_assets.domain.ledger.ordinals import assign_ordinals
from defiyield_assets.sources import fields

NATIVE = "native"
NATIVE_DECIMALS = 18
COLUMNS = (
    "chain_id",
    "tx_hash",
    "kind",
    "ordinal",
    "date",
    "block_number",
    "block_time",
    "from_address",
    "to_address",
    "token_address",
    "value",
    "decimals",
    "symbol_claimed",
    "is_success",
    "gas_used",
    "gas_price_wei",
    "function_name",
    "source",
)
_KEY = ["chain_id", "tx_hash", "kind", "ordinal"]
Row = dict[str, Any]


def account_row(
    *,
    chain_id: int,
    tx_hash: str,
    kind: str,
    block_number: int | None,
    block_time: datetime,
    from_address: str,
    to_address: str,
    value: int,
    source: str,
    token_address: str = NATIVE,
    decimals: int = NATIVE_DECIMALS,
    symbol_claimed: str | None = None,
    is_success: bool = True,
    gas_used: int | None = None,
    gas_price_wei: int | None = None,
    function_name: str | None = None,
) -> Row:
    """One row of `account_transactions` without its ordinal; `value` and gas in base units (wei)."""
    row = dict(locals())
    return {"date": block_time.date(), **row}


def account_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows as a frame with the columns of `account_transactions`, ordinals assigned, sorted by key.

    Integers that may exceed 64 bits or be null stay Python objects; `block_time` is UTC.
    """
    frame = pd.DataFrame({name: fields.objects([row.get(name) for row in rows]) for name in COLUMNS})
    frame["chain_id"] = frame["chain_id"].astype("int64")
    frame["is_success"] = frame["is_success"].astype(bool)
    frame["block_time"] = fields.instants(list(frame["block_time"]))
    frame = assign_ordinals(frame)[list(COLUMNS)]
    return frame.sort_values(_KEY, ignore_index=True)
