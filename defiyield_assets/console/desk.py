"""What the console stands on: the warehouse to read, and what other rooms do for it.

Lives here: the types of what the command line hands over. Not here: who hands it over (cli/console.py), pages.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import sqlalchemy as sa

from defiyield_assets.domain.policy_preview import PolicyPreview
from defiyield_assets.domain.reporting.inputs import ReportInputs
from defiyield_assets.store.warehouse import ReadableWarehouse


def utc_now() -> datetime:
    """The present."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Desk:
    """Everything that pages rest on.

    `engine` reads (as a role that can do nothing else, where there is one); `writer` opens what writes policy versions
    and the audit log, and nothing else. `report_inputs` gathers a day as the report does; `preview` judges the newest
    planned day under a folder of changed files. `config_folder` tells the folder of the configuration in force, None
    while the shipped files are; `own_folder` is where changes go. `people` are names and their tokens: with none there
    is no login. `hosts` are the names under which the console may be asked for. `secret` signs sessions.
    `is_warmed`: a process makes what pages share before it answers anybody.
    """

    engine: sa.Engine
    market: str
    writer: Callable[[], sa.Engine]
    report_inputs: Callable[[ReadableWarehouse, date], ReportInputs]
    preview: Callable[[Path], PolicyPreview]
    config_folder: Callable[[], Path | None]
    own_folder: Path
    dagster_url: str
    docs_url: str
    secret: str
    people: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost")
    is_https: bool = False
    is_warmed: bool = False
    now: Callable[[], datetime] = utc_now
