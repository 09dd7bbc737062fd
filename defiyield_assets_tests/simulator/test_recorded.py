"""The recorded market tells what the files say and what the reference lists know of it."""

import shutil
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest

from defiyield_assets.domain.policy import Policy
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.simulator import recorded_files
from defiyield_assets.simulator.market import investable_wallet, token_named
from defiyield_assets.simulator.recorded import RecordedMarket
from defiyield_assets_tests.simulator.asking import ETHPLORER, answer, plan

pytestmark = pytest.mark.recorded
POOLS = "https://yields.llama.fi/pools"


def panel_of(folder: Path) -> pd.DataFrame:
    """The lending panel, read independently."""
    return pd.read_parquet(next((folder / "yields").glob("defillama_chart_daily_lending_*.parquet")))


def test_pools_are_the_series_with_a_point_on_the_day(recorded: RecordedMarket, recorded_data: Path) -> None:
    rows = answer(recorded, date(2025, 6, 3), POOLS)["data"]
    assert len([row for row in rows if row["timestamp"].startswith("2025-06-03")]) == 176
    assert len(rows) == 177, "one series is silent since a few days and told with its old stamp"
    panel = panel_of(recorded_data)
    for day in (date(2024, 6, 6), date(2024, 12, 24), date(2025, 6, 5)):
        told = answer(recorded, day, POOLS)["data"]
        rows = [row for row in told if row["timestamp"].startswith(day.isoformat())]
        assert all(row["timestamp"] >= (day - timedelta(days=7)).isoformat() for row in told)
        expected = panel[panel["date"].astype(str) == day.isoformat()]
        assert len(rows) == len(expected)
        ours = sorted((row["project"], row["chain"], row["symbol"], row["tvlUsd"], row["apy"]) for row in rows)
        theirs = expected[["project", "chain", "symbol", "tvlUsd", "apy"]].itertuples(index=False, name=None)
        assert ours == sorted(theirs)
        known = set(expected["pool"].dropna())
        assert known <= {row["pool"] for row in rows}, "recorded ids are kept"


def test_charts_are_the_recorded_points(recorded: RecordedMarket, recorded_data: Path) -> None:
    panel = panel_of(recorded_data)
    day = date(2025, 6, 3)
    for series_id, points in list(panel.groupby("series_id"))[::40]:
        pool_id = recorded_files.pool_id_of(str(series_id), points["pool"].iloc[0])
        chart = answer(recorded, day, f"https://yields.llama.fi/chart/{pool_id}")["data"]
        expected = points[points["date"].astype(str) <= day.isoformat()].sort_values("date")
        assert [point["timestamp"][:10] for point in chart] == expected["date"].astype(str).tolist()
        assert [point["apy"] for point in chart] == expected["apy"].tolist()
        assert [point["tvlUsd"] for point in chart] == expected["tvlUsd"].tolist()


def test_underlyings_are_named_where_list_and_policy_agree(recorded: RecordedMarket, policy: Policy) -> None:
    rows = answer(recorded, date(2025, 6, 2), POOLS)["data"]
    approved = {token.address: token.symbol for token in policy.tokens}
    named = [row for row in rows if row["underlyingTokens"] is not None]
    assert {row["chain"] for row in named} == {"Ethereum"}
    assert len(named) >= 40
    by_symbol = {row["symbol"]: approved[row["underlyingTokens"][0].lower()] for row in named}
    assert (by_symbol["STEAKUSDC"], by_symbol["SDAI"], by_symbol["USDE"]) == ("USDC", "sDAI", "USDe")
    assert any(row["underlyingTokens"][0] != row["underlyingTokens"][0].lower() for row in named), (
        "case is the vendor's"
    )


def test_overrides_carry_role_and_maturity(recorded: RecordedMarket, recorded_data: Path) -> None:
    overrides = {override.pool_id: override for override in recorded.pool_overrides()}
    listed = pd.read_csv(recorded_data / recorded_files.UNDERLYINGS_FILE).set_index("series_id")["role"].to_dict()
    panel = panel_of(recorded_data).drop_duplicates("series_id").set_index("series_id")
    assert len(overrides) == len(panel) == 177
    for series_id, row in panel.iterrows():
        override = overrides[recorded_files.pool_id_of(str(series_id), row["pool"])]
        assert override.role == listed[series_id]
        assert override.source == "reference/lending_panel_underlyings.csv"
        assert (override.maturity is None) == (override.role != "principal_token"), series_id
    staking = next(override for override in overrides.values() if override.role == "staking")
    assert staking.exit_days == 7
    assert recorded_files.maturity_of("PT-SUSDE-31JUL2025") == date(2025, 7, 31)
    assert recorded_files.maturity_of("USDC") is None


def test_prices_are_recorded_or_assumed_and_say_which(recorded: RecordedMarket, policy: Policy) -> None:
    day = date(2025, 6, 3)
    named = {
        symbol: f"ethereum:{token_named(policy.tokens, symbol).address}" for symbol in ("USDC", "USDT", "DAI", "GHO")
    }
    coins = answer(recorded, day, f"https://coins.llama.fi/prices/current/{','.join(named.values())}")["coins"]
    bars = answer(
        recorded,
        day,
        "https://pro-api.coinmarketcap.com/v2/cryptocurrency/ohlcv/historical",
        id="825,3408,4943,23508",
        time_start="2025-06-02",
    )["data"]
    closes = {coin["symbol"]: coin["quotes"][-1]["quote"]["USD"] for coin in bars.values()}
    assert closes.keys() == {"USDC", "USDT", "DAI"}, "other ids are silently missing"
    for symbol, usd in closes.items():
        assert coins[named[symbol]]["price"] == usd["close"] != 1
        assert coins[named[symbol]]["confidence"] == 0.99
        assert usd["market_cap"] > 1e9
    assert (coins[named["GHO"]]["price"], coins[named["GHO"]]["confidence"]) == (1.0, 0.0)


def test_gas_is_the_days_average(recorded: RecordedMarket) -> None:
    rows = answer(recorded, date(2025, 6, 3), "https://www.ethgastracker.com/api/gas/average")["data"]["data"]
    assert {row["median"] for row in rows if row["period"].startswith("2025-06-03")} == {5.374636123}
    assert all(row["baseFee"] is None for row in rows)
    assert all(2_000 < row["ethPrice"] < 3_000 for row in rows)


def test_the_treasury_starts_with_a_million_and_two_ether(recorded: RecordedMarket, policy: Policy) -> None:
    warm = investable_wallet(policy.wallets).address
    info = answer(recorded, recorded.first_day, f"{ETHPLORER}/getAddressInfo/{warm}")
    assert info["ETH"]["rawBalance"] == str(2 * 10**18)
    assert [token["rawBalance"] for token in info["tokens"]] == [str(10**6 * 10**6)]
    assert info["tokens"][0]["tokenInfo"]["address"] == token_named(policy.tokens, "USDC").address


def test_a_plan_earns_the_recorded_apy(policy: Policy, recorded_data: Path, tmp_path: Path) -> None:
    market = RecordedMarket(recorded_data, tmp_path / "chain.sqlite", policy.wallets, policy.tokens)
    warm, usdc = investable_wallet(policy.wallets).address, token_named(policy.tokens, "USDC").address
    day = date(2025, 1, 6)
    rows = {
        row["symbol"]: row
        for row in market.pool_rows(day)
        if row["project"] == "aave-v3" and row["chain"] == "Ethereum"
    }
    pool = rows["USDC"]["pool"]
    step = {"step_type": "DEPOSIT", "pool_id": pool, "token_in": usdc, "amount_in": 10**11}
    assert market.execute_plan(day, "run", plan(step, day=day, wallet=warm)).n_transactions == 2
    amount = 10**11
    points = {p["timestamp"][:10]: p["apy"] for p in market.chart_points(pool, day + timedelta(days=30)) or ()}
    for offset in range(1, 31):
        today = day + timedelta(days=offset)
        if today.isoformat() in points:
            apy = points[today.isoformat()] / 100
        amount = int(amount * (1 + apy) ** (1 / 365))
    (held,) = market.chain.positions(day + timedelta(days=30)).values()
    assert abs(held - amount) <= 60, "an independent float replay agrees to a few units"
    gas_wei = {t.gas_price_wei for t in market.chain.transactions(execution_end(day)) if t.sender == warm}
    assert gas_wei == {market._gas_price_wei(day + timedelta(days=1))}


def execution_end(day: date) -> pd.Timestamp:
    """End of the day on which the plan of `day` is executed."""
    return pd.Timestamp(day + timedelta(days=2), tz="UTC")


@pytest.mark.parametrize("missing", ["yields", "prices", "gas", "reference"])
def test_a_missing_file_is_named_with_the_variable(
    policy: Policy, recorded_data: Path, tmp_path: Path, missing: str
) -> None:
    folder = tmp_path / "data"
    needed = (
        *("yields/defillama_chart_daily_lending_*", "prices/cmc_*.parquet", "prices/yfinance_*.parquet"),
        *("gas/*.csv", "reference/lending_panel_underlyings.csv"),
    )
    for pattern in needed:
        for source in recorded_data.glob(pattern):
            target = folder / source.relative_to(recorded_data)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)
    shutil.rmtree(folder / missing)
    market = RecordedMarket(folder, tmp_path / "chain.sqlite", policy.wallets, policy.tokens)
    url = {
        "gas": "https://www.ethgastracker.com/api/gas/average",
        "prices": "https://coins.llama.fi/prices/current/ethereum:",
    }
    usdc = token_named(policy.tokens, "USDC").address
    with pytest.raises(ConfigurationError, match=rf"{missing}/.*DEFIYIELD_RECORDED_DATA"):
        answer(market, date(2025, 6, 3), url.get(missing, POOLS) + (usdc if missing == "prices" else ""))


def test_a_folder_that_is_not_there_is_named(policy: Policy, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="DEFIYIELD_RECORDED_DATA"):
        RecordedMarket(tmp_path / "nowhere", tmp_path / "chain.sqlite", policy.wallets, policy.tokens)
