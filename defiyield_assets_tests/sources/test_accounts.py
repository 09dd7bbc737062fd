"""Etherscan and Ethplorer: exact integers, equal keys, paging without loss or repeats, hostile tokens stop nothing."""

from datetime import date, timedelta
from typing import Any

import httpx
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.ledger.ordinals import merge_views
from defiyield_assets.errors import (
    VendorAuthError,
    VendorError,
    VendorMalformed,
    VendorNotFound,
    VendorPlanLimit,
    VendorThrottled,
    VendorUnavailable,
)
from defiyield_assets.sources import account_rows, etherscan
from defiyield_assets.sources.etherscan import (
    Etherscan,
    parse_quantity,
    parse_token_transfers,
    parse_transactions,
    refuse_error,
)
from defiyield_assets.sources.ethplorer import Ethplorer, parse_address_info, parse_operations
from defiyield_assets.sources.fields import MAX_UINT256
from defiyield_assets.sources.transport import Window
from defiyield_assets.store import schema
from defiyield_assets_tests.sources.conftest import MemoryArchive, Vendors, World, WorldMaker
from defiyield_assets_tests.sources.samples import OTHER, USDC, VAULT, WALLET, ZERO, sample, tx

KEY = ["chain_id", "tx_hash", "kind", "ordinal", "token_address", "from_address", "to_address", "value"]
NOTHING = {"status": "0", "message": "No transactions found", "result": []}


def by_action(**answers: Any) -> World:
    """An Etherscan that gives each action its answer, on the first page."""

    def reply(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=answers.get(request.url.params["action"], NOTHING))

    return World(Vendors(reply), MemoryArchive())


def read_wallet(world: World, wallet: str = WALLET) -> Any:
    return world.run(lambda gateway: Etherscan(gateway).transactions(1, wallet.upper().replace("0X", "0x"), 90))


def test_the_columns_are_those_of_the_table() -> None:
    assert list(account_rows.COLUMNS) == [column.name for column in schema.account_transactions.columns]
    assert list(account_rows.account_frame([]).columns) == list(account_rows.COLUMNS)


def test_a_wallet_is_read_completely() -> None:
    world = by_action(txlist=sample("txlist"), txlistinternal=sample("txlistinternal"), tokentx=sample("tokentx"))
    rows = read_wallet(world).rows
    asked = world.vendors.requests[0].url
    assert asked.path == "/v2/api"
    assert (asked.params["chainid"], asked.params["module"], asked.params["address"]) == ("1", "account", WALLET)
    assert (asked.params["startblock"], asked.params["sort"]) == ("90", "asc")
    assert list(rows.columns) == list(account_rows.COLUMNS)
    found = rows[["tx_hash", "kind", "from_address", "to_address", "token_address", "value", "is_success"]]
    gas = 2_000_000_000
    assert found.to_numpy().tolist() == [
        [tx(1), "native", OTHER, WALLET, "native", 2 * 10**18, True],
        [tx(2), "gas", WALLET, "", "native", 180_000 * gas, True],
        [tx(2), "token", WALLET, VAULT, USDC, 4_000_000, True],
        [tx(2), "token", ZERO, WALLET, VAULT, 38 * 10**17, True],
        [tx(3), "gas", WALLET, "", "native", 30_000 * gas, False],
        [tx(3), "native", WALLET, OTHER, "native", 0, False],
        [tx(4), "internal", VAULT, WALLET, "native", 5, True],
    ]
    assert rows["ordinal"].tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert rows["block_number"].tolist() == [100, 101, 101, 101, 102, 102, 103]
    assert set(rows["date"]) == {date(2025, 10, 24)}
    assert rows["function_name"].tolist()[1].startswith("deposit(")
    assert all(type(value) is int for value in rows["value"])
    assert (rows["gas_used"].tolist()[0], rows["gas_price_wei"].tolist()[0]) == (21_000, 10**9)


def test_a_failed_call_without_eth_is_seen_too() -> None:
    answer = sample("txlist")
    answer["result"] = [{**answer["result"][2], "value": "0"}]
    rows = parse_transactions(answer, 1, OTHER).rows
    assert [(row["kind"], row["value"], row["is_success"]) for row in rows] == [("native", 0, False)]


def test_an_answer_in_which_everything_stands_twice_counts_once() -> None:
    answers = {action: sample(action) for action in ("txlist", "txlistinternal", "tokentx")}
    for answer in answers.values():
        rows = answer["result"]
        rows += [rows[-1], {**rows[-1], "hash": tx(9)}]  # an equal row of the same transaction, and another transaction
    whole = read_wallet(by_action(**answers)).rows
    assert whole["kind"].value_counts()["token"] == 4
    by_row = {
        name: {**answer, "result": [row for row in answer["result"] for _ in range(2)]}
        for name, answer in answers.items()
    }
    by_block = {name: {**answer, "result": answer["result"] * 2} for name, answer in answers.items()}
    for doubled in (by_row, by_block):
        pd.testing.assert_frame_equal(read_wallet(by_action(**doubled)).rows, whole)


def test_a_batch_of_equal_payments_alone_on_its_page_is_kept_whole() -> None:
    answer = sample("tokentx")
    five, seven = ({**answer["result"][0], "value": value} for value in ("5000000", "7000000"))
    answer["result"] = [five, five, seven, seven]
    transfers = read_wallet(by_action(tokentx=answer)).rows
    assert sorted(transfers["value"]) == [5_000_000, 5_000_000, 7_000_000, 7_000_000]


def test_one_internal_call_told_twice_counts_once_where_it_names_its_trace() -> None:
    answer = sample("txlistinternal")
    row = {**answer["result"][0], "traceId": "0_1", "isError": "0", "value": "5"}
    same, other = {**answer, "result": [row, row]}, {**answer, "result": [row, {**row, "traceId": "0_2"}]}
    assert len(read_wallet(by_action(txlistinternal=same)).rows) == 1
    assert len(read_wallet(by_action(txlistinternal=other)).rows) == 2


def test_two_equal_transfers_of_one_transaction_stay_two() -> None:
    answer = sample("tokentx")
    row = answer["result"][0]
    answer["result"] = [row, row]
    transfers = read_wallet(by_action(tokentx=answer)).rows
    assert transfers["ordinal"].tolist() == [0, 1]


def test_an_answer_that_found_something_and_lists_nothing_is_malformed() -> None:
    with pytest.raises(VendorMalformed, match="'result' is empty"):
        read_wallet(by_action(txlist={"status": "1", "message": "OK", "result": []}))


def test_an_address_without_history_has_an_empty_frame() -> None:
    fetched = read_wallet(by_action(txlistinternal={**NOTHING, "message": "No internal transactions found"}))
    assert (len(fetched.rows), list(fetched.rows.columns)) == (0, list(account_rows.COLUMNS))


@pytest.mark.parametrize(
    ("message", "result", "error", "attempts"),
    [
        ("NOTOK", "Max calls per sec rate limit reached (3/sec)", VendorThrottled, 5),
        ("NOTOK", "Max rate limit reached, please use API Key for higher rate limit", VendorThrottled, 5),
        ("NOTOK", "Max daily rate limit reached", VendorPlanLimit, 1),
        ("NOTOK", "Invalid API Key (#err2)|sdk", VendorAuthError, 1),
        ("NOTOK", "Missing/Invalid API Key", VendorAuthError, 1),
        ("NOTOK", "Error! Invalid address format", VendorNotFound, 1),
        ("NOTOK", "Free API access is not supported for this chain. Please upgrade", VendorAuthError, 1),
        ("NOTOK", "Query Timeout occured. Please select a smaller result dataset", VendorUnavailable, 5),
        ("NOTOK", None, VendorUnavailable, 5),
        ("NOTOK", [], VendorUnavailable, 5),
    ],
)
def test_the_words_of_a_200_are_errors(message: str, result: Any, error: type[VendorError], attempts: int) -> None:
    world = World(
        Vendors(lambda _: httpx.Response(200, json={"status": "0", "message": message, "result": result})),
        MemoryArchive(),
    )
    with pytest.raises(error) as caught:
        world.run(lambda gateway: Etherscan(gateway).token_balance(1, WALLET, USDC))
    assert type(caught.value) is error
    assert len(world.vendors.requests) == attempts


def test_token_balance(world: WorldMaker) -> None:
    here = world({"status": "1", "message": "OK", "result": str(MAX_UINT256)})
    assert here.run(lambda gateway: Etherscan(gateway).token_balance(1, WALLET, USDC)).rows == MAX_UINT256
    params = here.vendors.requests[0].url.params
    assert (params["action"], params["contractaddress"], params["address"]) == ("tokenbalance", USDC, WALLET)


def test_the_newest_block_is_what_the_node_behind_the_vendor_says(world: WorldMaker) -> None:
    here = world(sample("block_number"))
    assert here.run(lambda gateway: Etherscan(gateway).newest_block(8453)).rows == 0x15A3F2C
    params = here.vendors.requests[0].url.params
    assert (params["module"], params["action"], params["chainid"]) == ("proxy", "eth_blockNumber", "8453")


@pytest.mark.parametrize("result", [None, "", "12", "0x", "0x01", "0xG", 12, ["0x1"]])
def test_a_block_number_that_is_none_is_malformed(result: object) -> None:
    with pytest.raises(VendorMalformed, match="field 'result'"):
        parse_quantity({"jsonrpc": "2.0", "id": 1, "result": result})


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (
            {"status": "0", "message": "NOTOK", "result": "Max calls per sec rate limit reached (3/sec)"},
            VendorThrottled,
        ),
        ({"jsonrpc": "2.0", "id": 1, "error": {"code": -32005, "message": "rate limit exceeded"}}, VendorThrottled),
        ({"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "invalid argument 0"}}, VendorNotFound),
        ({"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "header not found"}}, VendorUnavailable),
    ],
)
def test_errors_of_the_node_behind_the_vendor_are_told_apart(answer: Any, error: type[VendorError]) -> None:
    with pytest.raises(error) as caught:
        refuse_error(answer)
    assert type(caught.value) is error


def test_balances_of_another_chain_are_asked_one_by_one() -> None:
    held = {"balance": "5", "tokenbalance": {USDC: str(MAX_UINT256), VAULT: "0"}}

    def reply(request: httpx.Request) -> httpx.Response:
        asked = held[request.url.params["action"]]
        result = asked if isinstance(asked, str) else asked[request.url.params["contractaddress"]]
        return httpx.Response(200, json={"status": "1", "message": "OK", "result": result})

    world = World(Vendors(reply), MemoryArchive())
    rows = world.run(lambda gateway: Etherscan(gateway).balances(10, WALLET, {USDC: 6, VAULT: 18})).rows
    assert rows.to_numpy().tolist() == [["native", 5, 18], [USDC, MAX_UINT256, 6]]
    assert {request.url.params["chainid"] for request in world.vendors.requests} == {"10"}


@pytest.mark.parametrize("value", [str(MAX_UINT256), str(2**64 + 1), "0"])
def test_amounts_are_exact(value: str) -> None:
    answer = sample("tokentx")
    answer["result"][0]["value"] = value
    assert parse_token_transfers(answer, 1).rows[0]["value"] == int(value)
    operations = sample("operations")
    operations["operations"][0]["value"] = value
    assert parse_operations(operations)[0]["value"] == int(value)


@pytest.mark.parametrize("value", [str(MAX_UINT256 + 1), "-1", "1.5", "0x10", "1e3", "", None, 1e18, True, "٣"])
def test_amounts_that_are_none_are_refused(value: object) -> None:
    answer = sample("tokentx")
    answer["result"][1]["value"] = value
    with pytest.raises(VendorMalformed, match="field 'value' of row 1"):
        parse_token_transfers(answer, 1)
    operations = sample("operations")
    operations["operations"][1]["value"] = value
    with pytest.raises(VendorMalformed, match="field 'value' of row 1"):
        parse_operations(operations)


def test_gas_beyond_256_bits_is_refused() -> None:
    answer = sample("txlist")
    answer["result"][1].update(gasUsed=str(2**200), gasPrice=str(2**200))
    with pytest.raises(VendorMalformed, match="row 1"):
        parse_transactions(answer, 1, WALLET)


HOSTILE = ["", None, "=cmd|'/C calc'!A0", "<script>", "\x00\ud800\x1b[2J", "U" * 10_000_000, 7, [], {}]


@pytest.mark.parametrize("claim", HOSTILE, ids=range(len(HOSTILE)))
def test_what_a_token_claims_of_itself_stops_nothing(claim: object) -> None:
    answer = sample("tokentx")
    answer["result"][0].update(tokenSymbol=claim, tokenName=claim, tokenDecimal=claim, functionName=claim)
    row = parse_token_transfers(answer, 1).rows[0]
    assert row["decimals"] == (claim if claim == 7 else 0)
    assert row["symbol_claimed"] is None or len(row["symbol_claimed"].encode()) <= 4_000
    operations = sample("operations")
    operations["operations"][0]["tokenInfo"].update(symbol=claim, decimals=claim, name=claim)
    transfer = parse_operations(operations)[0]
    assert (transfer["decimals"], transfer["symbol_claimed"]) == (row["decimals"], row["symbol_claimed"])


@pytest.mark.parametrize("claim", ["256", 10**30, -1, "1e9"])
def test_impossible_decimals_count_as_zero(claim: object) -> None:
    answer = sample("tokentx")
    answer["result"][0]["tokenDecimal"] = claim
    assert parse_token_transfers(answer, 1).rows[0]["decimals"] == 0


@pytest.mark.parametrize(
    "field", ["blockNumber", "timeStamp", "hash", "from", "to", "value", "gasPrice", "gasUsed", "isError"]
)
def test_used_fields_must_be_there(field: str) -> None:
    answer = sample("txlist")
    del answer["result"][1][field]
    with pytest.raises(VendorMalformed, match=f"field '{field}' of row 1 is missing"):
        parse_transactions(answer, 1, WALLET)
    answer["result"][1][field] = {"nested": 1}
    with pytest.raises(VendorMalformed, match=f"field '{field}' of row 1"):
        parse_transactions(answer, 1, WALLET)


def test_ethplorer_and_etherscan_give_the_same_keys() -> None:
    ours = read_wallet(by_action(tokentx=sample("tokentx"))).rows
    theirs = account_rows.account_frame(parse_operations(sample("operations")))
    assert list(theirs.columns) == list(account_rows.COLUMNS)
    assert theirs[KEY].to_numpy().tolist() == ours[KEY].to_numpy().tolist()
    assert theirs["block_number"].isna().all()


def test_a_transfer_between_two_wallets_is_in_both_views_and_merges_to_one() -> None:
    answer = sample("tokentx")
    answer["result"][1]["to"] = OTHER
    views = [read_wallet(by_action(tokentx=answer)).rows]
    answer["result"] = [row for row in answer["result"] if OTHER in (row["from"], row["to"])]
    views.append(read_wallet(by_action(tokentx=answer), OTHER).rows)
    assert merge_views(views)[KEY].to_numpy().tolist() == views[0][KEY].to_numpy().tolist()


# --- paging --------------------------------------------------------------------------------------------------------
BLOCKS = st.lists(st.integers(1, 12), max_size=40).map(sorted)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of three rows, two of them to a question, so that few rows need many answers."""
    monkeypatch.setattr(etherscan, "PAGE_SIZE", 3)
    monkeypatch.setattr(etherscan, "MAX_PAGES", 2)


def paged_etherscan(rows: list[dict[str, Any]]) -> World:
    def reply(request: httpx.Request) -> httpx.Response:
        params = request.url.params
        if params["action"] != "tokentx":
            return httpx.Response(200, json=NOTHING)
        asked = [row for row in rows if int(params["startblock"]) <= int(row["blockNumber"]) <= int(params["endblock"])]
        size, page = int(params["offset"]), int(params["page"])
        found = asked[(page - 1) * size : page * size]
        return httpx.Response(200, json={"status": "1", "message": "OK", "result": found} if found else NOTHING)

    return World(Vendors(reply), MemoryArchive())


def token_rows(blocks: list[int]) -> list[dict[str, Any]]:
    row = sample("tokentx")["result"][0]
    return [{**row, "blockNumber": str(block), "hash": tx(block), "value": str(n)} for n, block in enumerate(blocks)]


@settings(max_examples=40, deadline=None)
@given(blocks=BLOCKS)
def test_etherscan_pages_lose_and_repeat_nothing(blocks: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(etherscan, "PAGE_SIZE", 3)
        patch.setattr(etherscan, "MAX_PAGES", 2)
        world = paged_etherscan(token_rows(blocks))
        crowded = any(blocks.count(block) >= 6 for block in blocks)
        try:
            rows = world.run(lambda gateway: Etherscan(gateway).transactions(1, WALLET, 0)).rows
        except VendorMalformed:
            assert crowded
        else:
            assert sorted(rows["value"]) == list(range(len(blocks)))


@pytest.mark.usefixtures("small_pages")
def test_a_full_page_with_a_row_told_twice_is_not_the_last() -> None:
    """How many rows the vendor sent says whether there are more, not how many of them count."""
    row = sample("txlist")["result"][0]
    pages = [[1, 2, 2], [3, 4, 4], [5]]

    def reply(request: httpx.Request) -> httpx.Response:
        asked = request.url.params
        listed = [block for page in pages for block in page if block >= int(asked["startblock"])]
        size, number = int(asked["offset"]), int(asked["page"])
        blocks = listed[(number - 1) * size : number * size] if asked["action"] == "txlist" else []
        found = [{**row, "blockNumber": str(block), "hash": tx(block)} for block in blocks]
        return httpx.Response(200, json={"status": "1", "message": "OK", "result": found} if found else NOTHING)

    world = World(Vendors(reply), MemoryArchive())
    rows = world.run(lambda gateway: Etherscan(gateway).transactions(1, WALLET, 0)).rows
    assert rows["block_number"].tolist() == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("small_pages")
def test_a_block_with_more_rows_than_can_be_paged_is_an_error() -> None:
    with pytest.raises(VendorMalformed, match="block 5 holds more than 6 rows"):
        paged_etherscan(token_rows([5] * 7)).run(lambda gateway: Etherscan(gateway).transactions(1, WALLET, 0))


@pytest.mark.usefixtures("small_pages")
def test_a_vendor_that_ignores_the_page_size_is_an_error() -> None:
    world = by_action(tokentx={"status": "1", "message": "OK", "result": token_rows([1, 2, 3, 4])})
    with pytest.raises(VendorMalformed, match="more than the 3 rows"):
        read_wallet(world)


def test_the_free_key_asks_for_what_it_gets(world: WorldMaker) -> None:
    here = world({"operations": []}, settings={"api_key": "freekey"})
    here.run(lambda gateway: Ethplorer(gateway).frequent_tokens(WALLET, 5_000))
    own = world({"operations": []})
    own.run(lambda gateway: Ethplorer(gateway).frequent_tokens(WALLET, 5_000))
    assert [w.vendors.requests[0].url.params["limit"] for w in (here, own)] == ["100", "1000"]


# --- Ethplorer's balances and errors -------------------------------------------------------------------------------
def test_balances_are_exact_and_include_eth(world: WorldMaker) -> None:
    here = world(sample("address_info"))
    rows = here.run(lambda gateway: Ethplorer(gateway).address_info(WALLET)).rows
    assert here.vendors.requests[0].url.path == f"/getAddressInfo/{WALLET}"
    assert rows.to_dict("records") == [
        {"token_address": USDC, "balance": 1_500_000, "decimals": 6, "symbol_claimed": "USDC", "is_exact": True},
        {
            "token_address": "native",
            "balance": 2 * 10**18 + 1,
            "decimals": 18,
            "symbol_claimed": "ETH",
            "is_exact": True,
        },
    ]


def test_balances_that_only_come_as_floats_say_so() -> None:
    answer = sample("address_info")
    del answer["ETH"]["rawBalance"], answer["tokens"][0]["rawBalance"]
    answer["ETH"]["balance"] = 23247.018265690003
    rows = parse_address_info(answer).set_index("token_address")
    assert rows.loc["native", "balance"] == 23247018265690003000000
    assert (rows.loc["native", "is_exact"], rows.loc[USDC, "is_exact"]) == (False, True)
    answer["tokens"] = answer["tokens"] * 2
    assert len(parse_address_info(answer)) == 2
    answer["tokens"] = [answer["tokens"][0], {**answer["tokens"][0], "balance": 1}]
    with pytest.raises(VendorMalformed, match="twice"):
        parse_address_info(answer)


def test_an_address_without_tokens(world: WorldMaker) -> None:
    answer = sample("address_info")
    del answer["tokens"]
    assert parse_address_info(answer)["token_address"].tolist() == ["native"]


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (200, 1, VendorAuthError),
        (401, 1, VendorAuthError),
        (406, 104, VendorNotFound),
        (429, 136, VendorThrottled),
        (200, 999, VendorUnavailable),
        (200, "x", VendorUnavailable),
    ],
)
def test_ethplorer_errors(world: WorldMaker, status: int, code: object, error: type[VendorError]) -> None:
    here = world(lambda _: httpx.Response(status, json={"error": {"code": code, "message": "no"}}))
    with pytest.raises(error):
        here.run(lambda gateway: Ethplorer(gateway).address_info(WALLET))


def test_operations_that_move_nothing_are_left_out() -> None:
    answer = sample("operations")
    answer["operations"][0] = {"timestamp": 1761300012, "type": "approve"}
    assert len(parse_operations(answer)) == 1


def test_the_most_frequent_token_leaves_out_the_addresses_own(world: WorldMaker) -> None:
    answer = sample("operations")
    answer["operations"].append({**answer["operations"][0], "transactionHash": tx(5)})
    answer["operations"].append({**answer["operations"][0], "type": "approve"})
    here = world(answer)
    shares = here.run(lambda gateway: Ethplorer(gateway).frequent_tokens(WALLET)).rows
    assert shares.to_dict("records") == [
        {"token_address": USDC, "symbol_claimed": "USDC", "n_transfers": 2, "share": 2 / 3},
        {"token_address": VAULT, "symbol_claimed": "vUSDC", "n_transfers": 1, "share": 1 / 3},
    ]
    own = here.run(lambda gateway: Ethplorer(gateway).frequent_tokens(VAULT.upper().replace("X", "x"))).rows
    assert own[["token_address", "share"]].to_numpy().tolist() == [[USDC, 1.0]]
    nothing = world({"operations": []}).run(lambda gateway: Ethplorer(gateway).frequent_tokens(VAULT)).rows
    assert (len(nothing), list(nothing.columns)) == (0, list(shares.columns))


def test_the_same_day_again_asks_no_vendor_for_the_most_frequent_token(world: WorldMaker) -> None:
    here = world(sample("operations"))
    window = Window(here.now, here.now + timedelta(hours=1))
    first, again = (
        here.run(lambda gateway: Ethplorer(gateway).frequent_tokens(WALLET, window=window, reuse=window))
        for _ in range(2)
    )
    assert (first.from_archive, again.from_archive, len(here.vendors.requests)) == (False, True, 1)
    pd.testing.assert_frame_equal(again.rows, first.rows)


def test_tokens_equally_frequent_are_ranked_by_address(world: WorldMaker) -> None:
    answer = sample("operations")
    answer["operations"].reverse()
    shares = world(answer).run(lambda gateway: Ethplorer(gateway).frequent_tokens(OTHER)).rows
    assert shares["token_address"].tolist() == sorted([USDC, VAULT])
