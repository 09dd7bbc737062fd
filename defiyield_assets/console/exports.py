"""Files that pages offer: CSV that no spreadsheet takes for a formula, rows as JSON with exact amounts.

Lives here: how a value is written in a file. Not here: which rows a file holds (pages/), sending it (serving.py).
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from io import StringIO
from typing import Any

import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.reporting.formats import is_missing
from defiyield_assets.domain.reporting.plan_sections import records
from defiyield_assets.store.types import BaseUnits, ExactDecimal

FORMULA_STARTS = ("=", "+", "-", "@")
"""With these a spreadsheet's formula begins, also behind white space."""
BREAKS = ("\t", "\r", "\n")
"""White space that some spreadsheets drop before they look for a formula."""
CSV, JSON = "text/csv; charset=utf-8", "application/json"


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows with a heading, as RFC 4180 has it. Money and amounts are written with every digit, null is empty."""
    file = StringIO()
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows([csv_cell(row.get(name)) for name in columns] for row in rows)
    return file.getvalue()


def csv_cell(value: Any) -> str:
    """A value as text. Words that a spreadsheet would take for a formula get an apostrophe in front, characters that
    cannot be printed become spaces; numbers stay as they are."""
    if is_missing(value):
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if not isinstance(value, str):
        return str(value)
    line = value if value.isprintable() else "".join(char if char.isprintable() else " " for char in value)
    is_formula = value.startswith(BREAKS) or line.lstrip().startswith(FORMULA_STARTS)
    return f"'{line}" if is_formula else line


def json_rows(table: sa.Table, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table for JSON: exact amounts and money as strings with every digit, days as ISO text, null as null."""
    exact = {column.name for column in table.columns if isinstance(column.type, BaseUnits | ExactDecimal)}
    return [{name: _plain(value, name in exact) for name, value in row.items()} for row in records(frame)]


def _plain(value: Any, is_exact: bool) -> Any:
    if is_missing(value):
        return None
    if is_exact:
        return f"{value:f}" if isinstance(value, Decimal) else str(value)
    return value.isoformat() if isinstance(value, date | datetime) else value
