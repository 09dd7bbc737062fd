"""The Ethereum node: which blocks make a day and an hour, how few questions that takes, what calls and errors mean."""

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pytest

from defiyield_assets.domain.days import DayRange, end_of, start_of
from defiyield_assets.errors import (
    VendorAuthError,
    VendorError,
    VendorMalformed,
    VendorNotFound,
    VendorPlanLimit,
    VendorThrottled,
    VendorUnavailable,
)
from defiyield_assets.sources.ethereum_node import (
    BLOCKS_PER_CALL,
    CALLS_PER_DAY,
    Block,
    EthereumNode,
    FeeHistory,
    hours_of_blocks,
    parse_block,
    parse_call,
    parse_fee_history,
    refuse_call_error,
    refuse_error,
)
from defiyield_assets.sources.fields import hex_quantity
from defiyield_assets.sources.transport import Window
from defiyield_assets_tests.sources.conftest import MemoryArchive, Vendors, World
from defiyield_assets_tests.sources.samples import sample

DAY = date(2025, 10, 23)
STAMP = datetime(2025, 10, 24, 0, 30, tzinfo=UTC)
FOREVER = Window(end_of(DAY), end_of(DAY) + timedelta(days=900))


class Chain:
    """Blocks in slots of 12 seconds of which some are missed; fees are a function of the block's number."""

    def __init__(self, newest: datetime, missed: float, n_blocks: int = 40_000) -> None:
        rng = np.random.default_rng(5)
        gaps = 12 * (1 + rng.geometric(1 - missed, n_blocks) - 1) if missed else np.full(n_blocks, 12)
        self.first = 21_000_017
        self.times = int(newest.timestamp()) - 7 - np.cumsum(gaps[::-1])[::-1] + gaps[-1]
        self.asked: Counter[str] = Counter()

    @property
    def newest(self) -> int:
        return self.first + len(self.times) - 1

    @staticmethod
    def base(number: int) -> int:
        return 10**9 + (number * 7_919) % 10**9

    def reply(self, request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        self.asked[asked["method"]] += 1
        return httpx.Response(200, json={"jsonrpc": "2.0", "id": 1, "result": self.result(**asked)})

    def result(self, method: str, params: Sequence[Any], **_: Any) -> Any:
        if method == "eth_getBlockByNumber":
            number = self.newest if params[0] == "latest" else int(params[0], 16)
            if not self.first <= number <= self.newest:
                return None
            return {"number": hex(number), "timestamp": hex(int(self.times[number - self.first]))}
        count, last, percentiles = int(params[0], 16), int(params[1], 16), params[2]
        assert count <= 1024
        assert last <= self.newest
        blocks = range(last - count + 1, last + 2)
        return {
            "oldestBlock": hex(blocks[0]),
            "baseFeePerGas": [hex(self.base(n)) for n in blocks],
            "reward": [[hex(p * 10**6) for p in percentiles] for _ in blocks[:-1]],
        }


def ask_hours(chain: Chain, days: DayRange, reuse: Window | None = None, here: World | None = None) -> Any:
    here = here or World(Vendors(chain.reply), MemoryArchive(), now=STAMP)
    return here.run(lambda gateway: EthereumNode(gateway).hourly(days, reuse))


@pytest.mark.parametrize("missed", [0.0, 0.01, 0.05])
def test_hours_hold_the_blocks_of_their_hour(missed: float) -> None:
    chain = Chain(STAMP, missed)
    fetched = ask_hours(chain, DayRange.of(DAY))
    assert fetched.missing == ()
    assert fetched.rows["hour"].tolist() == [start_of(DAY) + timedelta(hours=k) for k in range(24)]
    assert set(fetched.rows["date"]) == {DAY}
    for row in fetched.rows.itertuples():
        begin = row.hour.timestamp()
        own = np.flatnonzero((chain.times >= begin) & (chain.times < begin + 3600)) + chain.first
        mean = np.mean([chain.base(int(n)) for n in own]) / 1e9
        # Interpolation between blocks 1,024 apart puts a few blocks into the neighbouring hour.
        assert abs(row.n_blocks - len(own)) <= (0 if missed == 0 else 12)
        assert row.base_fee_gwei == pytest.approx(mean, rel=1e-12 if missed == 0 else 0.02)
        assert row.price_median_gwei == pytest.approx(row.base_fee_gwei + 0.05)
        assert row.price_p90_gwei - row.price_p10_gwei == pytest.approx(0.08)
        assert row.base_fee_p10_gwei < row.base_fee_median_gwei < row.base_fee_p90_gwei < row.base_fee_max_gwei


@pytest.mark.parametrize("missed", [0.0, 0.01, 0.05])
def test_a_day_takes_few_questions(missed: float) -> None:
    chain = Chain(STAMP, missed)
    ask_hours(chain, DayRange.of(DAY))
    assert chain.asked["eth_feeHistory"] <= 8
    assert sum(chain.asked.values()) <= CALLS_PER_DAY


def test_the_first_block_of_a_day_long_ago_takes_few_questions() -> None:
    chain = Chain(STAMP, 0.3)
    ask_hours(chain, DayRange.of(DAY - timedelta(days=4)))
    # The newest block, the ends of 5 or 6 fee histories, and the search.
    assert chain.asked["eth_getBlockByNumber"] <= 7 + 5


def test_the_same_day_again_asks_nothing_and_the_next_day_only_what_is_new() -> None:
    chain = Chain(STAMP + timedelta(days=1), 0.01)
    here = World(Vendors(chain.reply), MemoryArchive(), now=STAMP)
    first = ask_hours(chain, DayRange.of(DAY), FOREVER, here)
    n_asked = len(here.vendors.requests)
    again = ask_hours(chain, DayRange.of(DAY), FOREVER, here)
    assert again.rows.equals(first.rows)
    assert (again.from_archive, len(here.vendors.requests)) == (True, n_asked)
    here.now = STAMP + timedelta(days=1)
    following = DayRange.of(DAY + timedelta(days=1))
    ask_hours(chain, following, Window(end_of(following.end), FOREVER.not_after), here)
    numbers = Counter(request.content for request in here.vendors.requests)
    closed = [times for content, times in numbers.items() if b"latest" not in content]
    assert set(closed) == {1}, "no closed block is asked twice"


def test_questions_begin_at_multiples_so_that_days_share_them() -> None:
    chain = Chain(STAMP, 0.01)
    here = World(Vendors(chain.reply), MemoryArchive(), now=STAMP)
    ask_hours(chain, DayRange(DAY - timedelta(days=1), DAY), None, here)
    spans = [json.loads(r.content)["params"] for r in here.vendors.requests if b"feeHistory" in r.content]
    firsts = [int(last, 16) - int(count, 16) + 1 for count, last, _ in spans]
    assert all(first % BLOCKS_PER_CALL == 0 for first in firsts)
    assert sorted(firsts) == list(range(min(firsts), max(firsts) + 1, BLOCKS_PER_CALL))


@pytest.mark.parametrize("over", [0, 1, 2, 1023])
def test_the_newest_block_may_be_anywhere_between_two_questions(over: int) -> None:
    chain = Chain(STAMP, 0.0)
    chain.first -= (chain.newest - over) % BLOCKS_PER_CALL
    assert chain.newest % BLOCKS_PER_CALL == over
    fetched = ask_hours(chain, DayRange.of(DAY))
    assert fetched.rows["n_blocks"].tolist() == [300] * 24


def test_a_node_that_lags_behind_the_day_is_unavailable() -> None:
    chain = Chain(end_of(DAY) - timedelta(seconds=5), 0.0)
    with pytest.raises(VendorUnavailable, match="before the end of 2025-10-23"):
        ask_hours(chain, DayRange.of(DAY))


def test_the_answer_of_a_lagging_node_is_archived_with_its_error_and_never_reused() -> None:
    lagging, risen = Chain(end_of(DAY) - timedelta(seconds=5), 0.0), Chain(STAMP, 0.0)
    archive = MemoryArchive()
    with pytest.raises(VendorUnavailable):
        ask_hours(lagging, DayRange.of(DAY), FOREVER, World(Vendors(lagging.reply), archive, now=STAMP))
    assert archive.last.error_class == "VendorUnavailable"
    fetched = ask_hours(risen, DayRange.of(DAY), FOREVER, World(Vendors(risen.reply), archive, now=STAMP))
    assert fetched.rows["n_blocks"].tolist() == [300] * 24


def test_a_node_that_has_pruned_the_day_is_not_found() -> None:
    chain = Chain(STAMP, 0.0, n_blocks=3_000)
    with pytest.raises(VendorNotFound, match="does not know the block"):
        ask_hours(chain, DayRange.of(DAY))


def test_times_that_do_not_ascend_are_refused() -> None:
    chain = Chain(STAMP, 0.0)
    inside = next(n for n in range(chain.newest - 4_000, chain.newest) if n % BLOCKS_PER_CALL == 0)
    chain.times[inside - chain.first] += 4 * 3_600
    with pytest.raises(VendorMalformed, match="do not ascend"):
        ask_hours(chain, DayRange.of(DAY))


# --- the last block of a day, and calls at it -------------------------------------------------------------------------
def ask_last(chain: Chain, day: date = DAY, here: World | None = None, reuse: Window | None = None) -> Any:
    here = here or World(Vendors(chain.reply), MemoryArchive(), now=STAMP)
    return here.run(lambda gateway: EthereumNode(gateway).last_block_of(day, reuse))


@pytest.mark.parametrize("shift", [0, 1, 5, 6, 7, 11, 12])
@pytest.mark.parametrize("missed", [0.0, 0.01, 0.3])
@pytest.mark.parametrize("age", [0, 3])
def test_the_last_block_of_a_day_is_before_its_end_and_none_is_later(missed: float, shift: int, age: int) -> None:
    chain = Chain(STAMP + timedelta(seconds=shift), missed)
    day = DAY - timedelta(days=age)
    last = ask_last(chain, day).rows
    ends = end_of(day).timestamp()
    assert chain.times[last.number - chain.first] == int(last.time.timestamp()) < ends
    assert chain.times[last.number + 1 - chain.first] >= ends
    assert sum(chain.asked.values()) <= (2 if not missed else 6 if missed < 0.1 else 16)


def test_the_last_block_of_a_day_is_asked_once() -> None:
    chain, archive = Chain(STAMP, 0.01), MemoryArchive()
    first = ask_last(chain, here=World(Vendors(chain.reply), archive, now=STAMP), reuse=FOREVER)
    later = Chain(STAMP + timedelta(hours=9), 0.01)
    again = ask_last(later, here=World(Vendors(later.reply), archive, now=STAMP + timedelta(hours=9)), reuse=FOREVER)
    assert (again.rows, again.from_archive, sum(later.asked.values())) == (first.rows, True, 0)


def test_a_day_that_the_node_has_not_seen_end_has_no_last_block() -> None:
    with pytest.raises(VendorUnavailable, match="before the end of 2025-10-23"):
        ask_last(Chain(end_of(DAY) - timedelta(seconds=5), 0.0))


def test_blocks_out_of_order_have_no_last_one() -> None:
    chain = Chain(STAMP, 0.3)
    chain.times[chain.times < end_of(DAY).timestamp()] += 4 * 3_600
    with pytest.raises(VendorMalformed, match="do not ascend"):
        ask_last(chain)


def test_a_call_names_contract_data_block_and_sender() -> None:
    vendors = Vendors(lambda _: httpx.Response(200, json=sample("call")))
    here = World(vendors, MemoryArchive())
    told = here.run(lambda gateway: EthereumNode(gateway).call("0xabc", "0x01", 2_000, sender="0xdef"))
    asked = json.loads(vendors.requests[0].content)
    assert asked["method"] == "eth_call"
    assert asked["params"] == [{"to": "0xabc", "data": "0x01", "from": "0xdef"}, "0x7d0"]
    assert (told.rows.data, vendors.requests[0].url.path) == (sample("call")["result"], "/eth_call")


@pytest.mark.parametrize(
    "error",
    [
        {"code": 3, "message": "execution reverted: whatever", "data": "0x08c379a0"},
        {"code": -32000, "message": "execution reverted"},
        {"code": -32015, "message": "VM execution error."},
        {"code": -32000, "message": "invalid opcode: INVALID"},
        {"code": -32000, "message": "out of gas"},
    ],
)
def test_a_call_that_fails_in_the_contract_is_an_answer(error: dict[str, Any]) -> None:
    answer = {"jsonrpc": "2.0", "id": 1, "error": error}
    refuse_call_error(answer)
    assert parse_call(answer).data is None


def test_a_call_that_the_node_refuses_is_none() -> None:
    for error in ({"code": -32000, "message": "missing trie node"}, {"code": -32601, "message": "no"}, "reverted"):
        with pytest.raises(VendorError):
            refuse_call_error({"error": error})


@pytest.mark.parametrize("result", [None, 1, "", "0", "0x0", "0xzz", "ff", ["0x00"], "0x00\n"])
def test_an_answer_to_a_call_is_bytes(result: object) -> None:
    assert parse_call({"result": "0xAB01"}).data == "0xab01"
    with pytest.raises(VendorMalformed):
        parse_call({"result": result})


@pytest.mark.parametrize(
    "change",
    [
        lambda result: result.update(oldestBlock="0x7d1"),
        lambda result: result["baseFeePerGas"].pop(),
        lambda result: result["reward"].pop(),
        lambda result: result["reward"][0].pop(),
        lambda result: result.update(reward=None),
        lambda result: result["baseFeePerGas"].__setitem__(0, "1000"),
        lambda result: result["baseFeePerGas"].__setitem__(0, 1000),
    ],
)
def test_a_fee_history_of_other_blocks_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    answer = sample("fee_history")
    change(answer["result"])
    with pytest.raises(VendorMalformed):
        parse_fee_history(answer, 2000, 2001)


def test_a_fee_history_leaves_out_the_block_after_it() -> None:
    history = parse_fee_history(sample("fee_history"), 2000, 2001)
    assert history.base_fee.tolist() == [1.0, 2.0]
    assert history.rewards.tolist() == [[0.0, 0.1, 1.0], [1e-9, 0.2, 2.0]]


def test_a_block_is_the_one_asked_for() -> None:
    assert parse_block(sample("block"), 2000) == Block(2000, datetime(2025, 10, 24, 0, 6, 24, tzinfo=UTC))
    with pytest.raises(VendorMalformed, match="another block"):
        parse_block(sample("block"), 2001)


def test_blocks_at_the_hour_belong_to_the_hour_that_begins() -> None:
    noon = start_of(DAY) + timedelta(hours=12)
    marks = [Block(0, noon - timedelta(seconds=24)), Block(4, noon + timedelta(seconds=24))]
    history = FeeHistory(0, np.array([1.0, 2.0, 3.0, 5.0]), np.zeros((4, 3)))
    rows = hours_of_blocks([history], marks, DayRange.of(DAY))
    assert rows[["n_blocks", "base_fee_gwei"]].to_numpy().tolist() == [[2, 1.5], [2, 4.0]]
    assert hours_of_blocks([], marks, DayRange.of(DAY)).empty


@pytest.mark.parametrize("text", ["0x0", "0x1", "0xff", hex(2**256 - 1)])
def test_quantities_are_read(text: str) -> None:
    assert hex(hex_quantity(text)) == text


@pytest.mark.parametrize(
    "value", ["", "0x", "0x00", "0x01", "ff", "0xFF", "0xg", 1, None, hex(2**256), "-0x1", "0x1\n"]
)
def test_other_spellings_of_a_quantity_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="quantity"):
        hex_quantity(value)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": -32005, "message": "limit exceeded"}, VendorThrottled),
        ({"code": 429, "message": "Too Many Requests"}, VendorThrottled),
        ({"code": -32000, "message": "project rate limit"}, VendorThrottled),
        ({"code": -32005, "message": "daily request count exceeded"}, VendorPlanLimit),
        ({"code": -32601, "message": "the method eth_feeHistory does not exist/is not available"}, VendorNotFound),
        ({"code": -32602, "message": "invalid argument 0"}, VendorNotFound),
        ({"code": -32000, "message": "Unauthorized: invalid api key"}, VendorAuthError),
        ({"code": -32000, "message": "header not found"}, VendorUnavailable),
        ({"code": -32000, "message": "missing trie node 83ab (path ) <nil>"}, VendorNotFound),
        ({"code": -32000, "message": "required historical state unavailable"}, VendorNotFound),
        ({"code": -32000, "message": "Archive requests require a paid plan"}, VendorNotFound),
        ({"code": math.pi, "message": None}, VendorUnavailable),
        ("boom", VendorUnavailable),
    ],
)
def test_json_rpc_errors_are_typed(error: object, kind: type[VendorError]) -> None:
    with pytest.raises(kind):
        refuse_error({"jsonrpc": "2.0", "id": 1, "error": error})


def test_a_secret_address_appears_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    secret = "https://node.example.invalid/v3/0123456789abcdef"

    def reply(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == secret
        return httpx.Response(200, json={"error": {"code": -32601, "message": f"no such method at {secret}"}})

    here = World(Vendors(reply), MemoryArchive(), settings={"secret_url": secret})
    with pytest.raises(VendorNotFound) as caught:
        here.run(lambda gateway: EthereumNode(gateway).block())
    kept = [str(caught.value), caplog.text, repr(here.archive.fetches), repr(here.archive.bodies)]
    assert not any("0123456789abcdef" in text for text in kept)
