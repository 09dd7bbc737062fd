"""What a backtest replays: the tables as they stood at the end of each day, and what every pool really paid.

Lives here: the shapes of the two, and realised yields from histories. Not here: where tables come from (benchmarks, the
warehouse), the replay (engine.py). The two are kept apart: decisions are given `KnownDay`s only.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.forecasting.models import Matrix
from defiyield_assets.domain.forecasting.panel import build_panel
from defiyield_assets.domain.ledger.rates import DAYS_PER_YEAR, daily_factor


@dataclass(frozen=True)
class KnownDay:
    """The tables of one day that selection and the optimiser read (columns as in store/schema), as known at its end.

    `pools` may hold older rows of pools that the vendor no longer lists; `barred` are lower-case `chain:address` ids.
    """

    day: date
    pools: pd.DataFrame
    prefiltered: pd.DataFrame
    quality: pd.DataFrame
    metrics: pd.DataFrame
    groups: pd.DataFrame
    icebox: pd.DataFrame
    forecasts: pd.DataFrame
    bars: pd.DataFrame
    gas_forecasts: pd.DataFrame
    gas_daily: pd.DataFrame
    barred: AbstractSet[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class RealisedYields:
    """What pools paid: APYs (fractions) and recorded size (USD) by pool and day, last known value carried.

    `base`, `reward` and `size` have one row per pool id and one column per day from `first_day` on; a pool that nobody
    has recorded for longer than the carry pays nothing, `is_observed` tells where a value is the day's own.
    """

    pool_ids: tuple[str, ...]
    first_day: date
    base: Matrix
    reward: Matrix
    size: Matrix
    is_observed: NDArray[np.bool_]

    @property
    def row(self) -> dict[str, int]:
        """Row of each pool."""
        return {pool_id: index for index, pool_id in enumerate(self.pool_ids)}

    @property
    def n_days(self) -> int:
        """Number of columns."""
        return int(self.base.shape[1])

    def column(self, day: date) -> int:
        """Column of a day; IndexError when the histories do not reach it."""
        column = (day - self.first_day).days
        if not 0 <= column < self.n_days:
            raise IndexError(f"yields are known from {self.first_day} on for {self.n_days} days, not of {day}")
        return column

    @property
    def daily(self) -> Matrix:
        """Growth of a day by pool and day: base compounded, (1+base)^(1/365)-1, plus the reward, simple."""
        base = np.maximum(self.base, -1.0)
        return np.asarray((1.0 + base) ** (1.0 / DAYS_PER_YEAR) - 1.0 + self.reward / DAYS_PER_YEAR, dtype=np.float64)


def realised_yields(histories: pd.DataFrame, first_day: date, last_day: date, carry_days: int) -> RealisedYields:
    """Yields of every day in the range from rows of `pool_histories` (one revision of each point).

    A day that nobody recorded pays what was last observed, for at most `carry_days` days; then nothing. APYs that
    are negative or above any bound are paid as recorded: what happened is not filtered.
    """
    n_days = (last_day - first_day).days + 1
    panel = build_panel(histories, last_day, n_days + carry_days)
    is_observed = np.isfinite(panel.values["apy"]) | np.isfinite(panel.values["apy_base"])
    base, reward = (_carried(panel.values[name], is_observed, carry_days) for name in ("apy_base", "apy_reward"))
    size = _carried(panel.values["tvl_usd"], np.isfinite(panel.values["tvl_usd"]), n_days + carry_days)
    kept = slice(carry_days, None)
    return RealisedYields(
        panel.pool_ids, first_day, base[:, kept], reward[:, kept], size[:, kept], is_observed[:, kept]
    )


def _carried(values: Matrix, is_observed: NDArray[np.bool_], carry_days: int) -> Matrix:
    """The last observed value, if it is at most `carry_days` old; otherwise 0."""
    columns = np.arange(values.shape[1])
    last = np.maximum.accumulate(np.where(is_observed, columns, -1), axis=1)
    is_known = (last >= 0) & (columns - last <= carry_days)
    found = np.take_along_axis(values, np.maximum(last, 0), axis=1)
    return np.where(is_known, np.nan_to_num(found), 0.0)


def growth(base: float, reward: float, own_share: float) -> Decimal:
    """Growth of a position in a day, exact: ((1+base)^(1/365) - 1 + reward/365) diluted by our own share of the pool.

    `own_share`: S/(S + V) for our V beside the recorded size S (allocation.md, dilution); a loss is not diluted.
    """
    simple = Decimal(repr(float(reward))) / DAYS_PER_YEAR
    earned = daily_factor(base) - 1 + simple
    return earned * Decimal(repr(own_share)) if earned > 0 else earned


class Records(Protocol):
    """Days of recorded tables; `known(day)` never tells anything that was not known by the end of the day."""

    @property
    def yields(self) -> RealisedYields:
        """What pools paid; only the accounts and the yardsticks with hindsight read it."""

    def known(self, day: date) -> KnownDay:
        """Tables of a day."""

    def execution_gas(self, day: date) -> tuple[int, Decimal]:
        """Average gas price (wei) and ETH price (USD) of a day on which transactions are sent."""


def decision_days(first_day: date, last_day: date) -> Sequence[date]:
    """Days on whose evening a plan is made: the day before each day of the range, which it is paid for."""
    n_days = (last_day - first_day).days + 1
    return [first_day + timedelta(days=step - 1) for step in range(n_days)]


def closes(known: KnownDay) -> Mapping[str, Decimal]:
    """Price of each instrument on the day, by `chain:address`."""
    today = known.bars[known.bars["date"] == known.day]
    return {
        str(name): Decimal(repr(float(close)))
        for name, close in zip(today["instrument_id"], today["close"], strict=True)
        if pd.notna(close)
    }
