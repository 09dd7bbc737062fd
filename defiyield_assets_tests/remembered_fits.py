"""Fits that one test's day has made are not made again by the next test's same day: a memo for the whole process.

Lives here: the forecast cache of the warehouse with that memo in front. Not here: whether a cache changes a figure
(domain/forecasting/test_pooled.py, orchestration/test_forecasting.py, which forgets everything first).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from defiyield_assets.orchestration.assets import forecasting
from defiyield_assets.store.forecast_cache import WarehouseForecastCache

FITS: dict[str, NDArray[np.float64]] = {}
"""By content key; a key never has two results."""


class RememberingCache(WarehouseForecastCache):
    """What the warehouse does not know but an earlier test does is kept in the warehouse as if it had been fitted."""

    def find(self, keys: Sequence[str]) -> dict[str, NDArray[np.float64]]:
        """From the warehouse, else from the memo."""
        found = super().find(keys)
        FITS.update(found)
        remembered = {key: FITS[key] for key in keys if key not in found and key in FITS}
        self.keep(remembered)
        return {key: figures.copy() for key, figures in (found | remembered).items()}

    def keep(self, entries: Mapping[str, NDArray[np.float64]]) -> None:
        """Into both."""
        FITS.update(entries)
        super().keep(entries)


def remember_fits() -> None:
    """From now on the assets of this process use the memo."""
    setattr(forecasting, "WarehouseForecastCache", RememberingCache)  # noqa: B010 - a class is no variable to mypy
