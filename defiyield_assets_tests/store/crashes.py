"""Processes that are killed in the middle of a write, as a power cut would.

Lives here: functions that run in a child process. Not here: what must hold afterwards (the tests).
"""

import hashlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from defiyield_assets.domain.provenance import FetchRecord
from defiyield_assets.store import schema, writes
from defiyield_assets.store.archive import WarehouseArchive
from defiyield_assets.store.engine import make_engine
from defiyield_assets_tests.store.frames import DAYS, pools_frame


def die(target: Callable[[str], None], url: str) -> None:
    """Run `target(url)` in a process that must end by SIGKILL."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=(url,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def fetch_of(body: bytes | None, **changes: Any) -> FetchRecord:
    """A successful request for that body; `changes` replace fields."""
    fields: dict[str, Any] = {
        "vendor": "defillama_yields",
        "endpoint": "/chart/{pool}",
        "params_hash": "abc",
        "params_json": '{"pool":"p"}',
        "fetched_at": datetime(2026, 3, 4, 0, 30, tzinfo=UTC),
        "partition_date": DAYS.end,
        "status": 200,
        "attempts": 1,
        "waited_seconds": 0.25,
        "bytes": len(body or b""),
        "rows": None,
        "error_class": None,
        "error_message": None,
        "sha256": None if body is None else hashlib.sha256(body).hexdigest(),
    }
    return FetchRecord(**fields | changes)


def _die_before(engine: sa.Engine, beginning: str) -> None:
    def kill(_connection: sa.Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith(beginning):
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(engine, "before_cursor_execute", kill)


def archive_between_body_and_fetch(url: str) -> None:
    """Dies once the body is inserted and before the request that names it is."""
    engine = make_engine(url)
    _die_before(engine, "INSERT INTO raw_fetches")
    WarehouseArchive(engine).record(fetch_of(b"half"), b"half")


def archive_and_die_before_settling(url: str) -> None:
    """Dies once an answer is archived and before anybody has read it."""
    engine = make_engine(url)
    archive = WarehouseArchive(engine)
    fetch_id = archive.record(fetch_of(b"whole"), b"whole")
    _die_before(engine, "UPDATE raw_fetches")
    archive.settle(fetch_id, fetch_of(b"whole", rows=1))


def replace_after_delete(url: str) -> None:
    """Dies once the old rows are deleted and half of the new ones are in."""
    engine = make_engine(url)
    insert = writes.insert

    def insert_half_and_die(connection: sa.Connection, table: sa.Table, rows: Sequence[Any]) -> None:
        insert(connection, table, rows[: len(rows) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    writes.insert = insert_half_and_die
    writes.replace_slice(engine, schema.pools, pools_frame(apy=0.9), DAYS)


def _die_at_third(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which kills the process when it is called for the third time."""
    calls: list[int] = []

    def counted(*arguments: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)

    return counted


def history_between_chunks(url: str) -> None:
    """Two chunks of a long history are in the open transaction, the third is not."""
    writes.CHUNK_ROWS = 5
    writes._valid_rows = _die_at_third(writes._valid_rows)
    writes.add_history(make_engine(url), schema.pools, pools_frame())


def slice_between_chunks(url: str) -> None:
    """Two frames of a slice are in the open transaction, the third is not."""
    writes._valid_rows = _die_at_third(writes._valid_rows)
    with writes.replacing(make_engine(url), [schema.pools], DAYS) as writer:
        for start in range(0, 12, 4):
            writer.add(schema.pools, pools_frame().iloc[start : start + 4])
