"""Inputs that once broke a parser, and the seeds of every target: each is read, or refused by an error of our tree.

Not here: looking for new ones (__main__.py; test_fuzzing.py does it for a bounded time).
"""

from pathlib import Path

import pytest

from defiyield_assets_tests.fuzzing import answers, files, texts
from defiyield_assets_tests.fuzzing.target import Target

TARGETS = {target.name: target for target in (*answers.many(), *files.many(), *texts.many())}
FOUND = sorted(path for path in (Path(__file__).parent / "found").glob("*/*") if path.is_file())


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_the_seeds_of_every_target_are_read(target: Target) -> None:
    accepted = [target.try_one(seed) for seed in target.seeds()]
    assert any(accepted), "no seed is accepted: nothing behind would be tried"


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_once_broke_a_parser_breaks_it_no_more(path: Path) -> None:
    TARGETS[path.parent.name].try_one(path.read_bytes())


def test_what_was_found_is_small_and_belongs_to_a_target() -> None:
    assert FOUND
    assert {path.parent.name for path in FOUND} <= set(TARGETS)
    assert all(path.stat().st_size <= 5_000 for path in FOUND)
