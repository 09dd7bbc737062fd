"""Keys by content and the cache in memory."""

import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from defiyield_assets.domain.forecasting.cache import ForecastCache, MemoryCache, content_key, parts_of

VALUES = np.array([0.5, np.nan, 2.0])


def key(model: str = "theta", version: str = "1", horizons: int | tuple[int, ...] = (1, 7), *values: np.ndarray) -> str:
    return content_key(model, version, horizons, *(values or (VALUES,)))


def test_a_key_is_the_hash_of_what_was_read() -> None:
    nan = bytes.fromhex("000000000000f87f")
    content = b"theta/1/(1, 7)/1" + b"/(3,)/" + struct.pack("<d", 0.5) + nan + struct.pack("<d", 2.0)
    assert key() == f"theta/1/{hashlib.sha256(content).hexdigest()}"


def test_everything_that_a_forecast_rests_on_changes_its_key() -> None:
    others = [
        key("auto_ets"),
        key("theta", "2"),
        key("theta", "1", (1,)),
        key("theta", "1", 1),
        key("theta", "1", (7, 1)),
        key("theta", "1", (1, 7), np.array([0.5, 2.0, np.nan])),
        key("theta", "1", (1, 7), np.array([0.5, 2.0])),
        key("theta", "1", (1, 7), np.nextafter(VALUES, 9.0)),
        key("theta", "1", (1, 7), VALUES[None, :]),
        key("theta", "1", (1, 7), VALUES, VALUES),
        key("theta", "1", (1, 7), np.append(VALUES, VALUES)),
        key("theta", "1", (1, 7), VALUES, np.array([])),
    ]
    # (1,) and 1 ask for the same.
    assert len({key(), *others}) == len(others)


def test_equal_numbers_have_one_key() -> None:
    other_nan = np.array([0x7FF8000000000001], dtype=np.uint64).view(np.float64)
    assert np.isnan(other_nan[0])
    assert key("m", "1", 1, np.array([-0.0, np.nan])) == key("m", "1", 1, np.append([0.0], other_nan))
    every_second = np.repeat(VALUES, 2)[::2]
    assert key("m", "1", 1, every_second) == key("m", "1", 1, VALUES.astype(">f8"))
    assert key("m", "1", (np.int64(1), np.int64(7))) == key("m", "1", (1, 7))


@given(arrays(np.float64, st.integers(0, 5)), arrays(np.float64, st.integers(0, 5)))
def test_two_arrays_share_a_key_only_when_they_are_equal(one: np.ndarray, other: np.ndarray) -> None:
    assert (content_key("m", "1", 1, one) == content_key("m", "1", 1, other)) == np.array_equal(
        one, other, equal_nan=True
    )


def test_a_key_tells_its_model_and_version() -> None:
    model, version, digest = parts_of(key("auto_ets", "1+statsforecast-2.1.1"))
    assert (model, version, len(digest)) == ("auto_ets", "1+statsforecast-2.1.1", 64)


@pytest.mark.parametrize("parts", [("a/b", "1"), ("a", "1/2"), ("", "1"), ("a", "")])
def test_names_that_would_blur_a_key_are_refused(parts: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="model/version/digest"):
        content_key(*parts, 1, VALUES)


@pytest.mark.parametrize("text", ["", "digest", "a/b", "a//c", "a/b/c/d"])
def test_a_text_that_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no cache key"):
        parts_of(text)


def test_memory_finds_what_it_was_given_and_nothing_else() -> None:
    cache: ForecastCache = MemoryCache()
    cache.keep({"a": VALUES, "b": np.array([1.0])})
    found = cache.find(["b", "c", "a"])
    assert set(found) == {"a", "b"}
    np.testing.assert_array_equal(found["a"], VALUES)
    assert cache.find([]) == {}


def test_nobody_changes_what_memory_holds() -> None:
    cache = MemoryCache()
    figures = np.array([1.0, 2.0])
    cache.keep({"a": figures})
    figures[0] = 9.0
    cache.find(["a"])["a"][1] = 9.0
    cache.keep({"a": np.array([7.0, 7.0])})
    np.testing.assert_array_equal(cache.find(["a"])["a"], [1.0, 2.0])
