"""Kernels over windows against pandas, and that a value's bits depend on its window alone."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.market.features import windows
from defiyield_assets.domain.market.features.panel import Matrix

RANDOM = np.random.default_rng(5)
X = np.exp(np.cumsum(RANDOM.normal(0.0, 0.03, (330, 7)), axis=0))
Y = RANDOM.normal(0.0, 1.0, X.shape)
Kernel = Callable[[Matrix, int, int], Matrix]
KERNELS: dict[str, Kernel] = {
    "sum": windows.rolling_sum,
    "mean": windows.rolling_mean,
    "max": windows.rolling_max,
    "min": windows.rolling_min,
    "std": windows.rolling_std,
    "zscore": windows.rolling_zscore,
    "slope": windows.rolling_slope,
    "max_drawdown": windows.rolling_max_drawdown,
    "mean_deviation": lambda x, n, out: windows.rolling_mean_deviation(x, n, out)[1],
    "argmax_age": windows.argmax_age,
    "argmin_age": windows.argmin_age,
    "rank": windows.rolling_rank,
    "corr": lambda x, n, out: windows.rolling_corr(x, Y[-len(x) :, : x.shape[1]], n, out),
    "beta": lambda x, n, out: windows.rolling_beta(x, Y[-len(x) :, : x.shape[1]], n, out),
    "lowest": lambda x, n, out: windows.rolling_quantile_low(x, n, 2, out)[1],
}
REFERENCES: dict[str, Callable[[np.ndarray], float]] = {
    "sum": np.sum,
    "mean": np.mean,
    "max": np.max,
    "min": np.min,
    "std": lambda y: float(np.std(y, ddof=1)),
    "zscore": lambda y: float((y[-1] - y.mean()) / np.std(y, ddof=1)),
    "slope": lambda y: float(np.polyfit(np.arange(len(y)), y, 1)[0]),
    "max_drawdown": lambda y: float((1.0 - y / np.maximum.accumulate(y)).max()),
    "mean_deviation": lambda y: float(np.abs(y - y.mean()).mean()),
    "argmax_age": lambda y: float(np.argmax(y[::-1])),
    "argmin_age": lambda y: float(np.argmin(y[::-1])),
    "rank": lambda y: float((y <= y[-1]).mean()),
    "lowest": lambda y: float(np.sort(y)[1]),
}
every_kernel = pytest.mark.parametrize("name", KERNELS)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("n", [2, 3, 14, 20, 63])
def test_kernels_are_what_pandas_makes_of_each_window(name: str, n: int) -> None:
    expected = pd.DataFrame(X).rolling(n).apply(REFERENCES[name], raw=True).to_numpy()[n - 1 :]
    np.testing.assert_allclose(KERNELS[name](X, n, len(X) - n + 1), expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("n", [5, 60])
def test_correlation_and_beta_are_those_of_pandas(n: int) -> None:
    x, y = pd.DataFrame(X), pd.DataFrame(Y)
    out = len(X) - n + 1
    np.testing.assert_allclose(windows.rolling_corr(X, Y, n, out), x.rolling(n).corr(y).to_numpy()[n - 1 :], rtol=1e-8)
    beta = (x.rolling(n).cov(y) / y.rolling(n).var()).to_numpy()[n - 1 :]
    np.testing.assert_allclose(windows.rolling_beta(X, Y, n, out), beta, rtol=1e-8, atol=1e-12)


@every_kernel
@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 60), start=st.integers(0, 200), length=st.integers(65, 130), column=st.integers(0, 6))
def test_bits_do_not_depend_on_the_shape(name: str, n: int, start: int, length: int, column: int) -> None:
    whole = KERNELS[name](X, n, len(X) - n + 1)
    rows, out = slice(start, start + length), 1 + length % 5
    x, y = np.ascontiguousarray(X[rows, column:]), np.ascontiguousarray(Y[rows, column:])
    beside = {
        "corr": lambda: windows.rolling_corr(x, y, n, out),
        "beta": lambda: windows.rolling_beta(x, y, n, out),
    }
    part = beside[name]() if name in beside else KERNELS[name](x, n, out)
    end = start + length
    np.testing.assert_array_equal(part, whole[end - n + 1 - out : end - n + 1, column:])


@every_kernel
def test_a_null_makes_only_the_windows_null_that_hold_it(name: str) -> None:
    holed, n = X.copy(), 20
    holed[100, 3] = np.nan
    with np.errstate(invalid="ignore"):
        found, whole = (KERNELS[name](matrix, n, len(X) - n + 1) for matrix in (holed, X))
    holds = np.zeros(found.shape, dtype=bool)
    holds[100 - n + 1 : 101, 3] = True
    assert np.isnan(found[holds]).all()
    np.testing.assert_array_equal(found[~holds], whole[~holds])


def test_equal_numbers_have_exactly_no_spread() -> None:
    flat = np.full((300, 3), 0.1)
    for n in (3, 20, 252):
        assert (windows.rolling_std(flat, n, 5) == 0.0).all()
        assert np.isnan(windows.rolling_zscore(flat, n, 5)).all()
        assert (windows.rolling_max_drawdown(flat, n, 5) == 0.0).all()


def test_a_spread_far_from_zero_keeps_its_digits() -> None:
    x = 1e9 + np.tile([0.0, 1.0], 200)[:, None]
    np.testing.assert_allclose(windows.rolling_std(x, 252, 10), np.std(x[:252], ddof=1), rtol=1e-12)


def test_the_youngest_of_equal_extremes_counts() -> None:
    x = np.array([[1.0], [3.0], [2.0], [3.0], [1.0]])
    assert windows.argmax_age(x, 5, 1)[0, 0] == 1.0
    assert windows.argmin_age(x, 5, 1)[0, 0] == 0.0


def test_a_window_longer_than_the_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="a window of 20 bars for 2 rows needs 21 rows, there are 20"):
        windows.rolling_sum(X[:20], 20, 2)


def test_logarithms_have_the_same_bits_in_any_shape() -> None:
    values = RANDOM.lognormal(0.0, 3.0, 5000)
    whole = windows.log(values[None, :])[0]
    for width in (1, 2, 3, 5, 7, 8, 9, 16, 31, 33):
        for start in (0, 1, 2, 3, 17):
            part = values[start : start + 100 * width].reshape(100, width)
            np.testing.assert_array_equal(windows.log(part).ravel(), whole[start : start + 100 * width])
    assert np.isnan(windows.log(np.array([[0.0, -1.0]]))).all()
