"""Histories as matrices: one row per pool, one column per day, NaN where nothing was observed.

Lives here: alignment of days, completion of missing APY parts, bounds for fitting. Not here: which revision of a
point is known (domain/pools/histories.py) or what counts as a spike (domain/pools/quality.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.forecasting.models import Matrix
from defiyield_assets.errors import SuspiciousDataError

TARGETS = ("apy", "apy_base", "apy_reward", "tvl_usd")
EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Panel:
    """Values of all pools over consecutive days; rows are sorted by pool id, the last column is `last_day`."""

    pool_ids: tuple[str, ...]
    last_day: date
    values: Mapping[str, Matrix]
    is_hindsight: NDArray[np.bool_]

    @property
    def n_days(self) -> int:
        """Number of columns."""
        return int(self.values[TARGETS[0]].shape[1])

    def only(self, is_kept: NDArray[np.bool_]) -> "Panel":
        """The rows that are kept."""
        ids = tuple(pool_id for pool_id, kept in zip(self.pool_ids, is_kept, strict=True) if kept)
        values = {target: matrix[is_kept] for target, matrix in self.values.items()}
        return Panel(ids, self.last_day, MappingProxyType(values), self.is_hindsight[is_kept])

    def replace(self, **values: Matrix) -> "Panel":
        """The same panel with the values of some targets replaced."""
        return Panel(self.pool_ids, self.last_day, MappingProxyType({**self.values, **values}), self.is_hindsight)


def build_panel(histories: pd.DataFrame, last_day: date, n_days: int) -> Panel:
    """The `n_days` days up to and including `last_day` of every pool that has a row by then.

    `histories` has pool_id, date, apy, apy_base, apy_reward, tvl_usd and is_hindsight in any order; rows after
    `last_day` are dropped before anything looks at them. Missing parts of a known APY are completed: both null, the
    base is all of it; the reward alone null, it is 0; the base alone null, it is the rest. The width is fixed, so
    that the figures of a pool do not depend on how long the others have been there. Raises SuspiciousDataError when a
    pool has two rows of one day.
    """
    days = day_numbers(histories["date"])
    known = days <= day_number(last_day)
    rows = histories.loc[known]
    columns = days[known] - day_number(last_day) + n_days - 1
    pool_index, pool_ids = pd.factorize(rows["pool_id"], sort=True)
    shape = (len(pool_ids), n_days)
    inside = columns >= 0
    cells = (pool_index[inside], columns[inside])
    _refuse_duplicates(cells, shape, pool_ids)
    recent = rows.loc[inside]
    hindsight = np.zeros(shape[0], dtype=np.bool_)
    hindsight[cells[0][recent["is_hindsight"].to_numpy(dtype=np.bool_)]] = True
    raw = {target: _fill(shape, cells, recent[target]) for target in TARGETS}
    ids = tuple(str(pool_id) for pool_id in pool_ids)
    return Panel(ids, last_day, MappingProxyType(_complete_parts(raw)), hindsight)


def bound_for_fitting(panel: Panel, apy_max: float) -> dict[str, Matrix]:
    """Values as models may see them: at least 0, APYs at most `apy_max`, and the parts of an APY never above it.

    Where a spike was cut from the total, its parts are cut in the same proportion.
    """
    total = np.clip(panel.values["apy"], 0.0, apy_max)
    base = np.clip(panel.values["apy_base"], 0.0, None)
    reward = np.clip(panel.values["apy_reward"], 0.0, None)
    parts = base + reward
    factor = np.divide(total, parts, out=np.ones_like(total), where=parts > np.fmax(total, 0.0) * (1.0 + 1e-9))
    factor[np.isnan(factor)] = 1.0
    return {
        "apy": total,
        "apy_base": np.clip(base * factor, 0.0, apy_max),
        "apy_reward": np.clip(reward * factor, 0.0, apy_max),
        "tvl_usd": np.clip(panel.values["tvl_usd"], 0.0, None),
    }


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


def day_numbers(dates: "pd.Series[Any]") -> NDArray[np.int64]:
    """Days since 1970-01-01 of a column of dates."""
    return pd.to_datetime(dates).to_numpy(dtype="datetime64[D]").astype(np.int64)


def last_observed(values: Matrix) -> NDArray[np.int64]:
    """Column of the last observed value of each row, -1 where there is none."""
    observed = ~np.isnan(values)
    n_days = values.shape[1]
    last = n_days - 1 - np.argmax(observed[:, ::-1], axis=1)
    return np.where(observed.any(axis=1), last, -1)


def first_observed(values: Matrix) -> NDArray[np.int64]:
    """Column of the first observed value of each row, -1 where there is none."""
    observed = ~np.isnan(values)
    return np.where(observed.any(axis=1), np.argmax(observed, axis=1), -1)


def _fill(
    shape: tuple[int, int], cells: tuple[NDArray[np.int64], NDArray[np.int64]], column: "pd.Series[float]"
) -> Matrix:
    values = pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)
    matrix = np.full(shape, np.nan)
    matrix[cells] = np.where(np.isfinite(values), values, np.nan)
    return matrix


def _complete_parts(raw: dict[str, Matrix]) -> dict[str, Matrix]:
    total, base, reward = raw["apy"], raw["apy_base"], raw["apy_reward"]
    rest = total - np.where(np.isnan(reward), 0.0, reward)
    is_known = ~(np.isnan(base) & np.isnan(total))
    return {
        **raw,
        "apy_base": np.where(np.isnan(base), rest, base),
        "apy_reward": np.where(np.isnan(reward) & is_known, 0.0, reward),
    }


def _refuse_duplicates(
    cells: tuple[NDArray[np.int64], NDArray[np.int64]], shape: tuple[int, int], pool_ids: pd.Index
) -> None:
    if not len(cells[0]):
        return
    counts = np.bincount(cells[0] * shape[1] + cells[1])
    if counts.max() > 1:
        twice = [str(pool_ids[cell // shape[1]]) for cell in np.flatnonzero(counts > 1)[:5]]
        raise SuspiciousDataError(f"histories hold two rows of one day for pool {', '.join(sorted(set(twice)))}")
