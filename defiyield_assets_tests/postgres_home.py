"""A Dagster home whose storage is a PostgreSQL database: deploy/dagster.postgres.yaml as it is.

Lives here: making it and opening its storage. Not here: databases (databases.py), processes (dagster_processes.py).
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from defiyield_assets.settings import PROJECT_ROOT
from defiyield_assets_tests.dagster_processes import DagsterHome
from defiyield_assets_tests.databases import url_text


def make_home(folder: Path, warehouse: sa.URL, dagster: sa.URL) -> DagsterHome:
    """A home with the file of deploy/ as it is; the server listens on a socket, whose folder stands for the host."""
    home = DagsterHome.make(
        folder,
        DEFIYIELD_DATABASE_URL=url_text(warehouse),
        DEFIYIELD_DAGSTER_PG_HOST=dagster.host or "",
        DEFIYIELD_DAGSTER_PG_USER=dagster.username or "",
        DEFIYIELD_DAGSTER_PG_PASSWORD=dagster.password or "",
        DEFIYIELD_DAGSTER_PG_DB=dagster.database or "",
        DEFIYIELD_RETRY_DELAY_SECONDS="0",
        COLUMNS="400",
        PGHOST=str(dagster.query.get("host", "")),
    )
    shutil.copy(PROJECT_ROOT / "deploy" / "dagster.postgres.yaml", home.home / "dagster.yaml")
    return home


@contextmanager
def instance_of(home: DagsterHome) -> Iterator[dg.DagsterInstance]:
    """Dagster's storage as another process of that home sees it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in home.variables.items():
            patch.setenv(name, value)
        with dg.DagsterInstance.from_config(str(home.home)) as instance:
            yield instance
