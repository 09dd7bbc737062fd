"""What `doctor` and `health` both look at: the warehouse, the disk, Dagster's storage, each with findings and advice.

Lives here: these checks; none changes anything or shows a secret. Not here: what only one of the two looks at
(doctor_checks.py, health_checks.py). Light to import: a probe runs every few seconds.
"""

import os
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
import yaml

from defiyield_assets.addresses import without_secrets
from defiyield_assets.cli.dagster_home import home_folder, is_begun, name_homes, storage_kind
from defiyield_assets.settings import Settings
from defiyield_assets.state_folder import FOR_OTHERS
from defiyield_assets.store import engine as engines
from defiyield_assets.store import schema

GOOD, NOTE, DOUBTFUL, BROKEN = "good", "note", "doubtful", "broken"
"""As it should be; nothing to do; worth a look; does not work."""
LEAST_FREE, COMFORTABLE_FREE = 1 * 2**30, 5 * 2**30
"""Bytes: below the first a day may fail for want of space, a year of a state takes about the second."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what is so, and what to do about it."""

    area: str
    state: str
    what: str
    advice: str = ""


def warehouse(settings: Settings, connect: Callable[[str], sa.Engine] = engines.make_engine) -> list[Finding]:
    """Whether the warehouse answers, is at the newest revision, and is that of this market."""
    url = settings.warehouse_url
    shown = without_secrets(url)
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # ValueError: a port that is no number
        advice = f"right would be {engines.URL_EXAMPLES}"
        return [Finding("database", BROKEN, "DEFIYIELD_DATABASE_URL cannot be read", advice)]
    is_file = parsed.drivername.startswith("sqlite") and bool(parsed.database)
    path = Path(parsed.database or "") if is_file else None
    if path is not None and not path.exists():
        advice = "`defiyield demo`, `defiyield run` or `defiyield migrate` makes it"
        return [Finding("database", NOTE, f"no warehouse yet at {path}", advice)]
    found = [] if path is None else _file_findings(path)
    if any(item.state == BROKEN for item in found):
        return found
    engine = connect(url)
    try:
        revision, head = engines.current_revision(engine), engines.head_revision()
        if revision != head:
            what = f"{shown} is at revision {revision or 'none'}, the program needs {head}"
            advice = f"`defiyield migrate`{'' if is_file else ' as the owner of its tables'} brings it there"
            if revision is not None and not engines.is_known_revision(revision):
                advice = "a newer version of the program made it: install that one, or restore an older backup"
            return [*found, Finding("database", BROKEN, what, advice)]
        found.append(Finding("database", GOOD, f"{shown} answers, at the newest revision {head}"))
        with engines.read_transaction(engine, "the market") as connection:
            owners = connection.execute(sa.select(schema.warehouse_identity.c.market)).scalars().all()
        if owners and list(owners) != [settings.warehouse_market]:
            what = f"it holds the market {', '.join(owners)}, not {settings.warehouse_market}"
            found.append(Finding("database", BROKEN, what, "name another database or state folder for this market"))
    finally:
        engine.dispose()
    return found


def _file_findings(path: Path) -> list[Finding]:
    """What can be seen of an SQLite file without opening it as ours."""
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=2.0)
        try:
            connection.execute("select count(*) from sqlite_master").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        advice = "put a backup in its place, or move it away: days can be run again"
        return [Finding("database", BROKEN, f"{path} cannot be read: {error}", advice)]
    if not os.access(path, os.W_OK):
        return [Finding("database", BROKEN, f"{path} may not be written", "give yourself the right to write it")]
    if path.stat().st_mode & 0o077:
        what = f"others than its owner may read {path}, which holds account data"
        return [Finding("database", DOUBTFUL, what, f"chmod 600 {path}")]
    return []


def disk(settings: Settings) -> list[Finding]:
    """Room and right to write where the state is kept."""
    folder = settings.state_path.resolve()
    place = next(one for one in (folder, *folder.parents) if one.exists())
    free = shutil.disk_usage(place).free
    told = f"{free / 2**30:,.1f} GiB free at {place}"
    advice = "make room, or name another folder with DEFIYIELD_STATE_DIR"
    state = BROKEN if free < LEAST_FREE else DOUBTFUL if free < COMFORTABLE_FREE else GOOD
    found = [Finding("disk", state, told, "" if state == GOOD else advice)]
    if folder.is_dir() and folder.stat().st_mode & FOR_OTHERS:
        what = f"others than its owner may look into {folder}, where Dagster's log tells of accounts"
        found.append(Finding("disk", DOUBTFUL, what, f"chmod 700 {folder}"))
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        found.append(Finding("disk", BROKEN, f"{place} may not be written", advice))
    if place != folder:
        found.append(Finding("disk", NOTE, f"no state folder yet at {folder}", "the first run makes it"))
    return found


def dagster(settings: Settings | None) -> list[Finding]:
    """Dagster's home, its file and its storage; nothing is made that is not there."""
    home = home_folder()
    advice = "leave DAGSTER_HOME out (the checkout's dagster.yaml then counts), or name a folder with a dagster.yaml"
    if not home.is_absolute():
        return [Finding("dagster", BROKEN, f"DAGSTER_HOME={home} is no absolute path", advice)]
    path = home / "dagster.yaml"
    if not path.is_file():
        state = DOUBTFUL if home.is_dir() else BROKEN
        return [Finding("dagster", state, f"{path} is not there", advice)]
    try:
        kind = storage_kind(path)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        return [Finding("dagster", BROKEN, f"{path} cannot be read: {error}", advice)]
    if settings is None:
        return [Finding("dagster", NOTE, f"{path} can be read; storage is not looked at without settings")]
    if not is_begun(kind, settings):
        return [Finding("dagster", GOOD, f"{path} can be read; no run is recorded yet")]
    name_homes(settings)
    import dagster as dg

    try:
        with dg.DagsterInstance.get() as instance:
            runs = instance.get_runs_count()
            current, newest = instance.event_log_storage.alembic_version() or (None, None)
    except Exception as error:  # noqa: BLE001 - whatever its storage raises is the finding
        what = f"Dagster's storage ({kind}) does not answer: {type(error).__name__}: {error}"
        return [Finding("dagster", BROKEN, what, f"look at {path} and at what its storage names")]
    if current != newest:
        what = f"Dagster's storage ({kind}) is at revision {current or 'none'}, this version of Dagster has {newest}"
        return [Finding("dagster", BROKEN, what, "stop what runs, make a backup, then `defiyield migrate`")]
    return [Finding("dagster", GOOD, f"{path}: {kind} storage with {runs:,} runs, at its newest revision")]
