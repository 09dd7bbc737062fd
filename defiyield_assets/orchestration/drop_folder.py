"""The drop folder: files that are put there are imported by themselves, each by a run of its own.

Lives here: the sensor and its job. Not here: what importing means (file_intake.py), the assets (assets/imports.py).
"""

import json
from pathlib import Path

import dagster as dg

from defiyield_assets.orchestration.assets.imports import STEP, TABLES
from defiyield_assets.orchestration.file_intake import is_csv
from defiyield_assets.settings import load_settings

MOST_REQUESTS = 20
"""Files asked for in one tick; the others come with the next."""
SEEN, ASKED = "seen", "asked"
Marks = dict[str, list[int | str]]
"""File name -> size in bytes, time of change in nanoseconds, and whether it was only seen or asked for as it is."""

import_files = dg.define_asset_job(
    "import_files",
    selection=dg.AssetSelection.assets(*(table.name for table in TABLES), "intraday_features"),
    description="Files into bars: what they say, the bars below a day with features, the daily bars of their days.",
    tags={"defiyield/job": "import_files"},
)


@dg.sensor(
    name="import_dropped_files",
    job=import_files,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Imports CSV files of DEFIYIELD_DROP_FOLDER. A file is taken when it did not change between two looks; one "
        "that failed is asked for again only when it has changed."
    ),
)
def import_dropped_files(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Request one run for each file that is new or has changed and has stopped growing."""
    folder = load_settings().drop_folder
    if folder is None:
        return dg.SensorResult(skip_reason="DEFIYIELD_DROP_FOLDER is not set")
    if not folder.is_dir():
        return dg.SensorResult(skip_reason=f"DEFIYIELD_DROP_FOLDER={folder} is no folder")
    before: Marks = json.loads(context.cursor) if context.cursor else {}
    marks, due = look(folder, before)
    requests = [
        dg.RunRequest(
            run_key="-".join(map(str, (name, *marks[name][:2]))),
            run_config={"ops": {STEP: {"config": {"files": [str((folder / name).resolve())]}}}},
            tags={"defiyield/file": name[:200]},
        )
        for name in due
    ]
    growing = sorted(name for name, mark in marks.items() if mark[2] == SEEN)
    reason = f"looked at for the first time since they changed: {', '.join(growing[:10])}" if growing else "nothing new"
    for why, mend, refused in (
        ("their names are no UTF-8", "rename them", [path for path in _files(folder) if not has_text_name(path)]),
        ("they are links out of the folder", "copy them", [path for path in _files(folder) if not is_inside(path)]),
    ):
        if refused:
            told = ", ".join(ascii(path.name) for path in refused[:10])
            context.log.warning(f"not imported, because {why}: {told}; {mend}")
            reason = f"{reason}; not imported, because {why}: {told}"
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(marks), skip_reason=None if requests else reason)


def look(folder: Path, before: Marks) -> tuple[Marks, list[str]]:
    """Marks of the folder's files now, and the files to ask for: as large and as old as at the last look, and not asked
    for as they are. Files whose names are no text, which no run could be asked for, links out of the folder, and files
    that vanish meanwhile are passed over.
    """
    marks: Marks = {}
    due: list[str] = []
    for path in _files(folder):
        if not (has_text_name(path) and is_inside(path)):
            continue
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        known = before.get(path.name)
        is_same = known is not None and known[:2] == [found.st_size, found.st_mtime_ns]
        was_asked = is_same and known is not None and known[2] == ASKED
        is_due = is_same and not was_asked and len(due) < MOST_REQUESTS
        due += [path.name] if is_due else []
        marks[path.name] = [found.st_size, found.st_mtime_ns, ASKED if is_due or was_asked else SEEN]
    return marks, due


def _files(folder: Path) -> list[Path]:
    """Files that are meant to be imported."""
    return sorted(path for path in folder.iterdir() if is_csv(path))


def is_inside(path: Path) -> bool:
    """Whether what the file is lies in its folder: who may only put files there must not have others of ours read."""
    return path.resolve().is_relative_to(path.parent.resolve())


def has_text_name(path: Path) -> bool:
    """Whether the file's name is UTF-8: other bytes become lone surrogates, which no database holds."""
    return not any("\ud800" <= letter <= "\udfff" for letter in path.name)
