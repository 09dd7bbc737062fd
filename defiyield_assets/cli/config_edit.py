"""`defiyield config edit lists`: one row of the policy's lists added or ended, or a file changed in an editor.

Lives here: what the arguments mean, the preview, the editor. Not here: what a change makes of a file, its check and the
one stroke in which the file is replaced (config/changes.py), versions with author and reason (config_versions.py).
"""

import argparse
import getpass
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.text import Text

from defiyield_assets.cli.output import write_json
from defiyield_assets.config.changes import (
    KINDS,
    Change,
    Said,
    add_listed,
    check,
    end_listed,
    folder_of_changes,
    normal_key,
    planned,
    read_text,
    replace_file,
)
from defiyield_assets.config.editing import one_line
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.settings import load_settings

DIFF_TONES = {"+": "green", "-": "red", "@": "cyan"}


def edit_lists(arguments: argparse.Namespace, console: Console) -> int:
    """Add or end a row, or open an editor; 0 when the file was changed or nothing was to change."""
    folder = folder_of_changes(load_settings())
    change = _edited(folder, arguments.file) if arguments.verb is None else planned_change(folder, arguments)
    _check(folder, change)
    is_changed = change.before != change.after
    is_written = is_changed and not arguments.dry_run
    if not arguments.json:
        print_difference(change.diff, console)
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


def print_difference(difference: str, console: Console) -> None:
    """Print a difference in colours."""
    for line in difference.splitlines():
        console.print(Text(line, style=DIFF_TONES.get(line[:1], "")), soft_wrap=True)


def _check(folder: Path, change: Change) -> None:
    check(folder, {change.path.name: change.after}, datetime.now(UTC).date())


def planned_change(folder: Path, arguments: argparse.Namespace) -> Change:
    """What `add` or `remove` makes of the file; nothing is written yet."""
    if arguments.kind is None or not arguments.key:
        raise argparse.ArgumentTypeError(f"{arguments.verb} takes a KIND and a KEY, such as: protocol aave-v4")
    if not (arguments.reason and one_line(arguments.reason)):
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
    _, text, _ = read_text(folder, place.file)
    said = Said(arguments.author or user_of_machine(), arguments.reason, arguments.first or datetime.now(UTC).date())
    if arguments.verb == "add":
        fields = told_fields(arguments.fields)
        after = add_listed(text, arguments.kind, arguments.key, said, chain=arguments.chain, fields=fields)
    else:
        after = end_listed(text, arguments.kind, arguments.key[0], said, chain=arguments.chain)
    done = "added" if arguments.verb == "add" else "removed"
    return planned(folder, place.file, after, f"{arguments.kind} {normal_key(place, arguments.key[0])} {done}")


def user_of_machine() -> str:
    """The name of whoever runs the command."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def told_fields(told: Sequence[str]) -> dict[str, Any]:
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


def _edited(folder: Path, name: str) -> Change:
    """What $EDITOR makes of a copy of the file; the copy stays where it is when it does not load."""
    path, before, is_there = read_text(folder, name)
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
        what = f"edited with {Path(command[0]).name}"
        change = Change(path, before, copy.read_bytes().decode("utf-8"), what, is_new=not is_there)
        _check(folder, change)
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the edited text is no UTF-8: nothing was written; your copy: {draft}") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}\nyour copy: {draft}") from error
    copy.unlink()
    return change
