"""Gas forecasts: one day is enough, kinds apart, no look-ahead, and the recorded ten years."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.forecasting.gas import GAS_FORECAST_COLUMNS, forecast_gas
from defiyield_assets.store import schema

AS_OF = date(2025, 6, 1)


def gas_days(values: list[float | None], kind: str = "base_fee", source: str = "ethgastracker") -> pd.DataFrame:
    days = [AS_OF - timedelta(days=len(values) - 1 - day) for day in range(len(values))]
    return pd.DataFrame({"date": days, "kind": kind, "source": source, "mean_gwei": values, "n_hours": 24})


def test_columns_are_those_of_the_table() -> None:
    forecasts = forecast_gas(gas_days([1.0, 2.0]), AS_OF)
    assert list(forecasts) == list(GAS_FORECAST_COLUMNS) == [column.name for column in schema.gas_forecasts.columns]


def test_one_day_of_history_is_enough() -> None:
    forecasts = forecast_gas(pd.concat([gas_days([2.0]), gas_days([3.0], "gas_price")]), AS_OF)
    assert list(forecasts["kind"]) == ["base_fee"] * 3 + ["gas_price"] * 3
    assert list(forecasts["horizon_days"]) == [1, 7, 30] * 2
    assert forecasts["mean"].tolist() == pytest.approx([2.0] * 3 + [3.0] * 3)
    assert (forecasts["fallback_reason"] == "SHORT_HISTORY").all()
    assert (forecasts["p10"] < forecasts["p50"]).all()
    assert (forecasts["p50"] < forecasts["p90"]).all()


def test_later_days_are_not_read() -> None:
    random = np.random.default_rng(1)
    days = gas_days(list(np.exp(random.normal(0, 0.3, 200))))
    as_of = AS_OF - timedelta(days=30)
    noisy = days.copy()
    noisy.loc[noisy["date"] > as_of, "mean_gwei"] = 1e6
    pd.testing.assert_frame_equal(forecast_gas(noisy, as_of), forecast_gas(days, as_of), check_exact=True)


def test_the_vendor_that_saw_more_hours_counts() -> None:
    partial = gas_days([9.0], source="a").assign(n_hours=5)
    forecasts = forecast_gas(pd.concat([partial, gas_days([2.0], source="b")]), AS_OF)
    assert forecasts["mean"].tolist() == pytest.approx([2.0] * 3)


def test_a_silent_kind_has_no_rows() -> None:
    assert forecast_gas(gas_days([2.0, None, None, None, None]), AS_OF).empty
    assert len(forecast_gas(gas_days([2.0, None, None, None]), AS_OF)) == 3
    empty = forecast_gas(gas_days([]), AS_OF)
    assert list(empty) == list(GAS_FORECAST_COLUMNS)


def test_free_gas_is_not_fatal() -> None:
    forecasts = forecast_gas(gas_days([0.0] * 60), AS_OF)
    assert (forecasts["mean"] < 1e-5).all()


@pytest.mark.recorded
def test_recorded_gas_beats_the_last_value_beyond_a_day_and_covers(recorded_data: Path) -> None:
    recorded = pd.read_csv(recorded_data / "gas" / "etherscan_avg_gas_price_daily_2015-07-30_2025-10-24.csv")
    days = [pd.Timestamp(day).date() for day in recorded.iloc[:, 0]]
    gwei = recorded.iloc[:, 2].to_numpy(dtype=float) / 1e9
    daily = pd.DataFrame({"date": days, "kind": "gas_price", "source": "etherscan", "mean_gwei": gwei, "n_hours": 24})
    by_day = pd.Series(gwei, index=days)
    scored = []
    for number in range(50):
        as_of = date(2022, 9, 1) + timedelta(days=21 * number)
        for row in forecast_gas(daily, as_of).itertuples():
            actual = by_day[as_of + timedelta(days=1) : as_of + timedelta(days=row.horizon_days)].mean()
            errors = [abs(np.log(value / actual)) for value in (row.mean, by_day[as_of])]
            scored.append((row.horizon_days, *errors, row.p10 <= actual <= row.p90))
    scores = pd.DataFrame(scored, columns=["horizon", "error", "naive", "covered"]).groupby("horizon").mean()
    assert (scores["error"] / scores["naive"]).loc[[7, 30]].lt(1.0).all()
    assert scores["covered"].between(0.68, 0.92).all()
