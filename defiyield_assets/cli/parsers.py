"""How the command line is read: parsers that teach, options that all commands share, readers of days and amounts.

Lives here: the parser class (suggestions for what was mistyped, examples, groups of commands) and everything that two
modules of arguments need. Not here: which commands there are (main.py) or their own options (NAME_arguments.py). Light
to import: a press of the tab key starts all of it.
"""

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from rich_argparse import RawDescriptionRichHelpFormatter

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = argparse._SubParsersAction
Parents = Sequence[argparse.ArgumentParser]
Day = Callable[[str], date]

SHARED = "options of every command"
"""Title of the options that `shared_options` makes."""
FEW = 12
"""Choices that an error lists whole; of more it names those that are near."""
LEAST_DOLLARS, MOST_DOLLARS = Decimal("0.01"), 10**15
"""More than there are; what is written as 1e999999999 would be counted out digit by digit."""
WRITTEN_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class WrongUse(SystemExit):
    """The command line was used wrongly; what was wrong is told already."""

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = message


class Formatter(RawDescriptionRichHelpFormatter):
    """Help in columns, with descriptions and examples as they were written; nothing in it is markup."""

    styles: ClassVar[dict[str, Any]] = {
        **RawDescriptionRichHelpFormatter.styles,
        "argparse.groups": "bold",
        "argparse.args": "cyan",
        "argparse.metavar": "green",
        "argparse.prog": "default",
        "argparse.help": "default",
        "argparse.syntax": "bold",
    }
    group_name_formatter: ClassVar[Callable[[str], str]] = str
    text_markup = False
    help_markup = False

    def __init__(self, prog: str, **words: Any) -> None:
        super().__init__(prog, **{"max_help_position": 28, **words})


class Parser(argparse.ArgumentParser):
    """A parser whose errors name what was probably meant, and whose help shows commands by what they are for."""

    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Title and commands, of a parser whose commands are many."""

    def __init__(self, *arguments: Any, **words: Any) -> None:
        words.setdefault("formatter_class", Formatter)
        words.setdefault("allow_abbrev", False)  # --js would be taken for --json after errors were told as words
        super().__init__(*arguments, **words)
        self.set_defaults(parser=self)  # a command's own wins: its errors then show its own usage

    def format_help(self) -> str:
        """The usual page; commands stand in groups where `groups` says so."""
        if not self.groups:
            return super().format_help()
        every = next(one for one in self._actions if isinstance(one, argparse._SubParsersAction))
        told = {choice.dest: choice for choice in every._get_subactions()}
        page = self._get_formatter()
        page.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        page.add_text(self.description)
        for title, names in self.groups:
            page.start_section(title)
            page.add_arguments([told[name] for name in names])
            page.end_section()
        page.start_section("options")
        page.add_arguments([one for one in self._actions if one.option_strings])
        page.end_section()
        page.add_text(self.epilog)
        return page.format_help()

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Say which of the choices was probably meant, before all of them."""
        choices = None if action.choices is None else [str(one) for one in action.choices]
        if choices is None or value in action.choices:  # type: ignore[operator]
            return
        told = f"invalid choice: {value!r:.80}{near_words(str(value), choices)}"
        told += f"; there are {', '.join(choices)}" if len(choices) <= FEW else f"; `{self.prog} --help` lists all"
        raise argparse.ArgumentError(action, told)

    def error(self, message: str) -> NoReturn:
        """One line about what is wrong and one about where to read on, on standard error; exit code 2."""
        sys.stderr.write(f"{self.prog}: error: {message}\n  `{self.prog} --help` tells how it is used\n")
        raise WrongUse(message)

    def read(self, words: Sequence[str] | None = None) -> argparse.Namespace:
        """The arguments; an option that the command has not is refused with the one that was probably meant."""
        found, rest = self.parse_known_args(words)
        if rest:
            own: argparse.ArgumentParser = found.parser
            options = [name for action in own._actions for name in action.option_strings if name.startswith("--")]
            told = next((near_words(word.split("=")[0], options) for word in rest if word.startswith("-")), "")
            own.error(f"unrecognized arguments: {' '.join(rest)}{told}")
        return found


def near_words(text: str, choices: Sequence[str]) -> str:
    """` (did you mean 'x'?)`, or nothing where no choice is near."""
    near = difflib.get_close_matches(text, choices, n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""


def command(
    actions: Commands,
    name: str,
    words: str,
    *,
    parents: Parents = (),
    description: str = "",
    examples: Iterable[str] = (),
) -> argparse.ArgumentParser:
    """Add a command: `words` stand in lists, `description` (default: the same) and examples on its own page.

    Descriptions are shown as they are written: break their lines before column 80. An example is a line that can be
    typed; `  # words` behind it say what for.
    """
    lines = [f"  {line}" for line in examples]
    told = "\n".join(["examples:", *lines]) if lines else None
    shown = description or f"{words[0].upper()}{words[1:]}."
    return actions.add_parser(name, help=words, description=shown, epilog=told, parents=list(parents))


def shared_options() -> argparse.ArgumentParser:
    """The options that every command has; a parent of their parsers."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    shared = parser.add_argument_group(SHARED)
    shared.add_argument(
        "--market", choices=["live", "simulated", "recorded"], help="default: DEFIYIELD_MARKET, else simulated"
    )
    shared.add_argument(
        "--recorded-data",
        type=Path,
        metavar="FOLDER",
        help="what the recorded market replays; default: DEFIYIELD_RECORDED_DATA",
    )
    shared.add_argument(
        "--state-dir",
        type=Path,
        metavar="FOLDER",
        help="databases, logs and reports; default: DEFIYIELD_STATE_DIR, else .state/<market>",
    )
    shared.add_argument(
        "--json",
        action="store_true",
        help="one JSON document on standard output, all else on standard error; default: words and tables",
    )
    return parser


def said_before(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The same options without defaults: one that is left out after an action keeps what was said before it."""
    told = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    shared = told.add_argument_group(SHARED) if any(one.title == SHARED for one in parser._action_groups) else told
    for option in parser._actions:
        same = copy(option)
        same.default = argparse.SUPPRESS
        shared._add_action(same)
    return told


def day(text: str) -> date:
    """A UTC day that was typed."""
    told = f"{text!r} is no date; write it as YYYY-MM-DD"
    if not WRITTEN_DAY.fullmatch(text):  # fromisoformat takes 20250603 and 2025-W23-2 too
        raise argparse.ArgumentTypeError(told)
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(told) from error


def dollars(text: str) -> Decimal:
    """An amount of dollars that was typed."""
    try:
        found = Decimal(text.replace(",", ""))
    except InvalidOperation as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of dollars") from error
    if not (found.is_finite() and LEAST_DOLLARS <= found <= MOST_DOLLARS):
        raise argparse.ArgumentTypeError(f"{text!r:.80}: the capital is from a cent to {MOST_DOLLARS:,} dollars")
    return found


def add_range(parser: argparse.ArgumentParser, read: Day) -> None:
    """`--date`, or `--from` and `--to`; `days_of` reads them."""
    parser.add_argument("--date", type=read, metavar="D", help="the UTC day; default: the last complete one")
    parser.add_argument("--from", dest="first", type=read, metavar="D", help="first day of a range; default: --date")
    parser.add_argument("--to", dest="last", type=read, metavar="D", help="last day of a range; default: --date")


def require_order(arguments: argparse.Namespace) -> None:
    """Refuse a range that ends before it begins."""
    first, last = getattr(arguments, "first", None), getattr(arguments, "last", None)
    if first and last and first > last:
        raise argparse.ArgumentTypeError(f"--from {first} is after --to {last}")


def days_of(arguments: argparse.Namespace) -> list[date]:
    """The days that `add_range`'s options mean, in order."""
    if arguments.date and (arguments.first or arguments.last):
        raise argparse.ArgumentTypeError("give either --date or --from and --to")
    if bool(arguments.first) != bool(arguments.last):
        raise argparse.ArgumentTypeError("--from and --to belong together")
    require_order(arguments)
    if arguments.first:
        return [arguments.first + timedelta(days=n) for n in range((arguments.last - arguments.first).days + 1)]
    return [arguments.date or datetime.now(UTC).date() - timedelta(days=1)]


def leaves(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> Mapping[tuple[str, ...], argparse.ArgumentParser]:
    """Every command that can be typed, by its words."""
    found: dict[tuple[str, ...], argparse.ArgumentParser] = {}
    actions = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if path and not any(one.required for one in actions):
        found[path] = parser
    for action in actions:
        for name, inner in action.choices.items():
            found.update(leaves(inner, (*path, name)))
    return found
