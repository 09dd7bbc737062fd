"""The file of a backup: one zip archive of parts and a manifest that says what they are and what they hold.

Lives here: writing it whole or not at all, reading it with distrust. Not here: where parts come from and go to
(copies.py, files.py, tables.py), the commands (cli/backup.py).
"""

import hashlib
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from defiyield_assets.errors import ConfigurationError, SuspiciousDataError
from defiyield_assets.store.backups.contents import TableContent
from defiyield_assets.store.backups.journal import sync_folder

FORMAT = 1
MANIFEST = "manifest.json"
WAREHOUSE, CHAIN, REPORTS, CONFIG, DAGSTER = "warehouse", "chain.sqlite", "reports", "config", "dagster"
"""First words of the names of parts."""
_MOST_MANIFEST = 64 * 2**20
_PIECE = 2**20
_OWNER_ONLY = 0o600


@dataclass(frozen=True)
class Part:
    """One file of the archive."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a backup is of: `database` and `dagster` are sqlite, postgresql or, where Dagster is left out, None."""

    format: int
    program: str
    made_at: str
    market: str
    revision: str
    database: str
    tables: Mapping[str, TableContent]
    dagster: str | None
    dagster_tables: Mapping[str, TableContent]
    parts: Sequence[Part]

    @property
    def rows(self) -> int:
        """Rows of the warehouse."""
        return sum(content.rows for content in self.tables.values())


def describe_parts(folder: Path) -> list[Part]:
    """Every file below the folder as a part, in the order of names."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [Part(path.relative_to(folder).as_posix(), path.stat().st_size, _sha256(path)) for path in files]


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def write_archive(target: Path, manifest: Manifest, folder: Path) -> None:
    """Pack the parts of `folder`, which lies beside `target`: on disk before it has its name, for its owner only."""
    torn = folder.with_name(f"{folder.name}.zip")
    try:
        with os.fdopen(os.open(torn, os.O_RDWR | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "w+b") as out:
            with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
                archive.writestr(MANIFEST, json.dumps(asdict(manifest), indent=1))
                for part in manifest.parts:
                    is_packed = part.name.endswith((".dump", ".png"))
                    archive.write(folder / part.name, part.name, zipfile.ZIP_STORED if is_packed else None)
            out.flush()
            os.fsync(out.fileno())
        torn.replace(target)
    finally:
        torn.unlink(missing_ok=True)
    sync_folder(target.parent)


def unpack_archive(source: Path, folder: Path) -> Manifest:
    """Check the archive and put its parts into the empty `folder`.

    ConfigurationError for what is no backup of ours, or one of a later program; SuspiciousDataError for a damaged one.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            manifest = _read_manifest(source, archive)
            names = sorted(one.filename for one in archive.infolist())
            if names != sorted([MANIFEST, *(part.name for part in manifest.parts)]):
                raise SuspiciousDataError(f"{source} is damaged: its files are not those that its manifest names")
            for part in manifest.parts:
                with archive.open(part.name) as packed:
                    _unpack(source, packed, part, folder)
    except FileNotFoundError as error:
        raise ConfigurationError(f"there is no file {source}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise SuspiciousDataError(f"{source} is no backup, or a damaged one: {error}") from error
    except OSError as error:
        raise ConfigurationError(f"{source} cannot be unpacked: {error.strerror or error}") from error
    return manifest


def _read_manifest(source: Path, archive: zipfile.ZipFile) -> Manifest:
    try:
        with archive.open(MANIFEST) as packed:
            told: dict[str, Any] = json.loads(packed.read(_MOST_MANIFEST))
        if told["format"] != FORMAT:
            raise ConfigurationError(
                f"{source} has format {told['format']!r:.20}, this program reads {FORMAT}: restore it with the "
                f"version of the program that made it ({told.get('program')!r:.40})"
            )
        manifest = Manifest(
            **{
                **told,
                "tables": _tables(told["tables"]),
                "dagster_tables": _tables(told["dagster_tables"]),
                "parts": [Part(**part) for part in told["parts"]],
            }
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise SuspiciousDataError(f"{source} has no manifest that can be read: it is no backup, or damaged") from error
    for part in manifest.parts:
        _require_safe(source, part.name)
    return manifest


def _tables(told: Mapping[str, Mapping[str, Any]]) -> dict[str, TableContent]:
    return {name: TableContent(**content) for name, content in told.items()}


def _require_safe(source: Path, name: str) -> None:
    """A name that stays below the folder, and begins as parts do; SuspiciousDataError for any other."""
    path = PurePosixPath(name)
    first = path.parts[0] if path.parts else ""
    is_known = first in (CHAIN, REPORTS, CONFIG, DAGSTER) or first.startswith(f"{WAREHOUSE}.")
    if not is_known or path.as_posix() != name or ".." in path.parts or "\\" in name or "\x00" in name:
        raise SuspiciousDataError(f"{source} holds a file {name!r:.80}, which no backup does; nothing was restored")


def _unpack(source: Path, packed: IO[bytes], part: Part, folder: Path) -> None:
    """One part, never more bytes than its manifest says."""
    target = folder / part.name
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), part.bytes
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "wb") as out:
        while left >= 0 and (piece := packed.read(min(_PIECE, left + 1))):
            out.write(piece)
            digest.update(piece)
            left -= len(piece)
    if left or digest.hexdigest() != part.sha256:
        raise SuspiciousDataError(f"{source} is damaged: {part.name} is not what was packed; nothing was restored")


def copy_tree(source: Path, target: Path) -> None:
    """Files of a folder, such as reports; links are left out: what they point to may be anything."""
    for path in sorted(source.rglob("*")):
        if path.is_file() and not path.is_symlink():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
