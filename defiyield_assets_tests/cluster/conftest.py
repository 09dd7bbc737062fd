"""Servers that the tests of clusters share: one Redis and one PostgreSQL for the session."""

from collections.abc import Iterator

import pytest

from defiyield_assets_tests.cluster.machines import Broker, broker_running
from defiyield_assets_tests.databases import postgres_server

__all__ = ["postgres_server"]


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A Redis server; skipped by name without one, or failed (DEFIYIELD_REQUIRE_REDIS=1)."""
    with broker_running(tmp_path_factory.mktemp("redis")) as running:
        yield running
