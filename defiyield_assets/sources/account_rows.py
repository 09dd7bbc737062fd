"""Rows in the shape of `account_transactions`, as both account vendors (Etherscan, Ethplorer) deliver them.

Lives here: building one row and the frame of rows. Not here: the ordinal's rule and the union of several wallets' views
(domain/ledger/ordinals.py), what a row means (domain/ledger/postings.py).
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from operator import itemgetter
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
    "is_pending",
    "source",
)
_KEY = ["chain_id", "tx_hash", "kind", "ordinal"]
_PACKED = tuple(name for name in COLUMNS if name != "ordinal")
Row = dict[str, Any]
Packed = tuple[Any, ...]
"""A row as the values of `_PACKED`: a sixth of its size, for histories of a million."""
packed: Callable[[Row], Packed] = itemgetter(*_PACKED)
"""The values of a row in the order of the columns, without its ordinal."""
BLOCK_PLACE = _PACKED.index("block_number")


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
    """One row of `account_transactions` without its ordinal; `value` and gas in base units (wei).

    `is_pending` is left False: how deep its block is the reader of the whole history says, not the row.
    """
    row = locals()
    row["date"], row["is_pending"] = block_time.date(), False
    return row


def account_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows as a frame with the columns of `account_transactions`, ordinals assigned, sorted by key.

    Integers that may exceed 64 bits or be null stay Python objects; `block_time` is UTC.
    """
    return packed_frame([packed(row) for row in rows])


def packed_frame(rows: Sequence[Packed]) -> pd.DataFrame:
    """`account_frame` of rows that were `packed`."""
    cells = zip(*rows, strict=True) if rows else [()] * len(_PACKED)
    frame = pd.DataFrame({name: _series(name, values) for name, values in zip(_PACKED, cells, strict=True)})
    frame = assign_ordinals(frame)[list(COLUMNS)]
    return frame.sort_values(_KEY, ignore_index=True)


def _series(name: str, values: Sequence[Any]) -> "pd.Series[Any]":
    if name == "block_time":
        return pd.Series(fields.instants(values))
    dtype = {"chain_id": "int64", "is_success": "bool", "is_pending": "bool"}.get(name)
    return fields.objects(values) if dtype is None else pd.Series(values, dtype=dtype)
