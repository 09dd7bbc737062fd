"""The work of `pool_quality` and `pool_metrics` cut into bundles of pools, so that memory stays bounded at any size.

Lives here: which pools go together, what of their histories is read, and rows bundle by bundle. Not here: the rules
(domain/pools), what is followed (followed_pools.py), the assets (assets/pools.py), bundles as steps (pool_shards.py).
"""

import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

import dagster as dg
import numpy as np
import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.policy import Parameters
from defiyield_assets.domain.pools.metrics import rolling_metrics
from defiyield_assets.domain.pools.panels import LOOKBACK_DAYS
from defiyield_assets.domain.pools.quality import assess_quality
from defiyield_assets.orchestration.declarations import tell_progress
from defiyield_assets.orchestration.followed_pools import tracked_on
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.engine import Readable
from defiyield_assets.store.warehouse import ReadableWarehouse

BUNDLE_POINTS = 1_300_000
"""Points of histories that are read together; what is made of them counts, too (`ROW_POINTS`). A day of 20,000 pools is
one bundle: where few bundles are many pools, PostgreSQL reads the whole table for each of them."""
ROW_POINTS = 2
"""How many points a row that is made counts for: it is computed, checked and written beside what was read."""
KEYS = ("pool_id", "date", "revision", "seen_at")
QUALITY_VALUES = ("apy", "tvl_usd")
METRIC_VALUES = ("apy", "apy_base", "apy_reward", "tvl_usd")
LEGS = ("snapshot_date", "pool_id", "total_supply_usd", "total_borrow_usd")


@dataclass(frozen=True)
class Span:
    """Days on which the same aliases are in force, with each pool's first known day under the ids of these days."""

    days: DayRange
    aliases: Mapping[str, str]
    first_days: Mapping[str, date]


@dataclass(frozen=True)
class Bundle:
    """Pools that are measured together: [date, pool_id] of the days on which each is followed."""

    number: int
    tracked: pd.DataFrame

    @property
    def pool_ids(self) -> list[str]:
        """Its pools, in order."""
        return sorted(set(self.tracked["pool_id"]))


@dataclass(frozen=True)
class PoolWork:
    """What a range of days needs of all pools: parameters of its last day, spans of aliases, bundles in order."""

    engine: Readable
    days: DayRange
    parameters: Parameters
    spans: tuple[Span, ...]
    bundles: tuple[Bundle, ...]

    @classmethod
    def of(cls, warehouse: ReadableWarehouse, days: DayRange) -> "PoolWork":
        """Read what is followed, and cut it."""
        engine, tracked = warehouse.engine, tracked_on(warehouse, days)
        pool_ids = set(tracked["pool_id"])
        spans = tuple(
            Span(span, aliases, reads.first_points(engine, span.end, pool_ids, aliases))
            for span, aliases in warehouse.alias_spans(days)
        )
        parameters = warehouse.policy(days.end).parameters
        return cls(engine, days, parameters, spans, in_bundles(tracked, days))

    @property
    def fingerprint(self) -> str:
        """What is followed on which day, in 64 hexadecimal digits."""
        digest = hashlib.sha256()
        for bundle in self.bundles:
            for cells in (bundle.tracked["date"], bundle.tracked["pool_id"]):
                codes, known = pd.factorize(cells.to_numpy(dtype=object))
                digest.update(repr(list(known)).encode() + codes.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Measured:
    """A table of pools by day: what its rows of a bundle are, and what is told of it once all of them are written."""

    table: sa.Table
    rows: Callable[[PoolWork, Bundle], pd.DataFrame]
    tell: Callable[[WarehouseResource, writes.WriteReceipt, DayRange], dg.MaterializeResult]

    def make(self, warehouse: WarehouseResource, days: DayRange) -> dg.MaterializeResult:
        """Replace the slice of `days` in one transaction, bundle by bundle, and tell of it."""
        work = PoolWork.of(warehouse, days)
        return self.tell(warehouse, self._written(warehouse.engine, work), days)

    def _written(self, engine: sa.Engine, work: PoolWork) -> writes.WriteReceipt:
        first, *others = work.bundles
        if not others:
            return writes.replace_slice(engine, self.table, self.rows(work, first), work.days)
        with writes.replacing(engine, [self.table], work.days) as slice_:
            for bundle in work.bundles:
                slice_.add(self.table, self.rows(work, bundle))
                tell_progress(self.table.name, f"{bundle.number + 1} of {len(work.bundles)} bundles of pools")
        return slice_.receipt(self.table)


def in_bundles(tracked: pd.DataFrame, days: DayRange) -> tuple[Bundle, ...]:
    """What is followed, cut by a stable hash of pool ids into as few bundles as memory allows, at least one.

    How many there are depends on the work alone, never on who does it: whoever does it gets the same rows in the same
    pieces.
    """
    codes, pool_ids = pd.factorize(tracked["pool_id"].to_numpy(dtype=object))
    n_points = len(pool_ids) * (len(days.back(LOOKBACK_DAYS)) + ROW_POINTS * len(days))
    n_bundles = max(1, -(-n_points // BUNDLE_POINTS))
    if n_bundles == 1:
        return (Bundle(0, tracked),)
    place = np.array([bundle_of(pool_id, n_bundles) for pool_id in pool_ids], dtype=np.int64)[codes]
    return tuple(Bundle(number, tracked.take(np.flatnonzero(place == number))) for number in range(n_bundles))


def bundle_of(pool_id: str, n_bundles: int) -> int:
    """The bundle of a pool, the same in every process and forever; ids are strangers' text."""
    return zlib.crc32(pool_id.encode("utf-8", "surrogatepass")) % n_bundles


def quality_rows(work: PoolWork, bundle: Bundle) -> pd.DataFrame:
    """The `pool_quality` rows of a bundle."""
    ids = bundle.pool_ids
    frames = [
        assess_quality(
            _revisions(work.engine, span, ids, QUALITY_VALUES),
            bundle.tracked,
            span.days,
            work.parameters,
            first_days=span.first_days,
        )
        for span in work.spans
    ]
    return pd.concat(frames, ignore_index=True)


def metric_rows(work: PoolWork, bundle: Bundle) -> pd.DataFrame:
    """The `pool_metrics` rows of a bundle."""
    ids = bundle.pool_ids
    frames = [
        rolling_metrics(
            _revisions(work.engine, span, ids, METRIC_VALUES),
            bundle.tracked,
            reads.read_days(work.engine, schema.pools, span.days, where={"pool_id": ids}, columns=LEGS),
            span.days,
            work.parameters,
            first_days=span.first_days,
        )
        for span in work.spans
    ]
    return pd.concat(frames, ignore_index=True)


def _revisions(engine: Readable, span: Span, pool_ids: list[str], values: tuple[str, ...]) -> pd.DataFrame:
    """Every revision of the pools' points in the span and its lookback, as `reads.pool_history_revisions` tells them.

    Few pools have an alias; the others are read as columns, which takes a fraction of the time. An old id has no
    points of its own, whether the pool that has them is in the bundle or not.
    """
    days, columns = span.days.back(LOOKBACK_DAYS), [*KEYS, *values]
    renamed = {*span.aliases, *span.aliases.values()}
    own = [pool_id for pool_id in pool_ids if pool_id not in renamed]
    told = pd.DataFrame(
        reads.read_columns(engine, schema.pool_histories, days, where={"pool_id": own}, columns=columns), copy=False
    )
    joined = [pool_id for pool_id in pool_ids if pool_id in renamed and pool_id not in span.aliases]
    if not joined:
        return told
    of_renamed = reads.pool_history_revisions(engine, days, joined, span.aliases)[columns]
    if of_renamed.empty:
        return told
    told["date"] = np.array(told["date"].dt.date, dtype=object)
    return pd.concat([told, of_renamed.astype({"seen_at": object})], ignore_index=True) if len(told) else of_renamed
