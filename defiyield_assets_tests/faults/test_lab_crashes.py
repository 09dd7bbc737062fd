"""The strategy lab is killed in the middle of every kind of write; in the end its tables are those of an undisturbed
run.

Not here: the assets of a day (test_crashes.py), two sets at once (orchestration/test_strategy_lab.py).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from defiyield_assets.settings import PROJECT_ROOT
from defiyield_assets_tests.orchestration.small_lab import Lab

pytestmark = pytest.mark.nightly
TABLES = ("scenarios", "scenario_metrics", "equity_curves", "strategy_rankings")
PATIENCE_SECONDS = 300.0


def test_killed_in_the_middle_of_every_step_the_lab_is_whole_in_the_end(tmp_path: Path) -> None:
    undisturbed, other = Lab(tmp_path / "undisturbed"), Lab(tmp_path / "killed")
    other.engine.dispose()
    command = [sys.executable, "-m", "defiyield_assets_tests.faults.interrupted_lab", str(tmp_path / "killed"), *TABLES]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("DEFIYIELD_")}
    done = subprocess.run(
        command, cwd=PROJECT_ROOT, env=ours, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert told == [*({"killed": table, "code": -9} for table in TABLES), {"killed": None, "code": 0}]
    assert undisturbed.generate().success
    assert undisturbed.assess().success
    assert other.prints() == undisturbed.prints()
