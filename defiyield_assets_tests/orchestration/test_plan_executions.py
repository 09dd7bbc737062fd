"""`plan_executions` asked for alone, as a repair or the UI does, without the blocking check before it.

Not here: the replay (domain/allocation) or whole days (test_end_to_end.py).
"""

from pathlib import Path

import pytest
import sqlalchemy as sa

from defiyield_assets.store import schema
from defiyield_assets_tests.installations import FIRST, Installation, Loop, failed_steps

pytestmark = pytest.mark.slow


def tamper(installation: Installation) -> None:
    """Drop the last deposit of the stored plan."""
    steps = schema.allocation_steps
    last = sa.select(sa.func.max(steps.c.seq)).where(steps.c.step_type == "DEPOSIT").scalar_subquery()
    with installation.engine.begin() as connection:
        assert connection.execute(sa.delete(steps).where(steps.c.seq == last)).rowcount


@pytest.mark.nightly
def test_a_plan_that_does_not_replay_goes_nowhere_even_without_its_check(first_day: Loop, tmp_path: Path) -> None:
    copy = first_day.installation.copy_to(tmp_path / "state")
    tamper(copy)
    before = copy.fingerprints()["plan_executions"]
    result = copy.run(FIRST, ["plan_executions"], raise_on_error=False)
    assert failed_steps(result) == {"plan_executions"}
    assert copy.fingerprints()["plan_executions"] == before
    outcomes = copy.rows(schema.asset_outcomes, FIRST)
    (reason,) = outcomes.loc[outcomes["asset"] == "plan_executions", "reason"]
    assert "does not replay" in reason


def test_a_plan_that_replays_may_be_handed_over_again(first_day: Loop, tmp_path: Path) -> None:
    copy = first_day.installation.copy_to(tmp_path / "state")
    before = copy.fingerprints()["plan_executions"]
    assert copy.run(FIRST, ["plan_executions"]).success
    assert copy.fingerprints()["plan_executions"] == before
