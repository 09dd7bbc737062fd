"""Why more transactions were sent than a plan has steps: approvals before them, and calls that failed.

Lives here: counting them by the plan's steps and the wallet's transactions. Not here: what became of a plan in a word
(runs.py), which steps need approvals (domain/reporting/plan_sections.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import pandas as pd

from defiyield_assets.console.pages.runs_tables import RunTables
from defiyield_assets.console.views import View
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.reporting.formats import number
from defiyield_assets.domain.reporting.plan_sections import count_approvals, count_steps, records
from defiyield_assets.store import reads, schema

GAS = "gas"
"""Kind of the row that every transaction of ours has in account_transactions, whatever became of it."""


def sent_briefly(view: View, executions: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Run id -> what the transactions of an executed plan were, in half a sentence; only of those that sent some.

    How many failed is told as far as the day that is looked at knows: it has to be later than the plan's own.
    """
    executed = {str(row["run_id"]): row for row in executions if int(row["n_transactions"])}
    if not executed:
        return {}
    steps: dict[str, list[dict[str, Any]]] = {}
    for step in records(reads.read_all(view.connection, schema.allocation_steps, {"run_id": sorted(executed)})):
        steps.setdefault(str(step["run_id"]), []).append(step)
    failed = _failed_by_day(view, [row["date"] + timedelta(days=1) for row in executed.values()])
    return {
        run_id: _briefly(int(row["n_transactions"]), own, failed.get(row["date"] + timedelta(days=1), {}))
        for run_id, row in executed.items()
        if (own := steps.get(run_id))
    }


def _briefly(sent: int, steps: Sequence[Mapping[str, Any]], failed: Mapping[str, int]) -> str:
    """`failed`: failed transactions of the day after by wallet."""
    approvals = count_approvals(steps)
    planned = count_steps(steps) + approvals
    beside = " with its approvals" if approvals else ""
    more, known = sent - planned, sum(failed.get(wallet, 0) for wallet in {step["wallet"] for step in steps})
    if more < 0:
        return f"the plan needs {number(planned)}{beside}"
    if not more:
        return f"those of the plan{beside}"
    told = " that failed on the chain and were sent again" if known == more else ""
    if told and more == 1:
        told = " that failed on the chain and was sent again"
    return f"{number(planned)} of the plan{beside}, and {number(more)} more{told}"


def _failed_by_day(view: View, days: Sequence[date]) -> dict[date, dict[str, int]]:
    """Failed transactions by day and wallet, of those of the days that are not later than the one looked at."""
    known = [day for day in days if day <= view.day]
    if not known:
        return {}
    columns = ["date", "from_address", "tx_hash"]
    asked = {"kind": GAS, "is_success": False}
    rows = reads.read_days(
        view.connection, schema.account_transactions, DayRange(min(known), max(known)), asked, columns
    )
    found: dict[date, dict[str, int]] = {}
    for row in records(rows.drop_duplicates()):
        of_day = found.setdefault(row["date"], {})
        of_day[row["from_address"]] = of_day.get(row["from_address"], 0) + 1
    return found


def sent_words(view: View, found: RunTables) -> str:
    """What the transactions of an executed plan were; empty where they are its steps and nothing else.

    What is neither step nor approval is called failed only where the chain tells of just so many failed transactions.
    """
    sent = 0 if found.execution is None else int(found.execution["n_transactions"])
    steps = records(found.steps)
    planned, approvals = count_steps(steps), count_approvals(steps)
    more = sent - planned - approvals
    if not sent or sent == planned:
        return ""
    parts = [_several(planned, "is a step of the plan", "are the steps of the plan")]
    if approvals:
        parts.append(
            _several(approvals, "is an approval", "are approvals")
            + ", one of each token that a CONVERT or DEPOSIT spends"
        )
    if more < 0:
        return f"The plan needs {number(planned + approvals)} transactions with its approvals; fewer were sent."
    if more:
        parts.append(_rest(more, _failed(view, found), found.day + timedelta(days=1)))
    return f"Of the {number(sent)} transactions {'; '.join(parts)}."


def _rest(more: int, failed: int | None, after: date) -> str:
    """Transactions that are neither steps nor approvals, of which so many `failed` on the day after the plan's."""
    if failed is None:
        return f"what the other {number(more)} were is known once {after} is made"
    if failed == more:
        return (
            _several(more, "failed on the chain and was", "failed on the chain and were")
            + " sent again: gas was paid and nothing moved"
        )
    return f"the other {number(more)} are not explained: {_several(failed, 'transaction', 'transactions')} failed then"


def _several(many: int, one: str, more: str) -> str:
    return f"{number(many)} {one if many == 1 else more}"


def _failed(view: View, found: RunTables) -> int | None:
    """Failed transactions of the plan's wallets on the day after, None where the day that is looked at is no later."""
    after = found.day + timedelta(days=1)
    if view.day < after:
        return None
    own = {"kind": GAS, "from_address": sorted(set(found.steps["wallet"]))}
    rows: pd.DataFrame = reads.read_days(view.connection, schema.account_transactions, DayRange.of(after), own)
    return int(rows.loc[~rows["is_success"].astype(bool), "tx_hash"].nunique())
