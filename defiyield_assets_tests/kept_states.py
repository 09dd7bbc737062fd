"""States of days that take minutes are made once, for all workers of a test session and for the sessions after it.

Lives here: keeping a loop of days in a folder, and handing out copies. Not here: how the days are run
(installations.py), single fits that are remembered (remembered_fits.py).

The folder belongs to one state of everything that a day is made from: the package with its lists and templates, the
migrations, the pinned libraries, the Python, the settings in the environment and the helpers that run the days. When
any of these changes, the days are run again. `make test` forgets them first, so that it always runs them; `make
test-slow` after it finds them.
"""

import hashlib
import os
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from filelock import FileLock

import defiyield_assets
from defiyield_assets.settings import PROJECT_ROOT
from defiyield_assets_tests.installations import Installation, Loop, ToldRun

PATIENCE_SECONDS = 1100.0
"""How long a worker waits for the days that another one runs."""
TOLD = "told.pickle"
"""File beside the state with the days and what Dagster said of them; written last."""
MADE_BY = ("conftest.py", "installations.py", "kept_states.py", "remembered_fits.py")
"""Modules of the tests on which a kept state rests."""
IRRELEVANT = ("DEFIYIELD_RECORDED_DATA", "DEFIYIELD_REQUIRE_")
"""Beginnings of settings that the simulated market does not know."""


def sources() -> Iterator[Path]:
    """Every file that has a say in what a day's tables hold."""
    for folder in (Path(defiyield_assets.__path__[0]), PROJECT_ROOT / "migrations"):
        yield from sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    yield PROJECT_ROOT / "constraints.txt"
    yield from (Path(__file__).parent / name for name in MADE_BY)


@cache
def digest() -> str:
    """Fingerprint of all that, and of the environment, as it was when the session began."""
    settings = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("DEFIYIELD_") and not name.startswith(IRRELEVANT)
    }
    found = hashlib.sha256(repr((sys.version, sorted(settings.items()))).encode())
    for path in sources():
        found.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]


def kept(root: Path, name: str, folder: Path, make: Callable[[Path], Loop]) -> Loop:
    """A copy of the kept days in `folder`; whoever comes first makes them there, and keeps them."""
    place = root / digest() / name
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f"{name}.lock", timeout=PATIENCE_SECONDS):
        for other in root.glob(f"*/{name}"):
            if other != place:
                shutil.rmtree(other)  # of sources that have changed since
        if (place / TOLD).exists():
            installation = Installation(place).copy_to(folder)
        else:
            made = make(folder)
            _keep(made, place)
            installation = made.installation
        days, told = pickle.loads((place / TOLD).read_bytes())
    return Loop(installation, days, told)


def _keep(loop: Loop, place: Path) -> None:
    """The state and what was told of it; a torn copy of an earlier session is replaced."""
    shutil.rmtree(place, ignore_errors=True)
    loop.installation.copy_to(place)
    told = [ToldRun(result.success, tuple(result.all_events)) for result in loop.results]
    torn = place / f"{TOLD}.part"
    torn.write_bytes(pickle.dumps((list(loop.days), told)))
    torn.replace(place / TOLD)
