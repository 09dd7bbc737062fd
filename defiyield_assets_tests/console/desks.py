"""Desks for tests of the console: over any warehouse, with nothing but what a test says.

Lives here: how a desk and a client are put together. Not here: fixtures (conftest.py), warehouses (databases.py).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from starlette.testclient import TestClient

from defiyield_assets.console.app import build_app
from defiyield_assets.console.desk import Desk
from defiyield_assets.console.makers import Makers
from defiyield_assets.orchestration.report_inputs import read_report_inputs

NOW = datetime(2025, 6, 8, 9, 0, tzinfo=UTC)
ADDRESS = "http://127.0.0.1"


def _no_preview(_changed: Path) -> Any:
    raise AssertionError("this test previews nothing")


def desk_over(engine: sa.Engine, folder: Path, people: Mapping[str, str] | None = None, **more: Any) -> Desk:
    """A desk that reads and writes through one engine; `more` replaces fields."""
    made = Desk(
        engine=engine,
        market="simulated",
        writer=lambda: engine,
        report_inputs=read_report_inputs,
        preview=_no_preview,
        config_folder=lambda: None,
        own_folder=folder / "config",
        dagster_url="http://127.0.0.1:3000/",
        docs_url="http://127.0.0.1:3001/",
        secret="a secret of the tests",
        people=dict(people or {}),
        now=lambda: NOW,
    )
    return replace(made, **more)


def client_of(desk: Desk, makers: Makers | None = None, **more: Any) -> TestClient:
    """A browser without a script; where a page raises, the test fails."""
    return TestClient(build_app(desk, makers), base_url=ADDRESS, follow_redirects=False, **more)
