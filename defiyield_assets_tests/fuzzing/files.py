"""Targets: files that are read: CSV of bars and events, YAML of the configuration and of strategies, archived bodies.

Not here: what vendors answer (answers.py), command line, environment and headers (texts.py).
"""

import gzip
import tempfile
import zlib
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import pytest

from defiyield_assets.config.csv_sources import load_csv_sources
from defiyield_assets.config.editing import add_row
from defiyield_assets.config.instruments import load_instruments
from defiyield_assets.config.loader import POLICY_FILES, load_policy
from defiyield_assets.config.models import load_models
from defiyield_assets.config.news_lexicon import load_news_lexicon
from defiyield_assets.config.paper import load_paper
from defiyield_assets.config.reading import SHIPPED, read_file
from defiyield_assets.config.scenarios import load_scenarios
from defiyield_assets.config.strategy_files import FOLDER, known_universes, parsed, told_problems
from defiyield_assets.domain.paper.account_codec import account_of
from defiyield_assets.domain.prices.csv_sources import CsvSource
from defiyield_assets.domain.provenance import FetchRecord
from defiyield_assets.domain.strategies.checking import Known
from defiyield_assets.domain.strategies.columns import SCENARIO_WARM_UP, known_columns
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.sources.csv_bars import MOST_PRICE, read_bars
from defiyield_assets.sources.csv_events import is_events, read_events
from defiyield_assets.sources.recall import Reader
from defiyield_assets.sources.wire import decode_json
from defiyield_assets.store import schema
from defiyield_assets.store.archive import WarehouseArchive
from defiyield_assets.store.engine import make_engine
from defiyield_assets_tests.fuzzing.target import Target

DAY = date(2025, 6, 3)
STAMP = datetime(2025, 6, 4, 0, 30, tzinfo=UTC)
UTC_CLOCK = CsvSource("fuzz", timezone="UTC")
CLOSES = CsvSource("fuzz", timezone="Europe/Berlin", stamp="close")


@cache
def own_folder() -> Path:
    """A configuration folder of this process."""
    folder = Path(tempfile.mkdtemp(prefix="fuzzing-"))
    (folder / FOLDER).mkdir()
    return folder


def read_bar_file(data: bytes, name: str, source: CsvSource) -> object:
    bars = read_bars(name, data, source).bars
    assert not bars.duplicated(["series", "ts"]).any()
    assert ((bars["close"] > 0) & (bars["close"] < MOST_PRICE)).all()
    assert (bars["high"].isna() | (bars["high"] >= bars["low"])).all()
    return bars


def read_event_file(data: bytes) -> object:
    if not is_events("e.csv", data):
        return None
    events = read_events("e.csv", data).events
    assert not events["event_id"].duplicated().any()
    return events


def bar_files() -> list[bytes]:
    days = "".join(f"2024-01-{day:02d},10,12,9,11,5\n" for day in range(1, 8))
    minutes = "".join(f"{1700000000 + 300 * n};1;1.5;0.5;1;9\n" for n in range(4))
    closes = "Date,AAPL,MSFT\n2024-01-02,1,2\n2024-01-03,1.5,\n2024-01-04,1.6,3\n"
    headers = ("date,open,high,low,close,volume\n" + days, "timestamp;open;high;low;close;volume\n" + minutes, closes)
    return [text.encode() for text in headers]


def event_files() -> list[bytes]:
    head = "date,kind,instrument,title,expected,actual,announced_on\n"
    return [(head + "2024-05-01,economic,,FOMC,5.5,5.5,2024-01-01\n2024-05-02,earnings,AAPL,Q2,1.5,,\n").encode()]


def read_config(name: str, load: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A configuration folder in which one file is the bytes."""

    def read(data: bytes) -> object:
        path = own_folder() / name
        path.write_bytes(data)
        try:
            return load(own_folder())
        finally:
            path.unlink()

    return read


def shipped(name: str) -> Callable[[], list[bytes]]:
    return lambda: [(SHIPPED / name).read_bytes()]


@cache
def known() -> tuple[Known, frozenset[str]]:
    return Known(known_columns(), frozenset(), frozenset(), SCENARIO_WARM_UP), known_universes(None)


def read_strategy(data: bytes) -> object:
    path = own_folder() / FOLDER / "fuzz.yaml"
    path.write_bytes(data)
    source = read_file(f"{FOLDER}/fuzz.yaml", own_folder())
    return told_problems(source, parsed(source), *known())


def strategies() -> list[bytes]:
    return [path.read_bytes() for path in sorted((SHIPPED / FOLDER).glob("*.yaml"))]


def edit_file(data: bytes) -> object:
    """A row is added to a list of tokens: nothing else of the file changes, or it is refused."""
    return add_row(data.decode("utf-8", "replace"), "icebox_overrides", {"symbol": "X"}, "why", "tokens.yaml")


@cache
def archive() -> WarehouseArchive:
    engine = make_engine(f"sqlite:///{own_folder() / 'archive.sqlite'}")
    schema.metadata.create_all(engine, tables=[schema.raw_fetches, schema.raw_bodies])
    return WarehouseArchive(engine)


def read_archived(data: bytes) -> object:
    """A body that is archived, found and read again; and one that was damaged on the disk."""
    kept = archive()
    engine = kept._engine
    fetch = FetchRecord(
        vendor="v",
        endpoint="/e",
        params_hash="p",
        params_json="{}",
        fetched_at=STAMP,
        partition_date=DAY,
        status=200,
        attempts=1,
        waited_seconds=0.0,
        bytes=len(data),
        rows=None,
        error_class=None,
        error_message=None,
        sha256=None,
        earlier_sha256=None,
    )
    with engine.begin() as connection:
        connection.execute(schema.raw_fetches.delete())
        connection.execute(schema.raw_bodies.delete())
    kept.record(fetch, data)
    found = kept.find("v", "/e", "p", STAMP, STAMP)
    assert found is not None
    assert found.body == data
    with engine.begin() as connection:
        connection.execute(schema.raw_bodies.update().values(body=data))
    with pytest.raises(SuspiciousDataError):
        kept.find("v", "/e", "p", STAMP, STAMP)
    return Reader(lambda answer: answer, None, decode_json).read(200, data)


def many() -> list[Target]:
    """Every target of files."""
    loads: dict[str, Callable[[Path], object]] = {
        **dict.fromkeys(POLICY_FILES, lambda folder: load_policy(DAY, folder)),
        "instruments.yaml": load_instruments,
        "csv_sources.yaml": load_csv_sources,
        "models.yaml": load_models,
        "news_lexicon.yaml": load_news_lexicon,
        "scenarios.yaml": load_scenarios,
        "paper.yaml": lambda folder: load_paper(folder, ["buy_and_hold", "sma_cross"]),
    }
    return [
        Target("csv_bars", lambda data: read_bar_file(data, "X.csv", UTC_CLOCK), bar_files),
        Target("csv_closes", lambda data: read_bar_file(data, "X.csv", CLOSES), bar_files),
        Target(
            "csv_packed",
            lambda data: read_bar_file(data, "X.csv.gz", UTC_CLOCK),
            lambda: [gzip.compress(one) for one in bar_files()],
        ),
        Target("csv_events", read_event_file, event_files),
        *(
            Target(f"config_{name.split('.')[0]}", read_config(name, load), shipped(name))
            for name, load in loads.items()
        ),
        Target("strategy", read_strategy, strategies),
        Target("config_edit", edit_file, shipped("tokens.yaml")),
        Target("archive", read_archived, lambda: [b'{"a": 1}', zlib.compress(b"x")]),
        Target(
            "paper_account",
            lambda data: account_of(data.decode("utf-8", "replace")),
            lambda: [b'{"name": "p", "balances": {"USD": "1.5"}}'],
        ),
    ]
