"""Daily APYs and sizes of the generated pools: log-normal AR(1) with a common factor, programmes, spikes and deaths.

Lives here: the numbers, block of days by block of days, from a seed. Not here: which pools exist
(generated_catalogue.py) or how they are told (pool_panel.py). APYs in percent, sizes in USD.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from defiyield_assets.simulator.generated_catalogue import PoolCharacter
from defiyield_assets.simulator.pool_panel import APY_DIGITS, STALE_DAYS, LendingLegs, Matrix, PoolPanel

Vector = npt.NDArray[np.float64]
_APY_MEMORY, _SIZE_MEMORY, _FACTOR_MEMORY = 0.96, 0.985, 0.995
_FACTOR_SPREAD = 0.2
_DEATH_DAYS = 45
"""A pool's last days: no yield, and its size melts away."""
_DEATH_DECAY = 0.2
_SPIKE_RANGE = (6.0, 25.0)
BLOCK_DAYS = 204
"""Days made at a time: few enough that the first answer comes soon, enough that growing is rare."""


@dataclass(frozen=True)
class _Block:
    """Matrices of one block of days, shape (days, pools) or (days, lending pools)."""

    apy: Matrix
    base: Matrix
    reward: Matrix
    tvl: Matrix
    supply: Matrix
    borrow: Matrix
    apy_borrow: Matrix


@dataclass(frozen=True)
class _State:
    """Where the random processes stand at the end of a block."""

    apy: Vector
    size: Vector
    factor: float


def wander(shocks: Matrix, memory: float, start: Vector) -> Matrix:
    """AR(1) of unit variance along the first axis: x[t] = memory·x[t−1] + sqrt(1 − memory²)·shock[t]."""
    path: Matrix = shocks * np.sqrt(1 - memory**2)
    last = start
    for i in range(len(path)):
        path[i] += memory * last
        last = path[i]
    return path


def _fill(column: npt.NDArray[Any], start: int, end: int, value: float | bool) -> None:
    """Set rows start … end−1, as far as the column has them."""
    if end > 0 and start < len(column):
        column[max(start, 0) : end] = value


@dataclass(frozen=True)
class _Column:
    """One pool's column of a block, changed in place."""

    base: Vector
    size: Vector
    reward: Vector
    absent: npt.NDArray[np.bool_]


def _shape_life(pool: PoolCharacter, first: int, column: _Column) -> None:
    """Birth, programmes, silent days and death of one pool, in place; `first`: ordinal of row 0."""
    for start, end, level in pool.programmes:
        _fill(column.reward, start.toordinal() - first, end.toordinal() - first, level)
    for start, end in pool.gaps:
        _fill(column.absent, start.toordinal() - first, end.toordinal() - first, True)
    _fill(column.absent, 0, pool.born.toordinal() - first, True)
    days = len(column.base)
    died = pool.died.toordinal() - first
    dying = max(died - _DEATH_DAYS, 0)
    if dying >= days:
        return
    column.base[dying:] = 0.0
    column.reward[dying:] = np.nan
    column.size[dying:] *= np.exp(-_DEATH_DECAY * (np.arange(dying, days) - (died - _DEATH_DAYS)))
    _fill(column.absent, died, days, True)


class GeneratedPools:
    """Blocks of pool numbers, made when first asked for and the same whatever was asked before."""

    def __init__(self, seed: int, pools: Sequence[PoolCharacter], first: date) -> None:
        self._seed = seed
        self._pools = tuple(pools)
        self._first = first
        self._blocks: list[_Block] = []
        rng = np.random.default_rng([seed, 2])
        count = len(self._pools)
        self._state = _State(rng.standard_normal(count), rng.standard_normal(count), 0.0)
        self._lending = np.array(
            [i for i, pool in enumerate(self._pools) if pool.utilisation is not None], dtype=np.int64
        )
        self._panel: PoolPanel | None = None

    def _column(self, name: str) -> Vector:
        return np.array([getattr(pool, name) for pool in self._pools], dtype=np.float64)

    def panel(self, day: date) -> PoolPanel:
        """A panel that reaches at least to the day."""
        needed = (day - self._first).days // BLOCK_DAYS + 1
        while len(self._blocks) < needed:
            self._blocks.append(self._make_block(len(self._blocks)))
            self._panel = None
        if self._panel is None:
            self._panel = self._joined()
        return self._panel

    def _joined(self) -> PoolPanel:
        def stack(name: str) -> Matrix:
            return np.concatenate([getattr(block, name) for block in self._blocks])

        return PoolPanel(
            [pool.facts for pool in self._pools],
            self._first,
            apy=stack("apy"),
            apy_base=stack("base"),
            apy_reward=stack("reward"),
            tvl=stack("tvl"),
            legs=LendingLegs(self._lending, stack("supply"), stack("borrow"), stack("apy_borrow")),
            stale_days=STALE_DAYS,
            has_row_stamps=True,
        )

    def _make_block(self, number: int) -> _Block:
        rng = np.random.default_rng([self._seed, 3, number])
        first = self._first + timedelta(days=number * BLOCK_DAYS)
        shape = (BLOCK_DAYS, len(self._pools))
        apy_path = wander(rng.standard_normal(shape), _APY_MEMORY, self._state.apy)
        size_path = wander(rng.standard_normal(shape), _SIZE_MEMORY, self._state.size)
        factor = wander(rng.standard_normal((BLOCK_DAYS, 1)), _FACTOR_MEMORY, np.array([self._state.factor]))
        is_spike = rng.random(shape) < self._column("spike_chance")
        self._state = _State(apy_path[-1].copy(), size_path[-1].copy(), float(factor[-1, 0]))

        spread = self._column("spread")
        base = self._column("level") * np.exp(spread * apy_path - spread**2 / 2 + _FACTOR_SPREAD * factor)
        base[is_spike] *= rng.uniform(*_SPIKE_RANGE, int(is_spike.sum()))
        size_spread = self._column("size_spread")
        size = self._column("size") * np.exp(size_spread * size_path - size_spread**2 / 2)
        reward = np.full(shape, np.nan)
        absent = np.zeros(shape, dtype=bool)
        for i, pool in enumerate(self._pools):
            column = _Column(base[:, i], size[:, i], reward[:, i], absent[:, i])
            _shape_life(pool, first.toordinal(), column)
        size = np.maximum(size, self._column("size_floor"))
        return self._rounded(base, reward, size, absent, apy_path)

    def _rounded(
        self, base: Matrix, reward: Matrix, size: Matrix, absent: npt.NDArray[np.bool_], apy_path: Matrix
    ) -> _Block:
        """The block as the vendor would tell it: rounded, NaN where it is silent, lending pools net of borrow."""
        base, reward, size = np.round(base, APY_DIGITS), np.round(reward, APY_DIGITS), np.floor(size)
        lending = self._lending
        mean = np.array([self._pools[i].utilisation for i in lending], dtype=np.float64)
        utilisation = np.clip(1 / (1 + np.exp(-(np.log(mean / (1 - mean)) + 0.35 * apy_path[:, lending]))), 0.02, 0.97)
        supply = np.where(absent[:, lending], np.nan, size[:, lending])
        borrow = np.floor(supply * utilisation)
        tvl = size
        tvl[:, lending] = supply - borrow
        tvl[absent] = np.nan
        base[absent] = np.nan
        reward[absent] = np.nan
        apy = np.round(base + np.nan_to_num(reward), APY_DIGITS)
        apy_borrow = np.round(base[:, lending] / utilisation / 0.9, APY_DIGITS)
        return _Block(apy, base, reward, tvl, supply, borrow, apy_borrow)
