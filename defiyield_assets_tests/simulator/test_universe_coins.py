"""Coins of the market universe on both markets: CoinMarketCap and CoinGecko tell the same, holes stay holes.

Not here: dollar tokens (test_wire.py, test_second_sources.py), shares (test_shares.py).
"""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.days import end_of
from defiyield_assets.domain.policy import Policy
from defiyield_assets.domain.prices.instruments import Instrument
from defiyield_assets.simulator import recorded_files
from defiyield_assets.simulator.generated import DEMO_DAY, GeneratedMarket
from defiyield_assets.simulator.market import Market
from defiyield_assets.simulator.recorded import RecordedMarket
from defiyield_assets_tests.simulator.asking import answer, respond
from defiyield_assets_tests.simulator.conftest import SEED

CMC = "https://pro-api.coinmarketcap.com/v2/cryptocurrency/ohlcv/historical"
GECKO = "https://api.coingecko.com/api/v3"
FIRST = date(2023, 10, 2)


@pytest.fixture(scope="module", params=["generated", pytest.param("recorded", marks=pytest.mark.recorded)])
def market(request: pytest.FixtureRequest) -> Market:
    """Both markets, one after the other."""
    chosen: Market = request.getfixturevalue(request.param)
    return chosen


def coins_of(market: Market) -> dict[str, Instrument]:
    return {one.symbol: one for one in market.instruments if one.type == "crypto"}


def cmc_bars(market: Market, cmc_id: int, days: int = 60) -> dict[str, dict[str, Any]]:
    """CoinMarketCap's daily figures by day."""
    start = (DEMO_DAY - timedelta(days=days)).isoformat()
    data = answer(market, DEMO_DAY, CMC, id=cmc_id, time_start=start, time_end=DEMO_DAY.isoformat())["data"]
    return {bar["time_open"][:10]: bar["quote"]["USD"] for coin in data.values() for bar in coin["quotes"]}


def test_both_vendors_tell_the_same_of_a_coin(market: Market) -> None:
    for symbol in ("BTC", "ETH", "SHIB"):
        coin = coins_of(market)[symbol]
        assert coin.cmc_id is not None
        bars = cmc_bars(market, coin.cmc_id)
        assert list(bars)[-1] == DEMO_DAY.isoformat()
        assert len(bars) == 60
        for usd in bars.values():
            assert 0 < usd["low"] <= min(usd["open"], usd["close"]) <= max(usd["open"], usd["close"]) <= usd["high"]
            assert usd["volume"] > 0
            assert (usd["market_cap"] > 0) == (market.name == "simulated"), "nobody recorded capitalisations"
        chart = answer(market, DEMO_DAY, f"{GECKO}/coins/{coin.coingecko_id}/market_chart", days=30, interval="daily")
        midnights = dict(chart["prices"])
        for day, usd in list(bars.items())[-25:]:
            assert midnights[int(end_of(date.fromisoformat(day)).timestamp() * 1000)] == usd["close"]
        candles = answer(market, DEMO_DAY, f"{GECKO}/coins/{coin.coingecko_id}/ohlc", days=30)
        newest = bars[DEMO_DAY.isoformat()]
        end = end_of(DEMO_DAY).timestamp() * 1000
        own = [candle for candle in candles if end - 86_400_000 < candle[0] <= end]
        assert (own[0][1], max(c[2] for c in own), min(c[3] for c in own), own[-1][4]) == (
            *(newest["open"], newest["high"], newest["low"], newest["close"]),
        )


def test_a_snapshot_ranks_coins_where_all_capitalisations_are_known(market: Market) -> None:
    rows = answer(market, DEMO_DAY, f"{GECKO}/coins/markets", ids="bitcoin,ethereum,usd-coin,nobody", per_page=250)
    assert [row["id"] for row in rows] == ["bitcoin", "ethereum", "usd-coin"]
    ranks = [row["market_cap_rank"] for row in rows]
    if market.name == "recorded":
        assert ranks == [None] * 3
        assert [row["circulating_supply"] for row in rows[:2]] == [0.0, 0.0], "the vendor's word for unknown"
        assert rows[0]["total_supply"] is None
    else:
        assert len(set(ranks)) == 3
        caps = [row["market_cap"] for row in rows]
        assert np.argsort(ranks).tolist() == np.argsort(caps)[::-1].tolist()
        assert rows[0]["max_supply"] == 21e6
        assert rows[0]["circulating_supply"] * rows[0]["current_price"] == pytest.approx(caps[0])


def test_ether_is_the_ether_of_the_gas_vendor(market: Market) -> None:
    closes = cmc_bars(market, 1027)
    for back in range(5):
        day = DEMO_DAY - timedelta(days=back)
        (hour,) = market.gas_hours([end_of(day)], day)
        assert closes[day.isoformat()]["close"] == pytest.approx(hour.eth_price, rel=1e-6)


def test_a_coin_that_has_ended_is_told_up_to_its_end(market: Market) -> None:
    matic = coins_of(market)["MATIC"]
    assert matic.delisted_at == date(2025, 3, 25)
    assert matic.cmc_id is not None
    assert list(cmc_bars(market, matic.cmc_id, days=120))[-1] == "2025-03-24"
    assert answer(market, DEMO_DAY, f"{GECKO}/coins/markets", ids="matic-network") == []
    assert respond(market, DEMO_DAY, f"{GECKO}/coins/matic-network/ohlc", days=30).json() == []


@pytest.mark.recorded
def test_recorded_coins_are_the_file_and_what_it_lacks_is_unknown(
    recorded: RecordedMarket, recorded_data: Path
) -> None:
    file = pd.read_parquet(next((recorded_data / "prices").glob("yfinance_daily_crypto_*.parquet")))
    for symbol in ("BTC", "SOL", "TRX"):
        cmc_id = coins_of(recorded)[symbol].cmc_id
        assert cmc_id is not None
        rows = file[(file["ticker"] == f"{symbol}-USD") & (file["date"].astype(str) <= DEMO_DAY.isoformat())].tail(60)
        told = cmc_bars(recorded, cmc_id)
        assert list(told) == rows["date"].astype(str).tolist()
        for name, column in (("open", "open"), ("high", "high"), ("low", "low"), ("close", "close_adj")):
            assert [bar[name] for bar in told.values()] == rows[column].tolist()
    missing = coins_of(recorded)["DOT"]
    assert answer(recorded, DEMO_DAY, CMC, id=missing.cmc_id, time_start="2025-05-01")["data"] == {}
    assert respond(recorded, DEMO_DAY, f"{GECKO}/coins/polkadot/ohlc", days=30).status_code == 404


@pytest.mark.recorded
def test_holes_in_recorded_coins_stay_holes(recorded_data: Path, policy: Policy, tmp_path: Path) -> None:
    """In spring 2021 SHIB is too cheap for the file's digits, and there are days that nobody recorded."""
    bars = recorded_files.read_coin_bars(recorded_data, ["SHIB", "AVAX", "NOBODY"])
    assert set(bars) == {"SHIB", "AVAX"}
    first, *later = bars["SHIB"]
    assert (first.day, first.is_whole, first.close) == (date(2021, 4, 16), False, pytest.approx(1e-6))
    assert all(bar.is_whole for bar in later)
    assert date(2020, 9, 20) not in [bar.day for bar in bars["AVAX"]]
    coin = Instrument("SHIB", "crypto", "crypto_liquid", "24x7", cmc_id=5994, coingecko_id="shiba-inu")

    class Spring(RecordedMarket):
        first_day, last_day = date(2021, 1, 1), date(2021, 12, 31)

    day = date(2021, 4, 20)
    market = Spring(recorded_data, tmp_path / "chain.sqlite", policy.wallets, policy.tokens, instruments=[coin])
    (told,) = answer(market, day, CMC, id=5994, time_start="2021-04-10", time_end="2021-04-20")["data"].values()
    assert [bar["time_open"][:10] for bar in told["quotes"]] == [f"2021-04-{day}" for day in range(17, 21)]
    chart = answer(market, day, f"{GECKO}/coins/shiba-inu/market_chart", days=30, interval="daily")
    assert len(chart["prices"]) == 6, "five closes and the running instant"
    candles = answer(market, day, f"{GECKO}/coins/shiba-inu/ohlc", days=30, interval="daily")
    assert len(candles) == 5, "a close alone makes no candle"
    (row,) = answer(market, date(2021, 4, 16), f"{GECKO}/coins/markets", ids="shiba-inu")
    assert (row["current_price"], row["high_24h"], row["low_24h"]) == (first.close, None, None)
    assert answer(market, date(2021, 4, 15), f"{GECKO}/coins/markets", ids="shiba-inu") == []


def test_coins_of_ones_own_are_listed_in_their_days_and_need_one_id_only(policy: Policy, tmp_path: Path) -> None:
    coins = [
        Instrument("NEW", "crypto", "mine", "24x7", coingecko_id="new-coin", listed_at=DEMO_DAY),
        Instrument("OLD", "crypto", "mine", "24x7", cmc_id=77_001, delisted_at=DEMO_DAY - timedelta(days=3)),
    ]
    lists = (policy.wallets, policy.tokens, policy.protocols)
    market = GeneratedMarket(SEED, tmp_path / "chain.sqlite", *lists, instruments=coins)
    chart = answer(market, DEMO_DAY, f"{GECKO}/coins/new-coin/market_chart", days=30, interval="daily")
    assert len(chart["prices"]) == 2, "its first midnight and the running instant"
    assert list(cmc_bars(market, 77_001))[-1] == (DEMO_DAY - timedelta(days=4)).isoformat()
    same = GeneratedMarket(SEED, tmp_path / "other.sqlite", *lists, instruments=[replace(coins[1], delisted_at=None)])
    assert cmc_bars(same, 77_001).items() >= cmc_bars(market, 77_001).items()


@pytest.mark.recorded
def test_coins_move_like_recorded_ones(generated: GeneratedMarket, recorded_data: Path) -> None:
    """Volatility, tails and correlation from 2022 on, and of ours up to the demo day, each in its band."""
    file = pd.read_parquet(next((recorded_data / "prices").glob("yfinance_daily_crypto_*.parquet")))
    recent = file[(file["date"].astype(str) >= "2022") & (file["ticker"] != "USDC-USD")]
    theirs = np.log(recent.pivot_table(index="date", columns="ticker", values="close_adj")).diff().dropna()
    closes = {}
    for coin in coins_of(generated).values():
        found = generated.universe_coin(coin, FIRST, DEMO_DAY)
        assert found is not None
        closes[coin.symbol] = pd.Series([bar.close for bar in found.bars], index=[bar.day for bar in found.bars])
    ours = np.log(pd.DataFrame(closes)).diff().dropna()
    moments = {
        "volatility": lambda r: (r.std() * 365**0.5).median(),
        "kurtosis": lambda r: r.kurt().median(),
        "correlation": lambda r: np.median(r.corr().to_numpy()[np.triu_indices(r.shape[1], 1)]),
    }
    found_ratios = {name: measure(ours) / measure(theirs) for name, measure in moments.items()}
    bands = {"volatility": 1.3, "kurtosis": 2.0, "correlation": 1.3}
    assert all(1 / bands[name] < ratio < bands[name] for name, ratio in found_ratios.items()), found_ratios
