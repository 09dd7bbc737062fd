"""Every second block of the random plans (test_random.py), in a file of its own for a second worker."""

import pytest

from defiyield_assets_tests.domain.allocation.random_plans import BLOCKS, block_outcomes


@pytest.mark.nightly
@pytest.mark.parametrize("block", range(1, BLOCKS, 2))
def test_thousands_of_random_plans_replay_without_error(block: int) -> None:
    found = block_outcomes(block)
    assert found["optimal"] > 200
    assert found["unverified"] <= 2
