"""A warehouse to read from: its tables, whose market they hold, and the policy that a day was made under.

Lives here: what is the same for assets, commands and the console. Not here: Dagster's resource, which opens one and
migrates it (orchestration/resources.py), SQL (reads.py).
"""

from dataclasses import asdict, dataclass
from datetime import date
from typing import Protocol

import pandas as pd

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.policy import Policy
from defiyield_assets.domain.policy_codec import policy_from_json
from defiyield_assets.domain.pools.snapshot import aliases_in_force
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.store import reads, schema
from defiyield_assets.store.engine import Readable


class ReadableWarehouse(Protocol):
    """What reading needs, whoever opened the warehouse."""

    @property
    def engine(self) -> Readable:
        """What tables are read from."""

    @property
    def market(self) -> str:
        """Whose answers the tables hold."""

    def policy(self, day: date) -> Policy:
        """The policy of the day."""

    def aliases(self, day: date) -> dict[str, str]:
        """Old pool ids of the day and today's."""

    def alias_spans(self, days: DayRange) -> list[tuple[DayRange, dict[str, str]]]:
        """The range cut where aliases change."""

    def contracts(self, day: date) -> pd.DataFrame:
        """`pool_contracts` of the day."""


@dataclass(frozen=True)
class Warehouse:
    """A migrated warehouse, or one view of it."""

    engine: Readable
    market: str

    def policy(self, day: date) -> Policy:
        """The policy as `policy_snapshot` of the day stored it; SuspiciousDataError when the day has none."""
        rows = reads.read_days(self.engine, schema.policy_snapshot, DayRange.of(day))
        if rows.empty:
            raise SuspiciousDataError(f"policy_snapshot of {day} is missing: materialise it first")
        return policy_from_json(rows.iloc[0]["policy_json"])

    def aliases(self, day: date) -> dict[str, str]:
        """Old pool id -> today's, as the policy of the day says."""
        return aliases_of(self.policy(day), day)

    def alias_spans(self, days: DayRange) -> list[tuple[DayRange, dict[str, str]]]:
        """The range cut where aliases change, with those in force in each part: no day knows a later one.

        A day without a policy of its own (a backfill of days before the first run) goes by that of the last day.
        """
        rows = reads.read_days(self.engine, schema.policy_snapshot, days)
        texts = dict(zip(rows["date"], rows["policy_json"], strict=True))
        policies = {text: policy_from_json(text) for text in set(texts.values())}
        last = self.policy(days.end)
        spans: list[tuple[DayRange, dict[str, str]]] = []
        for day in days:
            aliases = aliases_of(policies[texts[day]] if day in texts else last, day)
            if spans and spans[-1][1] == aliases:
                spans[-1] = (DayRange(spans[-1][0].start, day), aliases)
            else:
                spans.append((DayRange.of(day), aliases))
        return spans

    def contracts(self, day: date) -> pd.DataFrame:
        """`pool_contracts` as the policy of the day says, so that what is learnt later changes no earlier day."""
        columns = [column.name for column in schema.pool_contracts.columns]
        rows = [asdict(contract) for contract in self.policy(day).pool_contracts]
        return pd.DataFrame(rows, columns=columns).sort_values(["pool_id", "share_token"], ignore_index=True)


def aliases_of(policy: Policy, day: date) -> dict[str, str]:
    """Old pool id -> today's, as a policy says on a day."""
    columns = [column.name for column in schema.pool_aliases.columns]
    listed = [(alias.old_id, alias.new_id, alias.since, alias.source) for alias in policy.pool_aliases]
    return aliases_in_force(pd.DataFrame(listed, columns=columns), day)
