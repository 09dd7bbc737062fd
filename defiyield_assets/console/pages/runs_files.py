"""A plan as files: its steps and holdings as CSV, everything that belongs to it as JSON.

Lives here: what these files hold. Not here: how values are written (exports.py), the page (runs_detail.py).
"""

import json

from defiyield_assets.console.exports import CSV, JSON, csv_text, json_rows
from defiyield_assets.console.pages.runs_tables import read_run
from defiyield_assets.console.questions import Question
from defiyield_assets.console.serving import Download
from defiyield_assets.console.views import View
from defiyield_assets.domain.canonical import canonical_json
from defiyield_assets.domain.reporting.plan_sections import records
from defiyield_assets.store import schema

PARTS = (schema.allocation_steps, schema.allocations)
COLUMNS = ("table", *dict.fromkeys(column.name for table in PARTS for column in table.columns))
"""Columns of both tables; a row leaves those of the other one empty."""


def plan_csv(view: View, question: Question) -> Download:
    """Steps in the order in which they are sent, then holdings; amounts in base units, money with every digit."""
    found = read_run(view, question)
    steps = found.steps.sort_values(["seq", "leg"])
    rows = [
        {"table": table.name, **row}
        for table, frame in zip(PARTS, (steps, found.allocations), strict=True)
        for row in records(frame)
    ]
    return Download(f"plan-{found.facts['run_id']}.csv", CSV, csv_text(COLUMNS, rows))


def plan_json(view: View, question: Question) -> Download:
    """Run, steps, holdings, limits, what became of it and the policy, in canonical JSON.

    The policy is that of `policy_snapshot` as it stands: `content_hash` of its canonical text is its hash.
    """
    found = read_run(view, question)
    content = {
        "run": json_rows(schema.allocation_runs, found.run)[0],
        "steps": json_rows(schema.allocation_steps, found.steps),
        "allocations": json_rows(schema.allocations, found.allocations),
        "limits": json_rows(schema.allocation_limits, found.limits),
        "execution": None if found.execution is None else {**found.execution, "date": str(found.day)},
        "policy": None if found.policy_json is None else json.loads(found.policy_json),
    }
    return Download(f"plan-{found.facts['run_id']}.json", JSON, canonical_json(content))
