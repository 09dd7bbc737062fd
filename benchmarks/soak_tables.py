"""Two warehouses row by row, and how large one is.

Lives here: comparison of the tables of a disturbed and an undisturbed run, sizes. Not here: the runs (soak_year.py).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Context, Decimal
from pathlib import Path

import sqlalchemy as sa

from defiyield_assets.store import schema

EXCLUDED = {
    "raw_fetches": "one row for every request: a vendor that failed was asked more often, or by another run",
    "raw_bodies": "what vendors said when they failed is kept too",
    "vendor_usage": "calls counted against limits: the same",
    "vendor_paces": "when a vendor asked for a pause",
    "forecast_cache": "fits of a run that was broken off are kept, whether the next one needs them or not",
    "feature_state": "behind which bars a run left a state tells of runs; the features made from them are compared",
}
"""Tables that tell of runs and requests and not of the market, with the reason why they may differ."""
MEASURED = {"allocation_runs": {"solver_seconds"}}
"""Columns that hold a measurement of the clock."""
AT_ONCE = 5_000
EXACT = Context(prec=200)
"""Far more digits than any column keeps."""


@dataclass(frozen=True)
class TableDifference:
    """One table: rows compared, and rows that the two have not in common."""

    table: str
    rows: int
    differing: int
    example: str = ""


def _rows(engine: sa.Engine, table: sa.Table, *, is_raw: bool) -> Iterator[tuple[tuple[object, ...], bytes]]:
    """(primary key, digest of all columns) of every row; raw: as the database holds it, else as the types read it."""
    measured = MEASURED.get(table.name, frozenset[str]())
    key = [column.name for column in table.primary_key]
    others = [column.name for column in table.columns if column.name not in {*key, *measured}]
    columns = [table.c[name] for name in [*key, *others]]
    asked = sa.select(*(sa.type_coerce(column, sa.types.NullType()) if is_raw else column for column in columns))
    with engine.connect() as connection:
        for row in connection.execution_options(yield_per=AT_ONCE).execute(asked):
            cells = tuple(row) if is_raw else tuple(map(_plain, row))
            yield cells[: len(key)], hashlib.blake2b(repr(cells).encode(), digest_size=16).digest()


def _plain(cell: object) -> object:
    """The same for both kinds of databases: SQLite stores -0.0 as 0.0, and PostgreSQL may keep more zeros."""
    if isinstance(cell, float):
        return cell + 0.0
    return EXACT.plus(EXACT.normalize(cell)) if isinstance(cell, Decimal) else cell


def compare_table(one: sa.Engine, other: sa.Engine, table: sa.Table) -> TableDifference:
    """Rows by primary key: those that only one has, and those that are not the same."""
    is_raw = one.dialect.name == other.dialect.name
    left, differing, n_rows, example = dict(_rows(one, table, is_raw=is_raw)), 0, 0, ""
    n_left = len(left)
    for key, digest in _rows(other, table, is_raw=is_raw):
        n_rows += 1
        if left.pop(key, None) != digest:
            differing += 1
            example = example or str(key)
    if left:
        example = example or str(next(iter(left)))
    return TableDifference(table.name, max(n_rows, n_left), differing + len(left), example)


def compare(one: sa.Engine, other: sa.Engine) -> list[TableDifference]:
    """All tables of the warehouse but those excluded."""
    tables = [table for table in schema.metadata.sorted_tables if table.name not in EXCLUDED]
    return [compare_table(one, other, table) for table in tables]


def compare_chains(one: Path, other: Path) -> list[TableDifference]:
    """All tables of two simulated chains: what was executed must be the same too."""
    engines = [sa.create_engine(f"sqlite:///{path}") for path in (one, other)]
    try:
        found = sa.MetaData()
        found.reflect(engines[0])
        return [compare_table(engines[0], engines[1], table) for table in found.sorted_tables if len(table.primary_key)]
    finally:
        for engine in engines:
            engine.dispose()


def row_counts(engine: sa.Engine) -> dict[str, int]:
    """Rows of every table of the warehouse."""
    with engine.connect() as connection:
        return {
            table.name: int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())
            for table in schema.metadata.sorted_tables
        }


def folder_bytes(folder: Path) -> dict[str, int]:
    """Bytes of every file and folder directly below a state folder; write-ahead logs count with their database."""
    sizes: dict[str, int] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).parts[0].removesuffix("-wal").removesuffix("-shm")
            sizes[name] = sizes.get(name, 0) + path.stat().st_size
    return sizes
