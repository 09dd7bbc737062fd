"""Fixtures of the deployment's tests: a real PostgreSQL server."""

from defiyield_assets_tests.databases import postgres_programs, postgres_server

__all__ = ["postgres_programs", "postgres_server"]
