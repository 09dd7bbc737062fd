"""Scores against figures worked out by hand."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.forecasting.pools import forecast_pools
from defiyield_assets.domain.forecasting.scores import SCORE_COLUMNS, score_forecasts, score_gas_forecasts
from defiyield_assets.domain.policy import Parameters
from defiyield_assets.store import schema
from defiyield_assets_tests.domain.forecasting.conftest import AS_OF
from defiyield_assets_tests.domain.forecasting.test_gas import gas_days
from defiyield_assets_tests.domain.forecasting.test_pools import one_pool

DAY = AS_OF


def due(horizon: int = 2, as_of: date | None = None, **changes: object) -> pd.DataFrame:
    row = {
        "pool_id": "pool",
        "as_of": as_of or DAY - timedelta(days=horizon),
        "horizon_days": horizon,
        "target": "apy",
        "mean": 0.06,
        "p10": 0.04,
        "p50": 0.05,
        "p90": 0.08,
        "model": "ses",
        "is_champion": True,
    }
    return pd.DataFrame([{**row, **changes}])


def test_columns_are_those_of_the_table() -> None:
    assert list(SCORE_COLUMNS) == [column.name for column in schema.forecast_scores.columns]
    assert list(score_forecasts(due(), one_pool([0.05, 0.05, 0.06]), DAY)) == list(SCORE_COLUMNS)


def test_a_score_by_hand() -> None:
    scores = score_forecasts(due(), one_pool([0.9, 0.05, 0.09, 0.07]), DAY)
    (row,) = scores.to_dict("records")
    assert row["actual"] == pytest.approx(0.08)
    assert row["naive"] == 0.05
    assert row["error"] == pytest.approx(-0.02)
    assert row["absolute_error"] == pytest.approx(0.02)
    assert row["naive_absolute_error"] == pytest.approx(0.03)
    # q·(a-f): 0.1·0.04, 0.5·0.03, 0.9·0.00
    assert row["pinball_loss"] == pytest.approx((0.004 + 0.015 + 0.0) / 3)
    assert row["is_covered"]


def test_pinball_loss_of_an_actual_below_the_band() -> None:
    (row,) = score_forecasts(due(), one_pool([0.05, 0.02, 0.02]), DAY).to_dict("records")
    assert row["pinball_loss"] == pytest.approx((0.9 * 0.02 + 0.5 * 0.03 + 0.1 * 0.06) / 3)
    assert not row["is_covered"]


def test_only_forecasts_due_on_the_day_are_scored() -> None:
    forecasts = pd.concat([due(2), due(1, DAY - timedelta(days=2)), due(7)])
    scores = score_forecasts(forecasts, one_pool([0.05] * 10), DAY)
    assert list(scores["horizon_days"]) == [2, 7]


def test_spikes_count_in_actuals_and_missing_days_do_not() -> None:
    (row,) = score_forecasts(due(3), one_pool([0.05, 9.0, None, 0.05]), DAY).to_dict("records")
    assert row["actual"] == pytest.approx((9.0 + 0.05) / 2)


def test_without_an_observed_day_there_is_no_row() -> None:
    assert score_forecasts(due(), one_pool([0.05, None, None]), DAY).empty
    assert score_forecasts(due(), one_pool([None, 0.05, 0.05]), DAY).empty
    assert score_forecasts(due(), one_pool([0.05] * 5).assign(pool_id="other"), DAY).empty
    assert list(score_forecasts(due().iloc[:0], one_pool([0.05]), DAY)) == list(SCORE_COLUMNS)


def test_values_after_the_day_are_not_read() -> None:
    rows = one_pool([0.05, 0.06, 0.07])
    later = pd.concat([rows, one_pool([99.0], DAY + timedelta(days=1))])
    pd.testing.assert_frame_equal(score_forecasts(due(), later, DAY), score_forecasts(due(), rows, DAY))


def test_scores_of_real_forecasts_join_every_target_and_model(histories: pd.DataFrame) -> None:
    as_of = AS_OF - timedelta(days=7)
    made = forecast_pools(histories, as_of, Parameters(), {}, horizons=(1, 7))
    scores = score_forecasts(made.candidates, histories, DAY)
    assert len(scores) == (made.candidates["horizon_days"] == 7).sum()
    assert scores["is_champion"].sum() == 6 * 4
    assert set(scores["target"]) == {"apy", "apy_base", "apy_reward", "tvl_usd"}
    np.testing.assert_allclose(scores["error"].abs(), scores["absolute_error"])
    assert (scores["as_of"] == as_of).all()
    assert (scores["mase_scale"] > 0).all()
    keys = ["date", "pool_id", "horizon_days", "target", "model"]
    pd.testing.assert_frame_equal(scores, scores.sort_values(keys, ignore_index=True))


def test_every_candidate_is_scored_and_the_champion_is_marked() -> None:
    candidates = pd.concat([due(model="ses", is_champion=False), due(model="ewma_03", mean=0.08)])
    scores = score_forecasts(candidates, one_pool([0.05, 0.09, 0.07]), DAY)
    assert list(scores["model"]) == ["ewma_03", "ses"]
    assert list(scores["is_champion"]) == [True, False]
    assert list(scores["absolute_error"]) == pytest.approx([0.0, 0.02])
    assert list(scores["naive_absolute_error"]) == pytest.approx([0.03, 0.03])


def test_the_scale_is_the_usual_change_of_one_day_known_at_the_vintage() -> None:
    (row,) = score_forecasts(due(), one_pool([0.05, 0.07, None, 0.06, 0.05, 9.0, 9.0]), DAY).to_dict("records")
    assert row["mase_scale"] == pytest.approx((0.02 + 0.01) / 2)
    (row,) = score_forecasts(due(), one_pool([None, 0.05, None, 9.0]), DAY).to_dict("records")
    assert np.isnan(row["mase_scale"])
    # 91 days before the horizon make 90 changes of 0.01; what was before them is not read.
    zigzag = [9.0, *[0.05 + 0.01 * (day % 2) for day in range(91)], 9.0, 9.0]
    (row,) = score_forecasts(due(), one_pool(zigzag), DAY).to_dict("records")
    assert row["mase_scale"] == pytest.approx(0.01)
    # A month's vintage beside it widens what is read, not what the shorter one sees.
    both = score_forecasts(pd.concat([due(), due(30)]), one_pool([9.0] * 30 + zigzag), DAY)
    assert both.set_index("horizon_days").loc[2, "mase_scale"] == pytest.approx(0.01)


def test_the_naive_value_is_looked_for_in_thirty_days() -> None:
    assert len(score_forecasts(due(), one_pool([0.05, *[None] * 29, 0.05, 0.05]), DAY)) == 1
    assert score_forecasts(due(), one_pool([0.05, *[None] * 30, 0.05, 0.05]), DAY).empty


def test_a_band_without_width_and_an_actual_of_zero_do_not_count_for_coverage() -> None:
    def has_band(values: list[float | None], **changes: object) -> bool:
        (row,) = score_forecasts(due(**changes), one_pool(values), DAY).to_dict("records")
        return bool(row["has_band"])

    assert has_band([0.05, 0.05, 0.05])
    assert not has_band([0.05, 0.05, 0.05], p10=0.05, p90=0.05)
    assert not has_band([0.05, 0.0, 0.0])


def test_scores_do_not_depend_on_the_order_of_rows() -> None:
    days = pd.concat([one_pool([0.05, 0.06, 0.07]), one_pool([0.02, 0.06, 0.05]).assign(pool_id="other")])
    candidates = pd.concat([due(model=model, pool_id=pool) for model in ("a", "b") for pool in ("pool", "other")])
    first = score_forecasts(candidates, days, DAY)
    second = score_forecasts(candidates.iloc[::-1], days.iloc[::-1], DAY)
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert list(first["pool_id"]) == ["other", "other", "pool", "pool"]


def test_gas_scores_name_their_kind() -> None:
    days = pd.concat([gas_days([2.0, 4.0]), gas_days([3.0, 3.0], "gas_price")])
    rows = due(1, mean=2.0).drop(columns=["pool_id", "target"])
    candidates = pd.concat(
        [
            rows.assign(kind="base_fee"),
            rows.assign(kind="base_fee", model="harmonic", mean=5.0, is_champion=False),
            rows.assign(kind="gas_price", mean=3.0),
        ]
    )
    scores = score_gas_forecasts(candidates, days, DAY)
    assert list(scores) == list(SCORE_COLUMNS)
    assert list(scores["pool_id"]) == ["GAS"] * 3
    assert list(scores["target"]) == ["base_fee_gwei", "base_fee_gwei", "gas_price_gwei"]
    assert scores["error"].tolist() == pytest.approx([1.0, -2.0, 0.0])
    assert scores["is_champion"].tolist() == [False, True, True]
    assert score_gas_forecasts(candidates, days.iloc[:0], DAY).empty
