"""Importing one CSV file: which source it is, whose bars it holds, and what it changed in the warehouse.

Lives here: the one way in that the command line, the asset and the sensor share. Not here: reading (sources/csv_bars.py
and csv_events.py), SQL (store/csv_imports.py), what is made of the rows (assets/imports.py).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.prices.csv_sources import (
    CsvSource,
    Match,
    find_instrument,
    foreign_quotes,
    match_file,
    matched,
    quote_behind,
    quote_of_pair,
    symbol_of_name,
    unknown_instruments,
)
from defiyield_assets.domain.prices.intraday import minutes_of
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError
from defiyield_assets.sources.csv_bars import CsvBars, read_bars, series_of
from defiyield_assets.sources.csv_lines import BadLine, count_bad, file_hash, ranges, shown
from defiyield_assets.store import schema
from defiyield_assets.store.csv_imports import imported_files, store_import

SHARES = ("equity", "etf")
UNKNOWN_VOLUME = "volume left out: nobody says what it counts (`volume_unit` of a source in csv_sources.yaml)"
ADJUSTED_ONLY = "only the adjusted closes were taken: the other prices do not say how far they are adjusted"
MOST_REASONS = 1_000
"""Bad lines whose reasons are kept; the numbers of all of them are."""


@dataclass(frozen=True)
class FileImport:
    """What became of one file.

    `n_read` = new + changed + already known rows. `bad`: lines that were not taken. `left_out`: instrument -> source
    that tells it already. `known_as`: name under which the file was imported before. `days`: from the first to the last
    day on which something changed; None when nothing did. `notes`: how columns were read that could be read otherwise.
    """

    file_name: str
    sha256: str
    source: str = ""
    layout: str = ""
    interval: str = ""
    instruments: tuple[str, ...] = ()
    n_read: int = 0
    n_new: int = 0
    n_changed: int = 0
    n_repeated: int = 0
    bad: tuple[BadLine, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    days: DayRange | None = None
    known_as: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether the file was imported before."""
        return self.known_as is not None

    @property
    def n_known(self) -> int:
        """Rows that were in the warehouse with the same values."""
        return self.n_read - self.n_new - self.n_changed

    @property
    def n_bad(self) -> int:
        """Lines of which something was not taken."""
        return count_bad(self.bad)


def named_source(name: str, sources: Sequence[CsvSource]) -> CsvSource:
    """The source of that name; ConfigurationError names the nearest one."""
    names = [one.name for one in sources]
    if name not in names:
        near = get_close_matches(name, names, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"sources: {', '.join(names)}"
        raise ConfigurationError(f"csv_sources.yaml has no source {name!r}; {hint}")
    return sources[names.index(name)]


def import_bars(
    engine: sa.Engine,
    path: Path,
    content: bytes,
    *,
    sources: Sequence[CsvSource],
    instruments: pd.DataFrame,
    now: datetime,
    source: CsvSource | None = None,
    is_replacing: bool = False,
) -> FileImport:
    """Take one file of bars into `ohlcv_csv`, all of it or nothing; a file that was imported already is skipped.

    `source` wins over the file's name. Raises SuspiciousDataError or ConfigurationError with nothing written.
    """
    digest = file_hash(content)
    if not is_replacing and (known := imported_files(engine, [digest])):
        return FileImport(path.name, digest, known_as=known[digest])
    match = matched(path.name, source) if source is not None else match_file(path.name, sources)
    told = read_bars(path.name, content, match.source)
    ids = _instrument_ids(path.name, told, match, instruments)
    told, is_adjusted, notes = _adjusted(path.name, told, match.source, _has_shares(ids, instruments))
    told = _that_are_over(path.name, told, now)
    bars = _rows(told, match, ids, is_adjusted=is_adjusted)
    record = {
        "file_sha256": digest,
        "file_name": path.name,
        "csv_source": match.source.name,
        "layout": told.layout,
        "interval": told.interval,
        "rows_bad": count_bad(told.bad),
        "bad_lines_json": bad_lines_json(told.bad),
        "first_ts": bars["ts"].min(),
        "last_ts": bars["ts"].max(),
        "imported_at": now,
    }
    refused: list[BadLine] = []

    def with_refused(lines: Sequence[tuple[int, str]]) -> dict[str, Any]:
        refused.extend(BadLine(number, reason) for number, reason in lines)
        bad = sorted({*told.bad, *refused})
        return {"rows_bad": count_bad(bad), "bad_lines_json": bad_lines_json(bad)}

    stored = store_import(engine, bars, record, is_replacing=is_replacing, with_refused=with_refused)
    if stored is None:
        return FileImport(path.name, digest, known_as=path.name)
    names = sorted(set(bars["instrument_id"]) - set(stored.left_out))
    return FileImport(
        path.name,
        digest,
        match.source.name,
        told.layout,
        told.interval,
        tuple(names),
        stored.n_read,
        stored.n_new,
        stored.n_changed,
        told.n_repeated,
        tuple(sorted({*told.bad, *refused})),
        stored.left_out,
        stored.days,
        notes=notes,
    )


def bad_lines_json(bad: Sequence[BadLine]) -> str:
    """All bad lines by number, and the first ones with their reasons."""
    listed = [[item.number, item.reason] for item in bad[:MOST_REASONS]]
    return json.dumps({"lines": ranges(item.number for item in bad), "reasons": listed}, ensure_ascii=False)


def _instrument_ids(file_name: str, told: CsvBars, match: Match, instruments: pd.DataFrame) -> dict[str, str]:
    """Instrument by series of the file. ConfigurationError names every series that no instrument is."""
    found: dict[str, str | None] = {}
    for series in series_of(told.bars):
        of_name = [] if told.layout == "closes" else [match.symbol, symbol_of_name(file_name)]
        names = [name for name in of_name if name]
        found[series] = _instrument_id(file_name, told, match, [series, *names], instruments)
    lacking = [series or match.symbol or symbol_of_name(file_name) for series, name in found.items() if name is None]
    if lacking:
        raise unknown_instruments(lacking, file_name)
    ids = {series: name for series, name in found.items() if name is not None}
    if len(set(ids.values())) < len(ids):
        raise SuspiciousDataError(f"{file_name}: two of its columns mean the same instrument: {ids}")
    return ids


def _instrument_id(
    file_name: str, told: CsvBars, match: Match, symbols: Sequence[str], instruments: pd.DataFrame
) -> str | None:
    """The instrument of a series; `symbols`: the series and the symbols in the file's name. None where nobody has one.

    The file's own symbol decides where it has one: ConfigurationError when the name means another instrument, and when
    anything tells quotes that are no dollars and the source maps none of the symbols.
    """
    (series, *names), mapping = symbols, match.source.instruments
    asked = [name for name in symbols if name]
    hits = {name: find_instrument(name, instruments, mapping) for name in asked}
    if not mapping.keys() & set(asked):
        quotes = [
            quote_of_pair(name, instruments)
            if hit is None
            else quote_behind(file_name, name, is_table=told.layout == "closes")
            for name, hit in hits.items()
        ]
        code = next((quote for quote in (*quotes, told.quote) if quote is not None), None)
        if code is not None:
            raise foreign_quotes(file_name, code)
    if not series:
        return next((hit for hit in hits.values() if hit is not None), None)
    if series not in mapping and hits[series] is not None:
        for name in names:
            if hits[name] not in (None, hits[series]):
                raise ConfigurationError(
                    f"{file_name}: its lines are of {shown(series)} ({hits[series]}), its name says {name} "
                    f"({hits[name]}): rename it, or map {shown(series)} under `instruments` of its source in "
                    f"csv_sources.yaml"
                )
    return hits[series]


def _has_shares(ids: Mapping[str, str], instruments: pd.DataFrame) -> bool:
    """Whether any of the instruments pays dividends and is split."""
    concerned = instruments[instruments["instrument_id"].isin(set(ids.values()))]
    return bool(concerned["type"].isin(SHARES).any())


def _adjusted(
    file_name: str, told: CsvBars, source: CsvSource, has_shares: bool
) -> tuple[CsvBars, bool, tuple[str, ...]]:
    """The bars with the closes that count, whether these are adjusted, and what is to be said of it.

    Closes of shares are adjusted or not: the source says it (`is_adjusted`), else a column of adjusted closes counts,
    alone, since nobody knows how far the other prices are adjusted. ConfigurationError where neither tells it. Coins
    are never split: theirs are as they are.
    """
    notes = (UNKNOWN_VOLUME,) if told.has_unknown_volume else ()
    takes_column = told.has_adjusted and source.is_adjusted is not False and (has_shares or source.is_adjusted is True)
    if has_shares and source.is_adjusted is None and not told.has_adjusted:
        raise ConfigurationError(
            f"{file_name}: holds shares and does not say whether its prices are adjusted for splits and dividends: "
            f"say `--source shares_raw` or `--source shares_adjusted`, or `is_adjusted` of a source for it in "
            f"csv_sources.yaml"
        )
    if not takes_column:
        return told, bool(source.is_adjusted), notes
    is_told = told.bars["adjusted_close"].notna()
    lacking = told.bars.loc[~is_told, "row_number"]
    bad = [BadLine(int(number), "its adjusted close is no price") for number in lacking]
    bars = told.bars[is_told].reset_index(drop=True)
    bars = bars.assign(close=bars["adjusted_close"], **dict.fromkeys(("open", "high", "low"), np.nan))
    return _with_bad(file_name, told, bars, bad), True, (*notes, ADJUSTED_ONLY)


def _that_are_over(file_name: str, told: CsvBars, now: datetime) -> CsvBars:
    """The bars that ended before `now`; those that run or have not begun are bad lines. A day ends with its UTC day."""
    minutes = minutes_of(told.interval)
    longer = {"1d": pd.DateOffset(days=1), "1w": pd.DateOffset(days=7), "1mo": pd.DateOffset(months=1)}
    length = pd.Timedelta(minutes=minutes) if minutes is not None else longer[told.interval]
    is_running = told.bars["ts"] + length > pd.Timestamp(now)
    if not is_running.any():
        return told
    running = told.bars.loc[is_running, ["row_number", "ts"]]
    bad = [
        BadLine(int(number), f"the bar of {ts:%Y-%m-%d %H:%M} UTC is not over")
        for number, ts in running.itertuples(index=False)
    ]
    return _with_bad(file_name, told, told.bars[~is_running].reset_index(drop=True), bad)


def _with_bad(file_name: str, told: CsvBars, bars: pd.DataFrame, bad: Sequence[BadLine]) -> CsvBars:
    """The file with fewer bars and more bad lines; SuspiciousDataError when no bar is left."""
    every = tuple(sorted({*told.bad, *bad}))
    if bars.empty:
        raise SuspiciousDataError(
            f"{file_name}: no line of it is a bar that can be taken; line {bad[0].number}: {bad[0].reason}"
        )
    return replace(told, bars=bars, bad=every)


def _rows(told: CsvBars, match: Match, ids: Mapping[str, str], *, is_adjusted: bool) -> pd.DataFrame:
    """The bars as rows of ohlcv_csv."""
    bars, source = told.bars, match.source
    days = bars["ts"].dt.date
    columns: dict[str, Any] = {
        "instrument_id": bars["series"].map(ids).astype(object),
        "interval": told.interval,
        "date": days.astype(object),
        "csv_source": source.name,
        "price_scale": float(source.price_scale),
        "is_adjusted": is_adjusted,
        "file_sha256": told.sha256,
        "row_number": bars["row_number"].astype("int64"),
    }
    return bars.assign(**columns)[[column.name for column in schema.ohlcv_csv.columns]]
