"""How far a Sharpe ratio may be luck: trials counted, the deflated Sharpe ratio, the probability of overfitting.

Lives here: the statistics of Bailey and Lopez de Prado. Not here: figures of one run (metrics.py), ranks (ranking.py),
splits of time (walk_forward.py).

Sharpe ratios here are per bar, not annualised, unless a name says so; returns are in excess of cash.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from math import comb, e, sqrt

import numpy as np

from defiyield_assets.domain.strategies.bars import Matrix, Vector
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError

LEAST_RETURNS = 20
"""Returns below which no Sharpe ratio is judged."""
BLOCKS = 16
MOST_COMBINATIONS = 20_000
PART_VALUES = 8_000
"""Splits times blocks that are judged at once: with 1,000 trials a matrix then takes 4 MB."""
NOISE = 1e-12
"""A standard deviation below this is rounding: then a Sharpe ratio is unknown."""


@dataclass(frozen=True)
class SharpeMoments:
    """What the distribution of a Sharpe ratio depends on.

    `sharpe` per bar; `skewness`; `kurtosis`: 3 for a normal distribution; `n_returns`.
    """

    sharpe: float
    skewness: float
    kurtosis: float
    n_returns: int


@dataclass(frozen=True)
class DeflatedSharpe:
    """`n_trials` and `trials_variance`: of the Sharpe ratios that were tried; `hurdle`: the greatest that so many
    trials of no worth are expected to reach; `probability`: that the true ratio is above the hurdle; `probabilistic`:
    that it is above 0 (as if there had been one trial).
    """

    n_trials: int
    trials_variance: float
    hurdle: float
    probability: float
    probabilistic: float


@dataclass(frozen=True)
class Overfitting:
    """`probability`: share of splits in which the best trial of one half is in the lower half of the other (PBO).

    `logits` (splits,): of the best trial's relative rank out of sample. `slope`: of out-of-sample on in-sample Sharpe
    ratio of the best trials, None where they do not vary; `loss_probability`: share of splits in which the best trial
    has a Sharpe ratio below 0 out of sample.
    """

    probability: float
    n_trials: int
    n_splits: int
    logits: Vector
    slope: float | None
    loss_probability: float


def count_trials(tried: Iterable[str]) -> int:
    """Distinct content hashes of everything that was ever tried, winners and losers alike."""
    return len(set(tried))


def sharpe_moments(returns: Vector) -> SharpeMoments | None:
    """Moments of excess returns by bar, NaN left out; None under LEAST_RETURNS or without variance."""
    known = returns[np.isfinite(returns)]
    if len(known) < LEAST_RETURNS:
        return None
    deviation = float(np.std(known, ddof=1))
    if deviation <= NOISE:
        return None
    centred = (known - known.mean()) / np.std(known)
    return SharpeMoments(
        float(known.mean()) / deviation, float(np.mean(centred**3)), float(np.mean(centred**4)), len(known)
    )


def probabilistic_sharpe(moments: SharpeMoments, hurdle: float) -> float:
    """Probability that the true Sharpe ratio is above a hurdle.

    Bailey and Lopez de Prado (2012), "The Sharpe ratio efficient frontier", eq. 4:
    PSR = Phi[(SR - SR*) sqrt(n - 1) / sqrt(1 - skew SR + (kurtosis - 1) / 4 SR^2)].
    """
    from scipy.stats import norm

    spread = 1.0 - moments.skewness * moments.sharpe + (moments.kurtosis - 1.0) / 4.0 * moments.sharpe**2
    if spread <= 0.0:
        raise SuspiciousDataError(f"no distribution has these moments: {moments}")
    return float(norm.cdf((moments.sharpe - hurdle) * sqrt(moments.n_returns - 1) / sqrt(spread)))


def expected_maximum(n_trials: int, variance: float) -> float:
    """The greatest Sharpe ratio that `n_trials` independent trials of true ratio 0 are expected to show.

    Bailey and Lopez de Prado (2014), "The deflated Sharpe ratio", eq. 1:
    sqrt(V) [(1 - g) Z^-1(1 - 1/N) + g Z^-1(1 - 1/(N e))], g Euler's constant. 0 for a single trial.
    """
    from scipy.stats import norm

    if n_trials < 1 or variance < 0.0:
        raise ConfigurationError(f"{n_trials} trials of variance {variance}: there is one at least, and none negative")
    if n_trials == 1:
        return 0.0
    ordinary = (1.0 - np.euler_gamma) * norm.ppf(1.0 - 1.0 / n_trials)
    return float(sqrt(variance) * (ordinary + np.euler_gamma * norm.ppf(1.0 - 1.0 / (n_trials * e))))


def deflated_sharpe(moments: SharpeMoments, n_trials: int, trials_variance: float) -> DeflatedSharpe:
    """The probability that a strategy's Sharpe ratio is real, given how many were tried to find it.

    `trials_variance`: variance of the trials' Sharpe ratios per bar. The same paper, eq. 2: the probabilistic Sharpe
    ratio against the expected maximum. Trials that resemble each other count as independent, which is severe.
    """
    hurdle = expected_maximum(n_trials, trials_variance)
    return DeflatedSharpe(
        n_trials, trials_variance, hurdle, probabilistic_sharpe(moments, hurdle), probabilistic_sharpe(moments, 0.0)
    )


def deflated_of_trials(returns: Matrix, chosen: int, n_trials: int | None = None) -> DeflatedSharpe | None:
    """The deflated Sharpe ratio of trial number `chosen` among the trials (bars, trials) that were run.

    `n_trials`: those ever tried, where that is more. None where the chosen one has no Sharpe ratio, or fewer than two
    trials have one and so no variance.
    """
    told = sharpe_moments(returns[:, chosen])
    known = [found.sharpe for column in returns.T if (found := sharpe_moments(column)) is not None]
    if told is None or len(known) < 2:
        return None
    count = max(returns.shape[1], n_trials or 0)
    return deflated_sharpe(told, count, float(np.var(known, ddof=1)))


def overfitting(returns: Matrix, n_blocks: int = BLOCKS) -> Overfitting:
    """Probability of backtest overfitting by combinatorially symmetric cross-validation.

    Bailey, Borwein, Lopez de Prado and Zhu (2017), "The probability of backtest overfitting": the bars (bars, trials)
    are cut into `n_blocks` blocks of equal length (the first bars that do not fill one are left out); every choice of
    half of them is a sample, the rest is out of sample; the trial with the best Sharpe ratio in the sample (the first
    of equals) has rank r of N out of sample (mean rank of equals) and logit ln(w / (1 - w)), w = r / (N + 1); PBO is
    the share of logits that are at most 0. A trial that never moves has a Sharpe ratio of 0. ConfigurationError for
    an odd number of blocks or too many; SuspiciousDataError for fewer than two trials, fewer than two bars a block or
    a return that is not known.
    """
    if n_blocks < 2 or n_blocks % 2 or comb(n_blocks, n_blocks // 2) > MOST_COMBINATIONS:
        raise ConfigurationError(f"n_blocks is {n_blocks}; an even number from 2 to 16")
    n_bars, n_trials = returns.shape
    length = n_bars // n_blocks
    if n_trials < 2 or length < 2:
        raise SuspiciousDataError(
            f"{n_trials} trials of {n_bars} bars: overfitting is told from 2 trials and {2 * n_blocks} bars on"
        )
    if not np.isfinite(returns).all():
        raise SuspiciousDataError("a trial has a bar without a return; compare trials over bars that all have")
    blocks = returns[n_bars - length * n_blocks :].reshape(n_blocks, length, n_trials)
    inside = _halves(n_blocks)
    # Sums about each trial's own mean keep digits that squares of large means would lose.
    centre = blocks.mean(axis=(0, 1))
    sums, squares = (blocks - centre).sum(axis=1), ((blocks - centre) ** 2).sum(axis=1)
    half = length * n_blocks // 2
    told = [
        _best_of(part, sums, squares, half, centre) for part in np.array_split(inside, -(-inside.size // PART_VALUES))
    ]
    sampled, chosen, relative = (np.concatenate(values) for values in zip(*told, strict=True))
    logits = np.log(relative / (1.0 - relative))
    return Overfitting(
        float(np.mean(logits <= 0.0)),
        n_trials,
        len(logits),
        logits,
        _slope(sampled, chosen),
        float(np.mean(chosen < 0.0)),
    )


def _best_of(
    inside: Matrix, sums: Matrix, squares: Matrix, n_bars: int, centre: Vector
) -> tuple[Vector, Vector, Vector]:
    """Of each split: the best trial's Sharpe ratio in the sample and out of it, and its relative rank there."""
    sampled = _sharpes(inside @ sums, inside @ squares, n_bars, centre)
    outside = _sharpes((1.0 - inside) @ sums, (1.0 - inside) @ squares, n_bars, centre)
    row, best = np.arange(len(inside)), sampled.argmax(axis=1)
    chosen = outside[row, best]
    lower = (outside < chosen[:, None]).sum(axis=1)
    equal = (outside == chosen[:, None]).sum(axis=1)
    relative: Vector = (lower + (equal + 1.0) / 2.0) / (outside.shape[1] + 1.0)
    return sampled[row, best], chosen, relative


def _halves(n_blocks: int) -> Matrix:
    """Every choice of half of the blocks, 1.0 where a block is in the sample, (choices, blocks)."""
    chosen = np.array(list(combinations(range(n_blocks), n_blocks // 2)))
    inside = np.zeros((len(chosen), n_blocks))
    inside[np.arange(len(chosen))[:, None], chosen] = 1.0
    return inside


def _sharpes(sums: Matrix, squares: Matrix, n_bars: int, centre: Vector) -> Matrix:
    """Sharpe ratios from sums and squares of returns about `centre`; 0 without variance."""
    means = sums / n_bars
    variances = np.maximum(squares / n_bars - means**2, 0.0) * n_bars / (n_bars - 1.0)
    deviations = np.sqrt(variances)
    ratios: Matrix = np.where(deviations > NOISE, (means + centre) / np.maximum(deviations, NOISE), 0.0)
    return np.round(ratios, 12)


def _slope(sampled: Vector, outside: Vector) -> float | None:
    centred = sampled - sampled.mean()
    variance = float(centred @ centred)
    return float(centred @ outside / variance) if variance > NOISE else None
