"""The archive: every request kept, every body once, never a request without its body."""

import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.provenance import Archive, ArchivedAnswer, ArchivedFailure
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.store import reads, schema
from defiyield_assets.store.archive import WarehouseArchive, fetches, newest_partition
from defiyield_assets_tests.store.crashes import (
    archive_and_die_before_settling,
    archive_between_body_and_fetch,
    die,
    fetch_of,
)
from defiyield_assets_tests.store.frames import DAYS

AT = datetime(2026, 3, 4, 0, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
REQUEST = ("defillama_yields", "/chart/{pool}", "abc")


def _count(engine: sa.Engine, table: sa.Table) -> int:
    return len(reads.read_all(engine, table))


def test_it_is_an_archive(sqlite_warehouse: sa.Engine) -> None:
    archive: Archive = WarehouseArchive(sqlite_warehouse)
    assert archive.find(*REQUEST, AT - HOUR, AT + HOUR) is None


def test_an_answer_is_found_as_it_was_recorded(warehouse: sa.Engine) -> None:
    archive = WarehouseArchive(warehouse)
    body = b'{"data": [1, 2, 3]}' * 1000
    archive.record(fetch_of(body), body)
    assert archive.find(*REQUEST, AT - HOUR, AT + HOUR) == ArchivedAnswer(AT, 200, body)
    stored = reads.read_all(warehouse, schema.raw_bodies)
    assert stored["bytes"].tolist() == [len(body)]
    assert len(stored["body"].iloc[0]) < len(body) / 10
    row = reads.read_all(warehouse, schema.raw_fetches).iloc[0].to_dict()
    assert row["waited_seconds"] == 0.25
    assert row["partition_date"] == DAYS.end


@pytest.mark.parametrize("body", [b"", b"\x00\xff", bytes(range(256)) * 5000])
def test_any_bytes_survive(warehouse: sa.Engine, body: bytes) -> None:
    WarehouseArchive(warehouse).record(fetch_of(body), body)
    found = WarehouseArchive(warehouse).find(*REQUEST, AT, AT)
    assert found is not None
    assert found.body == body


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies=st.lists(st.binary(max_size=40), min_size=1, max_size=6))
def test_a_repeat_keeps_its_request_and_shares_its_body(warehouse: sa.Engine, bodies: list[bytes]) -> None:
    archive = WarehouseArchive(warehouse)
    before = _count(warehouse, schema.raw_fetches)
    for body in bodies * 2:
        archive.record(fetch_of(body), body)
    kept = reads.read_all(warehouse, schema.raw_bodies)["sha256"].tolist()
    assert _count(warehouse, schema.raw_fetches) == before + 2 * len(bodies)
    assert len(kept) == len(set(kept))
    assert {fetch_of(body).sha256 for body in bodies} <= set(kept)


def test_a_body_that_is_there_is_never_rewritten(warehouse: sa.Engine) -> None:
    archive = WarehouseArchive(warehouse)
    archive.record(fetch_of(b"a"), b"a")
    before = reads.read_all(warehouse, schema.raw_bodies)
    archive.record(fetch_of(b"a", fetched_at=AT + HOUR), b"a")
    archive.record(fetch_of(b"b"), b"b")
    after = reads.read_all(warehouse, schema.raw_bodies)
    pd.testing.assert_frame_equal(after[after["sha256"].isin(before["sha256"])].reset_index(drop=True), before)


def test_of_two_processes_that_bring_the_same_body_the_first_wins(warehouse: sa.Engine) -> None:
    archive = WarehouseArchive(warehouse)
    archive.record(fetch_of(b"a"), b"a")
    with warehouse.begin() as connection:
        connection.execute(sa.update(schema.raw_bodies).values(body=b"the first"))
    archive.record(fetch_of(b"a"), b"a")
    assert reads.read_all(warehouse, schema.raw_bodies)["body"].tolist() == [b"the first"]


def test_requests_are_kept_in_the_order_in_which_they_came(warehouse: sa.Engine) -> None:
    archive = WarehouseArchive(warehouse)
    for number in range(3):
        archive.record(fetch_of(b"x", params_hash=str(number)), b"x")
    kept = reads.read_all(warehouse, schema.raw_fetches)
    assert kept["params_hash"].tolist() == ["0", "1", "2"]
    assert kept["fetch_id"].is_monotonic_increasing


def test_a_request_without_an_answer_is_kept(warehouse: sa.Engine) -> None:
    failed = fetch_of(None, status=None, error_class="VendorUnavailable", error_message="hung up\x00")
    WarehouseArchive(warehouse).record(failed, None)
    row = reads.read_all(warehouse, schema.raw_fetches).iloc[0]
    assert row["sha256"] is None
    assert row["status"] is None
    assert row["error_message"] == "hung up\ufffd"
    assert WarehouseArchive(warehouse).find(*REQUEST, AT - HOUR, AT + HOUR) is None


def test_a_missing_hash_is_filled_in_and_a_wrong_one_refused(warehouse: sa.Engine) -> None:
    archive = WarehouseArchive(warehouse)
    archive.record(fetch_of(b"a", sha256=None), b"a")
    assert archive.find(*REQUEST, AT, AT) is not None
    with pytest.raises(SuspiciousDataError, match="nothing was archived"):
        archive.record(fetch_of(b"a"), b"b")
    with pytest.raises(SuspiciousDataError, match="nothing was archived"):
        archive.record(fetch_of(b"a"), None)
    assert _count(warehouse, schema.raw_fetches) == 1


def test_only_answers_inside_the_window_are_found_and_the_newest_first(warehouse: sa.Engine) -> None:
    archive = WarehouseArchive(warehouse)
    for hours, body in ((0, b"old"), (2, b"new"), (1, b"middle")):
        archive.record(fetch_of(body, fetched_at=AT + hours * HOUR), body)

    def found(first: float, last: float) -> bytes | None:
        answer = archive.find(*REQUEST, AT + first * HOUR, AT + last * HOUR)
        return None if answer is None else answer.body

    assert found(-1, 9) == b"new"
    assert found(0, 1.5) == b"middle"
    assert found(0, 0) == b"old"
    assert found(2, 2) == b"new"
    assert found(2.1, 9) is None
    assert found(-1, -0.1) is None


def test_of_two_answers_at_the_same_moment_the_later_request_is_found(warehouse: sa.Engine) -> None:
    archive = WarehouseArchive(warehouse)
    archive.record(fetch_of(b"first"), b"first")
    archive.record(fetch_of(b"second"), b"second")
    answer = archive.find(*REQUEST, AT, AT)
    assert answer is not None
    assert answer.body == b"second"


@pytest.mark.parametrize(
    "changes",
    [
        {"status": 500},
        {"status": 404},
        {"status": 302},
        {"error_class": "VendorMalformed"},
        {"vendor": "fred"},
        {"endpoint": "/pools"},
        {"params_hash": "other"},
    ],
    ids=str,
)
def test_errors_and_other_requests_are_not_found(warehouse: sa.Engine, changes: dict[str, object]) -> None:
    archive = WarehouseArchive(warehouse)
    archive.record(fetch_of(b"x", **changes), b"x")
    assert archive.find(*REQUEST, AT - HOUR, AT + HOUR) is None


def test_the_earliest_is_found_when_asked_for_and_others_can_be_passed_over(warehouse: sa.Engine) -> None:
    archive = WarehouseArchive(warehouse)
    for hours, body in ((1, b"second"), (0, b"first"), (2, b"third")):
        archive.record(fetch_of(body, fetched_at=AT + hours * HOUR), body)

    def found(skip: int, *, earliest: bool) -> bytes | None:
        answer = archive.find(*REQUEST, AT, AT + 2 * HOUR, earliest=earliest, skip=skip)
        return None if answer is None else answer.body

    assert [found(n, earliest=True) for n in range(4)] == [b"first", b"second", b"third", None]
    assert [found(n, earliest=False) for n in range(4)] == [b"third", b"second", b"first", None]


# --- requests that end later than they are recorded ------------------------------------------------------------------
def _rows(engine: sa.Engine) -> list[dict[str, object]]:
    return [dict(row) for row in reads.read_all(engine, schema.raw_fetches).to_dict("records")]


def test_a_request_is_recorded_first_and_settled_when_it_has_ended(warehouse: sa.Engine) -> None:
    archive = WarehouseArchive(warehouse)
    fetch_id = archive.record(fetch_of(b"x"), b"x")
    archive.record(fetch_of(b"other", params_hash="other"), b"other")
    archive.settle(fetch_id, fetch_of(b"x", rows=7, attempts=2))
    first, other = _rows(warehouse)
    assert (first["fetch_id"], first["rows"], first["attempts"]) == (fetch_id, 7, 2)
    assert (other["rows"], other["attempts"]) == (None, 1)
    archive.settle(fetch_id, fetch_of(b"x", error_class="SuspiciousDataError", error_message="half of it"))
    assert archive.find(*REQUEST, AT, AT) is None, "an answer that was refused is never one again"


def test_an_answer_that_nobody_settled_counts(warehouse: sa.Engine) -> None:
    die(archive_and_die_before_settling, warehouse.url.render_as_string(hide_password=False))
    (row,) = _rows(warehouse)
    assert (row["error_class"], row["rows"]) == (None, None)
    answer = WarehouseArchive(warehouse).find(*REQUEST, AT, AT)
    assert answer is not None
    assert answer.body == b"whole"


def test_a_request_that_is_tried_again_keeps_its_row_and_every_body(warehouse: sa.Engine) -> None:
    archive = WarehouseArchive(warehouse)
    fetch_id = archive.record(fetch_of(b"torn"), b"torn")
    assert archive.record(fetch_of(b"whole", attempts=2), b"whole", fetch_id) == fetch_id
    assert [row["attempts"] for row in _rows(warehouse)] == [2]
    answer = archive.find(*REQUEST, AT, AT)
    assert answer is not None
    assert answer.body == b"whole"
    assert _count(warehouse, schema.raw_bodies) == 2


# --- what a partition was told ---------------------------------------------------------------------------------------
def _of(archive: WarehouseArchive, day: date, first: datetime = AT - HOUR, last: datetime = AT + 9 * HOUR) -> object:
    return archive.of_partition(*REQUEST, day, not_before=first, not_after=last)


def test_a_partition_is_told_its_own_last_answer(warehouse: sa.Engine) -> None:
    archive = WarehouseArchive(warehouse)
    archive.record(fetch_of(b"old", fetched_at=AT + HOUR), b"old")
    archive.record(fetch_of(b"new"), b"new")
    archive.record(fetch_of(None, error_class="VendorThrottled", status=429), None)
    archive.record(fetch_of(b"later day", partition_date=DAYS.end + timedelta(days=1)), b"later day")
    assert _of(archive, DAYS.end) == ArchivedAnswer(AT, 200, b"new"), "the last request, whatever its stamp"
    assert _of(archive, DAYS.end, AT + HOUR) == ArchivedAnswer(AT + HOUR, 200, b"old")
    assert _of(archive, DAYS.end - timedelta(days=1)) is None


def test_a_partition_that_only_failed_is_told_how(warehouse: sa.Engine) -> None:
    archive = WarehouseArchive(warehouse)
    for name in ("VendorThrottled", "VendorUnavailable", "CancelledError"):
        archive.record(fetch_of(b"no", status=503, error_class=name, error_message=f"{name}!"), b"no")
    assert _of(archive, DAYS.end) == ArchivedFailure(AT, 503, "VendorUnavailable", "VendorUnavailable!")
    assert WarehouseArchive(warehouse).of_partition("fred", *REQUEST[1:], DAYS.end, not_before=AT, not_after=AT) is None


def test_partitions_know_whom_and_when_they_asked(warehouse: sa.Engine) -> None:
    archive = WarehouseArchive(warehouse)
    assert (archive.newest_stamp(DAYS.end), newest_partition(warehouse)) == (None, None)
    archive.record(fetch_of(b"x"), b"x")
    archive.record(fetch_of(None, fetched_at=AT + HOUR, error_class="VendorThrottled"), None)
    archive.record(fetch_of(b"x", fetched_at=AT + 9 * HOUR, partition_date=None), b"x")
    assert (archive.newest_stamp(DAYS.end), newest_partition(warehouse)) == (AT + HOUR, DAYS.end)
    assert archive.asked("defillama_yields", DAYS.end)
    assert not archive.asked("fred", DAYS.end)
    assert not archive.asked("defillama_yields", DAYS.start)


@pytest.mark.parametrize(
    "damage",
    [b"no zlib", b"x\x9c\x03\x00\x00\x00\x00\x01", zlib.compress(b"x")[:-1]],
    ids=["garbage", "other body", "torn"],
)
def test_a_damaged_body_is_an_error_not_an_answer(warehouse: sa.Engine, damage: bytes) -> None:
    archive = WarehouseArchive(warehouse)
    archive.record(fetch_of(b"x"), b"x")
    with warehouse.begin() as connection:
        connection.execute(sa.update(schema.raw_bodies).values(body=damage))
    with pytest.raises(SuspiciousDataError, match="raw_bodies"):
        archive.find(*REQUEST, AT, AT)


def test_a_body_that_unpacks_beyond_the_limit_is_refused_before_it_fills_the_memory(
    sqlite_warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("defiyield_assets.store.archive.LARGEST_BODY_BYTES", 1_000)
    archive = WarehouseArchive(sqlite_warehouse)
    for size in (1_000, 1_001):
        archive.record(fetch_of(b"0" * size, fetched_at=AT + size * HOUR), b"0" * size)
    longest = archive.find(*REQUEST, AT + 1_000 * HOUR, AT + 1_000 * HOUR)
    assert longest is not None
    assert len(longest.body) == 1_000
    with pytest.raises(SuspiciousDataError, match="more than 1,000 bytes"):
        archive.find(*REQUEST, AT + 1_001 * HOUR, AT + 1_001 * HOUR)


def test_a_process_killed_in_the_middle_leaves_no_request_without_its_body(warehouse: sa.Engine) -> None:
    die(archive_between_body_and_fetch, warehouse.url.render_as_string(hide_password=False))
    assert _count(warehouse, schema.raw_fetches) == 0
    assert _count(warehouse, schema.raw_bodies) == 0
    WarehouseArchive(warehouse).record(fetch_of(b"half"), b"half")
    assert WarehouseArchive(warehouse).find(*REQUEST, AT, AT) is not None


def test_many_threads_may_record_the_same_body(warehouse: sa.Engine) -> None:
    archive = WarehouseArchive(warehouse)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: archive.record(fetch_of(b"same"), b"same"), range(20)))
    assert _count(warehouse, schema.raw_fetches) == 20
    assert _count(warehouse, schema.raw_bodies) == 1


def test_requests_are_counted_by_vendor(warehouse: sa.Engine) -> None:
    archive = WarehouseArchive(warehouse)
    assert fetches(warehouse).empty
    archive.record(fetch_of(b"1234", attempts=3, rows=7), b"1234")
    archive.record(fetch_of(None, error_class="VendorThrottled", status=429, fetched_at=AT + HOUR), None)
    archive.record(fetch_of(b"12", vendor="fred", partition_date=DAYS.start), b"12")
    archive.record(fetch_of(b"12", vendor="fred", partition_date=None, endpoint="/series"), b"12")
    counts = fetches(warehouse).set_index("vendor")
    assert counts.loc["defillama_yields"].to_dict() == {
        "requests": 2,
        "attempts": 4,
        "failed": 1,
        "bytes": 4,
        "waited_seconds": 0.5,
        "first_fetched_at": AT,
        "last_fetched_at": AT + HOUR,
    }
    assert counts["requests"].to_dict() == {"defillama_yields": 2, "fred": 2}
    assert fetches(warehouse, DayRange.of(DAYS.end))["vendor"].tolist() == ["defillama_yields"]
    by_endpoint = fetches(warehouse, by=("vendor", "endpoint"))
    assert by_endpoint["endpoint"].tolist() == ["/chart/{pool}", "/chart/{pool}", "/series"]


def test_requests_can_only_be_counted_by_known_columns(sqlite_warehouse: sa.Engine) -> None:
    with pytest.raises(ValueError, match="not by body"):
        fetches(sqlite_warehouse, by=("body",))
    with pytest.raises(ValueError, match="not by nothing"):
        fetches(sqlite_warehouse, by=())
