"""The folder of an installation's state belongs to its owner alone: Dagster's event log in it tells of accounts, too.

Lives here: making that folder, and closing one that somebody else made. Not here: where it is (settings.py), or modes
of single files, which their writers set.
"""

import os
import re
import stat
from pathlib import Path

FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO
OURS = re.compile(
    r"(warehouse|chain)\.sqlite(-wal|-shm|-journal)?|dagster\.yaml|history|schedules|storage|reports|logs|config"
    r"|\.(telemetry|logs_queue|nux|lock)|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
"""Names of what we and Dagster keep in a state folder."""


def make_private(folder: Path) -> None:
    """Make the folder, open to nobody else; one that is there is closed to others. OSError where it cannot be made."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
        close_to_others(folder)


def close_to_others(folder: Path) -> None:
    """Take from everybody but the owner what they may do in the folder.

    Only where it is ours and holds nothing but state: a folder that was named by mistake stays as it is (`doctor` tells
    of it), and so does one that is not there.
    """
    try:
        told = folder.stat()
        is_ours = told.st_uid == os.geteuid() and all(OURS.fullmatch(path.name) for path in folder.iterdir())
    except OSError:
        return
    if is_ours and told.st_mode & FOR_OTHERS:
        folder.chmod(stat.S_IMODE(told.st_mode) & ~FOR_OTHERS)
