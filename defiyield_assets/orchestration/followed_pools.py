"""Which pools are followed on which day, as the warehouse tells it.

Lives here: reading verdicts and balances for it. Not here: the rule (domain/pools/histories.py, `tracked_pools`), what
is done with these pools (assets/pools.py, pool_bundles.py).
"""

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pandas as pd

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.pools.histories import tracked_pools
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.store import reads, schema
from defiyield_assets.store.warehouse import ReadableWarehouse

DAYS_AT_ONCE = 31
"""Days of verdicts that are read together: a range of a year holds millions."""


def held_on(warehouse: ReadableWarehouse, days: DayRange) -> pd.DataFrame:
    """[date, pool_id] of pools whose share token a wallet holds on chain at the end of the day."""
    balances = reads.read_days(warehouse.engine, schema.chain_balances, days)
    contracts = warehouse.contracts(days.end)[["share_token", "pool_id"]]
    positive = balances.loc[[amount > 0 for amount in balances["balance"]]]
    held = positive.merge(contracts, left_on="token_address", right_on="share_token")
    for span, aliases in warehouse.alias_spans(days):
        inside = held["date"].isin(set(span))
        held.loc[inside, "pool_id"] = held.loc[inside, "pool_id"].replace(aliases)
    return held[["date", "pool_id"]].drop_duplicates().reset_index(drop=True)


def tracked_on(warehouse: ReadableWarehouse, days: DayRange) -> pd.DataFrame:
    """[date, pool_id]: what is followed on each day of the range.

    Raises SuspiciousDataError where no day of the range was judged, no pool passed on another and nothing is held.
    """
    names: dict[str, str] = {}
    verdicts = pd.concat([_verdicts(warehouse, part, names) for part in _parts(days)], ignore_index=True)
    judged = set(verdicts["date"])
    followed = _nearest_verdicts(warehouse, days) if any(day not in judged for day in days) else []
    tracked = tracked_pools(verdicts, held_on(warehouse, days), days, followed)
    if tracked.empty and not judged:
        raise SuspiciousDataError(
            f"no pool is followed on {days.start}..{days.end}: prefiltered_pools of these days is missing, "
            f"no other day has a pool that passed, and no wallet holds any: materialise prefiltered_pools first"
        )
    return tracked


def _parts(days: DayRange) -> Iterator[DayRange]:
    for first in range(0, len(days), DAYS_AT_ONCE):
        start = days.start + timedelta(days=first)
        yield DayRange(start, min(days.end, start + timedelta(days=DAYS_AT_ONCE - 1)))


def _verdicts(warehouse: ReadableWarehouse, days: DayRange, names: dict[str, str]) -> pd.DataFrame:
    """[date, pool_id, is_passed] of the pools that passed, and one row of each judged day on which none did.

    `names` holds every id once: a year of 20,000 pools names each of them 365 times.
    """
    engine, table = warehouse.engine, schema.prefiltered_pools
    passed = reads.read_columns(engine, table, days, where={"is_passed": True}, columns=["date", "pool_id"])
    codes, known = pd.factorize(passed["pool_id"])
    once = np.array([names.setdefault(pool_id, pool_id) for pool_id in known], dtype=object)
    day_codes, stamps = pd.factorize(passed["date"])
    told = np.array(stamps.astype("datetime64[D]").tolist(), dtype=object)
    rows = pd.DataFrame({"date": told[day_codes], "pool_id": once[codes], "is_passed": True})
    with_passed = set(told)
    silent = [day for day in days if day not in with_passed]
    if not silent:
        return rows
    rest = reads.read_columns(
        engine, table, DayRange(silent[0], silent[-1]), where={"is_passed": False}, columns=["date"]
    )
    refused = sorted(set(np.unique(rest["date"]).tolist()) - with_passed)
    empty = pd.DataFrame({"date": refused, "pool_id": "", "is_passed": False}, dtype=object)
    return pd.concat([rows, empty], ignore_index=True) if refused else rows


def _nearest_verdicts(warehouse: ReadableWarehouse, days: DayRange) -> list[str]:
    """Pools that passed the pre-filter on the nearest judged day before the range, else after it."""
    engine = warehouse.engine
    passed = {"is_passed": True}
    listed = reads.read_latest(engine, schema.prefiltered_pools, days.end, where=passed)
    if listed.empty:
        listed = reads.read_all(engine, schema.prefiltered_pools, where=passed)
        listed = listed[listed["date"] == listed["date"].min()] if len(listed) else listed
    return sorted(listed["pool_id"])
