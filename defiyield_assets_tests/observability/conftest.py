"""Databases that the tests of figures fill."""

from defiyield_assets_tests.databases import (
    postgres_server,
    postgres_template,
    postgres_warehouse,
    sqlite_template,
    sqlite_warehouse,
    warehouse,
)

__all__ = [
    "postgres_server",
    "postgres_template",
    "postgres_warehouse",
    "sqlite_template",
    "sqlite_warehouse",
    "warehouse",
]
