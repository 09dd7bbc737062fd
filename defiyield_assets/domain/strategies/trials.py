"""Evidence beside ranks: all strategies of a universe as trials over one long real history.

Lives here: returns of trials side by side, and what evidence.py and walk_forward.py say of them. Not here: those
statistics, ranks (ranking.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from defiyield_assets.domain.strategies.bars import Matrix
from defiyield_assets.domain.strategies.evidence import Overfitting, deflated_of_trials, overfitting
from defiyield_assets.domain.strategies.metrics import returns_of
from defiyield_assets.domain.strategies.tear_sheet import evidence_figures
from defiyield_assets.domain.strategies.walk_forward import Record, walk_forward
from defiyield_assets.errors import SuspiciousDataError

EVIDENCE_COLUMNS = (
    *("strategy_id", "n_trials", "full_history_sharpe", "deflated_sharpe", "hurdle", "pbo"),
    *("walk_forward_sharpe", "efficiency", "selection_sharpe"),
)


@dataclass(frozen=True)
class Trials:
    """Returns in excess of cash by bar (bars, trials) of the strategies of a universe, over the same bars."""

    strategies: tuple[str, ...]
    returns: Matrix
    periods_per_year: float


def trials_of(curves: Mapping[str, pd.DataFrame], periods_per_year: float) -> Trials:
    """Trials from equity curves (equity, cash_benchmark) over the same marks, by strategy.

    SuspiciousDataError for curves of different length.
    """
    names = tuple(sorted(curves))
    excess = []
    for name in names:
        equity, cash = (curves[name][column].to_numpy(dtype=np.float64) for column in ("equity", "cash_benchmark"))
        steps = returns_of(equity)
        # Money that never moved has no Sharpe ratio: less the smooth return of cash it would have one of minus twenty,
        # and the variance of the trials, which every hurdle rests on, would be made of it alone.
        excess.append(steps - returns_of(cash) if steps.any() else np.zeros(len(steps)))
    if len({len(one) for one in excess}) > 1:
        raise SuspiciousDataError("trials of one universe have curves of different lengths; run them again")
    return Trials(names, np.column_stack(excess) if excess else np.zeros((0, 0)), periods_per_year)


def evidence_of(trials: Trials, n_trials: int) -> pd.DataFrame:
    """Rows of EVIDENCE_COLUMNS: deflated Sharpe ratio, PBO of the universe, walk-forward.

    A strategy has no parameter that was fitted here, so its own walk-forward is its record over the tests, in sample
    against out of sample. What is chosen is a strategy: `selection_sharpe`, the same for all of a universe, is what
    came of holding in every test the one that had been best in the training before it, and is to be compared with the
    best in hindsight. What too short a history cannot tell is None.
    """
    overfit, year = _overfitting(trials), trials.periods_per_year
    chosen = _walked(trials, range(len(trials.strategies)))
    rows = []
    for column, name in enumerate(trials.strategies):
        own = trials.returns[:, column]
        deviation = float(np.std(own, ddof=1)) if len(own) > 1 else 0.0
        sharpe = float(own.mean()) / deviation * float(np.sqrt(year)) if deviation > 1e-12 else None
        figures = evidence_figures(
            deflated_of_trials(trials.returns, column, n_trials), overfit, _walked(trials, [column]), year
        )
        figures["selection_sharpe"] = None if chosen is None else chosen.sharpe
        rows.append({"strategy_id": name, "full_history_sharpe": sharpe, **figures, "n_trials": n_trials})
    return pd.DataFrame(rows, columns=list(EVIDENCE_COLUMNS))


def _overfitting(trials: Trials) -> Overfitting | None:
    try:
        return overfitting(trials.returns)
    except SuspiciousDataError:
        return None  # fewer than two trials, or too few bars: unknown


def _walked(trials: Trials, columns: Sequence[int]) -> Record | None:
    try:
        return walk_forward(trials.returns[:, list(columns)], trials.periods_per_year)
    except SuspiciousDataError:
        return None  # shorter than one split: unknown
