"""Changing the policy's files: a row of a list added or ended, a parameter set, the whole checked, files replaced.

Lives here: which list a kind of row stands in, what a change makes of a file's text, the check of the configuration
with it, and the one stroke in which files are replaced. Not here: how YAML is changed as text (editing.py), versions of
the policy (versions.py), what parameters mean (parameters.py), commands (cli/).
"""

import difflib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NoReturn

import yaml

from defiyield_assets.config import editing
from defiyield_assets.config.files import NATIVE_TOKEN, in_full
from defiyield_assets.config.loader import POLICY_FILES, load_policy
from defiyield_assets.config.reading import MOST_BYTES, SHIPPED
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.settings import Settings
from defiyield_assets.state_folder import make_private

PRIVATE = ("accounts.yaml",)
"""Files that hold account data: only their owner may read them."""
SLUG = re.compile(r"[a-z0-9][a-z0-9._-]*")
"""A protocol as DeFiLlama names it in addresses."""


@dataclass(frozen=True)
class Listed:
    """Where rows of a kind stand, what names one, and which field is its first and its last day.

    `last_counts`: whether the field of the end names the last day in force, or the first one no longer in force.
    """

    file: str
    path: str
    keys: tuple[str, ...]
    first: str | None = None
    end: str | None = None
    last_counts: bool = False
    has_chain: bool = False


KINDS: Mapping[str, Listed] = {
    "token": Listed("tokens.yaml", "approved", ("address",), "added_on", "removed_on", has_chain=True),
    "blacklist": Listed("tokens.yaml", "blacklist", ("address",), "added_on", "removed_on", has_chain=True),
    "protocol": Listed("protocols.yaml", "approved", ("slug",), "added_on", "removed_on"),
    "protocol-alias": Listed("protocols.yaml", "aliases", ("old", "new")),
    "override": Listed("policy.yaml", "pool_overrides", ("pool_id",), "since", "until", last_counts=True),
    "icebox": Listed(
        "policy.yaml", "icebox_overrides", ("address",), "since", "expires", last_counts=True, has_chain=True
    ),
    "alias": Listed("policy.yaml", "pool_aliases", ("old_id", "new_id"), "since"),
}


@dataclass(frozen=True)
class Said:
    """Who wants a change, why, and from which day on."""

    author: str
    reason: str
    day: date

    def __str__(self) -> str:
        return f"{self.day} by {editing.one_line(self.author)}: {editing.one_line(self.reason)}"


@dataclass(frozen=True)
class Change:
    """A file before and after, and what is said about it. `is_new`: the file is not in the folder yet, `before` is the
    shipped text."""

    path: Path
    before: str
    after: str
    what: str
    is_new: bool = False

    @property
    def diff(self) -> str:
        """The difference as `diff -u` tells it."""
        return text_difference(self.path.name, self.before, self.after)


def text_difference(name: str, before: str, after: str, *, now: str = "now", then: str = "changed") -> str:
    """The difference of two texts of a file as `diff -u` tells it; empty where there is none."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{name} {now}", f"{name} {then}", lineterm=""
    )
    return "\n".join(lines)


# --- where files are -----------------------------------------------------------------------------------------------
def named_folder(settings: Settings) -> Path:
    """The folder that changes go into: `config_dir`, else that of the state folder, which may not be there yet.

    ConfigurationError for a `config_dir` that is no folder: what a user named is never made by the way.
    """
    folder = settings.config_dir
    if folder is not None and not folder.is_dir():
        raise ConfigurationError(f"DEFIYIELD_CONFIG_DIR={folder} is no folder: `defiyield config init` makes it")
    return folder or settings.own_config_path


def folder_of_changes(settings: Settings) -> Path:
    """The same; ConfigurationError also for the program's own folder: its files are never changed."""
    folder = named_folder(settings)
    if folder.resolve() == SHIPPED.resolve():
        raise ConfigurationError(
            "DEFIYIELD_CONFIG_DIR names the program's own files: `defiyield config init FOLDER` copies them elsewhere"
        )
    return folder


def read_text(folder: Path, name: str) -> tuple[Path, str, bool]:
    """A file's path in the folder, its text in force, and whether it is there: otherwise the shipped text counts."""
    path = folder / name
    is_there = path.is_file()
    found = path.resolve() if is_there else SHIPPED / name
    try:
        if found.stat().st_size > MOST_BYTES:
            raise ConfigurationError(f"{found}: larger than {MOST_BYTES // 2**20} MiB, which no configuration is")
        text = found.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{found}: cannot be read: {error}") from error
    return found if is_there else path, text, is_there


def planned(folder: Path, name: str, after: str, what: str) -> Change:
    """The change of a file of the folder to another text."""
    path, before, is_there = read_text(folder, name)
    return Change(path, before, after, what, is_new=not is_there)


# --- rows ----------------------------------------------------------------------------------------------------------
def add_listed(
    text: str,
    kind: str,
    keys: Sequence[str],
    said: Said,
    *,
    chain: str = "Ethereum",
    fields: Mapping[str, Any] | None = None,
) -> str:
    """The text of the kind's file with one row more. `keys` name it (an address, a slug, old and new id), `fields` are
    further fields as YAML values. ConfigurationError where the list holds it already."""
    place = KINDS[kind]
    if len(keys) != len(place.keys):
        raise ConfigurationError(f"{kind} takes {' and '.join(place.keys)}, not {len(keys)} words")
    if kind == "protocol" and keys[0].strip() and not SLUG.fullmatch(keys[0].strip()):
        raise ConfigurationError(
            f"{keys[0]!r:.80} is no slug: small letters, digits, '-', '.' and '_', as DeFiLlama spells it"
        )
    key, comment = normal_key(place, keys[0]), f"added {said}"
    if place.first is None:
        _require_new(key in _rows(text, place), key, place)
        if fields:
            raise ConfigurationError("a protocol's alias has no further fields")
        return editing.add_entry(text, place.path, key, keys[1], comment=comment, file=place.file)
    _require_new(any(_is_row(row, place, key, chain) for _, row in rows_in_force(text, kind, said.day)), key, place)
    row: dict[str, Any] = {"chain": chain} if place.has_chain else {}
    row |= dict(zip(place.keys, [key, *keys[1:]], strict=True))
    row[place.first] = said.day
    author, reason = editing.one_line(said.author), editing.one_line(said.reason)
    if place.path == "icebox_overrides":
        row["reason"] = f"{reason} ({author})"
    elif place.file == "policy.yaml":
        row["source"] = f"{author}: {reason}"
    return editing.add_row(text, place.path, {**row, **(fields or {})}, comment, place.file)


def end_listed(text: str, kind: str, key: str, said: Said, *, chain: str = "Ethereum", first: str | None = None) -> str:
    """The text of the kind's file in which a row ends on the day: it stays with that day, or as a comment where rows of
    the kind have no end. `first`: the row's first day, "" for one without; None: of several the last one.
    ConfigurationError naming the nearest row where none is in force."""
    place = KINDS[kind]
    key, comment = normal_key(place, key), f"removed {said}"
    if place.first is None:
        if key not in _rows(text, place):
            raise ConfigurationError(_absent(place, key, sorted(_rows(text, place))))
        return editing.comment_out_entry(text, place.path, key, comment, place.file)
    in_force = rows_in_force(text, kind, said.day)
    meant = [(index, row) for index, row in in_force if _is_row(row, place, key, chain)]
    found = [pair for pair in meant if first is None or first_day_of(pair[1], place) == first]
    if not found:
        since = f" since {first}" if meant and first else ""
        raise ConfigurationError(_absent(place, key, [name_of(row, place) for _, row in in_force], since))
    index, row = next((pair for pair in reversed(found) if pair[1].get(place.keys[0]) is None), found[-1])
    if place.end is None:
        return editing.comment_out_row(text, place.path, index, comment, place.file)
    end = said.day - timedelta(days=1) if place.last_counts else said.day
    begun = row.get(place.first)
    if isinstance(begun, date) and (end < begun or (not place.last_counts and end == begun)):
        return editing.comment_out_row(text, place.path, index, f"{comment}; it was never in force", place.file)
    return editing.end_row(text, place.path, index, field=place.end, day=end, comment=comment, file=place.file)


def set_parameter(text: str, name: str, value: Any, said: Said) -> str:
    """The text of policy.yaml in which a parameter (`gas_units.swap` for one of its parts) has the value."""
    path = ("parameters", *name.split("."))
    return editing.set_value(text, path, value, f"{editing.SET_MARK}{said}", "policy.yaml")


def told_change(kind: str, key: str, day: date, *, is_new: bool) -> str:
    """A row that was added or ended, in words."""
    return f"{kind} {normal_key(KINDS[kind], key)} {'added' if is_new else 'removed'} from {day} on"


def name_of(row: Mapping[str, Any], place: Listed) -> str:
    """What names a row: its address or name; of a token without an address its symbol."""
    name = row.get(place.keys[0])
    return str(row.get("symbol") or "" if name is None else name)


def first_day_of(row: Mapping[str, Any], place: Listed) -> str:
    """The first day of a row as text, "" where it has none."""
    day = row.get(place.first) if place.first else None
    return "" if day is None else str(day)


def normal_key(place: Listed, key: str) -> str:
    """Addresses are kept in lower case; other names as they are."""
    return key.strip().lower() if place.has_chain and key.strip().lower().startswith("0x") else key.strip()


def rows_in_force(text: str, kind: str, day: date) -> list[tuple[int, dict[str, Any]]]:
    """Rows of a kind that are in force on the day or will be, written out, with their places in the list.

    Of a mapping (aliases of protocols) rows are {old, new}, in its order.
    """
    place = KINDS[kind]
    rows = _rows(text, place)
    if place.first is None:
        return list(enumerate(dict(zip(place.keys, pair, strict=True)) for pair in rows.items()))
    found = []
    for index, row in enumerate(rows):
        if isinstance(row, dict):
            end = row.get(place.end) if place.end else None
            is_over = isinstance(end, date) and (end < day if place.last_counts else end <= day)
            if not is_over:
                found.append((index, row))
    return found


def _require_new(is_known: bool, key: str, place: Listed) -> None:
    if is_known:
        raise ConfigurationError(f"{place.file}: {place.path} holds {key} already; remove it first, or edit the file")


def _absent(place: Listed, key: str, names: list[str], since: str = "") -> str:
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]!r}?" if near and not since else ""
    return f"{place.file}: {place.path} holds no {key!r:.80}{since} in force{hint}"


def _rows(text: str, place: Listed) -> Any:
    """What the list holds now, as YAML reads it."""
    try:
        data = in_full(place.file, yaml.safe_load(text))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{place.file}: cannot be read as YAML: {error}") from error
    rows = data.get(place.path) if isinstance(data, dict) else None
    kind: type[Any] = dict if place.first is None else list
    return rows if isinstance(rows, kind) else kind()


def _is_row(row: Mapping[str, Any], place: Listed, key: str, chain: str) -> bool:
    """Whether the row is that of the key; tokens may also be named by their symbol."""
    if place.has_chain and row.get("chain") != chain:
        return False
    names = [row.get(place.keys[0])]
    if place.has_chain and (names == [None] or not (key.startswith("0x") or key == NATIVE_TOKEN)):
        names.append(row.get("symbol"))
    return key.lower() in [str(name).lower() for name in names if name is not None]


# --- the whole -----------------------------------------------------------------------------------------------------
@contextmanager
def trial_folder(folder: Path | None, changed: Mapping[str, str]) -> Iterator[Path]:
    """A folder for the moment with the policy's files as they would be; the files in force stay as they are."""
    with tempfile.TemporaryDirectory(prefix="defiyield-config-") as place:
        trial = Path(place)
        for name in POLICY_FILES:
            if folder is not None and (folder / name).is_file() and name not in changed:
                shutil.copyfile(folder / name, trial / name)
        for name, text in changed.items():
            (trial / name).write_bytes(text.encode("utf-8"))
        yield trial


def check(folder: Path | None, changed: Mapping[str, str], day: date) -> tuple[str, ...]:
    """Load the whole policy of the day with the changed texts, and return what is doubtful; nothing is written.

    ConfigurationError as the loader words it.
    """
    with trial_folder(folder, changed) as trial:
        try:
            return load_policy(day, trial).warnings
        except ConfigurationError as error:
            words = str(error).replace(f"{trial}{os.sep}", "")
            raise ConfigurationError(f"nothing was written, because it would not load: {words}") from error


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else on this machine changes files of the folder meanwhile; it is made, for its owner only, where it is
    not there yet, as the folder above it is; one that is there stays as it is. ConfigurationError where it cannot be,
    and for the program's own files, which are never changed."""
    if folder.resolve() == SHIPPED.resolve():
        raise ConfigurationError(f"{folder} belongs to the program: name another folder with DEFIYIELD_CONFIG_DIR")
    try:
        if not folder.is_dir():
            if not folder.parent.is_dir():
                make_private(folder.parent)
            make_private(folder)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be made or read: {error.strerror}; nothing was written") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def replace_file(change: Change) -> None:
    """Put the new text in the file's place in one stroke; ConfigurationError when somebody else changed it meanwhile.

    A file keeps its mode; a new one is readable by all, account data by the owner only.
    """
    with alone(change.path.parent):
        require_unchanged(change)
        with staged([change]) as put:
            put()


def require_unchanged(change: Change) -> None:
    """ConfigurationError when the file is not what it was when the change was made."""
    is_there = change.path.is_file()
    if is_there == change.is_new or (is_there and _read(change.path) != change.before):
        raise ConfigurationError(
            f"{change.path} was changed by somebody else meanwhile: nothing was written, run it again"
        )


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


class PartlyReplaced(ConfigurationError):  # noqa: N818 - it tells what became of the files
    """Some files were replaced, another could not be, and what had been replaced could not be put back."""


@dataclass(frozen=True)
class _Place:
    """A file with the text that is to take its place; `former` is a copy of the old one, None where there was none."""

    path: Path
    ready: Path
    former: Path | None

    def take_back(self) -> None:
        """As it was before; OSError where it cannot be."""
        if self.former is None:
            self.path.unlink(missing_ok=True)
        else:
            self.former.replace(self.path)


class _Put:
    """New files that lie ready beside the old ones."""

    def __init__(self, places: Sequence[_Place]) -> None:
        self._places = places

    def __call__(self) -> None:
        """Each takes its place, or none does: ConfigurationError where one cannot, PartlyReplaced where those before
        it stay replaced, too."""
        for number, place in enumerate(self._places):
            try:
                place.ready.replace(place.path)
            except OSError as error:
                self._take_back(self._places[:number], f"{place.path} cannot be replaced: {error.strerror}", error)

    @staticmethod
    def _take_back(replaced: Sequence[_Place], words: str, error: OSError) -> NoReturn:
        stuck = []
        for place in reversed(replaced):
            try:
                place.take_back()
            except OSError as worse:
                stuck.append(f"{place.path} has its new text and cannot be put back: {worse.strerror}")
        if stuck:
            raise PartlyReplaced(f"{words}; {'; '.join(stuck)}") from error
        raise ConfigurationError(f"{words}{'; the other files were put back' if replaced else ''}") from error


@contextmanager
def staged(changes: Sequence[Change]) -> Iterator[_Put]:
    """Write the new texts beside their files, on disk, and hand out what puts them in place, all or none.

    Whatever was not put in place is taken away, and so are copies of the old texts, which several files need.
    ConfigurationError, and nothing is left, where the folder cannot be written (a read-only volume, no rights, no
    room).
    """
    made: list[Path] = []

    def beside(change: Change, text: str) -> Path:
        made.append(_beside(change, text))
        return made[-1]

    try:
        places = []
        for change in changes:
            former = None if change.is_new or len(changes) == 1 else beside(change, change.before)
            places.append(_Place(change.path, beside(change, change.after), former))
        yield _Put(places)
    finally:
        for path in made:
            path.unlink(missing_ok=True)


def _beside(change: Change, text: str) -> Path:
    """The text on disk, beside the file that it is going to replace, with that file's mode."""
    path = change.path
    try:
        mode = 0o600 if path.name in PRIVATE else (0o644 if change.is_new else path.stat().st_mode & 0o777)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror}; nothing was changed. Change the file where it comes from, or "
            f"let DEFIYIELD_CONFIG_DIR name a folder that may be written"
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}; nothing was changed") from error
    return Path(name)
