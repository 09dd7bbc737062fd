"""What a pool earns over the horizon for a given position, own deposit included.

Lives here: period returns, dilution and the secants that the model uses.
Not here: caps (limits.py), costs (model.py, steps.py).
"""

import itertools

from defiyield_assets.domain.allocation.facts import PoolOption
from defiyield_assets.domain.policy import Parameters

SECANT_SHARES = (0.01, 0.02, 0.03, 0.04, 0.05)
"""Positions, as shares of pool size, at which the concave gain is met exactly (allocation.md)."""
DAYS_PER_YEAR = 365


def period_return(apy: float, reward_share: float, parameters: Parameters) -> float:
    """Return over the horizon: (1+base)^(h/365)-1 plus the reward, simple and after its haircut (allocation.md)."""
    years: float = parameters.horizon_days / DAYS_PER_YEAR
    base = max(-1.0, apy * (1.0 - reward_share))
    growth: float = (1.0 + base) ** years - 1.0
    return growth + apy * reward_share * (1.0 - parameters.reward_haircut) * years


def dilution(value: float, held: float, size: float | None) -> float:
    """Factor on the APY when our position in a pool of `size` goes from `held` (inside the size) to `value`, pro rata.

    Positions as large as the whole pool, or pools of unknown size, are not diluted: they may not grow either.
    """
    return 1.0 if size is None or size <= held else size / (size + value - held)


def pool_gain(pool: PoolOption, value: float, held: float, parameters: Parameters) -> float:
    """Gain in USD over the horizon of a position worth `value`: V·r·S/(S + V - V0)."""
    gain = value * period_return(pool.apy, pool.reward_share, parameters)
    return gain if pool.apy < 0 else gain * dilution(value, held, pool.size_usd)


def secants(pool: PoolOption, held: float, upper: float, parameters: Parameters) -> list[tuple[float, float]]:
    """Lines (slope, intercept) whose lower envelope meets the gain at 0, 1 … 5 % of size, V0 and `upper`.

    Between these points it lies below the gain: the model never counts on more than the curve gives.
    """
    knots = {0.0, upper, min(held, upper)}
    if pool.size_usd is not None and pool.size_usd > held:
        knots |= {share * pool.size_usd for share in SECANT_SHARES if share * pool.size_usd < upper}
    points = [0.0]
    for knot in sorted(knots):
        if knot - points[-1] > 1e-9 * max(1.0, upper):
            points.append(knot)
    lines = []
    for left, right in itertools.pairwise(points):
        low, high = (pool_gain(pool, value, held, parameters) for value in (left, right))
        slope = (high - low) / (right - left)
        lines.append((slope, low - slope * left))
    return lines or [(0.0, 0.0)]


def secant_gain(lines: list[tuple[float, float]], value: float) -> float:
    """The gain as the model sees it: the lower envelope of the lines at `value`."""
    return min(slope * value + intercept for slope, intercept in lines)
