"""DeFiLlama yields: percent becomes a fraction once, partial lists never pass, one failing chart costs no other."""

import math
import re
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defiyield_assets.errors import (
    VendorEmpty,
    VendorError,
    VendorMalformed,
    VendorNotFound,
    VendorPlanLimit,
    VendorUnavailable,
)
from defiyield_assets.sources import fields
from defiyield_assets.sources.defillama_yields import DefiLlamaYields, parse_chart, parse_lend_borrow, parse_pools
from defiyield_assets.sources.transport import Gateway
from defiyield_assets_tests.sources.conftest import MemoryArchive, Vendors, World, WorldMaker
from defiyield_assets_tests.sources.samples import DAI, USDC, sample

USED_FIELDS = (
    *("chain", "project", "symbol", "tvlUsd", "apyBase", "apyReward", "apy", "rewardTokens", "pool"),
    *("stablecoin", "ilRisk", "exposure", "poolMeta", "underlyingTokens"),
)


def test_pools_become_typed_rows(world: WorldMaker) -> None:
    here = world(sample("pools"))
    fetched = here.run(lambda gateway: DefiLlamaYields(gateway).pools())
    assert str(here.vendors.requests[0].url.copy_with(query=None)) == "https://yields.llama.fi/pools"
    pair, maple = fetched.rows.to_dict("records")
    assert list(fetched.rows.columns) == [
        *("pool_id", "chain", "project", "symbol", "pool_meta", "tvl_usd", "apy", "apy_base", "apy_reward"),
        *("exposure", "il_risk", "is_stablecoin", "underlying_addresses", "reward_tokens", "observed_at"),
    ]
    assert (maple["apy"], maple["apy_base"], maple["tvl_usd"]) == (7.3656 / 100, 7.36 / 100, 2876602286.0)
    assert math.isnan(maple["apy_reward"])
    assert (maple["underlying_addresses"], maple["reward_tokens"], maple["pool_meta"]) == ([USDC], [], None)
    assert maple["is_stablecoin"] is True
    assert maple["observed_at"] is pd.NaT
    assert (pair["apy"], pair["tvl_usd"], pair["is_stablecoin"]) == (-0.015, 1200.5, None)
    assert (pair["underlying_addresses"], pair["reward_tokens"]) == ([DAI, USDC], [DAI])
    assert pair["observed_at"] == pd.Timestamp("2025-10-24T00:01:00Z")
    assert here.archive.last.rows == 2


@pytest.mark.parametrize("hole", [None, ""])
def test_a_partial_list_of_underlyings_is_no_list(hole: object) -> None:
    answer = sample("pools")
    answer["data"][0]["underlyingTokens"] = [USDC, hole]
    assert parse_pools(answer).set_index("symbol").loc["USDC", "underlying_addresses"] == []


@pytest.mark.parametrize("field", USED_FIELDS)
def test_a_missing_field_is_malformed_and_named_with_its_row(field: str) -> None:
    answer = sample("pools")
    del answer["data"][1][field]
    with pytest.raises(VendorMalformed, match=f"field '{field}' of row 1 is missing"):
        parse_pools(answer)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("apy", "high"),
        ("apy", True),
        ("apy", []),
        ("apy", 1e400),
        ("apy", "nan"),
        ("apy", "inf"),
        ("apy", "1_000"),
        ("tvlUsd", {}),
        ("pool", 7),
        ("pool", ""),
        ("pool", "x" * 10_000_000),
        ("symbol", None),
        ("stablecoin", "yes"),
        ("underlyingTokens", USDC),
        ("underlyingTokens", [{"address": USDC}]),
        ("timestamp", "yesterday"),
        ("timestamp", "2025-10-24T00:01:00"),
    ],
)
def test_a_retyped_field_is_malformed_and_named_with_its_row(field: str, value: object) -> None:
    answer = sample("pools")
    answer["data"][1][field] = value
    with pytest.raises(VendorMalformed, match=f"field '{field}' of row 1: ") as caught:
        parse_pools(answer)
    assert len(str(caught.value)) < 300


def test_no_pool_at_all_is_empty_not_malformed(world: WorldMaker) -> None:
    here = world({"status": "success", "data": []})
    with pytest.raises(VendorEmpty):
        here.run(lambda gateway: DefiLlamaYields(gateway).pools())
    assert len(here.vendors.requests) == 1


def test_an_error_inside_a_200_is_an_error() -> None:
    with pytest.raises(VendorUnavailable):
        parse_pools({"status": "error", "data": []})
    for broken in ({}, [], None, "ok", {"data": {}}, {"data": [1]}, {"status": "success"}):
        with pytest.raises(VendorMalformed):
            parse_pools(broken)


def test_repeated_rows_are_dropped_and_contradicting_ones_refused() -> None:
    answer = sample("pools")
    answer["data"].append(dict(answer["data"][0]))
    assert parse_pools(answer).equals(parse_pools(sample("pools")))
    answer["data"][-1]["apy"] = 99.0
    with pytest.raises(VendorMalformed, match="twice"):
        parse_pools(answer)


def test_row_order_does_not_matter() -> None:
    answer = sample("pools")
    answer["data"].reverse()
    assert parse_pools(answer).equals(parse_pools(sample("pools")))


def test_hostile_texts_survive_and_stay_storable() -> None:
    answer = sample("pools")
    answer["data"][0]["symbol"] = "\x00\x1b[2J<script>=cmd|' /C calc'!A0\ud800"
    answer["data"][0]["poolMeta"] = "A" * 10_000_000
    row = parse_pools(answer).set_index("pool_id").loc["43641cf5-a92e-416b-bce9-27113d3c0db6"]
    assert row["symbol"] == "\ufffd\x1b[2J<script>=cmd|' /C calc'!A0\ufffd"
    row["symbol"].encode()
    assert len(row["pool_meta"]) == 1_000


def test_a_negative_size_is_unknown() -> None:
    answer = sample("pools")
    answer["data"][0]["tvlUsd"] = -5
    assert parse_pools(answer)["tvl_usd"].isna().sum() == 1


def test_lend_borrow_may_be_empty_and_comes_bare_or_wrapped() -> None:
    rows = parse_lend_borrow(sample("lend_borrow"))
    assert rows.to_dict("records") == [
        {
            "pool_id": "43641cf5-a92e-416b-bce9-27113d3c0db6",
            "total_supply_usd": 10_000_000.0,
            "total_borrow_usd": 6_000_000.5,
            "apy_base_borrow": 0.055,
        }
    ]
    assert parse_lend_borrow({"status": "success", "data": sample("lend_borrow")}).equals(rows)
    empty = parse_lend_borrow([])
    assert (list(empty.columns), len(empty)) == (list(rows.columns), 0)


def test_chart_points_are_ascending_fractions() -> None:
    answer = sample("chart")
    answer["data"].reverse()
    rows = parse_chart(answer)
    assert list(rows.columns) == ["ts", "date", "tvl_usd", "apy", "apy_base", "apy_reward", "il_7d"]
    assert [str(day) for day in rows["date"]] == ["2025-10-22", "2025-10-23"]
    assert rows["apy"].tolist() == [7.35 / 100, 0.07]
    assert (rows["apy_reward"].tolist()[1], rows["il_7d"].tolist()[1]) == (0.01, 0.005)
    assert rows["tvl_usd"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("apy", value) for value in ("high", True, [], float("inf"), "nan", "1_000", 10**400)),
        *(("apyBase", value) for value in (False, {}, float("-inf"))),
        *(("tvlUsd", value) for value in ({}, "1e999", float("inf"))),
        *(("timestamp", value) for value in (None, 7, "yesterday", "2025-10-24T00:01:00", "1960-01-01T00:00:00Z")),
        *(("timestamp", value) for value in ("2250-01-01T00:00:00Z", f"2025-10-24T00:01:00.{'0' * 40}Z")),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_point_with_a_retyped_field_is_malformed_and_named_with_its_row(field: str, value: object) -> None:
    answer = sample("chart")
    answer["data"][1][field] = value
    with pytest.raises(VendorMalformed, match=f"field '{field}' of row 1: "):
        parse_chart(answer)


def test_points_in_other_spellings_are_the_same_points() -> None:
    plain, other = sample("chart"), sample("chart")
    for point in other["data"]:
        point["timestamp"] = (
            datetime.fromisoformat(point["timestamp"]).astimezone(timezone(timedelta(hours=5))).isoformat()
        )
        point["apy"] = str(point["apy"])
    assert parse_chart(other).equals(parse_chart(plain))


cells = st.one_of(
    st.none(), st.floats(allow_nan=False), st.integers(-(10**320), 10**320), st.sampled_from(["1.5", "x", True])
)


@given(st.lists(st.one_of(st.builds(lambda cell: {"apy": cell}, cells), st.just({})), max_size=4), st.booleans())
def test_columns_read_at_once_are_those_read_one_by_one(rows: list[dict[str, Any]], optional: bool) -> None:
    for at_once, read in ((fields.fractions, fields.maybe_fraction), (fields.sizes, fields.maybe_size)):
        try:
            wanted = fields.floats(fields.column(rows, "apy", read, optional=optional))
        except VendorMalformed as error:
            with pytest.raises(VendorMalformed, match=re.escape(str(error))):
                at_once(rows, "apy", optional=optional)
        else:
            np.testing.assert_array_equal(at_once(rows, "apy", optional=optional), wanted)


def test_an_unknown_pool_has_no_points_and_is_missing(world: WorldMaker) -> None:
    here = world({"status": "success", "data": []})
    fetched = here.run(lambda gateway: DefiLlamaYields(gateway).chart("gone"))
    assert (len(fetched.rows), fetched.missing) == (0, ("gone",))
    assert list(fetched.rows.columns) == list(parse_chart(sample("chart")).columns)


def test_one_failing_chart_loses_no_other() -> None:
    def reply(request: httpx.Request) -> httpx.Response:
        name = request.url.path.rsplit("/", 1)[1]
        codes = {"bad": 500, "none": 404}
        return httpx.Response(codes.get(name, 200), json=sample("chart") if name != "torn" else {"data": [{}]})

    here = World(Vendors(reply), MemoryArchive())

    async def all_charts(gateway: Gateway) -> dict[str, Any]:
        asked = ["a", "bad", "none", "torn", "b", "a"]
        return {pool: answer async for pool, answer in DefiLlamaYields(gateway).charts(asked)}

    charts: dict[str, Any] = here.run(all_charts)
    assert sorted(charts) == ["a", "b", "bad", "none", "torn"]
    assert {name: type(value) for name, value in charts.items() if isinstance(value, VendorError)} == {
        "bad": VendorUnavailable,
        "none": VendorNotFound,
        "torn": VendorMalformed,
    }
    assert len(charts["b"].rows) == 2
    assert len(here.archive.fetches) == 5


def test_no_lending_pool_is_an_answer_only_where_there_was_none(world: WorldMaker) -> None:
    here = world([])
    assert here.run(lambda gateway: DefiLlamaYields(gateway).lend_borrow()).rows.empty
    with pytest.raises(VendorEmpty):
        here.run(lambda gateway: DefiLlamaYields(gateway).lend_borrow(n_before=45))


def test_the_life_of_a_lending_pool_has_both_sides(world: WorldMaker) -> None:
    here = world(sample("chart_lend_borrow"))
    rows = here.run(lambda gateway: DefiLlamaYields(gateway).chart_lend_borrow("a-pool")).rows
    assert here.vendors.requests[0].url.path == "/chartLendBorrow/a-pool"
    assert [str(day) for day in rows["date"]] == ["2025-10-22", "2025-10-23"]
    assert rows["total_supply_usd"].tolist()[0] == 10_000_000
    assert rows["total_borrow_usd"].isna().tolist() == [False, True]
    assert rows["apy_base"].tolist() == [4.0 / 100, 4.5 / 100]
    assert rows["apy_base_borrow"].tolist() == [5.5 / 100, 6.0 / 100]
    assert (rows["apy_reward"].tolist()[1], rows["apy_reward_borrow"].tolist()[1]) == (0.01, 0.005)


def test_a_paid_endpoint_says_so(world: WorldMaker) -> None:
    here = world(402)
    with pytest.raises(VendorPlanLimit):
        here.run(lambda gateway: DefiLlamaYields(gateway).chart_lend_borrow("a-pool"))
    assert len(here.vendors.requests) == 1
