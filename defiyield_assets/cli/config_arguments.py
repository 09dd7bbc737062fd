"""Arguments of `defiyield config`.

Lives here: the parsers and the dispatch, light to import and before settings are read. Not here: what the commands do
(config.py, config_edit.py, config_preview.py, config_versions.py).
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from defiyield_assets.cli.parsers import Commands, Day, Parents, command

if TYPE_CHECKING:
    from rich.console import Console

CONFIG = """The settings of this installation and the files of its policy. The program's own
files are never changed: `config init` copies them into the folder that
DEFIYIELD_CONFIG_DIR names; without one, changes are kept in the folder config
of the state folder. `config set`, `config edit lists` and the console write
versions of the policy, with author and reason."""
SHOW = """Every setting as it is in force, where it comes from, and which file of the
configuration is read. Secrets are only said to be set."""
VALIDATE = """Read the settings and every configuration file, and tell all that is wrong with
file, line, key and what would be right. Exit code 2: something is wrong."""
EDIT = """Change the lists of the configuration: approved tokens and protocols, the
blacklist, overrides and aliases. With `add` or `remove` the change is shown as
a difference, checked as a whole, and written in one stroke as a new version;
who did it and why stands beside the row, and what is removed stays with the
day of its end. Without them $EDITOR opens a copy of --file, which takes the
file's place, as a new version, once it is right; only accounts.yaml has none."""
SET = """Change one parameter of the policy. The whole configuration is checked with it;
then the change is recorded as a new version, with author and reason, and the
file is replaced in one stroke. Files that somebody changed by hand since the
last version are recorded first. The change counts from the next day that is
made; `config preview` tells what it would have done to the last one.
Exit code 2: it was refused, and nothing was written."""
PREVIEW = """Judge and plan a planned day again in memory, under other parameters or the
files of another folder, as they will count on the next day that is made, and
tell what would have been different: pools, plan, costs, projected APY. Nothing
is written, nobody is asked."""
VERSIONS = """Versions of the policy's files (policy.yaml, tokens.yaml, protocols.yaml): list
them, show one with its texts, compare two, or put an older one in force as a
new version. accounts.yaml has no versions. A restore brings back rows without
the ends that they got since: made days stay, but one that is made again is made
as if such a row had never ended."""
VERBS = ("list", "show", "compare", "restore")
KINDS = ("token", "protocol", "blacklist", "override", "icebox", "alias", "protocol-alias")
NO_DAY = "none"
"""As --since: the row that has no first day."""
FILES = ("tokens.yaml", "protocols.yaml", "policy.yaml", "accounts.yaml")


def add_arguments(commands: Commands, parents: Parents, day: Day) -> None:
    """`config show`, `validate`, `init`, `edit lists`, `set`, `preview` and `versions`."""
    group = command(
        commands,
        "config",
        "show, check and change the configuration",
        description=CONFIG,
        examples=["defiyield config show", "defiyield config validate", "defiyield config versions"],
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
        examples=['defiyield config edit lists --file tokens.yaml --reason "board of June"'],
    )
    _add_edit(edited.add_subparsers(dest="subject", required=True, metavar="WHAT"), parents, day)
    _add_set(actions, parents)
    _add_preview(actions, parents, day)
    _add_versions(actions, parents)


def _add_set(actions: Commands, parents: Parents) -> None:
    parser = command(
        actions,
        "set",
        "change a parameter, as a new version of the policy",
        parents=parents,
        description=SET,
        examples=[
            'defiyield config set pool_tvl_min_usd 1000000 --reason "small pools are thin"',
            'defiyield config set max_group_share 0.4,0.3,0.2,0 --reason "board of June" --dry-run',
            'defiyield config set gas_units.swap 200000 --author Ada --reason "measured"',
        ],
    )
    parser.add_argument("name", metavar="NAME", help="parameter; a part of gas_units as gas_units.swap")
    parser.add_argument("value", metavar="VALUE", help="its value; of a list, values between commas")
    _add_said(parser)
    parser.add_argument("--dry-run", action="store_true", help="only show the difference; default: write it")


def _add_said(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--author", metavar="NAME", help="who; default: the user of this machine")
    parser.add_argument("--reason", metavar="TEXT", help="why, in one line; required to write; default: none")


def _add_preview(actions: Commands, parents: Parents, day: Day) -> None:
    parser = command(
        actions,
        "preview",
        "what a change of the policy would have done to a day",
        parents=parents,
        description=PREVIEW,
        examples=[
            "defiyield config preview --set pool_tvl_min_usd=5000000",
            "defiyield config preview --set max_pool_share=0.1 --set min_pools=10 --date 2025-06-03",
            "defiyield config preview --folder my-config --json",
        ],
    )
    parser.add_argument(
        "--set",
        dest="values",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter; may be given often; default: none",
    )
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="folder with files of the policy; default: the files in force"
    )
    parser.add_argument("--date", type=day, metavar="D", help="planned day; default: the newest")


def _add_versions(actions: Commands, parents: Parents) -> None:
    parser = command(
        actions,
        "versions",
        "versions of the policy: list, show, compare, restore",
        parents=parents,
        description=VERSIONS,
        examples=[
            "defiyield config versions",
            "defiyield config versions show 2",
            "defiyield config versions compare 1 2",
            'defiyield config versions restore 1 --author Ada --reason "too strict"',
        ],
    )
    parser.add_argument("verb", nargs="?", choices=VERBS, metavar="VERB", help=f"{', '.join(VERBS)}; default: list")
    parser.add_argument("number", nargs="*", type=int, metavar="N", help="number of a version; default: none")
    _add_said(parser)


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
            'defiyield config edit lists --file tokens.yaml --reason "board of June"  # opens $EDITOR',
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
    parser.add_argument("--reason", metavar="TEXT", help="why; required, except for accounts.yaml; default: none")
    parser.add_argument("--author", metavar="NAME", help="who; default: the user of this machine")
    parser.add_argument(
        "--from",
        dest="first",
        type=day,
        metavar="D",
        help="first day of the change; default: after the newest made day, today (UTC) at the latest or without any",
    )
    parser.add_argument(
        "--since",
        type=lambda typed: typed if typed == NO_DAY else day(typed),
        metavar="D",
        help=f"remove, of several rows, the one with this first day, or {NO_DAY}; default: there is one",
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
    if arguments.action in ("set", "versions"):
        from defiyield_assets.cli import config_versions

        run = config_versions.set_value if arguments.action == "set" else config_versions.look_at_versions
        return run(arguments, console)
    if arguments.action == "preview":
        from defiyield_assets.cli import config_preview

        return config_preview.preview(arguments, console)
    from defiyield_assets.cli import config

    if arguments.action == "show":
        return config.show_settings(arguments, console)
    if arguments.action == "init":
        return config.copy_shipped(arguments.folder, console, is_all=arguments.all, is_json=arguments.json)
    return config.validate(arguments.date, console, is_json=arguments.json)
