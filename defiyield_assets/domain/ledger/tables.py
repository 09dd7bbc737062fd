"""Frames of the ledger's tables: columns in schema order, exact dtypes, rows in key order.

Lives here: how lists of rows become frames. Not here: the meaning of the columns (store/schema) or their contents.
"""

from collections.abc import Iterable
from typing import Any

import pandas as pd

_INTEGERS = {"chain_id", "ordinal", "leg", "block_number", "decimals", "rate_age_days"}
_INSTANTS = {"block_time", "observed_at"}
_FLOATS = {
    "return_1d",
    "return_mtd",
    "return_ytd",
    "realised_yield_1d",
    "realised_yield_mtd",
    "realised_yield_ytd",
    "idle_share",
    "advertised_apy",
    "forecast_apy",
    "realised_apy",
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
    "counterparty",
    "token_address",
    "amount",
    "decimals",
    "valued_usd",
    "classification",
    "pool_id",
    "is_pending",
    "corrects",
)
TRIAL_BALANCE = (
    "chain_id",
    "account",
    "wallet",
    "counterparty",
    "token_address",
    "date",
    "balance",
    "was_debited",
    "decimals",
    "pool_id",
)
UNEXPLAINED_TRANSACTIONS = (
    "date",
    "chain_id",
    "tx_hash",
    "token_address",
    "booked_on",
    "amount",
    "decimals",
    "symbol",
    "counterparty",
    "valued_usd",
    "classification",
    "hint",
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
SHARE_RATES = (
    "date",
    "chain_id",
    "wallet",
    "share_token",
    "pool_id",
    "token_address",
    "shares",
    "assets",
    "block_number",
    "source",
    "observed_at",
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
    "realised_yield_mtd",
    "realised_yield_ytd",
    "idle_share",
)
YIELD_ATTRIBUTION = (
    "date",
    "pool_id",
    "advertised_apy",
    "forecast_apy",
    "realised_apy",
    "opening_usd",
    "flows_usd",
    "income_usd",
    "price_change_usd",
    "closing_usd",
    "cost_usd",
    "gap_rate",
    "gap_dilution",
    "gap_price",
    "gap_cost",
)
OPEN_LOTS = (
    "date",
    "lot_id",
    "chain_id",
    "token_address",
    "acquired_on",
    "acquired_by",
    "amount",
    "decimals",
    "cost_usd",
)
REALISED_GAINS = (
    "date",
    "disposal_id",
    "lot_id",
    "chain_id",
    "token_address",
    "method",
    "disposed_by",
    "acquired_on",
    "acquired_by",
    "amount",
    "decimals",
    "proceeds_usd",
    "cost_usd",
    "gain_usd",
)


def _dtype(column: str) -> Any:
    if column in _INTEGERS:
        return "int64"
    if column in _FLOATS:
        return "float64"
    if column.startswith(("is_", "was_")):
        return "bool"
    return "datetime64[ns, UTC]" if column in _INSTANTS else object


def make_frame(columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> pd.DataFrame:
    """Frame of rows in the order of `columns`; base units and decimals stay python objects, nothing is inferred."""
    listed = list(rows)
    data = zip(*listed, strict=True) if listed else ((),) * len(columns)
    return pd.DataFrame(
        {name: pd.Series(list(values), dtype=_dtype(name)) for name, values in zip(columns, data, strict=True)},
        columns=list(columns),
    )
