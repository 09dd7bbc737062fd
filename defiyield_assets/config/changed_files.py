"""Changed files of the policy: what a change makes of one, whether the configuration holds with it, and the one stroke
in which files are replaced.

Lives here: folders of changes, the check of the whole configuration with changed texts, replacing all files or none.
Not here: what a change does to a text (changes.py), versions of the policy (versions.py), commands (cli/).
"""

import difflib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import NoReturn

from defiyield_assets.config.loader import POLICY_FILES, load_policy
from defiyield_assets.config.reading import MOST_BYTES, SHIPPED
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.settings import Settings
from defiyield_assets.state_folder import make_private

PRIVATE = ("accounts.yaml",)
"""Files that hold account data: only their owner may read them."""


@dataclass(frozen=True)
class Change:
    """A file before and after, and what is said about it. `is_new`: the file is not in the folder yet, `before` is the
    shipped text."""

    path: Path
    before: str
    after: str
    what: str
    is_new: bool = False

    @property
    def diff(self) -> str:
        """The difference as `diff -u` tells it."""
        return text_difference(self.path.name, self.before, self.after)


def text_difference(name: str, before: str, after: str, *, now: str = "now", then: str = "changed") -> str:
    """The difference of two texts of a file as `diff -u` tells it; empty where there is none."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{name} {now}", f"{name} {then}", lineterm=""
    )
    return "\n".join(lines)


def named_folder(settings: Settings) -> Path:
    """The folder that changes go into: `config_dir`, else that of the state folder, which may not be there yet.

    ConfigurationError for a `config_dir` that is no folder: what a user named is never made by the way.
    """
    folder = settings.config_dir
    if folder is not None and not folder.is_dir():
        raise ConfigurationError(f"DEFIYIELD_CONFIG_DIR={folder} is no folder: `defiyield config init` makes it")
    return folder or settings.own_config_path


def folder_of_changes(settings: Settings) -> Path:
    """The same; ConfigurationError also for the program's own folder: its files are never changed."""
    folder = named_folder(settings)
    if folder.resolve() == SHIPPED.resolve():
        raise ConfigurationError(
            "DEFIYIELD_CONFIG_DIR names the program's own files: `defiyield config init FOLDER` copies them elsewhere"
        )
    return folder


def read_text(folder: Path, name: str) -> tuple[Path, str, bool]:
    """A file's path in the folder, its text in force, and whether it is there: otherwise the shipped text counts."""
    path = folder / name
    is_there = path.is_file()
    found = path.resolve() if is_there else SHIPPED / name
    try:
        if found.stat().st_size > MOST_BYTES:
            raise ConfigurationError(f"{found}: larger than {MOST_BYTES // 2**20} MiB, which no configuration is")
        text = found.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{found}: cannot be read: {error}") from error
    return found if is_there else path, text, is_there


def planned(folder: Path, name: str, after: str, what: str) -> Change:
    """The change of a file of the folder to another text."""
    path, before, is_there = read_text(folder, name)
    return Change(path, before, after, what, is_new=not is_there)


@contextmanager
def trial_folder(folder: Path | None, changed: Mapping[str, str]) -> Iterator[Path]:
    """A folder for the moment with the policy's files as they would be; the files in force stay as they are."""
    with tempfile.TemporaryDirectory(prefix="defiyield-config-") as place:
        trial = Path(place)
        for name in POLICY_FILES:
            if folder is not None and (folder / name).is_file() and name not in changed:
                shutil.copyfile(folder / name, trial / name)
        for name, text in changed.items():
            (trial / name).write_bytes(text.encode("utf-8"))
        yield trial


def check(folder: Path | None, changed: Mapping[str, str], day: date) -> tuple[str, ...]:
    """Load the whole policy of the day with the changed texts, and return what is doubtful; nothing is written.

    ConfigurationError as the loader words it.
    """
    with trial_folder(folder, changed) as trial:
        try:
            return load_policy(day, trial).warnings
        except ConfigurationError as error:
            words = str(error).replace(f"{trial}{os.sep}", "")
            raise ConfigurationError(f"nothing was written, because it would not load: {words}") from error


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else on this machine changes files of the folder meanwhile; it is made, for its owner only, where it is
    not there yet, as the folder above it is; one that is there stays as it is. ConfigurationError where it cannot be,
    and for the program's own files, which are never changed."""
    if folder.resolve() == SHIPPED.resolve():
        raise ConfigurationError(f"{folder} belongs to the program: name another folder with DEFIYIELD_CONFIG_DIR")
    try:
        if not folder.is_dir():
            if not folder.parent.is_dir():
                make_private(folder.parent)
            make_private(folder)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be made or read: {error.strerror}; nothing was written") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def replace_file(change: Change) -> None:
    """Put the new text in the file's place in one stroke; ConfigurationError when somebody else changed it meanwhile.

    A file keeps its mode; a new one is readable by all, account data by the owner only.
    """
    with alone(change.path.parent):
        require_unchanged(change)
        with staged([change]) as put:
            put()


def require_unchanged(change: Change) -> None:
    """ConfigurationError when the file is not what it was when the change was made."""
    is_there = change.path.is_file()
    if is_there == change.is_new or (is_there and _read(change.path) != change.before):
        raise ConfigurationError(
            f"{change.path} was changed by somebody else meanwhile: nothing was written, run it again"
        )


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


class PartlyReplaced(ConfigurationError):  # noqa: N818 - it tells what became of the files
    """Some files were replaced, another could not be, and what had been replaced could not be put back."""


@dataclass(frozen=True)
class _Place:
    """A file with the text that is to take its place; `former` is a copy of the old one, None where there was none."""

    path: Path
    ready: Path
    former: Path | None

    def take_back(self) -> None:
        """As it was before; OSError where it cannot be."""
        if self.former is None:
            self.path.unlink(missing_ok=True)
        else:
            self.former.replace(self.path)


class _Put:
    """New files that lie ready beside the old ones."""

    def __init__(self, places: Sequence[_Place]) -> None:
        self._places = places

    def __call__(self) -> None:
        """Each takes its place, or none does: ConfigurationError where one cannot, PartlyReplaced where those before
        it stay replaced, too."""
        for number, place in enumerate(self._places):
            try:
                place.ready.replace(place.path)
            except OSError as error:
                self._take_back(self._places[:number], f"{place.path} cannot be replaced: {error.strerror}", error)

    @staticmethod
    def _take_back(replaced: Sequence[_Place], words: str, error: OSError) -> NoReturn:
        stuck = []
        for place in reversed(replaced):
            try:
                place.take_back()
            except OSError as worse:
                stuck.append(f"{place.path} has its new text and cannot be put back: {worse.strerror}")
        if stuck:
            raise PartlyReplaced(f"{words}; {'; '.join(stuck)}") from error
        raise ConfigurationError(f"{words}{'; the other files were put back' if replaced else ''}") from error


@contextmanager
def staged(changes: Sequence[Change]) -> Iterator[_Put]:
    """Write the new texts beside their files, on disk, and hand out what puts them in place, all or none.

    Whatever was not put in place is taken away, and so are copies of the old texts, which several files need.
    ConfigurationError, and nothing is left, where the folder cannot be written (a read-only volume, no rights, no
    room).
    """
    made: list[Path] = []

    def beside(change: Change, text: str) -> Path:
        made.append(_beside(change, text))
        return made[-1]

    try:
        places = []
        for change in changes:
            former = None if change.is_new or len(changes) == 1 else beside(change, change.before)
            places.append(_Place(change.path, beside(change, change.after), former))
        yield _Put(places)
    finally:
        for path in made:
            path.unlink(missing_ok=True)


def _beside(change: Change, text: str) -> Path:
    """The text on disk, beside the file that it is going to replace, with that file's mode."""
    path = change.path
    try:
        mode = 0o600 if path.name in PRIVATE else (0o644 if change.is_new else path.stat().st_mode & 0o777)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror}; nothing was changed. Change the file where it comes from, or "
            f"let DEFIYIELD_CONFIG_DIR name a folder that may be written"
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}; nothing was changed") from error
    return Path(name)
