"""Daily APYs and sizes of the generated pools: wandering, spiking, rewarded, silent, frozen, born and dying.

Lives here: the numbers, block of days by block of days, from a seed. Not here: which pools exist and how lively they
are (generated_catalogue.py, generated_crowd.py), the random paths (generated_paths.py), how they are told
(pool_panel.py) or what recorded figures they are held against (docs/explanation/simulated-market.md).
APYs in percent, USD.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from defiyield_assets.simulator.generated_character import PoolCharacter
from defiyield_assets.simulator.generated_paths import (
    Flags,
    Vector,
    fading,
    heavy_tailed,
    held_from,
    repeated,
    switching,
    wander,
)
from defiyield_assets.simulator.pool_panel import (
    APY_DIGITS,
    STALE_DAYS,
    LendingLegs,
    Matrix,
    PastEdit,
    PoolPanel,
)

LISTING_FLOOR_USD = 10_000
"""The vendor lists pools of at least this size only: smaller ones come and go."""
BLOCK_DAYS = 204
"""Days made at a time: few enough that the first answer comes soon, enough that growing is rare."""
_SLOW, _SWING, _SIZE, _FACTOR, _REWARD = 0.985, 0.75, 0.992, 0.982, 0.9
"""Memories from day to day: of the slow and the fast part of an APY, of sizes, of the market, of reward rates."""
_SLOW_POWER, _APY_POWER, _SIZE_POWER = 2, 2, 3
"""Powers of the normal draws behind the changes of APYs (slow, fast) and of sizes: none is Gaussian."""
_SPIKE_LOG = (1.0, 1.7)
"""Height of a spike as a logarithm: at least, and the mean of what an exponential draw adds."""
_MAX_LOG = 13.0
_DEATH_DAYS = 45
"""A pool's last days: no yield, and its size melts away."""
_DEATH_DECAY = 0.2
_EDIT_LAG_DAYS = (STALE_DAYS + 2, 60)


@dataclass(frozen=True)
class _Block:
    """Matrices of one block of days, shape (days, pools) or (days, lending pools), and what is edited later."""

    apy: Matrix
    base: Matrix
    reward: Matrix
    tvl: Matrix
    supply: Matrix
    borrow: Matrix
    apy_borrow: Matrix
    edits: tuple[tuple[int, PastEdit], ...] = ()


@dataclass(frozen=True)
class _State:
    """Where the random processes stand at the end of a block."""

    slow: Vector
    swing: Vector
    size: Vector
    moved: Vector
    spike: Vector
    factor: Vector
    reward: Vector
    reward_level: Vector
    is_rewarded: Flags
    is_silent: Flags


class _Traits:
    """What `PoolCharacter` and its `Liveliness` say, as one vector per field."""

    def __init__(self, pools: Sequence[PoolCharacter]) -> None:
        own = [vars(pool) for pool in pools]
        kinds = [vars(pool.liveliness) for pool in pools]
        self._vectors = {
            name: np.array([one[name] for one in held], dtype=np.float64)
            for held in (own, kinds)
            for name in held[0]
            if isinstance(held[0][name], float)
        }

    def __getitem__(self, name: str) -> Vector:
        return self._vectors[name]


def _fill(column: npt.NDArray[np.bool_], start: int, end: int) -> None:
    """Set rows start … end−1, as far as the column has them."""
    if end > 0 and start < len(column):
        column[max(start, 0) : end] = True


class GeneratedPools:
    """Blocks of pool numbers, made when first asked for and the same whatever was asked before."""

    def __init__(self, seed: int, pools: Sequence[PoolCharacter], first: date) -> None:
        self._seed = seed
        self._pools = tuple(pools)
        self._first = first
        self._blocks: list[_Block] = []
        self._lending = np.array(
            [i for i, pool in enumerate(self._pools) if pool.utilisation is not None], dtype=np.int64
        )
        self._rewarded = np.array([i for i, pool in enumerate(self._pools) if pool.reward_share > 0], dtype=np.int64)
        self._traits = _Traits(self._pools)
        self._state = self._first_state()
        self._panel: PoolPanel | None = None

    def _first_state(self) -> _State:
        rng = np.random.default_rng([self._seed, 2])
        count = len(self._pools)
        slow, swing, size = rng.standard_normal((3, count))
        share = self._traits["reward_share"][self._rewarded]
        reward, level = rng.standard_normal((2, len(share)))
        return _State(
            slow=slow,
            swing=swing,
            size=size,
            moved=np.zeros(count),
            spike=np.zeros(count),
            factor=np.zeros(1),
            reward=reward,
            reward_level=level,
            is_rewarded=rng.random(len(share)) < share,
            is_silent=np.zeros(count, dtype=bool),
        )

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

        edits: dict[int, list[PastEdit]] = {}
        for block in self._blocks:
            for column, edit in block.edits:
                edits.setdefault(column, []).append(edit)
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
            edits=edits,
        )

    # --- one block --------------------------------------------------------------------------------------------------
    def _make_block(self, number: int) -> _Block:
        rng = np.random.default_rng([self._seed, 3, number])
        start = number * BLOCK_DAYS
        weekdays = (self._first.weekday() + start + np.arange(BLOCK_DAYS)) % 7
        is_weekend = (weekdays >= 5)[:, None]
        base, slow = self._base(rng, is_weekend)
        reward = self._rewards(rng)
        size, lent_out = self._sizes(rng, is_weekend, slow)
        absent, frozen = self._silence(rng, start)
        is_dead = self._kill(start, base, reward, size)
        told = self._told(
            repeated(base, frozen),
            repeated(reward, frozen),
            repeated(size, frozen),
            repeated(lent_out, frozen[:, self._lending]),
            absent | is_dead,
        )
        return replace(told, edits=self._edits(rng, start, told.base, told.reward))

    def _base(self, rng: np.random.Generator, is_weekend: Flags) -> tuple[Matrix, Matrix]:
        """Base APYs and the slow part of their logarithms."""
        traits, state = self._traits, self._state
        shape = (BLOCK_DAYS, len(self._pools))
        activity, calm = traits["activity"], np.where(is_weekend, traits["weekend_calm"], 1.0)
        slow = wander(heavy_tailed(rng, shape, _SLOW_POWER) * calm, _SLOW, state.slow)
        swing = wander(heavy_tailed(rng, shape, _APY_POWER) * calm, _SWING, state.swing)
        factor = wander(
            heavy_tailed(rng, (BLOCK_DAYS, 1), _SLOW_POWER) * np.where(is_weekend, 0.5, 1.0), _FACTOR, state.factor
        )
        low, mean = _SPIKE_LOG
        heights = low + rng.exponential(mean - low, shape)
        jumps = np.where(rng.random(shape) < traits["spike_chance"], heights, 0.0)
        spike = fading(jumps, traits["spike_keep"], state.spike)
        self._state = replace(state, slow=slow[-1], swing=swing[-1], factor=factor[-1], spike=spike[-1])
        noise = heavy_tailed(rng, shape, _APY_POWER) * calm
        path = activity * (traits["spread"] * slow + traits["swing"] * swing + traits["noise"] * noise) + spike
        path += traits["market_share"] * factor + np.where(is_weekend, traits["weekend_level"], 0.0)
        return traits["level"] * np.exp(np.minimum(path, _MAX_LOG)), slow

    def _rewards(self, rng: np.random.Generator) -> Matrix:
        """Reward APYs, NaN while no programme runs; every programme has a rate of its own."""
        traits, state, some = self._traits, self._state, self._rewarded
        shape = (BLOCK_DAYS, len(some))
        share, end = np.minimum(traits["reward_share"][some], 0.99), 1 / traits["reward_days"][some]
        runs = switching(rng.random(shape), end * share / (1 - share), end, state.is_rewarded)
        begins = runs & ~np.vstack([state.is_rewarded[None, :], runs[:-1]])
        level = held_from(begins, rng.standard_normal(shape), state.reward_level)
        path = wander(heavy_tailed(rng, shape, _SLOW_POWER), _REWARD, state.reward)
        self._state = replace(self._state, is_rewarded=runs[-1], reward_level=level[-1], reward=path[-1])
        log = traits["reward_spread"][some] * level + traits["reward_noise"][some] * path
        reward = np.full((BLOCK_DAYS, len(self._pools)), np.nan)
        rates = traits["reward_level"][some] * np.exp(np.minimum(log, _MAX_LOG))
        reward[:, some] = np.where(runs, rates, np.nan)
        return reward

    def _sizes(self, rng: np.random.Generator, is_weekend: Flags, slow: Matrix) -> tuple[Matrix, Matrix]:
        """Sizes (of lending pools: supply) and the share of lending pools' supply that is lent out."""
        traits = self._traits
        shape = (BLOCK_DAYS, len(self._pools))
        calm = np.where(is_weekend, traits["size_weekend_calm"], 1.0)
        path = wander(heavy_tailed(rng, shape, _SIZE_POWER) * calm, _SIZE, self._state.size)
        jumps = np.where(rng.random(shape) < traits["size_jump_chance"], rng.standard_normal(shape), 0.0)
        moved = fading(jumps, np.full(shape[1], _SIZE), self._state.moved)
        self._state = replace(self._state, size=path[-1], moved=moved[-1])
        log = (
            traits["size_spread"] * path
            + traits["size_jump"] * moved
            + traits["size_noise"] * heavy_tailed(rng, shape, _SIZE_POWER) * calm
        )
        size = np.maximum(traits["size"] * np.exp(np.clip(log, -_MAX_LOG, 4.0)), traits["size_floor"])
        lending = self._lending
        mean = np.array([self._pools[i].utilisation for i in lending], dtype=np.float64)
        noise = heavy_tailed(rng, (BLOCK_DAYS, len(lending)), _SIZE_POWER) * calm[:, lending]
        tilt = 0.35 * slow[:, lending] + traits["lent_noise"][lending] * noise
        return size, np.clip(1 / (1 + np.exp(-(np.log(mean / (1 - mean)) + tilt))), 0.02, 0.97)

    def _silence(self, rng: np.random.Generator, start: int) -> tuple[Flags, Flags]:
        """Where the vendor has no point, and where it repeats the last one."""
        traits, shape = self._traits, (BLOCK_DAYS, len(self._pools))
        absent = switching(rng.random(shape), traits["gap_chance"], 1 / traits["gap_days"], self._state.is_silent)
        self._state = replace(self._state, is_silent=absent[-1])
        nobody = np.zeros(len(self._pools), dtype=bool)
        frozen = switching(rng.random(shape), traits["stuck_chance"], 1 / traits["stuck_days"], nobody)
        first = self._first.toordinal() + start
        for i, pool in enumerate(self._pools):
            for from_day, to_day in pool.gaps:
                _fill(absent[:, i], from_day.toordinal() - first, to_day.toordinal() - first)
            for from_day, to_day in pool.stuck:
                _fill(frozen[:, i], from_day.toordinal() - first, to_day.toordinal() - first)
        frozen[0] = False
        return absent, frozen

    @cached_property
    def _births(self) -> npt.NDArray[np.int64]:
        return np.array([(pool.born - self._first).days for pool in self._pools])

    @cached_property
    def _deaths(self) -> npt.NDArray[np.int64]:
        return np.array([(pool.died - self._first).days for pool in self._pools])

    def _kill(self, start: int, base: Matrix, reward: Matrix, size: Matrix) -> Flags:
        """Where a pool is not born yet or gone; its last weeks are changed in place."""
        rows = start + np.arange(BLOCK_DAYS)[:, None]
        ill = self._deaths - _DEATH_DAYS
        for i in np.flatnonzero(ill < start + BLOCK_DAYS):
            dying = max(int(ill[i]) - start, 0)
            base[dying:, i] = 0.0
            reward[dying:, i] = np.nan
            size[dying:, i] *= np.exp(-_DEATH_DECAY * (rows[dying:, 0] - ill[i]))
        dead: Flags = (rows < self._births) | (rows >= self._deaths)
        return dead

    def _told(self, base: Matrix, reward: Matrix, size: Matrix, lent_out: Matrix, absent: Flags) -> _Block:
        """The block as the vendor would tell it: rounded, NaN where it is silent, lending pools net of borrow."""
        base, reward, tvl = np.round(base, APY_DIGITS), np.round(reward, APY_DIGITS), np.floor(size)
        lending = self._lending
        supply = tvl[:, lending]
        borrow = np.floor(supply * lent_out)
        tvl[:, lending] = supply - borrow
        absent = absent | (tvl < LISTING_FLOOR_USD)
        for matrix in (tvl, base, reward):
            matrix[absent] = np.nan
        supply[absent[:, lending]], borrow[absent[:, lending]] = np.nan, np.nan
        apy = np.round(base + np.nan_to_num(reward), APY_DIGITS)
        apy_borrow = np.round(base[:, lending] / lent_out / 0.9, APY_DIGITS)
        return _Block(apy, base, reward, tvl, supply, borrow, apy_borrow)

    def _edits(
        self, rng: np.random.Generator, start: int, base: Matrix, reward: Matrix
    ) -> tuple[tuple[int, PastEdit], ...]:
        """Points whose APY the vendor tells differently some days later."""
        rows, columns = np.nonzero((rng.random(base.shape) < self._traits["edit_chance"]) & (base > 0))
        lags = rng.integers(*_EDIT_LAG_DAYS, len(rows))
        bases = np.round(base[rows, columns] * np.exp(rng.normal(0.0, 0.5, len(rows))), APY_DIGITS)
        apys = np.round(bases + np.nan_to_num(reward[rows, columns]), APY_DIGITS)
        figures: Any = zip(rows.tolist(), columns.tolist(), lags.tolist(), apys.tolist(), bases.tolist(), strict=True)
        return tuple(
            (column, PastEdit(start + row, start + row + lag, apy, apy_base))
            for row, column, lag, apy, apy_base in figures
        )
