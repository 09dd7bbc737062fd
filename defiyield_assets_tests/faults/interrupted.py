"""A day run in processes of its own that die in the middle of a write: `python -m …faults.interrupted FOLDER DAY`.

Lives here: the driver, which imports everything once and forks a child for each attempt, and where a child dies. Not
here: what must hold afterwards (test_crashes.py). Prints one JSON line for every child.
"""

import argparse
import json
import os
import signal
import sys
from datetime import date
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from defiyield_assets.orchestration.declarations import PROGRESS
from defiyield_assets_tests.installations import Installation, failed_steps


def steps_of(installation: Installation) -> dict[str, list[str]]:
    """Step -> the assets that it makes, in an order in which everything comes after what it needs."""
    graph = installation.definitions.resolve_asset_graph()
    steps: dict[str, list[str]] = {}
    for key in graph.toposorted_asset_keys:
        if graph.get(key).is_materializable and "daily" in graph.get(key).tags:
            name = graph.get(key).assets_def.op.name
            steps.setdefault(name, []).append(key.to_user_string())
    return steps


def die() -> None:
    """Die as in a power cut."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_while_writing(step: str, tables: list[str]) -> None:
    """From now on, the first row that goes into a table of that step is this process's last act.

    A step that writes no row dies between its end and Dagster's knowing of it.
    """
    beginnings = tuple(f"INSERT INTO {table} " for table in tables)

    def before(_connection: sa.Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith(beginnings) or (step == "migrations" and statement.strip().startswith("CREATE INDEX")):
            die()

    sa.event.listen(sa.Engine, "before_cursor_execute", before)


def run_child(installation: Installation, day: date, assets: list[str] | None, done: Path, killed: str | None) -> None:
    """Run the assets of the day (None: all of them), noting each step that ends in the file."""

    def listen(step: str, what: str, _seconds: float) -> None:
        if what in ("done", "degraded"):
            if step == killed:
                die()
            with done.open("a", encoding="utf-8") as log:
                log.write(f"{step}\n")

    if killed is not None:
        die_while_writing(killed, steps_of(installation)[killed])
    PROGRESS.set(listen)
    result = installation.run(day, assets, raise_on_error=False)
    os._exit(1 if failed_steps(result) else 0)


def in_child(installation: Installation, day: date, assets: list[str] | None, done: Path, killed: str | None) -> int:
    """Exit code of a forked child that runs so; negative: the signal that ended it."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            run_child(installation, day, assets, done, killed)
        finally:
            os._exit(70)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_every_step(installation: Installation, day: date, done: Path) -> None:
    """One child after the other: each goes on where the one before it died, and dies in the next step."""
    steps = steps_of(installation)
    for step in steps:
        finished = set(done.read_text(encoding="utf-8").split()) if done.exists() else set()
        wanted = [asset for name, assets in steps.items() if name == step or name not in finished for asset in assets]
        code = in_child(installation, day, wanted, done, step)
        print(json.dumps({"killed": step, "code": code}), flush=True)  # noqa: T201 - the driver's answer
        if done.exists():
            kept = [name for name in done.read_text(encoding="utf-8").split() if name != step]
            done.write_text("".join(f"{name}\n" for name in kept), encoding="utf-8")
    finished = set(done.read_text(encoding="utf-8").split())
    rest = [asset for name, assets in steps.items() if name not in finished for asset in assets]
    print(json.dumps({"killed": None, "code": in_child(installation, day, rest, done, None)}), flush=True)  # noqa: T201


def main() -> None:
    """Run a day once, or kill every step of it on the way."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("day", type=date.fromisoformat)
    parser.add_argument("--kill-every-step", action="store_true")
    parser.add_argument("--database-url")
    arguments = parser.parse_args()
    installation = Installation(arguments.folder, database_url=arguments.database_url)
    done = arguments.folder / f"done-{os.getpid()}"
    if arguments.kill_every_step:
        kill_every_step(installation, arguments.day, done)
    else:
        code = in_child(installation, arguments.day, None, done, None)
        print(json.dumps({"killed": None, "code": code}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
