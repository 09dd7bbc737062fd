"""What a frame must be before it may become rows of a table; every rule follows from the table's own metadata.

Lives here: types, nullability, bounds, keys and the borders of a slice. Not here: the tables (schema/), units
(units.py), the rules of the domain (domain/), the write itself (writes.py).
"""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.store.types import BaseUnits, ExactDecimal, UtcDateTime
from defiyield_assets.store.units import unit_of

if TYPE_CHECKING:
    import pandera.pandas as pa

MAX_BASE_UNITS = 2**256 - 1
MAX_INTEGER = 2**31 - 1
"""PostgreSQL's INTEGER; SQLite would take more, and then the two would differ."""
MAX_LONG = 2**63 - 1
"""BIGINT of both."""
EARLIEST, LATEST = datetime(1700, 1, 1, tzinfo=UTC), datetime(2250, 1, 1, tzinfo=UTC)
"""Timestamps that pandas can hold; outside there are only mistakes (seconds taken for milliseconds, for one)."""
SPELLED_NULLS = frozenset({"", "nan", "NaN", "None", "NaT", "<NA>"})
"""What `str` makes of a missing value; such a key would silently merge unrelated rows."""
EXAMPLES = 5
"""How many offending keys a message names."""
LONGEST_EXAMPLE = 80
"""Values may come from hostile sources and be megabytes long; a message shows so many characters."""


def column_type(column: sa.Column[Any]) -> str:
    """Short name of what a cell of the column is in Python: text, int, long, float, bool, date, timestamp,
    decimal, bytes.
    """
    names: tuple[tuple[type[Any], str], ...] = (
        (BaseUnits, "base units"),
        (ExactDecimal, "decimal"),
        (UtcDateTime, "timestamp"),
        (sa.Boolean, "bool"),
        (sa.Date, "date"),
        (sa.BigInteger, "long"),
        (sa.Integer, "int"),
        (sa.Float, "float"),
        (sa.LargeBinary, "bytes"),
        (sa.Text, "text"),
    )
    for kind, name in names:
        if isinstance(column.type, kind):
            return name
    raise TypeError(f"column {column.table.name}.{column.name} has no rule for type {column.type!r}")


def _unnamed(column: sa.Column[Any]) -> frozenset[str]:
    """Texts that are no key; in some columns empty text is one."""
    return SPELLED_NULLS - {""} if column.info.get("is_blank") else SPELLED_NULLS


# --- what a cell must be -------------------------------------------------------------------------------------------
def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _is_int(value: object) -> bool:
    if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool):
        return False
    return math.isfinite(value) and value == int(value) and abs(int(value)) <= MAX_INTEGER


def _is_long(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and abs(int(value)) <= MAX_LONG


def _is_base_units(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and abs(int(value)) <= MAX_BASE_UNITS


def _is_timestamp(value: object) -> bool:
    return isinstance(value, datetime) and value.tzinfo is not None and EARLIEST <= value < LATEST


CELL_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "text": ("must be text", lambda value: isinstance(value, str)),
    "bytes": ("must be bytes", lambda value: isinstance(value, bytes)),
    "bool": ("must be True or False", lambda value: isinstance(value, bool | np.bool_)),
    "int": ("must be a whole number of at most 31 bits", _is_int),
    "long": ("must be a whole number of at most 63 bits", _is_long),
    "float": ("must be a finite number", lambda value: _is_number(value) and math.isfinite(value)),
    "date": ("must be a datetime.date", lambda value: isinstance(value, date) and not isinstance(value, datetime)),
    "timestamp": ("must be a timestamp with time zone, years 1700 to 2249", _is_timestamp),
    "base units": ("must be an int of at most 256 bits", _is_base_units),
    "decimal": ("must be a finite Decimal", lambda value: isinstance(value, Decimal) and value.is_finite()),
}


def _cell_check(kind: str) -> Callable[[pd.Series], pd.Series]:
    rule = CELL_RULES[kind][1]

    def check(cells: pd.Series) -> pd.Series:
        dtype = cells.dtype
        if kind == "float" and dtype.kind in "iu":
            return pd.Series(True, index=cells.index)
        if kind == "float" and dtype.kind == "f":
            return pd.Series(np.isfinite(cells.to_numpy()), index=cells.index)
        if kind == "bool" and dtype.kind == "b":
            return pd.Series(True, index=cells.index)
        if kind == "timestamp" and isinstance(dtype, pd.DatetimeTZDtype):
            return cells.between(EARLIEST, LATEST, inclusive="left")
        if kind == "int" and dtype.kind == "i":
            return cells.between(-MAX_INTEGER, MAX_INTEGER)
        if kind in ("text", "date"):
            return pd.Series(_judged_by_type(cells, rule), index=cells.index, dtype=bool)
        return pd.Series([rule(cell) for cell in cells], index=cells.index, dtype=bool)

    return check


def _judged_by_type(cells: pd.Series, rule: Callable[[Any], bool]) -> list[bool]:
    """The verdict on each cell where its type decides: one cell of each type is asked for."""
    types = [type(cell) for cell in cells]
    examples = dict(zip(types, cells, strict=True))
    verdicts = {kind: rule(example) for kind, example in examples.items()}
    return [verdicts[kind] for kind in types]


def _bound_check(holds: Callable[[pd.Series], pd.Series]) -> Callable[[pd.Series], pd.Series]:
    """A bound on numbers; cells that are no numbers are the business of the type rule."""

    def check(cells: pd.Series) -> pd.Series:
        numbers = pd.to_numeric(cells, errors="coerce")
        return holds(numbers) | numbers.isna()

    return check


def _column(column: sa.Column[Any]) -> "pa.Column":
    import pandera.pandas as pa

    kind = column_type(column)
    rules = [(CELL_RULES[kind][0], _cell_check(kind))]
    if "ge" in column.info:
        least = column.info["ge"]
        rules.append((f"must be >= {least}", _bound_check(lambda numbers: numbers >= least)))
    if "le" in column.info:
        most = column.info["le"]
        rules.append((f"must be <= {most}", _bound_check(lambda numbers: numbers <= most)))
    if "isin" in column.info:
        allowed = list(column.info["isin"])
        rules.append((f"must be one of {allowed}", lambda cells: cells.isin(allowed)))
    if column.primary_key and kind == "text":
        unnamed = _unnamed(column)
        rules.append(("must not be empty or a spelled null", lambda cells: ~cells.isin(unnamed)))
    checks = [pa.Check(function, name=text, error=text) for text, function in rules]
    return pa.Column(None, checks, nullable=bool(column.nullable), required=True, description=column.comment)


@cache
def frame_schema(table: sa.Table) -> "pa.DataFrameSchema":
    """The pandera schema of frames for that table: exactly its columns in any order, their types, nulls, bounds, keys.

    Null is None or NaN. Whole floats are accepted for integers (pandas makes them of nullable ones), never for amounts.
    """
    import pandera.pandas as pa

    return pa.DataFrameSchema(
        {column.name: _column(column) for column in table.columns},
        unique=[column.name for column in table.primary_key.columns],
        unique_column_names=True,
        strict=True,
        name=table.name,
        description=table.comment,
    )


def column_schema(table: sa.Table) -> list[dict[str, Any]]:
    """The columns as documentation: name, type, description, nullable, is_key and, where there is one, unit."""
    columns: list[dict[str, Any]] = []
    for column in table.columns:
        entry: dict[str, Any] = {
            "name": column.name,
            "type": column_type(column),
            "description": column.comment or "",
            "nullable": bool(column.nullable),
            "is_key": bool(column.primary_key),
        }
        unit = unit_of(column)
        if unit is not None:
            entry["unit"] = unit
        columns.append(entry)
    return columns


# --- refusing a frame ----------------------------------------------------------------------------------------------
def require_valid(
    table: sa.Table, frame: pd.DataFrame, days: DayRange | None = None, where: Mapping[str, Any] | None = None
) -> None:
    """Raise SuspiciousDataError, naming table, column, rule and up to five keys, unless every row may be written.

    With `days` or `where` every row must also lie inside that slice, otherwise replacing the slice would leave strays.
    The frame must have a fresh RangeIndex.
    """
    if not _is_plainly_valid(table, frame):
        _require_rules(table, frame)
    _require_inside(table, frame, days, where)


def _require_rules(table: sa.Table, frame: pd.DataFrame) -> None:
    import pandera.errors

    try:
        frame_schema(table).validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        raise SuspiciousDataError(_describe(table, frame, error.failure_cases)) from None
    except TypeError as error:  # a list or dict in a key column cannot even be compared
        raise SuspiciousDataError(f"table {table.name}: {error}; nothing was written") from error


def _require_inside(
    table: sa.Table, frame: pd.DataFrame, days: DayRange | None, where: Mapping[str, Any] | None
) -> None:
    findings = []
    if days is not None:
        outside = [not days.start <= day <= days.end for day in frame[day_column(table).name]]
        findings.append((day_column(table).name, f"must lie between {days.start} and {days.end}", outside))
    for name, wanted in (where or {}).items():
        findings.append((name, f"must be {wanted!r} as the slice says", list(~matches(frame[name], wanted))))
    broken = [
        _sentence(table, frame, name, rule, [row for row, is_bad in enumerate(bad) if is_bad])
        for name, rule, bad in findings
        if any(bad)
    ]
    if broken:
        raise SuspiciousDataError(_message(table, broken))


# --- the usual case ------------------------------------------------------------------------------------------------
_EXACT_TYPES: dict[str, type[Any]] = {
    "text": str,
    "date": date,
    "base units": int,
    "int": int,
    "long": int,
    "bool": bool,
    "bytes": bytes,
    "decimal": Decimal,
}
_MOST = {"base units": MAX_BASE_UNITS, "long": MAX_LONG, "int": MAX_INTEGER}


def _is_plainly_valid(table: sa.Table, frame: pd.DataFrame) -> bool:
    """Whether every rule of `frame_schema` holds beyond doubt, asked column by column; False where pandera must look.

    Frames of a million transfers pass here: the rules cell by cell take several times longer.
    """
    names = [column.name for column in table.columns]
    if len(frame.columns) != len(names) or set(frame.columns) != set(names):
        return False
    if not all(is_plain_column(column, frame[column.name]) for column in table.columns):
        return False
    keys = [frame[column.name].tolist() for column in table.primary_key.columns]
    return len(set(zip(*keys, strict=True))) == len(frame)


def is_plain_column(column: sa.Column[Any], cells: pd.Series) -> bool:
    """Whether a column keeps its rules beyond doubt, those of keys aside."""
    kind, limits = column_type(column), {"ge", "le", "isin"} & column.info.keys()
    if cells.dtype == object and kind in _EXACT_TYPES:
        return _is_plain_objects(column, kind, cells.tolist())
    if kind == "timestamp" and isinstance(cells.dtype, pd.DatetimeTZDtype) and not limits:
        if cells.hasnans and not column.nullable:
            return False
        return bool(cells.isna().all() or (cells.min() >= EARLIEST and cells.max() < LATEST))
    if kind == "float" and cells.dtype == object and "isin" not in limits:
        is_plain = set(map(type, cells.tolist())) <= {float, type(None)}
        return is_plain and _is_plain_floats(column, cells.to_numpy(np.float64))
    if not isinstance(cells.dtype, np.dtype):
        return False
    if kind == "bool" and cells.dtype.kind == "b" and not limits:
        return True
    if kind == "float" and cells.dtype == np.float64 and "isin" not in limits:
        return _is_plain_floats(column, cells.to_numpy())
    if kind in ("int", "long") and cells.dtype.kind == "i":
        return _is_within(column, cells.unique().tolist() if "isin" in limits else _ends(cells.to_numpy()))
    return False


def _ends(numbers: npt.NDArray[np.integer[Any]]) -> list[int]:
    """The least and the greatest of them."""
    return [int(numbers.min()), int(numbers.max())] if len(numbers) else []


def _is_plain_objects(column: sa.Column[Any], kind: str, cells: list[Any]) -> bool:
    """The rules of a column of Python objects of exactly its type; nulls are None."""
    types = set(map(type, cells))
    if type(None) in types:
        if not column.nullable:
            return False
        cells = [cell for cell in cells if cell is not None]
    if not types <= {_EXACT_TYPES[kind], type(None)}:
        return False
    if kind == "text":
        distinct = set(cells)
        is_key_named = not (column.primary_key and distinct & _unnamed(column))
        return is_key_named and distinct <= set(column.info.get("isin", distinct))
    if kind in _MOST:
        return _is_within(column, cells)
    if {"ge", "le", "isin"} & column.info.keys():
        return False
    return kind != "decimal" or all(map(Decimal.is_finite, cells))


def _is_plain_floats(column: sa.Column[Any], numbers: npt.NDArray[np.float64]) -> bool:
    """The rules of a column of floats; nulls are NaN."""
    is_null = np.isnan(numbers)
    if not column.nullable and is_null.any():
        return False
    known = numbers[~is_null]
    lowest, highest = column.info.get("ge", -np.inf), column.info.get("le", np.inf)
    return bool(np.isfinite(known).all() and (known >= lowest).all() and (known <= highest).all())


def _is_within(column: sa.Column[Any], numbers: list[int]) -> bool:
    """Whether whole numbers keep to the column's bounds, to its list and to what it can hold."""
    if not numbers:
        return True
    if "isin" in column.info and not set(numbers) <= set(column.info["isin"]):
        return False
    most = _MOST[column_type(column)]
    lowest, highest = max(-most, column.info.get("ge", -most)), min(most, column.info.get("le", most))
    return bool(lowest <= min(numbers) and max(numbers) <= highest)


def day_column(table: sa.Table) -> sa.Column[Any]:
    """The column that holds the table's partition date; ValueError for tables without partitions."""
    name = table.info.get("day")
    if name is None:
        raise ValueError(f"table {table.name} has no partition date")
    return table.c[name]


def matches(cells: pd.Series, wanted: Any) -> pd.Series:
    """Which cells meet one condition of a `where`: a list means any of them, None means null."""
    if wanted is None:
        return cells.isna()
    return cells.isin(list(wanted) if isinstance(wanted, list | tuple | set | frozenset) else [wanted])


def _describe(table: sa.Table, frame: pd.DataFrame, failures: pd.DataFrame) -> str:
    """All broken rules in words: the shape of the frame first, then column by column, then repeated keys."""
    shape: list[str] = []
    cells: dict[str, list[str]] = {column.name: [] for column in table.columns}
    for (name, rule), cases in failures.groupby(["column", "check"], sort=True, dropna=False):
        column = str(name)
        first = _shown(cases["failure_case"].iloc[0])
        if rule == "column_in_dataframe":
            shape += [f"column {_shown(missing)} is missing" for missing in cases["failure_case"]]
        elif rule == "column_in_schema":
            shape.append(f"columns that the table does not have: {', '.join(map(_shown, cases['failure_case']))}")
        elif rule == "dataframe_column_labels_unique":
            shape.append(f"column {first} appears twice")
        elif rule != "multiple_fields_uniqueness" and cases["index"].isna().any():  # the check itself failed
            cells[column].append(f"column {column} {rule}: {first}")
        elif rule != "multiple_fields_uniqueness":
            words = "must not be null" if rule == "not_nullable" else str(rule)
            cells[column].append(_sentence(table, frame, column, words, sorted(int(row) for row in cases["index"])))
    keys = [column.name for column in table.primary_key.columns]
    repeated = "multiple_fields_uniqueness" in set(failures["check"])
    rows = [row for row, is_repeated in enumerate(frame.duplicated(keys)) if is_repeated] if repeated else []
    unique = [_sentence(table, frame, " + ".join(keys), "key must be unique", rows)] if repeated else []
    return _message(table, [*shape, *(sentence for column in cells.values() for sentence in column), *unique])


def _message(table: sa.Table, sentences: list[str]) -> str:
    return f"table {table.name}: {'; '.join(sentences)}; nothing was written"


def _sentence(table: sa.Table, frame: pd.DataFrame, column: str, rule: str, rows: list[int]) -> str:
    examples = []
    for row in rows[:EXAMPLES]:
        keys = {key.name: frame[key.name].iloc[row] for key in table.primary_key.columns if key.name in frame}
        named = ", ".join(f"{name}={_shown(value)}" for name, value in keys.items())
        found = f" has {_shown(frame[column].iloc[row])}" if column in frame and column not in keys else ""
        examples.append(f"({named}){found}")
    count = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
    more = f" and {len(rows) - EXAMPLES} more" if len(rows) > EXAMPLES else ""
    return f"column {column} {rule}, broken by {count}: {', '.join(examples)}{more}"


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    text = text.encode("unicode_escape", errors="backslashreplace").decode() if not text.isprintable() else text
    return text if len(text) <= LONGEST_EXAMPLE else f"{text[:LONGEST_EXAMPLE]}…"
