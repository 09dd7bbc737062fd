"""Conformal prediction intervals from what the same model got wrong at past origins.

Lives here: errors made comparable, pooled, and read at quantiles that allow for how little independent evidence there
is. Not here: the models (models.py), the evidence (backtests.py), who is champion (evaluation.py).

The constants are weights between two estimates and limits, none of them fitted: halved or doubled, each moves the
coverage of the baseline models on the recorded lending and stable DEX panels (0.80, 0.81) by at most 0.01.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from defiyield_assets.domain.forecasting.backtests import Backtest
from defiyield_assets.domain.forecasting.models import Matrix, Origins, from_scale, to_scale

QUANTILES = (0.10, 0.50, 0.90)
NORMAL_90 = 1.2815515655446004
"""90 % quantile of the standard normal distribution."""
LARGEST = 1e300
"""Bands end here where `upper` is infinite."""
PAYS_FROM = 0.01
"""Above this on the model scale (0.01 percentage points of APY) a series pays. One that pays nothing is never wrong
until the day it starts, so its errors say nothing about those that pay, and the other way round."""
VOLATILITY_POWER = 0.5
"""Volatility reverts to its mean: errors grow with about the square root of today's."""
VOLATILITY_RANGE = 4.0
"""The local volatility counts for at most this many times the panel's median, and for at least its inverse."""
STILL = 1e-5
"""A local volatility up to this is none: a series that is new or does not move, and is taken to be as usual."""
OWN_EVIDENCE = 10.0
"""Independent errors of its own with which a series weighs as much as its group in how large its errors are."""
OWN_RANGE = 8.0
"""The errors of a series count as at most this many times as large as its group's, and at least its inverse."""
GROUP_EVIDENCE = 100.0
"""Independent errors of a group with which its quantiles weigh as much as those of all series."""
SYMMETRY_EVIDENCE = 10.0
"""Independent errors with which the two tails weigh as much each by itself as both taken as one."""
SIZE_EVIDENCE = 50.0
"""Errors of a group with which their size weighs as much as that of all series."""
TAIL_INDEPENDENCE = 1.5
"""Windows that share days agree less about what is in a tail than about their means.

Source: under normal dependence the events "below the 10 % quantile" of 30-day means of weekly origins are worth 1.53
times as many independent ones as there are disjoint windows, of 7-day means of daily origins 1.60 times.
"""
HALF_LIFE_DAYS = 91.0
"""Age at which an error counts half (Barber et al. 2023, conformal prediction beyond exchangeability)."""

PastAndNow = tuple[NDArray[np.bool_], NDArray[np.bool_]]
"""A property of each series at each origin, shape (series, origins), and on the as-of day, shape (series,)."""


@dataclass(frozen=True)
class _Errors:
    """What one model got wrong, over the normaliser; rows are series, columns origins, only `is_known` cells count.

    `weights` fall with the age of an origin; `independence` is how many independent windows an origin is worth.
    """

    values: Matrix
    is_known: NDArray[np.bool_]
    weights: NDArray[np.float64]
    independence: float


def bands(
    backtest: Backtest,
    model_of_series: Sequence[str] | NDArray[np.object_],
    groups: Sequence[int] | NDArray[np.int64],
    *,
    upper: float,
) -> Matrix:
    """10 %, 50 % and 90 % quantile of each series for the as-of day, shape (3, series), in natural units.

    Series i is forecast by `model_of_series[i]` and belongs to risk group `groups[i]`. See `bands_of_models`.
    """
    chosen = np.asarray(model_of_series, dtype=object)
    result = np.full((len(QUANTILES), len(chosen)), np.nan)
    names = sorted({str(name) for name in chosen})
    for name, band in bands_of_models(backtest, groups, names, upper=upper).items():
        is_chosen = chosen == name
        result[:, is_chosen] = band[:, is_chosen]
    return result


def bands_of_models(
    backtest: Backtest, groups: Sequence[int] | NDArray[np.int64], models: Iterable[str], *, upper: float
) -> dict[str, Matrix]:
    """The band of every series under each of `models`, shape (3, series), in natural units.

    p10 <= p50 <= p90, between 0 and `upper`; NaN where the model has no forecast of the as-of day. A series that was
    only ever seen at zero has a band of no width at zero. Raises KeyError for a model without an entry in
    `backtest.now`.

    The errors of a model at past origins, on the model scale, are divided by a power of the local volatility then
    known and by how large the errors of that series usually are (split conformal prediction with normalised scores,
    Lei et al. 2018), so that those of the whole risk group, and with little of them those of all series, can be read
    as one sample. Without any past error the band is that of a random walk.
    """
    of_series = np.asarray(groups, dtype=np.int64)
    newness = _newness(backtest)
    actual = to_scale(backtest.target, backtest.actual)
    seen = np.where(np.isnan(backtest.actual), 0.0, backtest.actual)
    is_silent = ~(seen > 0.0).any(axis=1)
    largest = to_scale(backtest.target, np.array(LARGEST))
    result = {}
    for name in models:
        now = to_scale(backtest.target, backtest.now[name])
        past = backtest.forecasts.get(name)
        forecasts = np.full_like(actual, np.nan) if past is None else to_scale(backtest.target, past)
        paying = (forecasts > PAYS_FROM, now > PAYS_FROM)
        scaled = now + _offsets(backtest, actual - forecasts, paying, newness, of_series)
        finite = np.minimum(np.sort(scaled, axis=0), largest)
        band = np.clip(from_scale(backtest.target, finite), 0.0, upper)
        band[:, is_silent & (now <= PAYS_FROM)] = 0.0
        result[name] = band
    return result


def horizon_means(values: Matrix, horizon_days: int) -> Matrix:
    """Mean of the observed values of the next `horizon_days` days, for each day.

    Shape as `values`; NaN where the window reaches beyond the last column or holds no observed day.
    """
    means = np.full_like(values, np.nan)
    if values.shape[1] <= horizon_days:
        return means
    windows = sliding_window_view(values, horizon_days, axis=1)[:, 1:]
    observed = ~np.isnan(windows)
    counts = observed.sum(axis=2)
    sums = np.where(observed, windows, 0.0).sum(axis=2)
    means[:, : values.shape[1] - horizon_days] = np.divide(
        sums, counts, out=np.full_like(sums, np.nan), where=counts > 0
    )
    return means


def corrected_tail(n_independent: float) -> float:
    """Probability at which to read the 10 % quantile of a sample worth `n_independent` independent errors.

    That of a prediction interval for the next value of a normal sample, t(0.9, n - 1) sqrt(1 + 1/n), mapped back to a
    rank: 0.1 for many errors, less for few (the rank p (n + 1) of split conformal prediction has no value below
    nine). The quantile of Student's t is the expansion of Abramowitz & Stegun 26.7.5.
    """
    n = max(n_independent, 2.0)
    z, freedom = NORMAL_90, n - 1.0
    quantile = (
        z
        + (z**3 + z) / (4.0 * freedom)
        + (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / (96.0 * freedom**2)
        + (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / (384.0 * freedom**3)
    )
    return 0.5 * math.erfc(quantile * math.sqrt(1.0 + 1.0 / n) / math.sqrt(2.0))


def weighted_quantiles(
    values: NDArray[np.float64], weights: NDArray[np.float64], probabilities: Sequence[float]
) -> NDArray[np.float64]:
    """Quantiles of a weighted sample, linear between the middles of the weights (Hyndman & Fan 1996, type 5).

    Of equal values the earlier one counts as the smaller.
    """
    order = np.argsort(values, kind="stable")
    ordered, share = values[order], weights[order]
    middles = np.cumsum(share) - 0.5 * share
    return np.interp(probabilities, middles / share.sum(), ordered)


def independent_count(
    errors: Matrix, is_known: NDArray[np.bool_], weights: NDArray[np.float64], independence: float
) -> float:
    """How many independent errors a sample is worth; rows are series, columns origins.

    Series that move together count as n / (1 + (n - 1) r) of their mean number n per origin (Kish's design effect),
    with r the correlation, within an origin, of the signs of errors about their median. Weighted origins count as
    (sum w)^2 / sum w^2, and each after the first as `independence` of a window. Never more than there are.
    """
    per_origin = is_known.sum(axis=0)
    used = per_origin > 0
    if not used.any():
        return 0.0
    kish = float(weights[used].sum() ** 2 / (weights[used] ** 2).sum())
    origins = 1.0 + (kish - 1.0) * independence
    signs = np.where(is_known, np.sign(errors - np.median(errors[is_known])), 0.0)
    sums, squares = signs.sum(axis=0), (signs**2).sum(axis=0)
    pairs = float((per_origin * (per_origin - 1)).sum() * squares.sum() / per_origin.sum())
    correlation = min(max(float((sums**2 - squares).sum()) / pairs, 0.0), 1.0) if pairs > 0.0 else 0.0
    series = float(per_origin[used].mean())
    return min(origins * series / (1.0 + (series - 1.0) * correlation), float(per_origin.sum()))


def _offsets(
    backtest: Backtest, errors: Matrix, paying: PastAndNow, newness: PastAndNow, groups: NDArray[np.int64]
) -> Matrix:
    """Quantiles of the error of the forecast made now, on the model scale, shape (3, series)."""
    offsets = _random_walk(backtest)
    is_known = ~np.isnan(errors)
    if not is_known.any():
        return offsets
    (was_paying, is_paying), (was_new, is_new) = paying, newness
    moving = backtest.scales[is_known & was_paying & (backtest.scales > STILL)]
    usual = float(np.median(moving)) if len(moving) else 1.0
    values = errors / _normaliser(backtest.scales, usual)
    factor = _factor_of_new(values, is_known & was_paying, was_new)
    values, now = np.where(was_new, values / factor, values), np.where(is_new, factor, 1.0)
    now *= _normaliser(backtest.scale_now, usual)
    independence = _independence(backtest.origins, backtest.horizon_days)
    evidence = _Errors(values, is_known, _weights(backtest.origins), independence)
    for state in (True, False):
        of_state = replace(evidence, is_known=is_known & (was_paying == state))
        members = is_paying == state
        if members.any() and of_state.is_known.any():
            offsets[:, members] = (_read_groups(of_state, groups, members) * now)[:, members]
    return offsets


def _newness(backtest: Backtest) -> PastAndNow:
    """Whether a series had no forecast at any earlier origin: at each origin, of those that have one, and now.

    At the first origin nothing is known to be new.
    """
    has_forecast = np.zeros(backtest.actual.shape, dtype=np.bool_)
    for forecasts in backtest.forecasts.values():
        has_forecast |= ~np.isnan(forecasts)
    was_new = has_forecast & (np.cumsum(has_forecast, axis=1) == 1)
    was_new[:, :1] = False
    is_new: NDArray[np.bool_] = has_forecast.sum(axis=1) == 0
    return was_new, is_new


def _factor_of_new(values: Matrix, is_known: NDArray[np.bool_], was_new: NDArray[np.bool_]) -> float:
    """How many times as large errors are in the first week of a series, at least 1; see `_own_factors`."""
    roots = np.sqrt(np.abs(values))
    # Sorted before they are added, so that the order of series does not change a bit.
    new, old = np.sort(roots[is_known & was_new]), np.sort(roots[is_known & ~was_new])
    usual = float(old.mean()) if len(old) else 0.0
    if usual <= 0.0:
        return 1.0
    mean = (float(new.sum()) + OWN_EVIDENCE * usual) / (len(new) + OWN_EVIDENCE)
    return min(max((mean / usual) ** 2, 1.0), OWN_RANGE)


def _random_walk(backtest: Backtest) -> Matrix:
    """Quantiles of the error of the last value, were the series a random walk with normal steps of today's volatility:
    what is said without any past error at all."""
    days = backtest.horizon_days
    steps = math.sqrt((days + 1.0) * (2.0 * days + 1.0) / (6.0 * days))  # of the mean of the next `days` values
    deviation = backtest.scale_now * math.sqrt(math.pi / 2.0) * steps
    return np.stack([-NORMAL_90 * deviation, np.zeros_like(deviation), NORMAL_90 * deviation])


def _normaliser(scales: NDArray[np.float64], usual: float) -> NDArray[np.float64]:
    relative = np.clip(scales / usual, 1.0 / VOLATILITY_RANGE, VOLATILITY_RANGE)
    return np.where(scales > STILL, relative**VOLATILITY_POWER, 1.0)


def _weights(origins: Origins) -> NDArray[np.float64]:
    """What an error of each origin counts for. Multiples of 2^-20, whose sums are exact: the order in which series are
    added does not change a bit."""
    ages = (origins[-1] - origins).astype(np.float64)
    weights: NDArray[np.float64] = np.rint(2.0 ** (20.0 - ages / HALF_LIFE_DAYS)) / 2.0**20
    return weights


def _independence(origins: Origins, horizon_days: int) -> float:
    """Independent windows an origin is worth: fewer than one when origins are closer than the horizon is long."""
    if len(origins) < 2:
        return 1.0
    spacing = float(origins[-1] - origins[0]) / (len(origins) - 1)
    return 1.0 if spacing >= horizon_days else min(1.0, TAIL_INDEPENDENCE * spacing / horizon_days)


def _read_groups(errors: _Errors, groups: NDArray[np.int64], members: NDArray[np.bool_]) -> Matrix:
    """Quantiles of the normalised error of every series of `members`, shape (3, series); zero for the others."""
    factors, factors_now = _own_factors(errors, groups)
    comparable = replace(errors, values=errors.values / factors)
    everyone, _ = _read_pooled(comparable)
    result = np.zeros((len(QUANTILES), len(groups)))
    for group in np.unique(groups[members]):
        of_group = groups == group
        own, count = _read_pooled(replace(comparable, is_known=errors.is_known & of_group[:, None]))
        trust = count / (count + GROUP_EVIDENCE)
        result[:, of_group & members] = (trust * own + (1.0 - trust) * everyone)[:, None]
    return result * factors_now


def _own_factors(errors: _Errors, groups: NDArray[np.int64]) -> tuple[Matrix, NDArray[np.float64]]:
    """How large the errors of each series are relative to its group's: at each origin, shape (series, origins), judged
    without the error of that origin, and now, shape (series,).

    Size is the squared mean of square roots, which one great error does not decide. Few errors of its own are drawn
    towards 1.
    """
    roots = np.where(errors.is_known, np.sqrt(np.abs(errors.values)), 0.0)
    usual = _group_sizes(roots, errors.is_known, groups)
    usual = np.maximum(usual, np.finfo(np.float64).tiny)
    borrowed = OWN_EVIDENCE / errors.independence
    sums, counts = roots.sum(axis=1), errors.is_known.sum(axis=1)
    now = (sums + borrowed * usual) / (counts + borrowed) / usual
    others = (sums[:, None] - roots + borrowed * usual[:, None]) / (counts[:, None] - errors.is_known + borrowed)
    limits = (1.0 / OWN_RANGE, OWN_RANGE)
    return np.clip((others / usual[:, None]) ** 2, *limits), np.clip(now**2, *limits)


def _group_sizes(roots: Matrix, is_known: NDArray[np.bool_], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean square root of the errors of each series' group, drawn towards that of all series; shape (series,)."""
    # Sorted before they are added, so that the order of series does not change a bit.
    everyone = float(np.sort(roots[is_known]).sum()) / max(int(is_known.sum()), 1)
    sizes = np.full(len(groups), everyone)
    for group in np.unique(groups):
        of_group = groups == group
        known = is_known & of_group[:, None]
        total = float(np.sort(roots[known]).sum())
        sizes[of_group] = (total + SIZE_EVIDENCE * everyone) / (float(known.sum()) + SIZE_EVIDENCE)
    return sizes


def _read_pooled(errors: _Errors) -> tuple[NDArray[np.float64], float]:
    """The three quantiles of a pooled sample and how many independent errors it is worth; zeros without any.

    The tails are drawn towards those of the same sample taken as symmetric, the more so the less evidence there is:
    when all series of a few origins moved one way, the next may move the other.
    """
    if not errors.is_known.any():
        return np.zeros(len(QUANTILES)), 0.0
    count = independent_count(errors.values, errors.is_known, errors.weights, errors.independence)
    tail = corrected_tail(count)
    # Origin by origin, so that equal values come in the order of their weights, whatever the order of series.
    values = errors.values.T[errors.is_known.T]
    weights = np.repeat(errors.weights, errors.is_known.sum(axis=0))
    low, middle, high = weighted_quantiles(values, weights, (tail, QUANTILES[1], 1.0 - tail))
    (symmetric,) = weighted_quantiles(np.abs(values), weights, (1.0 - 2.0 * tail,))
    trust = count / (count + SYMMETRY_EVIDENCE)
    tails = trust * np.array([low, high]) + (1.0 - trust) * np.array([-symmetric, symmetric])
    return np.array([tails[0], middle, tails[1]]), count
