"""Runs of the soak side by side, each a process that may die and is started again; none gets far ahead of the others.

Lives here: starting, pacing and stopping them. Not here: what a process does (soak_year.py), what comes of it
(soak_compared.py).

A run that is ahead waits: so whenever the soak is stopped, all runs have the same days and can be compared.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from types import FrameType

from benchmarks.soak_folder import Journal, YearOptions, pace_of
from benchmarks.soak_market import write_universe

LEAD = 2
"""Days that a run may be ahead of the slowest."""
POLL_SECONDS = 1.0
QUICK = {
    "DEFIYIELD_PICTURES": "0",
    "DEFIYIELD_RETRY_DELAY_SECONDS": "0",
    "DEFIYIELD_COSTLY_BUDGET_SECONDS": "0",
    "DEFIYIELD_MARKET": "simulated",
    **{f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")},
}
"""Environment of the runs: nothing is drawn, retries follow at once, costly models have no time, a core for each."""


class Patience:
    """When to stop: after so many minutes, or when this process is asked to end (SIGTERM)."""

    def __init__(self, minutes: float | None = None) -> None:
        self._ends = None if minutes is None else time.monotonic() + 60.0 * minutes
        self._is_asked = False

    def listen(self) -> None:
        """From now on SIGTERM means: no more days, then the comparison."""
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._is_asked = True

    def is_over(self) -> bool:
        """Whether no further day is to begin."""
        return self._is_asked or (self._ends is not None and time.monotonic() >= self._ends)


def start(options: YearOptions) -> subprocess.Popen[bytes]:
    """The process of a run, its words in a file in the folder; it does not hear the signals of this one's group."""
    options.folder.mkdir(parents=True, exist_ok=True)
    write_universe(options.folder)
    ours = {name: value for name, value in os.environ.items() if not name.startswith("DEFIYIELD_")}
    with (options.folder / "process.log").open("ab") as log:
        return subprocess.Popen(
            options.command,
            env={**ours, **QUICK},
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def run_side_by_side(runs: Sequence[YearOptions], is_over: Callable[[], bool] = lambda: False) -> None:
    """All runs at once, in folders beside one another; one that was killed is started again until its days are over.

    Raises RuntimeError when one ended by itself and not well.
    """
    runs[0].folder.parent.mkdir(parents=True, exist_ok=True)
    pace, allowed, has_stopped = pace_of(runs[0].folder.parent), 0, False
    pace.forget()
    processes: dict[YearOptions, subprocess.Popen[bytes]] = {}
    try:
        while True:
            slowest = min((Journal(options.folder).n_days for options in processes), default=0)
            if not has_stopped and (is_over() or _has_failed(runs, processes)):
                pace.note("stop")
                has_stopped = True
            elif not has_stopped and slowest + LEAD > allowed:
                allowed = slowest + LEAD
                pace.note("allowed", days=allowed)
            processes = _still_running(processes) if processes else {options: start(options) for options in runs}
            if not processes:
                return
            time.sleep(POLL_SECONDS)
    finally:
        for process in processes.values():
            process.kill()


def _has_failed(runs: Sequence[YearOptions], processes: dict[YearOptions, subprocess.Popen[bytes]]) -> bool:
    """Whether a run has ended before its last day: a day did not become whole."""
    ended = [options for options in runs if processes and options not in processes]
    return any(Journal(options.folder).n_days < options.days for options in ended)


def _still_running(processes: dict[YearOptions, subprocess.Popen[bytes]]) -> dict[YearOptions, subprocess.Popen[bytes]]:
    """Those that have not ended, one that was killed started again."""
    left = {}
    for options, process in processes.items():
        code = process.poll()
        if code is None:
            left[options] = process
        elif code == -signal.SIGKILL:
            left[options] = start(options)
        elif code:
            raise RuntimeError(f"a run ended with {code}: {options.folder / 'process.log'} says why")
    return left
