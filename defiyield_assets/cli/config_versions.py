"""`defiyield config set` and `config versions`: a parameter changed as a version of the policy, versions looked at.

Lives here: reading, drawing, and what the arguments mean. Not here: when a version is written or refused
(config/versions.py), rows of lists (config_edit.py), what a change would do to the plan (config_preview.py).
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import asdict

import sqlalchemy as sa
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from defiyield_assets.cli.config_edit import (
    engine_of_market,
    print_difference,
    tell_written,
    today,
    user_of_machine,
)
from defiyield_assets.cli.output import write_json
from defiyield_assets.cli.tables import print_table
from defiyield_assets.config import changed_files, changes, versions
from defiyield_assets.config.parameters import parameter, shown_value, typed_value
from defiyield_assets.config.versions import Comparison, InForce, Written
from defiyield_assets.domain.reporting.formats import clean
from defiyield_assets.settings import load_settings
from defiyield_assets.store.policy_versions import PolicyVersion, VersionFacts, list_versions, read_version

NUMBERS: Mapping[str, int] = {"list": 0, "show": 1, "compare": 2, "restore": 1}
"""How many versions each verb takes."""
COUNTS = "it counts from the next day that is made, {day}"


def _before(engine: sa.Engine) -> InForce:
    return versions.in_force(engine, changed_files.folder_of_changes(load_settings()))


# --- set -----------------------------------------------------------------------------------------------------------
def set_value(arguments: argparse.Namespace, console: Console) -> int:
    """Write one parameter as a new version; 0 when it was written, or nothing was to change."""
    name, value = arguments.name, typed_value(arguments.name, arguments.value)
    engine = engine_of_market()
    before, said = _before(engine), _said(arguments, engine)
    text = changes.set_parameter(before.files["policy.yaml"], name, value, said)
    what = f"{name} set to {shown_value(value)}"
    is_changed = text != before.files["policy.yaml"]
    difference = changed_files.text_difference("policy.yaml", before.files["policy.yaml"], text)
    written: Written | None = None
    if arguments.dry_run or not is_changed:
        changed_files.check(before.folder, {"policy.yaml": text}, said.day)
    if not arguments.json:
        print_difference(difference, console)
    if is_changed and not arguments.dry_run:
        written = versions.write_version(
            engine,
            before.folder,
            {"policy.yaml": text},
            author=said.author,
            reason=said.reason,
            what=what,
            seen=before.stamp,
            day=said.day,
        )
    if arguments.json:
        told = {"version": written.version if written else None, "found": written.found if written else None}
        write_json({**told, "change": what, "diff": difference, "is_dry_run": arguments.dry_run})
    elif not is_changed:
        console.print(f"nothing changed: {parameter(name).name} is {shown_value(value)} already")
    elif written is None:
        console.print("dry run: nothing was written")
    else:
        tell_written(written, console)
        console.print(COUNTS.format(day=said.day))
    return 0


def _said(arguments: argparse.Namespace, engine: sa.Engine) -> changes.Said:
    day = versions.first_day_of_change(engine, today())
    return changes.Said(arguments.author or user_of_machine(), arguments.reason or "", day)


# --- versions ------------------------------------------------------------------------------------------------------
def look_at_versions(arguments: argparse.Namespace, console: Console) -> int:
    """List, show, compare or restore versions; 0."""
    verb, wanted = arguments.verb or "list", NUMBERS[arguments.verb or "list"]
    if len(arguments.number) != wanted:
        takes = {0: "no number", 1: "the number of a version", 2: "the numbers of two versions"}[wanted]
        raise argparse.ArgumentTypeError(f"{verb} takes {takes}")
    actions: Mapping[str, Callable[[argparse.Namespace, Console], None]] = {
        "list": _list,
        "show": _show,
        "compare": _compare,
        "restore": _restore,
    }
    actions[verb](arguments, console)
    return 0


def _list(arguments: argparse.Namespace, console: Console) -> None:
    engine = engine_of_market()
    before, found = _before(engine), list_versions(engine)
    if arguments.json:
        write_json({"folder": before.folder, "stamp": before.stamp, "drift": before.drift, "versions": found})
        return
    if not found:
        console.print("no version was written yet: `defiyield config set` or the console writes one")
    else:
        print_table(_table(found), console)
    if before.drift:
        console.print(Text(before.drift, style="yellow"), soft_wrap=True)


def _table(found: list[VersionFacts]) -> Table:
    table = Table(title="Versions", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("version", "written", "by", "what", "why"):
        table.add_column(name, justify="right" if name == "version" else "left", overflow="fold")
    for one in found:
        cells = (str(one.version), f"{one.created_at:%Y-%m-%d %H:%M} UTC", one.author, one.what, one.reason)
        table.add_row(*(Text(clean(cell, 300)) for cell in cells))
    return table


def _show(arguments: argparse.Namespace, console: Console) -> None:
    one = read_version(engine_of_market(), arguments.number[0])
    if arguments.json:
        write_json(one)
        return
    for line in _facts(one):
        console.print(Text(line), soft_wrap=True)
    for name, text in one.files.items():
        console.print(Text(f"\n--- {name}", style="bold"))
        for line in text.splitlines():
            console.print(Text(line), soft_wrap=True)


def _facts(one: PolicyVersion) -> list[str]:
    restored = f", from version {one.restored_from}" if one.restored_from else ""
    return [
        f"version {one.version} of {one.created_at:%Y-%m-%d %H:%M:%S} UTC by {clean(one.author, 80)} "
        f"({one.origin}{restored})",
        f"what: {clean(one.what, 300)}",
        f"why:  {clean(one.reason, 300)}",
    ]


def _compare(arguments: argparse.Namespace, console: Console) -> None:
    engine = engine_of_market()
    before, after = (read_version(engine, number) for number in arguments.number)
    told = versions.compare_versions(before, after)
    if arguments.json:
        write_json({"before": before.version, "after": after.version, **asdict(told)})
        return
    print_comparison(told, console)


def print_comparison(told: Comparison, console: Console) -> None:
    """Print parameters, rows and the differences of the files."""
    if not told.diffs:
        console.print("there is no difference")
    for change in told.parameters:
        values = f"{shown_value(change.before)} → {shown_value(change.after)}"
        console.print(Text(f"{change.name}: {clean(values, 300)}"), soft_wrap=True)
    for row in told.rows:
        console.print(Text(f"{row.file} {row.path}: {clean(row.name, 200)} {row.what}"), soft_wrap=True)
    for difference in told.diffs.values():
        console.print()
        print_difference(difference, console)


def _restore(arguments: argparse.Namespace, console: Console) -> None:
    engine = engine_of_market()
    before, said = _before(engine), _said(arguments, engine)
    written = versions.restore_version(
        engine,
        before.folder,
        arguments.number[0],
        author=said.author,
        reason=said.reason,
        seen=before.stamp,
        day=said.day,
    )
    if arguments.json:
        write_json(written)
        return
    for difference in written.diffs.values():
        print_difference(difference, console)
    tell_written(written, console)
    console.print(COUNTS.format(day=said.day))
