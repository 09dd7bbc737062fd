"""The scoreboard against figures worked out by hand."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.forecasting.scoreboard import (
    SCOREBOARD_COLUMNS,
    SUM_COLUMNS,
    build_scoreboard,
    scoreboard_from_sums,
    sum_scores,
)
from defiyield_assets.store import schema

DAY = date(2025, 6, 30)


def score(age: int = 0, **changes: object) -> dict[str, object]:
    row = {
        "date": DAY - timedelta(days=age),
        "pool_id": "pool",
        "horizon_days": 7,
        "target": "apy",
        "model": "ses",
        "is_champion": True,
        "absolute_error": 0.01,
        "naive_absolute_error": 0.02,
        "error": -0.01,
        "is_covered": True,
        "has_band": True,
        "pinball_loss": 0.004,
        "mase_scale": 0.005,
    }
    return {**row, **changes}


def board(*rows: dict[str, object], **options: int) -> pd.DataFrame:
    return build_scoreboard(pd.DataFrame(rows), DAY, **options).set_index("model")


def test_columns_are_those_of_the_table() -> None:
    assert list(SCOREBOARD_COLUMNS) == [column.name for column in schema.forecast_scoreboard.columns]
    assert list(build_scoreboard(pd.DataFrame([score()]), DAY)) == list(SCOREBOARD_COLUMNS)


def test_a_scoreboard_by_hand() -> None:
    found = board(
        score(0),
        score(0, pool_id="other", absolute_error=0.05, error=0.05, naive_absolute_error=0.04, is_covered=False),
        score(40, absolute_error=0.03, error=0.03, pinball_loss=0.001, mase_scale=None),
    )
    row = found.loc["ses"]
    assert (row["n_forecasts"], row["n_pools"]) == (3, 2)
    assert row["mae"] == pytest.approx(0.03)
    assert row["mae_last_value"] == pytest.approx(0.08 / 3)
    assert row["skill"] == pytest.approx(1 - 0.09 / 0.08)
    assert row["skill_30d"] == pytest.approx(1 - 0.06 / 0.06)
    assert row["bias"] == pytest.approx(0.07 / 3)
    assert row["coverage"] == pytest.approx(2 / 3)
    assert row["pinball_loss"] == pytest.approx(0.003)
    assert row["mase"] == pytest.approx(0.06 / 0.01)
    assert row["date"] == DAY


def test_the_champion_is_whatever_was_champion() -> None:
    found = board(
        score(0, model="ses", absolute_error=0.01),
        score(0, model="ewma_03", is_champion=False, absolute_error=0.06),
        score(1, model="ses", is_champion=False, absolute_error=0.06),
        score(1, model="ewma_03", absolute_error=0.02),
    )
    assert found.loc["champion", "mae"] == pytest.approx(0.015)
    assert found.loc["champion", "n_forecasts"] == 2
    assert found.loc["ses", "mae"] == pytest.approx(0.035)
    assert found.loc["ewma_03", "mae"] == pytest.approx(0.04)


def test_targets_and_horizons_have_rows_of_their_own() -> None:
    rows = [score(0, target=target, horizon_days=days) for target in ("apy", "tvl_usd") for days in (1, 7)]
    found = build_scoreboard(pd.DataFrame(rows), DAY)
    assert len(found) == 2 * 2 * 2
    assert not found.duplicated(["target", "horizon_days", "model"]).any()


def test_coverage_counts_bands_only() -> None:
    found = board(
        score(0),
        score(1, is_covered=False),
        score(2, is_covered=False, has_band=False),
        score(3, is_covered=True, has_band=False),
    )
    assert found.loc["ses", "coverage"] == pytest.approx(0.5)
    assert np.isnan(board(score(0, has_band=False)).loc["ses", "coverage"])


def test_what_cannot_be_divided_is_missing() -> None:
    row = board(score(60, naive_absolute_error=0.0, mase_scale=None)).loc["ses"]
    assert row[["skill", "mase", "skill_30d"]].isna().all()
    assert np.isnan(board(score(0, mase_scale=0.0)).loc["ses", "mase"])


def test_the_window_ends_on_the_day_and_is_as_long_as_said() -> None:
    rows = [score(age, pool_id=f"{age}") for age in (-1, 0, 89, 90)]
    assert board(*rows).loc["ses", "n_forecasts"] == 2
    assert board(*rows, window_days=91).loc["ses", "n_forecasts"] == 3
    sums = sum_scores(pd.DataFrame(rows))
    pd.testing.assert_frame_equal(scoreboard_from_sums(sums, DAY), build_scoreboard(pd.DataFrame(rows), DAY))
    recent = [score(29, absolute_error=0.02), score(30, absolute_error=0.0)]
    assert board(*recent).loc["ses", "skill_30d"] == pytest.approx(0.0)
    later = pd.DataFrame([score(0), score(-1, absolute_error=9.0)])
    pd.testing.assert_frame_equal(build_scoreboard(later, DAY), build_scoreboard(later.iloc[:1], DAY))


def test_sums_of_days_make_the_scoreboard_of_all_of_them_to_the_last_bit() -> None:
    random = np.random.default_rng(1)
    rows = pd.DataFrame(
        [
            score(age, pool_id=f"{pool}", is_champion=pool > 9, error=random.normal() * 10.0 ** random.uniform(-15, 15))
            for age in range(40)
            for pool in range(40)
        ]
    )
    by_day = pd.concat([sum_scores(of_day) for _, of_day in rows.groupby("date", sort=False)])
    assert list(by_day) == list(SUM_COLUMNS)
    expected = build_scoreboard(rows, DAY)
    for seed in range(5):
        shuffled = build_scoreboard(rows.sample(frac=1.0, random_state=seed), DAY)
        pd.testing.assert_frame_equal(shuffled, expected, check_exact=True)
        mixed = scoreboard_from_sums(by_day.sample(frac=1.0, random_state=seed), DAY)
        pd.testing.assert_frame_equal(mixed, expected, check_exact=True)


def test_figures_that_a_database_returns_as_objects_are_figures() -> None:
    rows = pd.DataFrame([score(0), score(1, mase_scale=None)])
    expected = build_scoreboard(rows, DAY)
    pd.testing.assert_frame_equal(build_scoreboard(rows.astype(object), DAY), expected)
    as_objects = sum_scores(rows).astype(object)
    pd.testing.assert_frame_equal(scoreboard_from_sums(as_objects, DAY), expected, check_dtype=False)


def test_without_scores_there_is_no_row() -> None:
    found = build_scoreboard(pd.DataFrame([score(0)]).iloc[:0].astype(object), DAY)
    assert found.empty
    assert list(found) == list(SCOREBOARD_COLUMNS)
