"""The panels that forecasts are measured on: which series belong to them, and how past and future are told apart."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.forecasting_panels import (
    MIN_DAYS,
    Panel,
    aave_panel,
    dex_panel,
    dollar_symbols,
    is_dollar,
    lending_panel,
    simulated_panel,
    weekly,
)
from benchmarks.forecasting_replay import truth


def test_weekly_origins_end_within_the_range() -> None:
    days = weekly(date(2024, 10, 1), date(2025, 5, 1))
    assert len(days) == 31
    assert (days[0], days[-1]) == (date(2024, 10, 1), date(2025, 4, 29))


def test_a_dollar_is_an_approved_dollar_token_or_named_after_it() -> None:
    approved = dollar_symbols()
    told = {symbol: is_dollar(symbol, approved) for symbol in ("USDC", "dai", "USDT+", "TUSD", "WETH", "EURC", "MIM")}
    assert told == {"USDC": True, "dai": True, "USDT+": True, "TUSD": True, "WETH": False, "EURC": False, "MIM": False}


@pytest.mark.recorded
def test_the_lending_panel_is_the_one_of_the_specification(recorded_data: Path) -> None:
    panel = lending_panel(recorded_data)
    assert panel.n_series == 48
    assert panel.n_series * len(panel.origins) == 1488


@pytest.mark.recorded
def test_panels_hold_one_point_a_day_and_only_series_that_were_often_observed(recorded_data: Path) -> None:
    for load in (lending_panel, dex_panel, aave_panel):
        histories = load(recorded_data).histories
        assert not histories.duplicated(["pool_id", "date"]).any()
        assert histories[histories["apy"].notna()].groupby("pool_id").size().min() >= MIN_DAYS


@pytest.mark.recorded
def test_the_last_value_errs_on_the_lending_panel_as_the_specification_says(recorded_data: Path) -> None:
    panel = lending_panel(recorded_data)
    every_other = [truth(panel, day, (1, 7, 30)) for day in panel.origins[::2]]
    cells = pd.concat(every_other).loc[lambda rows: rows["target"] == "apy"]
    errors = (cells["naive"] - cells["actual"]).abs().groupby(cells["horizon_days"]).mean()
    assert errors.to_dict() == pytest.approx({1: 0.0135, 7: 0.0152, 30: 0.0220}, abs=6e-5)


def test_what_happened_is_the_mean_of_the_observed_days_after_the_origin() -> None:
    day = date(2025, 1, 10)
    apys = {-2: 0.05, 0: 0.06, 1: 0.10, 3: 0.20, 8: 0.90}
    rows = pd.DataFrame(
        {
            "pool_id": "p",
            "date": [day + timedelta(days=offset) for offset in apys],
            "apy": list(apys.values()),
            "apy_base": np.nan,
            "apy_reward": np.nan,
            "tvl_usd": 1e6,
            "is_hindsight": False,
        }
    )
    found = truth(Panel("made up", "", rows, (day,), {}), day, (1, 7)).set_index(["target", "horizon_days"])
    assert found.loc[("apy", 1), "actual"] == pytest.approx(0.10)
    assert found.loc[("apy", 7), "actual"] == pytest.approx(0.15), "two observed days of the seven"
    assert found.loc[("apy", 7), "naive"] == pytest.approx(0.06)
    known = Panel("made up", "", rows[rows["date"] <= day], (day,), {})
    assert truth(known, day, (7,))["actual"].isna().all()


def test_of_several_readings_of_a_day_the_last_counts(tmp_path: Path) -> None:
    stamps = pd.date_range("2021-06-08", periods=2 * MIN_DAYS, freq="12h", tz="UTC")
    readings = pd.DataFrame(
        {"asset": "DAI", "ts": stamps.as_unit("ms").astype("int64"), "deposit_rate": [1.0, 2.0] * MIN_DAYS}
    )
    (tmp_path / "aave").mkdir()
    readings.sample(frac=1.0, random_state=1).to_csv(tmp_path / "aave" / "aave_v2_rates_daily_made_up.csv", index=False)
    histories = aave_panel(tmp_path).histories
    assert len(histories) == MIN_DAYS
    assert histories["apy"].tolist() == pytest.approx([0.02] * MIN_DAYS)


def test_a_missing_file_is_named_by_its_pattern(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="aave_v2_rates_daily_"):
        aave_panel(tmp_path)


def test_the_simulated_panel_has_the_pools_and_days_that_were_asked_for() -> None:
    last = date(2025, 5, 29)
    panel = simulated_panel(5, last, 100)
    assert panel.n_series == 5
    assert (min(panel.histories["date"]), max(panel.histories["date"])) == (last - timedelta(days=99), last)
    assert set(panel.labels) == set(panel.histories["pool_id"])
