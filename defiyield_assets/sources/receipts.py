"""One transaction by its hash: the transaction itself and its receipt, as Etherscan's proxy of a node answers.

Lives here: rows of `account_transactions` from logs and gas of one transaction. Not here: a wallet's whole history
(etherscan.py), what a transaction was (domain/ledger).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import pandas as pd

from defiyield_assets.domain.ledger.wrapping import WRAPPED
from defiyield_assets.errors import VendorMalformed, VendorNotFound
from defiyield_assets.sources import fields
from defiyield_assets.sources.account_rows import Row, account_frame, account_row
from defiyield_assets.sources.etherscan import ENDPOINT, VENDOR, parse_internal, refuse_error
from defiyield_assets.sources.transport import Fetched, Gateway

T = TypeVar("T")

TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
"""Transfer(address,address,uint256): of an ERC-20 when two of three are topics; with three it is an ERC-721."""
WITHDRAWAL = "0x7fcf532c15f0a6db0bd6d0e038bea71d30d808c7d98cb3bf7268a95bf5081b65"
"""Withdrawal(address,uint256): of wrapped ETH it means that as much ETH went to the address. (Its counterpart Deposit
tells nothing that the ETH paid to the contract does not.) Other contracts use the same names for other things."""
_WORD = re.compile(r"0x[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class Receipt:
    """What a node tells of one mined transaction, read but for its logs; amounts in wei."""

    tx_hash: str
    block_number: int
    sender: str
    receiver: str
    value: int
    is_success: bool
    gas_used: int
    gas_price_wei: int
    fee_wei: int
    logs: list[dict[str, Any]]


class Receipts:
    """Client of Etherscan's proxy for single transactions."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def transaction(self, chain_id: int, tx_hash: str, wallets: Sequence[str]) -> Fetched[pd.DataFrame]:
        """What one transaction moved for the wallets: columns of `account_transactions`.

        ETH that contracts moved is asked for too. A hash that is not mined: `VendorNotFound`.
        """
        hashed = {"txhash": tx_hash.lower()}
        told = await self._ask(chain_id, "proxy", "eth_getTransactionByHash", hashed, proxied)
        mined = await self._ask(chain_id, "proxy", "eth_getTransactionReceipt", hashed, proxied)
        receipt = read_receipt(told.rows, mined.rows)
        tag = {"tag": hex(receipt.block_number), "boolean": "false"}
        block = await self._ask(
            chain_id, "proxy", "eth_getBlockByNumber", tag, lambda answer: read_time(proxied(answer))
        )
        calls = await self._ask(
            chain_id, "account", "txlistinternal", hashed, lambda answer: parse_calls(answer, chain_id, tx_hash.lower())
        )
        rows = receipt_rows(receipt, chain_id, wallets, block.rows, calls.rows)
        return Fetched(account_frame(rows), calls.fetched_at)

    async def _ask(
        self, chain_id: int, module: str, action: str, params: Mapping[str, str], parse: Callable[[object], T]
    ) -> Fetched[T]:
        named: dict[str, str | int] = {"chainid": chain_id, "module": module, "action": action, **params}
        return await self._gateway.get(VENDOR, ENDPOINT, {}, named, parse, refuse=refuse_error)


def proxied(answer: object) -> dict[str, Any]:
    """The result of a proxied call; null means that the node does not know the transaction or block."""
    body = fields.record(answer, "the answer")
    refuse_error(body)
    if body.get("result") is None:
        raise VendorNotFound("the node knows no such transaction or block")
    return fields.record(body["result"], "result")


def read_time(block: Mapping[str, Any]) -> datetime:
    """Time of a block."""
    return datetime.fromtimestamp(fields.single(dict(block), "timestamp", _seconds, "the block"), UTC)


def _block(value: object) -> int:
    return fields.small_integer(fields.hex_quantity(value))


def _seconds(value: object) -> int:
    seconds = fields.hex_quantity(value)
    fields.epoch_seconds(seconds)
    return seconds


def read_receipt(transaction: dict[str, Any], receipt: dict[str, Any]) -> Receipt:
    """A transaction and its receipt as one; they must be of one hash, and mined.

    Rollups charge a fee for their data beside gasUsed x gasPrice (`l1Fee`). Receipts before Byzantium have no status:
    then a transaction that used all its gas failed.
    """
    tx_hash = fields.single(transaction, "hash", fields.transaction_hash, "the transaction")
    if fields.single(receipt, "transactionHash", fields.transaction_hash, "the receipt") != tx_hash:
        raise VendorMalformed("the receipt is of another transaction")
    used = fields.single(receipt, "gasUsed", fields.hex_quantity, "the receipt")
    if "effectiveGasPrice" in receipt:
        price = fields.single(receipt, "effectiveGasPrice", fields.hex_quantity, "the receipt")
    else:
        price = fields.single(transaction, "gasPrice", fields.hex_quantity, "the transaction")
    surcharge = (
        0 if receipt.get("l1Fee") is None else fields.single(receipt, "l1Fee", fields.hex_quantity, "the receipt")
    )
    if receipt.get("status") is None:
        is_success = used < fields.single(transaction, "gas", fields.hex_quantity, "the transaction")
    else:
        is_success = fields.single(receipt, "status", fields.hex_quantity, "the receipt") == 1
    fee = used * price + surcharge
    if fee > fields.MAX_UINT256:
        raise VendorMalformed("fields 'gasUsed' and 'effectiveGasPrice' multiply to more than 2**256-1")
    return Receipt(
        tx_hash=tx_hash,
        block_number=fields.single(receipt, "blockNumber", _block, "the receipt"),
        sender=fields.single(transaction, "from", fields.address, "the transaction"),
        receiver=fields.single(transaction, "to", fields.address_or_none, "the transaction"),
        value=fields.single(transaction, "value", fields.hex_quantity, "the transaction"),
        is_success=is_success,
        gas_used=used,
        gas_price_wei=price,
        fee_wei=fee,
        logs=fields.records(receipt.get("logs"), "logs"),
    )


def parse_calls(answer: object, chain_id: int, tx_hash: str) -> list[Row]:
    """Rows of `action=txlistinternal&txhash=…`, whose answer does not repeat the hash."""
    body = fields.record(answer, "the answer")
    if isinstance(body.get("result"), list):
        calls = [{**call, "hash": tx_hash} for call in fields.records(body["result"], "result")]
        body = {**body, "result": calls}
    return parse_internal(body, chain_id).rows


def receipt_rows(
    receipt: Receipt, chain_id: int, wallets: Sequence[str], block_time: datetime, calls: Sequence[Row] | None = None
) -> list[Row]:
    """Rows of `account_transactions` of what a transaction moved for the wallets, without ordinals.

    The same rows that Etherscan's lists give for them: token transfers from logs (their decimals are not told: 0), ETH
    that the transaction carried, gas of what a wallet sent. `calls`: ETH that contracts moved; None when nobody was
    asked: then only what unwrapping ETH paid out is known.
    """
    ours = {wallet.lower() for wallet in wallets}
    base: Row = {
        "chain_id": chain_id,
        "tx_hash": receipt.tx_hash,
        "block_number": receipt.block_number,
        "block_time": block_time,
        "source": VENDOR,
    }
    called: Row = {
        "is_success": receipt.is_success,
        "gas_used": receipt.gas_used,
        "gas_price_wei": receipt.gas_price_wei,
        "from_address": receipt.sender,
    }
    rows: list[Row] = []
    if not receipt.is_success or receipt.value:
        value = receipt.value if receipt.is_success else 0
        rows.append(account_row(**base, **called, kind="native", to_address=receipt.receiver, value=value))
    if receipt.sender in ours:
        rows.append(account_row(**base, **called, kind="gas", to_address="", value=receipt.fee_wei))
    for log in receipt.logs:
        moved = _moved(log, chain_id, is_asked=calls is not None)
        if moved is not None:
            rows.append(account_row(**base, **moved, gas_used=receipt.gas_used, gas_price_wei=receipt.gas_price_wei))
    return [row for row in (*rows, *(calls or ())) if ours & {row["from_address"], row["to_address"]}]


def _moved(log: Mapping[str, Any], chain_id: int, *, is_asked: bool) -> dict[str, Any] | None:
    """What one log says was moved; None for all other events, and for what only looks like one of these."""
    topics, data = log.get("topics"), log.get("data")
    if not isinstance(topics, list) or not isinstance(data, str) or log.get("removed") is True:
        return None
    if not all(isinstance(word, str) and _WORD.fullmatch(word) for word in (*topics, data)):
        return None
    token = fields.single(dict(log), "address", fields.address, "a log")
    if len(topics) == 3 and topics[0] == TRANSFER:
        return {
            "kind": "token",
            "token_address": token,
            "from_address": _address(topics[1]),
            "to_address": _address(topics[2]),
            "value": int(data, 16),
            "decimals": 0,
        }
    if len(topics) == 2 and topics[0] == WITHDRAWAL and token == WRAPPED.get(chain_id) and not is_asked:
        return {"kind": "internal", "from_address": token, "to_address": _address(topics[1]), "value": int(data, 16)}
    return None


def _address(topic: str) -> str:
    """The address in the low 20 bytes of a topic."""
    return "0x" + topic[-40:].lower()
