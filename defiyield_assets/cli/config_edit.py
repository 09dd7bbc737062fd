"""`defiyield config edit lists`: one row of the policy's lists added or ended, or a file changed in an editor.

Lives here: which list a kind of row stands in, the preview, the check of the whole configuration, and the one stroke in
which a file is replaced. Not here: how a YAML file is changed as text (config/editing.py), the schema of rows
(config/files.py), settings and validation as commands (config.py).
"""

import argparse
import difflib
import getpass
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.text import Text

from defiyield_assets.cli.output import write_json
from defiyield_assets.config import editing
from defiyield_assets.config.files import NATIVE_TOKEN, in_full
from defiyield_assets.config.loader import POLICY_FILES, load_policy
from defiyield_assets.config.reading import SHIPPED
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.settings import load_settings

PRIVATE = ("accounts.yaml",)
"""Files that hold account data: only their owner may read them."""
SLUG = re.compile(r"[a-z0-9][a-z0-9._-]*")
"""A protocol as DeFiLlama names it in addresses."""
DIFF_TONES = {"+": "green", "-": "red", "@": "cyan"}


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
class Change:
    """A file before and after, and what is said about it."""

    path: Path
    before: str
    after: str
    what: str

    @property
    def diff(self) -> str:
        """The difference as `diff -u` tells it."""
        name = self.path.name
        lines = difflib.unified_diff(
            self.before.splitlines(), self.after.splitlines(), f"{name} now", f"{name} changed", lineterm=""
        )
        return "\n".join(lines)


def edit_lists(arguments: argparse.Namespace, console: Console) -> int:
    """Add or end a row, or open an editor; 0 when the file was changed or nothing was to change."""
    folder = own_folder()
    change = _edited(folder, arguments.file) if arguments.verb is None else planned_change(folder, arguments)
    check(folder, change)
    is_changed = change.before != change.after
    is_written = is_changed and not arguments.dry_run
    if not arguments.json:
        for line in change.diff.splitlines():
            console.print(Text(line, style=DIFF_TONES.get(line[:1], "")), soft_wrap=True)
    if is_written:
        replace_file(change)
    if arguments.json:
        told = {"file": change.path, "change": change.what, "diff": change.diff, "is_written": is_written}
        write_json({**told, "is_dry_run": arguments.dry_run})
    elif not is_changed:
        console.print("nothing changed")
    elif is_written:
        console.print(Text(f"{change.path}: {change.what}"))
    else:
        console.print("dry run: nothing was written")
    return 0


def own_folder() -> Path:
    """The user's configuration folder; the program's own files are never changed."""
    folder = load_settings().config_dir
    if folder is None:
        raise ConfigurationError(
            "the shipped files are the program's and are never changed: run `defiyield config init FOLDER` and set "
            "DEFIYIELD_CONFIG_DIR to that folder"
        )
    if not folder.is_dir():
        raise ConfigurationError(f"DEFIYIELD_CONFIG_DIR={folder} is no folder: `defiyield config init` makes it")
    if folder.resolve() == SHIPPED.resolve():
        raise ConfigurationError(
            "DEFIYIELD_CONFIG_DIR names the program's own files: `defiyield config init FOLDER` copies them elsewhere"
        )
    return folder


def read_own(folder: Path, name: str) -> tuple[Path, str]:
    """One of the user's files; ConfigurationError when only the shipped one is there."""
    path = folder / name
    if not path.is_file():
        raise ConfigurationError(
            f"{path} is not there, so the shipped {name} counts: `defiyield config init` copies it into your folder"
        )
    try:
        return path.resolve(), path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from error


def planned_change(folder: Path, arguments: argparse.Namespace) -> Change:
    """What `add` or `remove` makes of the file; nothing is written yet."""
    if arguments.kind is None or not arguments.key:
        raise argparse.ArgumentTypeError(f"{arguments.verb} takes a KIND and a KEY, such as: protocol aave-v4")
    if not (arguments.reason and editing.one_line(arguments.reason)):
        raise argparse.ArgumentTypeError("--reason says why; whoever reads the file later wants to know")
    place = KINDS[arguments.kind]
    needed = len(place.keys) if arguments.verb == "add" else 1
    if len(arguments.key) != needed:
        told = " and ".join(place.keys[:needed])
        raise argparse.ArgumentTypeError(
            f"{arguments.verb} {arguments.kind} takes {told}, not {len(arguments.key)} words"
        )
    if arguments.verb == "remove" and arguments.fields:
        raise argparse.ArgumentTypeError("--set belongs to add: a row that is removed only gets its last day")
    slug = arguments.key[0].strip() if arguments.verb == "add" and arguments.kind == "protocol" else ""
    if slug and not SLUG.fullmatch(slug):
        raise argparse.ArgumentTypeError(
            f"{arguments.key[0]!r:.80} is no slug: small letters, digits, '-', '.' and '_', as DeFiLlama spells it"
        )
    path, text = read_own(folder, place.file)
    day = arguments.first or datetime.now(UTC).date()
    author = editing.one_line(arguments.author or _user())
    said = f"{day} by {author}: {editing.one_line(arguments.reason)}"
    key = _normal(place, arguments.key[0])
    if arguments.verb == "add":
        after = _added(
            place, text, [key, *arguments.key[1:]], arguments, day=day, author=author, comment=f"added {said}"
        )
    else:
        after = _ended(place, text, key, arguments, day=day, comment=f"removed {said}")
    return Change(path, text, after, f"{arguments.kind} {key} {'added' if arguments.verb == 'add' else 'removed'}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _normal(place: Listed, key: str) -> str:
    """Addresses are kept in lower case; other names as they are."""
    return key.strip().lower() if place.has_chain and key.strip().lower().startswith("0x") else key.strip()


def _added(
    place: Listed, text: str, keys: list[str], arguments: argparse.Namespace, *, day: date, author: str, comment: str
) -> str:
    fields = _fields(arguments.fields)
    if place.first is None:
        _require_new(keys[0] in _rows(text, place), keys[0], place)
        if fields:
            raise argparse.ArgumentTypeError("a protocol's alias has no further fields")
        return editing.add_entry(text, place.path, keys[0], keys[1], comment=comment, file=place.file)
    is_known = any(_is_row(row, place, keys[0], arguments.chain) for _, row in _in_force(text, place, day))
    _require_new(is_known, keys[0], place)
    row: dict[str, Any] = {"chain": arguments.chain} if place.has_chain else {}
    row |= dict(zip(place.keys, keys, strict=True))
    row[place.first] = day
    if place.path == "icebox_overrides":
        row["reason"] = f"{editing.one_line(arguments.reason)} ({author})"
    elif place.file == "policy.yaml":
        row["source"] = f"{author}: {editing.one_line(arguments.reason)}"
    return editing.add_row(text, place.path, {**row, **fields}, comment, place.file)


def _require_new(is_known: bool, key: str, place: Listed) -> None:
    if is_known:
        raise ConfigurationError(f"{place.file}: {place.path} holds {key} already; remove it first, or edit the file")


def _ended(place: Listed, text: str, key: str, arguments: argparse.Namespace, *, day: date, comment: str) -> str:
    if place.first is None:
        if key not in _rows(text, place):
            raise ConfigurationError(_absent(place, key, sorted(_rows(text, place))))
        return editing.comment_out_entry(text, place.path, key, comment, place.file)
    found = [(index, row) for index, row in _in_force(text, place, day) if _is_row(row, place, key, arguments.chain)]
    if not found:
        names = [str(row.get(place.keys[0])) for _, row in _in_force(text, place, day)]
        raise ConfigurationError(_absent(place, key, names))
    index, row = found[-1]
    if place.end is None:
        return editing.comment_out_row(text, place.path, index, comment, place.file)
    end = day - timedelta(days=1) if place.last_counts else day
    begun = row.get(place.first)
    if isinstance(begun, date) and (end < begun or (not place.last_counts and end == begun)):
        return editing.comment_out_row(text, place.path, index, f"{comment}; it was never in force", place.file)
    return editing.end_row(text, place.path, index, field=place.end, day=end, comment=comment, file=place.file)


def _absent(place: Listed, key: str, names: list[str]) -> str:
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{place.file}: {place.path} holds no {key!r:.80} in force{hint}"


def _rows(text: str, place: Listed) -> Any:
    """What the list holds now, as YAML reads it."""
    try:
        data = in_full(place.file, yaml.safe_load(text))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{place.file}: cannot be read as YAML: {error}") from error
    rows = data.get(place.path) if isinstance(data, dict) else None
    kind: type[Any] = dict if place.first is None else list
    return rows if isinstance(rows, kind) else kind()


def _in_force(text: str, place: Listed, day: date) -> list[tuple[int, dict[str, Any]]]:
    """Rows that are in force on the day or will be, with their places."""
    found = []
    for index, row in enumerate(_rows(text, place)):
        if isinstance(row, dict):
            end = row.get(place.end) if place.end else None
            is_over = isinstance(end, date) and (end < day if place.last_counts else end <= day)
            if not is_over:
                found.append((index, row))
    return found


def _is_row(row: Mapping[str, Any], place: Listed, key: str, chain: str) -> bool:
    """Whether the row is that of the key; tokens may also be named by their symbol."""
    if place.has_chain and row.get("chain") != chain:
        return False
    names = [row.get(place.keys[0])]
    if place.has_chain and not key.startswith("0x") and key != NATIVE_TOKEN:
        names.append(row.get("symbol"))
    return key.lower() in [str(name).lower() for name in names if name is not None]


def _fields(told: list[str]) -> dict[str, Any]:
    """`--set name=value` as YAML reads the value."""
    fields: dict[str, Any] = {}
    for item in told:
        name, found, value = item.partition("=")
        if not found or not name.isidentifier():
            raise argparse.ArgumentTypeError(f"--set {item!r:.80} is not NAME=VALUE")
        try:
            fields[name] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise argparse.ArgumentTypeError(f"--set {item!r:.80} is no value that YAML reads") from error
    return fields


def check(folder: Path, change: Change) -> None:
    """Load the whole policy with the changed file; ConfigurationError as the loader words it, nothing written."""
    with tempfile.TemporaryDirectory(prefix="defiyield-config-") as place:
        trial = Path(place)
        for name in POLICY_FILES:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, trial / name)
        (trial / change.path.name).write_text(change.after, encoding="utf-8")
        try:
            load_policy(datetime.now(UTC).date(), trial)
        except ConfigurationError as error:
            words = str(error).replace(f"{trial}{os.sep}", "")
            raise ConfigurationError(f"nothing was written, because it would not load: {words}") from error


def replace_file(change: Change) -> None:
    """Put the new text in the file's place in one stroke, readable by whom it was; account data by the owner only."""
    path = change.path
    if path.read_bytes().decode("utf-8", "replace") != change.before:
        raise ConfigurationError(f"{path} was changed by somebody else meanwhile: nothing was written, run it again")
    mode = 0o600 if path.name in PRIVATE else path.stat().st_mode & 0o777
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(change.after.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        Path(name).unlink(missing_ok=True)


def _edited(folder: Path, name: str) -> Change:
    """What $EDITOR makes of a copy of the file; the copy stays where it is when it does not load."""
    path, before = read_own(folder, name)
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "")
    if not command:
        raise ConfigurationError("set EDITOR to your editor's command, or say what to do: `add` or `remove`, KIND, KEY")
    handle, draft = tempfile.mkstemp(prefix="defiyield-", suffix=f"-{name}")
    os.close(handle)
    copy = Path(draft)
    copy.write_text(before, encoding="utf-8")
    try:
        ended = subprocess.run([*command, draft], check=False)  # noqa: S603 - the user's own editor
    except OSError as error:
        copy.unlink()
        raise ConfigurationError(f"EDITOR={command[0]} cannot be started: {error.strerror}") from error
    if ended.returncode != 0:
        raise ConfigurationError(f"{command[0]} ended with {ended.returncode}: nothing was written; your copy: {draft}")
    try:
        change = Change(path, before, copy.read_bytes().decode("utf-8"), f"edited with {Path(command[0]).name}")
        check(folder, change)
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the edited text is no UTF-8: nothing was written; your copy: {draft}") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}\nyour copy: {draft}") from error
    copy.unlink()
    return change
