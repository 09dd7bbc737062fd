"""Files into tables, and what follows from them at once: curated bars below a day, and the daily bars of their days.

Lives here: `take_in`, which the command line and the asset share. Not here: one file (csv_imports.py), the rules
(domain/prices), the sensor (drop_folder.py).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.prices.instruments import build_instruments, with_dropped
from defiyield_assets.domain.prices.intraday import DAILY, curate_intraday, minutes_of
from defiyield_assets.errors import ConfigurationError, DefiYieldError, SuspiciousDataError
from defiyield_assets.orchestration.bars import write_bars
from defiyield_assets.orchestration.csv_event_imports import import_events
from defiyield_assets.orchestration.csv_imports import FileImport, import_bars, named_source
from defiyield_assets.orchestration.resources import PolicyResource, WarehouseResource
from defiyield_assets.sources.csv_events import is_events
from defiyield_assets.sources.csv_lines import read_bytes
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.csv_imports import mark_followed, unfollowed

EVER = DayRange(date(1800, 1, 1), date(2199, 12, 31))


@dataclass(frozen=True)
class Failure:
    """A file of which nothing was taken, and why."""

    file_name: str
    error: DefiYieldError

    @property
    def told(self) -> str:
        """The error, which names the file."""
        text = str(self.error)
        return text if self.file_name in text else f"{self.file_name}: {text}"


@dataclass(frozen=True)
class Intake:
    """What became of every file, in order, and of what follows from them."""

    files: tuple[FileImport | Failure, ...]
    n_intraday: int = 0
    n_daily: int = 0

    @property
    def imports(self) -> list[FileImport]:
        """Files that were taken, or were known."""
        return [item for item in self.files if isinstance(item, FileImport)]

    @property
    def failures(self) -> list[Failure]:
        """Files of which nothing was taken."""
        return [item for item in self.files if isinstance(item, Failure)]


def listed_files(paths: Iterable[Path]) -> list[Path]:
    """The files that are named, and those inside folders that are, in order of their names. ConfigurationError for a
    path that is not there.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ConfigurationError(f"{path}: there is no such file or folder")
        inside = sorted(item for item in path.iterdir() if is_csv(item)) if path.is_dir() else [path]
        found += inside
    return found


def is_csv(path: Path) -> bool:
    """Whether a file of a folder is meant to be imported: by its ending; hidden files never are."""
    name = path.name.lower()
    return path.is_file() and not name.startswith(".") and name.endswith((".csv", ".csv.gz", ".txt", ".txt.gz"))


def current_instruments(warehouse: WarehouseResource, policy: PolicyResource, today: date) -> pd.DataFrame:
    """Rows of `instruments` that are configured; the table is filled first where the files name one that it lacks."""
    engine = warehouse.engine
    listed = build_instruments(policy.load(today, None).policy.tokens, policy.universe().instruments)
    stored = reads.read_all(engine, schema.instruments)
    if set(listed["instrument_id"]) - set(stored["instrument_id"]):
        writes.upsert(engine, schema.instruments, with_dropped(listed, stored))
        stored = reads.read_all(engine, schema.instruments)
    return stored[stored["instrument_id"].isin(set(listed["instrument_id"]))].reset_index(drop=True)


def take_in(
    warehouse: WarehouseResource,
    policy: PolicyResource,
    paths: Sequence[Path],
    *,
    now: datetime,
    source_name: str | None = None,
    is_replacing: bool = False,
    on_file: Callable[[Path], None] = lambda _path: None,
) -> Intake:
    """Import the files one after the other, each whole or not at all, then make what follows from what is new.

    A file that fails does not keep the others from being taken. `on_file` is told before each file. Files are followed
    by `intraday_bars` of their instruments (whole series: what a bar is depends on the one before) and `daily_bars` of
    the days that changed, written as the asset of that name writes them.
    """
    sources, engine = policy.csv_sources(), warehouse.engine
    source = named_source(source_name, sources) if source_name is not None else None
    instruments = current_instruments(warehouse, policy, now.date())
    done: list[FileImport | Failure] = []
    for path in paths:
        on_file(path)
        try:
            content = read_bytes(path)
            if source is None and is_events(path.name, content):
                done.append(import_events(engine, path, content, instruments=instruments, now=now))
                continue
            taken = import_bars(
                engine,
                path,
                content,
                sources=sources,
                instruments=instruments,
                now=now,
                source=source,
                is_replacing=is_replacing,
            )
            done.append(taken)
        except (ConfigurationError, SuspiciousDataError) as error:
            done.append(Failure(path.name, error))
    return Intake(tuple(done), *follow(engine, policy, instruments))


def follow(engine: sa.Engine, policy: PolicyResource, instruments: pd.DataFrame) -> tuple[int, int]:
    """Make what follows from all files that were not followed yet; returns the rows of intraday_bars and daily_bars.

    A file is remembered as followed at the end: an import that died in between is finished by the next one.
    """
    files = unfollowed(engine)
    is_below_day = files["interval"].map(lambda name: minutes_of(name) is not None).astype(bool)
    below_day = sorted({name for names in files.loc[is_below_day, "instrument_ids"] for name in names})
    n_intraday = make_intraday(engine, below_day).rows if below_day else 0
    makes_days = files[is_below_day | files["interval"].eq(DAILY)]
    n_daily = 0
    for names, first, last in zip(
        makes_days["instrument_ids"], makes_days["changed_from"], makes_days["changed_to"], strict=True
    ):
        n_daily += _make_days(engine, policy, instruments, names, DayRange(first, last))
    mark_followed(engine, files["file_sha256"])
    return n_intraday, n_daily


def make_intraday(engine: sa.Engine, instrument_ids: Sequence[str]) -> writes.WriteReceipt:
    """Curate all bars below a day of some instruments again and replace what `intraday_bars` holds of them."""
    intervals = [name for (name,) in reads.distinct(engine, schema.ohlcv_csv, ["interval"], EVER.end)]
    below_day = [name for name in intervals if minutes_of(name) is not None]
    told = reads.read_all(engine, schema.ohlcv_csv, {"instrument_id": list(instrument_ids), "interval": below_day})
    where = {"instrument_id": list(instrument_ids)}
    return writes.replace_slice(engine, schema.intraday_bars, curate_intraday(told), EVER, where)


def _make_days(
    engine: sa.Engine, policy: PolicyResource, instruments: pd.DataFrame, names: list[str], days: DayRange
) -> int:
    """Daily bars of instruments on the days of a file; returns how many there are."""
    concerned = instruments[instruments["instrument_id"].isin(names)].reset_index(drop=True)
    priority = policy.universe().source_priority
    return len(write_bars(engine, concerned, days, priority, where={"instrument_id": names}).bars)
