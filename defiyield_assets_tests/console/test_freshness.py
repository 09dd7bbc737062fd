"""That a commit of anybody is seen, on both databases, and that the database is not asked more than once a second."""

from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

from defiyield_assets.console.freshness import ASKED_EVERY, Freshness
from defiyield_assets.console.remembered import Made
from defiyield_assets.errors import DefiYieldError
from defiyield_assets.store import schema
from defiyield_assets.store.engine import make_engine, one_view
from defiyield_assets_tests.databases import url_text


@pytest.fixture
def other(warehouse: sa.Engine) -> sa.Engine:
    """Somebody else's connection to the same database."""
    return make_engine(url_text(warehouse.url))


def _add(engine: sa.Engine, name: str) -> None:
    with engine.begin() as connection:
        _insert(connection, name)


def _insert(connection: sa.Connection, name: str) -> None:
    row = {"old_id": name, "new_id": "b", "since": date(2025, 6, 3), "source": "test"}
    connection.execute(sa.insert(schema.pool_aliases).values(row))


def test_a_commit_of_somebody_else_changes_the_version(warehouse: sa.Engine, other: sa.Engine) -> None:
    now = [0.0]
    freshness = Freshness(warehouse, lambda: now[0])
    assert not freshness.is_asked()
    first = freshness.version()
    assert freshness.is_asked()
    now[0] += ASKED_EVERY
    assert not freshness.is_asked()
    assert freshness.version() == first
    _add(other, "a")
    assert freshness.version() == first, "asked again within the second"
    now[0] += ASKED_EVERY
    assert freshness.version() != first
    freshness.close()
    other.dispose()


@pytest.mark.postgres
@pytest.mark.parametrize("warehouse", ["postgres"], indirect=True)
def test_a_commit_behind_a_younger_one_changes_the_version_too(warehouse: sa.Engine) -> None:
    now = [0.0]
    freshness = Freshness(warehouse, lambda: now[0])
    with warehouse.connect() as older, warehouse.connect() as younger:
        _insert(older, "older")
        _insert(younger, "younger")
        younger.commit()
        told = [freshness.version()]
        older.commit()
        now[0] += ASKED_EVERY
        told.append(freshness.version())
    assert told[0] != told[1]


def test_the_state_of_a_view_is_that_of_all_it_shows(warehouse: sa.Engine, other: sa.Engine) -> None:
    count, freshness = sa.select(sa.func.count()).select_from(schema.pool_aliases), Freshness(warehouse)
    told = []
    for name in ("a", "b"):
        with freshness.one_view() as (connection, version):
            told.append((connection.execute(count).scalar_one(), version))
        with freshness.one_view() as (connection, version):
            _add(other, name)
            told.append((connection.execute(count).scalar_one(), version))
    assert [rows for rows, _ in told] == [0, 0, 1, 1]
    assert told[0][1] == told[1][1] != told[2][1] == told[3][1]
    freshness.close()
    other.dispose()


def test_a_view_that_somebody_overtakes_while_it_begins_is_of_no_known_state(
    sqlite_warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    freshness, told = Freshness(sqlite_warehouse), iter([1, 2, 2, 2])
    monkeypatch.setattr(freshness, "_of_sqlite", lambda: next(told))
    with freshness.one_view() as (_, unknown):
        assert unknown not in (1, 2)
    with freshness.one_view() as (_, known):
        assert known == 2


def test_a_database_that_does_not_answer_is_an_error_of_ours(warehouse: sa.Engine, tmp_path: Path) -> None:
    away = warehouse.url.set(database=str(tmp_path))
    with pytest.raises(DefiYieldError, match="cannot read the warehouse's state"):
        Freshness(make_engine(url_text(away))).version()


def test_a_view_is_of_one_moment(warehouse: sa.Engine, other: sa.Engine) -> None:
    count = sa.select(sa.func.count()).select_from(schema.pool_aliases)
    with one_view(warehouse) as connection:
        assert connection.execute(count).scalar_one() == 0
        _add(other, "a")
        assert connection.execute(count).scalar_one() == 0
    with one_view(warehouse) as connection:
        assert connection.execute(count).scalar_one() == 1
    other.dispose()


def test_what_another_process_makes_is_of_the_state_that_is_known_here(warehouse: sa.Engine, other: sa.Engine) -> None:
    """SQLite counts for each connection by itself, so that the other's own number says nothing here."""
    now = [0.0]
    freshness, elsewhere = Freshness(warehouse, lambda: now[0]), Freshness(other)
    _add(make_engine(url_text(warehouse.url)), "before")

    def made() -> Made[str]:
        with elsewhere.one_view() as (_, version):
            return Made("page", version)

    found = freshness.of_elsewhere(made)
    assert (found.value, found.version) == ("page", freshness.version())
    third = make_engine(url_text(warehouse.url))
    _add(third, "after")
    now[0] += ASKED_EVERY
    assert found.version != freshness.version()
    for one in (freshness, elsewhere):
        one.close()
    for engine in (other, third):
        engine.dispose()


def test_what_somebody_overtakes_while_it_is_made_elsewhere_is_of_no_known_state(
    warehouse: sa.Engine, other: sa.Engine
) -> None:
    now = [0.0]
    freshness, elsewhere = Freshness(warehouse, lambda: now[0]), Freshness(other)
    third = make_engine(url_text(warehouse.url))

    def overtaken() -> Made[str]:
        with elsewhere.one_view() as (_, version):
            made = Made("page", version)
        _add(third, "meanwhile")
        return made

    found = freshness.of_elsewhere(overtaken)
    now[0] += ASKED_EVERY
    assert found.version != freshness.version()
    for one in (freshness, elsewhere):
        one.close()
    for engine in (other, third):
        engine.dispose()
