"""The files of deploy/ as tests read them, and their roles on a server of the tests.

Not here: tests.
"""

import os
import re
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml

from defiyield_assets.settings import PROJECT_ROOT
from defiyield_assets_tests.programs import find_program

DEPLOY = PROJECT_ROOT / "deploy"
ROLES = ("owner", "writer", "reader", "console", "dagster")


def compose() -> dict[str, Any]:
    """compose.yaml with its merges done."""
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Instruction:
    """One instruction of the Containerfile, its continued lines in one."""

    word: str
    rest: str
    stage: int


def containerfile() -> list[Instruction]:
    """Every instruction with the number of its stage, from 0."""
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    found, stage = [], -1
    for line in filter(str.strip, lines.splitlines()):
        word, _, rest = line.strip().partition(" ")
        stage += word == "FROM"
        found.append(Instruction(word, re.sub(r"\s+", " ", rest), stage))
    return found


def image_environment() -> dict[str, str]:
    """ENV of the final stage."""
    last = containerfile()[-1].stage
    pairs = [one.rest.split(" ") for one in containerfile() if one.word == "ENV" and one.stage == last]
    return dict(pair.split("=", 1) for of_one in pairs for pair in of_one)


def without_settings() -> dict[str, str]:
    """Our environment without what configures another installation."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("DEFIYIELD_", "DAGSTER_", "PG"))}


@dataclass(frozen=True)
class Roles:
    """The roles and databases of deploy/postgres on a server of the tests."""

    server: sa.URL
    warehouse: str
    dagster: str
    secrets: Path
    environment: Mapping[str, str]

    def url(self, role: str, database: str | None = None) -> sa.URL:
        """The warehouse, or another database, as that role."""
        password = (self.secrets / f"{role}_password").read_text(encoding="ascii")
        return self.server.set(
            drivername="postgresql+psycopg",
            username=f"defiyield_{role}",
            password=password,
            database=database or self.warehouse,
        )

    def first_start(self) -> None:
        """deploy/postgres/first-start.sh, as the database's container runs it."""
        subprocess.run([DEPLOY / "postgres" / "first-start.sh"], env=dict(self.environment), check=True, timeout=120)


@contextmanager
def roles_on(server: sa.URL, programs: Path | None, folder: Path) -> Iterator[Roles]:
    """Secrets of deploy/make-secrets.sh, then the first start; databases and roles are dropped afterwards."""
    if programs is None:
        find_program("psql", "postgresql-client")
    secrets = folder / "secrets"
    subprocess.run([DEPLOY / "make-secrets.sh", secrets], check=True, timeout=60)
    mark = uuid.uuid4().hex[:12]
    environment = {
        **without_settings(),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}" if programs else os.environ["PATH"],
        "PGHOST": str(server.query.get("host") or server.host or ""),
        "PGPORT": str(server.port or 5432),
        "POSTGRES_USER": server.username or "postgres",
        "DEFIYIELD_ROLES_SQL": str(DEPLOY / "postgres" / "roles.sql"),
        "DEFIYIELD_SECRETS": str(secrets),
        "DEFIYIELD_WAREHOUSE_DB": f"warehouse_{mark}",
        "DEFIYIELD_DAGSTER_PG_DB": f"dagster_{mark}",
    }
    if server.password:
        environment["PGPASSWORD"] = server.password
    found = Roles(server, f"warehouse_{mark}", f"dagster_{mark}", secrets, environment)
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    try:
        found.first_start()
        yield found
    finally:
        with admin.connect() as connection:
            for name in (found.warehouse, found.dagster):
                connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            for role in ROLES:
                connection.exec_driver_sql(f"DROP ROLE IF EXISTS defiyield_{role}")
