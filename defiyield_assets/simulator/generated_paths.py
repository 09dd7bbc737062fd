"""Random paths that the generated market is woven from: heavy-tailed shocks, memory, decay, switches, frozen days.

Lives here: arithmetic on matrices of shape (days, series), each row resting on the rows before it only. Not here: what
the paths stand for (generated_pools.py, generated_prices.py, generated_gas.py).
"""

import zlib

import numpy as np
import numpy.typing as npt

from defiyield_assets.simulator.pool_panel import Matrix

Vector = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
_POWER_VARIANCES = {1: 1.0, 2: 3.0, 3: 15.0}


def stream(seed: int, name: str) -> np.random.Generator:
    """A stream of random numbers that depends on the seed and the name only."""
    return np.random.default_rng([seed, 4, zlib.crc32(name.encode())])


def heavy_tailed(rng: np.random.Generator, shape: tuple[int, ...], power: int) -> Matrix:
    """Shocks of unit variance: a normal draw to the power 1, 2 or 3 with its sign; kurtosis 3, 11.7 and 46."""
    draws = rng.standard_normal(shape)
    size = np.abs(draws)
    for _ in range(power - 1):
        draws *= size
    draws /= np.sqrt(_POWER_VARIANCES[power])
    return draws


def wander(shocks: Matrix, memory: float, start: Vector) -> Matrix:
    """AR(1) of unit variance along the first axis: x[t] = memory·x[t−1] + sqrt(1 − memory²)·shock[t]."""
    path: Matrix = shocks * np.sqrt(1 - memory**2)
    last = start
    for i in range(len(path)):
        path[i] += memory * last
        last = path[i]
    return path


def fading(jumps: Matrix, keep: Vector, start: Vector) -> Matrix:
    """Jumps that fade: x[t] = keep·x[t−1] + jump[t]."""
    path = jumps.copy()
    last = start
    for i in range(len(path)):
        path[i] += keep * last
        last = path[i]
    return path


def switching(draws: Matrix, begin: Vector, end: Vector, start: Flags) -> Flags:
    """A switch per column: it goes on with chance `begin` and off with chance `end`; `draws` are uniform in [0, 1)."""
    path = np.empty(draws.shape, dtype=bool)
    last = start
    for i in range(len(path)):
        path[i] = np.where(last, draws[i] >= end, draws[i] < begin)
        last = path[i]
    return path


def held_from(is_set: Flags, values: Matrix, start: Vector) -> Matrix:
    """`values` where `is_set`, elsewhere the value of the row before."""
    path = np.empty(values.shape)
    last = start
    for i in range(len(path)):
        path[i] = np.where(is_set[i], values[i], last)
        last = path[i]
    return path


def repeated(values: Matrix, is_frozen: Flags) -> Matrix:
    """`values` with every frozen row replaced by the last row before it that was not; row 0 is never frozen."""
    rows = np.arange(len(values))[:, None]
    source = np.maximum.accumulate(np.where(is_frozen, 0, rows), axis=0)
    repeats: Matrix = np.take_along_axis(values, source, axis=0)
    return repeats
