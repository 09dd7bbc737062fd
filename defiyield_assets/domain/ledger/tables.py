"""Frames of the ledger's tables: columns in schema order, exact dtypes, rows in key order.

Lives here: how lists of rows become frames. Not here: the meaning of the columns (store/schema.py) or their contents.
"""

from collections.abc import Iterable
from typing import Any

import pandas as pd

_INTEGERS = {"chain_id", "ordinal", "leg", "block_number", "decimals", "rate_age_days"}
_FLOATS = {
    "return_1d",
    "return_mtd",
    "return_ytd",
    "realised_yield_1d",
    "idle_share",
    "advertised_apy",
    "forecast_apy",
    "realised_apy",
    "gap_rate",
    "gap_dilution",
    "gap_price",
    "gap_cost",
}

LEDGER_POSTINGS = (
    "chain_id",
    "tx_hash",
    "kind",
    "ordinal",
    "leg",
    "date",
    "block_number",
    "block_time",
    "account",
    "wallet",
    "token_address",
    "amount",
    "decimals",
    "valued_usd",
    "classification",
    "pool_id",
    "is_pending",
    "corrects",
)
DAILY_BALANCES = (
    "date",
    "chain_id",
    "wallet",
    "token_address",
    "balance",
    "decimals",
    "symbol",
    "price_usd",
    "value_usd",
    "is_trusted",
)
POOL_POSITIONS = (
    "date",
    "chain_id",
    "wallet",
    "pool_id",
    "token_address",
    "share_token",
    "shares",
    "exchange_rate",
    "rate_source",
    "rate_age_days",
    "underlying_amount",
    "decimals",
    "price_usd",
    "value_usd",
)
NAV_DAILY = (
    "date",
    "nav_usd",
    "wallets_usd",
    "pools_usd",
    "eth_usd",
    "flows_usd",
    "income_usd",
    "expenses_usd",
    "price_change_usd",
    "unexplained_usd",
    "return_1d",
    "return_mtd",
    "return_ytd",
    "realised_yield_1d",
    "idle_share",
)
YIELD_ATTRIBUTION = (
    "date",
    "pool_id",
    "advertised_apy",
    "forecast_apy",
    "realised_apy",
    "opening_usd",
    "income_usd",
    "gap_rate",
    "gap_dilution",
    "gap_price",
    "gap_cost",
)


def _dtype(column: str) -> Any:
    if column in _INTEGERS:
        return "int64"
    if column in _FLOATS:
        return "float64"
    if column.startswith("is_"):
        return "bool"
    return "datetime64[ns, UTC]" if column == "block_time" else object


def make_frame(columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> pd.DataFrame:
    """Frame of rows in the order of `columns`; base units and decimals stay python objects, nothing is inferred."""
    listed = list(rows)
    data = zip(*listed, strict=True) if listed else ((),) * len(columns)
    return pd.DataFrame(
        {name: pd.Series(list(values), dtype=_dtype(name)) for name, values in zip(columns, data, strict=True)},
        columns=list(columns),
    )
