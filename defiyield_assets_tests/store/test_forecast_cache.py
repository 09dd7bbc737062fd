"""The forecast cache of the warehouse: figures come back by the bit, or not at all."""

import io
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import sqlalchemy as sa

from defiyield_assets.domain.forecasting.cache import ForecastCache, content_key
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.store import forecast_cache, reads, schema
from defiyield_assets.store.engine import make_engine
from defiyield_assets.store.forecast_cache import KEYS_A_QUERY, WarehouseForecastCache

FIGURES = np.array([0.1, np.nan, -0.0, np.inf, 5e-324, 1 / 3])


def keys(number: int) -> list[str]:
    return [content_key("theta", "1+library-2", (1, 7, 30), np.array([float(n)])) for n in range(number)]


KEY = keys(1)[0]


def rows(engine: sa.Engine) -> int:
    return len(reads.read_all(engine, schema.forecast_cache))


def test_it_is_a_forecast_cache(sqlite_warehouse: sa.Engine) -> None:
    cache: ForecastCache = WarehouseForecastCache(sqlite_warehouse)
    cache.keep({})
    assert cache.find([]) == {}
    assert cache.find([KEY]) == {}


@pytest.mark.parametrize("figures", [FIGURES, np.array([]), FIGURES.reshape(2, 3), FIGURES[::2], np.tile(FIGURES, 999)])
def test_figures_come_back_by_the_bit(warehouse: sa.Engine, figures: np.ndarray) -> None:
    WarehouseForecastCache(warehouse).keep({KEY: figures})
    found = WarehouseForecastCache(warehouse).find([KEY])[KEY]
    assert found.shape == figures.shape
    assert found.tobytes() == figures.tobytes()
    found[...] = 0.0  # the finder's own


def test_a_row_names_its_model_and_version(warehouse: sa.Engine) -> None:
    WarehouseForecastCache(warehouse).keep({KEY: FIGURES})
    row = reads.read_all(warehouse, schema.forecast_cache).iloc[0]
    assert (row["model"], row["model_version"]) == ("theta", "1+library-2")
    assert row["content_sha256"] == KEY.rsplit("/", 1)[1]


def test_more_keys_are_found_than_one_query_asks_for(warehouse: sa.Engine) -> None:
    cache = WarehouseForecastCache(warehouse)
    wanted = keys(2 * KEYS_A_QUERY + 1)
    cache.keep({key: np.array([float(n)]) for n, key in enumerate(wanted[:-1])})
    found = cache.find(wanted)
    assert {key: figures[0] for key, figures in found.items()} == {key: n for n, key in enumerate(wanted[:-1])}


def test_the_first_figures_of_a_key_stay(warehouse: sa.Engine) -> None:
    cache = WarehouseForecastCache(warehouse)
    first, second = keys(2)
    cache.keep({first: np.array([1.0])})
    cache.keep({first: np.array([2.0]), second: np.array([3.0])})
    assert cache.find([first])[first].tolist() == [1.0]
    assert cache.find([second])[second].tolist() == [3.0]


def test_many_may_bring_the_same_keys_at_once(warehouse: sa.Engine) -> None:
    wanted = keys(50)
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda order: WarehouseForecastCache(warehouse).keep(dict.fromkeys(wanted[::order], FIGURES)),
                [1, -1, 1, -1],
            )
        )
    assert rows(warehouse) == len(wanted)


def test_what_cannot_be_kept_whole_is_not_kept_in_part(warehouse: sa.Engine) -> None:
    with pytest.raises(ValueError, match="no cache key"):
        WarehouseForecastCache(warehouse).keep({KEY: FIGURES, "nonsense": FIGURES})
    assert rows(warehouse) == 0


def packed(values: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=allow_pickle)
    return zlib.compress(buffer.getvalue())


DAMAGED = {
    "empty": b"",
    "text": b"no zlib",
    "truncated": packed(FIGURES)[:-5],
    "flipped": packed(FIGURES)[:-3] + bytes([packed(FIGURES)[-3] ^ 1]) + packed(FIGURES)[-2:],
    "no numbers": zlib.compress(b"something else"),
    "nothing": zlib.compress(b""),
    "integers": packed(np.array([1, 2])),
    "pickled": packed(np.array([{}], dtype=object), allow_pickle=True),
}


def damage(engine: sa.Engine, key: str, body: bytes) -> None:
    """The row of the key gets another body."""
    table = schema.forecast_cache
    with engine.begin() as connection:
        connection.execute(sa.update(table).where(table.c.content_sha256 == key.rsplit("/", 1)[1]).values(body=body))


@pytest.mark.parametrize("body", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_body_is_told_counts_as_not_known_and_heals(
    warehouse: sa.Engine, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(forecast_cache.logger, "warning", lambda text, *parts: said.append(text % parts))
    cache, (sound, broken) = WarehouseForecastCache(warehouse), keys(2)
    cache.keep({sound: FIGURES, broken: np.array([1.0])})
    damage(warehouse, broken, body)
    found = cache.find([sound, broken])
    assert set(found) == {sound}
    assert found[sound].tobytes() == FIGURES.tobytes()
    (told,) = said
    assert broken in told
    cache.keep({broken: np.array([2.0])})
    assert cache.find([broken])[broken].tolist() == [2.0]
    assert said == [told]


def test_what_another_process_healed_meanwhile_stays(warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = WarehouseForecastCache(warehouse)
    cache.keep({KEY: np.array([1.0])})
    damage(warehouse, KEY, b"no zlib")
    remove = WarehouseForecastCache._remove

    def healed_before(own: WarehouseForecastCache, damaged: Mapping[str, bytes]) -> None:
        damage(warehouse, KEY, packed(np.array([2.0])))
        remove(own, damaged)

    monkeypatch.setattr(WarehouseForecastCache, "_remove", healed_before)
    assert cache.find([KEY]) == {}
    monkeypatch.undo()
    assert cache.find([KEY])[KEY].tolist() == [2.0]


def test_a_warehouse_without_the_table_says_what_to_do(empty_database: str) -> None:
    engine = make_engine(empty_database)
    for attempt in (lambda cache: cache.find([KEY]), lambda cache: cache.keep({KEY: FIGURES})):
        with pytest.raises(ConfigurationError, match=r"(?s)forecast_cache.*migrated"):
            attempt(WarehouseForecastCache(engine))
    engine.dispose()
