"""Forecasts kept by the content that they rest on, in the table forecast_cache.

Lives here: the `ForecastCache` of the warehouse. Not here: its protocol and its keys (domain/forecasting/cache.py),
what is worth keeping (domain/forecasting/costly.py).
"""

import io
import logging
import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects import postgresql, sqlite

from defiyield_assets.domain.forecasting.cache import LITTLE_ENDIAN, parts_of
from defiyield_assets.store import schema
from defiyield_assets.store.engine import read_transaction, write_transaction

logger = logging.getLogger(__name__)

KEYS_A_QUERY = 1000
"""How many keys one query asks for; databases limit the parameters of a statement (SQLite: 32,766)."""
ZLIB_LEVEL = 1
"""A body is three figures or a few; the level makes no difference to them, the checksum that zlib adds does."""


class WarehouseForecastCache:
    """The `ForecastCache` of domain/forecasting/cache.py in the table forecast_cache."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def find(self, keys: Sequence[str]) -> dict[str, NDArray[np.float64]]:
        """What is kept of these keys. A body that was damaged is said in the log, removed, and counts as not known."""
        table = schema.forecast_cache
        by_digest = {parts_of(key)[2]: key for key in keys}
        found: dict[str, NDArray[np.float64]] = {}
        damaged: dict[str, bytes] = {}
        with read_transaction(self._engine, table.name) as connection:
            for digests in _chunks(list(by_digest)):
                query = sa.select(table.c.content_sha256, table.c.body).where(table.c.content_sha256.in_(digests))
                for digest, body in connection.execute(query):
                    try:
                        found[by_digest[digest]] = _unpack(body)
                    except (zlib.error, ValueError, EOFError) as error:
                        logger.warning("forecast_cache: %s was damaged and is removed: %s", by_digest[digest], error)
                        damaged[digest] = body
        self._remove(damaged)
        return found

    def keep(self, entries: Mapping[str, NDArray[np.float64]]) -> None:
        """Keep figures in one transaction; two processes may bring the same key at once, the first wins."""
        if not entries:
            return
        table = schema.forecast_cache
        rows = [_row_of(key, figures) for key, figures in entries.items()]
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        with write_transaction(self._engine, table.name) as connection:
            connection.execute(insert(table).on_conflict_do_nothing(), rows)

    def _remove(self, damaged: Mapping[str, bytes]) -> None:
        """Remove rows by digest so that `keep` may bring them anew; a body that another process healed stays."""
        if not damaged:
            return
        table = schema.forecast_cache
        with write_transaction(self._engine, table.name) as connection:
            for digest, body in damaged.items():
                connection.execute(table.delete().where(table.c.content_sha256 == digest, table.c.body == body))


def _chunks(digests: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(digests), KEYS_A_QUERY):
        yield digests[start : start + KEYS_A_QUERY]


def _row_of(key: str, figures: NDArray[np.float64]) -> dict[str, str | bytes]:
    model, version, digest = parts_of(key)
    return {"content_sha256": digest, "model": model, "model_version": version, "body": _pack(figures)}


def _pack(figures: NDArray[np.float64]) -> bytes:
    """NumPy's own file format (shape and little-endian float64), compressed by zlib, which adds a checksum."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(figures, dtype=LITTLE_ENDIAN), allow_pickle=False)
    return zlib.compress(buffer.getvalue(), ZLIB_LEVEL)


def _unpack(body: bytes) -> NDArray[np.float64]:
    """What `_pack` was given; raises zlib.error, ValueError or EOFError for a body that it never made."""
    figures = np.load(io.BytesIO(zlib.decompress(body)), allow_pickle=False)
    if not isinstance(figures, np.ndarray) or figures.dtype != LITTLE_ENDIAN:
        raise ValueError("the figures are no float64 numbers")
    return figures.astype(np.float64)
