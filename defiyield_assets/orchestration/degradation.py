"""The graph of one day as the assets declare it: which step reads which tables of the same day.

Lives here: the register that `daily_asset` and the steps with several tables fill. Not here: what a degraded step means
for the others (domain/outcomes.py), recording it (failures.py).
"""

from collections.abc import Iterable

import dagster as dg

_TABLES: dict[str, frozenset[str]] = {}
"""Step -> the tables of the same day that it reads."""
_STEP_OF: dict[str, str] = {}
"""Table -> the step that writes it: its own name, or that of a step with several tables."""
AFTER_THE_REPORT = ("daily_report", "slack_notification", "plan_executions")
"""Steps that the report cannot tell of: itself, and what may run beside or after it."""


def declare_step(step: str, tables: Iterable[str], deps: Iterable[str | dg.AssetDep]) -> None:
    """Register a step, the tables that it writes and what it reads; tables of other days do not count."""
    written = tuple(tables)
    _STEP_OF.update(dict.fromkeys(written, step))
    read = {dep if isinstance(dep, str) else dep.asset_key.to_user_string() for dep in deps if _is_same_day(dep)}
    _TABLES[step] = frozenset(read - set(written))


def _is_same_day(dep: str | dg.AssetDep) -> bool:
    mapping = None if isinstance(dep, str) else dep.partition_mapping
    return not isinstance(mapping, dg.TimeWindowPartitionMapping) or mapping.end_offset == 0


def parents_of_steps() -> dict[str, frozenset[str]]:
    """Step -> the steps of the same day that it reads, for all declared steps."""
    return {step: frozenset(_STEP_OF.get(table, table) for table in read) for step, read in _TABLES.items()}


def tables_of(steps: Iterable[str]) -> frozenset[str]:
    """The tables that these steps write; a name that is no step stands for itself."""
    wanted = set(steps)
    written = {table for table, step in _STEP_OF.items() if step in wanted}
    return frozenset(written | (wanted - set(_STEP_OF.values())))


def whole_steps(tables: Iterable[str]) -> frozenset[str]:
    """These tables with all others of the steps that write them: a step with several tables can only be asked whole."""
    return tables_of({_STEP_OF.get(table, table) for table in tables})
