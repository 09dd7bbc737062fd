"""Celery with a real broker and two workers as processes: who did what, the same tables, no secret on the way.

Not here: what vendors see of two workers (test_vendors_of_workers.py), processes of one machine (test_multiprocess.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.store import schema
from defiyield_assets_tests.cluster.machines import PATIENCE_SECONDS, Broker, Cluster, finish, make_cluster
from defiyield_assets_tests.dagster_processes import wait_for
from defiyield_assets_tests.databases import postgres_database, url_text
from defiyield_assets_tests.installations import FIRST, Installation, day_after
from defiyield_assets_tests.served_market import ADDITIONS

pytestmark = [pytest.mark.postgres, pytest.mark.slow]
ASSETS = [
    *("migrations", "policy_snapshot", "instruments", "token_registry", "pool_aliases", "pools"),
    *("macro_series", "gas_fees_hourly", "gas_fees_daily"),
]
"""A part of the day that rests on nothing else and that two workers can share."""
LATER = (day_after(FIRST, 1), day_after(FIRST, 2))
"""Days whose runs begin at once."""
ORDER = ("fetched_at",)
"""What tells of the order of runs, no fact: one answer about gas or a macro series reaches back over days, and which
day asked for it first is chance where days run at once."""
WORKERS = ("one", "two")
OF_THE_WAREHOUSE = "of-the-warehouse-0123456789"
"""PostgreSQL's test server asks nobody for it; nobody else may ever see it."""


@dataclass(frozen=True)
class Shared:
    """A run whose steps two workers executed, and what waited in the broker before they were there."""

    cluster: Cluster
    run_id: str
    waiting: bytes


@pytest.fixture(scope="module")
def databases(postgres_server: sa.URL) -> Iterator[tuple[sa.URL, str]]:
    """Dagster's storage and the warehouse, both empty."""
    with postgres_database(postgres_server) as dagster, postgres_database(postgres_server) as warehouse:
        yield dagster, url_text(warehouse.set(password=OF_THE_WAREHOUSE))


def everything_in(broker: Broker) -> bytes:
    """All that the broker holds: messages that wait, results that were told."""
    client = broker.client
    readers = {b"string": client.get, b"list": lambda key: client.lrange(key, 0, -1), b"hash": client.hgetall}
    return b"\n".join(repr(readers.get(client.type(key), client.type)(key)).encode() for key in client.keys())  # noqa: SIM118


@pytest.fixture(scope="module")
def shared(databases: tuple[sa.URL, str], broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """The run begins before there is a worker, and ends when two have done it; they are there until the last test."""
    cluster = make_cluster(tmp_path_factory.mktemp("celery"), *databases, broker)
    process = cluster.launch(ASSETS, FIRST.isoformat())

    def message() -> bytes | None:
        assert process.poll() is None, process.communicate()
        held = everything_in(broker)
        return held if b"execute_plan" in held else None

    waiting = wait_for("a step in the queue", message, PATIENCE_SECONDS)
    with cluster.working(*WORKERS):
        (told,) = finish(process)
        assert told["success"], told
        yield Shared(cluster, str(told["run_id"]), waiting)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The same day in one process, in an SQLite file."""
    installation = Installation(tmp_path_factory.mktemp("alone") / "state")
    installation.folder.mkdir()
    assert installation.run(FIRST, ASSETS).success
    return installation


def test_both_workers_executed_steps(shared: Shared) -> None:
    by_worker = shared.cluster.steps_by_worker(shared.run_id)
    assert set(by_worker) == set(WORKERS)
    assert set(ASSETS) <= {step for steps in by_worker.values() for step in steps}
    with shared.cluster.instance() as instance:
        starts = instance.all_logs(shared.run_id, of_type=dg.DagsterEventType.STEP_START)
        assert len(starts) == sum(map(len, by_worker.values())), "no step was begun twice"


def assert_same(shared: Shared, alone: Installation, without: tuple[str, ...] = ()) -> None:
    """The tables of these assets are those of the other installation, some columns left out."""
    tables = [schema.metadata.tables[name] for name in ASSETS if name in schema.metadata.tables]
    compared = [table for table in tables if table.name not in ADDITIONS]
    assert len(compared) >= 6
    installation = Installation(shared.cluster.installation.state, database_url=shared.cluster.warehouse_url)
    for table in compared:
        found, wanted = (one.rows(table).drop(columns=[*without], errors="ignore") for one in (installation, alone))
        pd.testing.assert_frame_equal(found, wanted, check_exact=True, obj=table.name)
    installation.engine.dispose()


def test_tables_are_those_of_a_run_in_one_process(shared: Shared, alone: Installation) -> None:
    assert_same(shared, alone)


def test_no_value_goes_from_step_to_step_but_through_tables(shared: Shared) -> None:
    kept = {path.name for path in (shared.cluster.installation.state / "storage").rglob("*") if path.is_file()}
    assert {name for name in kept if not name.endswith((".out", ".err", ".complete"))} == set()


def test_no_secret_reaches_broker_events_logs_or_files(shared: Shared) -> None:
    assert shared.cluster.broker is not None
    seen = {"broker, waiting": shared.waiting, "broker, results": everything_in(shared.cluster.broker)}
    installation = shared.cluster.installation
    for path in [*installation.home.rglob("*"), *installation.state.rglob("*")]:
        if path.is_file():
            seen[str(path)] = path.read_bytes()
    with shared.cluster.instance() as instance:
        run = instance.get_run_by_id(shared.run_id)
        seen["run"] = repr(run).encode()
        seen["events"] = repr(instance.all_logs(shared.run_id)).encode()
    secrets = [OF_THE_WAREHOUSE.encode(), shared.cluster.broker.password.encode()]
    assert [place for place, content in seen.items() if any(secret in content for secret in secrets)] == []


@pytest.mark.nightly
def test_runs_of_several_days_at_once_are_shared_out_and_make_the_same_tables(
    shared: Shared, alone: Installation
) -> None:
    """In one process the days come one after the other."""
    told = shared.cluster.run(ASSETS, *map(str, LATER))
    assert [run["success"] for run in told] == [True] * len(LATER), told
    by_run = [shared.cluster.steps_by_worker(str(run["run_id"])) for run in told]
    assert {worker for by_worker in by_run for worker in by_worker} == set(WORKERS)
    for day in LATER:
        assert alone.run(day, ASSETS).success
    assert set(alone.rows(schema.pools)["snapshot_date"]) == {FIRST, *LATER}
    assert_same(shared, alone, without=ORDER)
