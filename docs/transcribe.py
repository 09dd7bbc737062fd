"""Writes what the tutorial's commands print into docs/tutorial.md.

Lives here: fenced blocks of a page, running commands, cutting and normalising what they print. Not here: the words of
the page. A block of commands that a comment `<!-- prints: … -->` precedes is followed by a `text` block, which this
file rewrites: `all`, or `first N` and `last N` lines. Tests run the commands and compare (defiyield_assets_tests/docs).
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TUTORIAL = HERE / "tutorial.md"
COLUMNS = 120
"""Width of the terminal of the transcript."""
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
PRINTS = re.compile(
    r"<!-- prints: (?P<how>[^>]*?) -->\n+```console\n(?P<commands>.*?)^```\n+```text\n(?P<printed>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\x1b\][^\x07]*\x07")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    language: str
    body: str
    line: int


@dataclass(frozen=True)
class Transcript:
    """Commands of a page, which lines of what they print are shown, and those lines as the page has them."""

    commands: tuple[str, ...]
    how: str
    printed: str


def blocks(text: str) -> list[Block]:
    """Fenced blocks in order; those inside a list without its indent."""
    found = []
    for match in FENCE.finditer(text):
        indent = len(match["indent"])
        body = "".join(line[indent:] for line in match["body"].splitlines(keepends=True))
        found.append(Block(match["language"].strip(), body, text.count("\n", 0, match.start()) + 1))
    return found


def commands_of(block: Block) -> list[str]:
    """Commands of a `console` block without remarks; a line that ends with a backslash goes on."""
    lines = block.body.replace("\\\n", " ").splitlines()
    stripped = [re.sub(r"\s+#\s.*$", "", line).strip() for line in lines]
    return [line for line in stripped if line and not line.startswith("#")]


def transcripts(text: str) -> list[Transcript]:
    """The transcribed blocks of a page, in order."""
    return [
        Transcript(tuple(commands_of(Block("console", match["commands"], 0))), match["how"], match["printed"])
        for match in PRINTS.finditer(text)
    ]


def cut(printed: str, how: str) -> str:
    """The lines of an output that the page shows; what is left out is an ellipsis."""
    lines = [line.rstrip() for line in ESCAPES.sub("", printed).replace("\r", "\n").strip("\n").splitlines()]
    if how.strip() == "all":
        return "\n".join(lines) + "\n"
    wanted = {kind: int(number) for kind, number in re.findall(r"(first|last) (\d+)", how)}
    if not wanted:
        raise ValueError(f"prints: {how!r} is neither `all` nor `first N` nor `last N`")
    first, last = wanted.get("first", 0), wanted.get("last", 0)
    if len(lines) <= first + last:
        return "\n".join(lines) + "\n"
    return "\n".join([*lines[:first], "…", *(lines[-last:] if last else [])]) + "\n"


def shown(printed: str, state: Path) -> str:
    """An output without what is this machine's: where its folders are."""
    for folder, name in ((state, ".state/simulated"), (ROOT, ".")):
        printed = printed.replace(str(folder), name)
    return printed


def normalised(printed: str) -> list[str]:
    """What is compared: words in their order; figures, rulers, spaces and breaks of lines are not."""
    words = re.sub(r"\d[\d.,:]*", "#", re.sub(r"[─━═│┃╇╈┏┓┗┛┡┩└┘├┤┬┴┼╭╮╰╯]+", " ", printed))
    return words.split()


def run(command: str, environment: dict[str, str]) -> str:
    """What a command prints; it has to succeed."""
    done = subprocess.run(  # noqa: S603 - commands of our own page
        ["/bin/bash", "-c", command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    sys.stderr.write(f"{command}: exit code {done.returncode}\n")
    if done.returncode != 0:
        raise SystemExit(f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def main() -> None:
    """Run the transcribed commands of the tutorial, in order, on one state, and write the page anew."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--state", type=Path, metavar="FOLDER", help="a state to go on from; default: a fresh one")
    parser.add_argument("--only", metavar="TEXT", help="only blocks whose commands contain it; default: all")
    arguments = parser.parse_args()
    text = TUTORIAL.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        state = arguments.state.resolve() if arguments.state else Path(folder) / "state"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("DEFIYIELD_", "MAKE"))}
        environment |= {
            "COLUMNS": str(COLUMNS),
            "DEFIYIELD_STATE_DIR": str(state),
            "STATE": str(state),
            "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
            "DAGSTER_HOME": str(ROOT),
        }

        def rewritten(match: "re.Match[str]") -> str:
            if arguments.only and arguments.only not in match["commands"]:
                return match.group(0)
            printed = "".join(run(line, environment) for line in commands_of(Block("console", match["commands"], 0)))
            fence = match.group(0)
            start = match.start("printed") - match.start(0)
            return f"{fence[:start]}{cut(shown(printed, state), match['how'])}```"

        TUTORIAL.write_text(PRINTS.sub(rewritten, text), encoding="utf-8")


def words_of(command: str) -> list[str]:
    """A command in its words, without variables that stand before it and without the folder of the program."""
    words = shlex.split(command)
    while words and re.fullmatch(r"[A-Z][A-Z0-9_]*=.*", words[0]):
        words.pop(0)
    if words:
        words[0] = words[0].removeprefix(".venv/bin/")
    return words


if __name__ == "__main__":
    main()
