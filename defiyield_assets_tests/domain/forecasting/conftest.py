"""Made-up histories with gaps, spikes and nulls, and the recorded lending panel in the shape of histories."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

AS_OF = date(2025, 6, 1)


def make_histories(n_pools: int = 6, n_days: int = 90, seed: int = 7, last_day: date = AS_OF) -> pd.DataFrame:
    """Random walks of the logarithm with 5 % of the days missing; every value depends on the seed alone."""
    random = np.random.default_rng(seed)
    walks = np.exp(-3.0 + np.cumsum(random.normal(0.0, 0.08, (n_pools, n_days)), axis=1))
    rows = pd.DataFrame(
        {
            "pool_id": np.repeat([f"pool-{number:03d}" for number in range(n_pools)], n_days),
            "date": [last_day - timedelta(days=n_days - 1 - day) for day in range(n_days)] * n_pools,
            "apy": walks.ravel(),
            "apy_base": walks.ravel() * 0.75,
            "apy_reward": walks.ravel() * 0.25,
            "tvl_usd": 1e9 * walks.ravel(),
            "is_hindsight": False,
        }
    )
    is_kept = (random.random(len(rows)) > 0.05) | (rows["date"] == last_day)
    return rows.loc[is_kept].reset_index(drop=True)


@pytest.fixture
def histories() -> pd.DataFrame:
    return make_histories()


@pytest.fixture(scope="session")
def lending_panel(recorded_data: Path) -> pd.DataFrame:
    """The 48 series that the specification's table rests on: lend, vault and staking with at least 300 days."""
    panel = pd.read_parquet(recorded_data / "yields" / "defillama_chart_daily_lending_2024-06-06_2025-06-05.parquet")
    roles = pd.read_csv(recorded_data / "reference" / "lending_panel_underlyings.csv")
    dollars = set(roles.loc[roles["role"].isin(["lend", "vault", "staking"]), "series_id"])
    panel = panel.loc[panel["series_id"].isin(dollars)].drop_duplicates(["series_id", "date"], keep="last")
    panel = panel.loc[panel.groupby("series_id")["date"].transform("size") >= 300]
    return pd.DataFrame(
        {
            "pool_id": panel["series_id"],
            "date": [date.fromisoformat(str(day)) for day in panel["date"]],
            "apy": panel["apy"] / 100.0,
            "apy_base": panel["apyBase"] / 100.0,
            "apy_reward": panel["apyReward"] / 100.0,
            "tvl_usd": panel["tvlUsd"].astype(float),
            "is_hindsight": False,
        }
    ).reset_index(drop=True)
