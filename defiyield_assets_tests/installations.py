"""Whole installations for tests: a state folder, its definitions, days run through Dagster, table fingerprints.

Lives here: what end-to-end, fault, look-ahead and orchestration tests share. Not here: databases (databases.py), tests.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.definitions import build_defs, build_resources
from defiyield_assets.domain.days import DayRange
from defiyield_assets.orchestration import resources
from defiyield_assets.orchestration.resources import MarketResource, Simulation, WarehouseResource
from defiyield_assets.settings import Settings
from defiyield_assets.sources.transport import Gateway
from defiyield_assets.store import reads, schema
from defiyield_assets.store.rows import SPELLING, converted
from defiyield_assets.store.validation import column_type
from defiyield_assets_tests.remembered_fits import remember_fits

remember_fits()

FIRST = date(2025, 6, 3)
"""The demo day, and the first day of every closed loop here."""
LOOP_DAYS = 5
UNCOMPARED = {"raw_fetches", "feature_state"}
"""Tables whose set of rows tells of runs, no content: how often a vendor was asked, and behind which bars some run left
a state (a changed bar deletes those behind it, a run leaves one behind its own last bar). Features are the same from
any state and from none, and are compared; that states of one bar are equal is tested in test_invalidation.py."""
MEASURED = {"allocation_runs": "solver_seconds"}
"""The one measurement that a table holds: how long the solver took is no content either."""
SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def day_after(day: date, days: int = 1) -> date:
    """The UTC day that many days later."""
    return day + timedelta(days=days)


@dataclass(frozen=True)
class Installation:
    """One state folder with its warehouse, chain and reports."""

    folder: Path
    market: str = "simulated"
    database_url: str | None = None
    recorded_data: Path | None = None
    overrides: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """Settings of this installation, whatever the environment says."""
        url = self.database_url or f"sqlite:///{self.folder / 'warehouse.sqlite'}"
        return Settings(
            market=self.market,
            state_dir=self.folder,
            database_url=url,
            recorded_data=self.recorded_data,
            config_dir=None,
        )

    @property
    def warehouse(self) -> WarehouseResource:
        """The warehouse as assets are handed it."""
        return WarehouseResource(url=self.settings.warehouse_url, market=self.settings.warehouse_market)

    @property
    def engine(self) -> sa.Engine:
        """Engine of the migrated warehouse."""
        return self.warehouse.engine

    @property
    def simulation(self) -> Simulation:
        """The simulated or recorded market with its chain, as the runs of this installation see it."""
        market = self.overrides.get("market", build_resources(self.settings)["market"]).simulation
        assert market is not None
        return market

    @property
    def definitions(self) -> dg.Definitions:
        """All definitions over this state."""
        return build_defs(self.settings, **{"warehouse": self.warehouse, **self.overrides})

    def run(
        self,
        day: date,
        assets: Iterable[str] | None = None,
        *,
        raise_on_error: bool = True,
        has_pictures: bool = False,
    ) -> dg.ExecuteInProcessResult:
        """Materialise the day, or some of its assets, through Dagster in this process; pictures take a tenth of it."""
        with dg.DagsterInstance.ephemeral() as instance, pytest.MonkeyPatch.context() as patch:
            patch.setenv("DEFIYIELD_PICTURES", str(has_pictures))
            return self.definitions.resolve_job_def("plan_the_day").execute_in_process(
                partition_key=day.isoformat(),
                instance=instance,
                asset_selection=None if assets is None else [dg.AssetKey(name) for name in assets],
                raise_on_error=raise_on_error,
                run_config=SILENT,
            )

    def rows(self, table: sa.Table, day: date | None = None) -> Any:
        """The table's rows, of one day or all."""
        return _rows(self.engine, table, day)

    def restated_since(self, day: date) -> frozenset[str]:
        """Instruments with a split or dividend after the day: by design that restates what is stored of it."""
        actions = self.rows(schema.corporate_actions)
        return frozenset(actions.loc[actions["ex_date"] > day, "instrument_id"])

    def fingerprints(self, day: date | None = None, without: frozenset[str] = frozenset()) -> dict[str, str]:
        """Content hash of every table; with a day, of that day's slice of every dated table; some instruments left
        out."""
        engine = self.engine
        tables = [table for table in schema.metadata.sorted_tables if table.name not in UNCOMPARED]
        dated = [table for table in tables if day is None or table.info["day"] is not None]
        return {table.name: _fingerprint(engine, table, day, without) for table in dated}

    def fingerprint(self, table: sa.Table, day: date | None = None, without: frozenset[str] = frozenset()) -> str:
        """Content hash of one table, or of its slice of the day, some instruments left out."""
        return _fingerprint(self.engine, table, day, without)

    def copy_to(self, folder: Path) -> "Installation":
        """The same state somewhere else (SQLite only): warehouse, chain and reports as they are now."""
        folder.mkdir(parents=True)
        for name in ("warehouse.sqlite", "chain.sqlite"):
            if not (self.folder / name).exists():
                continue
            source, target = (sa.create_engine(f"sqlite:///{place / name}") for place in (self.folder, folder))
            with source.connect() as one, target.connect() as other:
                one.connection.driver_connection.backup(other.connection.driver_connection)  # type: ignore[union-attr]
            source.dispose()
            target.dispose()
        if (self.folder / "reports").is_dir():
            shutil.copytree(self.folder / "reports", folder / "reports")
        return Installation(folder, self.market, None, self.recorded_data)


def _rows(engine: sa.Engine, table: sa.Table, day: date | None) -> pd.DataFrame:
    return reads.read_all(engine, table) if day is None else reads.read_days(engine, table, DayRange.of(day))


def _fingerprint(engine: sa.Engine, table: sa.Table, day: date | None, without: frozenset[str]) -> str:
    rows = _rows(engine, table, day)
    if without and "instrument_id" in rows:
        rows = rows[~rows["instrument_id"].isin(without)].reset_index(drop=True)
    if table.name in MEASURED:
        rows[MEASURED[table.name]] = 0.0
    digest = hashlib.sha256(str(len(rows)).encode())
    for column in table.columns:
        digest.update(f";{column.name}:".encode() + column_bytes(column, rows[column.name]))
    return digest.hexdigest()


def column_bytes(column: sa.Column[Any], cells: "pd.Series[Any]") -> bytes:
    """The cells in one spelling on every database. Not `rows_hash`, which this would trust instead of test, and which
    spells each number as text: the tables of a day are compared a hundred times in a session."""
    if isinstance(cells.dtype, pd.DatetimeTZDtype):
        return cells.to_numpy("datetime64[ns]").tobytes()
    numbers = cells.to_numpy()
    if numbers.dtype.kind == "f":
        return np.where(np.isnan(numbers), np.nan, numbers + 0.0).tobytes()  # one kind of NaN, no negative zero
    if numbers.dtype.kind in "iub":
        return numbers.tobytes()
    spell = SPELLING.get(column_type(column))
    values = [None if is_null else cell for cell, is_null in zip(cells, cells.isna(), strict=True)]
    return repr(values if spell is None else converted(spell, values)).encode("utf-8", "surrogatepass")


def materialised(result: "Told") -> set[str]:
    """Names of the assets that the run materialised."""
    return {
        event.asset_key.to_user_string()
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key is not None
    }


def failed_steps(result: "Told") -> set[str]:
    """Steps of the run that failed."""
    return {event.step_key or "" for event in result.all_events if event.is_step_failure}


Meddler = Callable[[date, httpx.Request, httpx.Response], httpx.Response]
"""What a client gets instead of the market's response to a request of a partition."""


class _Meddling(httpx.AsyncBaseTransport):
    """The market, with somebody in between."""

    def __init__(self, inner: httpx.AsyncBaseTransport, day: date, meddler: Meddler) -> None:
        self._inner, self._day, self._meddler = inner, day, meddler

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self._meddler(self._day, request, await self._inner.handle_async_request(request))


def meddle(monkeypatch: pytest.MonkeyPatch, meddler: Meddler) -> None:
    """From now on every answer of every market passes through `meddler`, and no retry waits for real."""
    market_transport = MarketResource._transport

    def transport(market: MarketResource, day: date) -> httpx.AsyncBaseTransport:
        return _Meddling(market_transport(market, day), day, meddler)

    async def at_once(_seconds: float) -> None:
        return None

    def impatient(*args: Any, **options: Any) -> Gateway:
        return Gateway(*args, **{**options, "sleep": at_once})

    monkeypatch.setattr(MarketResource, "_transport", transport)
    monkeypatch.setattr(resources, "Gateway", impatient)


def instead_of(response: httpx.Response, status: int, body: bytes) -> httpx.Response:
    """Another answer at the same instant."""
    return httpx.Response(status, headers={"date": response.headers["date"]}, content=body)


def failing(host: str, status: int, body: bytes | None = None, path: str = "") -> Meddler:
    """The host answers so, on paths that end so; a body of None is the first half of the true one."""

    def answer(day: date, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.url.host != host or not request.url.path.endswith(path):
            return response
        true = response.read()
        return instead_of(response, status, true[: len(true) // 2] if body is None else body)

    return answer


def rewriting(path: str, change: Callable[[Any], Any]) -> Meddler:
    """Answers to paths that begin so, their JSON changed."""

    def answer(day: date, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if not request.url.path.startswith(path) or response.status_code != 200:
            return response
        return instead_of(response, 200, json.dumps(change(json.loads(response.read()))).encode())

    return answer


def together(*meddlers: Meddler) -> Meddler:
    """One after the other."""

    def answer(day: date, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        for meddler in meddlers:
            response = meddler(day, request, response)
        return response

    return answer


@dataclass(frozen=True)
class ToldRun:
    """What Dagster said of a run, by itself: it can be kept in a file and read by another process."""

    success: bool
    all_events: Sequence[dg.DagsterEvent]

    def get_asset_materialization_events(self) -> list[dg.DagsterEvent]:
        """As of Dagster's own result."""
        return [event for event in self.all_events if event.is_step_materialization]

    def get_asset_check_evaluations(self) -> list[Any]:
        """As of Dagster's own result."""
        evaluation = dg.DagsterEventType.ASSET_CHECK_EVALUATION
        return [event.event_specific_data for event in self.all_events if event.event_type == evaluation]

    def asset_materializations_for_node(self, name: str) -> list[dg.AssetMaterialization]:
        """As of Dagster's own result."""
        made = [event for event in self.get_asset_materialization_events() if event.node_name == name]
        return [event.step_materialization_data.materialization for event in made]


Told = dg.ExecuteInProcessResult | ToldRun
"""What a run said, just now or kept."""


@dataclass(frozen=True)
class Loop:
    """Days that were run in order on one state, with what Dagster said and how the tables stood after each."""

    installation: Installation
    days: Sequence[date]
    results: Sequence[Told]


def run_first_day(folder: Path) -> Loop:
    """The demo day on a fresh state."""
    installation = Installation(folder)
    return Loop(installation, [FIRST], [installation.run(FIRST, has_pictures=True)])


def run_closed_loop(first: Loop, folder: Path) -> Loop:
    """Five days in order from the first one's state: the ledger of each sees what the plan of the day before did.

    Pictures are drawn on the first and the last of them.
    """
    installation = first.installation.copy_to(folder)
    days = [day_after(FIRST, offset) for offset in range(1, LOOP_DAYS)]
    results = [installation.run(day, has_pictures=day == days[-1]) for day in days]
    return Loop(installation, [FIRST, *days], [*first.results, *results])
