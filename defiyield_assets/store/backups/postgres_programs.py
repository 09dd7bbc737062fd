"""PostgreSQL's own programs as child processes: a database dumped to a file, and read back in one transaction.

Lives here: finding pg_dump and pg_restore, their versions, how they are told where to go; a password travels in the
child's environment, never on a command line. Not here: what a backup consists of (archive.py).
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from psycopg.conninfo import make_conninfo

from defiyield_assets.errors import ConfigurationError, PermanentError

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_MOST_TOLD = 600
"""Characters of what a program complained about that an error repeats."""


@dataclass(frozen=True)
class Address:
    """Where a database is, for libpq: `conninfo` without the password, and the password."""

    conninfo: str
    password: str | None

    @classmethod
    def of(cls, url: sa.URL) -> "Address":
        """Of a URL with or without a driver."""
        dialect = sa.make_url("postgresql+psycopg://").get_dialect()()
        _, words = dialect.create_connect_args(url.set(drivername="postgresql+psycopg"))
        password = words.pop("password", None)
        return cls(make_conninfo(**words), password)


def require_program(name: str, folder: Path | None, server_version: int) -> Path:
    """The program, at least as new as the server (its major version); ConfigurationError says what to do without."""
    found = shutil.which(name, path=None if folder is None else str(folder))
    if found is None:
        where = "on PATH" if folder is None else f"in DEFIYIELD_PG_BIN={folder}"
        raise ConfigurationError(
            f"{name} is not {where}: install PostgreSQL's client programs, version {server_version} or newer, or name "
            f"their folder with DEFIYIELD_PG_BIN"
        )
    told = _run([found, "--version"], None)
    match = _VERSION.search(told)
    if match is None or int(match[1]) < server_version:
        raise ConfigurationError(
            f"{found} is version {match[1] if match else 'unknown'}, but the server is PostgreSQL {server_version}: "
            f"name the folder of programs of version {server_version} or newer with DEFIYIELD_PG_BIN"
        )
    return Path(found)


def dump(program: Path, address: Address, target: Path, snapshot: str) -> None:
    """The whole database as a transaction exported it, in pg_dump's custom format; no owners, no privileges."""
    words = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}", f"--file={target}"]
    _run([str(program), *words, f"--dbname={address.conninfo}"], address.password)


def restore(program: Path, address: Address, source: Path, application: str) -> None:
    """Everything of the dump in one transaction, all of it or nothing; the server lists it as `application`."""
    words = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
    _run([str(program), *words, f"--dbname={address.conninfo}", str(source)], address.password, application)


def _run(command: Sequence[str], password: str | None, application: str | None = None) -> str:
    """What it wrote; PermanentError with its complaint when it fails."""
    variables = {**os.environ, "LC_ALL": "C"}
    if password is not None:
        variables["PGPASSWORD"] = password
    if application is not None:
        variables["PGAPPNAME"] = application
    done = subprocess.run(  # noqa: S603 - a program that was looked up, words of our own
        command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode:
        told = " ".join(done.stderr.decode("utf-8", "replace").split())[:_MOST_TOLD]
        raise PermanentError(f"{Path(command[0]).name} failed: {told or f'exit code {done.returncode}'}")
    return done.stdout.decode("utf-8", "replace")
