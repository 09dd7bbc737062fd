"""Checks of features: a day's rows against a calculation from the first bar, and against their own bounds.

Lives here: reading what is compared. Not here: the metrics (domain/market/features), checks of regimes (regimes.py).
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from random import Random

import dagster as dg
import numpy as np
import pandas as pd
from sqlalchemy import Engine

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.market.features.calculate import in_groups
from defiyield_assets.domain.market.features.events_features import event_columns
from defiyield_assets.domain.market.features.panel import Vector
from defiyield_assets.domain.market.features.registry import METRICS
from defiyield_assets.domain.market.features.surroundings import SERIES, surrounding_columns
from defiyield_assets.domain.market.regimes import STATES
from defiyield_assets.domain.prices.instruments import INSTRUMENT_TYPES
from defiyield_assets.orchestration.feature_inputs import FEATURE_SET, FIRST_EVER, Batch, recomputed
from defiyield_assets.orchestration.feature_ranks import RANKS, stored_ranks
from defiyield_assets.orchestration.partitions import DAILY, day_range
from defiyield_assets.orchestration.reporting import preview
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema

COMPARED, SHOWN = 5, 20
"""Instruments that are calculated again, others every day; rows that are listed."""
SHARES = [f"p_{state}" for state in STATES]
EVER = DayRange(FIRST_EVER, date(9998, 12, 31))
SPAN = 30
"""Days that are held at a time."""


@dg.asset_check(asset="daily_features", additional_deps=["daily_bars"], partitions_def=DAILY, blocking=False)
def features_equal_batch(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """A few instruments calculated from their first bar have the stored bits in every metric, ranks, events, regimes
    and macro series among them, on the days of the run and on an earlier day, another one every time."""
    days, engine = day_range(context), warehouse.engine
    chosen = chosen_of(_names(engine, days), days.end)
    where = {"feature_set": FEATURE_SET, "instrument_id": chosen}
    of_days = reads.read_days(engine, schema.daily_features, days, where)
    earlier = earlier_day(engine, chosen, days)
    of_earlier = reads.read_days(engine, schema.daily_features, DayRange.of(earlier), where) if earlier else of_days
    own = pd.concat([of_earlier, of_days], ignore_index=True) if earlier else of_days
    apart = apart_from_batch(engine, own, days.end, [day for day in (earlier, days.end) if day])
    return dg.AssetCheckResult(
        passed=apart.empty,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{len(apart)} values of {len(own)} rows of {len(chosen)} instruments differ from a batch",
        metadata={
            "instruments": chosen,
            "rows": len(own),
            "earlier_day": str(earlier),
            "apart": len(apart),
            "listed": preview(apart, SHOWN),
        },
    )


@dg.asset_check(asset="daily_features", partitions_def=DAILY, blocking=False)
def features_within_bounds(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Every value lies within the bounds that its metric has in the registry, every bar has its features, and nothing
    else has."""
    days, engine = day_range(context), warehouse.engine
    n_rows, nulls = 0, Counter[str]()
    outside, missing = [], []
    for start in range(0, len(days), SPAN):
        span = DayRange(
            days.start + timedelta(days=start), min(days.start + timedelta(days=start + SPAN - 1), days.end)
        )
        rows = reads.read_days(engine, schema.daily_features, span, {"feature_set": FEATURE_SET})
        outside.append(out_of_bounds(rows))
        missing.append(without_features(engine, span, rows))
        n_rows += len(rows)
        nulls.update({metric.name: int(rows[metric.name].isna().sum()) for metric in METRICS})
    wrong, lost = pd.concat(outside, ignore_index=True), pd.concat(missing, ignore_index=True)
    return dg.AssetCheckResult(
        passed=wrong.empty and lost.empty,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{len(wrong)} values of {n_rows} rows lie outside their bounds, {len(lost)} bars lack features or "
        f"features a bar",
        metadata={
            "rows": n_rows,
            "outside": preview(wrong, SHOWN),
            "without_features": preview(lost, SHOWN),
            "null_share": {name: round(n / max(n_rows, 1), 4) for name, n in nulls.items()},
        },
    )


def _names(engine: Engine, days: DayRange) -> list[str]:
    """Instruments with features on the newest of the days that has any."""
    newest = reads.newest_day(engine, schema.daily_features, on_or_before=days.end)
    if newest is None or newest < days.start:
        return []
    rows = reads.read_days(engine, schema.daily_features, DayRange.of(newest), columns=["instrument_id"])
    return sorted(set(rows["instrument_id"]))


def without_features(engine: Engine, days: DayRange, rows: pd.DataFrame) -> pd.DataFrame:
    """Bars of the types that have features, but none of their own, and features without a bar: instrument_id, date,
    `lacks`."""
    types = {"instrument_type": sorted(set(rows["instrument_type"]))}
    bars = reads.read_days(engine, schema.daily_bars, days, types, ["instrument_id", "date"])
    beside = bars.merge(rows[["instrument_id", "date"]], how="outer", indicator=True)
    alone = beside[beside["_merge"] != "both"]
    lacks = alone["_merge"].astype(str).map({"left_only": "features", "right_only": "bar"})
    return alone[["instrument_id", "date"]].assign(lacks=lacks).reset_index(drop=True)


def earlier_day(engine: Engine, names: list[str], days: DayRange) -> date | None:
    """A day before the run's on which one of the instruments has features: by chance, the same one for a day."""
    before = DayRange(FIRST_EVER, days.start - timedelta(days=1))
    where = {"feature_set": FEATURE_SET, "instrument_id": names}
    rows = reads.read_days(engine, schema.daily_features, before, where, ["date"])
    known = sorted(set(rows["date"]))
    return known[Random(days.end.toordinal()).randrange(len(known))] if known else None  # noqa: S311


def chosen_of(names: list[str], day: date) -> list[str]:
    """A few of the names, spread over the list and others every day."""
    if len(names) <= COMPARED:
        return names
    step = len(names) / COMPARED
    return [names[(int(number * step) + day.toordinal()) % len(names)] for number in range(COMPARED)]


def apart_from_batch(
    engine: Engine, stored: pd.DataFrame, through: date, ranked_on: Sequence[date] = ()
) -> pd.DataFrame:
    """What `differing` says of stored rows and of their instruments calculated from the first bar up to a day.

    Ranks follow from what is stored of everybody on a day: they are compared on the days `ranked_on`.
    """
    chosen, types = sorted(set(stored["instrument_id"])), sorted(set(stored["instrument_type"]))
    batch = recomputed(engine, chosen, types, through) if chosen else None
    if batch is None:
        return differing(stored, stored, ())
    names = np.repeat(np.array(batch.names, dtype=object), np.diff(batch.table.starts))
    beside = _beside(engine, batch)
    made = pd.concat(
        [
            pd.DataFrame(group.values | {name: column[group.row] for name, column in beside.items()}).assign(
                instrument_id=names[group.row], date=batch.table.dates[group.row].astype(object)
            )
            for group in in_groups(batch.table, batch.state)
        ]
    )
    found = [differing(stored, made, [metric.name for metric in METRICS if metric.name not in RANKS])]
    for day in ranked_on:
        of_day = stored[stored["date"] == day]
        found.append(differing(of_day, stored_ranks(engine, day, INSTRUMENT_TYPES), RANKS))
    filled = [part for part in found if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else found[0]


def _beside(engine: Engine, batch: Batch) -> dict[str, Vector]:
    """Columns of events, regimes and macro series of the batch's rows."""
    events = reads.read_all(engine, schema.market_events)
    regimes = reads.read_days(engine, schema.market_regimes, EVER, columns=["market", "date", *SHARES])
    macro = reads.read_days(engine, schema.macro_series, EVER, {"series_id": list(SERIES)})
    return event_columns(batch.table, batch.names, events) | surrounding_columns(
        batch.table, batch.calendars, regimes, macro
    )


def differing(stored: pd.DataFrame, made: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Values of the metrics whose bits differ: instrument_id, date, metric, stored, batch; NaN equals NaN."""
    both = stored.merge(made, on=["instrument_id", "date"], how="left", suffixes=("", "_batch"))
    found = []
    for name in names:
        left, right = both[name].to_numpy(float), both[f"{name}_batch"].to_numpy(float)
        differs = (left != right) & ~(np.isnan(left) & np.isnan(right))
        if differs.any():
            part = both.loc[differs, ["instrument_id", "date"]]
            found.append(part.assign(metric=name, stored=left[differs], batch=right[differs]))
    columns = ["instrument_id", "date", "metric", "stored", "batch"]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)


def out_of_bounds(rows: pd.DataFrame) -> pd.DataFrame:
    """Values outside their bounds: instrument_id, date, metric, value."""
    found = []
    for metric in METRICS:
        low, high = metric.bounds
        values = rows[metric.name].to_numpy(float)
        is_outside = (values < (-np.inf if low is None else low)) | (values > (np.inf if high is None else high))
        if is_outside.any():
            part = rows.loc[is_outside, ["instrument_id", "date"]]
            found.append(part.assign(metric=metric.name, value=values[is_outside]))
    columns = ["instrument_id", "date", "metric", "value"]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)
