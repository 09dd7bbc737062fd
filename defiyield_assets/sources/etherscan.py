"""Etherscan v2: everything that an address sent, received and burnt as gas, on any EVM chain.

Lives here: requests, typed rows and error words of `https://api.etherscan.io/v2/api`. Not here: ordinals and
postings (domain/ledger).
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import pandas as pd

from defiyield_assets.errors import (
    VendorAuthError,
    VendorError,
    VendorMalformed,
    VendorNotFound,
    VendorPlanLimit,
    VendorThrottled,
    VendorUnavailable,
)
from defiyield_assets.sources import fields
from defiyield_assets.sources.account_rows import (
    BLOCK_PLACE,
    NATIVE,
    NATIVE_DECIMALS,
    Packed,
    Row,
    account_row,
    packed,
    packed_frame,
)
from defiyield_assets.sources.transport import Fetched, Gateway, Window, all_of

T = TypeVar("T")

VENDOR = "etherscan"
ENDPOINT = "/api"
PAGE_SIZE = 1_000
"""Rows an answer; free plans are served no more."""
ACTIONS = 3
"""Lists that make up an address's history; each takes one call at least."""
MAX_PAGES = 10
"""Pages of one question: Etherscan serves a window of 10,000 rows."""
LATEST_BLOCK = 999_999_999
_NOTHING_FOUND = re.compile(r"No (internal )?(transactions|token transfers|records) found", re.IGNORECASE)
_ERROR_WORDS: tuple[tuple[str, type[VendorError]], ...] = (
    ("daily rate limit", VendorPlanLimit),
    ("daily limit", VendorPlanLimit),
    ("rate limit", VendorThrottled),
    ("api key", VendorAuthError),
    ("apikey", VendorAuthError),
    ("not supported for this chain", VendorAuthError),
    ("api pro", VendorAuthError),
    ("invalid", VendorNotFound),
    ("missing", VendorNotFound),
)


@dataclass(frozen=True)
class Page:
    """One answer: the rows that we make of it, the blocks it tells of, and how many rows the vendor sent."""

    rows: list[Row]
    blocks: list[int]
    sent: int

    def __len__(self) -> int:
        return self.sent


class Etherscan:
    """Client of Etherscan's account endpoints."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def transactions(
        self, chain_id: int, address: str, start_block: int, end_block: int | None = None
    ) -> Fetched[pd.DataFrame]:
        """What an address moved from `start_block` to `end_block` (default: the newest), both included.

        Columns of `account_transactions`, sorted by key. Kinds: `native` (ETH moved; of a failed transaction one row
        with value 0), `internal` (ETH moved by contracts), `token` (ERC-20 transfers), `gas` (gasUsed x gasPrice of
        what the address sent, failed transactions included; receiver empty). Calls without ETH leave a gas row only.
        Ordinals hold for this address alone: join several wallets' frames with `domain.ledger.ordinals.merge_views`.
        """
        wallet = address.lower()
        last = LATEST_BLOCK if end_block is None else end_block
        readers: Mapping[str, Callable[[object], Page]] = {
            "txlist": lambda answer: parse_transactions(answer, chain_id, wallet),
            "txlistinternal": lambda answer: parse_internal(answer, chain_id),
            "tokentx": lambda answer: parse_token_transfers(answer, chain_id),
        }
        parts = await all_of(
            self._all_pages(action, chain_id, wallet, (start_block, last), read) for action, read in readers.items()
        )
        frame = packed_frame([row for rows, _ in parts for row in rows])
        return Fetched(frame, max(stamp for _, stamp in parts))

    async def token_balance(
        self, chain_id: int, address: str, token_address: str, window: Window | None = None
    ) -> Fetched[int]:
        """Balance of one ERC-20 token now, in base units."""
        params = {"contractaddress": token_address.lower(), "address": address.lower(), "tag": "latest"}
        return await self._ask(chain_id, "tokenbalance", params, parse_balance, window)

    async def newest_block(self, chain_id: int) -> Fetched[int]:
        """Number of the newest block that the vendor knows of the chain."""
        return await self._ask(chain_id, "eth_blockNumber", {}, parse_quantity, module="proxy")

    async def balances(
        self, chain_id: int, address: str, tokens: Mapping[str, int], window: Window | None = None
    ) -> Fetched[pd.DataFrame]:
        """Balances of an address now: of the chain's coin and of these tokens (address -> decimals), zeros left out.

        Columns: token_address ('native' for the coin), balance (base units), decimals.
        """
        coin = {"address": address.lower(), "tag": "latest"}
        answers = [await self._ask(chain_id, "balance", coin, parse_balance, window)]
        answers += [await self.token_balance(chain_id, address, token, window) for token in tokens]
        known = {NATIVE: NATIVE_DECIMALS, **tokens}
        rows = [
            (token, fetched.rows, known[token]) for token, fetched in zip(known, answers, strict=True) if fetched.rows
        ]
        frame = pd.DataFrame(rows, columns=["token_address", "balance", "decimals"], dtype=object)
        return Fetched(frame.astype({"decimals": "int64"}), max(fetched.fetched_at for fetched in answers))

    async def _all_pages(
        self, action: str, chain_id: int, address: str, span: tuple[int, int], read: Callable[[object], Page]
    ) -> tuple[list[Packed], datetime]:
        """All rows of one action in a span of blocks (both included), and the stamp of the last answer.

        Etherscan serves at most `MAX_PAGES` pages of one question. After them we go on from the newest block seen, of
        which we may have seen a part only: its rows are dropped and read again.
        """
        first, last = span
        rows: list[Packed] = []
        while True:
            seen: list[Packed] = []
            blocks: set[int] = set()
            for number in range(1, MAX_PAGES + 1):
                page: dict[str, str | int] = {"page": number, "offset": PAGE_SIZE, "sort": "asc"}
                asked = {"address": address, "startblock": first, "endblock": last, **page}
                fetched = await self._ask(chain_id, action, asked, read)
                if len(fetched.rows) > PAGE_SIZE:
                    raise VendorMalformed(f"page {number} of {action} holds more than the {PAGE_SIZE} rows asked for")
                seen += map(packed, fetched.rows.rows)
                blocks.update(fetched.rows.blocks)
                if len(fetched.rows) < PAGE_SIZE:
                    return rows + seen, fetched.fetched_at
            newest = max(blocks)
            if newest <= first:
                raise VendorMalformed(
                    f"block {newest} holds more than {MAX_PAGES * PAGE_SIZE} rows and cannot be paged"
                )
            rows += [row for row in seen if row[BLOCK_PLACE] < newest]
            first = newest

    async def _ask(
        self,
        chain_id: int,
        action: str,
        params: Mapping[str, str | int],
        parse: Callable[[object], T],
        window: Window | None = None,
        *,
        module: str = "account",
    ) -> Fetched[T]:
        named: dict[str, str | int] = {"chainid": chain_id, "module": module, "action": action, **params}
        return await self._gateway.get(VENDOR, ENDPOINT, {}, named, parse, window=window, refuse=refuse_error)


def refuse_error(answer: object) -> None:
    """Raise the error that `status` "0" stands for; "No transactions found" is an empty list, not an error.

    Module `proxy` passes on what a node says: its errors stand under `error`, with code and message.
    """
    if not isinstance(answer, dict):
        return
    of_node = answer.get("error")
    if str(answer.get("status")) != "0" and not isinstance(of_node, dict):
        return
    told = of_node if isinstance(of_node, dict) else answer
    message, result = str(told.get("message"))[:200], str(told.get("result", told.get("code")))[:200]
    if of_node is None and (_NOTHING_FOUND.match(message) or (message == "OK" and answer.get("result") == [])):
        return
    said = f"{message} {result}".lower()
    error = next((error for words, error in _ERROR_WORDS if words in said), VendorUnavailable)
    raise error(f"{message!r}: {result!r}")


def _result(answer: object) -> list[dict[str, Any]]:
    """The rows of an account answer; none when nothing was found."""
    body = fields.record(answer, "the answer")
    status = str(body.get("status"))
    if status not in ("0", "1"):
        raise VendorMalformed(
            f"field 'status' of the answer is {fields.shown(body.get('status'))}, expected '0' or '1'"
        )
    refuse_error(body)
    if status == "0":
        return []
    rows = fields.records(body.get("result"), "result")
    if not rows:
        raise VendorMalformed("the answer says that it found something, but 'result' is empty")
    return _undoubled(rows)


def _undoubled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of an answer in which everything stands several times, as often as they happened.

    Nothing tells two equal transfers of one transaction apart, so a row that repeats is kept as a transfer of its own
    unless the rows of several transactions all repeat, in blocks or one by one: that is the vendor's doing. A single
    transaction may well be a batch of equal payments and keeps all its rows.
    """
    told = [row.get("hash") for row in rows]
    hashes = Counter(told if set(map(type, told)) == {str} else map(repr, told))
    if len(hashes) == 1 or 1 in hashes.values():  # the row of a transaction that has no other stands there once
        return rows
    times = Counter(map(repr, rows))
    copies = math.gcd(*times.values())
    left = {row: count // copies for row, count in times.items()}
    once: list[dict[str, Any]] = []
    for row in rows:
        if left[repr(row)]:
            left[repr(row)] -= 1
            once.append(row)
    return once


def _once(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of internal calls without exact repeats, where each names its place in the trace."""
    return list({repr(row): row for row in rows}.values()) if all(row.get("traceId") for row in rows) else rows


def parse_balance(answer: object) -> int:
    """The integer of `action=tokenbalance`."""
    body = fields.record(answer, "the answer")
    refuse_error(body)
    return fields.single(body, "result", fields.integer, "the answer")


def parse_quantity(answer: object) -> int:
    """The hexadecimal number that a node answers through module `proxy`, such as a block's."""
    body = fields.record(answer, "the answer")
    refuse_error(body)
    return fields.single(body, "result", fields.hex_quantity, "the answer")


def _page(answer: object, rows: list[Row], bases: list[Row]) -> Page:
    """A page; rows of the answer that count once or not at all were sent all the same: it may have been full."""
    told = answer.get("result") if isinstance(answer, dict) else None
    return Page(rows, [base["block_number"] for base in bases], len(told) if isinstance(told, list) else 0)


def _failed(value: object) -> bool:
    """`isError`: "1" means that the transaction was reverted."""
    if value not in ("0", "1", 0, 1):
        raise ValueError(f"expected '0' or '1', got {fields.shown(value)}")
    return value in ("1", 1)


def _bases(rows: list[dict[str, Any]], chain_id: int) -> list[Row]:
    """What all three actions tell alike about each row."""
    columns = zip(
        fields.transaction_hashes(rows, "hash"),
        fields.small_integers(rows, "blockNumber"),
        fields.epochs(rows, "timeStamp"),
        fields.repeated(rows, "from", fields.address),
        fields.repeated(rows, "to", fields.address_or_none),
        fields.integers(rows, "value"),
        fields.repeated(rows, "functionName", fields.claimed_text, optional=True),
        strict=True,
    )
    return [
        {
            "chain_id": chain_id,
            "tx_hash": tx_hash,
            "block_number": block,
            "block_time": stamp,
            "from_address": sender,
            "to_address": receiver,
            "value": value,
            "function_name": function or None,
            "source": VENDOR,
        }
        for tx_hash, block, stamp, sender, receiver, value, function in columns
    ]


def parse_transactions(answer: object, chain_id: int, wallet: str) -> Page:
    """Native and gas rows of `action=txlist` for one wallet (lower case); a repeated transaction counts once."""
    raw = fields.distinct(_result(answer), "hash")
    bases = _bases(raw, chain_id)
    used = fields.integers(raw, "gasUsed")
    prices = fields.integers(raw, "gasPrice")
    failures = fields.repeated(raw, "isError", _failed)
    rows: list[Row] = []
    for place, (base, gas_used, price, has_failed) in enumerate(zip(bases, used, prices, failures, strict=True)):
        if gas_used * price > fields.MAX_UINT256:
            raise VendorMalformed(f"fields 'gasUsed' and 'gasPrice' of row {place} multiply to more than 2**256-1")
        row = {**base, "is_success": not has_failed, "gas_used": gas_used, "gas_price_wei": price}
        if has_failed or base["value"]:
            rows.append(account_row(**{**row, "kind": "native", "value": 0 if has_failed else base["value"]}))
        if base["from_address"] == wallet:
            rows.append(account_row(**{**row, "kind": "gas", "to_address": "", "value": gas_used * price}))
    return _page(answer, rows, bases)


def parse_internal(answer: object, chain_id: int) -> Page:
    """ETH moved by contracts, of `action=txlistinternal`; failed and empty calls moved nothing and leave no row."""
    raw = _once(_result(answer))
    bases = _bases(raw, chain_id)
    failures = fields.column(raw, "isError", _failed)
    rows = [
        account_row(**base, kind="internal")
        for base, has_failed in zip(bases, failures, strict=True)
        if base["value"] and not has_failed
    ]
    return _page(answer, rows, bases)


def parse_token_transfers(answer: object, chain_id: int) -> Page:
    """ERC-20 transfers of `action=tokentx`; only transactions that succeeded have any."""
    raw = _result(answer)
    bases = _bases(raw, chain_id)
    columns = zip(
        bases,
        fields.repeated(raw, "contractAddress", fields.address),
        fields.repeated(raw, "tokenDecimal", fields.claimed_decimals, optional=True),
        fields.repeated(raw, "tokenSymbol", fields.claimed_text, optional=True),
        fields.maybe_integers(raw, "gasUsed"),
        fields.maybe_integers(raw, "gasPrice"),
        strict=True,
    )
    rows = [
        account_row(
            **base,
            kind="token",
            token_address=token,
            decimals=decimals,
            symbol_claimed=symbol,
            gas_used=gas_used,
            gas_price_wei=price,
        )
        for base, token, decimals, symbol, gas_used, price in columns
    ]
    return _page(answer, rows, bases)
