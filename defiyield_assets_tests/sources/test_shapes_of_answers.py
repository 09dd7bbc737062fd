"""The declared shapes (sources/drift.py) hold of what the vendors really sent and of what the simulated ones send.

Not here: how a drift is found (test_drift.py).
"""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from defiyield_assets.config.instruments import load_instruments
from defiyield_assets.config.loader import load_policy
from defiyield_assets.domain.days import DayRange, market_stamp
from defiyield_assets.simulator.generated import DEMO_DAY, GeneratedMarket
from defiyield_assets.simulator.market import investable_wallet
from defiyield_assets.sources.alpha_vantage import AlphaVantage
from defiyield_assets.sources.coingecko import CoinGecko
from defiyield_assets.sources.coinmarketcap import CoinMarketCap
from defiyield_assets.sources.defillama_coins import DefiLlamaCoins
from defiyield_assets.sources.defillama_yields import DefiLlamaYields
from defiyield_assets.sources.drift import SHAPES, drift_of_bodies
from defiyield_assets.sources.ethereum_node import EthereumNode
from defiyield_assets.sources.etherscan import Etherscan
from defiyield_assets.sources.ethgastracker import EthGasTracker
from defiyield_assets.sources.ethplorer import Ethplorer
from defiyield_assets.sources.fred import Fred
from defiyield_assets.sources.pendle import Pendle
from defiyield_assets.sources.transport import Gateway
from defiyield_assets.sources.vendors import default_vendors, without_pacing
from defiyield_assets_tests.sources.conftest import MemoryArchive

USDC = ("Ethereum", "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48")
DAY = DayRange.of(DEMO_DAY)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> MemoryArchive:
    """What the generated market answered to every client."""
    policy = load_policy(DEMO_DAY).policy
    folder = tmp_path_factory.mktemp("shapes")
    lists = (policy.wallets, policy.tokens, policy.protocols)
    universe = load_instruments().instruments
    market = GeneratedMarket(7, folder / "chain.sqlite", *lists, instruments=universe)
    archive = MemoryArchive()
    wallet = investable_wallet(policy.wallets).address
    pool = market.lend_borrow_rows(DEMO_DAY)[0]["pool"]
    questions: list[Callable[[Gateway], Awaitable[Any]]] = [
        lambda gateway: DefiLlamaYields(gateway).pools(),
        lambda gateway: DefiLlamaYields(gateway).lend_borrow(),
        lambda gateway: DefiLlamaYields(gateway).chart(pool),
        lambda gateway: DefiLlamaYields(gateway).chart_lend_borrow(pool),
        lambda gateway: DefiLlamaCoins(gateway).closes([USDC], DAY),
        lambda gateway: CoinMarketCap(gateway).ohlcv([3408, 825], DAY),
        lambda gateway: CoinGecko(gateway).markets(["usd-coin", "tether", "bitcoin"]),
        lambda gateway: CoinGecko(gateway).daily_bars(["usd-coin"], DAY),
        lambda gateway: AlphaVantage(gateway).daily_adjusted(["SPY"], DAY),
        lambda gateway: AlphaVantage(gateway).earnings("AAPL"),
        lambda gateway: EthGasTracker(gateway).hourly(),
        lambda gateway: EthereumNode(gateway).hourly(DAY),
        lambda gateway: Ethplorer(gateway).address_info(wallet),
        lambda gateway: Ethplorer(gateway).frequent_tokens(wallet),
        lambda gateway: Etherscan(gateway).transactions(1, wallet, 0),
        lambda gateway: Etherscan(gateway).newest_block(1),
        lambda gateway: Fred(gateway).observations("DGS3MO", DEMO_DAY - timedelta(days=30), DEMO_DAY),
        lambda gateway: Pendle(gateway).markets(1),
    ]

    async def ask() -> None:
        vendors = without_pacing(default_vendors({}))
        now = market_stamp(DEMO_DAY)
        async with Gateway(market.transport(DEMO_DAY), archive, vendors, DEMO_DAY, now=lambda: now) as gateway:
            for question in questions:
                await question(gateway)

    asyncio.run(ask())
    return archive


@pytest.mark.parametrize(("vendor", "endpoint"), sorted(SHAPES))
def test_simulated_answers_have_the_declared_shape(simulated: MemoryArchive, vendor: str, endpoint: str) -> None:
    bodies = [
        simulated.bodies[fetch.sha256 or ""]
        for fetch in simulated.fetches
        if (fetch.vendor, fetch.endpoint) == (vendor, endpoint)
    ]
    assert bodies, "the client asked it"
    found = drift_of_bodies(SHAPES[vendor, endpoint], bodies)
    assert (found.broken, found.retyped, found.new) == ((), (), ())


def recorded_documents(folder: Path) -> dict[tuple[str, str], list[Any]]:
    """Recorded answers, each under the endpoint that it is one of."""

    def load(name: str) -> Any:
        body = (folder / name).read_bytes()
        return json.loads(gzip.decompress(body) if name.endswith(".gz") else body)

    gecko = load("fixtures/coingecko/coingecko_ruby_vcr_2021.json.gz")
    scans = load("chain/etherscan_account_0xb8553d9e_txlist_tokentx_internal.json")
    pools = ("yields/defillama_pools_api_shape_stables151_2026-03-02.json",)
    infos = ("0x76270d9d_2022-07-03", "dai_holder_2021-02-24")
    pendle = load("fixtures/pendle_merkl/pendle_v2_markets_all_active_2026-07-27_trimmed.json")
    chart = load("yields/defillama_chart_raw_response_5fd328af.json")
    return {
        ("defillama_yields", "/pools"): [load(name) for name in pools],
        ("defillama_yields", "/chart/{pool}"): [{"status": "success", "data": chart}],
        ("coingecko", "/coins/markets"): [pair["response"] for pair in gecko if "/coins/markets" in pair["url"]],
        ("coingecko", "/coins/{id}/ohlc"): [pair["response"] for pair in gecko if "/ohlc" in pair["url"]],
        ("coingecko", "/coins/{id}/market_chart"): [p["response"] for p in gecko if "/market_chart" in p["url"]],
        ("alpha_vantage", "/query"): [load(f"fixtures/alpha_vantage/{SHARES}")],
        ("etherscan", "/api"): [pair["response"] for pair in scans],
        ("ethplorer", "/getAddressInfo/{address}"): [load(f"chain/ethplorer_getAddressInfo_{n}.json") for n in infos],
        ("fred", "/series/observations"): [load("fixtures/fred/series_observations_HQMCB10YR.json")],
        ("pendle", "/v1/markets/all"): [{"markets": pendle["results"]}],
    }


SHARES = "time_series_daily_adjusted_MSFT_3d_2018-05.json"
# The second route of Pendle tells more than the first.
PENDLE_V2 = (
    *("accountingAsset", "categoryIds", "chainId", "details", "icon", "inputTokens", "isNew", "isPrime"),
    *("isVolatile", "outputTokens", "protocol", "rewardTokens", "timestamp"),
    "underlyingRewardApyBreakdown",
)
KNOWN_NEW: dict[tuple[str, str], tuple[str, ...]] = {
    ("pendle", "/v1/markets/all"): tuple(f"markets[].{name}" for name in PENDLE_V2),
    ("ethplorer", "/getAddressInfo/{address}"): tuple(
        f"tokens[].tokenInfo.{name}" for name in ("coingecko", "publicTags", "reddit", "twitter")
    ),
}
"""Fields of recorded answers, with all below them, that no shape knows and that nobody needs."""


@pytest.mark.recorded
def test_recorded_answers_have_the_declared_shape(recorded_data: Path) -> None:
    for endpoint, documents in recorded_documents(recorded_data).items():
        assert documents
        found = drift_of_bodies(SHAPES[endpoint], [json.dumps(document).encode() for document in documents])
        assert (found.broken, found.retyped) == ((), ()), endpoint
        unknown = [path for path in found.new if not path.startswith(KNOWN_NEW.get(endpoint, ("-",)))]
        assert unknown == [], endpoint
