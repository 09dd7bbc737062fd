"""The threat model names tests that exist, and modules that do.

Not here: whether they are right; each was seen to fail once.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "explanation" / "threat-model.md").read_text(encoding="utf-8")
NAMED_TESTS = sorted(set(re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE)))
NAMED_MODULES = sorted(set(re.findall(r"\(`([\w/]+\.py)`\)", PAGE)))


def test_every_named_test_exists() -> None:
    missing = []
    for file, name in NAMED_TESTS:
        path = ROOT / "defiyield_assets_tests" / file
        tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
        if name not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
            missing.append(f"{file}::{name}")
    assert missing == []
    assert len(NAMED_TESTS) > 20


def test_every_named_module_exists() -> None:
    assert [name for name in NAMED_MODULES if not (ROOT / "defiyield_assets" / name).is_file()] == []
    assert len(NAMED_MODULES) >= 4


def test_every_threat_names_a_test() -> None:
    rows = re.findall(r"^\| ([STRIDE]) \|(.*)$", PAGE, re.MULTILINE)
    assert {letter for letter, _ in rows} == set("STRIDE")
    assert all(".py::test_" in row for _, row in rows)


def test_what_is_not_stopped_is_told() -> None:
    told = PAGE.partition("## What is not stopped")[2]
    for words in ("no login", "not signed", "encrypted at rest", "lies plausibly"):
        assert words in told
