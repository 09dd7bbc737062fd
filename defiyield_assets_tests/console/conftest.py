"""Fixtures of the console's tests: a desk and a client over five days of the simulated loop.

Lives here: what pages are tried on. Not here: how desks are put together (desks.py), the loop (installations.py).
"""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from defiyield_assets.console.desk import Desk
from defiyield_assets_tests.console.desks import client_of, desk_over
from defiyield_assets_tests.installations import Installation, Loop


@pytest.fixture(scope="session")
def console_state(closed_loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A copy of the five days; tests read it, nobody changes it."""
    return closed_loop.installation.copy_to(tmp_path_factory.mktemp("console") / "state")


@pytest.fixture(scope="session")
def desk(console_state: Installation, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """What the console over the five days stands on."""
    return desk_over(console_state.engine, tmp_path_factory.mktemp("desk"))


@pytest.fixture(scope="session")
def console(desk: Desk) -> Iterator[TestClient]:
    """A browser of the console over the five days."""
    with client_of(desk) as client:
        yield client
