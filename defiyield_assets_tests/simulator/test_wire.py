"""Every answer speaks the vendor's format: fields of the contract, types of recorded answers, the market's stamp."""

import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from defiyield_assets.domain.days import market_stamp
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.simulator.generated import DEMO_DAY, GeneratedMarket
from defiyield_assets.simulator.market import Market, investable_wallet
from defiyield_assets.simulator.recorded import RecordedMarket
from defiyield_assets_tests.simulator.asking import ETHPLORER, answer, etherscan, respond

USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
JSON_NUMBERS = {"int", "float"}


@pytest.fixture(scope="module", params=["generated", pytest.param("recorded", marks=pytest.mark.recorded)])
def market(request: pytest.FixtureRequest) -> Market:
    """Both markets, one after the other."""
    chosen: Market = request.getfixturevalue(request.param)
    return chosen


def warm(market: GeneratedMarket | RecordedMarket | Market) -> str:
    """Address of the wallet that plans spend from."""
    return investable_wallet(market._wallets).address  # type: ignore[union-attr]


def shape_of(rows: Iterable[dict[str, Any]]) -> dict[str, set[str]]:
    """Field → JSON types; ints and floats are one type."""
    shape: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for name, value in row.items():
            kind = type(value).__name__
            shape[name].add("number" if kind in JSON_NUMBERS else kind)
    return dict(shape)


def assert_like(
    ours: list[dict[str, Any]], theirs: list[dict[str, Any]], *, ignore: frozenset[str] = frozenset()
) -> None:
    """Every recorded field is in every one of our rows, with a recorded type (null is always allowed)."""
    assert ours
    assert theirs
    recorded = shape_of(theirs)
    for name, kinds in recorded.items():
        if name in ignore:
            continue
        assert all(name in row for row in ours), f"{name} is missing"
        # A field that was null in every recorded row tells nothing of its type.
        assert kinds == {"NoneType"} or shape_of(ours)[name] <= kinds | {"NoneType"}, name


def test_every_answer_is_stamped_half_an_hour_after_the_day(market: Market) -> None:
    for url in ("https://yields.llama.fi/pools", "https://nobody.example.invalid/x"):
        response = respond(market, DEMO_DAY, url)
        assert parsedate_to_datetime(response.headers["Date"]) == market_stamp(DEMO_DAY)
        assert response.headers["Date"] == "Wed, 04 Jun 2025 00:30:00 GMT"


def test_unknown_paths_are_not_found(market: Market) -> None:
    for url in (
        "https://yields.llama.fi/nothing",
        "https://yields.llama.fi/chart/no-such-pool",
        "https://a.example.invalid/",
    ):
        assert respond(market, DEMO_DAY, url).status_code == 404
    assert respond(market, DEMO_DAY, f"{ETHPLORER}/getTxInfo/0x00").status_code == 404


def test_a_day_outside_the_market_is_refused(market: Market) -> None:
    with pytest.raises(ConfigurationError, match="2019-01-01"):
        market.transport(date(2019, 1, 1))


@pytest.mark.recorded
def test_pools_look_like_the_recorded_answer(market: Market, recorded_data: Path) -> None:
    theirs = json.loads((recorded_data / "yields/defillama_pools_api_shape_stables151_2026-03-02.json").read_text())
    ours = answer(market, DEMO_DAY, "https://yields.llama.fi/pools")
    assert ours.keys() == theirs.keys()
    assert ours["status"] == "success"
    assert_like(ours["data"], theirs["data"])
    assert len({row["pool"] for row in ours["data"]}) == len(ours["data"])


@pytest.mark.recorded
def test_charts_look_like_the_recorded_answer(market: Market, recorded_data: Path) -> None:
    theirs = json.loads((recorded_data / "yields/defillama_chart_raw_response_5fd328af.json").read_text())
    pools = answer(market, DEMO_DAY, "https://yields.llama.fi/pools")["data"]
    chart = answer(market, DEMO_DAY, f"https://yields.llama.fi/chart/{pools[0]['pool']}")
    assert_like(chart["data"], theirs)
    stamps = [point["timestamp"] for point in chart["data"]]
    assert stamps == sorted(stamps)
    assert len({stamp[:10] for stamp in stamps}) == len(stamps)
    assert all(stamp[10:14] == "T23:" and stamp.endswith("Z") for stamp in stamps)


def test_snapshot_and_chart_tell_the_same_value(market: Market) -> None:
    for row in answer(market, DEMO_DAY, "https://yields.llama.fi/pools")["data"][:40]:
        point = answer(market, DEMO_DAY, f"https://yields.llama.fi/chart/{row['pool']}")["data"][-1]
        assert {name: point[name] for name in ("apy", "apyBase", "apyReward", "tvlUsd")} == {
            name: row[name] for name in ("apy", "apyBase", "apyReward", "tvlUsd")
        }


def test_lending_legs_explain_the_size(generated: GeneratedMarket) -> None:
    legs = answer(generated, DEMO_DAY, "https://yields.llama.fi/lendBorrow")
    size = {row["pool"]: row["tvlUsd"] for row in answer(generated, DEMO_DAY, "https://yields.llama.fi/pools")["data"]}
    fields = {"pool", "apyBaseBorrow", "apyRewardBorrow", "totalSupplyUsd", "totalBorrowUsd", "debtCeilingUsd", "ltv"}
    assert len(legs) >= 100
    for leg in legs:
        assert leg.keys() >= fields | {"borrowable", "mintedCoin", "underlyingTokens"}
        assert leg["totalSupplyUsd"] - leg["totalBorrowUsd"] == size[leg["pool"]]


@pytest.mark.recorded
def test_coin_prices_look_like_the_recorded_answers(market: Market, recorded_data: Path) -> None:
    pairs = json.loads((recorded_data / "fixtures/defillama/rotki_coins_prices.json").read_text())
    theirs = [
        coin for pair in pairs for name, coin in pair["response"]["coins"].items() if not name.startswith("coingecko")
    ]
    for path in ("prices/current", "prices/historical/1748995200"):
        known, unknown = f"Ethereum:{USDC.upper().replace('X', 'x', 1)}", "ethereum:0x" + "1" * 40
        coins = answer(market, DEMO_DAY, f"https://coins.llama.fi/{path}/{known},{unknown}")["coins"]
        assert list(coins) == [known], "unknown coins are silently missing, known ones keep their spelling"
        assert_like(list(coins.values()), theirs)


def test_coin_charts_give_one_point_a_day_near_its_end(market: Market) -> None:
    start = int(market_stamp(date(2025, 5, 30)).timestamp()) - 1800
    url = f"https://coins.llama.fi/chart/ethereum:{USDC}"
    (coin,) = answer(market, DEMO_DAY, url, start=start, span=10, period="1d")["coins"].values()
    assert coin.keys() == {"symbol", "confidence", "decimals", "prices"}
    nearest = [round(point["timestamp"] / 86_400) * 86_400 for point in coin["prices"]]
    assert nearest == [start + 86_400 * k for k in range(5)], "05-30 … 06-03, nothing later"


def test_ohlcv_is_keyed_by_id_and_only_closed_days(market: Market) -> None:
    told = answer(
        market,
        DEMO_DAY,
        "https://pro-api.coinmarketcap.com/v2/cryptocurrency/ohlcv/historical",
        id="3408,825,999999",
        time_start="2025-05-31",
        time_end="2025-06-09",
    )
    assert told["status"]["error_code"] == 0
    assert told["data"].keys() == {"3408", "825"}
    coin = told["data"]["3408"]
    assert (coin["id"], coin["symbol"]) == (3408, "USDC")
    days = [bar["time_open"][:10] for bar in coin["quotes"]]
    assert days == ["2025-06-01", "2025-06-02", "2025-06-03"], "start is exclusive, the running day has no bar"
    for bar in coin["quotes"]:
        usd = bar["quote"]["USD"]
        assert bar.keys() == {"time_open", "time_close", "time_high", "time_low", "quote"}
        assert usd.keys() == {"open", "high", "low", "close", "volume", "market_cap", "timestamp"}
        assert usd["low"] <= min(usd["open"], usd["close"]) <= max(usd["open"], usd["close"]) <= usd["high"]


def test_gas_is_169_hours_newest_first(market: Market) -> None:
    told = answer(market, DEMO_DAY, "https://www.ethgastracker.com/api/gas/average")["data"]
    hours = [row["period"] for row in told["data"]]
    assert len(hours) == 169
    assert hours[0] == "2025-06-04T00:00:00+00:00"
    assert hours == sorted(hours, reverse=True)
    fields = {"period", "baseFee", "gasLimit", "gasUsed", "txCount", "min", "max", "median", "ethPrice"}
    assert all(row.keys() == fields and row["min"] <= row["median"] <= row["max"] for row in told["data"])
    assert all((row["baseFee"] is None) == (market.name == "recorded") for row in told["data"])


@pytest.mark.recorded
def test_fred_looks_like_the_recorded_answer(market: Market, recorded_data: Path) -> None:
    theirs = json.loads((recorded_data / "fixtures/fred/series_observations_HQMCB10YR.json").read_text())
    url, series = (
        "https://api.stlouisfed.org/fred/series/observations",
        "DGS10" if market.name == "recorded" else "DGS3MO",
    )
    ours = answer(market, DEMO_DAY, url, series_id=series, observation_start="2025-05-20")
    assert ours.keys() == theirs.keys()
    assert_like(ours["observations"], theirs["observations"])
    assert ours["observations"][-1]["date"] == "2025-06-02", "the value of the day itself is not out yet"
    vintages = answer(market, DEMO_DAY, url, series_id=series, realtime_start="1776-07-04", realtime_end="9999-12-31")[
        "observations"
    ]
    assert all(row["realtime_start"] > row["date"] for row in vintages)
    assert respond(market, DEMO_DAY, url, series_id="NOTHING").status_code == 400


@pytest.mark.parametrize(
    ("name", "unit", "frequency"), [("DGS10", "Percent", "D"), ("FEDFUNDS", "Percent", "M"), ("VIXCLS", "Index", "D")]
)
def test_series_have_unit_and_frequency_and_come_out_on_weekdays(
    market: Market, name: str, unit: str, frequency: str
) -> None:
    url = "https://api.stlouisfed.org/fred/series"
    (about,) = answer(market, DEMO_DAY, url, series_id=name, file_type="json")["seriess"]
    assert (about["id"], about["units"], about["frequency_short"]) == (name, unit, frequency)
    told = market.observations(name, DEMO_DAY) or []
    assert len(told) > 15
    assert all(one.day < one.known_since <= DEMO_DAY for one in told)
    assert {one.known_since.weekday() for one in told} <= set(range(5))
    days = [one.day for one in told]
    assert days == sorted(days)
    assert (frequency == "M") == all(day.day == 1 for day in days)
    assert respond(market, DEMO_DAY, url, series_id="NOTHING").status_code == 400


@pytest.mark.recorded
def test_recorded_volatility_is_the_close_of_its_file(recorded: RecordedMarket, recorded_data: Path) -> None:
    file = next((recorded_data / "macro").glob("vix_daily_ohlc_*.csv")).read_text().splitlines()
    closes = {line.split(",")[0]: line.split(",")[4] for line in file[1:]}
    told = {one.day.isoformat(): one.value for one in recorded.observations("VIXCLS", DEMO_DAY) or []}
    assert list(told.items())[-1] == ("2025-06-02", closes["2025-06-02"])
    assert told.items() <= closes.items()


@pytest.mark.recorded
def test_etherscan_looks_like_the_recorded_answers(generated: GeneratedMarket, recorded_data: Path) -> None:
    pairs = json.loads((recorded_data / "chain/etherscan_account_0xb8553d9e_txlist_tokentx_internal.json").read_text())
    for action in ("txlist", "tokentx", "txlistinternal"):
        theirs = next(
            p["response"]["result"] for p in pairs if f"action={action}&" in p["url"] and "etherscan" in p["url"]
        )
        ours = etherscan(generated, DEMO_DAY, action, warm(generated))
        assert_like(ours, theirs)
        assert shape_of(ours).keys() == shape_of(theirs).keys()


@pytest.mark.recorded
def test_ethplorer_looks_like_the_recorded_answers(generated: GeneratedMarket, recorded_data: Path) -> None:
    their_info = json.loads((recorded_data / "chain/ethplorer_getAddressInfo_0x76270d9d_2022-07-03.json").read_text())
    our_info = answer(generated, DEMO_DAY, f"{ETHPLORER}/getAddressInfo/{warm(generated)}")
    assert our_info.keys() == their_info.keys()
    assert our_info["ETH"].keys() == their_info["ETH"].keys()
    assert_like(our_info["tokens"], their_info["tokens"])
    optional = frozenset({"website", "image", "price", "owner", "txsCount", "transfersCount"})
    their_tokens = [token["tokenInfo"] for token in their_info["tokens"]]
    assert_like([token["tokenInfo"] for token in our_info["tokens"]], their_tokens, ignore=optional)
    their_history = json.loads((recorded_data / "chain/ethplorer_getAddressHistory_0x7d5114d0_2018.json").read_text())
    ours = answer(generated, DEMO_DAY, f"{ETHPLORER}/getAddressHistory/{warm(generated)}", limit=1000)
    assert_like(ours["operations"], their_history["operations"])
    spam = next(o for o in ours["operations"] if o["tokenInfo"]["name"].startswith("<b>"))
    assert spam["tokenInfo"]["price"] is False
    info = answer(generated, DEMO_DAY, f"{ETHPLORER}/getTxInfo/{ours['operations'][0]['transactionHash']}")
    assert info.keys() >= {
        *("hash", "timestamp", "blockNumber", "confirmations", "success", "from", "to", "value", "input", "gasLimit"),
        *("gasUsed", "logs", "operations"),
    }
    assert info["operations"][0]["priority"] == 0


def test_ethplorer_pages_backwards(generated: GeneratedMarket) -> None:
    url = f"{ETHPLORER}/getAddressHistory/{warm(generated)}"
    everything = answer(generated, DEMO_DAY, url, limit=1000)["operations"]
    seen: list[dict[str, Any]] = []
    latest = everything[0]["timestamp"]
    while page := answer(generated, DEMO_DAY, url, limit=5, timestamp=latest)["operations"]:
        seen += page
        latest = page[-1]["timestamp"] - 1
    assert seen == everything
    assert [o["timestamp"] for o in everything] == sorted((o["timestamp"] for o in everything), reverse=True)
    token = answer(generated, DEMO_DAY, f"{ETHPLORER}/getTokenHistory/{USDC}", type="transfer", limit=1000)[
        "operations"
    ]
    assert {o["tokenInfo"]["address"] for o in token} == {USDC}
    assert answer(generated, DEMO_DAY, f"{ETHPLORER}/getTokenHistory/{USDC}", type="issuance") == {"operations": []}


def test_etherscan_pages_and_block_ranges(generated: GeneratedMarket) -> None:
    everything = etherscan(generated, DEMO_DAY, "tokentx", warm(generated))
    pages = [
        etherscan(generated, DEMO_DAY, "tokentx", warm(generated), page=p, offset=4, sort="asc") for p in range(1, 9)
    ]
    assert [row for page in pages for row in page] == everything
    middle = everything[len(everything) // 2]["blockNumber"]
    earlier = etherscan(generated, DEMO_DAY, "tokentx", warm(generated), endblock=int(middle) - 1)
    later = etherscan(generated, DEMO_DAY, "tokentx", warm(generated), startblock=middle, endblock=99_999_999)
    assert earlier + later == everything
    descending = etherscan(generated, DEMO_DAY, "tokentx", warm(generated), sort="desc")
    assert descending == everything[::-1]
    empty = respond(
        generated,
        DEMO_DAY,
        "https://api.etherscan.io/v2/api",
        chainid=10,
        module="account",
        action="txlist",
        address=warm(generated),
    ).json()
    assert empty == {"status": "0", "message": "No transactions found", "result": []}
    wrong = respond(generated, DEMO_DAY, "https://api.etherscan.io/v2/api", module="account", action="x", address="0x0")
    assert wrong.json()["message"] == "NOTOK"
