"""The fourth verb of an asset: what a materialisation tells the Dagster UI.

Lives here: row counts, column schemas, tables of rows and pictures as metadata. Not here: the daily report
(domain/reporting), what is drawn (domain/forecasting/plots.py), where columns come from (column_lineage.py), what all
assets have in common (catalogue.py).
"""

import base64
import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
from sqlalchemy import Table

from defiyield_assets.domain.outcomes import DEGRADED
from defiyield_assets.orchestration.column_lineage import lineage_of
from defiyield_assets.settings import load_settings
from defiyield_assets.store.units import with_unit
from defiyield_assets.store.validation import column_schema
from defiyield_assets.store.writes import WriteReceipt

PREVIEW_ROWS = 8
PREVIEW_WIDTH = 80
OFFENDING_ROWS, OFFENDING_WIDTH = 20, 300
"""What a check shows of what it found."""
EXACT_IN_A_BROWSER = 2**53
INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
"""Unicode categories of what nobody sees: controls, directions, halves of pairs."""


def table_schema(table: Table) -> dg.TableSchema:
    """Columns of a table with types, units, keys and descriptions, from the schema's metadata."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column["name"],
                type=column["type"],
                description=with_unit(column["description"], column.get("unit")),
                constraints=dg.TableColumnConstraints(
                    nullable=column["nullable"], other=["key"] if column["is_key"] else []
                ),
            )
            for column in column_schema(table)
        ]
    )


def plain(text: object, width: int = PREVIEW_WIDTH) -> str:
    """Text of strangers on one line: no control or direction characters, whitespace collapsed, cut."""
    visible = "".join(
        " " if letter.isspace() else letter
        for letter in str(text)
        if letter.isspace() or unicodedata.category(letter) not in INVISIBLE
    )
    line = " ".join(visible.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def _cell(value: object, width: int) -> str | int | float | bool | None:
    """A value as a cell of a table in the UI, which shows text as text: exact figures that it would round are text."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= EXACT_IN_A_BROWSER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None if value is None or value is pd.NaT or value is pd.NA else plain(value, width)


def preview(frame: pd.DataFrame, rows: int = PREVIEW_ROWS, width: int = PREVIEW_WIDTH) -> dg.TableMetadataValue:
    """The first rows as a table; vendor strings are cut and stay text: no markup of theirs is ever interpreted."""
    names = [plain(name) for name in frame.columns]
    cells = [[_cell(value, width) for value in row] for row in frame.head(rows).itertuples(index=False, name=None)]
    columns = [dg.TableColumn(name, _cell_type([row[place] for row in cells])) for place, name in enumerate(names)]
    records = [dg.TableRecord(dict(zip(names, row, strict=True))) for row in cells]
    return dg.MetadataValue.table(records=records, schema=dg.TableSchema(columns=columns))


def _cell_type(cells: Sequence[str | int | float | bool | None]) -> str:
    kinds = {type(cell) for cell in cells if cell is not None}
    if len(kinds) == 1:
        return {bool: "bool", int: "int", float: "float", str: "string"}[kinds.pop()]
    return "float" if kinds == {int, float} else "string"


def offending(items: Iterable[object], column: str = "what", rows: int = OFFENDING_ROWS) -> dg.TableMetadataValue:
    """What a check found, told in words, one row each."""
    return preview(pd.DataFrame({column: list(items)}, dtype=object), rows, OFFENDING_WIDTH)


def whole_table(frame: pd.DataFrame) -> dg.TableMetadataValue:
    """All rows as a table, figures to three digits."""
    rounded = frame.map(lambda value: f"{value:.3g}" if isinstance(value, float) else value)
    return preview(rounded, len(rounded))


def picture(draw: Callable[[], bytes], title: str) -> dg.MetadataValue[Any] | None:
    """An image in PNG as metadata: the Dagster UI shows it behind "Show Markdown".

    None where it cannot be drawn: the rows are written by then, and an asset that has its rows has not failed. None
    too where the setting `pictures` says so.
    """
    if not load_settings().pictures:
        return None
    try:
        png = draw()
    except Exception as error:  # noqa: BLE001 - whatever a library for pictures raises
        dg.get_dagster_logger().warning("picture %r is left out: %s: %s", title, type(error).__name__, plain(error))
        return None
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(png).decode('ascii')})")


def _python(value: Any) -> Any:
    """Numpy scalars as the Python values that Dagster can store."""
    return value.item() if isinstance(value, np.generic) else value


def report(
    receipt: WriteReceipt,
    frame: pd.DataFrame | None = None,
    *,
    asset: str | None = None,
    degraded: str | None = None,
    degraded_by: str = DEGRADED,
    counts: Mapping[str, Any] | None = None,
    **metadata: Any,
) -> dg.MaterializeResult[Any]:
    """A receipt as a materialisation: rows, days, content hash, preview, where columns come from (column_lineage.py),
    and why the asset is degraded, if it is.

    `degraded_by` is the class of the reason (domain/outcomes.py).
    """
    facts: dict[str, Any] = {
        "dagster/row_count": receipt.rows,
        "days": receipt.days,
        "sha256": receipt.sha256,
        **{name: _python(value) for name, value in {**(counts or {}), **metadata}.items() if value is not None},
    }
    lineage = lineage_of(receipt.table)
    if lineage is not None:
        facts["dagster/column_lineage"] = lineage
    if frame is not None and not frame.empty:
        facts["preview"] = preview(frame)
    if degraded:
        facts |= {"degraded": degraded, "degraded_by": degraded_by}
    return dg.MaterializeResult(asset_key=asset, metadata=facts)
