"""What suppliers of a lending pool earn at a given utilisation, fitted to the pool's own history.

Lives here: the kinked curve and when a history may be trusted to show one. Not here: what the curve means for a
position of ours (gains.py), reading histories (orchestration/plan_inputs.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

FIT_DAYS = 90
"""Days of history, the as-of included: governance changes rate models every few months."""
MIN_POINTS = 20
MIN_SPREAD = 0.03
"""Distance of the 5 % and 95 % quantiles of utilisation: what never moved shows no curve."""
MIN_BESIDE = 3
"""Points on either side of a kink; with fewer there is none, and a straight line is fitted."""
MAX_MEDIAN_ERROR = 0.02
MAX_P90_ERROR = 0.10
"""Relative errors on points left out. Measured: rate models on chain leave medians of at most 0.5 % (Aave v3, hourly);
718 simulated histories whose rates are drawn beside their utilisation leave at least 3.2 %
(docs/explanation/allocation.md)."""
MAX_LAST_ERROR = 0.10
"""Relative error on the newest point: after a change of the rate model the old curve is of no use."""
KINK_STEP = 0.005
FOLDS = 3
REWEIGHTINGS = 4
FLOOR = 1e-3
"""Relative residual below which points weigh the same; beyond it the weight falls, so that glitches do not bend it."""
LEAST_SCALE = 0.1
"""Share of the median rate below which errors are no longer relative to the rate itself."""

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class UtilisationCurve:
    """Rate of suppliers per dollar lent out, after the reserve factor: `start` at utilisation 0, linear with `slope` up
    to `kink`, with `slope_above` beyond it. All are continuous annual rates (log1p of an APY); a straight line has its
    kink at 1. This is the interest model of Aave, Compound and their forks: borrowers' rate × (1 - reserve factor).
    """

    kink: float
    start: float
    slope: float
    slope_above: float

    def supply_rate(self, utilisation: float) -> float:
        """Base APY of suppliers: borrow rate × utilisation × (1 - reserve factor), compounded; utilisation 0 … 1."""
        used = min(1.0, max(0.0, utilisation))
        per_dollar = self.start + self.slope * min(used, self.kink) + self.slope_above * max(0.0, used - self.kink)
        return float(np.expm1(per_dollar * used))


def fit_curve(observations: Sequence[tuple[float, float]]) -> UtilisationCurve | None:
    """The curve of (utilisation, base APY) in the order of time, or None when these do not show one.

    Non-negative least squares of relative errors for every kink on a grid, reweighted so that outliers do not count.
    None: fewer than MIN_POINTS, too little spread, or errors on left-out points (every third one in turn) or on the
    newest point above their limits. Points without interest or use, or with more lent than supplied by over 1 %, say
    nothing and are dropped.
    """
    told = [pair for pair in observations if 0.0 < pair[0] <= 1.01 and pair[1] > 0.0]
    if len(told) < MIN_POINTS:
        return None
    used = np.minimum([utilisation for utilisation, _ in told], 1.0)
    rates = np.log1p([apy for _, apy in told])
    if float(np.quantile(used, 0.95) - np.quantile(used, 0.05)) < MIN_SPREAD:
        return None
    curve = _fitted(used, rates)
    errors = _errors(curve, used, rates)
    if not _is_good(errors) or errors[-1] > MAX_LAST_ERROR:
        return None
    return curve if _is_good(_errors_left_out(used, rates)) else None


def fit_curves(histories: pd.DataFrame, day: date, known_at: datetime) -> dict[str, UtilisationCurve]:
    """Curves per pool id from rows of `lending_histories`: the FIT_DAYS up to `day` that were seen by `known_at`.

    Whatever else the frame holds is not looked at; a pool whose history shows no curve is absent.
    """
    first = day - timedelta(days=FIT_DAYS - 1)
    names = ("total_supply_usd", "total_borrow_usd", "apy_base")
    supply, borrow, apy = (histories[name].astype(float) for name in names)
    points = histories[["pool_id", "date"]].assign(used=borrow / supply, apy=apy)
    is_known = histories["date"].between(first, day) & (histories["seen_at"] <= known_at)
    rows = points[is_known & supply.gt(0)].dropna().sort_values(["pool_id", "date"], kind="stable")
    found = {}
    for pool_id, own in rows.groupby("pool_id", sort=True):
        once = own.drop_duplicates("date", keep="last")
        curve = fit_curve(list(zip(once["used"], once["apy"], strict=True)))
        if curve is not None:
            found[str(pool_id)] = curve
    return found


def _fitted(used: Vector, rates: Vector) -> UtilisationCurve:
    """The curve with the smallest mean relative error over the grid of kinks."""
    low, high = np.sort(used)[[MIN_BESIDE - 1, -MIN_BESIDE]]
    grid = np.arange(np.ceil(low / KINK_STEP), np.floor(high / KINK_STEP) + 1) * KINK_STEP
    kinks = [1.0, *(float(kink) for kink in grid if (used < kink).sum() >= MIN_BESIDE <= (used > kink).sum())]
    fits = [_fitted_at(kink, used, rates) for kink in kinks]
    return min(fits, key=lambda fit: fit[0])[1]


def _fitted_at(kink: float, used: Vector, rates: Vector) -> tuple[float, UtilisationCurve]:
    """Mean relative error and the curve with this kink."""
    from scipy.optimize import nnls

    terms = np.column_stack([np.ones_like(used), np.minimum(used, kink), np.maximum(used - kink, 0.0)])
    # a rate far below the usual is a glitch more often than a fact: it must not count for more than it is
    scale = np.maximum(rates, LEAST_SCALE * float(np.median(rates)))
    design, target = terms * (used / scale)[:, None], rates / scale
    weights, residuals = np.ones_like(used), np.ones_like(used)
    start = slope = above = 0.0
    for _ in range(REWEIGHTINGS):
        (start, slope, above), _norm = nnls(design * weights[:, None], target * weights)
        residuals = np.abs(design @ [start, slope, above] - target)
        weights = 1.0 / np.maximum(residuals, FLOOR)
    return float(residuals.mean()), UtilisationCurve(round(kink, 6), float(start), float(slope), float(above))


def _errors(curve: UtilisationCurve, used: Vector, rates: Vector) -> Vector:
    """Relative errors of continuous rates."""
    told = np.log1p([curve.supply_rate(float(one)) for one in used])
    return np.asarray(np.abs(told / rates - 1.0), dtype=np.float64)


def _errors_left_out(used: Vector, rates: Vector) -> Vector:
    """Relative error on each point of the curve that was fitted without it and its fold.

    Folds are interleaved in time: a rate model is a rule and no forecast, and days above the kink come in a row.
    """
    errors = np.empty_like(used)
    fold = np.arange(len(used)) % FOLDS
    for number in range(FOLDS):
        left, kept = fold == number, fold != number
        errors[left] = _errors(_fitted(used[kept], rates[kept]), used[left], rates[left])
    return errors


def _is_good(errors: Vector) -> bool:
    return bool(np.median(errors) <= MAX_MEDIAN_ERROR and np.quantile(errors, 0.9) <= MAX_P90_ERROR)
