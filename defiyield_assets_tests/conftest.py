"""Fixtures that every room's tests share. Room-specific fixtures live in the conftest of that room."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def recorded_data() -> Path:
    """The folder of recorded market data; required in CI, otherwise its tests say that they were skipped."""
    named = os.environ.get("DEFIYIELD_RECORDED_DATA", "")
    if named and Path(named).is_dir():
        return Path(named)
    if os.environ.get("DEFIYIELD_REQUIRE_RECORDED_DATA") == "1":
        pytest.fail(f"DEFIYIELD_REQUIRE_RECORDED_DATA=1, but DEFIYIELD_RECORDED_DATA={named!r} is no folder")
    return pytest.skip("set DEFIYIELD_RECORDED_DATA to the folder of recorded data to run this test")
