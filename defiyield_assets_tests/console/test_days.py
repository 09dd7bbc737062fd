"""Which day and which state of the warehouse a page is of: commits of others, days without a plan, days there are not.

Not here: how states are told apart (test_freshness.py), how long answers are kept (test_remembered.py).
"""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from defiyield_assets.console import freshness, pool_day
from defiyield_assets.domain.days import DayRange
from defiyield_assets.store import reads, schema
from defiyield_assets.store.engine import make_engine
from defiyield_assets_tests.console.desks import client_of, desk_over
from defiyield_assets_tests.databases import url_text
from defiyield_assets_tests.installations import Installation

PLAN = (schema.allocation_runs, schema.allocations, schema.allocation_limits, schema.allocation_steps)


@pytest.fixture
def own_state(console_state: Installation, tmp_path: Path) -> Installation:
    """The five days, to be changed."""
    return console_state.copy_to(tmp_path / "state")


@pytest.fixture
def client(own_state: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A browser of the console over them, which asks for the state of the warehouse every time."""
    monkeypatch.setattr(freshness, "ASKED_EVERY", 0.0)
    with client_of(desk_over(own_state.engine, tmp_path)) as client:
        yield client


@pytest.fixture
def other(own_state: Installation) -> Iterator[sa.Engine]:
    """Somebody else's connections."""
    engine = make_engine(url_text(own_state.engine.url))
    yield engine
    engine.dispose()


def newest(engine: sa.Engine) -> date:
    found = reads.newest_day(engine, schema.allocation_runs)
    assert found is not None
    return found


def test_a_page_made_after_a_commit_takes_nothing_from_before_it(client: TestClient, other: sa.Engine) -> None:
    """The overview and the plan share what is said of the day."""
    before = client.get("/").text
    assert "MARKED" not in before
    with other.begin() as connection:
        told = sa.literal("MARKED ") + schema.allocation_runs.c.message
        connection.execute(sa.update(schema.allocation_runs).values(message=told))
    assert "MARKED" in client.get("/plan").text, "not kept yet, so made now"


def test_the_list_of_pools_follows_the_tables_that_it_is_made_of(client: TestClient, other: sa.Engine) -> None:
    day, table = newest(other), schema.pools
    assert "4,242.00%" not in client.get("/pools?sort=apy&order=desc").text
    with other.begin() as connection:
        of_day = table.c.snapshot_date == day
        connection.execute(sa.update(table).where(of_day, table.c.apy.is_not(None)).values(apy=42.42))
    assert "4,242.00%" in client.get("/pools?sort=apy&order=desc&rows=100").text, "not kept yet, so made now"


def test_every_table_of_the_list_of_pools_can_tell_the_state_of_a_day(warehouse: sa.Engine) -> None:
    """SQLite does not know of rows: there every commit counts."""
    tables = [schema.metadata.tables[name] for name in pool_day.MADE_OF]
    with warehouse.connect() as connection:
        told = reads.slices_state(connection, tables, date(2025, 6, 3))
    assert told == (None if warehouse.dialect.name == "sqlite" else ((0, 0),) * len(tables))


@pytest.mark.postgres
def test_a_row_written_again_or_gone_is_another_state_and_other_days_are_not(postgres_warehouse: sa.Engine) -> None:
    days, policies, told = DayRange(date(2025, 6, 2), date(2025, 6, 3)), schema.policy_snapshot, []
    row = {"policy_hash": "x", "policy_json": "{}", "n_tokens": 0, "n_protocols": 0, "n_overrides": 0}

    def state() -> object:
        with postgres_warehouse.connect() as connection:
            return reads.slices_state(connection, [policies], days.end)

    for change in (
        sa.insert(policies).values(date=days.end, **row),
        sa.update(policies).where(policies.c.date == days.end).values(n_tokens=0),
        sa.insert(policies).values(date=days.start, **row),
        sa.delete(policies).where(policies.c.date == days.end),
    ):
        with postgres_warehouse.begin() as connection:
            connection.execute(change)
        told.append(state())
    inserted, rewritten, of_another_day, gone = told
    assert inserted != rewritten == of_another_day != gone


def test_a_newer_day_without_a_plan_is_told_and_can_be_looked_at(client: TestClient, other: sa.Engine) -> None:
    day = newest(other)
    with other.begin() as connection:
        for table in PLAN:
            connection.execute(sa.delete(table).where(table.c.date == day))
    usual = client.get("/").text
    assert f"There are newer data, of {day}, and no plan for that day" in usual
    assert str(day - timedelta(days=1)) in usual
    asked = client.get(f"/?date={day}")
    assert asked.status_code == 200
    assert "no plan" in asked.text.lower()
    assert "There are newer data" not in asked.text


@pytest.mark.parametrize(
    "path", ["/", "/plan", "/pools", "/forecasts", "/runs", "/ledger", "/ledger/postings", "/icebox"]
)
def test_a_day_before_the_first_is_told_and_led_to_by_no_page(client: TestClient, other: sa.Engine, path: str) -> None:
    made = reads.days_with_rows(other, schema.policy_snapshot)
    assert made is not None
    before = made.start - timedelta(days=1)
    answer = client.get(f"{path}?date={before}")
    assert answer.status_code == 404
    assert f"the first day is {made.start}" in answer.text
    first = client.get(f"{path}?date={made.start}")
    assert first.status_code == 200
    assert "Day before" not in first.text
    assert "Day before" in client.get(f"{path}?date={made.start + timedelta(days=1)}").text


@pytest.mark.parametrize("path", ["/", "/plan", "/ledger", "/ledger/postings", "/icebox"])
def test_a_day_without_a_policy_in_between_was_not_made(client: TestClient, other: sa.Engine, path: str) -> None:
    day = newest(other) - timedelta(days=2)
    with other.begin() as connection:
        connection.execute(sa.delete(schema.policy_snapshot).where(schema.policy_snapshot.c.date == day))
    answer = client.get(f"{path}?date={day}")
    assert answer.status_code == 404
    assert f"<code>defiyield run {day}</code>" in answer.text


@pytest.mark.parametrize("path", ["/", "/pools", "/runs", "/forecasts", "/lab"])
@pytest.mark.parametrize("day", ["0001-01-01", "1999-12-31"])
def test_a_day_that_nobody_means_is_refused(client: TestClient, path: str, day: str) -> None:
    answer = client.get(f"{path}?date={day}")
    assert answer.status_code in (400, 404)
    assert "log says why" not in answer.text
