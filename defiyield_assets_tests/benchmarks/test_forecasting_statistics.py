"""The arithmetic of the forecasting benchmark, on cells small enough to be checked by hand."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from benchmarks import forecasting_statistics as statistics
from benchmarks.forecasting_statistics import NAIVE

ORIGIN = date(2025, 1, 7)


def cells(*rows: tuple[int, str, str, float | None, float, float]) -> pd.DataFrame:
    """Rows of week, pool_id, model, forecast, actual, naive."""
    frame = pd.DataFrame(rows, columns=["week", "pool_id", "model", "forecast", "actual", "naive"])
    return frame.assign(origin=[ORIGIN + timedelta(days=7 * week) for week in frame["week"]])


def test_a_ratio_is_the_error_of_all_series_over_that_of_the_last_value() -> None:
    made = cells((0, "a", "m", 3.0, 2.0, 4.0), (0, "b", "m", 4.0, 5.0, 6.0), (1, "a", "m", 1.0, 2.0, 3.0))
    found = statistics.accuracy(made, "m", 1)
    assert (found.n_forecasts, found.mae, found.ratio) == (3, pytest.approx(1.0), pytest.approx(3 / 4))
    assert found.median_ratio == pytest.approx(np.median([2 / 3, 1.0]))
    assert found.share_beaten == pytest.approx(1 / 2), "a tie is not beaten"


def test_two_models_are_compared_where_both_have_a_forecast() -> None:
    made = cells((0, "a", "m", 3.0, 2.0, 4.0), (0, "a", "other", 9.0, 2.0, 4.0), (0, "b", "m", None, 5.0, 6.0))
    made = pd.concat([made, cells((0, "b", "other", 5.0, 5.0, 6.0), (1, "a", "m", 1.0, np.nan, 2.0))])
    errors = statistics.paired_errors(made, ("m", "other", NAIVE))
    assert errors[["m", "other", NAIVE]].to_numpy().tolist() == [[1.0, 7.0, 2.0]]
    assert statistics.difference(made, "m", "other", 1).difference == pytest.approx((1.0 - 7.0) / 2.0)


def test_the_best_model_is_the_one_with_the_lowest_ratio() -> None:
    made = cells((0, "a", "good", 2.5, 2.0, 4.0), (0, "a", "bad", 3.9, 2.0, 4.0))
    assert statistics.best_of(made, ["bad", "good"]) == "good"


def test_the_bootstrap_of_single_weeks_is_as_wide_as_the_normal_theory_of_a_sum_says() -> None:
    weeks = np.random.default_rng(3).normal(10.0, 2.0, (400, 1))
    drawn = statistics.block_bootstrap(weeks, 1)[:, 0]
    low, high = np.quantile(drawn, statistics.INTERVAL)
    expected = 2.0 * norm.ppf(0.975) * weeks.std() * np.sqrt(len(weeks))
    assert high - low == pytest.approx(expected, rel=0.05)
    assert drawn.mean() == pytest.approx(weeks.sum(), rel=0.005)


def test_blocks_keep_what_hangs_together_and_so_widen_the_interval() -> None:
    together = np.repeat(np.random.default_rng(4).normal(10.0, 2.0, (80, 1)), 5, axis=0)
    spread = {block: statistics.block_bootstrap(together, block)[:, 0].std() for block in (1, 5)}
    assert spread[5] > 1.5 * spread[1], "five equal weeks are one piece of evidence, not five"
    assert spread[5] / spread[1] < np.sqrt(5.0) * 1.1


def test_every_resample_has_as_many_weeks_as_there_were_and_columns_stay_together() -> None:
    ones = np.ones((31, 1))
    weeks = np.hstack([ones, np.arange(31.0)[:, None], 2.0 * np.arange(31.0)[:, None]])
    drawn = statistics.block_bootstrap(weeks, 5, resamples=200)
    assert set(drawn[:, 0]) == {31.0}
    assert np.array_equal(2.0 * drawn[:, 1], drawn[:, 2])


def test_a_block_is_weeks_in_a_row_round_the_end() -> None:
    drawn = statistics.block_bootstrap(np.eye(12), 12, resamples=50)
    assert np.array_equal(drawn, np.ones((50, 12))), "a block as long as the record holds every week once"
    pairs = statistics.block_bootstrap(np.eye(12), 2, resamples=1)[0]
    assert pairs.sum() == 12
    assert np.all(pairs <= np.roll(pairs, 1) + np.roll(pairs, -1)), "no week comes without a neighbour"


def test_the_same_seed_draws_the_same_weeks() -> None:
    weeks = np.arange(20.0)[:, None]
    first, again = (statistics.block_bootstrap(weeks, 3, resamples=50) for _ in range(2))
    assert np.array_equal(first, again)


@pytest.mark.parametrize(("horizon", "weeks"), [(1, 1), (7, 1), (8, 2), (30, 5)])
def test_a_block_is_long_enough_that_windows_of_different_blocks_do_not_overlap(horizon: int, weeks: int) -> None:
    assert statistics.block_weeks(horizon) == weeks


def test_coverage_counts_only_values_above_zero_and_bands_with_a_width() -> None:
    rows = pd.DataFrame(
        {
            "p10": [1.0, 1.0, 1.0, 2.0, 0.0],
            "p50": [2.0, 2.0, 2.0, 2.0, 3.0],
            "p90": [3.0, 3.0, 3.0, 2.0, 2.0],
            "actual": [3.0, 3.1, 0.0, 2.0, 1.0],
        }
    )
    found = statistics.coverage(rows)
    assert (found.n_forecasts, found.share) == (3, pytest.approx(2 / 3)), "1 outside of 3 that count"
    assert found.mean_width == pytest.approx(2.0)
    assert statistics.crossings(rows) == 1


def test_a_band_without_a_quantile_is_a_crossing() -> None:
    rows = pd.DataFrame({"p10": [1.0, np.nan], "p50": [1.0, 1.0], "p90": [1.0, 2.0]})
    assert statistics.crossings(rows) == 1
