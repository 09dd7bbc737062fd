"""CoinMarketCap: errors inside a 200, every documented shape of `data`, days and missing ids."""

from datetime import date
from typing import Any

import httpx
import pandas as pd
import pytest

from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import (
    VendorAuthError,
    VendorEmpty,
    VendorError,
    VendorMalformed,
    VendorNotFound,
    VendorPlanLimit,
    VendorThrottled,
    VendorUnavailable,
)
from defiyield_assets.sources.coinmarketcap import CoinMarketCap, parse_ohlcv, parse_quotes
from defiyield_assets_tests.sources.conftest import WorldMaker
from defiyield_assets_tests.sources.samples import sample

DAY = DayRange.of(date(2025, 10, 23))


@pytest.mark.parametrize(
    ("code", "error", "attempts"),
    [
        (1001, VendorAuthError, 1),
        (1002, VendorAuthError, 1),
        (1006, VendorAuthError, 1),
        (1008, VendorThrottled, 5),
        ("1008", VendorThrottled, 5),
        (1009, VendorPlanLimit, 1),
        (1010, VendorPlanLimit, 1),
        (1011, VendorThrottled, 5),
        (400, VendorNotFound, 1),
        (500, VendorUnavailable, 5),
        ("x", VendorMalformed, 5),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 401, 429])
def test_the_error_code_decides_whatever_the_status(
    world: WorldMaker, code: object, error: type[VendorError], attempts: int, status: int
) -> None:
    body = {"status": {"error_code": code, "error_message": "no"}}
    here = world(lambda _: httpx.Response(status, json=body))
    with pytest.raises(error):
        here.run(lambda gateway: CoinMarketCap(gateway).ohlcv([23508], DAY))
    assert len(here.vendors.requests) == attempts


def test_bars_become_typed_rows(world: WorldMaker) -> None:
    here = world(sample("ohlcv"))
    fetched = here.run(lambda gateway: CoinMarketCap(gateway).ohlcv([23508, 3408], DAY))
    params = here.vendors.requests[0].url.params
    assert (params["id"], params["time_start"], params["time_end"]) == ("3408,23508", "2025-10-22", "2025-10-23")
    assert fetched.missing == ("3408",)
    assert fetched.rows.to_dict("records") == [
        {
            "cmc_id": 23508,
            "ts": pd.Timestamp("2025-10-23", tz="UTC"),
            "date": date(2025, 10, 23),
            "open": 0.9993,
            "high": 1.0011,
            "low": 0.9987,
            "close": 0.9996,
            "volume_usd": 1.2e6,
            "market_cap_usd": 3.1e8,
        }
    ]


def _shapes() -> list[Any]:
    coin = sample("ohlcv")["data"]["GHO"][0]
    return [
        {"status": {"error_code": 0}, "data": {"23508": coin}},
        {"status": {"error_code": "0"}, "data": {"23508": [coin]}},
        {"data": coin},
        {"data": [coin]},
        coin,
    ]


@pytest.mark.parametrize("answer", _shapes(), ids=["by id", "by id, list", "object", "list", "bare"])
def test_every_documented_shape_is_accepted(answer: Any) -> None:
    assert parse_ohlcv(answer).equals(parse_ohlcv(sample("ohlcv")))


def test_a_market_cap_of_zero_is_unknown() -> None:
    answer = sample("ohlcv")
    answer["data"]["GHO"][0]["quotes"][0]["quote"]["USD"]["market_cap"] = 0
    assert parse_ohlcv(answer)["market_cap_usd"].isna().all()
    assert parse_quotes(sample("quotes"))["market_cap_usd"].isna().all()


@pytest.mark.parametrize("field", ["open", "high", "low", "close"])
@pytest.mark.parametrize("value", [None, "x", -1, 1e999])
def test_a_bar_without_its_prices_is_malformed(field: str, value: object) -> None:
    answer = sample("ohlcv")
    answer["data"]["GHO"][0]["quotes"][0]["quote"]["USD"][field] = value
    with pytest.raises(VendorMalformed, match=field):
        parse_ohlcv(answer)
    del answer["data"]["GHO"][0]["quotes"][0]["quote"]["USD"][field]
    with pytest.raises(VendorMalformed, match=f"'{field}' of row 0 is missing"):
        parse_ohlcv(answer)


def test_days_outside_the_range_and_ids_not_asked_for_are_left_out(world: WorldMaker) -> None:
    here = world(sample("ohlcv"))
    other_day = here.run(lambda gateway: CoinMarketCap(gateway).ohlcv([23508], DayRange.of(date(2025, 10, 22))))
    assert (len(other_day.rows), other_day.missing) == (0, ("23508",))
    other_id = here.run(lambda gateway: CoinMarketCap(gateway).ohlcv([1], DAY))
    assert (len(other_id.rows), other_id.missing) == (0, ("1",))
    assert list(other_id.rows.columns) == list(parse_ohlcv(sample("ohlcv")).columns)


def test_no_bar_of_many_ids_is_empty_and_never_an_answer(world: WorldMaker) -> None:
    here = world({"status": {"error_code": 0}, "data": {}})
    with pytest.raises(VendorEmpty, match="of 4 that were asked for the answer holds none"):
        here.run(lambda gateway: CoinMarketCap(gateway).ohlcv([1, 2, 3, 4], DAY))
    assert here.archive.last.error_class == "VendorEmpty"


def test_bars_of_the_day_before_alone_are_never_an_answer(world: WorldMaker) -> None:
    here = world(sample("ohlcv"))
    with pytest.raises(VendorEmpty):
        here.run(lambda gateway: CoinMarketCap(gateway).ohlcv([23508, 1, 2, 3], DayRange.of(date(2025, 10, 24))))
    assert here.archive.last.error_class == "VendorEmpty"


def test_no_ids_ask_nothing(world: WorldMaker) -> None:
    here = world(sample("ohlcv"))
    assert here.run(lambda gateway: CoinMarketCap(gateway).ohlcv([], DAY)).rows.empty
    assert here.vendors.requests == []


def test_many_ids_are_asked_in_parts() -> None:
    from defiyield_assets_tests.sources.conftest import MemoryArchive, Vendors, World

    def reply(request: httpx.Request) -> httpx.Response:
        coin = sample("ohlcv")["data"]["GHO"][0]
        asked = request.url.params["id"].split(",")
        return httpx.Response(200, json={"data": {one: {**coin, "id": int(one)} for one in asked}})

    here = World(Vendors(reply), MemoryArchive())
    fetched = here.run(lambda gateway: CoinMarketCap(gateway).ohlcv(range(1, 121), DAY))
    assert fetched.rows["cmc_id"].tolist() == list(range(1, 121))
    assert len(here.vendors.requests) == 3


def test_quotes(world: WorldMaker) -> None:
    fetched = world(sample("quotes")).run(lambda gateway: CoinMarketCap(gateway).quotes([23508, 7]))
    assert list(fetched.rows.columns) == ["cmc_id", "symbol", "ts", "price_usd", "volume_usd", "market_cap_usd"]
    assert (fetched.rows.loc[0, "price_usd"], fetched.missing) == (0.9996, ("7",))
