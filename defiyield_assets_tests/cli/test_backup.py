"""`defiyield backup` and `defiyield restore`: dumped, destroyed, restored, compared, on both databases.

Not here: a restore that is killed (test_restore_killed.py), the service of compose.yaml (deploy/test_compose_day.py).
"""

import json
import re
import resource
import shutil
import sqlite3
import stat
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from defiyield_assets.cli.main import main
from defiyield_assets.settings import PROJECT_ROOT
from defiyield_assets.store import engine as engines
from defiyield_assets.store import schema
from defiyield_assets.store.backups.tables import ASIDE
from defiyield_assets_tests.cli.kept import Kept, fill
from defiyield_assets_tests.databases import DATABASES, postgres_database, url_text
from defiyield_assets_tests.installations import Installation, Loop, day_after

pytestmark = pytest.mark.usefixtures("command_line")


def changed_archive(kept: Kept, change: Callable[[str, bytes], tuple[str, bytes]], extra: str | None = None) -> Path:
    """The backup with files changed, beside it."""
    other = kept.file.with_name("changed.zip")
    with zipfile.ZipFile(kept.file) as one, zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as two:
        for name in one.namelist():
            two.writestr(*change(name, one.read(name)))
        if extra is not None:
            two.writestr(extra, b"x")
    return other


def with_manifest(kept: Kept, change: Callable[[dict[str, Any]], None]) -> Path:
    """The backup with another manifest."""

    def one(name: str, body: bytes) -> tuple[str, bytes]:
        if name != "manifest.json":
            return name, body
        told = json.loads(body)
        change(told)
        return name, json.dumps(told).encode()

    return changed_archive(kept, one)


def assert_nothing_is_left(kept: Kept) -> None:
    """No staged file, no schema aside."""
    assert not list(kept.state.glob(".restore*"))
    assert not list(kept.file.parent.glob(".backup-*"))
    if kept.url.startswith("postgresql"):
        engine = engines.make_engine(kept.url)
        assert ASIDE not in sa.inspect(engine).get_schema_names()
        engine.dispose()


def test_dumped_destroyed_restored(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    before = kept.contents()
    assert sum(content.rows for content in before.values()) > 100
    assert main(["backup", str(kept.file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == sum(content.rows for content in before.values())
    assert stat.S_IMODE(kept.file.stat().st_mode) == 0o600
    kept.change()
    changed = kept.contents()
    assert changed != before
    assert main(["restore", str(kept.file)]) == 2
    assert f"--destroy {kept.name}" in capsys.readouterr().err
    assert main(["restore", str(kept.file), "--destroy", "another"]) == 2
    assert kept.contents() == changed
    assert main(["restore", str(kept.file), "--destroy", kept.name]) == 0
    assert kept.contents() == before
    with closing(sqlite3.connect(kept.state / "chain.sqlite")) as chain:
        assert chain.execute("SELECT fact FROM facts").fetchall() == [("mined",)]
    files = [path.relative_to(kept.state / "reports").as_posix() for path in (kept.state / "reports").rglob("*.html")]
    assert files == ["2025-06-03/report.html"]
    assert (kept.state / "reports/2025-06-03/report.html").read_text(encoding="utf-8") == "report"
    assert_nothing_is_left(kept)


def test_the_state_folders_own_configuration_goes_along_and_comes_back(
    on_file: Kept, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = on_file.state / "config", on_file.file.with_name("other.zip")
    own.mkdir()
    (own / "policy.yaml").write_text("parameters: {min_pools: 7}\n", encoding="utf-8")
    (own / "accounts.yaml").write_text("wallets: []\n", encoding="utf-8")
    (own / "linked.yaml").symlink_to(on_file.state / "warehouse.sqlite")
    assert main(["backup", str(other)]) == 0
    assert "configuration files" in capsys.readouterr().out
    (own / "policy.yaml").write_text("parameters: {min_pools: 9}\n", encoding="utf-8")
    (own / "tokens.yaml").write_text("approved: []\n", encoding="utf-8")
    assert main(["restore", str(other), "--destroy", on_file.name]) == 0
    assert {path.name: path.read_text(encoding="utf-8") for path in own.iterdir()} == {
        "policy.yaml": "parameters: {min_pools: 7}\n",
        "accounts.yaml": "wallets: []\n",
    }
    assert stat.S_IMODE((own / "accounts.yaml").stat().st_mode) == 0o600
    assert_nothing_is_left(on_file)
    assert main(["restore", str(on_file.file), "--destroy", on_file.name]) == 0
    assert not own.exists(), "a backup of before there was one takes it away, as it does with reports"
    named = on_file.file.with_name("named")
    named.mkdir()
    monkeypatch.setenv("DEFIYIELD_CONFIG_DIR", str(named))
    (named / "policy.yaml").write_text("parameters: {min_pools: 3}\n", encoding="utf-8")
    assert main(["restore", str(other), "--destroy", on_file.name]) == 0
    assert (named / "policy.yaml").read_text(encoding="utf-8") == "parameters: {min_pools: 3}\n"


@pytest.mark.parametrize("kind", DATABASES)
def test_into_an_empty_database(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A database that `migrate` made, or none, takes a backup without any flag."""
    if kind == "sqlite":
        kept: Kept = request.getfixturevalue("on_file")
        before = kept.contents()
        shutil.rmtree(kept.state)
        kept.state.mkdir(mode=0o700)
        engine = engines.make_engine(kept.url)
        engines.upgrade(engine)
        engine.dispose()
        assert main(["restore", str(kept.file)]) == 0
        assert kept.contents() == before
        return
    patch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    patch.setenv("DEFIYIELD_STATE_DIR", str(tmp_path / "one"))
    if (programs := request.getfixturevalue("postgres_programs")) is not None:
        patch.setenv("DEFIYIELD_PG_BIN", str(programs))
    server, template = request.getfixturevalue("postgres_server"), request.getfixturevalue("postgres_template")
    with postgres_database(server, template) as url, postgres_database(server) as other:
        (tmp_path / "one").mkdir(mode=0o700)
        one = Kept(url_text(url), tmp_path / "one", tmp_path / "b.zip")
        fill(one, 3)
        patch.setenv("DEFIYIELD_DATABASE_URL", one.url)
        assert main(["backup", str(one.file)]) == 0
        two = Kept(url_text(other), tmp_path / "two", one.file)
        patch.setenv("DEFIYIELD_DATABASE_URL", two.url)
        patch.setenv("DEFIYIELD_STATE_DIR", str(two.state))
        assert main(["restore", str(one.file)]) == 0
        assert two.contents() == one.contents()


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda told: told.update(market="live"), 2, "of the market live"),
        (lambda told: told.update(revision="9999"), 2, "made by a newer one"),
        (lambda told: told.update(format=2), 2, "this program reads 1"),
        (lambda told: told.update(database="postgresql"), 2, "is of postgresql"),
        (lambda told: told["parts"][0].update(sha256="0" * 64), 1, "is damaged"),
        (lambda told: told["parts"][0].update(bytes=3), 1, "is damaged"),
        (lambda told: told["parts"].pop(), 1, "is damaged"),
        (lambda told: told.pop("tables"), 1, "no manifest"),
        (lambda told: told["tables"]["nav_daily"].update(rows=99), 1, "nav_daily has 2 rows of 99"),
    ],
)
def test_what_does_not_fit_is_refused(
    change: Callable[[dict[str, Any]], None],
    code: int,
    words: str,
    on_file: Kept,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = on_file.contents()
    other = with_manifest(on_file, change)
    assert main(["restore", str(other), "--destroy", on_file.name]) == code
    assert words in capsys.readouterr().err
    assert on_file.contents() == before
    assert_nothing_is_left(on_file)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "reports/../../evil", "reports\\..\\evil", "stranger"])
def test_names_that_leave_the_folder_are_refused(
    name: str, on_file: Kept, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def rename(member: str, body: bytes) -> tuple[str, bytes]:
        if member == "manifest.json":
            told = json.loads(body)
            next(one for one in told["parts"] if one["name"].startswith("reports/"))["name"] = name
            return member, json.dumps(told).encode()
        return (name if member.startswith("reports/") else member), body

    assert main(["restore", str(changed_archive(on_file, rename)), "--destroy", on_file.name]) == 1
    assert "which no backup does" in capsys.readouterr().err
    assert not list(tmp_path.rglob("evil"))


def test_bytes_that_changed_are_noticed(on_file: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    before, whole = on_file.contents(), on_file.file.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:20_000] + b"\xff\x00" + whole[20_002:], b"", b"no zip"):
        on_file.file.write_bytes(damaged)
        assert main(["restore", str(on_file.file), "--destroy", on_file.name]) == 1
        assert "damaged" in capsys.readouterr().err
        assert on_file.contents() == before
        assert_nothing_is_left(on_file)
    on_file.file.unlink()
    assert main(["restore", str(on_file.file)]) == 2


def test_a_file_that_nobody_named_is_not_unpacked(on_file: Kept) -> None:
    assert main(["restore", str(changed_archive(on_file, lambda *one: one, extra="reports/x")), "--json"]) == 1


def test_what_was_put_back_wrongly_is_taken_away(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """The last comparison fails: everything is as before, on both databases."""
    assert main(["backup", str(kept.file)]) == 0
    kept.change()
    before = kept.contents()
    other = with_manifest(kept, lambda told: told["tables"]["nav_daily"].update(fingerprint="0" * 32))
    assert main(["restore", str(other), "--destroy", kept.name]) == 1
    assert "nav_daily differs" in capsys.readouterr().err
    assert kept.contents() == before
    assert (kept.state / "reports/new.html").exists()
    assert_nothing_is_left(kept)


def test_a_backup_while_others_write_is_of_one_moment(on_file: Kept, tmp_path: Path) -> None:
    """Two tables are always changed together; no backup sees one without the other."""
    ended = threading.Event()
    engine = engines.make_engine(on_file.url)
    with engines.write_transaction(engine, "both") as connection:
        for name in ("one", "two"):
            connection.exec_driver_sql(f"CREATE TABLE {name} (number integer)")

    def write() -> None:
        while not ended.is_set():
            with engines.write_transaction(engine, "both") as connection:
                for name in ("one", "two"):
                    connection.exec_driver_sql(f"INSERT INTO {name} VALUES (1)")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(4):
            assert main(["backup", str(tmp_path / f"{number}.zip")]) == 0
    finally:
        ended.set()
        writer.join()
        engine.dispose()
    for number in range(4):
        with zipfile.ZipFile(tmp_path / f"{number}.zip") as archive:
            tables = json.loads(archive.read("manifest.json"))["tables"]
        assert tables["one"]["rows"] == tables["two"]["rows"]


def test_a_warehouse_in_use_is_not_replaced(on_file: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    engine = engines.make_engine(on_file.url)
    with engine.connect() as connection:
        connection.execute(sa.select(schema.nav_daily)).fetchone()
        assert main(["restore", str(on_file.file), "--destroy", on_file.name]) == 2
    engine.dispose()
    assert "is in use" in capsys.readouterr().err
    assert_nothing_is_left(on_file)


def test_a_folder_keeps_the_newest(on_file: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    for day in (1, 2, 3):
        (folder / f"defiyield-simulated-2025060{day}T000000Z.zip").touch()
    (folder / "defiyield-live-20250601T000000Z.zip").touch()
    (folder / "mine.zip").touch()
    assert main(["backup", str(folder), "--keep", "2"]) == 0
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 4
    assert names[:2] == ["defiyield-live-20250601T000000Z.zip", "defiyield-simulated-20250603T000000Z.zip"]
    assert names[3] == "mine.zip"
    for wrong in (["backup", str(on_file.file)], ["backup", str(tmp_path / "no/b.zip")]):
        assert main(wrong) == 2
    assert main(["backup", str(tmp_path / "c.zip"), "--keep", "2"]) == 2


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of more than 10,000 bytes can be written."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_told_and_nothing_is_left(on_file: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    before = on_file.everything()
    with full_disk():
        codes = [main(["backup", str(on_file.file.with_name("c.zip"))])]
        codes.append(main(["restore", str(on_file.file), "--destroy", on_file.name]))
    said = capsys.readouterr().err
    assert codes == [2, 2], said
    assert len(re.findall("cannot be (?:copied|unpacked|written)", said)) == 2, said
    assert on_file.everything() == before
    assert not on_file.file.with_name("c.zip").exists()
    assert_nothing_is_left(on_file)


def test_without_a_warehouse_there_is_nothing_to_back_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEFIYIELD_STATE_DIR", str(tmp_path / "none"))
    assert main(["backup", str(tmp_path / "b.zip")]) == 2
    assert "no database" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.zip"))


def run_nothing() -> str:
    """A run of a job without steps, in Dagster's storage."""
    import dagster as dg

    @dg.job
    def nothing() -> None:
        """No step."""

    with dg.DagsterInstance.get() as instance:
        return str(nothing.execute_in_process(instance=instance).run_id)


def assert_only_run(run_id: str) -> None:
    """Dagster's storage knows that run with its events, and no other."""
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        assert [one.run_id for one in instance.get_runs()] == [run_id]
        assert instance.all_logs(run_id)


def test_dagsters_storage_goes_with_it(on_file: Kept, tmp_path: Path) -> None:
    """Its folders in SQLite; what ran meanwhile is gone after the restore."""
    home = tmp_path / "dagster_home"
    (home / "dagster.yaml").write_text("storage:\n  sqlite:\n    base_dir:\n      env: DEFIYIELD_STATE_DIR\n")
    first = run_nothing()
    file = tmp_path / "with.zip"
    assert main(["backup", str(file), "--with-dagster"]) == 0
    run_nothing()
    assert main(["restore", str(file)]) == 2
    assert main(["restore", str(file), "--destroy", on_file.name]) == 0
    assert_only_run(first)


@pytest.mark.postgres
@pytest.mark.parametrize("kept", ["postgres"], indirect=True)
@pytest.mark.parametrize("is_shared", [False, True])
def test_dagsters_tables_on_a_server_go_with_it(
    is_shared: bool, kept: Kept, postgres_server: sa.URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a database of their own, or in the warehouse's."""
    shutil.copy(PROJECT_ROOT / "deploy/dagster.postgres.yaml", tmp_path / "dagster_home/dagster.yaml")
    with postgres_database(postgres_server) as own:
        url = sa.make_url(kept.url) if is_shared else own
        monkeypatch.setenv("PGHOST", str(url.query.get("host") or url.host or ""))
        for name, value in (("HOST", url.host), ("USER", url.username), ("PASSWORD", url.password)):
            monkeypatch.setenv(f"DEFIYIELD_DAGSTER_PG_{name}", value or "")
        monkeypatch.setenv("DEFIYIELD_DAGSTER_PG_DB", url.database or "")
        first = run_nothing()
        before = kept.everything()
        assert main(["backup", str(kept.file), "--with-dagster"]) == 0
        with zipfile.ZipFile(kept.file) as archive:
            assert ("dagster/storage.dump" in archive.namelist()) is not is_shared
        run_nothing()
        kept.change()
        assert main(["restore", str(kept.file), "--destroy", kept.name]) == 0
        assert kept.everything() == before
        assert_only_run(first)


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("version", "words"), [("pg_dump (PostgreSQL) 9.6", "is version 9"), ("nonsense", "is version unknown")]
)
def test_programs_older_than_the_server_are_refused(
    version: str,
    words: str,
    postgres_warehouse: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("DEFIYIELD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("DEFIYIELD_DATABASE_URL", url_text(postgres_warehouse.url))
    monkeypatch.setenv("DEFIYIELD_PG_BIN", str(programs))
    assert main(["backup", str(tmp_path / "b.zip")]) == 2
    assert "is not in DEFIYIELD_PG_BIN" in capsys.readouterr().err
    (programs / "pg_dump").write_text(f"#!/bin/sh\necho '{version}'\n")
    (programs / "pg_dump").chmod(0o755)
    assert main(["backup", str(tmp_path / "b.zip")]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.glob("*.zip"))


@pytest.mark.postgres
def test_a_password_is_in_no_command_line(
    postgres_server: sa.URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The child is given it in its environment; its complaint, which errors repeat, cannot hold it either."""
    with postgres_database(postgres_server) as url:
        programs = tmp_path / "bin"
        programs.mkdir()
        seen = tmp_path / "seen"
        (programs / "pg_dump").write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && echo "pg_dump (PostgreSQL) 99" && exit\n'
            f'echo "$@" > {seen}; echo "$PGPASSWORD" >> {seen}; echo no >&2; exit 1\n'
        )
        (programs / "pg_dump").chmod(0o755)
        monkeypatch.setenv("DEFIYIELD_STATE_DIR", str(tmp_path / "state"))
        monkeypatch.setenv("DEFIYIELD_DATABASE_URL", url_text(url.set(password="s3cret/with words")))
        monkeypatch.setenv("DEFIYIELD_PG_BIN", str(programs))
        assert main(["backup", str(tmp_path / "b.zip")]) == 1
    words, password = seen.read_text().splitlines()
    assert password == "s3cret/with words"
    assert "s3cret" not in words
    assert "dbname=" in words
    assert "pg_dump failed: no" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.zip"))


@pytest.mark.slow
def test_the_day_after_a_restore_has_the_same_plan(
    first_day: Loop, closed_loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backed up after the demo day, destroyed, restored: the next day's tables are those of the undisturbed loop."""
    monkeypatch.setenv("DEFIYIELD_STATE_DIR", str(tmp_path / "state"))
    first_day.installation.copy_to(tmp_path / "state")
    assert main(["backup", str(tmp_path / "b.zip")]) == 0
    shutil.rmtree(tmp_path / "state")
    assert main(["restore", str(tmp_path / "b.zip")]) == 0
    restored = Installation(tmp_path / "state")
    assert restored.fingerprints() == first_day.installation.fingerprints()
    day = day_after(closed_loop.days[0])
    assert restored.run(day).success
    tables = ("allocations", "allocation_steps", "allocation_runs", "ledger_postings", "nav_daily", "pool_forecasts")
    for name in tables:
        table = schema.metadata.tables[name]
        assert restored.fingerprint(table, day) == closed_loop.installation.fingerprint(table, day), name
