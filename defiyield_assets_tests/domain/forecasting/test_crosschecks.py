"""What must be true of forecasts, and what of their scores is doubtful."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.forecasting.crosschecks import (
    crossing_quantiles,
    doubtful_coverage,
    losing_champions,
    missing_forecasts,
)
from defiyield_assets.domain.policy import Parameters
from defiyield_assets_tests.domain.forecasting.conftest import AS_OF, make_histories

SOUND = {"mean": 0.05, "p10": 0.04, "p50": 0.05, "p90": 0.06}


@pytest.mark.parametrize(
    ("wrong", "n_broken"),
    [
        ({}, 0),
        ({"p10": 0.05, "p90": 0.05}, 0),
        ({"mean": 0.0, "p10": 0.0, "p50": 0.0, "p90": 0.0}, 0),
        ({"mean": 0.9}, 0),
        ({"p10": 0.051}, 1),
        ({"p90": 0.049}, 1),
        ({"p10": -0.01}, 1),
        ({"mean": -0.01}, 1),
        ({"mean": np.nan}, 1),
        ({"p90": np.inf}, 1),
    ],
)
def test_figures_are_finite_not_negative_and_in_order(wrong: dict[str, float], n_broken: int) -> None:
    assert len(crossing_quantiles(pd.DataFrame([SOUND, SOUND | wrong]))) == n_broken


def test_a_followed_pool_without_forecast_has_a_reason_or_is_missing() -> None:
    histories = make_histories(n_pools=3)
    late = AS_OF - timedelta(days=9)
    histories = histories[(histories["pool_id"] != "pool-001") | (histories["date"] <= late)]
    absent = {"pool-000", "pool-001", "nobody"}
    missing, reasons = missing_forecasts(absent, histories, AS_OF, Parameters())
    assert missing == ["pool-000"]
    assert dict(zip(reasons["pool_id"], reasons["reason_code"], strict=True)) == {
        "nobody": "NO_DATA",
        "pool-001": "STALE",
    }
    assert missing_forecasts([], histories, AS_OF, Parameters())[0] == []


def board(**figures: object) -> pd.DataFrame:
    """One champion's row of the scoreboard that is beyond doubt, changed by `figures`."""
    row = {"model": "champion", "n_forecasts": 200, "coverage": 0.8, "skill": 0.1} | figures
    return pd.DataFrame([row, row | {"model": "ses", "coverage": 0.1, "skill": -5.0}])


def test_coverage_is_doubted_outside_its_limits_and_only_of_champions_with_many_scores() -> None:
    assert [len(doubtful_coverage(board(coverage=value))[0]) for value in (0.69, 0.70, 0.90, 0.91)] == [1, 0, 0, 1]
    assert doubtful_coverage(board(coverage=0.1, n_forecasts=199))[1] == 0
    assert doubtful_coverage(board(coverage=np.nan))[1] == 0


def test_champions_lose_below_the_last_value() -> None:
    assert [len(losing_champions(board(skill=value))[0]) for value in (-0.001, -2e-15, 0.0, 0.5)] == [1, 0, 0, 0]
    assert losing_champions(board(skill=-1.0, n_forecasts=199))[1] == 0
