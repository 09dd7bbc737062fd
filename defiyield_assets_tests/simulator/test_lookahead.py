"""Nothing that a market answers for D rests on a day after D."""

from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest

from defiyield_assets.config.instruments import load_instruments
from defiyield_assets.domain.days import end_of, market_stamp
from defiyield_assets.domain.policy import Policy
from defiyield_assets.orchestration.resources import PolicyResource
from defiyield_assets.simulator.generated import DEMO_DAY, GeneratedMarket
from defiyield_assets.simulator.market import Market
from defiyield_assets.simulator.recorded import RecordedMarket
from defiyield_assets_tests.simulator.asking import ETHPLORER, answer, etherscan, respond

USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
WETH = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"
FIRST = 1_700_000_000


@pytest.fixture(scope="module", params=["generated", pytest.param("recorded", marks=pytest.mark.recorded)])
def market(request: pytest.FixtureRequest) -> Market:
    """Both markets, one after the other."""
    chosen: Market = request.getfixturevalue(request.param)
    return chosen


def questions(market: Market, day: date) -> list[tuple[str, dict[str, object]]]:
    """One question to every endpoint that does not concern the chain; charts of some pools and of moved ones."""
    pool = market.pool_rows(day)[0]["pool"]
    moved = [one for alias in market.pool_aliases()[:5] for one in (alias.old_id, alias.new_id)]
    charts = [row["pool"] for row in market.pool_rows(day)[::150]]
    return [
        *((f"https://yields.llama.fi/chart/{one}", {}) for one in (*charts, *moved)),
        ("https://yields.llama.fi/pools", {}),
        (f"https://yields.llama.fi/chart/{pool}", {}),
        ("https://yields.llama.fi/lendBorrow", {}),
        (f"https://yields.llama.fi/chartLendBorrow/{pool}", {}),
        ("https://api.coingecko.com/api/v3/coins/markets", {"ids": "usd-coin,dai,crvusd"}),
        ("https://api.coingecko.com/api/v3/coins/usd-coin/ohlc", {"days": 30}),
        ("https://api.coingecko.com/api/v3/coins/dai/market_chart", {"days": 90, "interval": "daily"}),
        ("https://api-v2.pendle.finance/core/v1/markets/all", {"chainId": 1}),
        (f"https://coins.llama.fi/chart/ethereum:{WETH}", {"start": FIRST, "span": 900, "period": "1d"}),
        (f"https://coins.llama.fi/prices/current/ethereum:{USDC}", {}),
        (f"https://coins.llama.fi/prices/historical/{int(end_of(day).timestamp())}/ethereum:{USDC}", {}),
        (f"https://coins.llama.fi/chart/ethereum:{USDC}", {"start": FIRST, "span": 900, "period": "1d"}),
        (
            "https://pro-api.coinmarketcap.com/v2/cryptocurrency/ohlcv/historical",
            {"id": "3408", "time_start": "2024-01-01", "time_end": "2025-12-31"},
        ),
        ("https://www.ethgastracker.com/api/gas/average", {}),
        ("https://api.stlouisfed.org/fred/series/observations", {"series_id": "DGS10"}),
        ("https://api.stlouisfed.org/fred/series/observations", {"series_id": "DGS3MO"}),
        ("https://api.stlouisfed.org/fred/series/observations", {"series_id": "FEDFUNDS"}),
        ("https://api.stlouisfed.org/fred/series/observations", {"series_id": "VIXCLS"}),
        ("https://api.stlouisfed.org/fred/series", {"series_id": "VIXCLS"}),
        ("https://api.coingecko.com/api/v3/coins/markets", {"ids": "bitcoin,shiba-inu,solana"}),
        ("https://api.coingecko.com/api/v3/coins/bitcoin/ohlc", {"days": 30}),
        (
            "https://pro-api.coinmarketcap.com/v2/cryptocurrency/ohlcv/historical",
            {"id": "1,1027,5426", "time_start": "2024-01-01", "time_end": "2025-12-31"},
        ),
        *(
            ("https://www.alphavantage.co/query", {"function": function, "symbol": symbol, "outputsize": "full"})
            for function, symbol in (
                *(("TIME_SERIES_DAILY_ADJUSTED", "AAPL"), ("TIME_SERIES_DAILY_ADJUSTED", "SPY")),
                ("EARNINGS", "AAPL"),
            )
        ),
    ]


def test_no_point_is_dated_after_the_day(market: Market) -> None:
    end = int(end_of(DEMO_DAY).timestamp())
    pool = market.pool_rows(DEMO_DAY)[0]["pool"]
    chart = answer(market, DEMO_DAY, f"https://yields.llama.fi/chart/{pool}")["data"]
    assert max(point["timestamp"] for point in chart)[:10] == DEMO_DAY.isoformat()
    url = f"https://coins.llama.fi/chart/ethereum:{USDC}"
    (coin,) = answer(market, DEMO_DAY, url, start=FIRST, span=900, period="1d")["coins"].values()
    assert max(point["timestamp"] for point in coin["prices"]) < end
    later = int(market_stamp(DEMO_DAY).timestamp()) + 1
    assert answer(market, DEMO_DAY, f"https://coins.llama.fi/prices/historical/{later}/ethereum:{USDC}") == {
        "coins": {}
    }
    gas = answer(market, DEMO_DAY, "https://www.ethgastracker.com/api/gas/average")["data"]["data"]
    assert max(row["period"] for row in gas) <= market_stamp(DEMO_DAY).isoformat()


@pytest.mark.recorded
def test_a_point_of_the_running_hour_tells_no_recorded_future(recorded: RecordedMarket) -> None:
    newest, before = recorded.gas_hours([end_of(DEMO_DAY), end_of(DEMO_DAY) - timedelta(hours=1)], DEMO_DAY)
    assert (newest.median, newest.eth_price) == (before.median, before.eth_price)


def test_answers_do_not_depend_on_what_was_asked_before(policy: Policy, tmp_path: Path) -> None:
    """A generated market that was asked about later years first says the same of the demo day, byte for byte."""
    lists, universe = (policy.wallets, policy.tokens, policy.protocols), load_instruments().instruments
    markets = [
        GeneratedMarket(11, tmp_path / name / "chain.sqlite", *lists, instruments=universe)
        for name in ("fresh", "seasoned")
    ]
    respond(markets[1], date(2026, 1, 5), "https://yields.llama.fi/pools")
    for url, params in reversed(questions(markets[1], date(2026, 1, 5))[-9:]):
        respond(markets[1], date(2026, 1, 5), url, **params)
    for url, params in questions(markets[0], DEMO_DAY):
        fresh, seasoned = (respond(market, DEMO_DAY, url, **params) for market in markets)
        assert fresh.content == seasoned.content, url


@pytest.mark.recorded
def test_noise_in_later_records_changes_no_answer(policy: Policy, recorded_data: Path, tmp_path: Path) -> None:
    """Every recorded value after D is replaced; what is answered for D stays the same to the byte."""
    day, folder = date(2025, 3, 10), tmp_path / "data"
    panel = pd.read_parquet(next((recorded_data / "yields").glob("defillama_chart_daily_lending_*.parquet")))
    later = panel["date"].astype(str) > day.isoformat()
    panel.loc[later, ["tvlUsd", "apy", "apyBase"]] = [1, 99.0, 99.0]
    bars = pd.read_parquet(next((recorded_data / "prices").glob("cmc_daily_ohlcv_*.parquet")))
    bars.loc[bars["date"].astype(str) > day.isoformat(), ["open", "high", "low", "close"]] = 0.5
    crypto = pd.read_parquet(next((recorded_data / "prices").glob("yfinance_daily_crypto_*.parquet")))
    crypto.loc[crypto["date"].astype(str) > day.isoformat(), ["open", "high", "low", "close_adj", "volume"]] = 1
    macro = ("fred_FEDFUNDS_monthly.csv", "vix_daily_ohlc_1990-01-02_2026-07-23.csv")
    gas = pd.read_csv(next((recorded_data / "gas").glob("etherscan_avg_gas_price_daily_*.csv")))
    gas.loc[gas["UnixTimeStamp"] >= end_of(day).timestamp(), "Value (Wei)"] = 10**12
    for name in ("yields", "prices", "gas", "reference", "macro"):
        (folder / name).mkdir(parents=True)
    panel.to_parquet(folder / "yields/defillama_chart_daily_lending_x.parquet")
    bars.to_parquet(folder / "prices/cmc_daily_ohlcv_x.parquet")
    crypto.to_parquet(folder / "prices/yfinance_daily_crypto_x.parquet")
    gas.to_csv(folder / "gas/etherscan_avg_gas_price_daily_x.csv", index=False)
    for name in macro:
        told = pd.read_csv(recorded_data / "macro" / name, dtype=str)
        told.loc[told["DATE"] >= day.isoformat(), told.columns[1:]] = "99"
        told.to_csv(folder / "macro" / name, index=False)
    for name in ("reference/lending_panel_underlyings.csv", "macro/fred_DGS10_2000-01-03_2025-07-31.csv"):
        (folder / name).write_bytes((recorded_data / name).read_bytes())
    universe = load_instruments().instruments
    truth, noisy = (
        RecordedMarket(source, tmp_path / f"{source.name}.sqlite", policy.wallets, policy.tokens, instruments=universe)
        for source in (recorded_data, folder)
    )
    for url, params in questions(truth, day):
        assert respond(truth, day, url, **params).content == respond(noisy, day, url, **params).content, url
    after = "https://yields.llama.fi/pools"
    changed = day + timedelta(days=1)
    assert respond(truth, changed, after).content != respond(noisy, changed, after).content, "the noise is real"


def test_charts_only_grow_but_for_points_that_were_edited_meanwhile(generated: GeneratedMarket) -> None:
    """What is told of the past does not move with the day of the question, unless an edit became known in between."""
    later = DEMO_DAY + timedelta(days=40)
    panel = generated._pools.panel(later)
    first = panel.start.toordinal()
    known_later = 0
    for fact in panel.facts[::7]:
        before = generated.chart_points(fact.pool_id, DEMO_DAY)
        after = generated.chart_points(fact.pool_id, later)
        if before is None or after is None:
            continue
        column = panel.column[fact.pool_id]
        edits = [edit for edit in panel._edits.get(column, ()) if edit.known_from > DEMO_DAY.toordinal() - first]
        edited = {date.fromordinal(first + edit.row).isoformat() for edit in edits}
        differing = {a["timestamp"][:10] for a, b in zip(before, after, strict=False) if a != b}
        assert differing <= edited
        known_later += len(differing)
    assert known_later >= 5, "there are edits"


def test_prices_gas_and_aliases_of_a_day_are_a_beginning_of_later_ones(generated: GeneratedMarket) -> None:
    later = DEMO_DAY + timedelta(days=300)
    before, after = (generated.close_series(USDC, day) for day in (DEMO_DAY, later))
    assert before is not None
    assert after is not None
    assert len(before.close) == (DEMO_DAY - before.first_day).days + 1
    assert (after.close[: len(before.close)] == before.close).all()
    hours = [end_of(DEMO_DAY) - timedelta(hours=back) for back in range(1, 100)]
    assert generated.gas_hours(hours, DEMO_DAY) == generated.gas_hours(hours, later)
    early = DEMO_DAY - timedelta(days=170)
    assert set(generated.pendle_markets(early)) < set(generated.pendle_markets(DEMO_DAY))
    assert all(market.opened <= early for market in generated.pendle_markets(early))


def test_the_policy_of_a_day_knows_no_later_alias(generated: GeneratedMarket) -> None:
    resource = PolicyResource()
    told = {alias.old_id: alias.since for alias in resource.load(DEMO_DAY, generated).policy.pool_aliases}
    coming = [alias for alias in generated.pool_aliases() if alias.since > DEMO_DAY]
    assert told
    assert coming
    assert all(since <= DEMO_DAY for since in told.values())
    next_one = min(coming, key=lambda alias: alias.since)
    aliases = resource.load(next_one.since, generated).policy.pool_aliases
    assert next_one in aliases


def test_the_chain_tells_nothing_after_the_stamp(generated: GeneratedMarket) -> None:
    founded = DEMO_DAY - timedelta(days=45)
    (wallet,) = (wallet.address for wallet in generated._wallets if wallet.investable)
    before = founded - timedelta(days=1)
    assert etherscan(generated, before, "tokentx", wallet) == []
    assert answer(generated, before, f"{ETHPLORER}/getAddressInfo/{wallet}")["tokens"] == []
    rows = etherscan(generated, founded, "tokentx", wallet)
    assert rows
    assert all(int(row["timeStamp"]) <= market_stamp(founded).timestamp() for row in rows)
