"""What a restore is doing, on disk, so that one which was killed is ended by the next: undone, or finished.

Lives here: the lock, the staging folder, and the one step that decides. Until `decide` renames its file everything that
a restore did is undone, after it everything is finished; no step in between. Not here: the steps themselves
(files.py, tables.py), their order (cli/backup.py).
"""

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from defiyield_assets.errors import ConfigurationError

STAGE = ".restore"
"""Folder below the state folder of everything that a restore has not finished."""
_BEGUN, _DECIDED = "begun.json", "decided.json"


@dataclass(frozen=True)
class Place:
    """A file or folder that is replaced, and whether there was one."""

    target: str
    was_there: bool


@dataclass(frozen=True)
class Undertaking:
    """One restore: its mark, the databases on servers that it replaces, by what they are for, and its places."""

    mark: str
    databases: Sequence[str]
    places: Sequence[Place]


class Journal:
    """The journal of a state folder; as a context it is one process's alone."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._stage = state / STAGE
        self._lock: int | None = None

    def __enter__(self) -> "Journal":
        """Lock; ConfigurationError while another restore is at work."""
        self._lock = os.open(self._state, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise ConfigurationError(f"another restore is at work on {self._state}: wait until it has ended") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Unlock."""
        if self._lock is not None:
            os.close(self._lock)

    @property
    def is_interrupted(self) -> bool:
        """Whether a restore began and did not end."""
        return any((self._stage / name).exists() for name in (_BEGUN, _DECIDED))

    @property
    def is_decided(self) -> bool:
        """Whether what is there now is to be finished, not undone."""
        return (self._stage / _DECIDED).exists()

    def read(self) -> Undertaking:
        """What was begun."""
        told = json.loads((self._stage / (_DECIDED if self.is_decided else _BEGUN)).read_text(encoding="utf-8"))
        return Undertaking(told["mark"], told["databases"], [Place(**place) for place in told["places"]])

    def make_stage(self) -> Path:
        """An empty folder for what is to be put in place, for its owner only."""
        self.forget()
        parts = self._stage / "parts"
        self._stage.mkdir(mode=0o700)
        parts.mkdir()
        return parts

    def begin(self, databases: Sequence[str], targets: Sequence[Path]) -> Undertaking:
        """Write down what is going to be replaced, before anything is."""
        places = [Place(str(target), target.exists()) for target in targets]
        undertaking = Undertaking(uuid.uuid4().hex, databases, places)
        torn = self._stage / "torn.json"
        torn.write_text(json.dumps(asdict(undertaking)), encoding="utf-8")
        sync_tree(torn)
        torn.rename(self._stage / _BEGUN)
        sync_folder(self._stage)
        sync_folder(self._state)
        return undertaking

    def decide(self) -> None:
        """The point of no return, in one step that outlives a power cut before anything is destroyed."""
        (self._stage / _BEGUN).rename(self._stage / _DECIDED)
        sync_folder(self._stage)

    def forget(self) -> None:
        """End it: everything was undone, or finished."""
        if self._stage.exists():
            shutil.rmtree(self._stage)


def require_no_interrupted_restore(state: Path) -> None:
    """ConfigurationError where a restore was killed: what is there may be of two moments."""
    if Journal(state).is_interrupted:
        raise ConfigurationError(
            f"a restore of {state} was interrupted, or is at work: run `defiyield restore FILE` again, which first "
            f"undoes or finishes that one"
        )


def sync_folder(folder: Path) -> None:
    """Make names that were given in the folder outlive a power cut."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def sync_tree(path: Path) -> None:
    """Make a file, or a folder with all that is below it, outlive a power cut."""
    for one in [path, *path.rglob("*")]:
        if one.is_dir():
            sync_folder(one)
        else:
            with one.open("rb") as file:
                os.fsync(file.fileno())
