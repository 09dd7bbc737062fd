"""Live errors of champions: the same as the scores that are kept, over many days at once."""

from datetime import date, timedelta

import numpy as np
import pandas as pd

from defiyield_assets.domain.forecasting.live import LIVE_ERROR_COLUMNS, VINTAGE_COLUMNS, live_errors
from defiyield_assets.domain.forecasting.scores import score_forecasts
from defiyield_assets_tests.domain.forecasting.conftest import AS_OF, make_histories

N_DAYS = 20


def vintages(days: int = 60, seed: int = 3) -> pd.DataFrame:
    """Forecasts of every pool on every day, bands included, as `forecast_candidates` has them."""
    random = np.random.default_rng(seed)
    keys = pd.MultiIndex.from_product(
        [
            [*(f"pool-{number:03d}" for number in range(6)), "unknown"],
            [AS_OF - timedelta(days=back) for back in range(days)],
            (1, 7, 30),
            ("apy", "tvl_usd"),
        ],
        names=["pool_id", "as_of", "horizon_days", "target"],
    )
    rows = keys.to_frame(index=False)
    mean = np.abs(random.normal(0.05, 0.02, len(rows)))
    return rows.assign(model="ses", mean=mean, p10=0.0, p50=mean, p90=1.0, is_champion=True)


def with_silences() -> pd.DataFrame:
    """Histories of which one pool is silent for ten days, another for longer than a last value is looked for."""
    histories = make_histories(n_days=200)
    ages = pd.Series([(AS_OF - day).days for day in histories["date"]])
    short = (histories["pool_id"] == "pool-002") & ages.between(6, 15)
    long = (histories["pool_id"] == "pool-003") & ages.between(11, 55)
    return histories.loc[~short & ~long].reset_index(drop=True)


def test_errors_are_those_of_the_scores_of_each_day() -> None:
    histories, made = with_silences(), vintages()
    found = live_errors(made, histories, AS_OF, N_DAYS)
    days = [AS_OF - timedelta(days=back) for back in range(N_DAYS)]
    wanted = pd.concat([score_forecasts(made, histories[histories["date"] <= day], day) for day in days])
    keys = ["date", "pool_id", "horizon_days", "target"]
    wanted = wanted.sort_values(keys, ignore_index=True)[list(LIVE_ERROR_COLUMNS)]
    assert len(found) > 600
    assert len(set(found.groupby("pool_id").size())) > 2, "silences cost scores"
    pd.testing.assert_frame_equal(found, wanted, check_dtype=False, rtol=1e-12)


def test_what_is_not_due_or_later_than_the_day_does_not_count() -> None:
    histories, made = make_histories(n_days=200), vintages()
    day = AS_OF - timedelta(days=10)
    found = live_errors(made, histories, day, N_DAYS)
    assert set(found["date"]) == {day - timedelta(days=back) for back in range(N_DAYS)}
    noise = histories.assign(apy=histories["apy"].where(histories["date"] <= day, 9.0))
    later = made.assign(mean=made["mean"].where(made["as_of"] < day, 9.0))
    pd.testing.assert_frame_equal(live_errors(later, noise, day, N_DAYS), found)


def test_nothing_due_is_an_empty_frame() -> None:
    found = live_errors(vintages().iloc[:0], make_histories(), AS_OF, N_DAYS)
    assert list(found) == list(LIVE_ERROR_COLUMNS)
    assert found.empty
    early = vintages()[list(VINTAGE_COLUMNS)]
    assert live_errors(early, make_histories(), date(2020, 1, 1), N_DAYS).empty
