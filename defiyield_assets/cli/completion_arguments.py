"""`defiyield completion`: the lines that teach a shell to complete commands, options and choices.

Lives here: the parser and what it prints. Not here: completing itself, which argcomplete does out of the parsers
(main.py).
"""

import argparse
import sys
from typing import TYPE_CHECKING

from defiyield_assets.cli.parsers import Commands, Day, Parents, command

if TYPE_CHECKING:
    from rich.console import Console

SHELLS = ("bash", "zsh")
ABOUT = """Print the lines that let the tab key complete commands, options and choices.
Put the example's line into ~/.bashrc or ~/.zshrc to have it in every shell."""


def add_arguments(commands: Commands, parents: Parents, day: Day) -> None:  # noqa: ARG001 - one form for all modules
    """`completion bash|zsh`."""
    parser = command(
        commands,
        "completion",
        "tab completion for bash and zsh",
        parents=parents,
        description=ABOUT,
        examples=['eval "$(defiyield completion bash)"', 'eval "$(defiyield completion zsh)"'],
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def run_command(arguments: argparse.Namespace, console: "Console") -> int:  # noqa: ARG001 - one form for all modules
    """Print the shell's lines as they are; returns the exit code."""
    from argcomplete.shell_integration import shellcode

    lines = shellcode(["defiyield"], shell=arguments.shell)
    if arguments.json:
        from defiyield_assets.cli.output import write_json

        write_json({"shell": arguments.shell, "code": lines})
    else:
        sys.stdout.write(lines)
    return 0
