"""The comparison of the soak finds what differs, its faults pass, and its journal survives a torn line.

Not here: the days themselves (test_soak_days.py, and `python -m benchmarks.soak --pure` by hand).
"""

import asyncio
import json
from datetime import date, timedelta
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from benchmarks.soak_folder import Journal
from benchmarks.soak_market import PASSING, Revising, faults_of
from benchmarks.soak_tables import EXCLUDED, compare, compare_table
from defiyield_assets.sources.transport import ATTEMPTS
from defiyield_assets.store import schema
from defiyield_assets_tests.databases import postgres_database

DAY = date(2025, 6, 3)
YEAR = [DAY + timedelta(days=offset) for offset in range(365)]
T = sa.Table(
    "told", sa.MetaData(), sa.Column("key", sa.Integer, primary_key=True), sa.Column("value", sa.Double, nullable=True)
)
Rows = dict[int, float | None]
ROWS: Rows = {1: 0.1, 2: None, 3: 0.3}


def database(rows: Rows) -> sa.Engine:
    """A table of its own in memory."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    fill(engine, rows)
    return engine


def fill(engine: sa.Engine, rows: Rows) -> None:
    """The rows in that table, there."""
    T.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(T.insert(), [{"key": key, "value": value} for key, value in rows.items()])


@pytest.mark.parametrize(
    ("other", "differing", "example"),
    [
        pytest.param(ROWS, 0, "", id="the same"),
        pytest.param(dict(reversed(ROWS.items())), 0, "", id="the same in another order"),
        pytest.param({**ROWS, 3: 0.30000000000000004}, 1, "(3,)", id="the last digit of one value"),
        pytest.param({**ROWS, 2: 0.0}, 1, "(2,)", id="nothing became zero"),
        pytest.param({1: 0.1, 2: None}, 1, "(3,)", id="a row is missing"),
        pytest.param({**ROWS, 4: 0.4}, 1, "(4,)", id="a row too many"),
        pytest.param({1: 0.1, 2: None, 9: 0.3}, 2, "(9,)", id="another key"),
    ],
)
def test_rows_that_are_not_common_to_both_are_counted(other: Rows, differing: int, example: str) -> None:
    for one, two in ((ROWS, other), (other, ROWS)):
        assert compare_table(database(one), database(two), T).differing == differing
    assert compare_table(database(ROWS), database(other), T).example == example


@pytest.mark.postgres
def test_rows_of_postgresql_and_sqlite_are_compared_by_value(postgres_server: sa.URL) -> None:
    rows: Rows = {1: -0.0, 2: None, 3: 0.1}
    with postgres_database(postgres_server) as url:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        fill(engine, rows)
        assert compare_table(database(rows), engine, T).differing == 0
        assert compare_table(database({**rows, 3: 0.10000000000000002}), engine, T).differing == 1


def test_every_table_that_is_left_out_exists_and_all_others_are_compared(sqlite_template: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{sqlite_template}")
    compared = {item.table for item in compare(engine, engine)}
    engine.dispose()
    assert EXCLUDED.keys() <= schema.metadata.tables.keys()
    assert compared == schema.metadata.tables.keys() - EXCLUDED.keys()


def test_a_year_has_every_fault_and_outages_that_only_a_repair_heals() -> None:
    rules = [rule for day in YEAR for rule in faults_of(7, day)]
    assert {rule.kind for rule in rules} >= set(PASSING)
    longest = max(rule.first or 0 for rule in rules)
    assert longest >= 3 * ATTEMPTS
    assert [rule for rule in rules if rule.first is None and rule.kind in PASSING] == [], "every fault passes"


def test_faults_of_answers_that_are_asked_in_parallel_pass_within_the_attempts_of_a_request() -> None:
    for day in YEAR:
        wide = [rule for rule in faults_of(7, day) if rule.host == "*" and rule.kind in PASSING]
        assert sum(rule.first or 0 for rule in wide) < ATTEMPTS


def test_the_past_is_revised_from_two_days_after_it_and_never_otherwise() -> None:
    days = [DAY - timedelta(days=offset) for offset in range(400)]

    def told_on(day: date) -> dict[str, float]:
        points = [{"timestamp": f"{one}T23:01:00.000Z", "apy": 5.0} for one in days]

        def answer(request: httpx.Request) -> httpx.Response:
            headers = {"date": "Wed, 04 Jun 2025 00:30:00 GMT"}
            return httpx.Response(200, headers=headers, json={"status": "success", "data": points})

        request = httpx.Request("GET", "https://yields.llama.fi/chart/some-pool")
        answered = asyncio.run(Revising(httpx.MockTransport(answer), 7, day).handle_async_request(request))
        return {point["timestamp"][:10]: point["apy"] for point in json.loads(answered.content)["data"]}

    now, later = told_on(DAY), told_on(DAY + timedelta(days=30))
    assert all(now[str(DAY - timedelta(days=offset))] == 5.0 for offset in (0, 1))
    revised = {day for day, apy in now.items() if apy != 5.0}
    assert 0 < len(revised) < 40
    assert revised <= {day for day, apy in later.items() if apy != 5.0}


def test_a_line_of_the_journal_that_a_kill_has_torn_does_not_count_and_spoils_no_other(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.note("step", day=str(DAY), step="pools")
    with (tmp_path / "journal.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"what": "step", "day": "2025-06-03", "sizes": {"st": 1}')
    assert journal.done(DAY) == {"pools"}
    journal.note("step", day=str(DAY), step="icebox")
    assert journal.done(DAY) == {"pools", "icebox"}
