"""Arguments of `defiyield config`.

Lives here: the parsers and the dispatch, light to import and before settings are read. Not here: what the commands do
(config.py, config_edit.py).
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from defiyield_assets.cli.parsers import Commands, Day, Parents, command

if TYPE_CHECKING:
    from rich.console import Console

CONFIG = """The settings of this installation and the files of its policy. The program's own
files are never changed: `config init` copies them into the folder that
DEFIYIELD_CONFIG_DIR names."""
SHOW = """Every setting as it is in force, where it comes from, and which file of the
configuration is read. Secrets are only said to be set."""
VALIDATE = """Read the settings and every configuration file, and tell all that is wrong with
file, line, key and what would be right. Exit code 2: something is wrong."""
EDIT = """Change the lists of the configuration: approved tokens and protocols, the
blacklist, overrides and aliases. With `add` or `remove` the change is shown as
a difference, checked as a whole, and written in one stroke; who did it and why
stands beside the row, and what is removed stays with the day of its end.
Without them $EDITOR opens a copy of --file, which takes the file's place once
it is right."""
KINDS = ("token", "protocol", "blacklist", "override", "icebox", "alias", "protocol-alias")
FILES = ("tokens.yaml", "protocols.yaml", "policy.yaml", "accounts.yaml")


def add_arguments(commands: Commands, parents: Parents, day: Day) -> None:
    """`config show`, `validate`, `init` and `edit lists`."""
    group = command(
        commands,
        "config",
        "show, check and change the configuration",
        description=CONFIG,
        examples=["defiyield config show", "defiyield config validate"],
    )
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    command(
        actions,
        "show",
        "every setting in force, and where it comes from",
        parents=parents,
        description=SHOW,
        examples=["defiyield config show", "defiyield config show --json"],
    )
    checked = command(
        actions,
        "validate",
        "check settings and files",
        parents=parents,
        description=VALIDATE,
        examples=["defiyield config validate", "defiyield config validate --date 2025-06-03"],
    )
    checked.add_argument("--date", type=day, metavar="D", help="day whose policy is loaded; default: today")
    made = command(
        actions,
        "init",
        "copy the shipped files into a folder of your own",
        parents=parents,
        examples=["defiyield config init my-config", "defiyield config init my-config --all"],
    )
    made.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="default: DEFIYIELD_CONFIG_DIR")
    made.add_argument(
        "--all", action="store_true", help="instruments, scenarios and the others too; default: the policy's four files"
    )
    edited = command(
        actions,
        "edit",
        "change lists, by a row or in an editor",
        description=EDIT,
        examples=["defiyield config edit lists --file tokens.yaml"],
    )
    _add_edit(edited.add_subparsers(dest="subject", required=True, metavar="WHAT"), parents, day)


def _add_edit(subjects: Commands, parents: Parents, day: Day) -> None:
    parser = command(
        subjects,
        "lists",
        "tokens, protocols, blacklist, overrides, aliases",
        parents=parents,
        description=EDIT,
        examples=[
            'defiyield config edit lists add protocol aave-v4 --reason "audited" --dry-run',
            'defiyield config edit lists remove protocol goldfinch --reason "losses"',
            'defiyield config edit lists add override 43641cf5 --set exit_days=3 --reason "queue"',
            "defiyield config edit lists --file tokens.yaml  # opens $EDITOR",
        ],
    )
    parser.add_argument(
        "verb", nargs="?", choices=["add", "remove"], metavar="VERB", help="add or remove; default: open $EDITOR"
    )
    parser.add_argument("kind", nargs="?", choices=KINDS, metavar="KIND", help=f"{', '.join(KINDS)}; default: none")
    parser.add_argument(
        "key",
        nargs="*",
        metavar="KEY",
        help="slug, address, pool id, or old and new id of an alias; default: none",
    )
    parser.add_argument(
        "--set",
        dest="fields",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a field of the new row, as YAML reads it; may be given often; default: the fields' own defaults",
    )
    parser.add_argument("--chain", default="Ethereum", metavar="NAME", help="chain of a token; default: Ethereum")
    parser.add_argument("--reason", metavar="TEXT", help="why; required with add and remove; default: none")
    parser.add_argument("--author", metavar="NAME", help="who; default: the user of this machine")
    parser.add_argument(
        "--from", dest="first", type=day, metavar="D", help="first day of the change; default: today (UTC)"
    )
    parser.add_argument(
        "--file",
        choices=FILES,
        default="tokens.yaml",
        metavar="FILE",
        help=f"what $EDITOR opens, of {', '.join(FILES)}; default: tokens.yaml",
    )
    parser.add_argument("--dry-run", action="store_true", help="only show the difference; default: write it")


def run_command(arguments: argparse.Namespace, console: "Console") -> int:
    """Run a command; returns the exit code."""
    if arguments.action == "edit":
        from defiyield_assets.cli import config_edit

        return config_edit.edit_lists(arguments, console)
    from defiyield_assets.cli import config

    if arguments.action == "show":
        return config.show_settings(arguments, console)
    if arguments.action == "init":
        return config.copy_shipped(arguments.folder, console, is_all=arguments.all, is_json=arguments.json)
    return config.validate(arguments.date, console, is_json=arguments.json)
