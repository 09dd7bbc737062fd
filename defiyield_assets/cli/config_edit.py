"""`defiyield config edit lists`: one row of the policy's lists added or ended, or a file changed in an editor.

Lives here: what the arguments mean, the preview, the editor. Not here: what a change makes of a file, its check and the
one stroke in which it is replaced (config/changed_files.py), when a version is written or refused (config/versions.py).
"""

import argparse
import getpass
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml
from rich.console import Console
from rich.text import Text

from defiyield_assets.cli.config_arguments import NO_DAY
from defiyield_assets.cli.output import write_json
from defiyield_assets.config import versions
from defiyield_assets.config.changed_files import Change, check, folder_of_changes, planned, read_text, replace_file
from defiyield_assets.config.changes import KINDS, Said, add_listed, end_listed, told_change
from defiyield_assets.config.editing import one_line
from defiyield_assets.config.versions import InForce, Written
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.settings import load_settings

DIFF_TONES = {"+": "green", "-": "red", "@": "cyan"}


def edit_lists(arguments: argparse.Namespace, console: Console) -> int:
    """Add or end a row, or open an editor; 0 when the file was changed or nothing was to change.

    A file that has versions is changed as a new one.
    """
    folder = folder_of_changes(load_settings())
    _require_use(arguments)
    name = arguments.file if arguments.verb is None else KINDS[arguments.kind].file
    before = versions.in_force(engine_of_market(), folder) if name in versions.VERSIONED else None
    said = Said(arguments.author or user_of_machine(), arguments.reason or "", arguments.first or _first_day(before))
    if arguments.verb is None:
        change = _edited(folder, name, said.day)
    else:
        change = planned_change(folder, arguments, said)
        check(folder, {name: change.after}, said.day)
    is_changed = change.before != change.after
    is_written = is_changed and not arguments.dry_run
    if not arguments.json:
        print_difference(change.diff, console)
    written = _write(folder, name, change, before, said) if is_written else None
    if arguments.json:
        told = {"file": change.path, "change": change.what, "diff": change.diff, "is_written": is_written}
        version = {"version": written.version if written else None, "found": written.found if written else None}
        write_json({**told, **version, "is_dry_run": arguments.dry_run})
    elif not is_changed:
        console.print("nothing changed")
    elif not is_written:
        console.print("dry run: nothing was written")
    else:
        console.print(Text(f"{change.path}: {change.what}"))
        if written is not None:
            tell_written(written, console)
    return 0


def engine_of_market() -> sa.Engine:
    """The migrated warehouse of the market that settings name."""
    return WarehouseResource(market=load_settings().warehouse_market).engine


def today() -> date:
    """The day of the clock."""
    return datetime.now(UTC).date()


def tell_written(written: Written, console: Console) -> None:
    """Say which version was written, and under which the files were recorded that were found."""
    if written.found is not None:
        console.print(f"the files as they were found are version {written.found}")
    console.print(Text(f"version {written.version}: {written.what}"))


def _first_day(before: InForce | None) -> date:
    """The first day of a change where nobody says it; accounts.yaml asks no warehouse."""
    return today() if before is None else versions.first_day_of_change(engine_of_market(), today())


def _write(folder: Path, name: str, change: Change, before: InForce | None, said: Said) -> Written | None:
    """Write the change, as a version where the file has versions."""
    if before is None:
        replace_file(change)
        return None
    return versions.write_version(
        engine_of_market(),
        folder,
        {name: change.after},
        author=said.author,
        reason=said.reason,
        what=change.what,
        seen=before.stamp,
        day=said.day,
    )


def print_difference(difference: str, console: Console) -> None:
    """Print a difference in colours."""
    for line in difference.splitlines():
        console.print(Text(line, style=DIFF_TONES.get(line[:1], "")), soft_wrap=True)


def _require_use(arguments: argparse.Namespace) -> None:
    """ArgumentTypeError for arguments that do not go together; nothing is read yet."""
    is_row = arguments.verb is not None
    if is_row and (arguments.kind is None or not arguments.key):
        raise argparse.ArgumentTypeError(f"{arguments.verb} takes a KIND and a KEY, such as: protocol aave-v4")
    needs_reason = is_row or arguments.file in versions.VERSIONED
    if needs_reason and not (arguments.reason and one_line(arguments.reason)):
        raise argparse.ArgumentTypeError("--reason says why; whoever reads the file later wants to know")
    if arguments.since is not None and arguments.verb != "remove":
        raise argparse.ArgumentTypeError("--since belongs to remove; the first day of a change is --from")
    if not is_row:
        return
    place = KINDS[arguments.kind]
    needed = len(place.keys) if arguments.verb == "add" else 1
    if len(arguments.key) != needed:
        told = " and ".join(place.keys[:needed])
        raise argparse.ArgumentTypeError(
            f"{arguments.verb} {arguments.kind} takes {told}, not {len(arguments.key)} words"
        )
    if arguments.verb == "remove" and arguments.fields:
        raise argparse.ArgumentTypeError("--set belongs to add: a row that is removed only gets its last day")


def planned_change(folder: Path, arguments: argparse.Namespace, said: Said) -> Change:
    """What `add` or `remove` makes of the file; nothing is written yet."""
    place, is_new = KINDS[arguments.kind], arguments.verb == "add"
    _, text, _ = read_text(folder, place.file)
    if is_new:
        fields = told_fields(arguments.fields)
        after = add_listed(text, arguments.kind, arguments.key, said, chain=arguments.chain, fields=fields)
    else:
        first = None if arguments.since is None else "" if arguments.since == NO_DAY else str(arguments.since)
        after = end_listed(text, arguments.kind, arguments.key[0], said, chain=arguments.chain, first=first)
    return planned(folder, place.file, after, told_change(arguments.kind, arguments.key[0], said.day, is_new=is_new))


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


def _edited(folder: Path, name: str, day: date) -> Change:
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
        check(folder, {name: change.after}, day)
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the edited text is no UTF-8: nothing was written; your copy: {draft}") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}\nyour copy: {draft}") from error
    copy.unlink()
    return change
