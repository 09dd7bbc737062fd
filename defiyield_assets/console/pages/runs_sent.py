"""Why more transactions were sent than a plan has steps: approvals before them, and calls that failed.

Lives here: counting them by the plan's steps and the wallet's transactions. Not here: what became of a plan in a word
(runs.py), which steps need approvals (domain/reporting/plan_sections.py).
"""

from datetime import date, timedelta

import pandas as pd

from defiyield_assets.console.pages.runs_tables import RunTables
from defiyield_assets.console.views import View
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.reporting.formats import number
from defiyield_assets.domain.reporting.plan_sections import count_approvals, count_steps, records
from defiyield_assets.store import reads, schema

GAS = "gas"
"""Kind of the row that every transaction of ours has in account_transactions, whatever became of it."""


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
