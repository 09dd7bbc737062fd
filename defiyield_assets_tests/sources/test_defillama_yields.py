"""DeFiLlama yields: percent becomes a fraction once, partial lists never pass, one failing chart costs no other."""

import math
from typing import Any

import httpx
import pandas as pd
import pytest

from defiyield_assets.errors import VendorEmpty, VendorError, VendorMalformed, VendorNotFound, VendorUnavailable
from defiyield_assets.sources.defillama_yields import DefiLlamaYields, parse_chart, parse_lend_borrow, parse_pools
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
    done: list[str] = []
    asked = ["a", "bad", "none", "torn", "b", "a"]
    charts: dict[str, Any] = here.run(lambda gateway: DefiLlamaYields(gateway).charts(asked, done.append))
    assert list(charts) == ["a", "bad", "none", "torn", "b"]
    assert sorted(done) == sorted(charts)
    assert {name: type(value) for name, value in charts.items() if isinstance(value, VendorError)} == {
        "bad": VendorUnavailable,
        "none": VendorNotFound,
        "torn": VendorMalformed,
    }
    assert len(charts["b"].rows) == 2
    assert len(here.archive.fetches) == 5
