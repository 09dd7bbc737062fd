"""One plan with all rows that belong to it.

Lives here: finding a run by its id and reading its tables. Not here: what is shown (runs_detail.py) or offered as a
file (runs_files.py).
"""

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pandas as pd

from defiyield_assets.console.questions import Question
from defiyield_assets.console.views import View
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.reporting.plan_sections import records
from defiyield_assets.errors import NotFound
from defiyield_assets.store import reads, schema

RUN_ID = re.compile(r"[0-9A-Za-z._-]{1,120}")


@dataclass(frozen=True)
class RunTables:
    """A row of `allocation_runs` with its steps, holdings, limits, what became of it and the policy of its day."""

    run: pd.DataFrame
    steps: pd.DataFrame
    allocations: pd.DataFrame
    limits: pd.DataFrame
    execution: dict[str, Any] | None
    policy_json: str | None

    @property
    def facts(self) -> dict[str, Any]:
        """The row of `allocation_runs`."""
        return records(self.run)[0]

    @property
    def day(self) -> date:
        """The plan's day."""
        day: date = self.facts["date"]
        return day


def read_run(view: View, question: Question) -> RunTables:
    """The run that the address names; NotFound where there is none up to the day that is looked at."""
    run_id = question.asked.get("run_id", "")
    found = pd.DataFrame()
    if RUN_ID.fullmatch(run_id):
        found = reads.read_all(view.connection, schema.allocation_runs, {"run_id": run_id})
    if found.empty or found.iloc[0]["date"] > view.day:
        raise NotFound(f"there is no such run up to {view.day}; the page of all runs has their ids")
    own = {"run_id": run_id}
    executions = records(reads.read_all(view.connection, schema.plan_executions, own))
    return RunTables(
        run=found,
        steps=reads.read_all(view.connection, schema.allocation_steps, own),
        allocations=reads.read_all(view.connection, schema.allocations, own),
        limits=reads.read_all(view.connection, schema.allocation_limits, own),
        execution=executions[0] if executions else None,
        policy_json=policy_json_of(view, found.iloc[0]["date"]),
    )


def read_run_before(view: View, day: date) -> dict[str, Any] | None:
    """The newest run of an earlier day, None where there is none."""
    newest = reads.newest_day(view.connection, schema.allocation_runs, day - timedelta(days=1))
    if newest is None:
        return None
    return records(reads.read_days(view.connection, schema.allocation_runs, DayRange.of(newest)))[-1]


def policy_json_of(view: View, day: date) -> str | None:
    """The policy of a day as it was stored, None where it was not."""
    rows = reads.read_days(view.connection, schema.policy_snapshot, DayRange.of(day))
    return None if rows.empty else str(rows.iloc[0]["policy_json"])
