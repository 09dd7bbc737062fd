"""The second half of the ten thousand random plans (test_random.py), in a file of its own for a second worker."""

import pytest

from defiyield_assets_tests.domain.allocation.random_plans import outcomes


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10, 20))
def test_ten_thousand_random_plans_replay_without_error(block: int) -> None:
    found = outcomes(range(10_000 + 500 * block, 10_500 + 500 * block))
    assert found["optimal"] > 200
    assert found["unverified"] <= 2
