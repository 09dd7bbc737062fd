"""The fourth verb of an asset: what a materialisation tells the Dagster UI.

Lives here: row counts, column schemas, previews and pictures as metadata. Not here: the daily report
(domain/reporting), what is drawn (domain/forecasting/plots.py).
"""

import base64
from collections.abc import Mapping
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
from sqlalchemy import Table

from defiyield_assets.domain.outcomes import DEGRADED
from defiyield_assets.store.validation import column_schema
from defiyield_assets.store.writes import WriteReceipt

PREVIEW_ROWS = 8
PREVIEW_WIDTH = 80


def table_schema(table: Table) -> dg.TableSchema:
    """Columns of a table with types, units and descriptions, from the schema's metadata."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column["name"],
                type=column["type"],
                description=column["description"],
                constraints=dg.TableColumnConstraints(nullable=column["nullable"]),
            )
            for column in column_schema(table)
        ]
    )


def _cell(value: object) -> str:
    text = " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")
    return text if len(text) <= PREVIEW_WIDTH else text[: PREVIEW_WIDTH - 1] + "…"


def preview(frame: pd.DataFrame, rows: int = PREVIEW_ROWS) -> dg.MetadataValue[Any]:
    """The first rows as a Markdown table; vendor strings are shortened and escaped."""
    head = frame.head(rows)
    lines = ["| " + " | ".join(map(str, head.columns)) + " |", "|" + " --- |" * len(head.columns)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in head.itertuples(index=False)]
    return dg.MetadataValue.md("\n".join(lines))


def whole_table(frame: pd.DataFrame) -> dg.MetadataValue[Any]:
    """All rows as a Markdown table, figures to three digits."""
    rounded = frame.map(lambda value: f"{value:.3g}" if isinstance(value, float) else value)
    return preview(rounded, len(rounded))


def picture(png: bytes, title: str) -> dg.MetadataValue[Any]:
    """An image in PNG as metadata: the Dagster UI shows it behind "Show Markdown"."""
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
    """A receipt as a materialisation: rows, days, content hash, preview, and why the asset is degraded, if it is.

    `degraded_by` is the class of the reason (domain/outcomes.py).
    """
    facts: dict[str, Any] = {
        "dagster/row_count": receipt.rows,
        "days": receipt.days,
        "sha256": receipt.sha256,
        **{name: _python(value) for name, value in {**(counts or {}), **metadata}.items() if value is not None},
    }
    if frame is not None and not frame.empty:
        facts["preview"] = preview(frame)
    if degraded:
        facts |= {"degraded": degraded, "degraded_by": degraded_by}
    return dg.MaterializeResult(asset_key=asset, metadata=facts)
