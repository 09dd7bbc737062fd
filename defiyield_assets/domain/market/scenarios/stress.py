"""Shocks upon a baseline path: how far the market falls, how rough the way is, who falls with it.

Lives here: the arithmetic of shocks and de-pegs on log returns. Not here: baselines (stochastic.py), the list of shocks
(config/scenarios.yaml), bars (synthesis.py).
"""

from dataclasses import dataclass

import numpy as np

from defiyield_assets.domain.market.scenarios.definitions import Depeg, Profile, Shock
from defiyield_assets.domain.market.scenarios.source import Market, Source
from defiyield_assets.domain.market.scenarios.stochastic import correlation, symmetric_root
from defiyield_assets.domain.strategies.bars import Matrix, Vector
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError

HIGHEST_CORRELATION = 0.99
"""Most that a multiplied correlation may become."""


@dataclass(frozen=True)
class Stressed:
    """Log returns (steps, instruments) under a shock, and what it does to trading (steps,)."""

    log_returns: Matrix
    volume_multiplier: Vector
    spread_multiplier: Vector
    rate_shift: Vector


def share_of_shock(profile: Profile, n_steps: int, horizon: int, half_life: float, onset: int = 0) -> Vector:
    """Which share of the shock stands in the price after each step (steps,); none in the `onset` steps before it.

    `linear`: grows evenly, whole `horizon` steps later and from then on. `decay`: whole at the first step of the shock,
    then half as much every `half_life` steps.
    """
    since = np.arange(n_steps, dtype=np.float64) - onset
    share = np.minimum((since + 1.0) / horizon, 1.0) if profile == "linear" else _halving(since, half_life)
    begun: Vector = np.where(since < 0.0, 0.0, share)
    return begun


def force(profile: Profile, n_steps: int, horizon: int, half_life: float, onset: int = 0) -> Vector:
    """How much of the shock's multipliers acts at each step (steps,); none in the `onset` steps before it.

    `linear`: all of it up to the horizon, then half as much every `half_life` steps; `decay`: as the shock itself.
    """
    since = np.arange(n_steps, dtype=np.float64) - onset
    whole = horizon - 1 if profile == "linear" else 0
    strength: Vector = np.where(since < 0.0, 0.0, _halving(since - whole, half_life))
    return strength


def _halving(steps: Vector, half_life: float) -> Vector:
    """1 up to step 0, then half as much every `half_life` steps."""
    left: Vector = 0.5 ** (np.maximum(steps, 0.0) / half_life)
    return left


def shocked(source: Source, market: Market, baseline: Matrix, shock: Shock) -> Stressed:
    """Baseline log returns under a shock; the `onset` steps before it are the baseline's own.

    The shock reaches an instrument through its beta: its price at the end is the baseline's times (1 + shock x
    share)^beta, exactly. On the way, deviations of returns from the source's means are multiplied and their
    correlations raised by the force of the shock. What that adds in sum is taken off again so that it changes the way
    and not the end, evenly over the n steps from the onset on: the least that can be done to any single step. So at
    full force the deviations are those of the baseline times vol_multiplier - (vol_multiplier - 1) / n, give or take
    the others' share of 1 / n: within 2 % of the multiplier for the shipped shocks.
    """
    _check(shock, len(baseline))
    lasting = (len(baseline), shock.horizon, shock.half_life, shock.onset)
    strength = force(shock.profile, *lasting)
    share = share_of_shock(shock.profile, *lasting)
    deviations = baseline - source.returns.mean(axis=0)
    together = _recorrelated(source, deviations, shock.correlation_multiplier)
    mixed = deviations + strength[:, None] * (together - deviations)
    rougher = mixed * (1.0 + (shock.vol_multiplier - 1.0) * strength)[:, None]
    added = rougher - deviations
    added[shock.onset :] -= added[shock.onset :].mean(axis=0)
    jumps = np.diff(np.log1p(shock.shock * share), prepend=0.0)
    return Stressed(
        baseline + added + jumps[:, None] * market.betas,
        1.0 + (shock.volume_multiplier - 1.0) * strength,
        1.0 + (shock.spread_multiplier - 1.0) * strength,
        shock.rate_shift * share,
    )


def depegged(source: Source, baseline: Matrix, depeg: Depeg) -> Matrix:
    """Baseline log returns where a stablecoin goes to `level` USD in `days` steps and stays as far below its baseline.

    The `onset` steps before are the baseline's own.
    Other stablecoins lose `contagion` times the same fraction; whatever is no stablecoin keeps its baseline.
    SuspiciousDataError where the coin does not take part.
    """
    names = source.bars.instruments
    if depeg.coin not in names:
        reason = source.unavailable.get(depeg.coin, "it was not asked for")
        raise SuspiciousDataError(f"{depeg.coin} cannot lose its peg, it does not take part: {reason}")
    _check_steps(depeg.name, "days", depeg.days, depeg.onset, len(baseline))
    coin, reached = names.index(depeg.coin), depeg.onset + depeg.days
    undisturbed = float(source.bars.close[-1, coin] * np.exp(baseline[:reached, coin].sum()))
    loss = depeg.level / undisturbed - 1.0
    evenly = np.zeros(len(baseline))
    evenly[depeg.onset : reached] = 1.0 / depeg.days
    returns = baseline.copy()
    for column, name in enumerate(names):
        if name in (depeg.coin, *depeg.stablecoins):
            own = loss if column == coin else depeg.contagion * loss
            returns[:, column] += np.log1p(own) * evenly
    return returns


def stressed_correlation(matrix: Matrix, multiplier: float) -> Matrix:
    """Correlations raised by (`multiplier` - 1) of their size, negative ones too: in a shock what moved apart moves
    together. At most HIGHEST_CORRELATION, made a correlation matrix again.

    Negative eigenvalues become 0 and the diagonal 1 (the spectral method of Rebonato and Jaeckel 1999).
    """
    raised = np.clip(matrix + (multiplier - 1.0) * np.abs(matrix), -HIGHEST_CORRELATION, HIGHEST_CORRELATION)
    np.fill_diagonal(raised, 1.0)
    values, vectors = np.linalg.eigh(raised)
    if values.min() < 0.0:
        raised = (vectors * np.clip(values, 0.0, None)) @ vectors.T
        scale = 1.0 / np.sqrt(np.diag(raised))
        raised = raised * scale[:, None] * scale
        np.fill_diagonal(raised, 1.0)
    whole: Matrix = raised
    return whole


def _recorrelated(source: Source, deviations: Matrix, multiplier: float) -> Matrix:
    """Deviations of the same volatilities whose correlations are those of the source times `multiplier`."""
    if multiplier == 1.0 or source.n_instruments == 1:
        return deviations
    scale = source.returns.std(axis=0, ddof=1)
    own = correlation(source.returns)
    turn = np.linalg.pinv(symmetric_root(own), hermitian=True) @ symmetric_root(stressed_correlation(own, multiplier))
    turned: Matrix = (deviations / scale) @ turn * scale
    return turned


def _check(shock: Shock, n_steps: int) -> None:
    if shock.shock <= -1.0:
        raise ConfigurationError(f"{shock.name}: shock is {shock.shock}; a market cannot lose more than everything")
    _check_steps(shock.name, "horizon", shock.horizon, shock.onset, n_steps)


def _check_steps(name: str, what: str, length: int, onset: int, n_steps: int) -> None:
    """A shock is whole inside the path."""
    if onset < 0 or length < 1 or onset + length > n_steps:
        raise ConfigurationError(f"{name}: {what} is {length} after an onset of {onset}, the path has {n_steps} steps")
