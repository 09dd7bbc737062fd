"""`defiyield backup` and `defiyield restore`: the state of an installation in one file, and back.

Lives here: which databases and folders belong to an installation, the order of the steps, what is told. Not here: the
steps (store/backups/), options (backup_arguments.py).
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import sqlalchemy as sa
from rich.console import Console

from defiyield_assets.cli.output import write_json
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError
from defiyield_assets.settings import Settings, load_settings
from defiyield_assets.store import engine as engines
from defiyield_assets.store import schema
from defiyield_assets.store.backups import archive as archives
from defiyield_assets.store.backups.archive import Manifest
from defiyield_assets.store.backups.contents import TableContent, differences
from defiyield_assets.store.backups.copies import copy_postgres, copy_sqlite, sqlite_contents
from defiyield_assets.store.backups.files import (
    SQLITE_LOGS,
    keep_files,
    put_files,
    require_unused,
    rows_of_file,
    undo_files,
)
from defiyield_assets.store.backups.journal import Journal
from defiyield_assets.store.backups.tables import PostgresTables

DAGSTER_FOLDERS = ("history", "schedules")
"""Folders of Dagster's storage in SQLite."""


@dataclass(frozen=True)
class Place:
    """Where a database is: a file, or a PostgreSQL server (`path` None)."""

    url: sa.URL
    path: Path | None

    @property
    def kind(self) -> str:
        """As manifests tell it."""
        return "postgresql" if self.path is None else "sqlite"

    @property
    def name(self) -> str:
        """As `--destroy` names it."""
        return (self.url.database or "") if self.path is None else self.path.name


def warehouse_place(settings: Settings) -> Place:
    """The installation's warehouse."""
    url = sa.make_url(settings.warehouse_url)
    return Place(url, Path(url.database or "").resolve() if url.drivername.startswith("sqlite") else None)


def dagster_place() -> Place:
    """Dagster's storage, as DAGSTER_HOME says; of SQLite the folder that holds its files."""
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        storage = instance.get_ref().storage
    if (url := getattr(storage, "postgres_url", None)) is not None:
        return Place(sa.make_url(url), None)
    if (folder := getattr(storage, "base_dir", None)) is not None:
        return Place(sa.make_url("sqlite://"), Path(folder))
    raise ConfigurationError(f"Dagster's storage {type(storage).__name__} is none that is backed up here")


# --- backup --------------------------------------------------------------------------------------------------------
def back_up(file: Path, keep: int | None, console: Console, *, is_with_dagster: bool, is_json: bool) -> int:
    """Write the backup; returns the exit code."""
    settings = load_settings()
    if keep is not None and not file.is_dir():
        raise ConfigurationError(f"--keep counts the backups of a folder, and {file} is none")
    target = _target(file, settings.warehouse_market)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".backup-") as folder:
            parts = Path(folder)
            manifest = _collect(settings, parts, is_with_dagster=is_with_dagster)
            archives.write_archive(target, manifest, parts)
    except OSError as error:
        raise ConfigurationError(
            f"{target} cannot be written: {error.strerror or error}; name a folder that may be written and has room "
            f"for the state twice"
        ) from error
    removed = [] if keep is None else _remove_older(target.parent, settings.warehouse_market, keep)
    if is_json:
        write_json({"file": target, "bytes": target.stat().st_size, "removed": removed, **_facts(manifest)})
        return 0
    console.print(f"{target}: {target.stat().st_size:,} bytes", soft_wrap=True)
    _tell(manifest, console)
    for path in removed:
        console.print(f"removed {path}", soft_wrap=True)
    return 0


def _target(file: Path, market: str) -> Path:
    """The file to write, which is not there yet, in a folder that is."""
    now = datetime.now(UTC)
    target = (file / f"defiyield-{market}-{now:%Y%m%dT%H%M%SZ}.zip" if file.is_dir() else file).absolute()
    if not target.parent.is_dir():
        raise ConfigurationError(f"there is no folder {target.parent}")
    if target.exists():
        raise ConfigurationError(f"{target} is there already: a backup replaces nothing; give another name")
    return target


def _remove_older(folder: Path, market: str, keep: int) -> list[Path]:
    """Remove all but the newest backups that were named here."""
    stamp = "[0-9]" * 8 + "T" + "[0-9]" * 6 + "Z"
    older = sorted(folder.glob(f"defiyield-{market}-{stamp}.zip"))[:-keep]
    for path in older:
        path.unlink()
    return older


def _collect(settings: Settings, parts: Path, *, is_with_dagster: bool) -> Manifest:
    """Copy everything below `parts`: the warehouse first.

    A chain that is ahead of its warehouse is what a run leaves that was killed between the two, and the next one heals.
    """
    place = warehouse_place(settings)
    copied, tables = _copy(place, parts / archives.WAREHOUSE, settings.pg_bin)
    market, revision = _identity(place, copied)
    if market != settings.warehouse_market or revision is None:
        raise ConfigurationError(
            f"the warehouse {place.name} holds the market {market or 'of nobody yet'}, not {settings.warehouse_market}"
        )
    if settings.chain_path.exists():
        copy_sqlite(settings.chain_path, parts / archives.CHAIN)
    if settings.reports_path.is_dir():
        archives.copy_tree(settings.reports_path, parts / archives.REPORTS)
    if settings.own_config_path.is_dir():
        archives.copy_tree(settings.own_config_path, parts / archives.CONFIG)
    kind, dagster_tables = _collect_dagster(parts, place, settings.pg_bin) if is_with_dagster else (None, {})
    return Manifest(
        format=archives.FORMAT,
        program=version("defiyield-assets"),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        market=market,
        revision=revision,
        database=place.kind,
        tables=tables,
        dagster=kind,
        dagster_tables=dagster_tables,
        parts=archives.describe_parts(parts),
    )


def _copy(place: Place, target: Path, programs: Path | None) -> tuple[Path, dict[str, TableContent]]:
    """A copy of a database beside `target`, with the ending of its kind, and what it holds."""
    if place.path is None:
        dumped = target.with_suffix(".dump")
        return dumped, copy_postgres(place.url, dumped, programs)
    copied = target.with_suffix(".sqlite")
    copy_sqlite(place.path, copied)
    return copied, sqlite_contents(copied)


def _identity(place: Place, copied: Path) -> tuple[str | None, str | None]:
    """Market and revision: of the copy where it is a file."""
    engine = engines.make_engine(
        place.url.render_as_string(hide_password=False) if place.path is None else f"sqlite:///{copied}"
    )
    try:
        revision = engines.current_revision(engine)
        if revision is None:
            return None, None
        with engines.read_transaction(engine, schema.warehouse_identity.name) as connection:
            return connection.execute(sa.select(schema.warehouse_identity.c.market)).scalar(), revision
    finally:
        engine.dispose()


def _collect_dagster(parts: Path, warehouse: Place, programs: Path | None) -> tuple[str, dict[str, TableContent]]:
    """Copy Dagster's storage, and tell its kind and tables: none where they are in the warehouse's database."""
    place = dagster_place()
    if place.path is None:
        if warehouse.path is None and _server(place.url) == _server(warehouse.url):
            return place.kind, {}
        return place.kind, _copy(place, parts / archives.DAGSTER / "storage", programs)[1]
    for path in _dagster_files(place.path):
        copy_sqlite(path, parts / archives.DAGSTER / path.relative_to(place.path))
    return place.kind, {}


def _server(url: sa.URL) -> tuple[str, int, str | None]:
    """Where a database is, in one spelling; libpq asks PGHOST where the URL names no host."""
    return str(url.query.get("host") or url.host or os.environ.get("PGHOST", "")), url.port or 5432, url.database


# --- restore -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Dumped:
    """A database on a server, the part that goes into it, and what it holds then."""

    database: PostgresTables
    part: str
    tables: Mapping[str, TableContent]


def restore(file: Path, destroy: str | None, console: Console, *, is_json: bool) -> int:
    """Put the backup back, or change nothing; returns the exit code."""
    settings = load_settings()
    with Journal(settings.state_path.resolve()) as journal:
        if journal.is_interrupted:
            words = "what it put back is in place" if journal.is_decided else "what it had replaced is back"
            _end(journal, settings)
            console.print(f"an earlier restore was interrupted: {words}")
        try:
            parts = journal.make_stage()
            manifest = archives.unpack_archive(file, parts)
            _require_fitting(file, manifest, settings)
            dumped = _dumped(settings, manifest)
            _require_destroyable(settings, dumped, destroy, is_with_dagster=manifest.dagster is not None)
            if not _is_server(settings):
                _require_equal(manifest.tables, sqlite_contents(parts / "warehouse.sqlite"))
            pairs = _pairs(settings, manifest, parts)
            begun = journal.begin(list(dumped), [target for _, target in pairs])
            for one in dumped.values():
                one.database.put(parts / one.part, begun.mark)
                _require_equal(one.tables, one.database.contents())
            put_files(pairs)
            journal.decide()
        except OSError as error:
            raise ConfigurationError(
                f"{error.filename or settings.state_path} cannot be written: {error.strerror or error}; nothing is "
                f"changed: make room or give rights there, and restore again"
            ) from error
        finally:
            _end(journal, settings)
    _tell_restored(file, manifest, console, is_json=is_json)
    return 0


def _end(journal: Journal, settings: Settings) -> None:
    """Undo what was begun, or finish what was decided; may be repeated, and forgets nothing that is not yet so."""
    if journal.is_interrupted:
        is_decided, begun = journal.is_decided, journal.read()
        for name in begun.databases:
            database = _database(name, settings)
            (database.keep if is_decided else database.undo)(begun.mark)
        (keep_files if is_decided else undo_files)(begun.places)
    journal.forget()


def _database(name: str, settings: Settings) -> PostgresTables:
    """A database on a server, by what it is for."""
    place = warehouse_place(settings) if name == archives.WAREHOUSE else dagster_place()
    return PostgresTables(place.url, settings.pg_bin)


def _dumped(settings: Settings, manifest: Manifest) -> dict[str, Dumped]:
    """Databases on a server that the backup holds, by what they are for, the warehouse first."""
    found = {}
    if _is_server(settings):
        warehouse = _database(archives.WAREHOUSE, settings)
        found[archives.WAREHOUSE] = Dumped(warehouse, "warehouse.dump", manifest.tables)
    if manifest.dagster == "postgresql" and manifest.dagster_tables:
        storage = _database(archives.DAGSTER, settings)
        found[archives.DAGSTER] = Dumped(storage, "dagster/storage.dump", manifest.dagster_tables)
    return found


def _is_server(settings: Settings) -> bool:
    return warehouse_place(settings).path is None


def _require_fitting(file: Path, manifest: Manifest, settings: Settings) -> None:
    """ConfigurationError for a backup of another market, kind of database or unknown revision."""
    place = warehouse_place(settings)
    if manifest.market != settings.warehouse_market:
        raise ConfigurationError(
            f"{file} is of the market {manifest.market}, this installation is of {settings.warehouse_market}: give "
            f"--market, and the state folder or database of that market"
        )
    if manifest.database != place.kind:
        raise ConfigurationError(
            f"{file} is of {manifest.database}, this installation's warehouse is {place.kind}: name a database of that "
            f"kind with DEFIYIELD_DATABASE_URL"
        )
    if not engines.is_known_revision(manifest.revision):
        raise ConfigurationError(
            f"{file} is at revision {manifest.revision}, which this program does not know: it was made by a newer one "
            f"({manifest.program}); restore it with that"
        )
    if manifest.dagster is not None and manifest.dagster != dagster_place().kind:
        raise ConfigurationError(
            f"{file} holds Dagster's storage of {manifest.dagster}, and DAGSTER_HOME names another kind"
        )


def _require_destroyable(
    settings: Settings, dumped: Mapping[str, Dumped], destroy: str | None, *, is_with_dagster: bool
) -> None:
    """ConfigurationError where something would be lost that nobody gave up, or where somebody is at work."""
    place = warehouse_place(settings)
    for one in dumped.values():
        one.database.require_ready()
    if place.path is None:
        rows = dumped[archives.WAREHOUSE].database.count_rows()
    else:
        require_unused(place.path)
        rows = rows_of_file(place.path)
    require_unused(settings.chain_path)
    runs = _dagster_runs(dumped) if is_with_dagster else 0
    if destroy is not None and destroy != place.name:
        raise ConfigurationError(f"--destroy {destroy!r:.80} is not the warehouse here, which is {place.name}")
    if destroy is None and (rows or runs or settings.chain_path.exists()):
        kept = [f"{rows:,} rows of the warehouse {place.name}"] if rows else []
        kept += [f"{runs:,} runs of Dagster"] if runs else []
        kept += [f"the simulated chain {settings.chain_path.name}"] if settings.chain_path.exists() else []
        raise ConfigurationError(
            f"here is {', '.join(kept)}; a restore gives up all of it, with the reports and the files of the "
            f"configuration beside them: say so with --destroy {place.name}"
        )


def _dagster_runs(dumped: Mapping[str, Dumped]) -> int:
    """Runs of Dagster that a restore of its storage would destroy; ConfigurationError where it is at work."""
    folder = dagster_place().path
    if folder is None:
        return dumped[archives.DAGSTER].database.count_rows("runs") if archives.DAGSTER in dumped else 0
    for path in _dagster_files(folder):
        require_unused(path)
    return rows_of_file(folder / "history/runs.db", "runs")


def _dagster_files(folder: Path) -> list[Path]:
    """Databases of Dagster's storage in SQLite."""
    return [path for name in DAGSTER_FOLDERS for path in sorted((folder / name).rglob("*.db"))]


def _require_equal(wanted: Mapping[str, TableContent], found: Mapping[str, TableContent]) -> None:
    """SuspiciousDataError when tables are not what the manifest says."""
    told = differences(wanted, found)
    if told:
        raise SuspiciousDataError(
            f"what was put back is not what the backup says, and was taken away again: {'; '.join(told[:5])}"
            f"{f' and {len(told) - 5} more' if len(told) > 5 else ''}"
        )


def _pairs(settings: Settings, manifest: Manifest, parts: Path) -> list[tuple[Path | None, Path]]:
    """Parts and where they belong; None for what is only taken away."""

    def part(name: str) -> Path | None:
        return parts / name if (parts / name).exists() else None

    pairs = [(part(archives.REPORTS), settings.reports_path), (part(archives.CONFIG), settings.own_config_path)]
    files = [(part(archives.CHAIN), settings.chain_path)]
    place = warehouse_place(settings)
    if place.path is not None:
        files.append((parts / "warehouse.sqlite", place.path))
    if manifest.dagster == "sqlite" and (folder := dagster_place().path) is not None:
        pairs += [(part(f"{archives.DAGSTER}/{name}"), folder / name) for name in DAGSTER_FOLDERS]
    pairs += files
    pairs += [(None, target.with_name(target.name + ending)) for _, target in files for ending in SQLITE_LOGS]
    return [(source, target.absolute()) for source, target in pairs]


# --- told ----------------------------------------------------------------------------------------------------------
def _facts(manifest: Manifest) -> dict[str, object]:
    return {
        "market": manifest.market,
        "revision": manifest.revision,
        "database": manifest.database,
        "dagster": manifest.dagster,
        "tables": len(manifest.tables),
        "rows": manifest.rows,
        "made_at": manifest.made_at,
    }


def _tell(manifest: Manifest, console: Console) -> None:
    beside = {part.name.split("/")[0] for part in manifest.parts}
    names = {"chain.sqlite": "the simulated chain", "reports": "reports", "config": "configuration files"}
    names["dagster"] = "Dagster's storage"
    others = ", ".join(words for name, words in names.items() if name in beside)
    held = f"{manifest.rows:,} rows in {len(manifest.tables)} tables{f', with {others}' if others else ''}"
    console.print(f"market {manifest.market}, revision {manifest.revision}: {held}")


def _tell_restored(file: Path, manifest: Manifest, console: Console, *, is_json: bool) -> None:
    if is_json:
        write_json({"file": file, **_facts(manifest)})
        return
    console.print(f"{file} is in place, every table as it says", soft_wrap=True)
    _tell(manifest, console)
    if manifest.revision != engines.head_revision():
        console.print("this program needs another revision: run `defiyield migrate`")
