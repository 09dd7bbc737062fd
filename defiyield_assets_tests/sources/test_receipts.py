"""Single transactions by their receipts: the rows that Etherscan's lists give too, and hostile logs."""

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from defiyield_assets.errors import VendorError, VendorMalformed, VendorNotFound
from defiyield_assets.sources.account_rows import account_frame
from defiyield_assets.sources.etherscan import parse_internal, parse_token_transfers, parse_transactions
from defiyield_assets.sources.receipts import (
    TRANSFER,
    WITHDRAWAL,
    Receipts,
    parse_calls,
    proxied,
    read_receipt,
    read_time,
    receipt_rows,
)
from defiyield_assets_tests.sources.conftest import WorldMaker

WALLET, STRANGER, TOKEN = "0x" + "3a" * 20, "0x" + "57" * 20, "0x" + "a0" * 20
WETH, ROUTER = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2", "0x" + "60" * 20
HASH = "0x" + "ab" * 32
NOON = datetime(2025, 10, 24, 12, tzinfo=UTC)
KEYS = ["tx_hash", "kind", "ordinal", "from_address", "to_address", "token_address", "value"]


def word(value: int | str) -> str:
    """32 bytes of an integer or an address."""
    return f"0x{value:064x}" if isinstance(value, int) else "0x" + value[2:].rjust(64, "0")


def transfer(giver: str, taker: str, value: int, token: str = TOKEN) -> dict[str, Any]:
    return {"address": token, "topics": [TRANSFER, word(giver), word(taker)], "data": word(value), "removed": False}


def transaction(**changed: Any) -> dict[str, Any]:
    base = {"hash": HASH, "from": WALLET, "to": ROUTER, "value": "0x0", "gas": "0x30d40", "gasPrice": "0x3"}
    return {**base, **changed}


def receipt(*logs: dict[str, Any], **changed: Any) -> dict[str, Any]:
    base = {"transactionHash": HASH, "blockNumber": "0x10", "gasUsed": "0x64", "effectiveGasPrice": "0x2"}
    return {**base, "status": "0x1", "logs": list(logs), **changed}


def rows(told: dict[str, Any], mined: dict[str, Any], chain_id: int = 1, **options: Any) -> list[dict[str, Any]]:
    return receipt_rows(read_receipt(told, mined), chain_id, [WALLET.upper().replace("0X", "0x")], NOON, **options)


def test_transfers_coin_and_gas_of_our_wallet_and_nothing_of_others() -> None:
    mined = receipt(
        transfer(WALLET, ROUTER, 7), transfer(ROUTER, STRANGER, 7), transfer(STRANGER, WALLET, 2**256 - 1), l1Fee="0x5"
    )
    found = rows(transaction(value="0x9"), mined)
    assert [(row["kind"], row["from_address"], row["to_address"], row["value"]) for row in found] == [
        ("native", WALLET, ROUTER, 9),
        ("gas", WALLET, "", 205),
        ("token", WALLET, ROUTER, 7),
        ("token", STRANGER, WALLET, 2**256 - 1),
    ]
    assert {(row["gas_used"], row["gas_price_wei"]) for row in found} == {(100, 2)}
    assert {row["decimals"] for row in found if row["kind"] == "token"} == {0}
    assert {row["block_number"] for row in found} == {16}


def test_failed_transaction_costs_gas_only_and_old_receipts_fail_by_using_all_gas() -> None:
    for mined in (receipt(status="0x0"), receipt(status=None, gasUsed="0x30d40")):
        found = rows(transaction(value="0x9"), mined)
        assert [(row["kind"], row["value"] > 0, row["is_success"]) for row in found] == [
            ("native", False, False),
            ("gas", True, False),
        ]
    assert rows(transaction(), receipt(status=None))[0]["is_success"]
    old = receipt()
    del old["effectiveGasPrice"]
    assert rows(transaction(), old)[0]["value"] == 300


def test_gas_is_paid_by_the_sender_only() -> None:
    found = rows(transaction(**{"from": STRANGER}), receipt(transfer(STRANGER, WALLET, 7)))
    assert [row["kind"] for row in found] == ["token"]


@pytest.mark.parametrize(
    "log",
    [
        {**transfer(STRANGER, WALLET, 7), "topics": [TRANSFER, word(STRANGER), word(WALLET), word(7)], "data": "0x"},
        {**transfer(STRANGER, WALLET, 7), "topics": [TRANSFER, word(STRANGER), word(WALLET), word(7)]},
        {**transfer(STRANGER, WALLET, 7), "data": word(7) + word(8)[2:]},
        {**transfer(STRANGER, WALLET, 7), "data": "0x" + "zz" * 32},
        {**transfer(STRANGER, WALLET, 7), "removed": True},
        {**transfer(STRANGER, WALLET, 7), "topics": [TRANSFER]},
        {**transfer(STRANGER, WALLET, 7), "topics": [word(1), word(STRANGER), word(WALLET)]},
        {**transfer(STRANGER, WALLET, 7), "topics": None},
        {**transfer(STRANGER, WALLET, 7), "data": None},
        {"address": TOKEN, "topics": [WITHDRAWAL, word(WALLET)], "data": word(7)},
        {"address": WETH, "topics": [WITHDRAWAL, word(WALLET), word(1)], "data": word(7)},
    ],
)
def test_what_is_no_transfer_of_a_token_moves_nothing(log: dict[str, Any]) -> None:
    assert [row["kind"] for row in rows(transaction(), receipt(log))] == ["gas"]


def test_unwrapping_pays_coin_unless_somebody_told_what_contracts_paid() -> None:
    unwrap = {"address": WETH, "topics": [WITHDRAWAL, word(WALLET)], "data": word(7)}
    paid = rows(transaction(), receipt(unwrap))[1]
    assert (paid["kind"], paid["token_address"], paid["from_address"], paid["value"]) == ("internal", "native", WETH, 7)
    assert [row["kind"] for row in rows(transaction(), receipt(unwrap), calls=[])] == ["gas"]
    assert [row["kind"] for row in rows(transaction(), receipt(unwrap), chain_id=10)] == ["gas"]


@pytest.mark.parametrize(
    ("told", "mined", "wanted"),
    [
        (transaction(), receipt(transactionHash="0x" + "cd" * 32), "another transaction"),
        (transaction(hash="0x1"), receipt(), "'hash'"),
        (transaction(value="9"), receipt(), "'value'"),
        (transaction(), receipt(gasUsed=None), "'gasUsed'"),
        (transaction(), receipt(logs=None), "logs"),
        (transaction(), receipt(blockNumber=hex(2**63)), "'blockNumber'"),
        (transaction(), receipt(gasUsed=hex(2**200), effectiveGasPrice=hex(2**100)), "more than"),
        (transaction(), receipt({**transfer(STRANGER, WALLET, 7), "address": "0x1"}), "'address' of a log"),
    ],
)
def test_unreadable_receipts_are_malformed(told: dict[str, Any], mined: dict[str, Any], wanted: str) -> None:
    with pytest.raises(VendorMalformed, match=wanted):
        rows(told, mined)


def test_a_transaction_that_is_not_mined_is_not_found_and_times_are_read() -> None:
    with pytest.raises(VendorNotFound):
        proxied({"jsonrpc": "2.0", "id": 1, "result": None})
    assert read_time({"timestamp": "0x68fb6a40"}) == NOON
    with pytest.raises(VendorMalformed, match="timestamp"):
        read_time({"timestamp": hex(2**70)})


def test_one_transaction_is_asked_for_in_four_questions(world: WorldMaker) -> None:
    call = {
        "blockNumber": "16",
        "timeStamp": "1761307200",
        "from": ROUTER,
        "to": WALLET,
        "value": "5",
        "isError": "0",
        "type": "call",
    }
    said = [
        {"jsonrpc": "2.0", "id": 1, "result": result}
        for result in (
            transaction(),
            receipt(transfer(STRANGER, WALLET, 7)),
            {"timestamp": "0x68fb6a40"},
        )
    ]
    here = world(*said, {"status": "1", "message": "OK", "result": [call]})
    frame = here.run(lambda gateway: Receipts(gateway).transaction(1, HASH.upper().replace("0X", "0x"), [WALLET])).rows
    assert list(zip(frame["kind"], frame["value"], strict=True)) == [("gas", 200), ("internal", 5), ("token", 7)]
    assert set(frame["block_time"]) == {NOON}
    asked = [dict(request.url.params) for request in here.vendors.requests]
    assert [one["action"] for one in asked] == [
        "eth_getTransactionByHash",
        "eth_getTransactionReceipt",
        "eth_getBlockByNumber",
        "txlistinternal",
    ]
    assert (asked[0]["txhash"], asked[2]["tag"], asked[3]["txhash"]) == (HASH, "0x10", HASH)
    assert parse_calls({"status": "0", "message": "No transactions found", "result": []}, 1, HASH) == []


@pytest.mark.recorded
def test_receipts_and_lists_give_the_same_keys_for_the_same_transaction(recorded_data: Path) -> None:
    """A receipt made from the recorded lists of one address must give the rows that the lists give."""
    path = recorded_data / "chain" / "etherscan_account_0xb8553d9e_txlist_tokentx_internal.json"
    account, parts = "0xb8553d9ee35dd23bb96fbd679e651b929821969b", {}
    for entry in json.loads(path.read_text())[:3]:
        parts[entry["url"].split("action=")[1].split("&")[0]] = entry["response"]
    listed = account_frame(
        [
            *parse_transactions(parts["txlist"], 1, account).rows,
            *parse_internal(parts["txlistinternal"], 1).rows,
            *parse_token_transfers(parts["tokentx"], 1).rows,
        ]
    )
    compared = 0
    for told in parts["txlist"]["result"]:
        tokens = [row for row in parts["tokentx"]["result"] if row["hash"] == told["hash"]]
        calls = [row for row in parts["txlistinternal"]["result"] if row["hash"] == told["hash"]]
        mined = {
            "transactionHash": told["hash"],
            "blockNumber": hex(int(told["blockNumber"])),
            "gasUsed": hex(int(told["gasUsed"])),
            "effectiveGasPrice": hex(int(told["gasPrice"])),
            "status": hex(1 - int(told["isError"])),
            "logs": [transfer(row["from"], row["to"], int(row["value"]), row["contractAddress"]) for row in tokens],
        }
        asked = {"hash": told["hash"], "from": told["from"], "to": told["to"], "value": hex(int(told["value"]))}
        paid = parse_calls({"status": "1", "message": "OK", "result": calls}, 1, told["hash"]) if calls else []
        when = datetime.fromtimestamp(int(told["timeStamp"]), UTC)
        ours = account_frame(receipt_rows(read_receipt(asked, mined), 1, [account], when, paid))
        theirs = listed[listed["tx_hash"] == told["hash"]]
        assert ours[KEYS].to_dict("records") == theirs[KEYS].to_dict("records")
        assert list(ours["block_time"]) == list(theirs["block_time"])
        compared += len(ours)
    assert compared > 30


JUNK = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=70), st.just("0x"), st.just([]), st.just({}))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_receipts_are_vendor_errors_or_rows_never_anything_else(data: st.DataObject) -> None:
    told = transaction()
    mined = receipt(
        transfer(WALLET, ROUTER, 7), {"address": WETH, "topics": [WITHDRAWAL, word(WALLET)], "data": word(7)}
    )
    documents = [copy.deepcopy(told), copy.deepcopy(mined)]
    place = data.draw(st.sampled_from(documents))
    if place.get("logs") and data.draw(st.booleans()):
        place = data.draw(st.sampled_from(place["logs"]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JUNK)
    try:
        found = account_frame(rows(documents[0], documents[1]))
    except VendorError:
        return
    assert all(0 <= value < 2**256 for value in found["value"])
