"""What the warehouse knows of one pool, for whoever explains it.

Lives here: finding the pool that somebody means, and reading the tables that speak of it. Not here: what is said
(domain/selection/explanation.py), where it is shown (cli/explain.py, console/pages/pool.py).
"""

from datetime import date, timedelta
from typing import Any

import pandas as pd

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.policy import Parameters, Policy
from defiyield_assets.domain.policy_codec import policy_from_json
from defiyield_assets.domain.reporting.formats import clean
from defiyield_assets.domain.selection.explanation import (
    Evidence,
    Known,
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


def read_evidence(engine: Readable, pool_id: str, day: date, days: int, parameters: Parameters | None) -> Evidence:
    """What the warehouse knows of one pool: verdicts of `days` days up to `day`, the rest of the day alone.

    `parameters` are the policy's of the day, None where they are not known.
    """
    only, past = DayRange.of(day), DayRange(day - timedelta(days=days - 1), day)
    of_pool: dict[str, Any] = {"pool_id": pool_id}
    # day by day: then the database looks up each key, instead of reading all rows of the range
    in_past = {**of_pool, "date": list(past)}
    return Evidence(
        prefiltered=reads.read_days(engine, schema.prefiltered_pools, past, in_past),
        eligible=reads.read_days(engine, schema.eligible_pools, past, in_past),
        allocations=reads.read_days(engine, schema.allocations, past, of_pool),
        quality=reads.read_days(engine, schema.pool_quality, only, of_pool),
        groups=reads.read_days(engine, schema.pool_groups, only, of_pool),
        metrics=reads.read_days(engine, schema.pool_metrics, only, of_pool),
        forecasts=reads.read_days(engine, schema.pool_forecasts, only, of_pool),
        allocation_limits=reads.read_days(engine, schema.allocation_limits, only),
        runs=reads.read_days(engine, schema.allocation_runs, only),
        parameters=parameters,
    )


def parameters_of(engine: Readable, day: date) -> Parameters | None:
    """The policy's numbers on a day; None where its snapshot is missing."""
    policy = policy_of(engine, day)
    return None if policy is None else policy.parameters


def policy_of(engine: Readable, day: date) -> Policy | None:
    """The policy that a day was made under; None where its snapshot is missing."""
    rows = reads.read_days(engine, schema.policy_snapshot, DayRange.of(day))
    return None if rows.empty else policy_from_json(rows.iloc[0]["policy_json"])
