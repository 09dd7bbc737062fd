"""DeFiLlama yields: every pool of the present, lending sizes, and the life of one pool. No key.

Lives here: requests and typed rows of `https://yields.llama.fi`. Not here: tables (domain/pools) or prices
(defillama_coins.py). Percent becomes a fraction here and nowhere else.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import pandas as pd

from defiyield_assets.errors import VendorEmpty, VendorError, VendorMalformed, VendorUnavailable
from defiyield_assets.sources import fields
from defiyield_assets.sources.fan_out import answers_as_they_come
from defiyield_assets.sources.transport import Fetched, Gateway, Window
from defiyield_assets.sources.wire import require_some

VENDOR = "defillama_yields"
Lives = AsyncIterator[tuple[str, Fetched[pd.DataFrame] | VendorError]]
"""Pool ids with their lives, or with the error that stands for one."""


class DefiLlamaYields:
    """Client of DeFiLlama's yields API."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def pools(
        self,
        window: Window | None = None,
        reuse: Window | None = None,
        accept: Callable[[pd.DataFrame], None] | None = None,
    ) -> Fetched[pd.DataFrame]:
        """Every pool of all chains now, one row per pool (columns: `parse_pools`). No pool at all is `VendorEmpty`.

        `accept` raises when the rows as a whole cannot be believed; then the answer is archived with that error and
        never stands for another one.
        """

        def parse(answer: object) -> pd.DataFrame:
            rows = parse_pools(answer)
            if accept is not None:
                accept(rows)
            return rows

        return await self._gateway.get(VENDOR, "/pools", {}, {}, parse, window=window, reuse=reuse)

    async def lend_borrow(
        self, window: Window | None = None, reuse: Window | None = None, *, n_before: int = 0
    ) -> Fetched[pd.DataFrame]:
        """Supplied and borrowed value of every lending pool now (columns: `parse_lend_borrow`).

        No pool at all is `VendorEmpty` when there were `n_before` the day before.
        """

        def parse(answer: object) -> pd.DataFrame:
            return require_some(parse_lend_borrow(answer), n_before)

        return await self._gateway.get(VENDOR, "/lendBorrow", {}, {}, parse, window=window, reuse=reuse)

    async def chart(self, pool_id: str, reuse: Window | None = None) -> Fetched[pd.DataFrame]:
        """The whole life of one pool (columns: `parse_chart`); an unknown pool has no points and is in `missing`."""
        return await self._life("/chart/{pool}", pool_id, parse_chart, reuse)

    async def chart_lend_borrow(self, pool_id: str, reuse: Window | None = None) -> Fetched[pd.DataFrame]:
        """The whole life of one lending pool (columns: `parse_chart_lend_borrow`), `missing` as in `chart`.

        Without a paid key the vendor may answer 402 here: `VendorPlanLimit`.
        """
        return await self._life("/chartLendBorrow/{pool}", pool_id, parse_chart_lend_borrow, reuse)

    async def _life(
        self, endpoint: str, pool_id: str, parse: Callable[[object], pd.DataFrame], reuse: Window | None
    ) -> Fetched[pd.DataFrame]:
        fetched = await self._gateway.get(VENDOR, endpoint, {"pool": pool_id}, {}, parse, reuse=reuse)
        missing = (pool_id,) if fetched.rows.empty else ()
        return Fetched(fetched.rows, fetched.fetched_at, missing, fetched.from_archive)

    def charts(self, pool_ids: Iterable[str], reuse: Window | None = None) -> Lives:
        """`chart` of many listed pools side by side, as they come; a pool that fails has its error and costs no other.

        A listed pool has a point: a chart without any is `VendorEmpty`, and never stands for a later answer.
        """
        parse = _some_points(parse_chart)
        return answers_as_they_come(pool_ids, lambda pool_id: self._life("/chart/{pool}", pool_id, parse, reuse))

    def charts_lend_borrow(self, pool_ids: Iterable[str], reuse: Window | None = None) -> Lives:
        """`chart_lend_borrow` of many listed pools, like `charts`."""
        endpoint, parse = "/chartLendBorrow/{pool}", _some_points(parse_chart_lend_borrow)
        return answers_as_they_come(pool_ids, lambda pool_id: self._life(endpoint, pool_id, parse, reuse))


def _some_points(parse: Callable[[object], pd.DataFrame]) -> Callable[[object], pd.DataFrame]:
    """The same parser, to which a chart without a point is `VendorEmpty`."""

    def parse_some(answer: object) -> pd.DataFrame:
        points = parse(answer)
        if points.empty:
            raise VendorEmpty("the answer holds no point")
        return points

    return parse_some


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
    stamps = fields.stamps(rows, "timestamp")
    frame = pd.DataFrame(
        {
            "ts": fields.instants(stamps),
            "date": fields.objects([stamp.date() for stamp in stamps]),
            "tvl_usd": fields.sizes(rows, "tvlUsd"),
            "apy": fields.fractions(rows, "apy"),
            "apy_base": fields.fractions(rows, "apyBase", optional=True),
            "apy_reward": fields.fractions(rows, "apyReward", optional=True),
            "il_7d": fields.fractions(rows, "il7d", optional=True),
        }
    )
    return _ascending(frame)


def parse_chart_lend_borrow(answer: object) -> pd.DataFrame:
    """Points of `/chartLendBorrow/{pool}`, ascending.

    Columns: ts, date (UTC day of ts), total_supply_usd, total_borrow_usd, apy_base, apy_reward, apy_base_borrow,
    apy_reward_borrow (fractions). Points of days on which the pool told no size have nulls. Of points with the same
    `ts` the last stays.
    """
    rows = _data(answer)
    stamps = fields.stamps(rows, "timestamp")
    rates = {
        "apy_base": "apyBase",
        "apy_reward": "apyReward",
        "apy_base_borrow": "apyBaseBorrow",
        "apy_reward_borrow": "apyRewardBorrow",
    }
    frame = pd.DataFrame(
        {
            "ts": fields.instants(stamps),
            "date": fields.objects([stamp.date() for stamp in stamps]),
            "total_supply_usd": fields.sizes(rows, "totalSupplyUsd"),
            "total_borrow_usd": fields.sizes(rows, "totalBorrowUsd"),
            **{name: fields.fractions(rows, field, optional=True) for name, field in rates.items()},
        }
    )
    return _ascending(frame)


def _ascending(points: pd.DataFrame) -> pd.DataFrame:
    """The points by `ts`; of those with the same one the last stays. Vendors send them so: then nothing is copied."""
    order = points["ts"]
    if order.is_monotonic_increasing and order.is_unique:
        return points
    return points.drop_duplicates("ts", keep="last").sort_values("ts", ignore_index=True)
