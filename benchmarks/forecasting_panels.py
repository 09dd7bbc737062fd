"""Panels on which forecasts are measured: recorded ones read in place, and the simulated market's.

Lives here: which series belong to a panel, and their points in the shape of `pool_histories`. Not here: forecasting
them (forecasting_replay.py) or what the files hold (docs/how-to/recorded-data.md).
"""

import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from defiyield_assets.config.loader import load_policy
from defiyield_assets.domain.days import market_stamp
from defiyield_assets.domain.policy import DOLLAR_ROLES

MIN_DAYS = 300
"""Days on which a series must have been observed to belong to a recorded panel."""
SCORED_ROLES = tuple(role for role in DOLLAR_ROLES if role != "liquidity")
LENDING_ORIGINS = (date(2024, 10, 1), date(2025, 5, 1))
DEX_ORIGINS = (date(2022, 8, 2), date(2025, 9, 2))
"""From half a year of the oldest pool's history on, until 30 days before the recording ends."""
AAVE_ORIGINS = (date(2021, 9, 7), date(2022, 5, 3))
"""From 90 days of history on, until 30 days before the recording ends."""
SIMULATED_SEED = 7


@dataclass(frozen=True)
class Panel:
    """Series to be forecast: `histories` are rows of `pool_histories` with one revision, seen the night after."""

    name: str
    rule: str
    histories: pd.DataFrame
    origins: tuple[date, ...]
    labels: dict[str, str]

    @property
    def n_series(self) -> int:
        """Number of series."""
        return int(self.histories["pool_id"].nunique())


def lending_panel(folder: Path) -> Panel:
    """The series of role lend, vault or staking that were observed on at least 300 days."""
    points = pd.read_parquet(_only(folder, "yields/defillama_chart_daily_lending_*.parquet"))
    roles = pd.read_csv(folder / "reference" / "lending_panel_underlyings.csv")
    kept = set(roles.loc[roles["role"].isin(SCORED_ROLES), "series_id"])
    points = points.rename(columns={"series_id": "name"}).loc[lambda rows: rows["name"].isin(kept)]
    return Panel(
        "lending",
        f"roles {', '.join(SCORED_ROLES)}, at least {MIN_DAYS} days",
        _often_observed(chart_histories(points, "name"), MIN_DAYS),
        weekly(*LENDING_ORIGINS),
        {name: name.replace("_", " ") for name in kept},
    )


def dex_panel(folder: Path) -> Panel:
    """The pools whose tokens are all dollars (`is_dollar`) and that were observed on at least 300 days."""
    points = pd.read_parquet(_only(folder, "yields/defillama_chart_daily_dex_*.parquet"))
    approved = dollar_symbols()
    symbols = {str(pool): str(symbol) for pool, symbol in points.groupby("pool")["symbol"].last().items()}
    kept = {pool: name for pool, name in symbols.items() if all(is_dollar(part, approved) for part in name.split("-"))}
    return Panel(
        "stable DEX",
        "every part of the symbol is an approved dollar token or contains USD, "
        f"at least {MIN_DAYS} days; {len(kept)} pools before the days were counted",
        _often_observed(chart_histories(points[points["pool"].isin(kept)], "pool"), MIN_DAYS),
        weekly(*DEX_ORIGINS),
        kept,
    )


def aave_panel(folder: Path) -> Panel:
    """Deposit rates of the five reserves of Aave v2, the last reading of a UTC day; their size was not recorded."""
    points = pd.read_csv(_only(folder, "aave/aave_v2_rates_daily_*.csv")).sort_values("ts")
    days = pd.to_datetime(points["ts"], unit="ms", utc=True).dt.strftime("%Y-%m-%d")
    points = points.assign(date=days, apy=points["deposit_rate"], apyBase=points["deposit_rate"])
    points = points.assign(apyReward=0.0, tvlUsd=np.nan)
    histories = _often_observed(chart_histories(points, "asset"), MIN_DAYS)
    labels = {name: f"Aave v2 {name}" for name in histories["pool_id"].unique()}
    return Panel("Aave v2", "all five reserves, last reading of a day", histories, weekly(*AAVE_ORIGINS), labels)


def simulated_panel(
    n_pools: int, last_day: date, n_days: int, origins: tuple[date, ...] = (), *, is_stable: bool = False
) -> Panel:
    """The largest `n_pools` pools of the simulated market that are listed on the last day and lived on the first;
    stable ones only if asked for.
    """
    from defiyield_assets.simulator.generated import GeneratedMarket

    policy = load_policy(last_day).policy
    first = (last_day - timedelta(days=n_days - 1)).isoformat()
    with tempfile.TemporaryDirectory() as folder:
        chain = Path(folder) / "chain.sqlite"
        market = GeneratedMarket(SIMULATED_SEED, chain, policy.wallets, policy.tokens, policy.protocols)
        told: list[dict[str, Any]] = []
        labels: dict[str, str] = {}
        for row in sorted(market.pool_rows(last_day), key=lambda pool: (-pool["tvlUsd"], pool["pool"])):
            chart = market.chart_points(row["pool"], last_day) or []
            is_asked = row["stablecoin"] or not is_stable
            if is_asked and row["apy"] and chart and chart[0]["timestamp"][:10] <= first:
                told += [{**point, "name": row["pool"], "date": point["timestamp"][:10]} for point in chart]
                labels[row["pool"]] = f"{row['project']} {row['symbol']} (simulated)"
            if len(labels) == n_pools:
                break
    points = pd.DataFrame(told)
    rule = f"the {len(labels)} largest pools of the simulated market, seed {SIMULATED_SEED}"
    return Panel("simulated", rule, chart_histories(points[points["date"] >= first], "name"), origins, labels)


def weekly(first: date, last: date) -> tuple[date, ...]:
    """`first` and every seventh day after it up to and including `last`."""
    return tuple(first + timedelta(days=step) for step in range(0, (last - first).days + 1, 7))


def dollar_symbols() -> frozenset[str]:
    """Symbols of the approved dollar tokens, upper case."""
    tokens = load_policy(LENDING_ORIGINS[0]).policy.tokens
    return frozenset(token.symbol.upper() for token in tokens if token.peg != "other")


def is_dollar(symbol: str, approved: Collection[str]) -> bool:
    """Whether a token is taken for a dollar: it is approved as one (upper case) or is named after it."""
    return symbol.upper() in approved or "USD" in symbol.upper()


def chart_histories(points: pd.DataFrame, name: str) -> pd.DataFrame:
    """Chart points (date as ISO day, percent) as rows of `pool_histories`; of several on a day the last stays."""
    points = points.drop_duplicates([name, "date"], keep="last")
    days = [date.fromisoformat(day) for day in points["date"]]
    rows = pd.DataFrame(
        {
            "pool_id": points[name].astype(str).to_numpy(),
            "date": days,
            "revision": 1,
            "apy": points["apy"].to_numpy(dtype=float) / 100.0,
            "apy_base": points["apyBase"].to_numpy(dtype=float) / 100.0,
            "apy_reward": points["apyReward"].to_numpy(dtype=float) / 100.0,
            "tvl_usd": points["tvlUsd"].to_numpy(dtype=float),
            "il_7d": np.nan,
            "is_provisional": False,
            "source": "chart",
            "seen_at": [market_stamp(day) for day in days],
            "is_hindsight": False,
        }
    )
    return rows.sort_values(["pool_id", "date"], ignore_index=True)


def _often_observed(histories: pd.DataFrame, min_days: int) -> pd.DataFrame:
    """The series with an APY on at least so many days."""
    n_days = histories["apy"].notna().groupby(histories["pool_id"]).transform("sum")
    return histories[n_days >= min_days].reset_index(drop=True)


def _only(folder: Path, pattern: str) -> Path:
    """The last file by name that matches; FileNotFoundError names the pattern."""
    found = sorted(folder.glob(pattern))
    if not found:
        raise FileNotFoundError(f"no file {pattern} in {folder}; DEFIYIELD_RECORDED_DATA names the recorded data")
    return found[-1]
