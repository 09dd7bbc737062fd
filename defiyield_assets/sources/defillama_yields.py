"""DeFiLlama yields: every pool of the present, lending sizes, and the life of one pool. No key.

Lives here: requests and typed rows of `https://yields.llama.fi`. Not here: tables (domain/pools) or prices
(defillama_coins.py). Percent becomes a fraction here and nowhere else.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from defiyield_assets.errors import VendorEmpty, VendorError, VendorMalformed, VendorUnavailable
from defiyield_assets.sources import fields
from defiyield_assets.sources.transport import Fetched, Gateway, Window

VENDOR = "defillama_yields"


class DefiLlamaYields:
    """Client of DeFiLlama's yields API."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def pools(self, window: Window | None = None) -> Fetched[pd.DataFrame]:
        """Every pool of all chains now, one row per pool (columns: `parse_pools`). No pool at all is `VendorEmpty`."""
        return await self._gateway.get(VENDOR, "/pools", {}, {}, parse_pools, window=window)

    async def lend_borrow(self, window: Window | None = None) -> Fetched[pd.DataFrame]:
        """Supplied and borrowed value of every lending pool now (columns: `parse_lend_borrow`); may be empty."""
        return await self._gateway.get(VENDOR, "/lendBorrow", {}, {}, parse_lend_borrow, window=window)

    async def chart(self, pool_id: str) -> Fetched[pd.DataFrame]:
        """The whole life of one pool (columns: `parse_chart`); an unknown pool has no points and is in `missing`."""
        fetched = await self._gateway.get(VENDOR, "/chart/{pool}", {"pool": pool_id}, {}, parse_chart)
        missing = (pool_id,) if fetched.rows.empty else ()
        return Fetched(fetched.rows, fetched.fetched_at, missing, fetched.from_archive)

    async def charts(
        self, pool_ids: Sequence[str], progress: Callable[[str], None] | None = None
    ) -> dict[str, Fetched[pd.DataFrame] | VendorError]:
        """`chart` of many pools side by side; a pool that fails has its error as value and costs no other pool its own.

        `progress`, when given, is called with each pool id as it is done.
        """

        async def one(pool_id: str) -> Fetched[pd.DataFrame] | VendorError:
            try:
                return await self.chart(pool_id)
            except VendorError as error:
                return error
            finally:
                if progress is not None:
                    progress(pool_id)

        asked = list(dict.fromkeys(pool_ids))
        return dict(zip(asked, await asyncio.gather(*(one(pool_id) for pool_id in asked)), strict=True))


def _data(answer: object, *, bare_list: bool = False) -> list[dict[str, Any]]:
    """The rows of `{"status": "success", "data": [...]}`, or of a bare list where an endpoint answers with one."""
    if bare_list and isinstance(answer, list):
        return fields.records(answer, "the answer")
    envelope = fields.record(answer, "the answer")
    if "data" not in envelope and "status" not in envelope:
        raise VendorMalformed("field 'data' of the answer is missing")
    if envelope.get("status", "success") != "success":
        raise VendorUnavailable(f"the answer says status {fields.shown(envelope['status'])}")
    return fields.records(envelope.get("data"), "data")


def _underlyings(value: object) -> list[str]:
    """Underlying addresses, lower case. A list with a hole is no list: a partial one must never pass as complete."""
    return [] if type(value) is list and (None in value or "" in value) else _addresses(value)


def _rewards(value: object) -> list[str]:
    """Reward token addresses, lower case, without holes."""
    return _addresses([item for item in value if item] if type(value) is list else value)


def _addresses(value: object) -> list[str]:
    if value is None:
        return []
    if type(value) is not list:
        raise ValueError(f"expected a list of addresses, got {fields.shown(value)}")
    return [fields.identifier(item).lower() for item in value]


def parse_pools(answer: object) -> pd.DataFrame:
    """Rows of `/pools`, sorted by pool id.

    Columns: pool_id, chain, project, symbol, pool_meta, tvl_usd, apy, apy_base, apy_reward (fractions), exposure,
    il_risk, is_stablecoin, underlying_addresses and reward_tokens (lists of lower-case addresses), observed_at (the
    row's own timestamp where the vendor gives one, else NaT). Exact repeats are dropped; two versions of one pool are
    refused.
    """
    rows = _data(answer)
    if not rows:
        raise VendorEmpty("the answer holds no pool")
    rows = fields.distinct(rows, "pool")
    frame = pd.DataFrame(
        {
            "pool_id": fields.objects(fields.column(rows, "pool", fields.identifier)),
            "chain": fields.objects(fields.column(rows, "chain", fields.text)),
            "project": fields.objects(fields.column(rows, "project", fields.text)),
            "symbol": fields.objects(fields.column(rows, "symbol", fields.text)),
            "pool_meta": fields.objects(fields.column(rows, "poolMeta", fields.maybe_text)),
            "tvl_usd": fields.floats(fields.column(rows, "tvlUsd", fields.maybe_size)),
            "apy": fields.floats(fields.column(rows, "apy", fields.maybe_fraction)),
            "apy_base": fields.floats(fields.column(rows, "apyBase", fields.maybe_fraction)),
            "apy_reward": fields.floats(fields.column(rows, "apyReward", fields.maybe_fraction)),
            "exposure": fields.objects(fields.column(rows, "exposure", fields.maybe_text)),
            "il_risk": fields.objects(fields.column(rows, "ilRisk", fields.maybe_text)),
            "is_stablecoin": fields.objects(fields.column(rows, "stablecoin", fields.flag)),
            "underlying_addresses": fields.objects(fields.column(rows, "underlyingTokens", _underlyings)),
            "reward_tokens": fields.objects(fields.column(rows, "rewardTokens", _rewards)),
            "observed_at": fields.instants(fields.column(rows, "timestamp", fields.maybe_instant, optional=True)),
        }
    )
    return frame.sort_values("pool_id", ignore_index=True)


def parse_lend_borrow(answer: object) -> pd.DataFrame:
    """Rows of `/lendBorrow` by pool id: pool_id, total_supply_usd, total_borrow_usd, apy_base_borrow (fraction)."""
    rows = fields.distinct(_data(answer, bare_list=True), "pool")
    frame = pd.DataFrame(
        {
            "pool_id": fields.objects(fields.column(rows, "pool", fields.identifier)),
            "total_supply_usd": fields.floats(fields.column(rows, "totalSupplyUsd", fields.maybe_size)),
            "total_borrow_usd": fields.floats(fields.column(rows, "totalBorrowUsd", fields.maybe_size)),
            "apy_base_borrow": fields.floats(fields.column(rows, "apyBaseBorrow", fields.maybe_fraction)),
        }
    )
    return frame.sort_values("pool_id", ignore_index=True)


def parse_chart(answer: object) -> pd.DataFrame:
    """Points of `/chart/{pool}`, ascending.

    Columns: ts, date (UTC day of ts), tvl_usd, apy, apy_base, apy_reward, il_7d (fractions).
    Several points of one day stay (the caller keeps the last); of points with the same `ts` the last stays.
    """
    rows = _data(answer)
    stamps = fields.column(rows, "timestamp", fields.instant)
    frame = pd.DataFrame(
        {
            "ts": fields.instants(stamps),
            "date": fields.objects([stamp.date() for stamp in stamps]),
            "tvl_usd": fields.floats(fields.column(rows, "tvlUsd", fields.maybe_size)),
            "apy": fields.floats(fields.column(rows, "apy", fields.maybe_fraction)),
            "apy_base": fields.floats(fields.column(rows, "apyBase", fields.maybe_fraction, optional=True)),
            "apy_reward": fields.floats(fields.column(rows, "apyReward", fields.maybe_fraction, optional=True)),
            "il_7d": fields.floats(fields.column(rows, "il7d", fields.maybe_fraction, optional=True)),
        }
    )
    return frame.drop_duplicates("ts", keep="last").sort_values("ts", ignore_index=True)
