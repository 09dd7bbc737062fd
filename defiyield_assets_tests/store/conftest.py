"""Fixtures of the store's tests: both databases, from databases.py."""

from defiyield_assets_tests.databases import (
    empty_database,
    postgres_server,
    postgres_template,
    postgres_warehouse,
    sqlite_template,
    sqlite_warehouse,
    warehouse,
)

__all__ = [
    "empty_database",
    "postgres_server",
    "postgres_template",
    "postgres_warehouse",
    "sqlite_template",
    "sqlite_warehouse",
    "warehouse",
]
