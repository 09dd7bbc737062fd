"""Windows of days over matrices [pool, day]: each window is computed from its own values only.

Lives here: the arithmetic that quality and metrics share. Not here: how matrices come about and what was known when
(panels.py), the rules. No running sums: the result of a day must not depend, to the last bit, on how many days were
loaded before it. `last` everywhere: only windows that end on one of so many days at the right end.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]

MAD_TO_SIGMA = 1.4826
"""Scales a median absolute deviation to the standard deviation of a normal distribution (Rousseeuw & Croux 1993)."""
MIN_SPIKE_DAYS = 7
"""With fewer observed days before it, no value is called a spike."""
SPIKE_WINDOW = 30
Scalar = TypeVar("Scalar", bound=np.generic)


def trailing(
    values: npt.NDArray[Scalar], width: int, fill: object = np.nan, last: int | None = None
) -> npt.NDArray[Scalar]:
    """For each (pool, day) the `width` values ending that day, oldest first; before the first column `fill`."""
    needed = values if last is None else values[:, -(last + width - 1) :]
    missing = width - 1 if last is None else last + width - 1 - needed.shape[1]
    padding = np.full((values.shape[0], missing), fill, dtype=values.dtype)
    padded = np.concatenate([padding, needed], axis=1)
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(padded, width, axis=1))


def mean(values: Floats, width: int, last: int | None = None) -> Floats:
    """Mean of the observed values of the last `width` days; null when none was observed."""
    windows = trailing(values, width, last=last)
    count = np.isfinite(windows).sum(axis=-1)
    return _divide(np.nansum(windows, axis=-1), count)


def deviation(values: Floats, width: int, minimum: int = 3, last: int | None = None) -> Floats:
    """Sample standard deviation (ddof 1) of the observed values of the last `width` days; null below `minimum`
    values."""
    windows = trailing(values, width, last=last)
    count = np.isfinite(windows).sum(axis=-1)
    centre = _divide(np.nansum(windows, axis=-1), count)
    squares = np.nansum((windows - centre[..., None]) ** 2, axis=-1)
    return np.where(count >= minimum, np.sqrt(_divide(squares, count - 1)), np.nan)


def decayed_mean(values: Floats, width: int, half_life: float, last: int | None = None) -> Floats:
    """Weighted mean of the observed values of the last `width` days, weight 0.5 ** (age in days / half_life)."""
    windows = trailing(values, width, last=last)
    weights = 0.5 ** (np.arange(width - 1, -1, -1) / half_life)
    total = (np.isfinite(windows) * weights).sum(axis=-1)
    return _divide(np.nansum(windows * weights, axis=-1), total)


def counted(flags: Flags, width: int, last: int | None = None) -> Counts:
    """How many of the last `width` days are flagged."""
    result: Counts = trailing(flags, width, fill=False, last=last).sum(axis=-1).astype(np.int64)
    return result


def before(values: Floats, lag: int = 1) -> Floats:
    """The values `lag` days earlier; null for the first columns."""
    shifted = np.full_like(values, np.nan)
    shifted[:, lag:] = values[:, :-lag]
    return shifted


def median(windows: Floats) -> tuple[Floats, Counts]:
    """Median of the observed values along the last axis, and how many there are; null when there are none."""
    count = np.isfinite(windows).sum(axis=-1)
    ordered = np.sort(windows, axis=-1)  # null sorts to the end
    low = np.maximum((count - 1) // 2, 0)[..., None]
    high = np.minimum(count // 2, windows.shape[-1] - 1)[..., None]
    middle = (np.take_along_axis(ordered, low, -1) + np.take_along_axis(ordered, high, -1))[..., 0] / 2.0
    return np.where(count > 0, middle, np.nan), count


def spike_threshold(apy: Floats, multiple: float, robust_z: float, last: int | None = None) -> Floats:
    """The APY above which a value is a spike, from the 30 days before it; infinite where nothing can be said.

    A spike is above `multiple` times the median AND more than `robust_z` robust z-scores above it, with z = (x -
    median) / (1.4826 * MAD) (Iglewicz & Hoaglin 1993), so the threshold is the larger of the two limits. When the MAD
    is 0 every value above the median is infinitely many z away and the multiple alone decides. When the median is not
    positive a multiple of it has no meaning (a pool that paid nothing begins to pay), and below 7 observed days there
    is no history: no spike.
    """
    earlier = trailing(before(apy), SPIKE_WINDOW, last=last)
    centre, count = median(earlier)
    spread, _ = median(np.abs(earlier - centre[..., None]))
    threshold = np.maximum(multiple * centre, centre + robust_z * MAD_TO_SIGMA * spread)
    known = (count >= MIN_SPIKE_DAYS) & (centre > 0)
    return np.where(known, threshold, np.inf)


def winsorised(apy: Floats, multiple: float, robust_z: float, plausible_max: float, last: int | None = None) -> Floats:
    """APY as statistics and forecasts use it: cut at the spike threshold and at the plausible maximum; null stays
    null."""
    return cut(apy if last is None else apy[:, -last:], spike_threshold(apy, multiple, robust_z, last), plausible_max)


def cut(apy: Floats, threshold: Floats, plausible_max: float) -> Floats:
    """APY cut at a known spike threshold and at the plausible maximum; null stays null."""
    return np.where(np.isnan(apy), np.nan, np.minimum(apy, np.minimum(threshold, plausible_max)))


def _divide(numerator: Floats, denominator: npt.NDArray[np.number]) -> Floats:
    """Division with null where the denominator is not positive."""
    usable = denominator > 0
    quotient: Floats = np.where(usable, numerator / np.where(usable, denominator, 1), np.nan)
    return quotient
