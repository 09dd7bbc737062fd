"""`defiyield health`: its exit code in each broken state, what the probe `live` leaves alone, nothing made or shown."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.test_utils import create_run_for_test
from dagster._daemon.types import DaemonHeartbeat

from defiyield_assets.cli import health, health_checks, state_checks
from defiyield_assets.cli.health import Line, Looked
from defiyield_assets.cli.main import main
from defiyield_assets.domain.days import newest_due_day
from defiyield_assets.settings import PROJECT_ROOT, Settings
from defiyield_assets.store import schema
from defiyield_assets.store.engine import claim_market, make_engine
from defiyield_assets_tests.databases import url_text

pytestmark = pytest.mark.usefixtures("command_line")
SECRET = "s3cret-Zx9-hunter"
NOW = datetime(2026, 3, 3, 9, 0, tzinfo=UTC)
DUE = date(2026, 3, 2)
SIX_HOURS = timedelta(hours=6)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Dagster home as ours is, with its state, in which the daemon told of itself a moment ago."""
    folder, state = tmp_path / "dagster_home", tmp_path / "state"
    shutil.copy(PROJECT_ROOT / "dagster.yaml", folder)
    state.mkdir(mode=0o700)
    monkeypatch.setenv("DEFIYIELD_STATE_DIR", str(state))
    with dg.DagsterInstance.get() as instance:
        for part in instance.get_required_daemon_types():
            instance.add_daemon_heartbeat(DaemonHeartbeat(NOW.timestamp() - 30, part, None, None))
    return state


@pytest.fixture
def well(home: Path, warehouse: sa.Engine) -> Looked:
    """An installation in which everything is as it should be."""
    claim_market(warehouse, "simulated")
    plan(warehouse, DUE)
    return Looked(Settings(state_dir=home, database_url=url_text(warehouse.url)), NOW, SIX_HOURS)


def plan(engine: sa.Engine, day: date) -> None:
    """A plan of the day; what it says does not matter here."""
    exact = {"ExactDecimal": Decimal(0), "BaseUnits": 0, "Date": day}
    row: dict[str, Any] = {}
    for column in schema.allocation_runs.columns:
        kind = column.type.__class__.__name__
        if not column.nullable:
            row[column.name] = exact[kind] if kind in exact else column.type.python_type()
    with engine.begin() as connection:
        connection.execute(sa.delete(schema.allocation_runs))
        connection.execute(sa.insert(schema.allocation_runs).values({**row, "run_id": "r", "date": day}))


def broken(looked: Looked, *probes: str) -> dict[str, Line]:
    """What is not well, by subject."""
    return {
        line.subject: line for line in health.look(looked, probes or ("live", "ready", "fresh")) if not line.is_well
    }


def test_all_is_well(well: Looked) -> None:
    lines = health.look(well, ("live", "ready", "fresh"))
    assert [line for line in lines if not line.is_well] == []
    told = {(line.probe, line.subject) for line in lines}
    assert told >= {("live", "program"), ("ready", "database"), ("ready", "dagster"), ("ready", "disk")}
    assert told >= {("fresh", "daemon"), ("fresh", "runs"), ("fresh", "plan")}


def test_each_broken_state_is_told_with_what_would_be_right(well: Looked, monkeypatch: pytest.MonkeyPatch) -> None:
    late = Looked(well.settings, NOW + timedelta(hours=18), SIX_HOURS)  # 03:00 of the next day
    assert set(broken(late)) == {"plan", "daemon"}
    assert "2026-03-03 is due" in broken(late)["plan"].what
    assert "--date 2026-03-03" in broken(late)["plan"].advice
    assert "do not report, since 2026-03-03 08:59 UTC" in broken(late)["daemon"].what
    early = Looked(well.settings, NOW + timedelta(hours=17, minutes=59), SIX_HOURS)
    assert set(broken(early)) == {"daemon"}, "the plan has until three hours after the day"
    free = type("Usage", (), {"free": state_checks.LEAST_FREE - 1})()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    assert set(broken(well)) == {"disk"}


def test_a_run_that_hangs(well: Looked) -> None:
    with dg.DagsterInstance.get() as instance:
        run = create_run_for_test(instance, job_name="plan_the_day", status=dg.DagsterRunStatus.STARTED)
        record = instance.get_run_record_by_id(run.run_id)
    assert record is not None
    begun = datetime.fromtimestamp(record.start_time or record.create_timestamp.timestamp(), UTC)

    def stuck(hours: float) -> dict[str, Line]:
        looked = Looked(well.settings, begun + timedelta(hours=hours), SIX_HOURS)
        return {line.subject: line for line in health_checks.look("fresh", looked) if not line.is_well}

    assert "runs" not in stuck(5.9)
    assert f"plan_the_day {run.run_id[:8]}" in stuck(6.1)["runs"].what


def test_a_warehouse_that_is_not_migrated_or_of_another_market(well: Looked) -> None:
    engine = make_engine(well.settings.warehouse_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE warehouse_identity SET market = 'live'")
    assert "holds the market live" in broken(well)["database"].what
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE defiyield_schema_version SET version_num = '0001'")
    engine.dispose()
    assert "defiyield migrate" in broken(well)["database"].advice


def test_no_state_at_all_is_broken_and_nothing_is_made(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    looked = Looked(Settings(state_dir=nowhere), NOW, SIX_HOURS)
    found = broken(looked)
    assert set(found) >= {"program", "database", "daemon", "runs", "plan"}
    assert "no warehouse" in found["database"].what
    assert not nowhere.exists()


def test_databases_that_are_away_are_told_and_no_password_is(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEFIYIELD_DATABASE_URL", f"postgresql+psycopg://me:{SECRET}@127.0.0.1:1/none")
    capsys.readouterr()
    assert main(["health", "--probe", "ready", "--json"]) == 1
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert told["is_healthy"] is False
    assert {line["subject"]: line["is_well"] for line in told["lines"]}["database"] is False
    assert SECRET not in captured.out + captured.err
    assert main(["health", "--probe", "live"]) == 0
    assert "well" in capsys.readouterr().out


def test_the_command_s_exit_codes(
    well: Looked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEFIYIELD_DATABASE_URL", well.settings.warehouse_url)
    assert main(["health", "--probe", "ready"]) == 0
    assert main(["health", "--probe", "fresh"]) == 1, "the wall clock is long past these days"
    assert main(["health"]) == 1
    assert "broken fresh  plan" in capsys.readouterr().out


def test_the_probe_live_imports_nothing_that_knows_a_database(tmp_path: Path) -> None:
    words = (
        "import sys; from defiyield_assets.cli.main import main; code = main(['health', '--probe', 'live']); "
        "print(code, [name for name in ('sqlalchemy', 'psycopg', 'dagster', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", words],
        env={"PATH": "/usr/bin", "DEFIYIELD_STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.splitlines()[-1] == "0 []"


@pytest.mark.parametrize(
    ("present", "due"),
    [
        (datetime(2026, 3, 3, 2, 59, 59, tzinfo=UTC), date(2026, 3, 1)),
        (datetime(2026, 3, 3, 3, 0, tzinfo=UTC), date(2026, 3, 2)),
        (datetime(2026, 3, 3, 23, 59, tzinfo=UTC), date(2026, 3, 2)),
    ],
)
def test_when_a_plan_is_due(present: datetime, due: date) -> None:
    assert newest_due_day(present) == due


@pytest.mark.parametrize("words", [["--probe", "dead"], ["--stuck-hours", "0"], ["--stuck-hours", "soon"]])
def test_wrong_use(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["health", *words])
    assert stop.value.code == 2
