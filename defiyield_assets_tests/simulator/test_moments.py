"""The generated market is believable: its moments lie in stated bands around those of the recorded data.

Lives here: the bands, and which recorded file stands for what. Not here: the arithmetic (moments.py). What they are is
told in docs/explanation/simulated-market.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.policy import Policy
from defiyield_assets.simulator.generated import DEMO_DAY, GeneratedMarket
from defiyield_assets_tests.simulator import moments
from defiyield_assets_tests.simulator.moments import Moments

pytestmark = pytest.mark.recorded
DAY = date(2025, 6, 5)
"""Last day of the recorded lending panel."""
YEAR = 365
SAMPLE = 260
"""Pools of a kind whose charts are read."""


@dataclass(frozen=True)
class Band:
    """How far the simulated figure may be from the recorded one: a factor, or a difference."""

    factor: float | None = None
    difference: float | None = None

    def limits(self, recorded: tuple[float, ...]) -> tuple[float, float]:
        """Least and greatest value that is believed; several recordings span a range."""
        low, high = min(recorded), max(recorded)
        if self.difference is not None:
            return low - self.difference, high + self.difference
        return low / (self.factor or 1.0), high * (self.factor or 1.0)


def within(factor: float) -> Band:
    """A band from 1/factor to factor times the recorded figure."""
    return Band(factor=factor)


def near(difference: float) -> Band:
    """A band of plus and minus the difference."""
    return Band(difference=difference)


def compare(bands: Mapping[str, Band], simulated: Moments, *recorded: Moments) -> None:
    """Assert that every figure lies in its band; the failure shows the whole table."""
    rows, wrong = [], 0
    for name, band in bands.items():
        known = tuple(one[name] for one in recorded if name in one)
        low, high = band.limits(known)
        is_believed = low <= simulated[name] <= high
        wrong += not is_believed
        told = " / ".join(f"{value:.4g}" for value in known)
        rows.append(
            f"{'  ' if is_believed else '->'} {name:58s} {told:>22s} {simulated[name]:>11.4g}  {low:.4g} … {high:.4g}"
        )
    head = f"   {'moment':58s} {'recorded':>22s} {'simulated':>11s}  band"
    assert not wrong, "\n" + "\n".join([f"{wrong} figures are outside their bands", head, *rows])


def sample(rows: list[dict[str, Any]], exposure: str) -> list[dict[str, Any]]:
    """Evenly spread pools of a kind: `single` (markets and vaults) or `multi` (pools of exchanges)."""
    some = [row for row in rows if row["exposure"] == exposure]
    return some[:: max(len(some) // SAMPLE, 1)]


@pytest.fixture(scope="module")
def rows(generated: GeneratedMarket) -> list[dict[str, Any]]:
    """The pools of the day."""
    return generated.pool_rows(DAY)


# --- yields, day by day --------------------------------------------------------------------------------------------
LENDING_BANDS = {
    "APY: autocorrelation of the level, 1 day": near(0.1),
    "APY: autocorrelation of the level, 7 days": near(0.15),
    "APY: autocorrelation of the level, 30 days": near(0.15),
    "APY: autocorrelation of changes, 1 day": near(0.1),
    "APY: median daily change (log)": within(1.8),
    "APY: change of lively over change of calm pools (p90/p10)": within(2.5),
    "APY: deviation of daily changes (log)": within(1.4),
    "APY: kurtosis of daily changes": within(2.5),
    "APY: p99 over median of daily changes": within(2.0),
    "APY: deviation of the level within a year (log)": within(1.4),
    "APY: correlation of weekly changes between pools": near(0.1),
    "APY: weekend over weekday change": near(0.12),
    "APY: weekend level (log)": near(0.03),
    "spikes a pool and year": within(1.7),
    "spikes: mean length (days)": within(1.5),
    "spikes: share of days": within(1.7),
    "spikes above fivefold a pool and year": within(1.6),
    "TVL: median daily change (log)": within(2.2),
    "TVL: deviation of daily changes (log)": within(1.7),
    "TVL: kurtosis of daily changes": within(4.0),
    "TVL: p99 of daily changes (log)": within(3.0),
    "TVL: deviation of changes in 30 days (log)": within(1.5),
    "TVL: deviation of the level within a year (log)": within(1.5),
    "TVL: autocorrelation of changes, 1 day": near(0.1),
    "TVL: weekend over weekday change": near(0.15),
    "gaps a pool and year": within(1.5),
    "gaps: median length (days)": near(1.0),
    "gaps: p90 of the length (days)": within(2.0),
    "gaps: share of days": within(2.5),
    "stuck: share of days": within(2.0),
    "stuck: p90 of the length (days)": near(1.0),
    "rewards: share of pools that ever have them": within(1.4),
    "rewards: share of days of these pools": within(1.4),
    "rewards: begins and ends a year of these pools": within(1.6),
    "rewards: median length of a programme (days)": within(1.6),
    "rewards: p90 of the length of a programme (days)": within(1.7),
    "rewards: median share of the APY": within(1.7),
    "rewards: p90 of the share of the APY": near(0.15),
    "rewards: median daily change (log)": within(1.7),
}
TRADING_BANDS = LENDING_BANDS | {
    "APY: kurtosis of daily changes": within(3.5),
    "APY: weekend over weekday change": near(0.15),
    "APY: weekend level (log)": near(0.08),
    "TVL: kurtosis of daily changes": within(2.5),
    "gaps: median length (days)": near(2.0),
    "rewards: median length of a programme (days)": within(5.0),  # recorded ones are cut short by clustered gaps
}
# Author-chosen panel of well-paying pools: how many have rewards is held against the listings below instead.
for _name in ("rewards: share of pools that ever have them", "stuck: share of days", "stuck: p90 of the length (days)"):
    TRADING_BANDS.pop(_name)


def test_lending_pools_and_vaults_live_like_recorded_ones(
    generated: GeneratedMarket, rows: list[dict[str, Any]], recorded_data: Path
) -> None:
    known = moments.recorded_panel(recorded_data, "defillama_chart_daily_lending_*.parquet", "series_id")
    panel = moments.market_panel(generated, sample(rows, "single"), DAY, YEAR)
    compare(LENDING_BANDS, moments.yield_moments(panel), moments.yield_moments(known))


def test_pools_of_exchanges_live_like_recorded_ones(
    generated: GeneratedMarket, rows: list[dict[str, Any]], recorded_data: Path
) -> None:
    known = moments.recorded_panel(recorded_data, "defillama_chart_daily_dex_*.parquet", "pool")
    panel = moments.market_panel(generated, sample(rows, "multi"), DAY, YEAR)
    compare(TRADING_BANDS, moments.yield_moments(panel), moments.yield_moments(known))


# --- one day's listing ---------------------------------------------------------------------------------------------
APY_BANDS = {
    "share without any yield": within(1.4),
    "median of the others": within(1.5),
    "deviation of the logarithm": within(1.25),
    "share above 50 %": within(1.6),
    "share above 100 %": within(3.0),
    "p90": within(1.6),
    "p99": within(1.8),
    "tail index (Hill, 5 %)": within(1.4),
}
SIZE_BANDS = {
    "median (USD)": within(2.0),
    "p10 (USD)": within(2.0),
    "p99 (USD)": within(2.5),
    "deviation of the logarithm": within(1.25),
    "tail index (Hill, 5 %)": within(1.4),
    "share of the largest 1 %": near(0.3),
}
LISTING_BANDS = {
    "pools that appear in a week": within(2.5),
    "pools that vanish in a week": within(2.5),
    "share of rows older than a day": within(2.5),
    "share of rows with reward tokens": within(1.6),
}


@pytest.fixture(scope="module")
def universe(recorded_data: Path) -> pd.DataFrame:
    """Every pool of one day of 2023, with its APY."""
    return pd.read_csv(recorded_data / "yields/defillama_pools_universe_2023-07-26.csv.gz")


@pytest.fixture(scope="module")
def listings(recorded_data: Path) -> pd.DataFrame:
    """Listings of exchanges' pools of five days of 2025."""
    return pd.read_parquet(next((recorded_data / "yields").glob("defillama_pools_dex_5snapshots_*.parquet")))


def last_listing(listings: pd.DataFrame) -> pd.DataFrame:
    """The newest one."""
    newest: pd.DataFrame = listings[listings["snapshot_date"] == listings["snapshot_date"].max()]
    return newest


def figures(rows: list[dict[str, Any]], name: str, exposure: str) -> moments.Matrix:
    """One column of a kind of pools."""
    return np.array([row[name] for row in rows if row["exposure"] == exposure], dtype=float)


def test_apys_of_a_day_are_as_unequal_as_recorded_ones(
    rows: list[dict[str, Any]], universe: pd.DataFrame, listings: pd.DataFrame
) -> None:
    is_pair = universe["symbol"].str.contains("-")
    of_2023 = moments.apy_distribution(universe.loc[is_pair, "apy"].to_numpy())
    of_2025 = moments.apy_distribution(last_listing(listings)["apy"].to_numpy())
    compare(APY_BANDS, moments.apy_distribution(figures(rows, "apy", "multi")), of_2023, of_2025)
    single = moments.apy_distribution(universe.loc[~is_pair, "apy"].to_numpy())
    compare(APY_BANDS, moments.apy_distribution(figures(rows, "apy", "single")), single)


def test_sizes_of_a_day_are_as_unequal_as_recorded_ones(
    rows: list[dict[str, Any]], listings: pd.DataFrame, recorded_data: Path
) -> None:
    of_2025 = moments.size_distribution(last_listing(listings)["tvl_usd"].to_numpy())
    compare(SIZE_BANDS, moments.size_distribution(figures(rows, "tvlUsd", "multi")), of_2025)
    known = moments.recorded_panel(recorded_data, "defillama_chart_daily_lending_*.parquet", "series_id")
    typical = moments.size_distribution(np.nanmedian(known.tvl, axis=0))
    bands = SIZE_BANDS | {"median (USD)": within(2.5)}
    compare(bands, moments.size_distribution(figures(rows, "tvlUsd", "single")), typical)


def test_pools_come_and_go_as_in_recorded_listings(
    generated: GeneratedMarket, rows: list[dict[str, Any]], listings: pd.DataFrame
) -> None:
    ids = listings.groupby("snapshot_date")["pool"].agg(set)
    week = [ids.loc[str(day)] if isinstance(ids.index[0], str) else ids.loc[day] for day in list(ids.index)[-2:]]
    last = last_listing(listings)
    stamps = pd.to_datetime(last["timestamp"])
    is_rewarded = last["reward_tokens"].notna().mean()
    known = moments.listing_moments(week, float((stamps.max() - stamps >= pd.Timedelta(days=1)).mean()), is_rewarded)
    later = generated.pool_rows(DAY + timedelta(days=7))
    pairs = [[row for row in one if row["exposure"] == "multi"] for one in (rows, later)]
    simulated = moments.listing_moments(
        [{row["pool"] for row in one} for one in pairs],
        float(np.mean([row["timestamp"][:10] != DAY.isoformat() for row in pairs[0]])),
        float(np.mean([row["rewardTokens"] is not None for row in pairs[0]])),
    )
    compare(LISTING_BANDS, simulated, known)


# --- prices and gas ------------------------------------------------------------------------------------------------
PEG_BANDS = {
    "deviation from par": within(2.0),
    "median distance from par": within(1.6),
    "p99 of the distance from par": within(1.6),
    "kurtosis": within(2.5),
    "autocorrelation, 1 day": near(0.1),
    "autocorrelation, 7 days": near(0.1),
    "autocorrelation of changes": near(0.12),
}
WICK_BANDS = {
    "median of the upper wick": within(1.5),
    "p90 of the upper wick": within(1.5),
    "median of the lower wick": within(1.5),
    "p90 of the lower wick": within(1.5),
}
GAS_BANDS = {
    "deviation of the level (log)": within(1.3),
    "deviation of daily changes (log)": within(1.3),
    "median daily change (log)": within(1.5),
    "kurtosis of daily changes": within(2.5),
    "autocorrelation of the level, 1 day": near(0.1),
    "autocorrelation of the level, 7 days": near(0.2),
    "autocorrelation of the level, 30 days": near(0.25),
    "autocorrelation of changes, 1 day": near(0.12),
    "p90 over mean": within(1.25),
    "weekend over the week around it": near(0.06),
    "share of days with a jump (±0.5 log)": within(2.0),
    "share of days with a jump upwards": within(2.0),
}
ETHER_BANDS = {"deviation of daily returns": within(1.4), "kurtosis of daily returns": within(2.5)}


@pytest.fixture(scope="module")
def cmc_bars(recorded_data: Path) -> dict[str, pd.DataFrame]:
    """Recorded bars by coin from 2021 on, by day."""
    bars = pd.read_parquet(next((recorded_data / "prices").glob("cmc_daily_ohlcv_*.parquet")))
    recent = bars[pd.to_datetime(bars["date"]) >= pd.Timestamp(2021, 1, 1)].sort_values("date")
    return {str(coin): one for coin, one in recent.groupby("coin")}


def test_dollar_tokens_keep_their_pegs_as_recorded_ones_do(
    generated: GeneratedMarket, policy: Policy, cmc_bars: dict[str, pd.DataFrame]
) -> None:
    known = moments.peg_moments([bars["close"].to_numpy(dtype=float) for bars in cmc_bars.values()])
    fallen = generated._prices.depegged
    tokens = [token for token in policy.tokens if token.peg == "usd" and token != fallen]
    series = [generated.close_series(token.address, generated.last_day) for token in tokens]
    simulated = moments.peg_moments([one.close for one in series if one is not None])
    compare(PEG_BANDS, simulated, known)


def test_a_slip_from_the_peg_is_as_deep_and_long_as_recorded_ones(
    generated: GeneratedMarket, policy: Policy, cmc_bars: dict[str, pd.DataFrame], recorded_data: Path
) -> None:
    """The demo's token falls as far and for as long as tokens that came back did (2021 to 2023)."""
    prices = pd.read_csv(recorded_data / "prices/defillama_stablecoin_prices_20coins_2020-12-29_2023-07-30.csv")
    came_back = ("gemini-dollar", "usdk", "reserve", "nusd")
    falls = [moments.longest_fall(prices[name].dropna().to_numpy(dtype=float)) for name in came_back]
    fallen = generated._prices.depegged
    assert fallen is not None
    series = generated.close_series(fallen.address, DEMO_DAY + timedelta(days=60))
    assert series is not None
    depth, length = moments.longest_fall(series.close)
    assert min(depth for depth, _ in falls) - 0.01 <= depth <= max(depth for depth, _ in falls)
    assert min(length for _, length in falls) <= length <= 3 * max(length for _, length in falls)
    worst = max(1 - float(bars["close"].min()) for bars in cmc_bars.values())
    others = [token for token in policy.tokens if token.peg == "usd" and token != fallen]
    closes = [generated.close_series(token.address, generated.last_day) for token in others]
    deepest = sorted(1 - float(one.close.min()) for one in closes if one is not None)
    assert worst / 3 < deepest[-1] < worst * 2.5, "the deepest slip of all tokens in five years"
    assert deepest[len(deepest) // 2] < worst, "most tokens never slip that far"


def test_bars_have_wicks_like_recorded_ones(
    generated: GeneratedMarket, policy: Policy, cmc_bars: dict[str, pd.DataFrame]
) -> None:
    known = moments.wick_moments(pd.concat(cmc_bars.values()))
    ids = [token.cmc_id for token in policy.tokens if token.peg == "usd" and token.cmc_id is not None]
    coins = [generated.coin(cmc_id, DAY - timedelta(days=YEAR), DAY) for cmc_id in ids]
    bars = pd.DataFrame([vars(bar) for coin in coins if coin is not None for bar in coin.bars])
    compare(WICK_BANDS, moments.wick_moments(bars), known)


def test_gas_has_the_regimes_and_jumps_of_recorded_gas(generated: GeneratedMarket, recorded_data: Path) -> None:
    gas = pd.read_csv(next((recorded_data / "gas").glob("etherscan_avg_gas_price_daily_*.csv")))
    days = pd.to_datetime(gas["UnixTimeStamp"], unit="s")
    known = pd.Series(gas["Value (Wei)"].to_numpy() / 1e9, index=days)
    recorded = moments.gas_years(known[known.index >= pd.Timestamp(2021, 1, 1)])
    simulated = moments.gas_years(moments.market_gas(generated, generated.first_day, generated.last_day))
    compare(GAS_BANDS, simulated, recorded)


def test_ether_moves_like_recorded_ether(generated: GeneratedMarket, recorded_data: Path) -> None:
    bars = pd.read_parquet(next((recorded_data / "prices").glob("yfinance_daily_crypto_*.parquet")))
    ether = bars[bars["ticker"].astype(str).str.startswith("ETH") & (bars["date"].astype(str) >= "2021-01-01")]
    known = moments.ether_moments(ether.sort_values("date")["close_adj"].to_numpy(dtype=float))
    simulated = moments.ether_moments(moments.market_ether(generated, generated.first_day, generated.last_day))
    compare(ETHER_BANDS, simulated, known)
