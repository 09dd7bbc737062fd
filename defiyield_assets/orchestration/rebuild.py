"""Deriving past days again from the archive alone, and what that changed.

Lives here: which assets run, how tables are compared, what becomes of outcomes when a rebuild fails. Not here: answers
(sources/recall.py), the market that only knows the archive (resources.py), the terminal (cli/rebuild.py).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum

import dagster as dg
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Engine, Table

from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import NotRecoverable
from defiyield_assets.orchestration.declarations import LOST_BEFORE
from defiyield_assets.orchestration.failures import innermost_error
from defiyield_assets.orchestration.instrument_types import OF_EXCHANGES
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.rows import row_digests, to_rows

NOT_REBUILT = frozenset({"migrations", "policy_snapshot", "plan_executions", "slack_notification"})
"""Not derived from vendors' answers: the schema, the policy as it stood, what was sent to the chain and to Slack."""
KEPT = frozenset(
    {
        *("raw_fetches", "raw_bodies", "vendor_usage", "vendor_paces", "warehouse_identity"),
        *("forecast_cache", "feature_state"),
        *("slack_messages", "slack_alerts", "policy_versions", "console_audit"),
        *NOT_REBUILT,
    }
)
"""Tables that a rebuild never touches, or whose content is none: forecasts and features are the same with and without
what is kept to make them faster."""
BEYOND_THE_DAY = frozenset(
    {
        "account_cursors",
        "account_transactions",
        "closes_defillama",
        "corporate_actions",
        "daily_bars",
        "daily_features",
        "feature_targets",
        "gas_fees_daily",
        "gas_fees_hourly",
        "instruments",
        "ledger_closings",
        "ledger_postings",
        "lending_histories",
        "macro_series",
        "market_events",
        "market_regimes",
        "ohlcv_alpha_vantage",
        "ohlcv_coingecko",
        "ohlcv_coinmarketcap",
        "pool_aliases",
        "pool_contracts",
        "pool_histories",
        "trial_balance",
    }
)
"""Tables in which a day's run also writes rows of other days, or of none: they are compared whole."""
MEASURED = {"allocation_runs": ("solver_seconds",)}
"""Columns that hold a measurement of the run itself, and are no content."""
CHUNK_DAYS = 31
"""Days of a table read at once while comparing."""


class Verdict(StrEnum):
    """What a rebuild did to a table."""

    IDENTICAL = "identical"
    RESTORED = "restored"
    CHANGED = "changed"


@dataclass(frozen=True)
class TableChange:
    """One table before and after: rows, and how many of them came or went (a changed row does both)."""

    table: str
    rows: int
    came: int
    went: int

    @property
    def verdict(self) -> Verdict:
        """Restored means that everything that was there still is, and more."""
        if self.went:
            return Verdict.CHANGED
        return Verdict.RESTORED if self.came else Verdict.IDENTICAL


Fingerprints = Mapping[str, NDArray[np.bytes_]]
"""Table -> sorted digests of its rows."""


@dataclass(frozen=True)
class Rebuilt:
    """What became of a rebuild: every table, and assets that failed although they had not before, with the reason."""

    changes: tuple[TableChange, ...]
    failed: Mapping[date, Mapping[str, str]] = field(default_factory=dict)


def rebuilt_assets(defs: dg.Definitions) -> list[dg.AssetKey]:
    """The daily assets that are derived again."""
    graph = defs.resolve_asset_graph()
    keys = graph.materializable_asset_keys
    return sorted(key for key in keys if "daily" in graph.get(key).tags and key.to_user_string() not in NOT_REBUILT)


def rebuild_days(
    engine: Engine,
    days: DayRange,
    definitions_of: Callable[[date], dg.Definitions],
    told: Callable[[date], None] = lambda _day: None,
) -> Rebuilt:
    """Derive the days again in order and compare all tables with what they held.

    `definitions_of` gives the definitions of a day, whose market is the archive; `told` hears of each day before it
    runs. The first day with a failure ends the rebuild: the next ones would rest on what is not there. Its outcomes
    stay as they were, since a failed rebuild says nothing about the day. The run leaves no trace in Dagster's
    instance: nothing fresh was materialised.
    """
    before = fingerprints(engine, days)
    failed: dict[date, dict[str, str]] = {}
    for day in days:
        told(day)
        outcomes = reads.read_days(engine, schema.asset_outcomes, DayRange.of(day))
        defs, lost_before = definitions_of(day), LOST_BEFORE.set(frozenset(_lost_of(outcomes)))
        with dg.DagsterInstance.ephemeral() as instance:
            result = defs.resolve_job_def("plan_the_day").execute_in_process(
                partition_key=day.isoformat(),
                instance=instance,
                asset_selection=rebuilt_assets(defs),
                raise_on_error=False,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
        LOST_BEFORE.reset(lost_before)
        failed_before = outcomes.loc[outcomes["status"] == "failed", "asset"].str.removesuffix(OF_EXCHANGES)
        told_before = set(failed_before) | set(_lost_of(outcomes))
        found = {**_lost_of(reads.read_days(engine, schema.asset_outcomes, DayRange.of(day))), **_failures(result)}
        news = {step: reason for step, reason in found.items() if step not in told_before}
        if news:
            failed[day] = news
            writes.replace_slice(engine, schema.asset_outcomes, outcomes, DayRange.of(day))
            break
    return Rebuilt(compare(before, fingerprints(engine, days)), failed)


def _failures(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Failed steps with the reason."""
    return {event.step_key or "?": innermost_error(event) for event in result.all_events if event.is_step_failure}


def _lost_of(outcomes: pd.DataFrame) -> dict[str, str]:
    """Assets for which an answer was lost, whatever stood in for it, with the reason."""
    lost = outcomes[outcomes["error_class"] == NotRecoverable.__name__]
    return dict(zip(lost["asset"], lost["reason"], strict=True))


def fingerprints(engine: Engine, days: DayRange) -> Fingerprints:
    """Digests of the rows that a rebuild of `days` may touch, by table."""
    tables = [table for table in schema.metadata.sorted_tables if table.name not in KEPT]
    return {table.name: np.sort(np.array(list(_digests(engine, table, days)), dtype="S32")) for table in tables}


def _digests(engine: Engine, table: Table, days: DayRange) -> Iterator[bytes]:
    for frame in _slices(engine, table, days):
        content = frame.assign(**dict.fromkeys(MEASURED.get(table.name, ()), 0.0))
        yield from (digest.encode() for digest in row_digests(table, to_rows(table, content)))


def _slices(engine: Engine, table: Table, days: DayRange) -> Iterator[pd.DataFrame]:
    """The rows to compare, in frames that fit into memory."""
    if table.info["day"] is None:
        yield reads.read_all(engine, table)
        return
    span = reads.days_with_rows(engine, table) if table.name in BEYOND_THE_DAY else days
    if span is None:
        return
    for first in list(span)[::CHUNK_DAYS]:
        last = min(first + timedelta(days=CHUNK_DAYS - 1), span.end)
        yield reads.read_days(engine, table, DayRange(first, last))


def compare(before: Fingerprints, after: Fingerprints) -> tuple[TableChange, ...]:
    """What each table gained and lost."""
    return tuple(
        TableChange(
            name,
            rows=len(after[name]),
            came=len(np.setdiff1d(after[name], old, assume_unique=True)),
            went=len(np.setdiff1d(old, after[name], assume_unique=True)),
        )
        for name, old in sorted(before.items())
    )
