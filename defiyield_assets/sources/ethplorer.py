"""Ethplorer: token balances and token transfers of an Ethereum address.

Lives here: requests and typed rows of `https://api.ethplorer.io`. Not here: ordinals and postings (domain/ledger),
native transfers and gas (etherscan.py).
"""

from collections import Counter
from decimal import Decimal
from typing import Any

import pandas as pd

from defiyield_assets.errors import (
    VendorAuthError,
    VendorError,
    VendorMalformed,
    VendorNotFound,
    VendorThrottled,
    VendorUnavailable,
)
from defiyield_assets.sources import fields
from defiyield_assets.sources.account_rows import NATIVE, Row, account_row
from defiyield_assets.sources.transport import Fetched, Gateway, Window
from defiyield_assets.sources.vendors import ETHPLORER_FREE_KEY

VENDOR = "ethplorer"
CHAIN_ID = 1
PAGE_SIZE, FREE_PAGE_SIZE = 1_000, 100
_ERRORS: dict[int, type[VendorError]] = {
    1: VendorAuthError,  # invalid key
    3: VendorThrottled,  # too many requests
    136: VendorThrottled,  # limit of the key reached
    **dict.fromkeys((101, 102, 103, 104, 108, 150, 404), VendorNotFound),  # missing or invalid address, hash, token
}


class Ethplorer:
    """Client of Ethplorer."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def address_info(self, address: str, window: Window | None = None) -> Fetched[pd.DataFrame]:
        """Balances of an address now, ETH included (columns: `parse_address_info`)."""
        return await self._gateway.get(
            VENDOR,
            "/getAddressInfo/{address}",
            {"address": address.lower()},
            {},
            parse_address_info,
            window=window,
            refuse=refuse_error,
        )

    async def frequent_tokens(
        self, address: str, limit: int = FREE_PAGE_SIZE, window: Window | None = None, reuse: Window | None = None
    ) -> Fetched[pd.DataFrame]:
        """Which tokens an address's newest operations (at most `limit`) moved, most frequent first.

        Columns: as `token_shares`. For "the most frequent token of a pool's address"; empty when nothing moved.
        """
        return await self._gateway.get(
            VENDOR,
            "/getAddressHistory/{address}",
            {"address": address.lower()},
            {"limit": min(limit, self._page_size())},
            lambda answer: token_shares(parse_operations(answer), address),
            window=window,
            reuse=reuse,
            refuse=refuse_error,
        )

    def _page_size(self) -> int:
        """Operations that the key is given in one answer."""
        is_free = self._gateway.settings(VENDOR).api_key in (None, ETHPLORER_FREE_KEY)
        return FREE_PAGE_SIZE if is_free else PAGE_SIZE


def refuse_error(answer: object) -> None:
    """Raise Ethplorer's `{"error": {"code", "message"}}`."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return
    code = error.get("code")
    said = f"error {fields.shown(str(code))}: {fields.shown(str(error.get('message'))[:200])}"
    raise (_ERRORS.get(code, VendorUnavailable) if type(code) is int else VendorUnavailable)(said)


def _balance(holder: dict[str, Any], where: str, scale: int) -> tuple[int, bool]:
    """Base units and whether they are exact: the text `rawBalance`, else the number `balance` (in 10**scale)."""
    if holder.get("rawBalance") is not None:
        return fields.single(holder, "rawBalance", fields.integer, where), True
    rough = fields.single(holder, "balance", fields.positive, where)
    units = int(Decimal(repr(rough)).scaleb(scale))
    if units > fields.MAX_UINT256:
        raise VendorMalformed(f"field 'balance' of {where} is larger than 2**256-1")
    return units, float(units) < 2**53


def parse_address_info(answer: object) -> pd.DataFrame:
    """Balances of `/getAddressInfo/{address}`, sorted by token.

    Columns: token_address ('native' for ETH), balance (base units), decimals and symbol_claimed (as the token claims),
    is_exact (false where an old answer only gives a floating-point balance).
    """
    body = fields.record(answer, "the answer")
    rows: list[tuple[str, int, bool, int, str | None]] = [
        (NATIVE, *_balance(fields.record(body.get("ETH"), "ETH"), "ETH", 18), 18, "ETH")
    ]
    for place, token in enumerate(fields.records(body.get("tokens", []), "tokens")):
        info = fields.record(token.get("tokenInfo"), f"tokenInfo of token {place}")
        balance, is_exact = _balance(token, f"token {place}", 0)
        address = fields.single(info, "address", fields.address, f"token {place}")
        claimed = fields.claimed_decimals(info.get("decimals")), fields.claimed_text(info.get("symbol"))
        rows.append((address, balance, is_exact, *claimed))
    names = ("token_address", "balance", "is_exact", "decimals", "symbol_claimed")
    frame = pd.DataFrame({name: fields.objects([row[i] for row in rows]) for i, name in enumerate(names)})
    frame = frame.astype({"is_exact": bool, "decimals": "int64"})[
        ["token_address", "balance", "decimals", "symbol_claimed", "is_exact"]
    ].drop_duplicates()
    if frame["token_address"].duplicated().any():
        raise VendorMalformed("one token is there twice with different balances")
    return frame.sort_values("token_address", ignore_index=True)


def parse_operations(answer: object) -> list[Row]:
    """Token transfers of `/getAddressHistory/{address}` as rows of `account_transactions`, in the answer's order.

    With their keys: `account_frame` gives them the ordinals that Etherscan's `tokentx` gets. The vendor does not say
    blocks, gas or success here: `block_number`, `gas_used`, `gas_price_wei` are null, `is_success` is true (a reverted
    transfer is none). Operations of other types (approve, …) move nothing and are left out.
    """
    operations = fields.records(fields.record(answer, "the answer").get("operations"), "operations")
    stamps = fields.column(operations, "timestamp", fields.epoch_seconds)
    moves = [(row, stamp) for row, stamp in zip(operations, stamps, strict=True) if row.get("type") == "transfer"]
    transfers = [row for row, _ in moves]
    infos = [fields.record(row.get("tokenInfo"), f"tokenInfo of transfer {i}") for i, row in enumerate(transfers)]
    columns = zip(
        [stamp for _, stamp in moves],
        fields.column(transfers, "transactionHash", fields.transaction_hash),
        fields.column(transfers, "from", fields.address),
        fields.column(transfers, "to", fields.address),
        fields.column(transfers, "value", fields.integer),
        fields.column(infos, "address", fields.address),
        fields.column(infos, "decimals", fields.claimed_decimals, optional=True),
        fields.column(infos, "symbol", fields.claimed_text, optional=True),
        strict=True,
    )
    return [
        account_row(
            chain_id=CHAIN_ID,
            tx_hash=tx_hash,
            kind="token",
            block_number=None,
            block_time=stamp,
            from_address=sender,
            to_address=receiver,
            value=value,
            token_address=token,
            decimals=decimals,
            symbol_claimed=symbol,
            source=VENDOR,
        )
        for stamp, tx_hash, sender, receiver, value, token, decimals, symbol in columns
    ]


def token_shares(transfers: list[Row], address: str) -> pd.DataFrame:
    """How often each token was moved by transfers, most frequent first (ties by address), the address's own token out.

    Columns: token_address, symbol_claimed (as its contract claims, newest), n_transfers, share (of all counted).
    """
    counted = [row for row in transfers if row["token_address"] != address.lower()]
    counts = Counter(row["token_address"] for row in counted)
    claims = {row["token_address"]: row["symbol_claimed"] for row in reversed(counted)}
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return pd.DataFrame(
        {
            "token_address": fields.objects([token for token, _ in ranked]),
            "symbol_claimed": fields.objects([claims[token] for token, _ in ranked]),
            "n_transfers": pd.Series([count for _, count in ranked], dtype="int64"),
            "share": fields.floats([count / len(counted) for _, count in ranked]),
        }
    )
