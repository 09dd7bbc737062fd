"""What lets a forecast be found again by the exact values that it rests on, so that nothing is fitted twice.

Lives here: the protocol of such a cache, its keys, a cache in memory. Not here: the cache in the warehouse
(store/forecast_cache.py), the fits that are worth keeping (costly.py).
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

LITTLE_ENDIAN = np.dtype("<f8")
"""How figures are written down, on every machine."""


class ForecastCache(Protocol):
    """Figures by content key: a pure memo, so that a cache that is lost, empty or full changes no figure."""

    def find(self, keys: Sequence[str]) -> dict[str, NDArray[np.float64]]:
        """What is known of these keys; keys that are not known are left out."""
        ...

    def keep(self, entries: Mapping[str, NDArray[np.float64]]) -> None:
        """Keep figures by key; a key that is already there keeps what it has."""
        ...


class MemoryCache:
    """A cache for one process."""

    def __init__(self) -> None:
        self._entries: dict[str, NDArray[np.float64]] = {}

    def find(self, keys: Sequence[str]) -> dict[str, NDArray[np.float64]]:
        """Copies of what is known, so that nobody changes what the next one finds."""
        return {key: self._entries[key].copy() for key in keys if key in self._entries}

    def keep(self, entries: Mapping[str, NDArray[np.float64]]) -> None:
        """Keep copies; the first figures of a key stay."""
        for key, figures in entries.items():
            self._entries.setdefault(key, np.array(figures, dtype=np.float64))


def content_key(model: str, version: str, horizons: int | Sequence[int], *arrays: NDArray[np.float64]) -> str:
    """The key `model/version/digest` of what `model` says from exactly these arrays for these horizons.

    The digest is the SHA-256 of model, version, horizons, and every array's shape and little-endian float64 bytes.
    Equal numbers have one key: NaN counts as one value, -0.0 as 0.0. Raises ValueError when the model's name or its
    version is empty or holds a slash.
    """
    for name in (model, version):
        if not name or "/" in name:
            raise ValueError(f"a cache key is model/version/digest: {name!r} cannot be a part of it")
    days = (horizons,) if isinstance(horizons, int) else tuple(int(horizon) for horizon in horizons)
    digest = hashlib.sha256(f"{model}/{version}/{days}/{len(arrays)}".encode())
    for array in arrays:
        values = np.asarray(array, dtype=np.float64)
        canonical = np.where(np.isnan(values), np.nan, values + 0.0)
        digest.update(f"/{canonical.shape}/".encode())
        digest.update(canonical.astype(LITTLE_ENDIAN).tobytes())
    return f"{model}/{version}/{digest.hexdigest()}"


def parts_of(key: str) -> tuple[str, str, str]:
    """Model, version and digest of a key; raises ValueError for a text that content_key never made."""
    parts = key.split("/")
    if len(parts) != 3 or not all(parts):
        raise ValueError(f"{key!r} is no cache key; right would be model/version/digest")
    return parts[0], parts[1], parts[2]
