"""Fixtures of the command line's tests: real databases."""

from defiyield_assets_tests.databases import (
    postgres_programs,
    postgres_server,
    postgres_template,
    postgres_warehouse,
    sqlite_template,
)

__all__ = ["postgres_programs", "postgres_server", "postgres_template", "postgres_warehouse", "sqlite_template"]
