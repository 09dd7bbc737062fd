"""Processes that reserve calls of one vendor at the same time.

Lives here: functions that run in a child process. Not here: what must hold afterwards (test_budgets.py).
"""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from defiyield_assets.domain.budgets import Account, Limit
from defiyield_assets.errors import VendorPlanLimit
from defiyield_assets.store.budgets import WarehouseBudgets
from defiyield_assets.store.engine import make_engine

NOW = datetime(2026, 3, 4, 10, 0, 30, tzinfo=UTC)
ACCOUNT = Account("etherscan", "k", (Limit("minute", 3_000), Limit("day", 300)), 0.005)


class Together(Protocol):
    """A barrier of threads or of processes."""

    def wait(self) -> int:
        """Go on when everybody is here."""


def reserve_until_refused(url: str, report: Path, wanted: int, start: Together) -> None:
    """Lease `wanted` calls at a time until there is no room; the instants go into the file."""
    budgets = WarehouseBudgets(make_engine(url))
    slots: list[str] = []
    start.wait()
    try:
        while True:
            slots += [slot.isoformat() for slot in budgets.lease(ACCOUNT, wanted, 1, NOW)]
            time.sleep(0.005)  # a real process sends before it reserves again
    except VendorPlanLimit:
        report.write_text(json.dumps(slots), encoding="utf-8")
