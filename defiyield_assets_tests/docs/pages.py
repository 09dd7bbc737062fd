"""The pages of the documentation as tests read them: files, commands in them, and the programs that build them.

Lives here: what the tests of this folder share. Not here: tests, or how a page is cut into blocks (docs/transcribe.py).
"""

import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
INLINE = re.compile(r"(?<!`)`(?:\.venv/bin/)?(defiyield [^`]+)`(?!`)")


def program(name: str) -> ModuleType:
    """A program of docs/, which is no package."""
    found = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


transcribe = program("transcribe")


@dataclass(frozen=True)
class Command:
    """A command that a page tells to type."""

    page: str
    line: int
    text: str

    @property
    def words(self) -> list[str]:
        """Its words, without variables before it."""
        return transcribe.words_of(self.text)


def written_pages() -> list[Path]:
    """Pages that somebody wrote: the README and docs/, without what is generated."""
    return [ROOT / "README.md", *(path for path in sorted(DOCS.rglob("*.md")) if path.parent.name != "reference")]


def named(path: Path) -> str:
    """How tests call a page."""
    return path.relative_to(ROOT).as_posix()


def commands(path: Path) -> list[Command]:
    """Every command of a page's blocks: those of `console` blocks, and lines behind a `$ ` of recorded output."""
    found = []
    for block in transcribe.blocks(path.read_text(encoding="utf-8")):
        if block.language == "console":
            found += [Command(named(path), block.line, text) for text in transcribe.commands_of(block)]
        elif block.language == "text":
            lines = [line for line in block.body.splitlines() if line.startswith("$ ")]
            found += [Command(named(path), block.line, line[2:].strip()) for line in lines]
    return found


def mentions(path: Path) -> list[str]:
    """What a page's sentences name as a command, such as `defiyield budget`."""
    fenced = transcribe.FENCE.sub("", path.read_text(encoding="utf-8"))
    return INLINE.findall(fenced)
