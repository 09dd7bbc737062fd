"""`defiyield data`, `scenarios`, `metrics` and `assess`: the stages of an assessment, alone or one after another.

Lives here: which assets a stage makes, in which job, and what is printed of the ranking. Not here: one run with its
progress (lab_runs.py), the assets (orchestration/assets), single scenarios (scenarios.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from defiyield_assets.cli import show
from defiyield_assets.cli.lab_runs import Ran, Stage, all_failed, print_degraded, print_ran, run_stage
from defiyield_assets.cli.output import write_json
from defiyield_assets.cli.tables import print_table
from defiyield_assets.definitions import build_defs
from defiyield_assets.domain.reporting.formats import is_missing
from defiyield_assets.domain.strategies.cells import written
from defiyield_assets.domain.strategies.limits import DEFAULT_SEED
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError
from defiyield_assets.orchestration.lab.assessments import current_set, set_id
from defiyield_assets.orchestration.lab.sensor import ASSESS, CHAIN
from defiyield_assets.orchestration.partitions import FIRST_DAY, SCENARIOS
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.settings import Settings, load_settings
from defiyield_assets.store import reads, schema

DATA = (
    *("migrations", "policy_snapshot", "instruments", "ohlcv_coinmarketcap", "ohlcv_coingecko", "ohlcv_alpha_vantage"),
    *("closes_defillama", "corporate_actions", "macro_series", "market_events", "daily_bars", "market_regimes"),
    *("daily_features", "feature_state"),
)
"""Assets of the day that an assessment rests on."""
DAILY_JOB, SCENARIO_JOB, ASSESSMENT_JOB = "plan_the_day", "generate_scenarios", "assess_strategies"
METRICS = ("scenario_paths", "scenario_metrics")
BACKTESTS = ("backtest_results", "backtest_trades", "equity_curves")
RANKING = ("strategy_rankings", "regime_performance")
RANK_COLUMNS = (
    ("rank", "rank", "count"),
    ("strategy_id", "strategy", "text"),
    ("score", "score", "ratio"),
    ("dispersion", "±", "ratio"),
    ("worst_return", "worst", "signed"),
    ("n_trades", "trades", "count"),
    ("full_history_sharpe", "Sharpe", "ratio"),
    ("deflated_sharpe", "deflated", "percent"),
    ("pbo", "PBO", "percent"),
    ("eligibility_flags", "not ranked because", "text"),
)
"""Column of `strategy_rankings`, what it is called here, and how it is written; the pages tell the others."""


@dataclass(frozen=True)
class Drawing:
    """Which scenarios are made: real windows from `first` on, as of `last`; types (none: all), count, seed."""

    first: date | None = None
    last: date | None = None
    types: tuple[str, ...] = ()
    count: int | None = None
    seed: int = DEFAULT_SEED

    @property
    def config(self) -> dict[str, Any]:
        """As the asset `scenarios` takes it."""
        told: dict[str, Any] = {"seed": self.seed}
        if self.types:
            told["types"] = list(self.types)
        if self.count is not None:
            told["count"] = self.count
        if self.last is not None:
            told["as_of"] = self.last.isoformat()
        if self.first is not None:
            told["first"] = self.first.isoformat()
        return told


class Bench:
    """One command's definitions, Dagster instance and console, and the stages that it ran.

    `tags`: of its runs. A command that made a set of scenarios goes on with that one or not at all.
    """

    def __init__(self, instance: dg.DagsterInstance, console: Console, tags: Mapping[str, str] | None = None) -> None:
        self._tags = dict(tags or {})
        self._set: str | None = None
        self.settings: Settings = load_settings()
        self._defs = build_defs(self.settings)
        self._instance = instance
        self._console = console
        self.ran: list[Ran] = []

    @property
    def engine(self) -> Engine:
        """The migrated warehouse."""
        return WarehouseResource(market=self.settings.warehouse_market).engine

    @property
    def keys(self) -> list[str]:
        """Partitions of the current set of scenarios, in its order."""
        return list(self._instance.get_dynamic_partitions(str(SCENARIOS.name)))

    def run(self, stage: Stage) -> bool:
        """Run a stage; whether it went well. SuspiciousDataError where somebody made another set meanwhile."""
        self.require_own_set()
        ran = run_stage(self._defs, self._instance, stage, self._console, self._tags)
        self.ran.append(ran)
        print_ran(ran, self._console)
        print_degraded(ran, self._console)
        return not ran.failed

    def make_scenarios(self, drawing: Drawing) -> bool:
        """Make the set of scenarios."""
        config = {"scenarios": drawing.config}
        self._set = None
        is_made = self.run(Stage("scenarios", SCENARIO_JOB, ("scenarios",), config=config))
        self._set = str(self.ran[-1].metadata["scenarios"]["set"]) if is_made else None
        return is_made

    def require_own_set(self) -> None:
        """SuspiciousDataError where the set that this command made is no longer the current one."""
        if self._set is not None and set_id(current_set(self.engine)["scenario_id"]) != self._set:
            raise SuspiciousDataError(
                "another run made a new set of scenarios meanwhile, and this one's is no longer the current one: run "
                "the command again when the other has ended"
            )

    def told(self, asset: str) -> Mapping[str, Any]:
        """Metadata of the asset, as it was made last."""
        return next(one.metadata[asset] for one in reversed(self.ran) if asset in one.metadata)

    def make_metrics(self, keys: Sequence[str] | None = None) -> bool:
        """Store paths and features of scenarios: of all, or of some."""
        for block in blocks(self.keys, set(keys) if keys is not None else None):
            if not self.run(Stage("metrics", ASSESSMENT_JOB, METRICS, block)):
                return False
        return True

    def make_assessment(self, workers: int) -> bool:
        """Backtests over all scenarios, ranking and report, of scenarios that are there."""
        keys = self.keys
        config = {"backtests": {"workers": workers}}
        stages = (
            Stage("strategies", ASSESSMENT_JOB, ("strategies",)),
            Stage("backtests", ASSESSMENT_JOB, BACKTESTS, (keys[0], keys[-1]), config),
            Stage("ranking", ASSESSMENT_JOB, RANKING),
            Stage("report", ASSESSMENT_JOB, ("assessment_report",)),
        )
        return all(self.run(stage) for stage in stages)


def blocks(keys: Sequence[str], chosen: set[str] | None) -> list[tuple[str, str]]:
    """First and last of every run of neighbours among the chosen keys; of all keys, where none were chosen."""
    found: list[tuple[str, str]] = []
    is_open = False
    for key in keys:
        if chosen is not None and key not in chosen:
            is_open = False
        elif is_open:
            found[-1] = (found[-1][0], key)
        else:
            found.append((key, key))
            is_open = True
    return found


def bring_data(first: date | None, last: date | None, console: Console, *, is_json: bool) -> int:
    """Bars, features and regimes of a range of days in one run; 0, or 1 when something failed."""
    newest = datetime.now(UTC).date() - timedelta(days=1)
    end = last or newest
    start = first or end
    if start < FIRST_DAY or end > newest or start > end:
        raise ConfigurationError(f"days run from {FIRST_DAY} (DEFIYIELD_FIRST_DAY) to {newest}, the last complete one")
    with dg.DagsterInstance.get() as instance:
        bench = Bench(instance, console)
        console.print(f"[bold]defiyield[/] market data {start} to {end}, {bench.settings.market} market")
        stage = Stage("data", DAILY_JOB, DATA, (start.isoformat(), end.isoformat()))
        is_done = bench.run(stage)
    if is_json:
        write_json({"first": start, "last": end, **_how(bench)})
    return 0 if is_done else 1


def make_scenarios(drawing: Drawing, console: Console, *, is_json: bool) -> int:
    """The set of scenarios, with the paths that are stored of it."""
    with dg.DagsterInstance.get() as instance:
        bench = Bench(instance, console)
        is_done = bench.make_scenarios(drawing)
        if is_json:
            write_json({**_how(bench), "scenarios": counts_of(bench.engine) if is_done else None})
        elif is_done:
            print_set(bench.engine, console)
    return 0 if is_done else 1


def make_metrics(first: date | None, last: date | None, console: Console, *, is_json: bool) -> int:
    """Features of the scenarios that lie in a range of days."""
    with dg.DagsterInstance.get() as instance:
        bench = Bench(instance, console)
        keys = _keys_between(bench.engine, first, last)
        is_done = bench.make_metrics(keys)
        if is_json:
            write_json({"n_scenarios": len(keys), **_how(bench)})
        return 0 if is_done else 1


def _keys_between(engine: Engine, first: date | None, last: date | None) -> list[str]:
    told = reads.read_all(engine, schema.scenarios, {"is_current": True, "status": "ready"})
    if told.empty:
        raise ConfigurationError("there is no scenario yet: run `defiyield scenarios`, or the whole `defiyield assess`")
    inside = [
        (first is None or start >= first) and (last is None or end <= last)
        for start, end in zip(told["starts_on"], told["ends_on"], strict=True)
    ]
    if not any(inside):
        raise ConfigurationError(f"none of {len(told)} scenarios lies between {first or 'ever'} and {last or 'ever'}")
    return [str(key) for key in told.loc[inside, "partition_key"]]


def assess(drawing: Drawing, workers: int, console: Console, *, is_json: bool) -> int:
    """Scenarios, metrics, backtests, ranking and report; what is stored of an interrupted one is not run again."""
    with dg.DagsterInstance.get() as instance:
        bench = Bench(instance, console, {CHAIN: ASSESS})
        is_done = bench.make_scenarios(drawing) and bench.make_metrics() and bench.make_assessment(workers)
        if is_done:
            bench.require_own_set()
        if is_json:
            write_json(_as_json(bench, is_done=is_done))
        if not is_done:
            return 1
        if not is_json:
            print_set(bench.engine, console)
            for scope, rows in ranking_of(bench.engine).groupby("scope", sort=True):
                _print_ranking(str(scope), rows, console)
            print_pages(bench.told("assessment_report"), console)
    return 0


def ranking_of(engine: Engine) -> pd.DataFrame:
    """Rows of `strategy_rankings` of the newest assessment, best first in each scope."""
    newest = reads.newest_day(engine, schema.strategy_rankings)
    if newest is None:
        raise ConfigurationError("there is no ranking yet: run `defiyield assess`")
    rows = reads.read_all(engine, schema.strategy_rankings, {"as_of": newest})
    return rows.sort_values(["scope", "is_eligible", "score"], ascending=[True, False, False], ignore_index=True)


def print_set(engine: Engine, console: Console) -> None:
    """How many scenarios of each family and type the current set has, and why some cannot be made."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("family", "type"):
        table.add_column(name)
    for name in ("ready", "unavailable"):
        table.add_column(name, justify="right")
    for row in counts_of(engine):
        table.add_row(*(str(value) for value in row.values()))
    print_table(table, console)


def counts_of(engine: Engine) -> list[dict[str, Any]]:
    """How many scenarios of each family and type the current set has: ready ones, and those that cannot be made."""
    rows = reads.read_all(engine, schema.scenarios, {"is_current": True})
    found = []
    for (family, kind), own in rows.groupby(["family", "type"], sort=True):
        n_ready = int((own["status"] == "ready").sum())
        told = {"family": str(family), "type": str(kind), "ready": n_ready, "unavailable": len(own) - n_ready}
        found.append(told)
    return found


def _print_ranking(scope: str, rows: pd.DataFrame, console: Console) -> None:
    table = Table(title=f"Ranking: {show.plain(scope)}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for _, words, kind in RANK_COLUMNS:
        table.add_column(words, justify="left" if kind == "text" else "right", no_wrap=True)
    for row in rows.to_dict("records"):
        table.add_row(*(_cell(row[name], kind) for name, _, kind in RANK_COLUMNS))
    print_table(table, console)


def _cell(value: Any, kind: str) -> str:
    return show.plain("" if is_missing(value) else str(value)) if kind == "text" else written(value, kind)


def print_pages(told: Mapping[str, Any], console: Console) -> None:
    """Where to look next; `told`: metadata of `assessment_report`."""
    console.print(show.plain(f"matrix: {told['index']}"), soft_wrap=True)
    for path in sorted(set(told["pages"].values()) - {told["index"]}):
        console.print(show.plain(f"matrix: {path}"), soft_wrap=True)
    sheets = list(told["tear_sheets"].values())
    if sheets:
        console.print(show.plain(f"{len(sheets)} tear sheets: {Path(sheets[0]).parent}"), soft_wrap=True)


def _as_json(bench: Bench, *, is_done: bool) -> dict[str, Any]:
    """What came of an assessment; of one that failed, how far it came and why."""
    if not is_done:
        return _how(bench)
    seconds = _how(bench)["seconds"]
    ranks = ranking_of(bench.engine)
    rows = [
        {name: None if is_missing(value) else value for name, value in row.items()} for row in ranks.to_dict("records")
    ]
    told = bench.told("assessment_report")
    return {"ranking": rows, "seconds": seconds, "pages": told["pages"], "tear_sheets": told["tear_sheets"]}


def _how(bench: Bench) -> dict[str, Any]:
    """How the stages of a command went: seconds by stage, failed steps with their errors, degraded assets and why."""
    degraded = {
        asset: str(facts["degraded"])
        for ran in bench.ran
        for asset, facts in ran.metadata.items()
        if facts.get("degraded")
    }
    seconds: dict[str, float] = {}
    for ran in bench.ran:
        seconds[ran.stage.name] = round(seconds.get(ran.stage.name, 0.0) + ran.seconds, 3)
    return {"failed": all_failed(bench.ran), "degraded": degraded, "seconds": seconds}
