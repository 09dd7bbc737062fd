"""Markets that the simulator's tests share. Not here: how to ask them (asking.py)."""

from datetime import date
from pathlib import Path

import pytest

from defiyield_assets.config.instruments import load_instruments
from defiyield_assets.config.loader import load_policy
from defiyield_assets.domain.policy import Policy
from defiyield_assets.simulator.generated import DEMO_DAY, GeneratedMarket
from defiyield_assets.simulator.recorded import RecordedMarket

SEED = 7


@pytest.fixture(scope="session")
def policy() -> Policy:
    """The shipped policy: lists and demo wallets."""
    return load_policy(DEMO_DAY).policy


@pytest.fixture(scope="session")
def generated(policy: Policy, tmp_path_factory: pytest.TempPathFactory) -> GeneratedMarket:
    """One generated market whose chain nobody changes."""
    folder = tmp_path_factory.mktemp("generated")
    lists, universe = (policy.wallets, policy.tokens, policy.protocols), load_instruments().instruments
    return GeneratedMarket(SEED, folder / "chain.sqlite", *lists, instruments=universe)


@pytest.fixture(scope="session")
def recorded(policy: Policy, recorded_data: Path, tmp_path_factory: pytest.TempPathFactory) -> RecordedMarket:
    """One recorded market whose chain nobody changes."""
    folder = tmp_path_factory.mktemp("recorded")
    lists, universe = (policy.wallets, policy.tokens, policy.protocol_aliases), load_instruments().instruments
    return RecordedMarket(recorded_data, folder / "chain.sqlite", *lists, instruments=universe)


@pytest.fixture(scope="session")
def recorded_day() -> date:
    """A day with most series of the panel."""
    return date(2025, 6, 3)
