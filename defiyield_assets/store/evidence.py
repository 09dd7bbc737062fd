"""What the warehouse knows of one pool, for whoever explains it.

Lives here: finding the pool that somebody means, and reading the tables that speak of it. Not here: what is said
(domain/selection/explanation.py), where it is shown (cli/explain.py, console/pages/pool.py).
"""

from dataclasses import dataclass
from datetime import date, timedelta

import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.policy import Parameters, Policy
from defiyield_assets.domain.policy_codec import policy_from_json
from defiyield_assets.domain.reporting.formats import clean
from defiyield_assets.domain.selection.explanation import (
    Evidence,
    Known,
    Rows,
    known_pools,
    matching_pools,
    unclear_words,
)
from defiyield_assets.errors import NotFound
from defiyield_assets.store import reads, schema
from defiyield_assets.store.engine import Readable

NAMES = ("pool_id", "symbol", "protocol", "chain")


def find_pool(engine: Readable, typed: str, day: date) -> Known:
    """The one pool that somebody means on a day; NotFound naming those it may be."""
    of_day = DayRange.of(day)
    tables = (schema.prefiltered_pools, schema.eligible_pools)
    known = known_pools(pd.concat([reads.read_days(engine, table, of_day, columns=NAMES) for table in tables]))
    found = matching_pools(typed, known)
    if len(found) != 1:
        raise NotFound(unclear_words(clean(typed, 80), found, known))
    return found[0]


@dataclass(frozen=True)
class Decided:
    """What a day decided about all pools: the limits and the run of its plan, the numbers of its policy."""

    limits: Rows
    runs: Rows
    parameters: Parameters | None


def read_decided(engine: Readable, day: date) -> Decided:
    """What the day decided; empty where it has no plan."""
    of_day = DayRange.of(day)
    return Decided(
        limits=reads.read_rows(engine, schema.allocation_limits, of_day),
        runs=reads.read_rows(engine, schema.allocation_runs, of_day),
        parameters=parameters_of(engine, day),
    )


def read_evidence(engine: Readable, pool_id: str, day: date, days: int, decided: Decided) -> Evidence:
    """What the warehouse knows of one pool: verdicts of `days` days up to `day`, the rest of the day alone."""
    past = DayRange(day - timedelta(days=days - 1), day)

    def read(table: sa.Table, of_days: DayRange) -> Rows:
        return reads.read_rows(engine, table, of_days, {"pool_id": pool_id}, by_day=True)

    only = DayRange.of(day)
    return Evidence(
        prefiltered=read(schema.prefiltered_pools, past),
        eligible=read(schema.eligible_pools, past),
        allocations=read(schema.allocations, past),
        quality=read(schema.pool_quality, only),
        groups=read(schema.pool_groups, only),
        metrics=read(schema.pool_metrics, only),
        forecasts=read(schema.pool_forecasts, only),
        allocation_limits=decided.limits,
        runs=decided.runs,
        parameters=decided.parameters,
    )


def parameters_of(engine: Readable, day: date) -> Parameters | None:
    """The policy's numbers on a day; None where its snapshot is missing."""
    policy = policy_of(engine, day)
    return None if policy is None else policy.parameters


def policy_of(engine: Readable, day: date) -> Policy | None:
    """The policy that a day was made under; None where its snapshot is missing."""
    rows = reads.read_days(engine, schema.policy_snapshot, DayRange.of(day))
    return None if rows.empty else policy_from_json(rows.iloc[0]["policy_json"])
