"""Who did what through the console: rows that are only ever added.

Lives here: SQL of console_audit. Not here: what may be done and by whom (console/), versions of the policy
(policy_versions.py).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

import pandas as pd
import sqlalchemy as sa

from defiyield_assets.store import schema
from defiyield_assets.store.engine import Readable, read_transaction, write_transaction
from defiyield_assets.store.inserts import insert
from defiyield_assets.store.rows import storable_text, to_rows
from defiyield_assets.store.validation import require_valid

Outcome = Literal["done", "refused", "failed"]
LOGIN = "login"
"""The action of whoever brings a token."""
WRITE = "write_version"
"""The action of whoever writes a version of the policy."""
RECORDED = re.compile(r"version ([1-9]\d{0,7}) recorded", re.ASCII)
LONGEST = 500
"""Characters of a text that are kept: whoever is not logged in yet may send anything."""


@dataclass(frozen=True)
class Deed:
    """One write that was asked for, or a login, and what became of it. No text may hold a secret."""

    author: str
    remote: str
    action: str
    subject: str
    outcome: Outcome
    detail: str = ""


def record_deed(engine: sa.Engine, deed: Deed, at: datetime) -> str:
    """Add a row; returns its id."""
    with write_transaction(engine, schema.console_audit.name) as connection:
        return add_deed(connection, deed, at)


def add_deed(connection: sa.Connection, deed: Deed, at: datetime) -> str:
    """The same within a transaction that writes `console_audit`, and perhaps what was done."""
    table = schema.console_audit
    texts = {name: _one_line(text) for name, text in vars(deed).items()}
    row: dict[str, Any] = {"audit_id": uuid4().hex, "at": at, **texts}
    frame = storable_text(pd.DataFrame([row], dtype=object))
    require_valid(table, frame)
    insert(connection, table, to_rows(table, frame))
    return str(row["audit_id"])


def refused_deeds(engine: Readable, action: str, since: datetime, remote: str) -> tuple[int, int]:
    """How often an action was refused since then: to one address, and to all together."""
    table = schema.console_audit
    is_own = sa.case((table.c.remote == remote, 1), else_=0)
    query = sa.select(sa.func.coalesce(sa.func.sum(is_own), 0), sa.func.count()).where(
        table.c.action == action, table.c.outcome == "refused", table.c.at >= since
    )
    with read_transaction(engine, table.name) as connection:
        own, of_all = connection.execute(query).one()
    return int(own), int(of_all)


def recorded(version: int) -> str:
    """The detail of a write of which a version came."""
    return f"version {version} recorded"


def recorded_version(row: Mapping[str, Any]) -> int | None:
    """The version that came of a row of the log; None where none did."""
    found = RECORDED.fullmatch(row["detail"])
    is_written = (row["action"], row["outcome"]) == (WRITE, "done")
    return int(found[1]) if found is not None and is_written else None


def _one_line(text: str) -> str:
    """One line, not endless."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(printable.split())[:LONGEST]
