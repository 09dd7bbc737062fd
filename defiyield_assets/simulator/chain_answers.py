"""Answers of Etherscan and Ethplorer about the simulated chain, as of an instant.

Lives here: the wire format of both vendors. Not here: what the chain holds (chain.py) or HTTP (wire.py). Values are
strings of base units as the vendors send them; nothing after the instant is told.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from defiyield_assets.simulator.blocks import block_at, block_hash
from defiyield_assets.simulator.chain import SimulatedChain
from defiyield_assets.simulator.chain_records import CHAIN_ID, NATIVE, TokenTransfer, Transaction

ETHERSCAN_MAX_ROWS = 10_000
ETHPLORER_MAX_OPERATIONS = 1_000


def _method_id(transaction: Transaction) -> str:
    if not transaction.function:
        return "0x"
    return "0x" + hashlib.sha256(transaction.function.encode()).hexdigest()[:8]


def _epoch(transaction: Transaction) -> int:
    return int(transaction.time.timestamp())


# --- Etherscan -----------------------------------------------------------------------------------------------------
def etherscan(chain: SimulatedChain, at: datetime, params: Mapping[str, str]) -> dict[str, Any]:
    """`/v2/api`: txlist, tokentx, txlistinternal, balance, tokenbalance of an account on chain 1; the newest block."""
    action, address = params.get("action", ""), params.get("address", "").lower()
    if params.get("module") == "proxy" and action == "eth_blockNumber":
        return {"jsonrpc": "2.0", "id": 83, "result": hex(block_at(at))}
    if params.get("module") != "account" or not address:
        return _not_ok("Error! Missing Or invalid Module name")
    is_ours = params.get("chainid", str(CHAIN_ID)) == str(CHAIN_ID)
    if action in {"balance", "tokenbalance"}:
        token = NATIVE if action == "balance" else params.get("contractaddress", "").lower()
        balance = chain.balances(address, at).get(token, 0) if is_ours else 0
        return {"status": "1", "message": "OK", "result": str(balance)}
    shapers = {"txlist": _txlist, "tokentx": _tokentx, "txlistinternal": _txlistinternal}
    if action not in shapers:
        return _not_ok("Error! Missing Or invalid Action name")
    head = block_at(at)
    first = int(params.get("startblock", "0"))
    last_text = params.get("endblock", "latest")
    last = int(last_text) if last_text.isdigit() else head
    rows = []
    nonces: dict[str, int] = {}
    for transaction in chain.transactions(at) if is_ours else ():
        nonce = nonces[transaction.sender] = nonces.get(transaction.sender, -1) + 1
        if first <= transaction.block <= last:
            rows.extend(shapers[action](transaction, address, nonce, head))
    contract = params.get("contractaddress", "").lower()
    if contract and action == "tokentx":
        rows = [row for row in rows if row["contractAddress"] == contract]
    if params.get("sort", "asc") == "desc":
        rows.reverse()
    page, offset = max(1, int(params.get("page", "1"))), int(params.get("offset", str(ETHERSCAN_MAX_ROWS)))
    if page * offset > ETHERSCAN_MAX_ROWS:
        return _not_ok("Result window is too large, PageNo x Offset size must be less than or equal to 10000")
    rows = rows[(page - 1) * offset : page * offset]
    if not rows:
        return {"status": "0", "message": "No transactions found", "result": []}
    return {"status": "1", "message": "OK", "result": rows}


def _not_ok(why: str) -> dict[str, Any]:
    return {"status": "0", "message": "NOTOK", "result": why}


def _header(transaction: Transaction) -> dict[str, str]:
    return {"blockNumber": str(transaction.block), "timeStamp": str(_epoch(transaction)), "hash": transaction.hash}


def _gas(transaction: Transaction, head: int) -> dict[str, str]:
    return {
        "gas": str(transaction.gas_used * 5 // 4),
        "gasPrice": str(transaction.gas_price_wei),
        "gasUsed": str(transaction.gas_used),
        "cumulativeGasUsed": str(transaction.gas_used),
        "methodId": _method_id(transaction),
        "functionName": transaction.function,
        "confirmations": str(head - transaction.block),
    }


def _txlist(transaction: Transaction, address: str, nonce: int, head: int) -> list[dict[str, str]]:
    if address not in (transaction.sender, transaction.receiver):
        return []
    row = {
        **_header(transaction),
        "blockHash": block_hash(transaction.block),
        "nonce": str(nonce),
        "transactionIndex": "0",
        "from": transaction.sender,
        "to": transaction.receiver,
        "value": str(transaction.value),
        "input": _method_id(transaction),
        "contractAddress": "",
        "txreceipt_status": "1" if transaction.is_success else "0",
        "isError": "0" if transaction.is_success else "1",
        **_gas(transaction, head),
    }
    return [row]


def _tokentx(transaction: Transaction, address: str, nonce: int, head: int) -> list[dict[str, str]]:
    return [
        {
            **_header(transaction),
            "nonce": str(nonce),
            "blockHash": block_hash(transaction.block),
            "from": transfer.sender,
            "contractAddress": transfer.token,
            "to": transfer.receiver,
            "value": str(transfer.value),
            "tokenName": transfer.name,
            "tokenSymbol": transfer.symbol,
            "tokenDecimal": str(transfer.decimals),
            "transactionIndex": "0",
            "input": "deprecated",
            **_gas(transaction, head),
        }
        for transfer in transaction.transfers
        if transaction.is_success and address in (transfer.sender, transfer.receiver)
    ]


def _txlistinternal(transaction: Transaction, address: str, _nonce: int, _head: int) -> list[dict[str, str]]:
    return [
        {
            **_header(transaction),
            "from": internal.sender,
            "to": internal.receiver,
            "value": str(internal.value),
            "contractAddress": "",
            "input": "",
            "type": "call",
            "gas": "10306",
            "gasUsed": "0",
            "traceId": f"0_{rank}",
            "isError": "0",
            "errCode": "",
        }
        for rank, internal in enumerate(transaction.internals)
        if transaction.is_success and address in (internal.sender, internal.receiver)
    ]


# --- Ethplorer -----------------------------------------------------------------------------------------------------
def _token_info(transfer: TokenTransfer, prices: Mapping[str, float], at: datetime) -> dict[str, Any]:
    price = prices.get(transfer.token)
    return {
        "address": transfer.token,
        "name": transfer.name,
        "decimals": str(transfer.decimals),
        "symbol": transfer.symbol,
        "totalSupply": "0",
        "owner": "0x",
        "lastUpdated": int(at.timestamp()),
        "issuancesCount": 0,
        "holdersCount": 0,
        "ethTransfersCount": 0,
        "price": False if price is None else {"rate": price, "currency": "USD", "ts": int(at.timestamp()), "diff": 0},
    }


def address_info(
    chain: SimulatedChain, at: datetime, address: str, prices: Mapping[str, float], eth_price: float | None
) -> dict[str, Any]:
    """`getAddressInfo`: ETH and every token that the address holds. `prices`: USD by token address, where known."""
    holder = address.lower()
    transactions = chain.transactions(at)
    claims = {transfer.token: transfer for t in transactions for transfer in t.transfers}
    balances = chain.balances(holder, at)
    wei = balances.pop(NATIVE, 0)
    tokens = [
        {
            "tokenInfo": _token_info(claims[token], prices, at),
            "balance": float(balance),
            "totalIn": 0,
            "totalOut": 0,
            "rawBalance": str(balance),
        }
        for token, balance in balances.items()
    ]
    price = False if eth_price is None else {"rate": eth_price, "currency": "USD", "ts": int(at.timestamp()), "diff": 0}
    return {
        "address": holder,
        "ETH": {"price": price, "balance": wei / 10**18, "rawBalance": str(wei)},
        "countTxs": sum(holder in (t.sender, t.receiver) for t in transactions),
        "tokens": tokens,
    }


def _operation(
    transaction: Transaction, transfer: TokenTransfer, prices: Mapping[str, float], at: datetime
) -> dict[str, Any]:
    return {
        "timestamp": _epoch(transaction),
        "transactionHash": transaction.hash,
        "tokenInfo": _token_info(transfer, prices, at),
        "type": "transfer",
        "value": str(transfer.value),
        "from": transfer.sender,
        "to": transfer.receiver,
    }


def address_history(
    chain: SimulatedChain, at: datetime, address: str, params: Mapping[str, str], prices: Mapping[str, float]
) -> dict[str, Any]:
    """`getAddressHistory`: token operations of an address, newest first, not after `timestamp`, at most `limit`."""
    holder, token = address.lower(), params.get("token", "").lower()
    return _operations(
        chain,
        at,
        params,
        prices,
        lambda transfer: holder in (transfer.sender, transfer.receiver) and token in ("", transfer.token),
    )


def token_history(
    chain: SimulatedChain, at: datetime, token: str, params: Mapping[str, str], prices: Mapping[str, float]
) -> dict[str, Any]:
    """`getTokenHistory`: operations of a token, newest first; the simulated chain has transfers only."""
    wanted = token.lower()
    if params.get("type", "transfer") != "transfer":
        return {"operations": []}
    return _operations(chain, at, params, prices, lambda transfer: transfer.token == wanted)


def _operations(
    chain: SimulatedChain,
    at: datetime,
    params: Mapping[str, str],
    prices: Mapping[str, float],
    is_wanted: Any,
) -> dict[str, Any]:
    limit = min(int(params.get("limit", "10")), ETHPLORER_MAX_OPERATIONS)
    latest = float(params.get("timestamp", at.timestamp()))
    operations = [
        _operation(transaction, transfer, prices, at)
        for transaction in reversed(chain.transactions(at))
        if transaction.is_success and _epoch(transaction) <= latest
        for transfer in reversed(transaction.transfers)
        if is_wanted(transfer)
    ]
    return {"operations": operations[:limit]}


def tx_info(chain: SimulatedChain, at: datetime, tx_hash: str, prices: Mapping[str, float]) -> dict[str, Any] | None:
    """`getTxInfo` of a transaction; None when the chain does not have it by then."""
    wanted, head = tx_hash.lower(), block_at(at)
    nonces: dict[str, int] = {}
    for transaction in chain.transactions(at):
        nonce = nonces[transaction.sender] = nonces.get(transaction.sender, -1) + 1
        if transaction.hash != wanted:
            continue
        return {
            "hash": transaction.hash,
            "timestamp": _epoch(transaction),
            "blockNumber": transaction.block,
            "confirmations": head - transaction.block,
            "success": transaction.is_success,
            "from": transaction.sender,
            "to": transaction.receiver,
            "value": transaction.value / 10**18,
            "input": _method_id(transaction),
            "gasLimit": transaction.gas_used * 5 // 4,
            "gasUsed": transaction.gas_used,
            "gasPrice": transaction.gas_price_wei / 10**18,
            "nonce": nonce,
            "methodId": _method_id(transaction),
            "functionName": transaction.function,
            "logs": [],
            "operations": [
                {**_operation(transaction, transfer, prices, at), "priority": rank}
                for rank, transfer in enumerate(transaction.transfers)
                if transaction.is_success
            ],
        }
    return None
