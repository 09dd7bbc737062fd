"""The fuzzer for a bounded time over every target, and that it would find a parser that breaks.

Not here: what it found once (test_found.py). Longer, by hand: `python -m defiyield_assets_tests.fuzzing --seconds 600`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 1
FINDS = """
import sys
from pathlib import Path
from defiyield_assets_tests.fuzzing.target import Target
from defiyield_assets_tests.fuzzing.worker import fuzz

def read(data):
    if data[:1] == b"[":
        raise KeyError("broken")

found = fuzz(Target("broken", read, lambda: [b"x"]), 20, Path(sys.argv[1]), 1)
assert "KeyError" in found.words, found
assert found.broken_by is not None and found.broken_by.startswith(b"["), found
"""


@pytest.mark.slow
def test_no_parser_breaks(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "defiyield_assets_tests.fuzzing",
        "--seconds",
        str(SECONDS),
        "--found",
        str(tmp_path),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-8_000:] + ended.stderr[-2_000:]
    assert "nothing broke" in ended.stdout


@pytest.mark.slow
def test_a_parser_that_breaks_is_found_with_its_input(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", FINDS, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-4_000:]
