"""What an equity curve and its trades amount to: every figure that a backtest is judged by.

Lives here: the figures, each null (None) where it is not known. Not here: running (runs.py), ranks (ranking.py), the
deflated Sharpe ratio and the probability of overfitting, which need all trials (evidence).

Returns are simple and by bar; figures a year are by the bars of a year (365 or 252). Fractions throughout.
"""

from collections.abc import Mapping, Sequence
from math import isfinite, sqrt

import numpy as np

from defiyield_assets.domain.strategies.bars import Vector
from defiyield_assets.domain.strategies.state import Trade

LEAST_ANNUALISED = 63
"""Fewer returns are not made a year's return."""
LEAST_SQN = 10
LEAST_TAIL = 20
"""Fewer returns have no 5 % tail."""
LEAST_REGIME = 20
"""Fewer returns within a regime tell nothing of it."""
NOISE = 1e-12
"""A standard deviation below this is rounding."""
Figures = dict[str, float | None]


def returns_of(equity: Vector) -> Vector:
    """Simple returns between neighbouring values; -1 once everything is lost, 0 after that."""
    before = equity[:-1]
    return np.divide(equity[1:], before, out=np.ones_like(before), where=before > 0) - 1.0


def curve_figures(equity: Vector, risk_free: Vector, periods_per_year: float) -> Figures:
    """Figures of an equity curve (n + 1,) whose first value is the capital, beside what cash returned (n,).

    Money that never moved took no risk: its ratios are null. Less the smooth return of cash it would have a deviation,
    and a Sharpe ratio of minus a hundred that says nothing of the strategy.
    """
    steps = returns_of(equity)
    excess = steps - risk_free
    n, has_moved = len(steps), bool(steps.any())
    total = float(equity[-1] / equity[0] - 1.0) if n else None
    annual = None
    if total is not None and n >= LEAST_ANNUALISED:
        annual = (1.0 + total) ** (periods_per_year / n) - 1.0
    falls = drawdowns(equity)
    deepest = float(falls.min()) if n else None
    below = np.minimum(excess, 0.0)
    downside = sqrt(float(np.mean(below**2))) if n else 0.0
    deviation = float(np.std(excess, ddof=1)) if n > 1 else 0.0
    yearly = sqrt(periods_per_year)
    gains, losses = float(np.maximum(excess, 0.0).sum()), float(-below.sum())
    is_fallen = deepest is not None and deepest < 0.0
    return {
        "n_bars": float(n),
        "total_return": total,
        "annualised_return": annual,
        "volatility": float(np.std(steps, ddof=1)) * yearly if n > 1 else None,
        "sharpe": float(np.mean(excess)) / deviation * yearly if has_moved and deviation > NOISE else None,
        "sortino": float(np.mean(excess)) / downside * yearly if has_moved and downside > NOISE and n > 1 else None,
        "calmar": annual / -deepest if annual is not None and deepest is not None and is_fallen else None,
        "max_drawdown": deepest,
        "average_drawdown": average_drawdown(falls) if n else None,
        "longest_drawdown_bars": float(_longest(falls < 0)) if n else None,
        "recovery_bars": recovery_bars(equity),
        "recovery_factor": total / -deepest if total is not None and deepest is not None and is_fallen else None,
        "ulcer_index": sqrt(float(np.mean(falls**2))) if n else None,
        "omega": gains / losses if has_moved and losses > NOISE else None,
        **_tails(steps),
    }


def _tails(steps: Vector) -> Figures:
    """Loss at the 5 % quantile, mean loss beyond it, and the right tail over the left."""
    if len(steps) < LEAST_TAIL:
        return {"var_95": None, "cvar_95": None, "tail_ratio": None}
    low, high = (float(value) for value in np.quantile(steps, (0.05, 0.95)))
    return {
        "var_95": -low,
        "cvar_95": -float(steps[steps <= low].mean()),
        "tail_ratio": abs(high / low) if abs(low) > NOISE else None,
    }


def drawdowns(equity: Vector) -> Vector:
    """Each value against the greatest so far, as a fraction at most 0."""
    peak = np.maximum.accumulate(equity)
    return np.asarray(equity / peak - 1.0, dtype=np.float64)


def average_drawdown(falls: Vector) -> float:
    """Mean depth of the falls from one high to the next; 0 without one."""
    is_down = falls < 0.0
    starts = np.flatnonzero(is_down & ~np.concatenate([[False], is_down[:-1]]))
    ends = np.flatnonzero(is_down & ~np.concatenate([is_down[1:], [False]])) + 1
    depths = [float(falls[start:end].min()) for start, end in zip(starts, ends, strict=True)]
    return float(np.mean(depths)) if depths else 0.0


def recovery_bars(equity: Vector) -> float | None:
    """Bars from the bottom of the deepest fall back to the high before it; None where it never came back or fell."""
    falls = drawdowns(equity)
    bottom = int(np.argmin(falls))
    if falls[bottom] >= 0.0:
        return None
    back = np.flatnonzero(falls[bottom:] >= 0.0)
    return float(back[0]) if len(back) else None


def _longest(flags: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> int:
    """Longest run of true."""
    longest = run = 0
    for flag in flags.tolist():
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest


def trade_figures(trades: Sequence[Trade]) -> Figures:
    """Figures of round trips, net of all costs; ratios are null without trades or the losses that they divide by."""
    pnl = np.array([one.pnl for one in trades])
    made = np.array([one.return_ for one in trades])
    n = len(pnl)
    wins, losses = pnl[pnl > 0], pnl[pnl < 0]
    win_rate = len(wins) / n if n else None
    payoff = float(wins.mean() / -losses.mean()) if len(wins) and len(losses) else None
    deviation = float(np.std(pnl, ddof=1)) if n > 1 else 0.0
    return {
        "n_trades": float(n),
        "win_rate": win_rate,
        "profit_factor": float(wins.sum() / -losses.sum()) if len(losses) else None,
        "payoff": payoff,
        "expectancy": float(made.mean()) if n else None,
        "best_trade": float(made.max()) if n else None,
        "worst_trade": float(made.min()) if n else None,
        "sqn": sqrt(n) * float(pnl.mean()) / deviation if n >= LEAST_SQN and deviation > NOISE else None,
        "kelly": win_rate - (1.0 - win_rate) / payoff if win_rate is not None and payoff is not None else None,
        "longest_winning_streak": float(_longest(pnl > 0)) if n else None,
        "longest_losing_streak": float(_longest(pnl <= 0)) if n else None,
        "mean_bars_held": float(np.mean([one.bars_held for one in trades])) if n else None,
    }


def beta(steps: Vector, benchmark: Vector) -> float | None:
    """Covariance with the benchmark's returns over their variance; None where they do not vary."""
    if len(steps) < 2 or float(np.std(benchmark)) < NOISE:
        return None
    return float(np.cov(steps, benchmark, ddof=1)[0, 1] / np.var(benchmark, ddof=1))


def regime_figures(steps: Vector, risk_free: Vector, regimes: Sequence[str | None], periods_per_year: float) -> Figures:
    """Compounded return and Sharpe ratio over the bars of each regime; `regimes` (n,): as known before each bar.

    Null under LEAST_REGIME bars, ratios also where money never moved; bars of an unknown regime belong to none.
    """
    told = np.array(["" if name is None else name for name in regimes], dtype=object)
    found: Figures = {}
    for name in sorted(set(told.tolist()) - {""}):
        own = told == name
        excess = (steps - risk_free)[own]
        is_enough = len(excess) >= LEAST_REGIME
        deviation = float(np.std(excess, ddof=1)) if is_enough and steps[own].any() else 0.0
        sharpe = float(excess.mean()) / deviation * sqrt(periods_per_year) if deviation > NOISE else None
        found[f"regime_return_{name}"] = float(np.prod(1.0 + steps[own]) - 1.0) if is_enough else None
        found[f"regime_sharpe_{name}"] = sharpe
    return found


def finite(figures: Mapping[str, float | None]) -> Figures:
    """The figures, null where arithmetic left no finite number."""
    return {name: value if value is not None and isfinite(value) else None for name, value in figures.items()}
