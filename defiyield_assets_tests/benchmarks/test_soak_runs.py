"""Runs side by side with toy processes: killed ones are started again, and whenever they stop they have the same days.

Not here: real days (test_soak_days.py).
"""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import soak_runs
from benchmarks.soak_folder import Journal, YearOptions
from benchmarks.soak_runs import LEAD, Patience, run_side_by_side

TOY = """
import json, os, signal, sys, time
from pathlib import Path
folder, days, kind = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
journal, pace, killed = folder / "journal.jsonl", folder.parent / "pace.jsonl", folder / "killed"
n = len(journal.read_text().splitlines()) if journal.exists() else 0
while n < days:
    told = [json.loads(line) for line in pace.read_text().splitlines()]
    if n >= max(line.get("days", 0) for line in told):
        if any(line["what"] == "stop" for line in told):
            break
        time.sleep(0.02)
        continue
    if n == 2 and kind == "dies" and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if n == 2 and kind in ("fails", "ends"):
        sys.exit(3 if kind == "fails" else 0)
    if kind == "slow":
        time.sleep(0.1)
    with journal.open("a") as log:
        log.write('{"what": "day", "day": "%d"}\\n' % n)
    n += 1
"""


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Toy processes in place of years; what kind one is, its folder says."""

    def start(options: YearOptions) -> subprocess.Popen[bytes]:
        options.folder.mkdir(exist_ok=True)
        kind = options.folder.name
        return subprocess.Popen([sys.executable, "-S", "-c", TOY, str(options.folder), str(options.days), kind])

    monkeypatch.setattr(soak_runs, "start", start)
    monkeypatch.setattr(soak_runs, "POLL_SECONDS", 0.02)


def runs(folder: Path, days: int, *kinds: str) -> list[YearOptions]:
    """Runs of toys of these kinds."""
    return [YearOptions(folder / kind, days, 1, 1) for kind in kinds]


def days_of(options: list[YearOptions]) -> list[int]:
    """How many days each of them has."""
    return [Journal(one.folder).n_days for one in options]


def test_one_that_was_killed_is_started_again_and_all_get_all_days(tmp_path: Path) -> None:
    both = runs(tmp_path, 5, "whole", "dies")
    run_side_by_side(both)
    assert (tmp_path / "dies" / "killed").exists()
    assert days_of(both) == [5, 5]


def test_when_time_is_over_all_have_the_same_days(tmp_path: Path) -> None:
    both = runs(tmp_path, 1_000, "whole", "slow")
    run_side_by_side(both, lambda: Journal(both[1].folder).n_days >= 3)
    fast, slow = days_of(both)
    assert 3 <= slow == fast < 1_000


def test_none_gets_far_ahead_and_one_that_does_not_finish_its_days_stops_the_other(tmp_path: Path) -> None:
    both = runs(tmp_path, 1_000, "whole", "ends")
    run_side_by_side(both)
    assert days_of(both) == [2 + LEAD, 2]


def test_one_that_ends_badly_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"ended with 3: .*fails/process\.log"):
        run_side_by_side(runs(tmp_path, 5, "whole", "fails"))


def test_a_stopped_soak_goes_on_to_its_last_day(tmp_path: Path) -> None:
    both = runs(tmp_path, 8, "whole", "slow")
    run_side_by_side(both, lambda: Journal(both[1].folder).n_days >= 1)
    assert max(days_of(both)) < 8
    run_side_by_side(both)
    assert days_of(both) == [8, 8]


def test_patience_ends_with_its_minutes() -> None:
    assert Patience(0.0).is_over()
    assert not Patience(60.0).is_over()
    assert not Patience().is_over()


def test_a_signal_ends_patience() -> None:
    patience, before = Patience(), signal.getsignal(signal.SIGTERM)
    try:
        patience.listen()
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert patience.is_over()
