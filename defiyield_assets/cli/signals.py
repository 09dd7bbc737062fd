"""`defiyield signals make|show`: what a model says of stored bars, and what is stored of it.

Lives here: which assets are made, and the printed tables. Not here: one run with its progress (lab_runs.py), the assets
(orchestration/assets/signals.py), arguments (signals_arguments.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import dagster as dg
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from defiyield_assets.cli import show
from defiyield_assets.cli.lab_runs import Stage, print_ran, run_stage, tell_failed
from defiyield_assets.cli.output import write_json
from defiyield_assets.cli.tables import print_table
from defiyield_assets.config.models import load_models
from defiyield_assets.definitions import build_defs
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.reporting.formats import is_missing
from defiyield_assets.domain.signals.types import require_known
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.lab.signals import SAYS_NOTHING
from defiyield_assets.orchestration.partitions import FIRST_DAY
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.orchestration.signal_inputs import asked_instruments
from defiyield_assets.settings import Settings, load_settings
from defiyield_assets.store import reads, schema

JOB = "update_signals"
ASSETS = ("signal_types", "ai_signals", "trading_signals")
NARROW = ("date", "instrument_id", "signal", "close")
SHOWN = 60
"""Rows that are printed; `--json` tells all. NARROW columns keep to one line."""
COLUMNS = (
    *("date", "instrument_id", "signal_type", "status", "signal", "confidence", "close", "stop_loss_price"),
    *("target_price", "actionable_from", "training_cutoff"),
)


@dataclass(frozen=True)
class Wanted:
    """Days, instruments by id or symbol (none: all), a model or a type (None: the setting's, or all).

    `is_again`: follow the new answer where another was given before.
    """

    first: date | None
    last: date | None
    instruments: tuple[str, ...] = ()
    model: str | None = None
    signal_type: str | None = None
    is_again: bool = False


def make(wanted: Wanted, console: Console, *, is_json: bool) -> int:
    """Ask one model about every bar of the days; what is stored of the same questions is not asked again.

    Exit code 1 where a step failed, where there was nothing to ask about, or where a bar is left without an answer.
    """
    settings = load_settings()
    models = load_models(settings.config_path)
    kind = models.chosen(wanted.model or settings.signal_model)
    engine = WarehouseResource(market=settings.warehouse_market).engine
    days = _days(wanted, engine)
    asked_instruments(engine, models, wanted.instruments)
    console.print(
        show.plain(f"signals of {kind.signal_type}, {days.start} to {days.end}"), style="bold", soft_wrap=True
    )
    config = {"model": kind.model, "instruments": list(wanted.instruments), "again": wanted.is_again}
    stage = Stage("signals", JOB, ASSETS, (days.start.isoformat(), days.end.isoformat()), {"ai_signals": config})
    with dg.DagsterInstance.get() as instance:
        ran = run_stage(build_defs(settings), instance, stage, console)
    print_ran(ran, console)
    facts = ran.metadata.get("ai_signals", {})
    if "degraded" in facts:
        console.print(show.plain(f"degraded: {facts['degraded']}"), style="yellow", soft_wrap=True)
    if not ran.failed and not facts.get("dagster/row_count"):
        words = f"no signal was made: there are no bars with features from {days.start} to {days.end}"
        console.print(show.plain(words), style="yellow", soft_wrap=True)
    if facts.get("n_unread_news"):
        words = (
            f"news before {facts['n_unread_news']} bars of coins were not read, or not all: `defiyield news update "
            "--from D` reads them back, and --again then follows the answers to the questions with them"
        )
        console.print(show.plain(words), style="yellow", soft_wrap=True)
    if facts.get("n_beside"):
        words = f"{facts['n_beside']} answers are to questions that were asked otherwise before; --again follows them"
        console.print(show.plain(words), style="yellow", soft_wrap=True)
    if ran.failed and is_json:
        return tell_failed([ran], is_json=True)
    chosen = Wanted(days.start, days.end, wanted.instruments, signal_type=kind.signal_type)
    rows = _rows(engine, settings, chosen)
    _tell(rows, console, is_json=is_json)
    is_unanswered = rows.empty or bool(rows["status"].eq(SAYS_NOTHING).any())
    return 1 if ran.failed or is_unanswered else 0


def show_signals(wanted: Wanted, console: Console, *, is_json: bool) -> int:
    """Stored signals, the newest first."""
    settings = load_settings()
    engine = WarehouseResource(market=settings.warehouse_market).engine
    _tell(_rows(engine, settings, wanted), console, is_json=is_json)
    return 0


def _days(wanted: Wanted, engine: Engine) -> DayRange:
    """The days that are asked for, by default the newest one with bars; ConfigurationError where there is none."""
    newest = datetime.now(UTC).date() - timedelta(days=1)
    with_bars = reads.newest_day(engine, schema.daily_bars, on_or_before=newest)
    if with_bars is None and wanted.last is None:
        raise ConfigurationError("there are no bars yet that a model could be asked about")
    end = wanted.last or with_bars or newest
    start = wanted.first or end
    if start < FIRST_DAY or end > newest or start > end:
        raise ConfigurationError(f"days run from {FIRST_DAY} (DEFIYIELD_FIRST_DAY) to {newest}, the last complete one")
    return DayRange(start, end)


def _rows(engine: Engine, settings: Settings, wanted: Wanted) -> pd.DataFrame:
    """The stored signals, newest first; ConfigurationError for a type or instrument that there is not."""
    where: dict[str, Any] = {}
    models = load_models(settings.config_path)
    if wanted.signal_type is not None:
        stored = set(reads.read_all(engine, schema.signal_types)["signal_type"])
        where["signal_type"] = require_known(wanted.signal_type, models.names() | stored)
    if wanted.instruments:
        where["instrument_id"] = [one.instrument_id for one in asked_instruments(engine, models, wanted.instruments)]
    days = DayRange(wanted.first or date(1970, 1, 1), wanted.last or date(9998, 12, 31))
    rows = reads.read_days(engine, schema.trading_signals, days, where, COLUMNS)
    return rows.sort_values(["date", "instrument_id", "signal_type"], ascending=[False, True, True], ignore_index=True)


def _tell(rows: pd.DataFrame, console: Console, *, is_json: bool) -> None:
    if is_json:
        facts = [{name: None if is_missing(value) else value for name, value in row.items()} for row in _records(rows)]
        write_json(facts)
        return
    counts = rows.groupby(["signal_type", "status", "signal"]).size()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in COLUMNS[:-2]:
        justify: Literal["left", "right"] = "left" if name in COLUMNS[:5] else "right"
        table.add_column(name.replace("_", " "), justify=justify, overflow="fold", no_wrap=name in NARROW)
    for row in _records(rows.head(SHOWN)):
        table.add_row(*(_cell(row[name]) for name in COLUMNS[:-2]))
    print_table(table, console)
    for key, n in counts.items():
        words: Sequence[str] = key if isinstance(key, tuple) else (str(key),)
        console.print(show.plain(f"{' '.join(words)}: {n:,}"), soft_wrap=True)
    more = len(rows) - SHOWN
    end = f"{more:,} older ones are not shown" if more > 0 else f"{len(rows):,} signals"
    console.print(show.plain(end), soft_wrap=True)


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in rows.astype(object).to_dict("records")]


def _cell(value: Any) -> str:
    if is_missing(value):
        return "–"
    return f"{value:,.6g}" if isinstance(value, float) else show.plain(str(value))
