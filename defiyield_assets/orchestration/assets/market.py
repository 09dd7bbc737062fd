"""Assets of features: every metric of the registry for every bar, and the state that the next bars go on from.

Lives here: wiring of domain/market/features. Not here: metrics (the registry), what a run starts from
(feature_inputs.py), ranks (feature_ranks.py), regimes and targets (regimes.py).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import dagster as dg
import numpy as np
import pandas as pd
from sqlalchemy import Engine

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.market.features.calculate import Features, in_groups
from defiyield_assets.domain.market.features.events_features import event_columns
from defiyield_assets.domain.market.features.panel import Vector
from defiyield_assets.domain.market.features.plots import DRAWN, plot_features
from defiyield_assets.domain.market.features.registry import METRICS
from defiyield_assets.domain.market.features.surroundings import SERIES, surrounding_columns
from defiyield_assets.domain.market.regimes import STATES
from defiyield_assets.orchestration.declarations import daily_tables, tell_progress
from defiyield_assets.orchestration.feature_inputs import (
    FEATURE_SET,
    FIRST_EVER,
    NAMED_AT_ONCE,
    SESSION_DAYS,
    Batch,
    read_batches,
)
from defiyield_assets.orchestration.feature_ranks import ranks_of
from defiyield_assets.orchestration.instrument_types import BY_TYPE, InstrumentTypes
from defiyield_assets.orchestration.partitions import before, day_range, rolling
from defiyield_assets.orchestration.policies import ONE_RUN
from defiyield_assets.orchestration.reporting import picture, report
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema, writes

COLUMNS = tuple(metric.name for metric in METRICS)
SHOWN_COLUMNS = ["instrument_id", "date", *DRAWN]
"""What of the newest day is shown."""


@daily_tables(
    "daily_features",
    {
        schema.daily_features: (
            "Every metric of the registry (docs/explanation/features.md) for every bar of the day, on adjusted prices; "
            "null until its warm-up is complete and where the source tells no high, low or volume.\n\nAn instrument "
            "goes on from its state. Without one, or when its factors or its history were restated, all its bars are "
            "calculated anew."
        ),
        schema.feature_state: (
            "What recursive metrics remember behind the last bar of the run, with the factor and the number of bars "
            "that it tells of."
        ),
    },
    group="market",
    phase=3,
    spec="market.md#features",
    backfill=ONE_RUN,
    deps=[
        dg.AssetDep("daily_bars", partition_mapping=rolling(SESSION_DAYS)),
        "corporate_actions",
        "instruments",
        "market_events",
        "market_regimes",
        "macro_series",
    ],
    own_past={schema.feature_state: before(SESSION_DAYS)},
    kinds=("numpy", "sql"),
    tag=BY_TYPE,
)
def daily_feature_tables(
    context: dg.AssetExecutionContext, config: InstrumentTypes, warehouse: WarehouseResource
) -> tuple[dg.MaterializeResult, dg.MaterializeResult]:
    """Both tables in one transaction, group of instruments by group: a state never tells of other rows."""
    days, engine = day_range(context), warehouse.engine
    made = make_features(engine, days, config.instrument_types)
    context.log.info("%d instruments started again at their first bar", len(made.restarted))
    newest = reads.read_days(engine, schema.daily_features, DayRange.of(days.end), config.slices, SHOWN_COLUMNS)
    return (
        report(
            made.features,
            newest,
            asset="daily_features",
            instruments=made.n_instruments,
            started_again=len(made.restarted),
            rows_of_earlier_days=made.n_earlier,
            null_share={name: round(n / max(made.features.rows, 1), 4) for name, n in sorted(made.nulls.items())},
            plot=picture(lambda: plot_features(newest, f"Features of {days.end}"), "Features") if len(newest) else None,
        ),
        report(made.state, asset="feature_state", instruments=made.n_instruments),
    )


@dataclass
class Made:
    """What a run made: receipts of both tables, and what it counted of the features of its own days."""

    features: writes.WriteReceipt
    state: writes.WriteReceipt
    n_instruments: int = 0
    n_earlier: int = 0
    restarted: list[str] = field(default_factory=list)
    nulls: Counter[str] = field(default_factory=Counter)


def make_features(engine: Engine, days: DayRange, types: list[str]) -> Made:
    """Calculate and store the features of `days` for the instruments of some types, and those of all earlier days for
    the instruments that start again."""
    batches = read_batches(engine, days, types)
    ranks = ranks_of(engine, batches, days, types)
    events = reads.read_all(engine, schema.market_events)
    columns = ["market", "date", *(f"p_{state}" for state in STATES)]
    known_by_then = DayRange(FIRST_EVER, days.end)
    regimes = reads.read_days(engine, schema.market_regimes, known_by_then, columns=columns)
    macro = reads.read_days(engine, schema.macro_series, known_by_then, {"series_id": list(SERIES)})
    tables = (schema.daily_features, schema.feature_state)
    with writes.replacing(engine, tables, days, {"instrument_type": types}) as writer:
        made = Made(writer.receipt(tables[0]), writer.receipt(tables[1]))
        for batch, ranked in zip(batches, ranks.of_batches, strict=True):
            if batch.is_restarted:
                made.restarted += batch.names
                _forget(writer, batch.names, days)
            beside = ranked | event_columns(batch.table, batch.names, events)
            beside |= surrounding_columns(batch.table, batch.calendars, regimes, macro)
            for group in in_groups(batch.table, batch.state):
                _add(writer, made, feature_rows(batch, group, beside), days)
                states = state_rows(batch, group)
                is_inside = (states["date"] >= days.start).to_numpy()
                writer.add(schema.feature_state, states[is_inside].reset_index(drop=True))
                writer.correct(schema.feature_state, states[~is_inside].reset_index(drop=True))
                made.n_instruments += group.stop - group.first
                tell_progress("daily_features", f"{made.n_instruments} instruments")
        writer.correct(schema.daily_features, ranks.corrected)
        writer.settle()
        made.features, made.state = (writer.receipt(table) for table in tables)
    return made


def _forget(writer: writes.SliceWriter, names: list[str], days: DayRange) -> None:
    """Delete what is stored of instruments that start again, up to the run's last day."""
    for start in range(0, len(names), NAMED_AT_ONCE):
        of_some = {"instrument_id": names[start : start + NAMED_AT_ONCE], "feature_set": FEATURE_SET}
        for table in (schema.daily_features, schema.feature_state):
            writer.forget(table, of_some, days.end)


def _add(writer: writes.SliceWriter, made: Made, rows: pd.DataFrame, days: DayRange) -> None:
    """Store rows: those of the run's days, and those of earlier days beside them."""
    is_inside = (rows["date"] >= days.start).to_numpy()
    inside = rows[is_inside].reset_index(drop=True)
    writer.add(schema.daily_features, inside)
    writer.correct(schema.daily_features, rows[~is_inside].reset_index(drop=True))
    made.n_earlier += int((~is_inside).sum())
    made.nulls.update({name: int(inside[name].isna().sum()) for name in COLUMNS})


def feature_rows(batch: Batch, group: Features, beside: Mapping[str, Vector]) -> pd.DataFrame:
    """Rows of `daily_features`; `beside`: columns by row of the batch's table."""
    number = np.searchsorted(batch.table.starts, group.row, side="right") - 1
    values = group.values | {name: column[group.row] for name, column in beside.items()}
    return pd.DataFrame(
        {
            "instrument_id": np.array(batch.names, dtype=object)[number],
            "date": batch.table.dates[group.row].astype(object),
            "feature_set": FEATURE_SET,
            "instrument_type": np.array(batch.types, dtype=object)[number],
            **{name: values[name] for name in COLUMNS},
        }
    )


def state_rows(batch: Batch, group: Features) -> pd.DataFrame:
    """Rows of `feature_state`, one behind each instrument's last bar."""
    chosen = slice(group.first, group.stop)
    last = batch.table.starts[1:][chosen] - 1
    n_new = np.add.reduceat(batch.table.is_new, batch.table.starts[:-1], dtype=np.int64)[chosen]
    return pd.DataFrame(
        {
            "instrument_id": batch.names[chosen],
            "date": batch.table.dates[last].astype(object),
            "feature_set": FEATURE_SET,
            "instrument_type": batch.types[chosen],
            "adj_factor": batch.factors[last],
            "n_bars": batch.n_before[chosen] + n_new,
            **group.state,
        }
    )
