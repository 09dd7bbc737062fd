"""What the warehouse forgets, and what it never does."""

from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa

from defiyield_assets.domain.provenance import FetchRecord
from defiyield_assets.store import reads, schema
from defiyield_assets.store.archive import WarehouseArchive
from defiyield_assets.store.retention import Forgotten, forget_archive, forget_claims, forget_usage

NOW = datetime(2026, 3, 31, 0, 30, tzinfo=UTC)
MONTH = timedelta(days=30)


def fetch(
    engine: sa.Engine,
    body: bytes,
    *,
    age_days: int = 0,
    partition: date | None = None,
    vendor: str = "defillama",
    earlier: str | None = None,
) -> int:
    """One answer that was fetched so many days before NOW."""
    stamp = NOW - timedelta(days=age_days)
    record = FetchRecord(
        vendor=vendor,
        endpoint="/pools",
        params_hash="0" * 64,
        params_json="{}",
        fetched_at=stamp,
        partition_date=partition,
        status=200,
        attempts=1,
        waited_seconds=0.0,
        bytes=len(body),
        rows=1,
        error_class=None,
        error_message=None,
        sha256=None,
        earlier_sha256=earlier,
    )
    return WarehouseArchive(engine).record(record, body)


def archived(engine: sa.Engine) -> tuple[int, int]:
    """Requests and bodies that are there."""
    return len(reads.read_all(engine, schema.raw_fetches)), len(reads.read_all(engine, schema.raw_bodies))


def test_old_answers_go_and_bodies_with_them_unless_a_later_request_names_them(warehouse: sa.Engine) -> None:
    fetch(warehouse, b"old", age_days=40)
    fetch(warehouse, b"said again", age_days=40)
    fetch(warehouse, b"said again", age_days=1)
    fetch(warehouse, b"new")
    told = forget_archive(warehouse, MONTH, is_dry_run=True)
    assert archived(warehouse) == (4, 3), "a dry run deletes nothing"
    assert forget_archive(warehouse, MONTH) == told
    assert [(found.table, found.rows) for found in told] == [("raw_fetches", 2), ("raw_bodies", 1)]
    assert told[1].bytes > 0
    assert archived(warehouse) == (2, 2)
    assert [found.rows for found in forget_archive(warehouse, MONTH)] == [0, 0], "it may be repeated"
    window = (NOW - timedelta(days=2), NOW)
    found = WarehouseArchive(warehouse).find("defillama", "/pools", "0" * 64, *window, earliest=True)
    assert found is not None
    assert found.body == b"said again"


def test_a_body_of_an_earlier_attempt_stays_with_its_request(warehouse: sa.Engine) -> None:
    fetch(warehouse, b"torn", age_days=40)
    (digest,) = reads.read_all(warehouse, schema.raw_bodies)["sha256"]
    fetch(warehouse, b"whole", earlier=f"{'f' * 64} {digest}")
    forget_archive(warehouse, MONTH)
    assert archived(warehouse) == (1, 2)


def test_what_a_young_partition_or_a_model_was_told_stays(warehouse: sa.Engine) -> None:
    fetch(warehouse, b"asked late", age_days=40, partition=NOW.date())
    fetch(warehouse, b"model", age_days=400, vendor="ollama")
    fetch(warehouse, b"new")
    forget_archive(warehouse, MONTH)
    assert archived(warehouse) == (3, 3)


def test_a_market_of_long_ago_is_as_old_as_its_own_newest_answer(warehouse: sa.Engine) -> None:
    fetch(warehouse, b"first", age_days=1_000, partition=NOW.date() - timedelta(days=1_000))
    fetch(warehouse, b"last", age_days=990, partition=NOW.date() - timedelta(days=990))
    forget_archive(warehouse, MONTH)
    assert archived(warehouse) == (2, 2)


def test_an_empty_archive_has_nothing_to_forget(warehouse: sa.Engine) -> None:
    assert forget_archive(warehouse, MONTH) == [Forgotten("raw_fetches", 0), Forgotten("raw_bodies", 0)]


def test_counters_that_a_budget_may_still_count_stay(warehouse: sa.Engine) -> None:
    table = schema.vendor_usage
    ages = {"minute": 1, "day": 29, "month": 30}
    rows = [
        {"vendor": "v", "key_id": "none", "period": period, "starts_at": NOW - timedelta(days=age), "calls": 1}
        for period, young in ages.items()
        for age in (young, 120)
    ]
    with warehouse.begin() as connection:
        connection.execute(sa.insert(table), rows)
    assert [found.rows for found in forget_usage(warehouse, NOW, timedelta(days=1))] == [3]
    assert len(reads.read_all(warehouse, table)) == 3


@pytest.mark.parametrize("is_dry_run", [True, False])
def test_outcomes_messages_and_alerts_that_are_over_go(warehouse: sa.Engine, is_dry_run: bool) -> None:
    today, old = NOW.date(), NOW.date() - timedelta(days=200)
    outcome = {"asset": "pools", "status": "failed", "error_class": "E", "reason": "r", "is_recoverable": True}
    message = {
        **{"destination": "d", "revision": 0, "part": 0, "run_id": "", "sha256": "s", "text": "t", "advice": "a"},
        **{"status": "posted", "is_edit": False, "attempts": 1, "claimed_at": NOW},
    }
    alert = {
        **{"episode": 0, "is_partitioned": True, "job": "j", "run_id": "r", "reason": "r", "failed_at": NOW},
        **{"repeats": 0, "is_told": True, "is_recovery_told": False},
    }
    with warehouse.begin() as connection:
        for day in (today, old):
            connection.execute(sa.insert(schema.asset_outcomes).values(date=day, **outcome))
            connection.execute(sa.insert(schema.slack_messages).values(date=day, message_key=f"{day}", **message))
            for asset, recovered in (("healed", NOW), ("broken", None)):
                values = {"date": day, "through": day, "asset": asset, "recovered_at": recovered, **alert}
                connection.execute(sa.insert(schema.slack_alerts).values(values))
    told = forget_claims(warehouse, NOW, timedelta(days=180), is_dry_run=is_dry_run)
    assert {found.table: found.rows for found in told} == {"asset_outcomes": 1, "slack_alerts": 1, "slack_messages": 1}
    left = reads.read_all(warehouse, schema.slack_alerts)
    assert len(left) == (4 if is_dry_run else 3)
    if not is_dry_run:
        assert sorted(left["asset"]) == ["broken", "broken", "healed"]
        assert reads.read_all(warehouse, schema.asset_outcomes)["date"].tolist() == [today]
