"""An Ethereum node by JSON-RPC: what blocks charged for gas, by the hour, and what contracts answer.

It needs no key of a vendor; its address may hold one.

Lives here: requests, typed rows and error words of `eth_getBlockByNumber`, `eth_feeHistory` and `eth_call`. Not here:
hourly and daily tables, which source of gas wins (domain/gas), what is asked of share tokens (erc4626.py).
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

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
from defiyield_assets.sources import fields
from defiyield_assets.sources.transport import Fetched, Gateway, Window, all_of

T = TypeVar("T")
Vector = npt.NDArray[np.float64]

VENDOR = "ethereum_node"
BLOCKS_PER_CALL = 1_024
"""Blocks of one `eth_feeHistory` call; nodes give no more. Calls begin at multiples of it, so that days share them."""
CALLS_PER_DAY = 20
"""About what one day takes: 8 fee histories, 9 blocks at their ends, 3 to find the first."""
PERCENTILES = (10, 50, 90)
"""Of the priority fees in each block, weighted by gas."""
SLOT_SECONDS = 12
"""Blocks since the merge are never closer in time than this."""
LATEST = "latest"
_GENESIS = datetime(2015, 7, 30, tzinfo=UTC)
_GWEI = 10**9
_MAX_SEARCH_STEPS = 40
_ERROR_CODES: dict[int, type[VendorError]] = {
    429: VendorThrottled,
    -32005: VendorThrottled,
    -32601: VendorNotFound,  # no such method
    -32602: VendorNotFound,  # parameters refused
    -32600: VendorNotFound,  # request refused
    -32001: VendorNotFound,  # no such resource
}
_ERROR_WORDS: tuple[tuple[str, type[VendorError]], ...] = (
    ("daily", VendorPlanLimit),
    ("monthly", VendorPlanLimit),
    ("quota", VendorPlanLimit),
    ("rate limit", VendorThrottled),
    ("too many requests", VendorThrottled),
    ("limit exceeded", VendorThrottled),
    ("429", VendorThrottled),
    ("api key", VendorAuthError),
    ("unauthorized", VendorAuthError),
    ("missing trie node", VendorNotFound),  # the state of that block is no longer kept
    ("historical state", VendorNotFound),
    ("archive", VendorNotFound),
    ("pruned", VendorNotFound),
    ("does not exist", VendorNotFound),
    ("not available", VendorNotFound),
    ("not supported", VendorNotFound),
)
_CALL_FAILED = ("revert", "invalid opcode", "bad instruction", "out of gas", "vm execution", "bad jump", "stack under")
"""Words of errors that the called contract made, not the node."""
_REVERTED = 3
"""Code of an error that the called contract raised on purpose."""


@dataclass(frozen=True)
class Block:
    """Number and time of one block."""

    number: int
    time: datetime


@dataclass(frozen=True)
class FeeHistory:
    """Fees of consecutive blocks from `first` on, in gwei; `rewards` has one column per percentile."""

    first: int
    base_fee: Vector
    rewards: Vector

    def __len__(self) -> int:
        return len(self.base_fee)


@dataclass(frozen=True)
class Returned:
    """What a contract returned: `0x` and lower-case hexadecimal digits; None where the call failed in it."""

    data: str | None


class EthereumNode:
    """Client of the node of the vendor's settings; its address may be a secret (`VendorSettings.secret_url`)."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def block(self, number: int | None = None, reuse: Window | None = None) -> Fetched[Block]:
        """One block; the newest without a number. A block that the node does not know: `VendorNotFound`."""
        named = LATEST if number is None else hex(number)
        return await self._ask(
            "eth_getBlockByNumber", [named, False], lambda answer: parse_block(answer, number), reuse
        )

    async def head_after(self, day: date, reuse: Window | None = None) -> Fetched[Block]:
        """The newest block, not older than the end of the day.

        A node that has not seen that end is `VendorUnavailable`; the answer is archived with that error and never
        stands for another one.
        """

        def parse(answer: object) -> Block:
            head = parse_block(answer)
            if head.time < end_of(day):
                raise VendorUnavailable(
                    f"{VENDOR}: the node's newest block is of {head.time:%Y-%m-%d %H:%M:%S} UTC, "
                    f"before the end of {day}",
                    vendor=VENDOR,
                )
            return head

        return await self._ask("eth_getBlockByNumber", [LATEST, False], parse, reuse)

    async def fee_history(self, first: int, last: int, reuse: Window | None = None) -> Fetched[FeeHistory]:
        """Fees of the blocks from `first` to `last` (both included, at most `BLOCKS_PER_CALL`)."""
        return await self._ask(
            "eth_feeHistory",
            [hex(last - first + 1), hex(last), list(PERCENTILES)],
            lambda answer: parse_fee_history(answer, first, last),
            reuse,
        )

    async def last_block_of(self, day: date, reuse: Window | None = None) -> Fetched[Block]:
        """The newest block before the end of a closed day, which no later block can be confused with.

        Since blocks are never closer than a slot, every block that is known bounds the wanted one from both sides: two
        questions where no slot was missed since, a few more otherwise. A node that has not yet seen the end of the day
        is `VendorUnavailable`.
        """
        head = await self.head_after(day, reuse)
        closed = Window(_GENESIS, reuse.not_after) if reuse is not None else None
        end, known = end_of(day), {head.rows.number: head.rows}
        for _ in range(_MAX_SEARCH_STEPS):
            lowest, highest = _bounds_before(list(known.values()), end)
            if lowest == highest and lowest in known:
                return Fetched(known[lowest], head.fetched_at, (), head.from_archive)
            number = highest if lowest in known else lowest
            known[number] = (await self.block(number, closed)).rows
            _refuse_disorder(sorted(known.values(), key=lambda block: block.number))
        raise VendorMalformed(f"{VENDOR}: the last block of {day} cannot be found", vendor=VENDOR)

    async def call(
        self, contract: str, data: str, block: int, *, sender: str | None = None, reuse: Window | None = None
    ) -> Fetched[Returned]:
        """What a contract returns to a call at a block.

        `data` is the ABI-encoded call, `sender` who asks. A node without the state of the block: `VendorNotFound`.
        """
        asked = {"to": contract, "data": data, **({} if sender is None else {"from": sender})}
        payload = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [asked, hex(block)]}
        return await self._gateway.post_json(
            VENDOR, "/eth_call", payload, parse_call, reuse=reuse, refuse=refuse_call_error
        )

    async def hourly(self, days: DayRange, reuse: Window | None = None) -> Fetched[pd.DataFrame]:
        """Fees of every hour of closed days (columns: `hours_of_blocks`), from all of their blocks.

        About 8 fee histories a day; a block's time is interpolated between the ends of its call, which is right to a
        few slots, so that an hour may hold a block or two of its neighbour. `missing` names hours without any block. A
        node that has not yet seen the end of the range is `VendorUnavailable`.
        """
        head = await self.head_after(days.end, reuse)
        # What a block says does not change: an answer of any earlier time will do.
        closed = Window(_GENESIS, reuse.not_after) if reuse is not None else None
        search = _Boundaries(self, head.rows, closed)
        first = await search.newest_before(start_of(days.start))
        marks = await search.until(first, end_of(days.end))
        parts = await all_of(
            self.fee_history(mark.number, following.number - 1, closed) for mark, following in itertools.pairwise(marks)
        )
        rows = hours_of_blocks([part.rows for part in parts], marks, days)
        known = set(rows["hour"])
        hours = (start_of(day) + timedelta(hours=hour) for day in days for hour in range(24))
        return Fetched(
            rows,
            max([head.fetched_at, *(part.fetched_at for part in parts)]),
            tuple(hour.isoformat() for hour in hours if hour not in known),
            head.from_archive or any(part.from_archive for part in parts),
        )

    async def _ask(
        self, method: str, params: Sequence[Any], parse: Callable[[object], T], reuse: Window | None
    ) -> Fetched[T]:
        payload = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        return await self._gateway.post_json(VENDOR, f"/{method}", payload, parse, reuse=reuse, refuse=refuse_error)


class _Boundaries:
    """Times of blocks whose number is a multiple of `BLOCKS_PER_CALL`, each asked once."""

    def __init__(self, node: EthereumNode, head: Block, reuse: Window | None) -> None:
        self._node, self._head, self._reuse = node, head, reuse
        self._known: dict[int, Block] = {}

    async def _mark(self, index: int) -> Block:
        """The boundary `index`, or the newest block where that is not there yet."""
        number = index * BLOCKS_PER_CALL
        if number >= self._head.number:
            return self._head
        if number not in self._known:
            self._known[number] = (await self._node.block(number, self._reuse)).rows
        return self._known[number]

    async def newest_before(self, instant: datetime) -> int:
        """Index of the newest boundary not after the instant, by interpolation between a block before and one after."""
        high = math.ceil(self._head.number / BLOCKS_PER_CALL)
        # Since no two blocks are closer than a slot, this one cannot be after the instant.
        slots = (self._head.time - instant).total_seconds() / SLOT_SECONDS
        low = (self._head.number - math.ceil(slots)) // BLOCKS_PER_CALL
        for _ in range(_MAX_SEARCH_STEPS):
            if low < 0:
                break
            before = await self._mark(low)
            if before.time > instant:
                high, low = low, low - max(1, high - low)
                continue
            if high - low <= 1:
                return low
            after = await self._mark(high)
            _refuse_disorder([before, after])
            share = (instant - before.time) / (after.time - before.time)
            blocks = before.number + share * (after.number - before.number)
            guess = min(max(int(blocks) // BLOCKS_PER_CALL, low + 1), high - 1)
            if (await self._mark(guess)).time <= instant:
                low = guess
            else:
                high = guess
        raise VendorMalformed(f"{VENDOR}: no block before {instant:%Y-%m-%d %H:%M} UTC can be found", vendor=VENDOR)

    async def until(self, index: int, instant: datetime) -> list[Block]:
        """Boundaries from `index` to the first one not before the instant, the newest block at the latest."""
        marks = [await self._mark(index)]
        while marks[-1].time < instant and marks[-1] != self._head:
            # The ones that a full day needs, side by side.
            wanted = max(1, int((instant - marks[-1].time).total_seconds() / SLOT_SECONDS / BLOCKS_PER_CALL))
            following = range(index + len(marks), index + len(marks) + wanted)
            for mark in await all_of(self._mark(one) for one in following):
                if marks[-1].time < instant and marks[-1] != self._head:
                    marks.append(mark)
        _refuse_disorder(marks)
        return marks


def _refuse_disorder(marks: Sequence[Block]) -> None:
    if any(after.time <= before.time for before, after in itertools.pairwise(marks)):
        raise VendorMalformed(f"{VENDOR}: times of blocks do not ascend", vendor=VENDOR)


def refuse_error(answer: object) -> None:
    """Raise the error that a JSON-RPC `error` object stands for: by its words, else by its code."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if error is None:
        return
    holder: Mapping[str, Any] = error if isinstance(error, dict) else {"message": error}
    code, message = holder.get("code"), str(holder.get("message"))[:200]
    words = message.lower()
    by_words = next((kind for said, kind in _ERROR_WORDS if said in words), None)
    by_code = _ERROR_CODES.get(code) if type(code) is int else None
    kind = by_code if by_code not in (None, VendorThrottled) else by_words or by_code or VendorUnavailable
    raise (kind or VendorUnavailable)(f"error {fields.shown(str(code))}: {fields.shown(message)}")


def _bounds_before(blocks: Sequence[Block], instant: datetime) -> tuple[int, int]:
    """Lowest and highest number that the newest block before the instant can have, by the blocks around it.

    Of the blocks at least one is not before the instant.
    """
    before = [block for block in blocks if block.time < instant]
    after = [block for block in blocks if block.time >= instant]
    lows = [block.number for block in before]
    lows += [block.number - 1 - int((block.time - instant).total_seconds()) // SLOT_SECONDS for block in after]
    highs = [block.number - 1 for block in after]
    highs += [block.number + math.ceil((instant - block.time).total_seconds() / SLOT_SECONDS) - 1 for block in before]
    highest = min(highs)
    return min(max(lows), highest), highest


def _is_failed_call(answer: object) -> bool:
    """Whether the answer is the called contract's failure and not the node's."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return False
    words = str(error.get("message")).lower()
    return error.get("code") == _REVERTED or any(said in words for said in _CALL_FAILED)


def refuse_call_error(answer: object) -> None:
    """As `refuse_error`, but a call that failed in the contract is an answer."""
    if not _is_failed_call(answer):
        refuse_error(answer)


def parse_call(answer: object) -> Returned:
    """The answer of `eth_call`."""
    if _is_failed_call(answer):
        return Returned(None)
    return Returned(fields.single(fields.record(answer, "the answer"), "result", fields.hex_bytes, "the answer"))


def _result(answer: object) -> dict[str, Any]:
    body = fields.record(answer, "the answer")
    if body.get("result", "") is None:
        raise VendorNotFound("the node does not know the block")
    return fields.record(body.get("result"), "result")


def parse_block(answer: object, number: int | None = None) -> Block:
    """The block of `eth_getBlockByNumber`; another number than the one asked for is refused."""
    block = _result(answer)
    told = fields.single(block, "number", fields.hex_quantity, "result")
    if number is not None and told != number:
        raise VendorMalformed("the answer is another block than the one asked for")
    stamp = fields.single(block, "timestamp", lambda value: fields.epoch_seconds(fields.hex_quantity(value)), "result")
    return Block(fields.single({"number": told}, "number", fields.small_integer, "result"), stamp)


def _quantities(value: object, where: str, length: int) -> list[int]:
    if type(value) is not list or len(value) != length:
        raise VendorMalformed(f"{where} is no list of {length} quantities")
    try:
        return [fields.hex_quantity(item) for item in value]
    except ValueError as error:
        raise VendorMalformed(f"{where}: {error}") from None


def _gwei(value: int) -> float:
    """Wei to gwei: here an integer becomes a float."""
    return value / _GWEI


def parse_fee_history(answer: object, first: int, last: int) -> FeeHistory:
    """The answer of `eth_feeHistory` about the blocks `first` to `last`; fewer or other blocks are refused.

    The base fee after the last block, which the vendor adds, is left out.
    """
    result = _result(answer)
    count = last - first + 1
    oldest = fields.single(result, "oldestBlock", fields.hex_quantity, "result")
    if oldest != first:
        raise VendorMalformed(f"the answer does not begin with block {first}")
    base = _quantities(result.get("baseFeePerGas"), "baseFeePerGas", count + 1)[:count]
    rewards = result.get("reward")
    if type(rewards) is not list or len(rewards) != count:
        raise VendorMalformed(f"reward is no list of {count} blocks")
    paid = [_quantities(row, f"reward of block {first + i}", len(PERCENTILES)) for i, row in enumerate(rewards)]
    return FeeHistory(
        first,
        np.array([_gwei(fee) for fee in base], dtype=np.float64),
        np.array([[_gwei(tip) for tip in row] for row in paid], dtype=np.float64).reshape(count, len(PERCENTILES)),
    )


def hours_of_blocks(histories: Sequence[FeeHistory], marks: Sequence[Block], days: DayRange) -> pd.DataFrame:
    """Fees by the hour from fees by the block and the times of some blocks, ascending; blocks outside are left out.

    Columns: hour (its start), date (UTC day), n_blocks, base_fee_gwei (mean over blocks), base_fee_median_gwei,
    base_fee_p10_gwei, base_fee_p90_gwei, base_fee_max_gwei; price_p10_gwei, price_median_gwei, price_p90_gwei: base fee
    plus that percentile of the block's priority fees, mean over blocks.
    """
    numbers = np.concatenate([part.first + np.arange(len(part), dtype=float) for part in histories] or [np.empty(0)])
    seconds = np.interp(numbers, [mark.number for mark in marks], [mark.time.timestamp() for mark in marks])
    base = np.concatenate([part.base_fee for part in histories] or [np.empty(0)])
    prices = base[:, None] + np.concatenate([part.rewards for part in histories] or [np.empty((0, len(PERCENTILES)))])
    blocks = pd.DataFrame({"base": base, **{f"price_{p}": prices[:, i] for i, p in enumerate(PERCENTILES)}})
    blocks["hour"] = pd.to_datetime((seconds // 3600 * 3600).astype("int64"), unit="s", utc=True)
    is_inside = (blocks["hour"] >= start_of(days.start)) & (blocks["hour"] < end_of(days.end))
    grouped = blocks[is_inside].groupby("hour", sort=True)
    frame = pd.DataFrame(
        {
            "n_blocks": grouped["base"].size().astype("int64"),
            "base_fee_gwei": grouped["base"].mean(),
            "base_fee_median_gwei": grouped["base"].median(),
            "base_fee_p10_gwei": grouped["base"].quantile(0.1),
            "base_fee_p90_gwei": grouped["base"].quantile(0.9),
            "base_fee_max_gwei": grouped["base"].max(),
            "price_p10_gwei": grouped["price_10"].mean(),
            "price_median_gwei": grouped["price_50"].mean(),
            "price_p90_gwei": grouped["price_90"].mean(),
        }
    ).reset_index()
    hours = fields.instants([hour.to_pydatetime() for hour in frame.pop("hour")])
    frame.insert(0, "hour", hours)
    frame.insert(1, "date", fields.objects([hour.date() for hour in hours]))
    return frame
