"""How long the demo's run takes (without installing): the whole graph for one day on the simulated market.

Alternative in the same run: a second day in the same state, which asks for no history again.
"""

import os
import subprocess
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path
from time import perf_counter

from benchmarks.targets import finish

DAY = date(2025, 6, 3)
ROOT = Path(__file__).resolve().parents[1]


def run(day: date, state: str) -> float:
    """Seconds of one `defiyield run` in a process of its own."""
    started = perf_counter()
    environment = {**os.environ, "DEFIYIELD_STATE_DIR": state, "DAGSTER_HOME": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "defiyield_assets.cli.main",
        "run",
        "--date",
        day.isoformat(),
        "--market",
        "simulated",
    ]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return perf_counter() - started


def main() -> int:
    """Print the table and the closing line."""
    with tempfile.TemporaryDirectory() as state:
        first = run(DAY, state)
        second = run(DAY + timedelta(days=1), state)
    print(f"{'run':<32}{'seconds':>10}{'ratio':>8}")
    print(f"{'first day, empty warehouse':<32}{first:>10.1f}{1.0:>8.2f}")
    print(f"{'next day, same warehouse':<32}{second:>10.1f}{second / first:>8.2f}")
    return finish("demo", {"run_seconds": first, "next_day_seconds": second})


if __name__ == "__main__":
    sys.exit(main())
