"""The vendors that confirm or replace others: CoinGecko, an Ethereum node, Pendle, lending histories, ETH's price.

They are told from the same facts as the first source, so they agree with it, in the vendors' own format.
"""

import asyncio
import gzip
import itertools
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from defiyield_assets.domain.days import end_of, market_stamp
from defiyield_assets.simulator.generated import DEMO_DAY, GeneratedMarket
from defiyield_assets.simulator.market import Market
from defiyield_assets.simulator.recorded import RecordedMarket
from defiyield_assets_tests.simulator.asking import answer, respond
from defiyield_assets_tests.simulator.test_wire import assert_like

GECKO = "https://api.coingecko.com/api/v3"
WETH = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"


@pytest.fixture(scope="module", params=["generated", pytest.param("recorded", marks=pytest.mark.recorded)])
def market(request: pytest.FixtureRequest) -> Market:
    """Both markets, one after the other."""
    chosen: Market = request.getfixturevalue(request.param)
    return chosen


def rpc(market: Market, day: date, method: str, *params: object) -> Any:
    """The decoded answer of the market's node."""

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=market.transport(day)) as client:
            question = {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(params)}
            return await client.post("https://ethereum-rpc.simulated/any/path", json=question)

    response = asyncio.run(ask())
    assert response.status_code == 200
    body = response.json()
    assert (body["jsonrpc"], body["id"]) == ("2.0", 7)
    return body


def bars_of(market: Market, name: str) -> list[Any]:
    """CoinMarketCap's bars of the past weeks of a token, by its CoinGecko id."""
    (cmc_id,) = (t.cmc_id for t in market.chain.world.tokens.values() if t.coingecko_id == name)
    assert cmc_id is not None
    coin = market.coin(cmc_id, DEMO_DAY - timedelta(days=40), DEMO_DAY)
    assert coin is not None
    return list(coin.bars)


# --- CoinGecko -----------------------------------------------------------------------------------------------------
@pytest.mark.recorded
def test_coingecko_looks_like_the_recorded_answers(market: Market, recorded_data: Path) -> None:
    body = gzip.decompress((recorded_data / "fixtures/coingecko/coingecko_ruby_vcr_2021.json.gz").read_bytes())
    pairs = json.loads(body)
    theirs = next(pair["response"] for pair in pairs if "/coins/markets?ids=bitcoin&vs_currency=usd" in pair["url"])
    ours = answer(market, DEMO_DAY, f"{GECKO}/coins/markets", vs_currency="usd", ids="usd-coin,nobody", per_page=250)
    assert [row["id"] for row in ours] == ["usd-coin"]
    assert_like(ours, theirs, ignore=frozenset({"market_cap_rank", "max_supply"}))
    candles = answer(market, DEMO_DAY, f"{GECKO}/coins/usd-coin/ohlc", vs_currency="usd", days=30)
    recorded = next(pair["response"] for pair in pairs if "/ohlc?days=30" in pair["url"])
    assert len(candles) == len(recorded) == 180
    assert all(len(candle) == 5 for candle in candles)
    chart = answer(market, DEMO_DAY, f"{GECKO}/coins/usd-coin/market_chart", days=90, interval="daily")
    their_chart = next(pair["response"] for pair in pairs if "interval=daily" in pair["url"])
    assert chart.keys() == their_chart.keys()
    assert {name: len(points) for name, points in chart.items()} == dict.fromkeys(chart, 91)


@pytest.mark.parametrize(("days", "interval", "hours"), [(1, {}, 0.5), (30, {}, 4), (30, {"interval": "daily"}, 24)])
def test_candles_of_a_day_are_its_bar(market: Market, days: int, interval: dict[str, str], hours: float) -> None:
    candles = answer(market, DEMO_DAY, f"{GECKO}/coins/usd-coin/ohlc", vs_currency="usd", days=days, **interval)
    steps = {(b[0] - a[0]) / 3_600_000 for a, b in itertools.pairwise(candles)}
    assert steps == {hours}
    ends = market_stamp(DEMO_DAY).timestamp() * 1000
    assert len(candles) == days * 24 / hours
    assert candles[-1][0] >= ends > candles[-2][0], "the running candle carries the time of its close"
    for bar in bars_of(market, "usd-coin")[-2:]:
        end = end_of(bar.day).timestamp() * 1000
        own = [candle for candle in candles if end - 86_400_000 < candle[0] <= end]
        if len(own) == 24 / hours:
            told = (own[0][1], max(c[2] for c in own), min(c[3] for c in own), own[-1][4])
            assert told == (bar.open, bar.high, bar.low, bar.close)
        else:
            assert (days, len(own), bar.day) in {(1, 47, DEMO_DAY), (1, 0, DEMO_DAY - timedelta(days=1))}


def test_beyond_thirty_days_candles_are_four_days_long(market: Market) -> None:
    candles = answer(market, DEMO_DAY, f"{GECKO}/coins/usd-coin/ohlc", vs_currency="usd", days=90)
    steps = {(b[0] - a[0]) / 3_600_000 for a, b in itertools.pairwise(candles[:-1])}
    assert steps == {96}
    assert 20 <= len(candles) <= 24


def test_charts_tell_the_close_cap_and_volume_at_midnight(market: Market) -> None:
    chart = answer(market, DEMO_DAY, f"{GECKO}/coins/usd-coin/market_chart", days=30, interval="daily")
    for bar in bars_of(market, "usd-coin")[-20:]:
        at = int(end_of(bar.day).timestamp() * 1000)
        told = [dict(map(tuple, chart[name]))[at] for name in ("prices", "market_caps", "total_volumes")]
        assert told == [bar.close, bar.market_cap, bar.volume]


def test_a_coin_without_bars_is_listed_only_where_its_closes_are_known(market: Market) -> None:
    row = answer(market, DEMO_DAY, f"{GECKO}/coins/markets", vs_currency="usd", ids="crvusd")
    known = respond(market, DEMO_DAY, f"{GECKO}/coins/crvusd/ohlc", days=30).status_code
    assert (len(row), known) == ((0, 404) if market.name == "recorded" else (1, 200))
    for what in ("ohlc", "market_chart"):
        missing = respond(market, DEMO_DAY, f"{GECKO}/coins/nobody/{what}", days=30)
        assert (missing.status_code, missing.json()) == (404, {"error": "coin not found"})


def test_both_plans_are_answered_alike(market: Market) -> None:
    demo, paid = (
        respond(market, DEMO_DAY, f"https://{host}/api/v3/coins/usd-coin/ohlc", days=30)
        for host in ("api.coingecko.com", "pro-api.coingecko.com")
    )
    assert demo.content == paid.content


# --- Ethereum node -------------------------------------------------------------------------------------------------
def test_blocks_have_their_slots_and_nothing_is_told_of_later_ones(generated: GeneratedMarket) -> None:
    newest = rpc(generated, DEMO_DAY, "eth_getBlockByNumber", "latest", False)["result"]
    number = int(newest["number"], 16)
    assert int(newest["timestamp"], 16) == int(market_stamp(DEMO_DAY).timestamp())
    assert rpc(generated, DEMO_DAY, "eth_blockNumber")["result"] == newest["number"]
    before = rpc(generated, DEMO_DAY, "eth_getBlockByNumber", hex(number - 300), False)["result"]
    assert int(newest["timestamp"], 16) - int(before["timestamp"], 16) == 3_600
    assert rpc(generated, DEMO_DAY, "eth_getBlockByNumber", hex(number + 1), False)["result"] is None
    beyond = rpc(generated, DEMO_DAY, "eth_feeHistory", "0x1", hex(number + 1), [50])
    assert beyond["error"]["code"] == -32000


def test_a_block_says_the_same_whenever_it_is_asked(generated: GeneratedMarket) -> None:
    number = int(rpc(generated, DEMO_DAY, "eth_blockNumber")["result"], 16) - 500
    for method, params in (
        ("eth_getBlockByNumber", (hex(number), False)),
        ("eth_feeHistory", ("0x64", hex(number), [10, 50, 90])),
    ):
        told = {json.dumps(rpc(generated, DEMO_DAY + timedelta(days=k), method, *params)) for k in (0, 1, 30)}
        assert len(told) == 1


def test_fee_histories_mean_the_hours_of_the_gas_vendor(generated: GeneratedMarket) -> None:
    hours = answer(generated, DEMO_DAY, "https://www.ethgastracker.com/api/gas/average")["data"]["data"]
    newest = int(rpc(generated, DEMO_DAY, "eth_blockNumber")["result"], 16)
    last = newest - 151
    for back in range(3):
        told = rpc(generated, DEMO_DAY, "eth_feeHistory", "0x12c", hex(last - 300 * back), [50, 0, 100])["result"]
        assert int(told["oldestBlock"], 16) == last - 300 * back - 299
        base = [int(fee, 16) / 1e9 for fee in told["baseFeePerGas"]]
        assert (len(base), len(told["reward"]), len(told["gasUsedRatio"])) == (301, 300, 300)
        hour = hours[back + 1]
        assert sum(base[:300]) / 300 == pytest.approx(hour["baseFee"], rel=1e-6)
        median = sum(fee + int(paid[0], 16) / 1e9 for fee, paid in zip(base[:300], told["reward"], strict=True)) / 300
        assert median == pytest.approx(hour["median"], rel=1e-6)
        assert max(base[:300]) > 1.03 * min(base[:300]), "blocks differ"


def test_a_node_gives_at_most_1024_blocks_and_refuses_nonsense(generated: GeneratedMarket) -> None:
    newest = rpc(generated, DEMO_DAY, "eth_blockNumber")["result"]
    assert len(rpc(generated, DEMO_DAY, "eth_feeHistory", "0x1000", newest, [50])["result"]["reward"]) == 1024
    assert rpc(generated, DEMO_DAY, "eth_feeHistory", "0x1", newest)["error"]["code"] == -32602
    assert rpc(generated, DEMO_DAY, "eth_feeHistory", "0x1", "xyz", [50])["error"]["code"] == -32602
    assert rpc(generated, DEMO_DAY, "eth_feeHistory", "0x1", newest, [101])["error"]["code"] == -32602
    assert rpc(generated, DEMO_DAY, "eth_sendRawTransaction", "0x")["error"]["code"] == -32601


@pytest.mark.recorded
def test_a_market_without_base_fees_has_no_node(recorded: RecordedMarket) -> None:
    for method in ("eth_blockNumber", "eth_feeHistory"):
        assert rpc(recorded, DEMO_DAY, method)["error"]["code"] == -32601


# --- the others ----------------------------------------------------------------------------------------------------
def test_pendle_lists_its_markets_on_both_routes(generated: GeneratedMarket) -> None:
    root = "https://api-v2.pendle.finance/core"
    rows = answer(generated, DEMO_DAY, f"{root}/v1/markets/all", chainId=1)["markets"]
    assert len(rows) == len(generated.pendle_markets(DEMO_DAY)) > 0
    assert all(row.keys() == {"name", "address", "expiry", "pt", "yt", "sy", "underlyingAsset"} for row in rows)
    assert answer(generated, DEMO_DAY, f"{root}/v1/markets/all", chainId=10) == {"markets": []}
    pages = [answer(generated, DEMO_DAY, f"{root}/v2/markets/all", chainId=1, skip=k, limit=1) for k in (0, 1)]
    assert [page["total"] for page in pages] == [len(rows)] * 2
    shown = [{k: v for k, v in row.items() if k != "chainId"} for page in pages for row in page["results"]]
    assert shown == rows[:2]


@pytest.mark.recorded
def test_pendle_looks_like_the_recorded_answer(generated: GeneratedMarket, recorded_data: Path) -> None:
    name = "fixtures/pendle_merkl/pendle_v2_markets_all_active_2026-07-27_trimmed.json"
    theirs = json.loads((recorded_data / name).read_text())
    ours = answer(generated, DEMO_DAY, "https://api-v2.pendle.finance/core/v2/markets/all", chainId=1, limit=100)
    assert ours.keys() == theirs.keys()
    told = ("name", "address", "expiry", "pt", "yt", "sy", "underlyingAsset", "chainId")
    assert_like(ours["results"], [{name: row[name] for name in told} for row in theirs["results"]])


@pytest.mark.recorded
def test_the_recorded_market_has_no_pendle(recorded: RecordedMarket) -> None:
    assert answer(recorded, DEMO_DAY, "https://api-v2.pendle.finance/core/v1/markets/all") == {"markets": []}


def test_a_lending_history_ends_where_the_snapshot_stands(generated: GeneratedMarket) -> None:
    url = "https://yields.llama.fi"
    legs = answer(generated, DEMO_DAY, f"{url}/lendBorrow")
    for leg in legs[::40]:
        points = answer(generated, DEMO_DAY, f"{url}/chartLendBorrow/{leg['pool']}")["data"]
        chart = answer(generated, DEMO_DAY, f"{url}/chart/{leg['pool']}")["data"]
        same = ("totalSupplyUsd", "totalBorrowUsd", "apyBaseBorrow")
        assert {name: points[-1][name] for name in same} == {name: leg[name] for name in same}
        assert len(points) == len(chart)
        for point, other in zip(points, chart, strict=True):
            assert point["timestamp"] == other["timestamp"]
            assert (point["apyBase"], point["apyReward"]) == (other["apyBase"], other["apyReward"])
            assert point["totalSupplyUsd"] - point["totalBorrowUsd"] == other["tvlUsd"]
    assert respond(generated, DEMO_DAY, f"{url}/chartLendBorrow/no-such-pool").status_code == 404


def test_a_pool_that_lends_nothing_has_a_history_without_sizes(market: Market) -> None:
    lending = {row["pool"] for row in market.lend_borrow_rows(DEMO_DAY)}
    pool = next(row["pool"] for row in market.pool_rows(DEMO_DAY) if row["pool"] not in lending)
    points = answer(market, DEMO_DAY, f"https://yields.llama.fi/chartLendBorrow/{pool}")["data"]
    assert points
    assert {(point["totalSupplyUsd"], point["totalBorrowUsd"]) for point in points} == {(None, None)}


def test_ether_costs_what_the_gas_vendor_says(market: Market) -> None:
    hours = answer(market, DEMO_DAY, "https://www.ethgastracker.com/api/gas/average")["data"]["data"]
    told = answer(
        market,
        DEMO_DAY,
        f"https://coins.llama.fi/chart/ethereum:{WETH}",
        start=int(end_of(DEMO_DAY - timedelta(days=2)).timestamp()),
        span=3,
        period="1d",
    )["coins"][f"ethereum:{WETH}"]["prices"]
    at_midnight = {row["period"]: row["ethPrice"] for row in hours}
    assert len(told) == 3
    for point, back in zip(told, (2, 1, 0), strict=True):
        end = end_of(DEMO_DAY - timedelta(days=back))
        if market.name == "recorded":  # its hours tell the close of their own day
            end -= timedelta(hours=1)
        assert point["price"] == pytest.approx(at_midnight[end.isoformat()], rel=1e-4)
