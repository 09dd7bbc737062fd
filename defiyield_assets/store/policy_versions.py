"""Versions of the policy's files: rows that are only ever added, numbered one after the other.

Lives here: SQL of policy_versions. Not here: files (config/changed_files.py), when a version is written
(config/versions.py), rows of the audit log (console_audit.py).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.canonical import canonical_json, content_hash
from defiyield_assets.errors import ConfigurationError, NotFound
from defiyield_assets.store import schema
from defiyield_assets.store.console_audit import Deed, add_deed
from defiyield_assets.store.engine import Readable, read_transaction, write_transaction
from defiyield_assets.store.inserts import insert
from defiyield_assets.store.rows import storable_text, to_rows
from defiyield_assets.store.validation import require_valid

Origin = Literal["console", "files", "restore"]
FACTS = ("version", "created_at", "author", "reason", "origin", "restored_from", "what", "files_hash")
"""Columns that a list of versions shows; the texts themselves are asked for by number."""


@dataclass(frozen=True)
class NewVersion:
    """A version before it has its number. `files`: the texts in force after the change, by name."""

    author: str
    reason: str
    origin: Origin
    what: str
    files: Mapping[str, str]
    restored_from: int | None = None


@dataclass(frozen=True)
class VersionFacts:
    """A version without its texts."""

    version: int
    created_at: datetime
    author: str
    reason: str
    origin: str
    restored_from: int | None
    what: str
    files_hash: str


@dataclass(frozen=True)
class PolicyVersion(VersionFacts):
    """A version with the texts of its files, by name."""

    files: Mapping[str, str]


def hash_of(files: Mapping[str, str]) -> str:
    """Fingerprint (hex) of texts of files by name."""
    return content_hash(dict(files))


def record(
    engine: sa.Engine,
    versions: Sequence[NewVersion],
    seen: int,
    now: datetime,
    deed: Callable[[int], Deed] | None = None,
) -> list[int]:
    """Add versions with the next numbers, all or none; returns the numbers.

    `seen`: the newest number that the caller knows of (0: none). ConfigurationError when there is a newer one: somebody
    else wrote meanwhile. `deed`: the row of the audit log that goes in with them, by the last number.
    """
    table = schema.policy_versions
    names = [table.name] if deed is None else [table.name, schema.console_audit.name]
    with write_transaction(engine, *names) as connection:
        newest = connection.execute(sa.select(sa.func.max(table.c.version))).scalar() or 0
        if newest != seen:
            raise ConfigurationError(
                f"version {newest} of the policy was written meanwhile, and you have seen "
                f"{f'version {seen}' if seen else 'none'}: nothing was written; look at it and say it again"
            )
        rows = [_row(number, one, now) for number, one in enumerate(versions, seen + 1)]
        frame = storable_text(pd.DataFrame(rows, dtype=object))
        require_valid(table, frame)
        insert(connection, table, to_rows(table, frame))
        if deed is not None:
            add_deed(connection, deed(rows[-1]["version"]), now)
    return [row["version"] for row in rows]


def _row(number: int, one: NewVersion, now: datetime) -> dict[str, Any]:
    return {
        "version": number,
        "created_at": now,
        "author": one.author,
        "reason": one.reason,
        "origin": one.origin,
        "restored_from": one.restored_from,
        "what": one.what,
        "files_json": canonical_json(dict(one.files)),
        "files_hash": hash_of(one.files),
    }


def list_versions(engine: Readable, limit: int | None = None) -> list[VersionFacts]:
    """Every version, the newest first, or so many of them."""
    table = schema.policy_versions
    query = sa.select(*(table.c[name] for name in FACTS)).order_by(table.c.version.desc()).limit(limit)
    with read_transaction(engine, table.name) as connection:
        return [VersionFacts(*row) for row in connection.execute(query)]


def read_version(engine: Readable, number: int) -> PolicyVersion:
    """A version with its texts; NotFound naming what there is."""
    table = schema.policy_versions
    query = sa.select(*(table.c[name] for name in FACTS), table.c.files_json).where(table.c.version == number)
    with read_transaction(engine, table.name) as connection:
        row = connection.execute(query).first()
        last = connection.execute(sa.select(sa.func.max(table.c.version))).scalar() or 0
    if row is None:
        there = f"versions are 1 to {last}" if last else "no version was written yet"
        raise NotFound(f"there is no version {number} of the policy: {there}")
    told: dict[str, Any] = dict(row._mapping)
    return PolicyVersion(files=json.loads(told.pop("files_json")), **told)


def newest(engine: Readable) -> VersionFacts | None:
    """The version that was written last; None when there is none yet."""
    found = list_versions(engine, 1)
    return found[0] if found else None
