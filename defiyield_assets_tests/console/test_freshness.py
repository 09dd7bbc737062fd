"""That a commit of anybody is seen, on both databases, and that the database is not asked more than once a second."""

import pytest
import sqlalchemy as sa

from defiyield_assets.console.freshness import ASKED_EVERY, Freshness
from defiyield_assets.store import schema
from defiyield_assets.store.engine import make_engine, one_view
from defiyield_assets_tests.databases import url_text


@pytest.fixture
def other(warehouse: sa.Engine) -> sa.Engine:
    """Somebody else's connection to the same database."""
    return make_engine(url_text(warehouse.url))


def _add(engine: sa.Engine, name: str) -> None:
    with engine.begin() as connection:
        connection.execute(
            sa.insert(schema.pool_aliases).values(old_id=name, new_id="b", since=sa.func.current_date(), source="test")
            if engine.dialect.name == "postgresql"
            else sa.text(f"INSERT INTO pool_aliases VALUES ('{name}', 'b', '2025-06-03', 'test')")
        )


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


def test_a_view_is_of_one_moment(warehouse: sa.Engine, other: sa.Engine) -> None:
    count = sa.select(sa.func.count()).select_from(schema.pool_aliases)
    with one_view(warehouse) as connection:
        assert connection.execute(count).scalar_one() == 0
        _add(other, "a")
        assert connection.execute(count).scalar_one() == 0
    with one_view(warehouse) as connection:
        assert connection.execute(count).scalar_one() == 1
    other.dispose()
