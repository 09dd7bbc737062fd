"""The lab's chain in processes that die in the middle of a write: `python -m …faults.interrupted_lab FOLDER TABLE …`.

Lives here: the driver, which forks a child for each table; the child runs the chain until its first row goes into that
table, which is its last act. The last child runs it to the end. Not here: what must hold afterwards (test_lab_crashes).
Prints one JSON line for every child.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sa

from defiyield_assets.orchestration.assets.scenarios import SCENARIOS_NAME
from defiyield_assets.store import schema
from defiyield_assets_tests.faults.interrupted import die
from defiyield_assets_tests.installations import Installation
from defiyield_assets_tests.orchestration.small_lab import Lab

ROWS_BEFORE = 2
"""Writes into the table that come through before the one that does not."""


def die_while_writing(table: str) -> None:
    """From now on the third write into the table, or the first where a run has one only, is this process's last act."""
    seen = []
    least = 0 if table in ("scenarios", "strategy_rankings") else ROWS_BEFORE

    def before(_connection: sa.Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith(f"INSERT INTO {table} "):
            seen.append(statement)
            if len(seen) > least:
                die()

    sa.event.listen(sa.Engine, "before_cursor_execute", before)


def run_chain(folder: Path, killed: str | None) -> bool:
    """A set, where there is none yet, and its assessment."""
    made = Lab.__new__(Lab)
    made.installation = Installation(folder)
    made.engine, made.instance = made.installation.engine, dg.DagsterInstance.ephemeral()
    if killed is not None:
        die_while_writing(killed)
    rows = made.installation.rows(schema.scenarios)
    if rows.empty:
        return made.generate().success and made.assess().success
    made.instance.add_dynamic_partitions(SCENARIOS_NAME, rows.loc[rows["status"] == "ready", "partition_key"].tolist())
    return made.assess().success


def main() -> None:
    """Kill the chain at every table, then let it end."""
    folder, *tables = sys.argv[1:]
    for killed in (*tables, None):
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = 0 if run_chain(Path(folder), killed) else 1
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps({"killed": killed, "code": code}), flush=True)  # noqa: T201 - the driver's answer


if __name__ == "__main__":
    main()
