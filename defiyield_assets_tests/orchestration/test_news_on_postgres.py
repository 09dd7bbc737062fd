"""News on PostgreSQL: the same rows as on SQLite, checks included."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from defiyield_assets_tests.databases import url_text
from defiyield_assets_tests.installations import FIRST, Installation, day_after
from defiyield_assets_tests.orchestration.test_news import contents, failures, update, with_instruments


@pytest.mark.postgres
def test_two_days_of_news_are_the_same_on_both_databases(tmp_path: Path, postgres_warehouse: sa.Engine) -> None:
    there = with_instruments(Installation(tmp_path, database_url=url_text(postgres_warehouse.url)))
    here = with_instruments(Installation(tmp_path / "sqlite"))
    for made in (there, here):
        for day in (FIRST, day_after(FIRST)):
            result = update(made, checked=True, through=day.isoformat())
            assert result.success
            assert failures(result) == []
    assert contents(there) == contents(here)
