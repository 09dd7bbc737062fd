"""Features of bars below a day: the registry's intraday metrics over whole series.

Lives here: what of `intraday_bars` becomes a panel, and writing its metrics. Not here: formulas
(domain/market/features), daily features (assets/market.py), factors (bars.py), the asset (assets/imports.py).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray

from defiyield_assets.domain.market.features.calculate import in_groups
from defiyield_assets.domain.market.features.inputs import adjusted_values
from defiyield_assets.domain.market.features.panel import BarTable
from defiyield_assets.domain.market.features.recursions import blank_state
from defiyield_assets.domain.market.features.registry import INTRADAY_METRICS
from defiyield_assets.domain.prices.calendars import expected_slots
from defiyield_assets.domain.prices.instruments import periods_per_year
from defiyield_assets.domain.prices.intraday import minutes_of
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.orchestration.bars import mark_adjusted
from defiyield_assets.orchestration.feature_inputs import FEATURE_SET
from defiyield_assets.orchestration.file_intake import EVER
from defiyield_assets.orchestration.invalidation import FACTORS
from defiyield_assets.store import reads, schema, writes

COLUMNS = tuple(metric.name for metric in INTRADAY_METRICS)
PART_ROWS = 10_000
"""Rows of a series that are made ready at a time: ten times as many would take a gigabyte."""


def instruments_since(engine: sa.Engine, since: datetime | None) -> list[str]:
    """Instruments with bars below a day of files that were imported after that instant, or with splits or dividends
    told after it; None: all instruments with such bars.
    """
    names = {name for (name,) in reads.distinct(engine, schema.intraday_bars, ["instrument_id"], EVER.end)}
    if since is None:
        return sorted(names)
    files = reads.read_all(engine, schema.csv_imports)
    recent = files.loc[files["imported_at"] > since, "file_sha256"].tolist()
    told = reads.distinct(engine, schema.ohlcv_csv, ["instrument_id", "file_sha256"], EVER.end)
    actions = reads.read_all(engine, schema.corporate_actions)
    restated = set(actions.loc[actions["fetched_at"] > since, "instrument_id"])
    return sorted(names & ({name for name, digest in told if digest in set(recent)} | restated))


def make_intraday_features(engine: sa.Engine, names: Sequence[str]) -> writes.WriteReceipt:
    """Calculate the features of all bars below a day of some instruments anew, and replace those that are stored.

    Each series is calculated from its first bar: files come seldom and tell of any time. Annualised metrics count the
    bars of a year that the instrument's calendar has at the interval. Raises SuspiciousDataError for an instrument that
    `instruments` does not list.
    """
    table = schema.intraday_features
    instruments = reads.read_all(engine, schema.instruments, {"instrument_id": list(names)})
    calendars = dict(zip(instruments["instrument_id"], instruments["calendar"], strict=True))
    strangers = sorted(set(names) - set(calendars))
    if strangers:
        raise SuspiciousDataError(
            f"intraday_bars has bars of {', '.join(strangers[:5])}, which `instruments` does not list: nobody knows "
            "how many bars their years have"
        )
    with writes.replacing(engine, [table], EVER, {"instrument_id": list(names)}) as writer:
        for name in names:
            bars = reads.read_all(engine, schema.intraday_bars, {"instrument_id": name})
            for interval, series in with_daily_factors(engine, name, bars).groupby("interval", sort=True):
                yearly = bars_of_year(calendars[name], str(interval), series)
                for part in features_of_series(series, yearly):
                    writer.add(table, part)
        writer.settle()
        return writer.receipt(table)


def with_daily_factors(engine: sa.Engine, name: str, bars: pd.DataFrame) -> pd.DataFrame:
    """Bars of one instrument with the factors of the daily bars of their days, in which the splits and dividends are.

    1 for who never had any. NaN on a day without a daily bar, and where only one of both comes from a file that is
    adjusted already: nobody knows their factors.
    """
    if reads.read_all(engine, schema.corporate_actions, {"instrument_id": name}).empty:
        return bars.assign(**dict.fromkeys(FACTORS, 1.0))
    columns = ["instrument_id", "date", "source", *FACTORS]
    days = mark_adjusted(engine, reads.read_days(engine, schema.daily_bars, EVER, {"instrument_id": name}, columns))
    keys = ["instrument_id", "date", "is_adjusted"]
    return mark_adjusted(engine, bars).merge(days[[*keys, *FACTORS]], on=keys, how="left")


def bars_of_year(calendar: str, interval: str, series: pd.DataFrame) -> float:
    """Bars of a year: days of trade times the slots of a usual day."""
    days = sorted(set(series["date"]))[-30:]
    slots = [expected_slots(calendar, day, minutes_of(interval) or 1) for day in days]
    return float(periods_per_year(calendar) * max(1, round(float(np.median(slots)))))


def features_of_series(series: pd.DataFrame, yearly: float) -> Iterator[pd.DataFrame]:
    """Rows of `intraday_features` of one series of `intraday_bars` with FACTORS, part by part."""
    told = series.sort_values("ts", kind="stable").reset_index(drop=True)
    floats = ("open", "high", "low", "close", *FACTORS, "volume_usd", "volume_units")
    columns: dict[str, NDArray[Any]] = {name: told[name].to_numpy(np.float64) for name in floats}
    texts = {"instrument_id": "instrument_id", "volume_source": "source", "quality": "quality"}
    columns |= {name: told[column].to_numpy(object) for name, column in texts.items()}
    bars = BarTable(
        starts=np.array([0, len(told)], dtype=np.intp),
        dates=told["date"].to_numpy(dtype="datetime64[D]"),
        values=adjusted_values(columns),
        is_new=np.ones(len(told), dtype=bool),
        periods_per_year=np.array([yearly]),
    )
    for group in in_groups(bars, blank_state(1), INTRADAY_METRICS):
        keys = told[["instrument_id", "interval", "ts", "date"]].assign(feature_set=FEATURE_SET)
        whole = pd.DataFrame({name: group.values[name] for name in COLUMNS})
        for start in range(0, len(told), PART_ROWS):
            rows = slice(start, start + PART_ROWS)
            yield pd.concat([keys.iloc[rows], whole.iloc[rows]], axis=1).reset_index(drop=True)
