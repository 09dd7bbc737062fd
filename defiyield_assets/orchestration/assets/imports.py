"""Assets of imported files: what the files say, which files there were, the bars below a day and their features.

Lives here: wiring of file_intake.py and intraday_features.py. Not here: the sensor (drop_folder.py), the command line
(cli/imports.py), daily bars as a day makes them (prices.py).
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import Field
from sqlalchemy import Engine, Table

from defiyield_assets.domain.prices.intraday_plots import MOST_SERIES, plot_intraday
from defiyield_assets.orchestration.declarations import OWNERS
from defiyield_assets.orchestration.degradation import declare_step
from defiyield_assets.orchestration.file_intake import EVER, Intake, listed_files, make_intraday, take_in
from defiyield_assets.orchestration.intraday_features import instruments_since, make_intraday_features
from defiyield_assets.orchestration.reporting import picture, preview, report, table_schema
from defiyield_assets.orchestration.resources import PolicyResource, WarehouseResource
from defiyield_assets.settings import load_settings
from defiyield_assets.store import reads, schema

STEP = "import_csv_files"
TABLES = {
    schema.ohlcv_csv: "Bars as imported files tell them: UTC, the file's own quotes, with file and line.",
    schema.csv_imports: "Files that were imported, by hash: what was in them and which lines were not understood.",
    schema.intraday_bars: "Bars below a day, curated from files: USD, UTC, masked gaps marked.",
}
BAD_LINES_SHOWN = 50
REACHES = "files_imported_before"
"""Metadata of intraday_features: when it began to look which files there are."""
ThreeResults = tuple[dg.MaterializeResult, dg.MaterializeResult, dg.MaterializeResult]

declare_step(STEP, [table.name for table in TABLES], ["instruments"])


class FilesToImport(dg.Config):
    """Which files are taken; a file that was imported already is skipped."""

    files: list[str] = Field(default=[], description="Files or folders; empty: DEFIYIELD_DROP_FOLDER")
    source: str | None = Field(default=None, description="Source in csv_sources.yaml; empty: by the file's name")


def _spec(table: Table, description: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        table.name,
        deps=["instruments"],
        description=description,
        group_name="prices",
        kinds={"csv", "pandas", "sql"},
        owners=OWNERS,
        skippable=True,
        metadata={
            "dagster/column_schema": table_schema(table),
            "spec": "market.md#tables",
            "dagster/table_name": table.name,
        },
    )


@dg.multi_asset(name=STEP, specs=[_spec(table, words) for table, words in TABLES.items()], can_subset=True)
def import_csv_files(
    context: dg.AssetExecutionContext, config: FilesToImport, warehouse: WarehouseResource, policy: PolicyResource
) -> Iterator[dg.MaterializeResult]:
    """Take in files of bars and events, each whole or not at all, and write what follows from them.

    Without files and without a drop folder, `intraday_bars` is curated again from all that was imported. All tables are
    written together; a run that selected some of them (everything upstream of an asset) reports on those.
    """
    selected = {key.to_user_string() for key in context.selected_asset_keys}
    for result in _take(context, config, warehouse, policy):
        if result.asset_key is not None and result.asset_key.to_user_string() in selected:
            yield result


def _take(
    context: dg.AssetExecutionContext, config: FilesToImport, warehouse: WarehouseResource, policy: PolicyResource
) -> ThreeResults:
    """The import itself, with what each table got."""
    folder = load_settings().drop_folder
    named = [Path(name) for name in config.files] or ([folder] if folder is not None else [])
    intake = take_in(warehouse, policy, listed_files(named), now=datetime.now(UTC), source_name=config.source)
    if not named:
        told = reads.distinct(warehouse.engine, schema.ohlcv_csv, ["instrument_id"], EVER.end)
        n_rows = make_intraday(warehouse.engine, [name for (name,) in told]).rows if told else 0
        return _results(Intake((), n_rows, intake.n_daily), warehouse.engine)
    for item in intake.imports:
        context.log.info(
            "%s: %s", item.file_name, "already imported" if item.is_known else f"{item.n_read} rows, {item.n_new} new"
        )
    if intake.failures:
        text = "; ".join(failure.told for failure in intake.failures)
        raise dg.Failure(f"nothing was taken of {text}", allow_retries=False)
    return _results(intake, warehouse.engine)


declare_step(schema.intraday_features.name, [schema.intraday_features.name], [schema.intraday_bars.name])


@dg.asset(
    name=schema.intraday_features.name,
    deps=[schema.intraday_bars.name],
    group_name="market",
    kinds={"numpy", "sql"},
    owners=OWNERS,
    metadata={
        "dagster/column_schema": table_schema(schema.intraday_features),
        "spec": "market.md#features",
        "dagster/table_name": schema.intraday_features.name,
    },
)
def intraday_features(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """The registry's intraday metrics for every bar below a day, on prices in USD.

    Series of files that were imported since the asset was last made are calculated anew, from their first bar.
    """
    now = datetime.now(UTC)
    names = instruments_since(warehouse.engine, _reached(context))
    receipt = make_intraday_features(warehouse.engine, names)
    return report(receipt, counts={REACHES: now.isoformat()}, instruments=len(names))


def _reached(context: dg.AssetExecutionContext) -> datetime | None:
    """The instant up to which files are in the features that were made last; None when there are none."""
    event = context.instance.get_latest_materialization_event(context.asset_key)
    made = None if event is None else event.asset_materialization
    reaches = None if made is None else made.metadata.get(REACHES)
    return None if reaches is None else datetime.fromisoformat(str(reaches.value))


def _results(intake: Intake, engine: Engine) -> ThreeResults:
    """What the three tables got; `intraday_bars` with a picture of the series that came."""
    new = [item for item in intake.imports if not item.is_known]
    facts: dict[str, Any] = {
        "dagster/row_count": sum(item.n_new + item.n_changed for item in new),
        "rows_read": sum(item.n_read for item in new),
        "rows_changed": sum(item.n_changed for item in new),
        "bad_lines": sum(item.n_bad for item in new),
        "daily_bars_written": intake.n_daily,
    }
    bad = [(item.file_name, line.number, line.reason) for item in new for line in item.bad]
    if bad:
        facts["bad_lines_shown"] = preview(pd.DataFrame(bad, columns=["file", "line", "reason"]), BAD_LINES_SHOWN)
    below_day: dict[str, Any] = {"dagster/row_count": intake.n_intraday}
    names = sorted({name for item in new for name in item.instruments})[:MOST_SERIES]
    bars = reads.read_all(engine, schema.intraday_bars, {"instrument_id": names})
    if len(bars):
        drawn = picture(lambda: plot_intraday(bars), "Bars below a day")
        below_day |= {} if drawn is None else {"plot": drawn}
    return (
        dg.MaterializeResult(asset_key=dg.AssetKey(schema.ohlcv_csv.name), metadata=facts),
        dg.MaterializeResult(asset_key=dg.AssetKey(schema.csv_imports.name), metadata={"dagster/row_count": len(new)}),
        dg.MaterializeResult(asset_key=dg.AssetKey(schema.intraday_bars.name), metadata=below_day),
    )
