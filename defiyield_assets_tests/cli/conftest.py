"""Fixtures of the command line's tests: real databases, and an installation with rows."""

from defiyield_assets_tests.cli.kept import kept, made, on_file
from defiyield_assets_tests.databases import (
    postgres_programs,
    postgres_server,
    postgres_template,
    postgres_warehouse,
    sqlite_template,
)

__all__ = [
    "kept",
    "made",
    "on_file",
    "postgres_programs",
    "postgres_server",
    "postgres_template",
    "postgres_warehouse",
    "sqlite_template",
]
