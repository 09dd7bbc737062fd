"""What a pool earns over the horizon for a given position, own deposit included.

Lives here: period returns, dilution (pro rata, or by the curve of utilisation) and the concave lines below the gain
that the model uses. Not here: fitting curves (utilisation.py), caps (limits.py), costs (model.py, steps.py).
"""

import itertools
from collections.abc import Callable, Sequence

from defiyield_assets.domain.allocation.facts import PoolOption
from defiyield_assets.domain.policy import Parameters

SECANT_SHARES = (0.01, 0.02, 0.03, 0.04, 0.05)
"""Positions, as shares of pool size, at which the concave gain is met exactly (allocation.md)."""
DAYS_PER_YEAR = 365
LEAST_RATE = 1e-5
"""A curve that gives less today tells nothing about what a factor on it would be."""
PROBES = 16
"""Values between two knots at which a line is held below a gain that a kink bends upwards."""

Line = tuple[float, float]
"""Slope and intercept."""
Branch = list[Line]
"""Lines whose lower envelope is a concave function below the gain."""
Point = tuple[float, float]
Gain = Callable[[float], float]


def period_return(apy: float, reward_share: float, parameters: Parameters) -> float:
    """Return over the horizon: (1+base)^(h/365)-1 plus the reward, simple and after its haircut (allocation.md)."""
    base, reward = apy * (1.0 - reward_share), apy * reward_share
    return _base_return(base, parameters) + _reward_return(reward, parameters)


def _base_return(apy: float, parameters: Parameters) -> float:
    years: float = parameters.horizon_days / DAYS_PER_YEAR
    growth: float = (1.0 + max(-1.0, apy)) ** years - 1.0
    return growth


def _reward_return(apy: float, parameters: Parameters) -> float:
    return apy * (1.0 - parameters.reward_haircut) * (parameters.horizon_days / DAYS_PER_YEAR)


def dilution(value: float, held: float, size: float | None) -> float:
    """Factor on the APY when our position in a pool of `size` goes from `held` (inside the size) to `value`, pro rata.

    Positions as large as the whole pool, or pools of unknown size, are not diluted: they may not grow either.
    """
    return 1.0 if size is None or size <= held else size / (size + value - held)


def base_dilution(pool: PoolOption, value: float, held: float) -> float:
    """Factor on the base APY: of the pool's curve at B/(S + V - V0) against B/S, pro rata where it has none.

    The forecast stays the level; the curve only says how it falls. It never falls more slowly than pro rata does. What
    we take out never raises it by more than pro rata: else a plan would starve a pool of liquidity for the rate that
    its own rest then earns.
    """
    supply, borrow = pool.supply_usd, pool.borrow_usd
    if pool.curve is None or supply is None or borrow is None or supply <= held:
        return dilution(value, held, pool.size_usd)
    today = pool.curve.supply_rate(borrow / supply)
    if today < LEAST_RATE:
        return dilution(value, held, pool.size_usd)
    factor = pool.curve.supply_rate(borrow / (supply + value - held)) / today
    return factor if value >= held else min(factor, dilution(value, held, pool.size_usd))


def diluted_apy(pool: PoolOption, value: float, held: float, reward_haircut: float = 0.0) -> float:
    """APY of the pool with our position at `value`: base by its curve or pro rata, reward pro rata."""
    base, reward = pool.apy * (1.0 - pool.reward_share), pool.apy * pool.reward_share * (1.0 - reward_haircut)
    return base * base_dilution(pool, value, held) + reward * dilution(value, held, pool.size_usd)


def pool_gain(pool: PoolOption, value: float, held: float, parameters: Parameters) -> float:
    """Gain in USD over the horizon of a position worth `value`: V·r·S/(S + V - V0), or V·r(V) with a curve.

    With a curve the base APY falls as `base_dilution` says and is compounded after that; the reward falls pro rata.
    """
    if pool.apy < 0:
        return value * period_return(pool.apy, pool.reward_share, parameters)
    factor = dilution(value, held, pool.size_usd)
    if pool.curve is None:
        return value * period_return(pool.apy, pool.reward_share, parameters) * factor
    base = pool.apy * (1.0 - pool.reward_share) * base_dilution(pool, value, held)
    return value * (_base_return(base, parameters) + _reward_return(pool.apy * pool.reward_share, parameters) * factor)


def secants(pool: PoolOption, held: float, upper: float, parameters: Parameters) -> list[Branch]:
    """Lines whose lower envelope meets the gain at 0, 1 … 5 % of size, V0 and `upper`: as a rule one branch of them.

    Between these points it lies below the gain: the model never counts on more than the curve gives. Where a deposit
    takes the utilisation below its kink, the gain bends upwards and no concave function is near it on both sides. Then
    there are two branches, both below the gain, and the model's gain is the larger one: the first meets the gain at 0
    and V0, so that leaving and doing nothing are compared as they are; the second is the one that reaches highest.
    """
    knots = secant_knots(pool, held, upper)

    def gain(value: float) -> float:
        return pool_gain(pool, value, held, parameters)

    points = [(knot, gain(knot)) for knot in knots]
    lines = [_line(left, right) for left, right in itertools.pairwise(points)]
    if pool.curve is None or pool.apy <= 0 or _is_below(lines, points, gain):
        return [lines or [(0.0, 0.0)]]
    first = _near(points, gain, min(held, upper))
    second = _far(points, gain)
    is_better = any(secant_gain([second], at) > secant_gain([first], at) + _slack(there) for at, there in points)
    return [first, second] if is_better else [first]


def secant_gain(branches: Sequence[Branch], value: float) -> float:
    """The gain as the model sees it: the largest of the branches' lower envelopes at `value`."""
    return max(min(slope * value + intercept for slope, intercept in lines) for lines in branches)


def hull(branches: Sequence[Branch], knots: Sequence[float]) -> list[Branch]:
    """One branch over all: the smallest concave function above them, for bounds from above (method lp)."""
    if len(branches) == 1:
        return list(branches)
    points: list[Point] = []
    for knot in knots:
        point = (knot, secant_gain(branches, knot))
        while len(points) > 1 and _line(points[-2], points[-1])[0] <= _line(points[-1], point)[0]:
            points.pop()
        points.append(point)
    return [[_line(left, right) for left, right in itertools.pairwise(points)]]


def secant_knots(pool: PoolOption, held: float, upper: float) -> list[float]:
    """Positions at which the gain is met: 0, shares of size, V0, `upper`, and where utilisation crosses the kink."""
    knots = {upper, min(held, upper)}
    if pool.size_usd is not None and pool.size_usd > held:
        knots |= {share * pool.size_usd for share in SECANT_SHARES if share * pool.size_usd < upper}
    if pool.curve is not None and pool.supply_usd is not None and pool.borrow_usd is not None:
        crossing = pool.borrow_usd / pool.curve.kink - (pool.supply_usd - held)
        knots |= {crossing} if 0.0 < crossing < upper else set()
    points = [0.0]
    for knot in sorted(knots):
        if knot - points[-1] > 1e-9 * max(1.0, upper):
            points.append(knot)
    return points


def _line(left: Point, right: Point) -> Line:
    slope = (right[1] - left[1]) / (right[0] - left[0])
    return slope, left[1] - slope * left[0]


def _between(left: float, right: float) -> list[float]:
    """Values in (left, right], the last one `right` itself."""
    return [left + (right - left) * step / PROBES for step in range(1, PROBES)] + [right]


def _is_below(lines: Sequence[Line], points: Sequence[Point], gain: Gain) -> bool:
    """Whether the lines are concave in their order and nowhere above the gain."""
    if any(later > earlier for (earlier, _), (later, _) in itertools.pairwise(lines)):
        return False
    ends = itertools.pairwise(points)
    return all(
        slope * value + intercept <= gain(value) + _slack(right[1])
        for (slope, intercept), (left, right) in zip(lines, ends, strict=True)
        for value in _between(left[0], right[0])
    )


def _slack(gain: float) -> float:
    """Rounding of sums."""
    return 1e-12 * max(1.0, abs(gain))


def _near(points: Sequence[Point], gain: Gain, held: float) -> Branch:
    """Concave lines below the gain that meet it at 0 and V0 and follow it from there as far as they can.

    Left of V0 the chord from 0 lies below, since the rate falls with V; the secants are finer where they are concave.
    """
    low = [point for point in points if point[0] <= held]
    high = [point for point in points if point[0] >= held]
    left = [_line(*pair) for pair in itertools.pairwise(low)]
    if not _is_below(left, low, gain):
        left = [_line(low[0], low[-1])]
    return left + (_onwards(high, 1, left[-1][0] if left else float("inf"), gain) if len(high) > 1 else [])


def _far(points: Sequence[Point], gain: Gain) -> Branch:
    """Of the lines that go straight from 0 to a knot and follow the gain from there, those with the largest maximum;
    among equals those that are higher on the way."""
    candidates = [_onwards(points, target, float("inf"), gain) for target in range(1, len(points))]
    heights = [[secant_gain([lines], value) for value, _ in points] for lines in candidates]
    top = max(map(max, heights))
    best = max(range(len(candidates)), key=lambda at: (max(heights[at]) >= top * (1.0 - 1e-9), sum(heights[at])))
    return candidates[best]


def _onwards(points: Sequence[Point], target: int, steepest: float, gain: Gain) -> Branch:
    """Lines from the first point: towards the knot `target`, as steep as stays below the gain, then from knot to knot.

    A line is never steeper than the one before it: where the gain is, they go on below it.
    """
    (at, reached), lines = points[0], []
    for begin, end in [(0, target), *itertools.pairwise(range(target, len(points)))]:
        passed = [
            value
            for (left, _), (right, _) in itertools.pairwise(points[begin : end + 1])
            for value in _between(left, right)
        ]
        steepest = min(steepest, *((gain(value) - reached) / (value - at) for value in passed))
        lines.append((steepest, reached - steepest * at))
        at, reached = points[end][0], reached + steepest * (points[end][0] - at)
    return lines
