"""Files and folders that give way to those of a backup, and come back when anything goes wrong.

Lives here: each beside its place, on the same file system, so that every step is one rename; and SQLite files that may
not be replaced. Not here: what was begun and decided (journal.py), tables on a server (tables.py).
"""

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from defiyield_assets.errors import ConfigurationError
from defiyield_assets.store.backups.contents import count_rows
from defiyield_assets.store.backups.journal import Place, sync_folder, sync_tree

SQLITE_LOGS = ("-wal", "-shm", "-journal")
"""Endings of what SQLite keeps beside a file: beside another file it would damage that one."""


def _incoming(target: Path) -> Path:
    return target.with_name(f".restore-new-{target.name}")


def _replaced(target: Path) -> Path:
    return target.with_name(f".restore-old-{target.name}")


def put_files(pairs: Sequence[tuple[Path | None, Path]]) -> None:
    """Each first path takes the place of its second; None leaves that place empty."""
    for source, target in pairs:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source is not None:
            shutil.move(source, _incoming(target))
            sync_tree(_incoming(target))
    for source, target in pairs:
        if target.exists():
            target.rename(_replaced(target))
        if source is not None:
            _incoming(target).rename(target)
    for folder in {target.parent for _, target in pairs}:
        sync_folder(folder)


def undo_files(places: Sequence[Place]) -> None:
    """Everything as it was before `put_files`, however far that came; may be repeated."""
    for place in places:
        target = Path(place.target)
        _remove(_incoming(target))
        if _replaced(target).exists():
            _remove(target)
            _replaced(target).rename(target)
        elif not place.was_there:
            _remove(target)


def keep_files(places: Sequence[Place]) -> None:
    """Destroy what was replaced; may be repeated."""
    for place in places:
        _remove(_replaced(Path(place.target)))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        path.unlink()


def rows_of_file(path: Path, only: str | None = None) -> int:
    """Rows of an SQLite file, as `count_rows`; 1 for one that cannot be read, which somebody may still want."""
    if not path.exists():
        return 0
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            return count_rows(connection, only)
    except sa.exc.DatabaseError:
        return 1


def require_unused(path: Path) -> None:
    """Fold the log of an SQLite file into it; ConfigurationError while another process has the file open."""
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(path, timeout=1.0)) as connection:
            mode = connection.execute("PRAGMA journal_mode=DELETE").fetchone()[0]
    except sqlite3.OperationalError as error:
        mode = str(error)
    except sqlite3.DatabaseError:
        return  # damaged: a restore is what mends it
    if mode != "delete":
        raise ConfigurationError(f"{path} is in use ({mode}): end everything that runs on it, then restore")
