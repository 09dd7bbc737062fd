"""Generated log returns of all instruments at once: Monte Carlo, block bootstrap, Brownian motion, Markov regimes.

Lives here: sampling, which keeps the instruments' correlations. Not here: what it samples from (source.py), bars
(synthesis.py), shocks (stress.py).
"""

from collections.abc import Sequence

import numpy as np

from defiyield_assets.domain.market.scenarios.definitions import Distribution, RegimeMotion
from defiyield_assets.domain.market.scenarios.histories import Rows
from defiyield_assets.domain.market.scenarios.source import Market, Source
from defiyield_assets.domain.strategies.bars import Matrix, Vector
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError


def monte_carlo(
    source: Source, n_steps: int, random: np.random.Generator, distribution: Distribution, degrees_of_freedom: float
) -> Matrix:
    """Independent joint draws of log returns with the source's means and covariances, (steps, instruments).

    `student_t` draws from the multivariate t, scaled to the same covariance: one chi-square a day for all, so that
    extreme days are extreme for everyone. Log returns, because a normal simple return may fall below -1.
    """
    draws = random.standard_normal((n_steps, source.n_instruments))
    if distribution == "student_t":
        if degrees_of_freedom <= 2.0:
            raise ConfigurationError(f"degrees_of_freedom is {degrees_of_freedom}; above 2 a variance exists")
        mixing = random.chisquare(degrees_of_freedom, size=(n_steps, 1))
        draws *= np.sqrt((degrees_of_freedom - 2.0) / mixing)
    returns: Matrix = source.returns.mean(axis=0) + draws @ symmetric_root(_covariance(source.returns))
    return returns


def block_bootstrap(source: Source, n_steps: int, random: np.random.Generator, block_bars: int) -> Rows:
    """Which sampled returns follow each other (steps,): the same dates for all instruments.

    Circular blocks (Politis and Romano 1992): starts are uniform and the source's end goes on with its start, so every
    day is as likely as any other.
    """
    if not 1 <= block_bars <= len(source.returns):
        raise ConfigurationError(f"block_bars is {block_bars}; the source has {len(source.returns)} returns")
    starts = random.integers(0, len(source.returns), size=-(-n_steps // block_bars))
    rows = (starts[:, None] + np.arange(block_bars)).ravel()[:n_steps] % len(source.returns)
    return rows.astype(np.intp)


def brownian_motion(
    source: Source,
    n_steps: int,
    random: np.random.Generator,
    drift: float | None = None,
    volatility: float | None = None,
) -> Matrix:
    """Log returns of geometric Brownian motion, (mu - sigma^2 / 2) dt + sigma sqrt(dt) z, with correlated z.

    `drift` mu and `volatility` sigma a year hold for all instruments; None: each one's own from the source, with which
    the log returns are distributed as those of `monte_carlo` with the normal distribution.
    """
    year = source.periods_per_year
    deviations = source.returns.std(axis=0, ddof=1)
    sigma = deviations * np.sqrt(year) if volatility is None else np.full(source.n_instruments, volatility)
    own = (source.returns.mean(axis=0) + 0.5 * deviations**2) * year
    mu = own if drift is None else np.full(source.n_instruments, drift)
    draws = random.standard_normal((n_steps, source.n_instruments)) @ symmetric_root(correlation(source.returns))
    returns: Matrix = (mu - 0.5 * sigma**2) / year + sigma / np.sqrt(year) * draws
    return returns


def markov_regimes(
    source: Source, market: Market, n_steps: int, random: np.random.Generator, motions: Sequence[RegimeMotion]
) -> tuple[Matrix, Rows]:
    """Log returns (steps, instruments) of a market that moves by regimes, and the regime of each step (steps,).

    The market's log return is normal with the regime's mean and volatility; staying has the regime's probability a
    step, leaving goes to each other regime alike; the first regime is drawn by the chain's long-run shares. An
    instrument moves by its beta, and by what the beta leaves unexplained on a day drawn from the source, the same for
    all, scaled as the market's volatility is: so correlations stay.
    """
    states = _chain(motions, n_steps, random)
    year = source.periods_per_year
    means = np.array([motion.mean for motion in motions])[states] / year
    deviations = np.array([motion.volatility for motion in motions])[states] / np.sqrt(year)
    returns = means + deviations * random.standard_normal(n_steps)
    days = random.integers(0, len(market.returns), size=n_steps)
    scale = deviations / market.returns.std(ddof=1)
    joint: Matrix = returns[:, None] * market.betas + scale[:, None] * market.residuals[days]
    return joint, states


def transition_matrix(motions: Sequence[RegimeMotion]) -> Matrix:
    """Probabilities of regimes after regimes (from, to)."""
    if len(motions) < 2:
        raise ConfigurationError("a chain needs two regimes at least")
    n_states = len(motions)
    stay = np.array([motion.stay for motion in motions])
    matrix: Matrix = np.repeat(((1.0 - stay) / (n_states - 1))[:, None], n_states, axis=1)
    np.fill_diagonal(matrix, stay)
    return matrix


def symmetric_root(matrix: Matrix) -> Matrix:
    """The symmetric square root of a covariance: the only one that does not depend on the order of instruments."""
    values, vectors = np.linalg.eigh(matrix)
    if values.min(initial=0.0) < -1e-8 * max(float(values.max(initial=0.0)), 1e-300):
        raise SuspiciousDataError("a covariance has a negative eigenvalue")
    root: Matrix = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    return root


def correlation(returns: Matrix) -> Matrix:
    """Correlations (instruments, instruments); ones on the diagonal, also for a single instrument."""
    matrix: Matrix = np.atleast_2d(np.corrcoef(returns, rowvar=False))
    return matrix


def _covariance(returns: Matrix) -> Matrix:
    matrix: Matrix = np.atleast_2d(np.cov(returns, rowvar=False))
    return matrix


def _chain(motions: Sequence[RegimeMotion], n_steps: int, random: np.random.Generator) -> Rows:
    matrix = transition_matrix(motions)
    cumulated = matrix.cumsum(axis=1)
    shares = _long_run_shares(matrix)
    chance = random.random(n_steps)
    states = np.empty(n_steps, dtype=np.intp)
    limits: Vector = shares.cumsum()
    for step in range(n_steps):
        states[step] = min(int(np.searchsorted(limits, chance[step], side="right")), len(motions) - 1)
        limits = cumulated[states[step]]
    return states


def _long_run_shares(matrix: Matrix) -> Vector:
    """Shares with shares @ matrix = shares that add up to one."""
    n_states = len(matrix)
    equations = np.vstack([matrix.T - np.eye(n_states), np.ones(n_states)])
    shares: Vector = np.linalg.lstsq(equations, np.append(np.zeros(n_states), 1.0), rcond=None)[0]
    return np.clip(shares, 0.0, 1.0)
