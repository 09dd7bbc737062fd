"""The policy behind a plan: its parameters, and what differs from the policy of the plan before.

Lives here: these tables. Not here: the comparison (domain/policy_differences.py), who changed it (runs_versions.py),
changing the policy (settings.py).
"""

from collections.abc import Mapping
from typing import Any

from defiyield_assets.config.parameters import parameters, shown_value, value_of
from defiyield_assets.console.layout import Inner, Panel
from defiyield_assets.console.pages.runs_tables import RunTables, policy_json_of
from defiyield_assets.console.pages.runs_versions import told_versions
from defiyield_assets.console.views import View
from defiyield_assets.domain.policy_codec import policy_from_json
from defiyield_assets.domain.policy_differences import Difference, policy_differences
from defiyield_assets.domain.reporting.formats import clean
from defiyield_assets.domain.reporting.layout import Section, Table, numbers, text

PARAMETER_COLUMNS = (*text("Parameter"), *numbers("Value"), *text("Unit"), *numbers("Shipped"), *text("Meaning"))
DIFFERENCE_COLUMNS = text("What", "Before", "After")
ASSETS = ("policy_snapshot", "allocation_runs")


def policy_panels(view: View, found: RunTables, before: Mapping[str, Any] | None) -> tuple[Panel, ...]:
    """What differs from the run before, and the parameters in force."""
    return (_differences(view, found, before), _parameters(found))


def _differences(view: View, found: RunTables, before: Mapping[str, Any] | None) -> Panel:
    run, title = found.facts, "What differs from the run before"
    if before is None:
        section = Section("differences", title, ("There is no run before it.",))
        return Panel(section, ASSETS, found.day)
    words = [Inner(f"Compared with the run of {before['date']}", "runs", str(before["run_id"]))]
    is_same_input = before["input_hash"] == run["input_hash"]
    inputs = "The other inputs are the same." if is_same_input else "The other inputs (prices, balances, pools) differ."
    tables: tuple[Table, ...] = ()
    assets: tuple[str, ...] = ASSETS
    old = policy_json_of(view, before["date"])
    if before["policy_hash"] == run["policy_hash"]:
        policy = "The policy is the same."
    elif old is None or found.policy_json is None:
        policy = "The policy differs; that of one of the two days is not stored, so it cannot be told in what."
    else:
        differences = policy_differences(old, found.policy_json)
        rows = tuple(map(_difference, differences))
        policy = f"The policy differs in {len(rows)} {'entry' if len(rows) == 1 else 'entries'}."
        if rows:
            by_whom, versions = told_versions(view, found.day, differences)
            policy = f"{policy} {by_whom}"
            tables = (Table(DIFFERENCE_COLUMNS, rows, caption="Policy", fold="never"), *versions)
            assets = (*ASSETS, "policy_versions") if versions else ASSETS
    section = Section("differences", title, (*words, f"{policy} {inputs}"), tables=tables)
    return Panel(section, assets, found.day)


def _difference(one: Difference) -> tuple[str, ...]:
    what = one.name if one.part == "parameters" else one.part.replace("_", " ")
    return (clean(what, 60), _entry(one.before, "not listed"), _entry(one.after, "not listed"))


def _entry(value: Any, absent: str) -> str:
    """A parameter's value or a row of a list, field by field."""
    if value is None:
        return absent
    if isinstance(value, Mapping):
        told = (f"{name} {clean(item, 120)}" for name, item in value.items() if item not in (None, "", [], {}))
        return clean(", ".join(told), 600)
    return clean(shown_value(value), 200)


def _parameters(found: RunTables) -> Panel:
    title = "Parameters in force"
    if found.policy_json is None:
        section = Section("parameters", title, (f"The policy of {found.day} is not stored.",))
        return Panel(section, ASSETS[:1], found.day)
    held = policy_from_json(found.policy_json).parameters
    rows = tuple(
        (
            one.name,
            shown_value(value_of(held, one.name)),
            one.unit,
            "" if value_of(held, one.name) == one.default else shown_value(one.default),
            clean(one.meaning, 300),
        )
        for one in parameters()
    )
    words = "As the day's policy_snapshot stored them. Shipped is the value of the program's own file where it differs."
    table = Table(PARAMETER_COLUMNS, rows, caption=title, fold="always")
    return Panel(Section("parameters", title, (words,), tables=(table,)), ASSETS[:1], found.day)
