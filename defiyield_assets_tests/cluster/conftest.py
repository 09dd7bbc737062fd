"""What the tests of clusters share: one Redis server for the session."""

from collections.abc import Iterator

import pytest

from defiyield_assets_tests.cluster.machines import Broker, broker_running


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A Redis server."""
    with broker_running(tmp_path_factory.mktemp("redis")) as running:
        yield running
