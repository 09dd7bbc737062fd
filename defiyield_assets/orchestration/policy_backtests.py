"""The warehouse's own days as a policy backtest reads them.

Lives here: reading the stored tables of past days, forecasts included. Not here: the replay
(domain/allocation/backtest), the command (cli/backtest.py). Today's pool ids stand for older ones throughout.
"""

import json
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property

import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.allocation.backtest.records import KnownDay, RealisedYields, realised_yields
from defiyield_assets.domain.days import DayRange, cutoff
from defiyield_assets.domain.gas.sources import prevailing_fees
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema

LISTED_DAYS = 7
"""How far back the newest snapshot row of a pool is looked for that the vendor no longer lists."""


@dataclass(frozen=True)
class WarehouseRecords:
    """Stored days as `Records`: `days` are paid, the evening before the first is the first that is planned on."""

    warehouse: WarehouseResource
    days: DayRange
    _known: dict[date, KnownDay] = field(default_factory=dict)

    @cached_property
    def yields(self) -> RealisedYields:
        """What pools paid as the histories tell it at the end of the last day, gaps carried for gap_days."""
        carry = self.warehouse.policy(self.days.end).parameters.gap_days
        first = self.days.start - timedelta(days=1)
        points = reads.pool_histories(
            self.warehouse.engine,
            DayRange(first, self.days.end).back(carry),
            cutoff(self.days.end),
            aliases=self.warehouse.aliases(self.days.end),
        )
        return realised_yields(points, first, self.days.end, carry)

    def _rows(self, table: sa.Table, days: DayRange) -> pd.DataFrame:
        rows = reads.read_days(self.warehouse.engine, table, days)
        aliases = self.warehouse.aliases(self.days.end)
        return rows.assign(pool_id=rows["pool_id"].replace(aliases)) if "pool_id" in rows and aliases else rows

    def known(self, day: date) -> KnownDay:
        """Tables of a day; SuspiciousDataError names a day that never ran."""
        if day not in self._known:
            self._known[day] = self._read(day)
        return self._known[day]

    def _read(self, day: date) -> KnownDay:
        only = DayRange.of(day)
        lists = self._rows(schema.allocation_snapshot, only)
        if lists.empty:
            raise SuspiciousDataError(f"allocation_snapshot of {day} is missing: run the day first")
        barred = {item["token"] for item in json.loads(lists.iloc[0]["barred_tokens_json"]) if item["token"]}
        return KnownDay(
            day=day,
            pools=self._rows(schema.pools, only.back(LISTED_DAYS)),
            prefiltered=self._rows(schema.prefiltered_pools, only),
            quality=self._rows(schema.pool_quality, only),
            metrics=self._rows(schema.pool_metrics, only),
            groups=self._rows(schema.pool_groups, only),
            icebox=self._rows(schema.icebox, only),
            forecasts=self._rows(schema.pool_forecasts, only),
            bars=self._rows(schema.daily_bars, only),
            gas_forecasts=self._rows(schema.gas_forecasts, only),
            gas_daily=prevailing_fees(self._rows(schema.gas_fees_daily, only)),
            barred=barred,
        )

    def execution_gas(self, day: date) -> tuple[int, Decimal]:
        """Mean gas price in wei (base fee plus the policy's priority fee where only that is known) and ETH price."""
        fees = prevailing_fees(self._rows(schema.gas_fees_daily, DayRange.of(day))).to_dict("records")
        by_kind = {row["kind"]: row for row in fees if row["mean_gwei"] and row["eth_price_usd"]}
        row = by_kind.get("gas_price") or by_kind.get("base_fee")
        if row is None:
            raise SuspiciousDataError(f"gas_fees_daily of {day} tells no gas price or no ETH price: costs are unknown")
        parameters = self.warehouse.policy(day).parameters
        extra = parameters.priority_fee_gwei if row["kind"] == "base_fee" else 0.0
        gwei = Decimal(repr(float(row["mean_gwei"]))) + Decimal(repr(extra))
        return int(gwei * 10**9), Decimal(repr(float(row["eth_price_usd"])))
