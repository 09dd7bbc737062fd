"""Answers of an Ethereum node by JSON-RPC, from the gas hours and the chain of a market.

Lives here: block heads, fee histories, calls of share tokens (ERC-4626). Not here: slots and hashes (blocks.py), the
facts (vendor_answers.py, chain.py), HTTP (wire.py). The base fees of an hour's blocks have the hour's base fee as their
mean, so that a cross-check with EthGasTracker agrees; every slot holds a block, and a day's yield is in its last one.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from defiyield_assets.domain.days import end_of, market_stamp, utc_day
from defiyield_assets.simulator.blocks import EPOCH, FIRST_BLOCK, SLOT_SECONDS, block_at, block_hash
from defiyield_assets.simulator.chain import SimulatedChain
from defiyield_assets.simulator.chain_records import ChainPool
from defiyield_assets.simulator.vendor_answers import GasHour, MarketFacts

MAX_BLOCKS = 1_024
_BLOCKS_AN_HOUR = 3_600 // SLOT_SECONDS
_WAVES = ((0.06, 3), (0.03, 25))
"""Amplitude and waves an hour of the base fee around its mean: whole waves, so that the mean stays."""
_TIPS = ((0, 0.0), (10, 0.5), (50, 1.0), (90, 3.0), (100, 12.0))
"""Percentile of the priority fees and its size in the hour's median tip."""
_GAS_LIMIT = 36_000_000
_WEI = 10**9
_NO_METHOD, _BAD_PARAMS, _SERVER_ERROR, _REVERTED = -32601, -32602, -32000, 3
_ASSET, _CONVERT_TO_ASSETS = "0x38d52e0f", "0x07a2d13a"
_WORD_DIGITS = 64


class _RefusedError(Exception):
    """What the node answers instead of a result."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def json_rpc(market: MarketFacts, day: date, question: object) -> dict[str, Any]:
    """The answer to one JSON-RPC question as of the market's stamp; a market without base fees has no node."""
    asked: Mapping[str, Any] = question if isinstance(question, dict) else {}
    head: dict[str, Any] = {"jsonrpc": "2.0", "id": asked.get("id")}
    method, params = str(asked.get("method")), asked.get("params")
    answer = _METHODS.get(method)
    (now,) = market.gas_hours([market_stamp(day).replace(minute=0)], day)
    if answer is None or now.base_fee is None:
        message = f"the method {method} does not exist/is not available"
        return {**head, "error": {"code": _NO_METHOD, "message": message}}
    try:
        return {**head, "result": answer(market, day, params if isinstance(params, list) else [])}
    except _RefusedError as refused:
        return {**head, "error": {"code": refused.code, "message": str(refused)}}


def _number(said: object, newest: int) -> int:
    """A block number in hexadecimal digits, or the newest by name."""
    if said in ("latest", "safe", "finalized"):
        return newest
    try:
        return int(str(said), 16)
    except ValueError:
        raise _RefusedError(_BAD_PARAMS, "invalid argument 0: hex string expected") from None


def _time_of(number: int) -> datetime:
    return EPOCH + timedelta(seconds=(number - FIRST_BLOCK) * SLOT_SECONDS)


def _hours(market: MarketFacts, day: date, first: int, last: int) -> dict[datetime, GasHour]:
    """The hours that a span of blocks touches."""
    begin = _time_of(first).replace(minute=0, second=0)
    count = int((_time_of(last) - begin).total_seconds()) // 3_600 + 1
    return {hour.hour: hour for hour in market.gas_hours([begin + timedelta(hours=k) for k in range(count)], day)}


def _fees_of(number: int, hours: Mapping[datetime, GasHour]) -> tuple[int, int]:
    """Base fee and median tip of a block in wei."""
    at = _time_of(number)
    hour = hours.get(at.replace(minute=0, second=0))
    if hour is None or hour.base_fee is None:
        raise _RefusedError(_SERVER_ERROR, "missing trie node")
    place = (at.minute * 60 + at.second) // SLOT_SECONDS
    swing = sum(size * math.sin(2 * math.pi * waves * place / _BLOCKS_AN_HOUR) for size, waves in _WAVES)
    return round(hour.base_fee * (1 + swing) * _WEI), round((hour.median - hour.base_fee) * _WEI)


def _tip(percentile: float) -> float:
    """Size of a percentile of the tips, relative to the median: straight between the known ones."""
    for (below, low), (above, high) in itertools.pairwise(_TIPS):
        if below <= percentile <= above:
            return low + (high - low) * (percentile - below) / (above - below)
    raise _RefusedError(_BAD_PARAMS, "invalid reward percentile")


def _block_number(_market: MarketFacts, day: date, _params: Sequence[Any]) -> str:
    return hex(block_at(market_stamp(day)))


def _block(market: MarketFacts, day: date, params: Sequence[Any]) -> dict[str, Any] | None:
    """`eth_getBlockByNumber`: the head of a block without its transactions; null for one that is not there."""
    newest = block_at(market_stamp(day))
    number = _number(params[0] if params else None, newest)
    if not FIRST_BLOCK <= number <= newest:
        return None
    base, _ = _fees_of(number, _hours(market, day, number, number))
    return {
        "number": hex(number),
        "hash": block_hash(number),
        "parentHash": block_hash(number - 1),
        "timestamp": hex(int(_time_of(number).timestamp())),
        "baseFeePerGas": hex(base),
        "gasLimit": hex(_GAS_LIMIT),
        "gasUsed": hex(_GAS_LIMIT // 2),
        "difficulty": "0x0",
        "extraData": "0x",
        "transactions": [],
        "uncles": [],
    }


def _fee_history(market: MarketFacts, day: date, params: Sequence[Any]) -> dict[str, Any]:
    """`eth_feeHistory` of at most `MAX_BLOCKS` blocks up to the asked one, with the base fee of the block after it."""
    newest = block_at(market_stamp(day))
    if len(params) < 3 or not isinstance(params[2], list):
        raise _RefusedError(_BAD_PARAMS, "missing value for required argument")
    last = _number(params[1], newest)
    count = min(_number(params[0], newest) if isinstance(params[0], str) else int(params[0]), MAX_BLOCKS)
    if last > newest:
        raise _RefusedError(_SERVER_ERROR, f"request beyond head block: requested {last}, head {newest}")
    first = max(last - count + 1, FIRST_BLOCK)
    hours = _hours(market, day, first, last + 1)
    fees = [_fees_of(number, hours) for number in range(first, last + 2)]
    sizes = [_tip(float(percentile)) for percentile in params[2]]
    return {
        "oldestBlock": hex(first),
        "baseFeePerGas": [hex(base) for base, _ in fees],
        "gasUsedRatio": [0.5] * (last - first + 1),
        "reward": [[hex(round(tip * size)) for size in sizes] for _, tip in fees[:-1]],
    }


def _call(market: MarketFacts, day: date, params: Sequence[Any]) -> str:
    """`eth_call` of `asset()` and `convertToAssets(uint256)` of vaults, as of a block; everything else reverts."""
    newest = block_at(market_stamp(day))
    if len(params) < 2 or not isinstance(params[0], dict):
        raise _RefusedError(_BAD_PARAMS, "missing value for required argument")
    number = _number(params[1], newest)
    if not FIRST_BLOCK <= number <= newest:
        raise _RefusedError(_SERVER_ERROR, "header not found")
    asked, data = params[0], str(params[0].get("data"))
    vault = _vault(market.chain, str(asked.get("to")).lower())
    if vault is not None and data == _ASSET:
        return f"0x{int(vault.tokens[0], 16):0{_WORD_DIGITS}x}"
    if (
        vault is not None
        and data.startswith(_CONVERT_TO_ASSETS)
        and len(data) == len(_CONVERT_TO_ASSETS) + _WORD_DIGITS
    ):
        shares = int(data[len(_CONVERT_TO_ASSETS) :], 16)
        return f"0x{_assets_of(market.chain, vault, shares, str(asked.get('from')).lower(), number):0{_WORD_DIGITS}x}"
    raise _RefusedError(_REVERTED, "execution reverted")


def _vault(chain: SimulatedChain, share_token: str) -> ChainPool | None:
    """The pool of one token whose shares these are; rebasing shares are no vault's."""
    pools = (pool for pool in chain.world.pools.values() if pool.share_token == share_token)
    pool = next(pools, None)
    return pool if pool is not None and len(pool.tokens) == 1 and not pool.is_rebasing else None


def _assets_of(chain: SimulatedChain, vault: ChainPool, shares: int, holder: str, number: int) -> int:
    """What shares stand for at a block: the holder's whole position for all of its shares, to the unit.

    Other shares stand for their part of all positions; without any, one share is one underlying.
    """
    at = _time_of(number)
    worth = _worth_at(chain, vault, at)
    held = {wallet: chain.balances(wallet, at).get(vault.share_token, 0) for wallet in sorted({*worth, holder})}
    if held[holder] == shares and holder in worth:
        return worth[holder]
    if not sum(held.values()):
        underlying: int = 10 ** chain.world.tokens[vault.tokens[0]].decimals
        share: int = 10**vault.share_decimals
        return shares * underlying // share
    return shares * sum(worth.values()) // sum(held.values())


def _worth_at(chain: SimulatedChain, vault: ChainPool, at: datetime) -> dict[str, int]:
    """Underlying by wallet at the time of a block: the positions of the day before and what was paid since."""
    day = utc_day(at)
    is_last = at + timedelta(seconds=SLOT_SECONDS) >= end_of(day)
    known = chain.positions(day if is_last else day - timedelta(days=1))
    worth = {wallet: amount for (wallet, pool_id, _), amount in known.items() if pool_id == vault.pool_id}
    for transaction in () if is_last else chain.transactions(at):
        for change in transaction.position_changes:
            if change.pool_id == vault.pool_id and utc_day(transaction.time) == day:
                worth[change.wallet] = worth.get(change.wallet, 0) + change.delta
    return worth


_METHODS: dict[str, Callable[[MarketFacts, date, Sequence[Any]], Any]] = {
    "eth_blockNumber": _block_number,
    "eth_getBlockByNumber": _block,
    "eth_feeHistory": _fee_history,
    "eth_call": _call,
}
