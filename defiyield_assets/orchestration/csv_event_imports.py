"""Importing one CSV file of events: whose they are, and what of them was not known before.

Lives here: files into market_events. Not here: files of bars (csv_imports.py), reading (sources/csv_events.py), what an
event means (domain/market/events.py).
"""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.market.events import surprises
from defiyield_assets.domain.prices.csv_sources import find_instrument
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError
from defiyield_assets.orchestration.csv_imports import FileImport, bad_lines_json
from defiyield_assets.orchestration.invalidation import resting_on_events
from defiyield_assets.sources.csv_events import read_events
from defiyield_assets.sources.csv_lines import BadLine, count_bad, file_hash
from defiyield_assets.store import reads, schema
from defiyield_assets.store.csv_imports import EVENTS_LAYOUT, imported_files, store_events

_ENDING = re.compile(r"(\.(csv|txt))?(\.gz)?$", re.IGNORECASE)
TOLD = ("instrument_id", "kind", "date", "title", "announced_on", "expected", "actual", "unit")
"""What a file says of an event; the rest follows from it or from the import."""


def import_events(
    engine: sa.Engine, path: Path, content: bytes, *, instruments: pd.DataFrame, now: datetime
) -> FileImport:
    """Take one file of events into `market_events`; a file that was imported already is skipped.

    The source is csv:<name of the file>. What was known stays known: an event that the source told otherwise before is
    a bad line. Only an outcome that was still open is filled in.
    """
    digest, stem = file_hash(content), _ENDING.sub("", path.name)
    if known := imported_files(engine, [digest]):
        return FileImport(path.name, digest, layout=EVENTS_LAYOUT, known_as=known[digest])
    told = read_events(path.name, content)
    bad = list(told.bad)
    rows = _rows(told.events, f"csv:{stem}", now, instruments, bad)
    stored = reads.read_all(engine, schema.market_events, {"source": f"csv:{stem}"})
    new, filled = _against_stored(rows, stored, bad)
    if rows.empty:
        raise SuspiciousDataError(f"{path.name}: no line of it is an event; line {bad[0].number}: {bad[0].reason}")
    counts = {"rows_read": len(rows), "rows_new": len(new), "rows_changed": len(filled), "rows_bad": count_bad(bad)}
    first, last = rows["date"].min(), rows["date"].max()
    record = {
        "file_sha256": digest,
        "file_name": path.name,
        "csv_source": stem,
        "layout": EVENTS_LAYOUT,
        "interval": "",
        **counts,
        "bad_lines_json": bad_lines_json(sorted(set(bad))),
        "first_ts": pd.Timestamp(first, tz="UTC"),
        "last_ts": pd.Timestamp(last, tz="UTC"),
        "imported_at": now,
    }
    changed = rows.loc[[*new, *filled]].drop(columns="row_number").reset_index(drop=True)
    if not store_events(engine, changed, record, beside=resting_on_events(engine, changed)):
        return FileImport(path.name, digest, layout=EVENTS_LAYOUT, known_as=path.name)
    return FileImport(
        path.name,
        digest,
        f"csv:{stem}",
        EVENTS_LAYOUT,
        instruments=tuple(sorted(rows["instrument_id"].dropna().unique())),
        n_read=len(rows),
        n_new=len(new),
        n_changed=len(filled),
        n_repeated=told.n_repeated,
        bad=tuple(sorted(set(bad))),
        days=DayRange(first, last),
    )


def _rows(
    events: pd.DataFrame, source: str, now: datetime, instruments: pd.DataFrame, bad: list[BadLine]
) -> pd.DataFrame:
    """The events as rows of market_events, with their line; an unknown instrument makes its line bad."""
    ids: list[str | None] = []
    is_good: list[bool] = []
    for symbol, number in zip(events["instrument"], events["row_number"], strict=True):
        found, reason = _instrument(symbol, instruments)
        ids.append(found)
        is_good.append(reason is None)
        if reason is not None:
            bad.append(BadLine(int(number), reason))
    numbers = events[["expected", "actual"]].astype(float)
    surprise, fraction = surprises(numbers["actual"], numbers["expected"])
    rows = events.assign(
        source=source,
        instrument_id=pd.Series(ids, index=events.index, dtype=object),
        expected=numbers["expected"],
        actual=numbers["actual"],
        surprise=surprise,
        surprise_fraction=fraction,
        fetched_at=pd.Timestamp(now),
    )
    columns = [*(column.name for column in schema.market_events.columns), "row_number"]
    return rows.loc[is_good, columns].reset_index(drop=True)


def _instrument(symbol: Any, instruments: pd.DataFrame) -> tuple[str | None, str | None]:
    """The instrument of an event, null for the whole market, and why there is none."""
    if not symbol:
        return None, None
    try:
        found = find_instrument(str(symbol), instruments, {})
    except ConfigurationError:
        return None, f"several instruments are called {str(symbol)[:40]!r}; give the instrument's id"
    return found, None if found is not None else f"no instrument is called {str(symbol)[:40]!r}; see instruments.yaml"


def _against_stored(rows: pd.DataFrame, stored: pd.DataFrame, bad: list[BadLine]) -> tuple[list[int], list[int]]:
    """Places of rows that are new, and of those that tell an outcome that was open; contradictions are bad lines."""
    known = {row["event_id"]: row for row in stored.to_dict("records")}
    new, filled = [], []
    for place, row in enumerate(rows.to_dict("records")):
        before = known.get(row["event_id"])
        if before is None:
            new.append(place)
            continue
        differs = [name for name in TOLD if not _is_same(before[name], row[name])]
        if differs == ["actual"] and pd.isna(before["actual"]):
            filled.append(place)
        elif differs:
            bad.append(
                BadLine(
                    int(row["row_number"]),
                    f"{', '.join(differs)} told otherwise than when event {row['event_id'][:40]} was imported first",
                )
            )
    return new, filled


def _is_same(before: Any, now: Any) -> bool:
    return bool(before == now) or (pd.isna(before) and pd.isna(now))
