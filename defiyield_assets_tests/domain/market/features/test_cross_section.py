"""Comparison with a benchmark and within a universe: against pandas and numpy, with gaps, ties and unknowns."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defiyield_assets.domain.market.features import benchmark, cross_section, lags
from defiyield_assets.domain.market.features.cross_section import TIE_DECIMALS, percentile_ranks
from defiyield_assets.domain.market.features.panel import Bars, pack
from defiyield_assets.domain.market.features.registry import BAR_METRICS

N = 320


def closes(seed: int = 2, n: int = N) -> np.ndarray:
    """A random walk of prices."""
    return 50.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0.0, 0.02, n)))


def panel(close: np.ndarray, beside: np.ndarray, history: int = 300) -> Bars:
    """One instrument beside its benchmark, every bar new."""
    days = np.datetime64("2023-01-02") + np.arange(len(close))
    values = {"close": close, "benchmark_close": beside}
    column = np.zeros(len(close), dtype=np.intp)
    return pack(column, days, values, np.ones(len(close), dtype=bool), np.array([252.0]), history=history)


def metric(name: str, bars: Bars) -> np.ndarray:
    """The one column of a metric of the benchmark or of lags."""
    found = next(one for one in (*benchmark.METRICS, *lags.METRICS) if one.name == name)
    with np.errstate(all="ignore"):
        return found.calculate(bars)[:, 0]


@pytest.mark.parametrize("n", [60, 252])
def test_correlation_and_beta_are_those_of_pandas(n: int) -> None:
    own, beside = closes(1), closes(2)
    bars = panel(own, beside)
    returns = pd.DataFrame({"own": np.log(own), "beside": np.log(beside)}).diff()
    correlation = returns["own"].rolling(n).corr(returns["beside"])
    beta = returns["own"].rolling(n).cov(returns["beside"]) / returns["beside"].rolling(n).var()
    np.testing.assert_allclose(metric(f"correlation_{n}", bars), correlation, rtol=1e-8)
    np.testing.assert_allclose(metric(f"beta_{n}", bars), beta, rtol=1e-8)
    assert np.isfinite(metric(f"beta_{n}", bars)).argmax() == n, "null until n returns are there"


def test_the_benchmark_moves_with_itself_and_a_double_one_twice_as_much() -> None:
    beside = closes(3)
    assert metric("beta_60", panel(beside, beside))[60:] == pytest.approx(1.0)
    assert metric("correlation_60", panel(beside, beside))[60:] == pytest.approx(1.0)
    assert metric("beta_60", panel(beside**2, beside))[60:] == pytest.approx(2.0)
    assert metric("relative_strength_63", panel(beside, beside))[63:] == pytest.approx(0.0, abs=1e-12)


def test_relative_strength_is_the_return_beyond_the_benchmarks() -> None:
    own, beside = closes(1), closes(2)
    expected = (own[63:] / own[:-63]) / (beside[63:] / beside[:-63]) - 1.0
    found = metric("relative_strength_63", panel(own, beside))
    assert np.isnan(found[:63]).all()
    np.testing.assert_allclose(found[63:], expected, rtol=1e-12)


def test_a_benchmark_that_is_unknown_or_flat_tells_nothing() -> None:
    own, beside = closes(1), closes(2)
    beside[200] = np.nan
    bars = panel(own, beside)
    assert np.isnan(metric("beta_60", bars)[200:261]).all()
    assert np.isfinite(metric("beta_60", bars)[[199, 261]]).all()
    flat = panel(own, np.full(N, 7.0))
    assert np.isnan(metric("beta_60", flat)).all()
    assert np.isnan(metric("correlation_60", flat)).all()


def test_no_later_bar_changes_a_comparison() -> None:
    own, beside = closes(1), closes(2)
    noisy = [np.where(np.arange(N) > 290, values * 3.0, values) for values in (own, beside)]
    for one in benchmark.METRICS:
        before, after = metric(one.name, panel(own, beside)), metric(one.name, panel(*noisy))
        np.testing.assert_array_equal(before[:291], after[:291])
        assert not np.array_equal(before[291:], after[291:])


def test_lags_are_returns_of_earlier_bars() -> None:
    own = closes(1)
    returns = np.concatenate([[np.nan], np.diff(np.log(own))])
    for lag in lags.LAGS:
        found = metric(f"log_return_1_lag_{lag}", panel(own, own))
        np.testing.assert_allclose(
            found, np.concatenate([np.full(lag, np.nan), returns[:-lag]]), rtol=1e-10, atol=1e-14
        )


# --- ranks ---------------------------------------------------------------------------------------------------------
def ranks(values: list[float], groups: list[int] | None = None) -> list[float]:
    """Ranks of values of one group, or of several."""
    codes = np.zeros(len(values), dtype=np.intp) if groups is None else np.array(groups, dtype=np.intp)
    return list(percentile_ranks(np.array(values, dtype=float), codes))


def test_ranks_run_from_the_least_to_the_greatest_and_ties_share() -> None:
    assert ranks([0.3, -0.1, 0.2]) == [1.0, 0.0, 0.5]
    assert ranks([0.2, 0.2, 0.2]) == [0.5, 0.5, 0.5]
    assert ranks([0.1, 0.2, 0.2, 0.3, 0.4]) == [0.0, 0.375, 0.375, 0.75, 1.0]


def test_the_unknown_the_lonely_and_the_unlisted_have_no_rank_and_move_none() -> None:
    nan = float("nan")
    np.testing.assert_array_equal(ranks([nan, 2.0, 1.0]), [nan, 1.0, 0.0])
    np.testing.assert_array_equal(ranks([5.0, nan]), [nan, nan])
    np.testing.assert_array_equal(ranks([9.0, 2.0, 1.0, 8.0], [-1, 0, 0, -1]), [nan, 1.0, 0.0, nan])
    assert ranks([]) == []


def test_groups_do_not_see_each_other() -> None:
    assert ranks([1.0, 100.0, 2.0, 50.0], [7, 3, 7, 3]) == [0.0, 1.0, 1.0, 0.0]


def test_the_last_bits_of_a_restated_quotient_reorder_nobody() -> None:
    assert ranks([0.1 + 0.2, 0.3, 0.5]) == [0.25, 0.25, 1.0]
    assert 0.1 + 0.2 != 0.3


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.one_of(st.none(), st.integers(-3, 3), st.floats(-1, 1, width=32))), max_size=40
    )
)
def test_ranks_are_those_of_pandas(rows: list[tuple[int, float | None]]) -> None:
    frame = pd.DataFrame(rows, columns=["group", "value"]).astype({"value": float})
    rounded = frame["value"].round(TIE_DECIMALS).groupby(frame["group"])
    known = rounded.transform("count")
    expected = ((rounded.rank(method="average") - 1.0) / (known - 1)).where(known > 1)
    found = percentile_ranks(frame["value"].to_numpy(), frame["group"].to_numpy(dtype=np.intp))
    np.testing.assert_allclose(found, expected.to_numpy(dtype=float), rtol=1e-12)


def test_every_ranked_column_is_a_metric_with_the_same_warm_up() -> None:
    warm_up = {one.name: one.warm_up for one in BAR_METRICS}
    for one in cross_section.METRICS:
        assert {name: warm_up[name] for name in one.reads} == dict.fromkeys(one.reads, one.warm_up)
        values = {name: np.array([1.0, 3.0, 2.0]) for name in one.reads}
        assert one.calculate(values, np.zeros(3, dtype=np.intp)).tolist() == [0.0, 1.0, 0.5]


def test_rounding_of_a_smooth_accrual_is_no_movement_on_either_side() -> None:
    """A coin that accrues the same every day has returns that differ in their last bits only."""
    smooth = 1.0001 ** np.arange(300.0)
    walk = 100.0 * np.exp(np.cumsum(np.random.default_rng(4).normal(0, 0.01, 300)))
    assert np.isnan(metric("correlation_60", panel(smooth, walk))).all()
    assert np.isnan(metric("correlation_60", panel(walk, smooth))).all()
    assert np.isnan(metric("beta_60", panel(walk, smooth))).all()
    assert metric("beta_60", panel(smooth, walk))[60:] == pytest.approx(0.0, abs=1e-12)
