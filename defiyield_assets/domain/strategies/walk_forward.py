"""Walk-forward: a choice is made on past bars and judged on later ones, again and again.

Lives here: splits of time, the choice among trials by split, the record of what the choices earned. Not here: running
a strategy (runs.py), luck among many trials (evidence.py).
"""

from dataclasses import dataclass, field

import numpy as np

from defiyield_assets.domain.strategies.bars import Matrix, Vector
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError

NOISE = 1e-12
"""A standard deviation below this is rounding."""


@dataclass(frozen=True)
class WalkForward:
    """How time is split, in bars.

    `train`: bars that a choice knows; `test`: bars on which it is judged; `embargo`: bars between them that neither
    has, because a position or a target of the last training bars reaches into them. `is_anchored`: training begins
    with the first bar and grows, instead of rolling on. `least_test`: a last test shorter than this is left out.
    The default is two years of sessions, half a year, a week.
    """

    train: int = 504
    test: int = 126
    embargo: int = 5
    is_anchored: bool = False
    least_test: int = 21

    def __post_init__(self) -> None:
        """ConfigurationError for lengths that leave no split."""
        if min(self.train, self.test, self.least_test) < 1 or self.embargo < 0 or self.least_test > self.test:
            raise ConfigurationError(
                f"walk-forward of train {self.train}, test {self.test}, embargo {self.embargo}, least_test "
                f"{self.least_test}: lengths are positive, the embargo is at least 0, least_test is at most test"
            )


DEFAULT = WalkForward()


@dataclass(frozen=True)
class Split:
    """Rows of one split: training is start .. stop - 1, the test is start .. stop - 1 after the embargo."""

    train_start: int
    train_stop: int
    test_start: int
    test_stop: int

    @property
    def train(self) -> slice:
        """Rows of training."""
        return slice(self.train_start, self.train_stop)

    @property
    def test(self) -> slice:
        """Rows of the test."""
        return slice(self.test_start, self.test_stop)


@dataclass(frozen=True)
class Record:
    """What came of walking forward.

    `splits` and, for each, `chosen`: number of the trial, -1 where none had a Sharpe ratio (nothing is held then);
    `in_sample`, `out_of_sample`: its annualised Sharpe ratio on training and test, NaN unknown. `returns` (tested
    bars,) and `rows`: the choices' returns one after another, and where they stand. `sharpe`: annualised, of
    `returns`; `efficiency`: mean out-of-sample over mean in-sample Sharpe ratio, None unless that is positive.
    """

    splits: tuple[Split, ...]
    chosen: tuple[int, ...]
    in_sample: Vector
    out_of_sample: Vector
    returns: Vector
    rows: np.ndarray[tuple[int, ...], np.dtype[np.intp]] = field(repr=False)
    sharpe: float | None = None
    efficiency: float | None = None


def splits(n_bars: int, plan: WalkForward = DEFAULT, first: int = 0) -> tuple[Split, ...]:
    """The splits of rows `first` .. n_bars - 1; tests follow each other without overlap and without a gap.

    SuspiciousDataError where the bars do not suffice for one.
    """
    found = []
    test_start = first + plan.train + plan.embargo
    while n_bars - test_start >= plan.least_test:
        stop = min(test_start + plan.test, n_bars)
        train_stop = test_start - plan.embargo
        found.append(Split(first if plan.is_anchored else train_stop - plan.train, train_stop, test_start, stop))
        test_start = stop
    if not found:
        least = plan.train + plan.embargo + plan.least_test
        raise SuspiciousDataError(f"{n_bars - first} bars cannot be walked forward; {least} are needed: {plan}")
    return tuple(found)


def walk_forward(returns: Matrix, periods_per_year: float, plan: WalkForward = DEFAULT, first: int = 0) -> Record:
    """Choose in every split the trial of the greatest Sharpe ratio in training and take what it returns in the test.

    `returns` (bars, trials): excess returns by bar of every variant, each run causally over all bars, NaN unknown; of
    equals the first is chosen. What a trial returns in a bar where it has no return is 0: nothing is held.
    """
    made = splits(len(returns), plan, first)
    inside = np.full(len(made), np.nan)
    outside = np.full(len(made), np.nan)
    chosen, earned, rows = [], [], []
    for number, split in enumerate(made):
        ratios = np.array([_sharpe(column, periods_per_year) for column in returns[split.train].T])
        best = int(np.nanargmax(ratios)) if np.isfinite(ratios).any() else -1
        tested = returns[split.test, best] if best >= 0 else np.zeros(split.test_stop - split.test_start)
        if best >= 0:
            inside[number], outside[number] = ratios[best], _sharpe(tested, periods_per_year)
        chosen.append(best)
        earned.append(np.nan_to_num(tested))
        rows.append(np.arange(split.test_start, split.test_stop))
    whole = np.concatenate(earned)
    sharpe = _sharpe(whole, periods_per_year)
    return Record(
        made,
        tuple(chosen),
        inside,
        outside,
        whole,
        np.concatenate(rows),
        sharpe if np.isfinite(sharpe) else None,
        _efficiency(inside, outside),
    )


def _sharpe(returns: Vector, periods_per_year: float) -> float:
    """Annualised; NaN without variance or with fewer than two returns."""
    known = returns[np.isfinite(returns)]
    deviation = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
    return float(known.mean()) / deviation * float(np.sqrt(periods_per_year)) if deviation > NOISE else float("nan")


def _efficiency(inside: Vector, outside: Vector) -> float | None:
    both = np.isfinite(inside) & np.isfinite(outside)
    if not both.any() or float(inside[both].mean()) <= 0.0:
        return None
    return float(outside[both].mean() / inside[both].mean())
