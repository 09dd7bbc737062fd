"""Verdicts on the pools of a day, made from its stored tables under a policy.

Lives here: reading what the rules of selection ask for, once, for the assets and for previews of another policy. Not
here: the rules (domain/selection), the assets that keep what is made here (assets/selection.py).
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.policy import Policy
from defiyield_assets.domain.prices.instruments import build_instruments
from defiyield_assets.domain.selection.final import READ, select_eligible
from defiyield_assets.domain.selection.icebox import advance_icebox, bootstrap_icebox, is_checked
from defiyield_assets.domain.selection.prefilter import prefilter_pools
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.orchestration.partitions import day_before
from defiyield_assets.store import reads, schema
from defiyield_assets.store.engine import Readable
from defiyield_assets.store.warehouse import aliases_of

ICEBOX_HISTORY_DAYS = 31
MARKET_CAP_DAYS = 7
"""How old a market capitalisation may be."""


def prefiltered_of(engine: Readable, policy: Policy, day: date, registry: pd.DataFrame | None = None) -> pd.DataFrame:
    """The pre-filter's verdict on every pool of the day. `registry`: another `token_registry` than the stored one."""
    only = DayRange.of(day)
    return prefilter_pools(
        reads.read_days(engine, schema.pools, only),
        reads.read_days(engine, schema.token_registry, only) if registry is None else registry,
        reads.read_days(engine, schema.daily_bars, only.back(MARKET_CAP_DAYS)),
        policy,
        day,
        aliases=aliases_of(policy, day),
        markets=_observed_caps(engine, only.back(MARKET_CAP_DAYS)),
        resolved=reads.read_days(engine, schema.resolved_underlyings, only),
    )


def _observed_caps(engine: Readable, days: DayRange) -> pd.DataFrame:
    """[instrument_id, date, market_cap_usd] of the days' observations."""
    rows = reads.read_days(engine, schema.observations, days, {"metric": "market_cap_usd"})
    return rows.rename(columns={"value": "market_cap_usd"})[["instrument_id", "date", "market_cap_usd"]]


def icebox_of(
    engine: Readable, policy: Policy, day: date, previous: pd.DataFrame | None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Events of the icebox of the day, the icebox itself, and the bars that both were made from.

    `previous`: that of the day before; None: the table begins with this day.
    """
    bars = reads.read_days(engine, schema.daily_bars, DayRange.of(day).back(ICEBOX_HISTORY_DAYS))
    _require_token_bars(bars, policy, day)
    if previous is None:
        events, current = bootstrap_icebox(bars, policy, day)
    else:
        events, current = advance_icebox(previous, bars, policy, day)
    return events, current, bars


def _require_token_bars(bars: pd.DataFrame, policy: Policy, day: date) -> None:
    """Refuse a day of which no token has a bar: nobody would see that one lost its peg."""
    tokens = set(build_instruments(policy.tokens)["instrument_id"])
    if tokens and not (bars["date"].eq(day) & bars["instrument_id"].isin(tokens)).any():
        raise SuspiciousDataError(f"daily_bars of {day} hold no token of the policy: materialise them for crypto first")


def previous_icebox(engine: Readable, first: date) -> pd.DataFrame | None:
    """The icebox of the day before the first, or None when the table starts there; a gap is refused."""
    yesterday = day_before(first)
    only = DayRange.of(yesterday)
    icebox = reads.read_days(engine, schema.icebox, only)
    if is_checked(reads.read_days(engine, schema.icebox_events, only), icebox, yesterday):
        return icebox
    newest = reads.newest_day(engine, schema.icebox_events, on_or_before=yesterday)
    if newest is not None:
        raise SuspiciousDataError(
            f"icebox of {yesterday} is missing or incomplete (the newest before {first} is {newest}): "
            f"materialise the days from {newest} to {yesterday} in order, for example by the phases ingest and analyse"
        )
    return None


def eligible_of(
    engine: Readable, policy: Policy, day: date, instead: Mapping[str, pd.DataFrame] | None = None
) -> pd.DataFrame:
    """The final verdict on every pool of the day. `instead`: tables by name that count instead of the stored ones."""
    other, only = instead or {}, DayRange.of(day)
    of_horizon = {"target": "apy", "horizon_days": policy.parameters.horizon_days}

    def known(table: sa.Table, where: dict[str, Any] | None = None) -> pd.DataFrame:
        columns = READ[table.name]
        return other[table.name][list(columns)] if table.name in other else read(table, where, columns)

    def read(table: sa.Table, where: dict[str, Any] | None, columns: tuple[str, ...]) -> pd.DataFrame:
        return reads.read_days(engine, table, only, where, columns)

    positions = reads.read_days(engine, schema.pool_positions, only)
    snapshots = known(schema.pools)
    return select_eligible(
        known(schema.prefiltered_pools),
        known(schema.pool_quality),
        known(schema.pool_metrics),
        known(schema.pool_groups),
        known(schema.pool_forecasts, of_horizon),
        positions=positions,
        icebox=other["icebox"] if "icebox" in other else reads.read_days(engine, schema.icebox, only),
        pools=pd.concat([snapshots, *_last_listings(engine, positions, snapshots, day)], ignore_index=True),
        policy=policy,
        day=day,
        aliases=aliases_of(policy, day),
    )


def _last_listings(engine: Readable, positions: pd.DataFrame, snapshots: pd.DataFrame, day: date) -> list[pd.DataFrame]:
    """The newest older snapshot row of each pool that we hold and that the vendor no longer lists."""
    unlisted = sorted(set(positions["pool_id"]) - set(snapshots["pool_id"]))
    listings = [
        reads.read_latest(engine, schema.pools, on_or_before=day, where={"pool_id": pool_id}) for pool_id in unlisted
    ]
    return [listing[list(READ["pools"])] for listing in listings if len(listing)]
