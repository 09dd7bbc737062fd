"""The command line before anything runs: help that teaches, options that all have, completion, a quick start.

Not here: what commands do (their own tests) or wrong arguments (test_main.py).
"""

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from defiyield_assets.cli.main import COMMANDS, MODULES, build_parser, main
from defiyield_assets.cli.parsers import leaves

LEAVES = leaves(build_parser())
NAMES = [" ".join(words) for words in LEAVES]
HEAVY = {"pandas", "numpy", "dagster", "sqlalchemy", "pydantic", "yaml", "matplotlib", "prophet", "pulp", "httpx"}


def page(parser: argparse.ArgumentParser, monkeypatch: pytest.MonkeyPatch) -> str:
    """Help as a window of 80 columns shows it."""
    monkeypatch.setenv("COLUMNS", "80")
    return parser.format_help()


def test_the_first_page_names_every_command_once_and_the_exit_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    text = page(build_parser(), monkeypatch)
    lines = text.splitlines()
    for title, group in COMMANDS.items():
        assert f"{title}:" in lines
        for name in group:
            assert sum(line.startswith(f"  {name} ") for line in lines) == 1, name
    for code in ("0 ", "1 ", "2 ", "130 ", "141 "):
        assert any(line.startswith(f"  {code}") for line in lines)
    assert max(map(len, lines)) <= 80


def test_every_command_of_the_parser_stands_in_one_group() -> None:
    assert {words[0] for words in LEAVES} == set(MODULES)
    assert sum(map(len, COMMANDS.values())) == len(MODULES)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_teaches(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eighty columns, a description, an example; every option says what it is by default or that it is required."""
    parser = LEAVES[tuple(name.split())]
    text = page(parser, monkeypatch)
    told = text.split("examples:")[0]  # an example is one line, so that it can be copied, and may be longer
    assert max(map(len, told.splitlines())) <= 80, [line for line in told.splitlines() if len(line) > 80]
    assert parser.description
    assert parser.epilog is not None
    assert f"defiyield {name.split(maxsplit=1)[0]}" in parser.epilog
    for action in parser._actions:
        if action.option_strings and "--help" not in action.option_strings:
            words = action.help or ""
            assert "default" in words or (action.required and "required" in words), action.option_strings
        elif not action.option_strings:
            assert action.help or isinstance(action, argparse._SubParsersAction), action.dest


@pytest.mark.parametrize("name", NAMES)
def test_every_command_takes_the_options_that_all_have(name: str) -> None:
    options = {word for action in LEAVES[tuple(name.split())]._actions for word in action.option_strings}
    assert {"--market", "--recorded-data", "--state-dir", "--json"} <= options


def examples() -> list[str]:
    """Every example of every page."""
    pages = [parser.epilog or "" for parser in LEAVES.values()]
    lines = [line.strip() for text in pages for line in text.splitlines()]
    return sorted({line for line in lines if line.startswith("defiyield ")})


@pytest.mark.parametrize("line", examples())
def test_an_example_can_be_typed(line: str) -> None:
    words = shlex.split(line.split(" > ", maxsplit=1)[0].split(" | ", maxsplit=1)[0], comments=True)
    build_parser().read(words[1:])


# --- completion ------------------------------------------------------------------------------------------------------
def completed(line: str, folder: Path) -> set[str]:
    """What the tab key offers behind a line, asked as a shell asks: argcomplete writes to descriptors of its own."""
    told = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n"}
    words = [sys.executable, "-m", "defiyield_assets.cli.main"]
    asked = {**os.environ, **told, "_ARGCOMPLETE_STDOUT_FILENAME": str(folder / "told")}
    subprocess.run(words, env=asked, check=False, capture_output=True, timeout=120)
    return {word.strip() for word in (folder / "told").read_text(encoding="utf-8").split("\n") if word.strip()}


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("defiyield reb", {"rebuild"}),
        ("defiyield ledger ga", {"gains"}),
        ("defiyield run --market s", {"simulated"}),
        ("defiyield run --pha", {"--phases"}),
        ("defiyield completion ", {"bash", "zsh"}),
    ],
)
def test_the_tab_key_offers_what_may_stand_there(line: str, wanted: set[str], tmp_path: Path) -> None:
    assert wanted <= completed(line, tmp_path)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_is_taught_to_complete(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    lines = capsys.readouterr().out
    assert "_ARGCOMPLETE=1" in lines
    assert "defiyield" in lines
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=lines, text=True, check=True, timeout=60)


# --- start-up --------------------------------------------------------------------------------------------------------
def test_help_and_completion_import_nothing_heavy() -> None:
    """One process for all pages: whoever presses the tab key waits for every module that is imported here."""
    code = (
        "import sys\n"
        "from defiyield_assets.cli.main import build_parser\n"
        "from defiyield_assets.cli.parsers import leaves\n"
        "parser = build_parser()\n"
        "parser.format_help()\n"
        "for one in leaves(parser).values(): one.format_help()\n"
        "import argcomplete\n"
        "print('\\n'.join(sorted({name.split('.')[0] for name in sys.modules})))\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120, env=environment)
    assert HEAVY & set(done.stdout.split()) == set()
