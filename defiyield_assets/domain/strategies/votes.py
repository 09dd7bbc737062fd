"""What members of a composite want at each bar, and where they agree.

Lives here: wishes of a plan without prices, the four votes. Not here: plans (plans.py), the composite's own orders.
"""

import numpy as np
import pandas as pd

from defiyield_assets.domain.strategies.bars import Matrix, PriceHistory
from defiyield_assets.domain.strategies.language import CompositeStrategy
from defiyield_assets.domain.strategies.plans import Plan, begins, plan
from defiyield_assets.domain.strategies.signals import Flags
from defiyield_assets.domain.strategies.strategy import Strategy


def agreement(
    strategy: Strategy, history: PriceHistory, start: int, signals: pd.DataFrame | None
) -> tuple[Flags, bool]:
    """Where the members of a composite agree to be in on its side, (n, k), and whether one of them follows a model that
    knew the time."""
    spec = strategy.spec
    if not isinstance(spec, CompositeStrategy):
        raise TypeError(f"{spec.id} is no composite")
    side = 1.0 if spec.side == "long" else -1.0
    plans = [plan(one, history, signals) for one in strategy.members]
    wishes = [wanted(one, history) == side for one in plans]
    return _agreed(spec, wishes, history.is_bar, start), any(one.is_in_sample for one in plans)


def _agreed(spec: CompositeStrategy, wishes: list[Flags], is_bar: Flags, start: int) -> Flags:
    """The vote of a composite on what its members wish."""
    if spec.vote == "sequential":
        return _sequential(wishes, is_bar, start, spec.within)
    if spec.vote == "unanimous":
        return np.asarray(np.logical_and.reduce(wishes), dtype=bool)
    weights = [one.weight if spec.vote == "weighted" else 1.0 for one in spec.members]
    share = sum(weight * wish for weight, wish in zip(weights, wishes, strict=True)) / sum(weights)
    least = spec.threshold if spec.vote == "weighted" else 0.5
    return np.asarray(share > least, dtype=bool)


def wanted(one: Plan, history: PriceHistory) -> Matrix:
    """The side that a plan wants to be on, (n, k): 1 long, -1 short, 0 out.

    From its rules alone: in from an entry to the next exit (by the bars since the entry), whatever stops would have
    done. An allocation wants what has a share.
    """
    is_bar = history.is_bar
    for told in (one.shares, one.purchases):
        if told is not None:
            return (pd.DataFrame(told).ffill().to_numpy() > 0).astype(np.float64)
    result = np.zeros(is_bar.shape)
    column = np.arange(is_bar.shape[1])
    for rule in one.rules:
        ages, flags = np.array(rule.exits.ages, dtype=np.int64), np.stack(rule.exits.flags)
        held = np.zeros(is_bar.shape[1], dtype=np.int64)
        """Bars since the entry's decision, its own counted; 0: out."""
        for row in range(one.start, len(is_bar)):
            bars = is_bar[row]
            leave = flags[np.searchsorted(ages, held, side="right"), row, column]
            held = np.where(bars & (held > 0), np.where(leave, 0, held + 1), held)
            held = np.where(bars & (held == 0) & rule.enter[row], 1, held)
            result[row] += rule.side * (held > 0)
    return np.sign(result)


def _sequential(wishes: list[Flags], is_bar: Flags, start: int, within: int) -> Flags:
    """In from the last member's beginning, each at most `within` bars after the one before it, to that member's end."""
    starts = [begins(wish, is_bar, start) for wish in wishes]
    columns = is_bar.shape[1]
    since = np.full((len(wishes), columns), within + 1)
    """Bars since a member began in its turn."""
    is_in = np.zeros(columns, dtype=bool)
    result = np.zeros_like(is_bar)
    for row in range(start, len(is_bar)):
        bars = is_bar[row]
        since = np.where(bars, since + 1, since)
        for number, began in enumerate(starts):
            in_turn = began[row] & (np.ones(columns, dtype=bool) if number == 0 else since[number - 1] <= within)
            since[number] = np.where(in_turn & bars, 0, since[number])
        is_in = np.where(bars, (is_in & wishes[-1][row]) | (since[-1] == 0), is_in)
        result[row] = is_in & bars
    return result
