"""A state folder of the soak: what was asked of it, and the journal of what has happened in it.

Lives here: `YearOptions`, `Journal`. Not here: who runs the days (soak_year.py) and starts those processes
(soak_runs.py).
"""

import json
import os
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.soak_market import UNIVERSE_FOLDER
from defiyield_assets.settings import Settings


@dataclass(frozen=True)
class YearOptions:
    """One run of the year."""

    folder: Path
    days: int
    pools: int
    seed: int
    faults_seed: int | None = None
    is_broken: bool = False
    """Nothing is healed: a test sees that the comparison finds it."""

    @property
    def command(self) -> list[str]:
        """The process that runs these days."""
        told = ["--days", str(self.days), "--pools", str(self.pools), "--seed", str(self.seed)]
        told += [] if self.faults_seed is None else ["--faults-seed", str(self.faults_seed)]
        told += ["--broken"] if self.is_broken else []
        return [sys.executable, "-m", "benchmarks.soak_year", str(self.folder), *told]

    @property
    def settings(self) -> Settings:
        """Settings of the installation in the folder."""
        url = f"sqlite:///{(self.folder / 'warehouse.sqlite').resolve()}"
        universe = (self.folder / UNIVERSE_FOLDER).resolve()
        return Settings(
            market="simulated", state_dir=self.folder, database_url=url, config_dir=universe, market_seed=self.seed
        )


class Journal:
    """Lines of JSON of what has happened; one that a kill has torn does not count."""

    def __init__(self, folder: Path, name: str = "journal.jsonl") -> None:
        self._path = folder / name

    def note(self, what: str, **facts: Any) -> None:
        """Add a line; it is on the disk afterwards. What a kill left of a line is ended first."""
        with self._path.open("a+b") as log:
            if log.tell():
                log.seek(-1, os.SEEK_END)
                if log.read(1) != b"\n":
                    log.write(b"\n")
            log.write(json.dumps({"what": what, **facts}).encode() + b"\n")
            log.flush()
            os.fsync(log.fileno())

    def lines(self, what: str, day: date | None = None) -> list[dict[str, Any]]:
        """All lines of a kind, or those of a day."""
        if not self._path.exists():
            return []
        beginning = f'{{"what": "{what}"'
        told = self._path.read_text(encoding="utf-8").splitlines()
        found = [facts for line in told if line.startswith(beginning) and (facts := _whole(line)) is not None]
        return [facts for facts in found if day is None or facts["day"] == str(day)]

    def forget(self) -> None:
        """Begin anew."""
        self._path.unlink(missing_ok=True)

    @property
    def n_days(self) -> int:
        """How many days are over."""
        return len(self.lines("day"))

    def done(self, day: date) -> set[str]:
        """Steps of the day that ended well."""
        return {line["step"] for line in self.lines("step", day)}


def _whole(line: str) -> dict[str, Any] | None:
    try:
        facts: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError:
        return None
    return facts


def pace_of(runs_folder: Path) -> Journal:
    """What the processes of runs side by side are told: how many days they may have, and when to stop."""
    return Journal(runs_folder, "pace.jsonl")
