"""Versions of the policy: what is in force, a new version written, an older one restored, two of them compared.

Lives here: the order of check, row and files, and who comes too late. Not here: how files change (changed_files.py),
SQL (store/policy_versions.py), what a change would do to the plan (orchestration/policy_previews.py).

Rows come first, files after them: a crash between the two leaves a version that is recorded and not in force, which
`in_force` and `drift` tell of, and never a change that nobody can be asked about. accounts.yaml has no versions.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml

from defiyield_assets.config import changed_files, changes
from defiyield_assets.config.editing import one_line
from defiyield_assets.config.files import in_full
from defiyield_assets.config.parameters import parameters
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.store import policy_versions as stored
from defiyield_assets.store import reads, schema
from defiyield_assets.store.console_audit import Deed
from defiyield_assets.store.engine import Readable
from defiyield_assets.store.policy_versions import NewVersion, Origin, PolicyVersion, VersionFacts, hash_of

VERSIONED = ("policy.yaml", "tokens.yaml", "protocols.yaml")
LONGEST_AUTHOR = 80
LONGEST_REASON = 300
OF_FILES = "files"
"""Author of what was found in the folder: whoever can write there."""


class NotInForce(ConfigurationError):  # noqa: N818 - it tells what became of the version
    """A version was recorded, and its files did not take their places."""


class NotSaid(ConfigurationError):  # noqa: N818 - it tells what whoever writes left out
    """Author or reason are missing, or too long."""


@dataclass(frozen=True)
class InForce:
    """The texts that the next day is made with, and the newest version that was written."""

    folder: Path
    files: Mapping[str, str]
    newest: VersionFacts | None

    @property
    def files_hash(self) -> str:
        """Fingerprint of the texts."""
        return hash_of(self.files)

    @property
    def stamp(self) -> str:
        """What a writer has seen, for `write_version`: it changes with the newest version and with every file."""
        return f"{self.newest.version if self.newest else 0}-{self.files_hash}"

    @property
    def is_drifted(self) -> bool:
        """Whether the texts are not those of the newest version; without any version they cannot be."""
        return self.newest is not None and self.newest.files_hash != self.files_hash

    @property
    def drift(self) -> str | None:
        """The same in words; None where all is well."""
        if self.newest is None or not self.is_drifted:
            return None
        return (
            f"the files in force in {self.folder} are not those of version {self.newest.version}, the newest "
            f"({self.newest.what}): they were changed by hand, or writing that version was cut off. The next change "
            f"records them first; `defiyield config versions restore {self.newest.version}` puts that version in force"
        )


@dataclass(frozen=True)
class Written:
    """A version that was written. `found`: the version under which the files were recorded as they had been found."""

    version: int
    found: int | None
    what: str
    diffs: Mapping[str, str]


def in_force(engine: Readable, folder: Path) -> InForce:
    """What is in force now. `folder` is that of `changed_files.folder_of_changes`, and may not be there yet."""
    return InForce(folder, texts_in_force(folder), stored.newest(engine))


def first_day_of_change(engine: Readable, today: date) -> date:
    """The day from which a change counts that is written now: the one after the newest day that was made, so that no
    made day changes, and never later than today. Without any made day it is today.

    Days of a simulated or recorded market are not those of the clock.
    """
    made = reads.newest_day(engine, schema.policy_snapshot)
    return today if made is None else min(today, made + timedelta(days=1))


def texts_in_force(folder: Path) -> dict[str, str]:
    """The texts of the files that have versions: the folder's, or the shipped ones where it has none."""
    return {name: changed_files.read_text(folder, name)[1] for name in VERSIONED}


def write_version(
    engine: sa.Engine,
    folder: Path,
    changed: Mapping[str, str],
    *,
    author: str,
    reason: str,
    what: str,
    seen: str,
    now: datetime | None = None,
    origin: Origin = "console",
    restored_from: int | None = None,
    day: date | None = None,
    deed: Callable[[int], Deed] | None = None,
) -> Written:
    """Check the whole configuration with the changed texts, record the new version, and put its files in place.

    `changed`: texts by name of those files that change; `seen`: the `InForce.stamp` on which the change was made;
    `day`: that from which it counts, whose policy is checked (None: today); `deed`: what the audit log is to say of
    the version, by its number, in the same transaction.

    Files that nobody recorded yet are recorded first, so that nothing is lost. ConfigurationError, and nothing is
    written, where author or reason are missing (NotSaid), the configuration would not load, somebody else wrote
    meanwhile, nothing would change, or the folder cannot be written; NotInForce where the version is there, and its
    files are not.
    """
    author, reason = _required("an author", author, LONGEST_AUTHOR), _required("a reason", reason, LONGEST_REASON)
    unknown = sorted(set(changed) - set(VERSIONED))
    if unknown:
        raise ConfigurationError(f"{', '.join(unknown)} has no versions; {', '.join(VERSIONED)} have")
    moment = now or datetime.now(UTC)
    changed_files.check(folder, changed, day or moment.date())
    with changed_files.alone(folder):
        before = in_force(engine, folder)
        _require_seen(before, seen)
        planned = [
            changed_files.planned(folder, name, text, what)
            for name, text in changed.items()
            if text != before.files[name]
        ]
        if not planned:
            raise ConfigurationError("nothing would change: the files in force are the same")
        newest = before.newest.version if before.newest else 0
        versions = [] if before.newest and not before.is_drifted else [_as_found(before)]
        after = {**before.files, **changed}
        versions.append(NewVersion(author, reason, origin, one_line(what), after, restored_from))
        with changed_files.staged(planned) as put:
            numbers = stored.record(engine, versions, newest, moment, deed)
            try:
                put()
            except ConfigurationError as error:
                how = "only partly" if isinstance(error, changed_files.PartlyReplaced) else "not"
                raise NotInForce(f"version {numbers[-1]} is recorded, but {how} in force: {error}") from error
    found = numbers[0] if len(numbers) > 1 else None
    return Written(numbers[-1], found, one_line(what), {change.path.name: change.diff for change in planned})


def restore_version(
    engine: sa.Engine,
    folder: Path,
    number: int,
    *,
    author: str,
    reason: str,
    seen: str,
    now: datetime | None = None,
    day: date | None = None,
) -> Written:
    """Put the files of an older version in force as a new version. NotFound where there is none of that number."""
    old = stored.read_version(engine, number)
    return write_version(
        engine,
        folder,
        old.files,
        author=author,
        reason=reason,
        what=f"version {number} restored",
        seen=seen,
        now=now,
        origin="restore",
        restored_from=number,
        day=day,
    )


def _required(what: str, text: str, longest: int) -> str:
    told = one_line(text)
    if not told:
        raise NotSaid(f"a version needs {what}, in one line: nothing was written")
    if len(" ".join(text.split())) > longest:
        raise NotSaid(f"{what} has at most {longest} characters: nothing was written")
    return told


def _require_seen(before: InForce, seen: str) -> None:
    """ConfigurationError when the policy is not what the change was made on."""
    if before.stamp == seen:
        return
    if before.newest is not None and not seen.startswith(f"{before.newest.version}-"):
        by = f"version {before.newest.version} by {before.newest.author} ({before.newest.what})"
        raise ConfigurationError(
            f"{by} was written meanwhile: nothing was written; look at what is in force and change that"
        )
    raise ConfigurationError(
        f"files in {before.folder} were changed by somebody else meanwhile: nothing was written; look at what is in "
        f"force and change that"
    )


def _as_found(before: InForce) -> NewVersion:
    """The files as they were before the first version, or as somebody left them since the newest one."""
    if before.newest is None:
        what = "as it was before the first version"
    else:
        what = f"found in the folder, other than version {before.newest.version}"
    return NewVersion(OF_FILES, "found before another change was written", "files", what, before.files)


# --- two versions --------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class ParameterChange:
    """A parameter with another value."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True)
class RowChange:
    """What became of a row of a list; `row` as it is afterwards, or was before it went.

    `what`: added, removed, ended, no longer ended, ends on another day, changed.
    """

    file: str
    path: str
    name: str
    what: str
    row: Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """What differs between two sets of files: as text by file, as parameters, and as rows of lists.

    `unreadable`: files of which one text is no YAML; they are compared as text alone.
    """

    diffs: Mapping[str, str]
    parameters: tuple[ParameterChange, ...]
    rows: tuple[RowChange, ...]
    unreadable: tuple[str, ...] = ()


def compare_versions(before: PolicyVersion, after: PolicyVersion) -> Comparison:
    """What changed from one version to another."""
    return compare(before.files, after.files, f"version {before.version}", f"version {after.version}")


def compare(before: Mapping[str, str], after: Mapping[str, str], now: str = "now", then: str = "changed") -> Comparison:
    """What changed from some texts, by name of their files, to others."""
    diffs = {
        name: told
        for name in VERSIONED
        if (told := changed_files.text_difference(name, before.get(name, ""), after.get(name, ""), now=now, then=then))
    }
    data = {name: (_parsed(name, before), _parsed(name, after)) for name in diffs}
    readable = {name: pair for name, pair in data.items() if pair[0] is not None and pair[1] is not None}
    rows = [row for name, (old, new) in readable.items() for row in _rows_changed(name, old or {}, new or {})]
    old, new = readable.get("policy.yaml", ({}, {}))
    return Comparison(
        diffs, tuple(_parameters_changed(old or {}, new or {})), tuple(rows), tuple(set(data) - set(readable))
    )


def _parsed(name: str, files: Mapping[str, str]) -> dict[str, Any] | None:
    """The content of a file; None where it is no mapping of YAML."""
    try:
        data = in_full(name, yaml.safe_load(files.get(name, "")))
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return {} if data is None else data if isinstance(data, dict) else None


def _parameters_changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[ParameterChange]:
    for one in parameters():
        old, new = (_value_at(data, one.name, one.default) for data in (before, after))
        if old != new:
            yield ParameterChange(one.name, old, new)


def _value_at(data: Mapping[str, Any], name: str, default: Any) -> Any:
    place: Any = data.get("parameters")
    for key in name.split("."):
        place = place.get(key) if isinstance(place, dict) else None
    return default if place is None else place


def _rows_changed(file: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[RowChange]:
    """Rows of the file's lists; one is the same when its key and its first day are."""
    for place in changes.KINDS.values():
        if place.file != file:
            continue
        old, new = (_by_identity(data.get(place.path), place) for data in (before, after))
        for key in [*old, *(key for key in new if key not in old)]:
            row, told = new.get(key, old.get(key, {})), " ".join(key[0])
            if key not in old:
                yield RowChange(file, place.path, told, "added", row)
            elif key not in new:
                yield RowChange(file, place.path, told, "removed", row)
            elif old[key] != new[key]:
                yield RowChange(file, place.path, told, _became(old[key], new[key], place.end), row)


def _became(old: Mapping[str, Any], new: Mapping[str, Any], end: str | None) -> str:
    """What became of a row that is there before and after: `end` is the field of its last day."""
    was, is_now = (None if end is None else row.get(end) for row in (old, new))
    if was == is_now:
        return "changed"
    return "ended" if was is None else "no longer ended" if is_now is None else "ends on another day"


def _by_identity(rows: Any, place: changes.Listed) -> dict[tuple[tuple[str, ...], date | None], dict[str, Any]]:
    """Rows by what names them and their first day; a mapping is rows of its names and values."""
    if isinstance(rows, dict):
        rows = [dict(zip(place.keys, pair, strict=True)) for pair in rows.items()]
    found = {}
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict):
            names = (str(row.get("symbol") or ""), *(str(row.get(key)) for key in place.keys))
            found[tuple(name for name in names if name), row.get(place.first) if place.first else None] = row
    return found
