"""Bands from past errors: coverage of known laws, order, what is borrowed from whom, and what must not matter."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_strategies

from defiyield_assets.domain.forecasting.backtests import Backtest
from defiyield_assets.domain.forecasting.intervals import (
    bands,
    bands_of_models,
    corrected_tail,
    horizon_means,
    independent_count,
    weighted_quantiles,
)
from defiyield_assets.domain.forecasting.models import from_scale, to_scale

MODEL = "some model"
LEVEL = 2.0
"""Forecast on the model scale at all times: about 6.4 %."""
ORIGINS = 26


def make_backtest(errors: np.ndarray, horizon_days: int = 1, scales: np.ndarray | None = None) -> Backtest:
    """Every forecast is LEVEL, the actual values are off by `errors` (series, weekly origins) on the model scale."""
    n_series, n_origins = errors.shape
    level = from_scale("apy", np.full(errors.shape, LEVEL))
    return Backtest(
        target="apy",
        horizon_days=horizon_days,
        origins=7 * np.arange(n_origins, dtype=np.int64),
        forecasts={MODEL: level},
        actual=from_scale("apy", LEVEL + errors),
        scales=np.full(errors.shape, 0.1) if scales is None else scales,
        now={MODEL: from_scale("apy", np.full(n_series, LEVEL))},
        scale_now=np.full(n_series, 0.1) if scales is None else scales[:, -1],
    )


def offsets(backtest: Backtest, groups: np.ndarray | None = None) -> np.ndarray:
    """The band on the model scale, relative to the forecast."""
    of_series = np.ones(len(backtest.scale_now), dtype=np.int64) if groups is None else groups
    band = bands_of_models(backtest, of_series, [MODEL], upper=np.inf)[MODEL]
    return to_scale("apy", band) - LEVEL


def covered(band: np.ndarray, fresh: np.ndarray) -> float:
    return float(np.mean((band[0] <= fresh) & (fresh <= band[2])))


def widths(band: np.ndarray) -> np.ndarray:
    return band[2] - band[0]


def test_horizon_mean_is_the_mean_of_the_observed_next_days() -> None:
    values = np.array([[1.0, 2.0, np.nan, 4.0, np.nan, np.nan]])
    np.testing.assert_array_equal(horizon_means(values, 2), [[2.0, 4.0, 4.0, np.nan, np.nan, np.nan]])
    np.testing.assert_array_equal(horizon_means(values, 7), np.full((1, 6), np.nan))


@pytest.mark.parametrize("law", ["normal", "t3", "skewed"])
def test_exchangeable_errors_of_any_law_are_covered_four_times_in_five(law: str) -> None:
    random = np.random.default_rng(3)

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        drawn = {
            "normal": random.normal(0.0, 1.0, shape),
            "t3": random.standard_t(3, shape),
            "skewed": random.exponential(1.0, shape) - 1.0,
        }
        return np.clip(0.1 * drawn[law], -LEVEL / 2, LEVEL)

    found, below, n_trials, n_series = [], [], 60, 40
    for _ in range(n_trials):
        band, fresh = offsets(make_backtest(draw((n_series, ORIGINS)))), draw((n_series,))
        found.append(covered(band, fresh))
        below.append(np.mean(fresh < band[0]))
    four_deviations = 4.0 * np.sqrt(0.8 * 0.2 / (n_trials * n_series))
    assert np.mean(found) == pytest.approx(0.80, abs=four_deviations)
    # A skewed law has its tails drawn towards each other only as far as little evidence asks for.
    assert np.mean(below) == pytest.approx(0.10, abs=0.02 if law != "skewed" else 0.04)


def test_what_moves_all_series_together_is_covered_too() -> None:
    random = np.random.default_rng(5)
    found = []
    for _ in range(300):
        shocks = random.normal(0.0, 0.1, 13)
        errors = shocks[None, :12] + random.normal(0.0, 0.02, (30, 12))
        found.append(covered(offsets(make_backtest(errors)), shocks[12] + random.normal(0.0, 0.02, 30)))
    assert np.mean(found) == pytest.approx(0.80, abs=0.05)


def test_windows_that_share_days_are_covered_too() -> None:
    random = np.random.default_rng(6)
    found = []
    for _ in range(200):
        walk = np.cumsum(random.normal(0.0, 0.02, (6, 7 * ORIGINS + 60)), axis=1)
        columns = 7 * np.arange(ORIGINS)
        errors = (horizon_means(walk, 30) - walk)[:, columns]
        last = columns[-1] + 30
        fresh = (horizon_means(walk, 30) - walk)[:, last]
        found.append(covered(offsets(make_backtest(errors, horizon_days=30)), fresh))
    assert np.mean(found) == pytest.approx(0.80, abs=0.04)


def test_without_any_past_error_the_band_is_that_of_a_random_walk() -> None:
    random = np.random.default_rng(7)
    for horizon in (1, 7, 30):
        walk = np.cumsum(random.normal(0.0, 0.02, (4000, 31)), axis=1)
        mean_change = 0.02 * np.sqrt(2.0 / np.pi)
        nothing = make_backtest(np.full((4000, 3), np.nan), horizon, scales=np.full((4000, 3), mean_change))
        fresh = (horizon_means(walk, horizon) - walk)[:, 0]
        assert covered(offsets(nothing), fresh) == pytest.approx(0.80, abs=0.03)


@pytest.mark.parametrize("n", [3, 5, 9, 20, 100, 10_000])
def test_the_corrected_tail_is_that_of_students_prediction_interval(n: int) -> None:
    exact = scipy.stats.norm.sf(scipy.stats.t.ppf(0.9, n - 1) * np.sqrt(1.0 + 1.0 / n))
    assert corrected_tail(n) == pytest.approx(exact, rel=0.01, abs=0.002)


def test_quantiles_of_equal_weights_are_those_of_numpy() -> None:
    values = np.random.default_rng(8).normal(size=57)
    probabilities = (0.03, 0.1, 0.5, 0.9)
    expected = np.quantile(values, probabilities, method="hazen")
    np.testing.assert_allclose(weighted_quantiles(values, np.full(57, 0.25), probabilities), expected)


def test_recent_errors_count_for_more() -> None:
    random = np.random.default_rng(9)
    quiet_then_wild = random.normal(0.0, 0.1, (40, ORIGINS)) * np.where(np.arange(ORIGINS) < 13, 0.3, 1.0)
    wild_then_quiet = quiet_then_wild[:, ::-1]
    assert (
        widths(offsets(make_backtest(quiet_then_wild))) > widths(offsets(make_backtest(wild_then_quiet)))
    ).mean() > 0.9


def test_series_that_move_as_one_count_as_one() -> None:
    random = np.random.default_rng(10)
    alone, together = random.normal(size=(30, 20)), np.repeat(random.normal(size=(1, 20)), 30, axis=0)
    everything, weights = np.ones((30, 20), dtype=np.bool_), np.ones(20)
    assert independent_count(together, everything, weights, 1.0) == pytest.approx(20.0)
    assert independent_count(alone, everything, weights, 1.0) > 300.0
    assert independent_count(together, everything, weights, 0.5) == pytest.approx(1.0 + 19.0 * 0.5)
    assert independent_count(alone[:1], everything[:1], 0.5 ** np.arange(20), 1.0) == pytest.approx(3.0, abs=0.01)
    assert independent_count(alone, ~everything, weights, 1.0) == 0.0


def test_a_series_without_history_borrows_from_its_group_and_a_group_without_one_from_all() -> None:
    random = np.random.default_rng(11)
    groups = np.repeat(np.array([1, 3]), 31)
    errors = random.normal(0.0, 0.1, (62, ORIGINS)) * np.where(groups == 3, 5.0, 1.0)[:, None]
    errors[[0, 31]] = np.nan
    band = widths(offsets(make_backtest(errors / 4.0), groups))
    assert band[0] == pytest.approx(np.median(band[1:31]), rel=0.4)
    assert band[31] == pytest.approx(np.median(band[32:]), rel=0.4)
    assert band[31] > 2.5 * band[0]
    moved = np.append(groups[:-1], 2)
    errors[61] = np.nan
    band = widths(offsets(make_backtest(errors / 4.0), moved))
    assert band[0] < band[61] < band[31]


def test_a_series_that_errs_more_than_its_group_has_a_wider_band() -> None:
    random = np.random.default_rng(12)
    errors = random.normal(0.0, 0.05, (30, ORIGINS))
    errors[0] *= 4.0
    errors[1] = 0.0
    band = widths(offsets(make_backtest(errors)))
    usual = np.median(band[2:])
    assert band[0] > 2.0 * usual
    assert 0.0 < band[1] < 0.5 * usual


def test_a_volatile_day_widens_the_band() -> None:
    errors = np.random.default_rng(13).normal(0.0, 0.05, (30, ORIGINS))
    calm = make_backtest(errors)
    stormy = replace(calm, scale_now=np.where(np.arange(30) == 4, 0.4, calm.scale_now))
    np.testing.assert_allclose(widths(offsets(stormy))[4], 2.0 * widths(offsets(calm))[4])
    np.testing.assert_array_equal(np.delete(offsets(stormy), 4, axis=1), np.delete(offsets(calm), 4, axis=1))


def test_the_first_week_of_a_series_has_the_band_of_first_weeks() -> None:
    random = np.random.default_rng(14)
    errors = random.normal(0.0, 0.05, (60, ORIGINS))
    born = np.arange(40) % (ORIGINS - 1) + 1
    for series, origin in enumerate(born):
        errors[series, :origin] = np.nan
        errors[series, origin] *= 4.0
    errors[59] = np.nan
    backtest = make_backtest(errors)
    seen = np.where(np.isnan(errors), np.nan, backtest.forecasts[MODEL])
    band = widths(offsets(replace(backtest, forecasts={MODEL: seen})))
    assert band[59] > 2.0 * np.median(band[40:59])


def test_what_never_paid_has_a_band_of_no_width_at_zero_and_changes_nothing_for_others() -> None:
    random = np.random.default_rng(15)
    backtest = make_backtest(random.normal(0.0, 0.1, (20, ORIGINS)))
    zeros = np.zeros((80, ORIGINS))
    with_zeros = replace(
        backtest,
        forecasts={MODEL: np.vstack([backtest.forecasts[MODEL], zeros])},
        actual=np.vstack([backtest.actual, zeros]),
        scales=np.vstack([backtest.scales, zeros + 1e-6]),
        now={MODEL: np.append(backtest.now[MODEL], zeros[:, 0])},
        scale_now=np.append(backtest.scale_now, zeros[:, 0] + 1e-6),
    )
    band = bands_of_models(with_zeros, np.ones(100, dtype=np.int64), [MODEL], upper=10.0)[MODEL]
    np.testing.assert_array_equal(band[:, 20:], 0.0)
    alone = bands_of_models(backtest, np.ones(20, dtype=np.int64), [MODEL], upper=10.0)[MODEL]
    np.testing.assert_array_equal(band[:, :20], alone)


def test_origins_closer_than_the_horizon_are_less_evidence() -> None:
    errors = np.random.default_rng(17).normal(0.0, 0.1, (3, ORIGINS))
    errors[0] *= 4.0
    daily, monthly = (widths(offsets(make_backtest(errors, horizon))) for horizon in (1, 30))
    assert (monthly[1:] > 1.05 * daily[1:]).all()
    assert monthly[0] / monthly[1] < 0.9 * daily[0] / daily[1], "a series' own errors weigh less too"


def test_when_all_moved_one_way_the_next_may_move_the_other() -> None:
    shocks = -np.abs(np.random.default_rng(18).normal(0.2, 0.05, (1, 6)))
    band = offsets(make_backtest(np.repeat(shocks, 20, axis=0)))
    assert (band[0] < 0.0).all()
    assert (band[2] > 0.3 * np.abs(band[0])).all()


def test_equal_errors_do_not_cross_by_rounding() -> None:
    for error in np.random.default_rng(19).uniform(-1.0, 1.0, 60):
        p10, p50, p90 = bands(make_backtest(np.full((3, 5), error)), [MODEL] * 3, [1, 1, 2], upper=10.0)
        assert (p10 <= p50).all()
        assert (p50 <= p90).all()


def test_a_band_is_finite_however_absurd_the_past_was() -> None:
    absurd = make_backtest(np.zeros((3, 5)))
    absurd = replace(
        absurd,
        target="tvl_usd",
        actual=np.full((3, 5), 1e250),
        now={MODEL: np.full(3, 1e250)},
        scale_now=np.full(3, 9.0),
    )
    band = bands(absurd, [MODEL] * 3, [1, 1, 2], upper=np.inf)
    assert np.isfinite(band).all()


def test_the_order_of_series_does_not_change_a_bit_with_equal_errors_either() -> None:
    random = np.random.default_rng(20)
    errors = np.vstack([random.normal(0.0, 0.1, (30, 9)), random.normal(0.0, 0.1, (30, 9)).round(1)])
    errors[5:45, :4] = np.nan
    errors[5:45, 4] *= 5.0
    groups, volatility = random.integers(1, 3, 60), random.uniform(0.05, 0.2, (60, 9)).round(1)
    backtest = make_backtest(errors, scales=volatility)
    backtest = replace(backtest, forecasts={MODEL: np.where(np.isnan(errors), np.nan, backtest.forecasts[MODEL])})
    expected = offsets(backtest, groups)
    for _ in range(10):
        order = random.permutation(60)
        shuffled = replace(
            backtest,
            forecasts={MODEL: backtest.forecasts[MODEL][order]},
            actual=backtest.actual[order],
            scales=backtest.scales[order],
            scale_now=backtest.scale_now[order],
        )
        np.testing.assert_array_equal(offsets(shuffled, groups[order]), expected[:, order])


def test_a_series_of_which_no_movement_is_known_is_taken_to_be_as_usual() -> None:
    errors = np.random.default_rng(21).normal(0.0, 0.05, (30, ORIGINS))
    errors[:2] = np.nan
    scales = np.full(errors.shape, 0.1)
    scales[0] = 1e-6
    band = offsets(make_backtest(errors, scales=scales))
    np.testing.assert_array_equal(band[:, 0], band[:, 1])


def test_nothing_is_known_to_be_new_at_the_first_origin() -> None:
    errors = np.random.default_rng(22).normal(0.0, 0.05, (30, ORIGINS))
    errors[:, 0] *= 10.0
    backtest = make_backtest(errors)
    backtest.forecasts[MODEL][29] = np.nan
    band = widths(offsets(backtest))
    assert band[29] == pytest.approx(np.median(band[:29]), rel=0.3)


def test_what_never_paid_stays_at_zero_where_others_start_to_pay() -> None:
    backtest = make_backtest(np.zeros((10, ORIGINS)))
    started = np.zeros((10, ORIGINS))
    started[:5, ::2] = 0.03
    backtest = replace(backtest, forecasts={MODEL: started * 0.0}, actual=started, now={MODEL: np.zeros(10)})
    band = bands(backtest, [MODEL] * 10, [1] * 10, upper=10.0)
    assert (band[2, :5] > 0.0).all()
    np.testing.assert_array_equal(band[:, 5:], 0.0)


def test_each_series_is_read_under_its_own_model() -> None:
    random = np.random.default_rng(16)
    backtest = make_backtest(random.normal(0.0, 0.05, (10, ORIGINS)))
    worse = from_scale("apy", LEVEL + random.normal(0.0, 0.3, (10, ORIGINS)))
    both = replace(
        backtest,
        forecasts={**backtest.forecasts, "worse": worse, "absent": worse},
        now={**backtest.now, "worse": backtest.now[MODEL], "absent": np.full(10, np.nan)},
    )
    groups = [1] * 10
    of_models = bands_of_models(both, groups, ["worse", MODEL], upper=10.0)
    band = bands(both, [MODEL, "worse"] * 4 + ["absent", MODEL], groups, upper=10.0)
    np.testing.assert_array_equal(band[:, 0:8:2], of_models[MODEL][:, 0:8:2])
    np.testing.assert_array_equal(band[:, 1:8:2], of_models["worse"][:, 1:8:2])
    assert (widths(of_models["worse"]) > widths(of_models[MODEL])).all()
    assert np.isnan(band[:, 8]).all()


@st.composite
def any_backtest(draw: st.DrawFn) -> tuple[Backtest, np.ndarray, float]:
    """Any evidence at all: gaps, zeros, absurd values, few or no origins."""
    shape = (draw(st.integers(1, 6)), draw(st.integers(0, 8)))
    target = draw(st.sampled_from(["apy", "tvl_usd"]))
    most = 12.0 if target == "apy" else 1e11
    value = st.just(0.0) | st.floats(0.0, most) | st.just(np.nan)
    volatility = st.just(1e-6) | st.floats(1e-6, 5.0)

    def matrix(size: tuple[int, ...] | int, elements: st.SearchStrategy[float]) -> np.ndarray:
        return draw(np_strategies.arrays(np.float64, size, elements=elements))

    backtest = Backtest(
        target=target,
        horizon_days=draw(st.sampled_from([1, 7, 30])),
        origins=7 * np.arange(shape[1], dtype=np.int64),
        forecasts={MODEL: matrix(shape, value)},
        actual=matrix(shape, value),
        scales=matrix(shape, volatility),
        now={MODEL: matrix(shape[0], st.floats(0.0, most))},
        scale_now=matrix(shape[0], volatility),
    )
    groups = draw(np_strategies.arrays(np.int64, shape[0], elements=st.integers(1, 4)))
    return backtest, groups, 10.0 if target == "apy" else np.inf


@given(any_backtest())
@settings(max_examples=60, deadline=None)
def test_quantiles_never_cross_and_stay_within_bounds(case: tuple[Backtest, np.ndarray, float]) -> None:
    backtest, groups, upper = case
    p10, p50, p90 = bands_of_models(backtest, groups, [MODEL], upper=upper)[MODEL]
    assert (p10 >= 0.0).all()
    assert (p10 <= p50).all()
    assert (p50 <= p90).all()
    assert (p90 <= upper).all()
    assert np.isfinite(p90).all()


@given(any_backtest(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_series_does_not_change_a_bit(case: tuple[Backtest, np.ndarray, float], random: Random) -> None:
    backtest, groups, upper = case
    order = list(range(len(groups)))
    random.shuffle(order)
    shuffled = replace(
        backtest,
        forecasts={MODEL: backtest.forecasts[MODEL][order]},
        actual=backtest.actual[order],
        scales=backtest.scales[order],
        now={MODEL: backtest.now[MODEL][order]},
        scale_now=backtest.scale_now[order],
    )
    expected = bands_of_models(backtest, groups, [MODEL], upper=upper)[MODEL][:, order]
    np.testing.assert_array_equal(bands_of_models(shuffled, groups[order], [MODEL], upper=upper)[MODEL], expected)


@given(any_backtest(), np_strategies.arrays(np.float64, (6, 8), elements=st.floats(0.0, 12.0)))
@settings(max_examples=40, deadline=None)
def test_forecasts_whose_horizon_is_not_over_say_nothing(
    case: tuple[Backtest, np.ndarray, float], noise: np.ndarray
) -> None:
    backtest, groups, upper = case
    known = backtest.forecasts[MODEL]
    is_open = np.isnan(backtest.actual) & ~np.isnan(known)
    changed = np.where(is_open, noise[: known.shape[0], : known.shape[1]], known)
    expected = bands_of_models(backtest, groups, [MODEL], upper=upper)[MODEL]
    found = bands_of_models(replace(backtest, forecasts={MODEL: changed}), groups, [MODEL], upper=upper)[MODEL]
    np.testing.assert_array_equal(found, expected)
