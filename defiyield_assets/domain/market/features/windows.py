"""Statistics over the last n bars of every instrument, whose bits depend on nothing but those n numbers.

Lives here: kernels over matrices (rows are time). Not here: what a metric makes of them (one file per group), values
with memory (recursions.py).

A value is folded from its window by one fixed tree: windows of 1, 2, 4, ... bars are joined pairwise and those that
make up n, the newest and smallest first, are joined in order. The tree is a function of n alone, so that a value has
the same bits in whatever shape it is calculated (one new day, a whole history, any chunk of instruments), at
O(log n) operations per value and with the error of pairwise summation. A window that holds a NaN is NaN, and no
other is.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from defiyield_assets.domain.market.features.panel import Matrix

Parts = tuple[Matrix, ...]
Join = Callable[[Parts, Parts, int, int], Parts]
"""(older, newer, bars of older, bars of newer) -> both as one window."""
VALUES_AT_ONCE = 1 << 17
"""Numbers that a selection holds at a time (1 MiB): what fits the cache."""
ROWS_TIMES_COLUMNS = 1 << 13
"""Numbers of a block that a loop over many lags goes through at a time (64 KiB), so that it stays in the cache."""


def shift(x: Matrix, k: int, out: int) -> Matrix:
    """The values k rows before each of the last `out` rows (a view)."""
    _reach(x, k + 1, out)
    return x[len(x) - out - k : len(x) - k]


def last(x: Matrix, out: int) -> Matrix:
    """The last `out` rows (a view)."""
    return shift(x, 0, out)


def log(x: Matrix) -> Matrix:
    """Natural logarithm; NaN where x <= 0. Over contiguous memory, where numpy's bits are the same for any shape."""
    return np.log(np.where(x > 0, x, np.nan))


def flag(condition: NDArray[np.bool_], *known: Matrix) -> Matrix:
    """1.0 where the condition holds, 0.0 where not, NaN where any of `known` is NaN."""
    result = condition.astype(np.float64)
    for operand in known:
        result[np.isnan(operand)] = np.nan
    return result


def ratio(numerator: Matrix, denominator: Matrix) -> Matrix:
    """numerator / denominator; NaN where the denominator is 0."""
    return numerator / np.where(denominator == 0, np.nan, denominator)


def rolling_sum(x: Matrix, n: int, out: int) -> Matrix:
    """Sum of the last n rows, at each of the last `out` rows."""
    return _fold((x,), n, out, _join_sums)[0]


def rolling_mean(x: Matrix, n: int, out: int) -> Matrix:
    """Mean of the last n rows."""
    return rolling_sum(x, n, out) / n


def rolling_max(x: Matrix, n: int, out: int) -> Matrix:
    """Greatest of the last n rows."""
    return _fold((x,), n, out, _join_maxima)[0]


def rolling_min(x: Matrix, n: int, out: int) -> Matrix:
    """Least of the last n rows."""
    return _fold((x,), n, out, _join_minima)[0]


def rolling_var(x: Matrix, n: int, out: int, ddof: int = 1) -> Matrix:
    """Variance of the last n rows, about their own mean; exactly 0 where all are equal."""
    return _fold((x, _zeros(x)), n, out, _join_moments)[1] / (n - ddof)


def rolling_std(x: Matrix, n: int, out: int, ddof: int = 1) -> Matrix:
    """Standard deviation of the last n rows, about their own mean; exactly 0 where all are equal."""
    return np.sqrt(rolling_var(x, n, out, ddof))


def rolling_zscore(x: Matrix, n: int, out: int, ddof: int = 1, least: float | Matrix = 0.0) -> Matrix:
    """The newest of the last n rows in standard deviations from their mean (itself among them); NaN where the
    deviation is not above `least`, as where all are equal.
    """
    mean, squares = _fold((x, _zeros(x)), n, out, _join_moments)
    deviation = np.sqrt(squares / (n - ddof))
    return (last(x, out) - mean) / np.where(deviation > least, deviation, np.nan)


def rolling_corr(x: Matrix, y: Matrix, n: int, out: int, least: float = 0.0) -> Matrix:
    """Pearson correlation of the last n pairs, within [-1, 1]; NaN where the sample deviation of either side is not
    above `least`, as where it is constant.
    """
    xx, yy, xy = _comoments(x, y, n, out)
    both: Matrix = np.sqrt(_moving(xx, n, least)) * np.sqrt(_moving(yy, n, least))
    return np.clip(ratio(xy, both), -1.0, 1.0)


def rolling_beta(y: Matrix, x: Matrix, n: int, out: int, least: float = 0.0) -> Matrix:
    """Slope of y on x over the last n pairs: cov(x, y) / var(x); NaN where the sample deviation of x is not above
    `least`, as where it is constant.
    """
    xx, _, xy = _comoments(x, y, n, out)
    return ratio(xy, _moving(xx, n, least))


def _moving(squares: Matrix, n: int, least: float) -> Matrix:
    """Sums of n squares about their mean, NaN where the sample deviation is not above `least`."""
    return np.where(np.sqrt(squares / (n - 1)) > least, squares, np.nan)


def rolling_slope(x: Matrix, n: int, out: int) -> Matrix:
    """Least-squares slope of the last n rows on their number: change per bar."""
    products = _fold((x, _zeros(x)), n, out, _join_trends)[1]
    return products / (n * (n * n - 1) / 12.0)


def rolling_max_drawdown(x: Matrix, n: int, out: int) -> Matrix:
    """Deepest fall from a peak inside the last n rows: max of 1 - later / earlier, a fraction >= 0."""
    return _fold((x, x, _zeros(x)), n, out, _join_drawdowns)[2]


def rolling_weighted_sum(x: Matrix, weights: Sequence[float], out: int) -> Matrix:
    """Sum of the last rows by weight, the oldest's first."""
    n = len(weights)
    total = weights[0] * shift(x, n - 1, out)
    for k in range(n - 2, -1, -1):
        total += weights[n - 1 - k] * shift(x, k, out)
    return total


def rolling_ulcer(x: Matrix, n: int, out: int) -> Matrix:
    """Root mean square, over the last n rows, of the fall from the greatest of them so far: a fraction >= 0."""
    _reach(x, n, out)
    found = np.empty((out, x.shape[1]))
    step = max(1, ROWS_TIMES_COLUMNS // max(1, x.shape[1]))
    for start in range(0, out, step):
        rows = min(step, out - start)
        block = x[len(x) - out + start - n + 1 : len(x) - out + start + rows]
        peak, total, fall = block[:rows].copy(), np.zeros((rows, x.shape[1])), np.empty((rows, x.shape[1]))
        for k in range(1, n):
            value = block[k : k + rows]
            np.maximum(peak, value, out=peak)
            np.divide(value, peak, out=fall)
            np.subtract(1.0, fall, out=fall)
            np.multiply(fall, fall, out=fall)
            total += fall
        found[start : start + rows] = total
    return np.sqrt(found / n)


def rolling_mean_deviation(x: Matrix, n: int, out: int) -> tuple[Matrix, Matrix]:
    """Mean of the last n rows and their mean absolute deviation from it; exactly 0 where all are equal."""
    mean = _fold((x, _zeros(x)), n, out, _join_moments)[0]
    total = np.abs(shift(x, n - 1, out) - mean)
    for k in range(n - 2, -1, -1):
        total += np.abs(shift(x, k, out) - mean)
    return mean, total / n


def argmax_age(x: Matrix, n: int, out: int) -> Matrix:
    """Bars since the greatest of the last n rows, 0 = the newest; the youngest of equals."""
    top, age = _fold((x, _zeros(x)), n, out, _join_youngest_max)
    return np.where(np.isnan(top), np.nan, age)


def argmin_age(x: Matrix, n: int, out: int) -> Matrix:
    """Bars since the least of the last n rows, 0 = the newest; the youngest of equals."""
    return argmax_age(-x, n, out)


def rolling_rank(x: Matrix, n: int, out: int) -> Matrix:
    """Share of the last n rows that are not greater than the newest one, in (0, 1]."""
    newest = last(x, out)
    count = np.zeros(newest.shape, dtype=np.int32)
    for k in range(n):
        count += shift(x, k, out) <= newest
    return np.where(np.isnan(rolling_sum(x, n, out)), np.nan, count / n)


def rolling_quantile_low(x: Matrix, n: int, k: int, out: int) -> NDArray[np.float64]:
    """The k lowest of the last n rows, lowest first: (k, out, columns), NaN where the window holds one.

    [k - 1] is the k-th lowest; an average of the tail adds them up in this order.
    """
    _reach(x, n, out)
    by_instrument = np.ascontiguousarray(x[len(x) - out - n + 1 :].T)
    windows = sliding_window_view(by_instrument, n, axis=1)
    lowest = np.empty((x.shape[1], out, k))
    step = max(1, VALUES_AT_ONCE // n)
    for column in range(x.shape[1]):
        for start in range(0, out, step):
            part = windows[column, start : start + step].copy()
            part.partition(k - 1, axis=1)
            lowest[column, start : start + step] = np.sort(part[:, :k], axis=1)
    found = np.ascontiguousarray(lowest.transpose(2, 1, 0))
    found[:, np.isnan(rolling_sum(x, n, out))] = np.nan
    return found


def _zeros(x: Matrix) -> Matrix:
    """Zeros of x's shape; what is NaN in x shows in its own part."""
    return np.zeros_like(x)


def _reach(x: Matrix, n: int, out: int) -> None:
    if n < 1 or out < 0 or len(x) < out + n - 1:
        raise ValueError(f"a window of {n} bars for {out} rows needs {out + n - 1} rows, there are {len(x)}")


def _fold(parts: Parts, n: int, out: int, join: Join) -> Parts:
    """The last n rows of `parts` (windows of one bar) joined, at each of the last `out` rows."""
    _reach(parts[0], n, out)
    rows = out + n - 1
    level = tuple(part[len(part) - rows :] for part in parts)
    folded: Parts = ()
    used, width = 0, 1
    while True:
        # level[i] covers the `width` rows from i on (of `rows`)
        if n & width:
            start = rows - out - used - width + 1
            block = tuple(part[start : start + out] for part in level)
            folded = join(block, folded, width, used) if used else block
            used += width
        if used == n:
            return folded if n > 1 else tuple(part.copy() for part in folded)
        level = join(tuple(part[:-width] for part in level), tuple(part[width:] for part in level), width, width)
        width *= 2


def _join_sums(older: Parts, newer: Parts, _a: int, _b: int) -> Parts:
    return (older[0] + newer[0],)


def _join_maxima(older: Parts, newer: Parts, _a: int, _b: int) -> Parts:
    return (np.maximum(older[0], newer[0]),)


def _join_minima(older: Parts, newer: Parts, _a: int, _b: int) -> Parts:
    return (np.minimum(older[0], newer[0]),)


def _join_moments(older: Parts, newer: Parts, a: int, b: int) -> Parts:
    """(mean, sum of squares about it); Chan, Golub and LeVeque, Algorithms for computing the sample variance, 1983."""
    apart = newer[0] - older[0]
    mean = apart * (b / (a + b))
    mean += older[0]
    squares = apart * apart
    squares *= a * b / (a + b)
    squares += older[1]
    squares += newer[1]
    return mean, squares


def _join_comoments(older: Parts, newer: Parts, a: int, b: int) -> Parts:
    """(mean x, mean y, squares of x, squares of y, products), as `_join_moments`."""
    x, y, weight = newer[0] - older[0], newer[1] - older[1], a * b / (a + b)
    share = b / (a + b)
    return (
        older[0] + x * share,
        older[1] + y * share,
        older[2] + newer[2] + x * x * weight,
        older[3] + newer[3] + y * y * weight,
        older[4] + newer[4] + x * y * weight,
    )


def _join_trends(older: Parts, newer: Parts, a: int, b: int) -> Parts:
    """(mean, sum of products with the bar's number about the means): the blocks' middles are (a + b) / 2 bars apart."""
    apart = newer[0] - older[0]
    return older[0] + apart * (b / (a + b)), older[1] + newer[1] + apart * (a * b / 2.0)


def _join_drawdowns(older: Parts, newer: Parts, _a: int, _b: int) -> Parts:
    """(greatest, least, deepest fall): the fall that spans both is from the older's top to the newer's bottom."""
    spanning = 1.0 - newer[1] / older[0]
    deepest = np.maximum(np.maximum(older[2], newer[2]), spanning)
    return np.maximum(older[0], newer[0]), np.minimum(older[1], newer[1]), deepest


def _join_youngest_max(older: Parts, newer: Parts, _a: int, b: int) -> Parts:
    """(greatest, bars since it)."""
    age = np.where(newer[0] >= older[0], newer[1], older[1] + b)
    return np.maximum(older[0], newer[0]), age


def _comoments(x: Matrix, y: Matrix, n: int, out: int) -> tuple[Matrix, Matrix, Matrix]:
    """Sums of squares of x, of y and of products about the means, over the last n pairs; NaN with either missing."""
    both = _fold((x, y, _zeros(x), _zeros(x), _zeros(x)), n, out, _join_comoments)
    lost = np.isnan(both[0]) | np.isnan(both[1])
    xx, yy, xy = (np.where(lost, np.nan, part) for part in both[2:])
    return xx, yy, xy
