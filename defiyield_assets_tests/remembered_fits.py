"""Fits that one test's day has made are not made again by another test's same day, whichever process runs it.

Lives here: the forecast cache of the warehouse with a memo in front. Not here: whether a cache changes a figure
(domain/forecasting/test_pooled.py, orchestration/test_forecasting.py, which forgets everything first).

The memo is a file in pytest's cache, so that both workers, the processes that tests start and `make test-slow` after
`make test` share it. It belongs to one state of the forecasting code and is left behind when that changes.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from defiyield_assets.domain import forecasting as rules
from defiyield_assets.orchestration.assets import forecasting
from defiyield_assets.store import schema
from defiyield_assets.store.engine import make_engine, write_transaction
from defiyield_assets.store.forecast_cache import WarehouseForecastCache

FOLDER_VARIABLE = "REMEMBERED_FITS"
"""Environment variable with the folder of the memo; without it nothing is remembered."""


@cache
def code_digest() -> str:
    """Fingerprint of the code that makes fits."""
    sources = sorted(Path(rules.__path__[0]).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


def memo() -> WarehouseForecastCache | None:
    """The memo of this state of the code; None where nothing is to be remembered."""
    folder = os.environ.get(FOLDER_VARIABLE)
    return _opened(Path(folder), os.getpid()) if folder else None


@cache
def _opened(folder: Path, _process: int) -> WarehouseForecastCache:
    """Opened once by each process: a fork must not use its parent's connection."""
    for path in folder.glob("*.sqlite*"):
        if not path.name.startswith(code_digest()):
            path.unlink(missing_ok=True)
    engine = make_engine(f"sqlite:///{folder / code_digest()}.sqlite")
    with write_transaction(engine, schema.forecast_cache.name) as connection:
        connection.execute(sa.schema.CreateTable(schema.forecast_cache, if_not_exists=True))
    return WarehouseForecastCache(engine)


class RememberingCache(WarehouseForecastCache):
    """What the warehouse does not know but an earlier test does is kept in the warehouse as if it had been fitted."""

    def find(self, keys: Sequence[str]) -> dict[str, NDArray[np.float64]]:
        """From the warehouse, else from the memo."""
        found, remembering = super().find(keys), memo()
        unknown = [key for key in keys if key not in found]
        if remembering is None or not unknown:
            return found
        remembered = remembering.find(unknown)
        super().keep(remembered)
        return found | remembered

    def keep(self, entries: Mapping[str, NDArray[np.float64]]) -> None:
        """Into both."""
        super().keep(entries)
        remembering = memo()
        if remembering is not None:
            remembering.keep(entries)


def remember_fits() -> None:
    """From now on the assets of this process use the memo."""
    setattr(forecasting, "WarehouseForecastCache", RememberingCache)  # noqa: B010 - a class is no variable to mypy
