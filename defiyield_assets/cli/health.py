"""`defiyield health`: the probes of an installation, for Kubernetes, systemd, containers and people.

Lives here: the probe `live`, drawing, the clock. Not here: the checks of the other probes (health_checks.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.text import Text

from defiyield_assets.cli.output import write_json
from defiyield_assets.observability.logs import one_line
from defiyield_assets.settings import Settings, load_settings

LONGEST = 1_000
"""Characters of a line."""


@dataclass(frozen=True)
class Looked:
    """What the checks may use."""

    settings: Settings
    now: datetime
    stuck_after: timedelta


@dataclass(frozen=True)
class Line:
    """What a probe found of one subject, and what would be right."""

    probe: str
    subject: str
    is_well: bool
    what: str
    advice: str = ""


def examine(console: Console, probes: Sequence[str], stuck_hours: float, *, is_json: bool) -> int:
    """Run the probes; 1 when anything is not as it should be, 0 otherwise."""
    found = look(Looked(load_settings(), datetime.now(UTC), timedelta(hours=stuck_hours)), probes)
    is_well = all(line.is_well for line in found)
    if is_json:
        write_json({"is_healthy": is_well, "lines": found})
    else:
        for line in found:
            words = Text("well   " if line.is_well else "broken ", style="green" if line.is_well else "bold red")
            words.append(f"{line.probe:<7}{line.subject:<10}", style="bold")
            words.append(one_line(" -> ".join(filter(None, (line.what, line.advice))))[:LONGEST])
            console.print(words, soft_wrap=True)
    return 0 if is_well else 1


def look(looked: Looked, probes: Sequence[str]) -> list[Line]:
    """What the probes found. `live` imports nothing that knows a database, so that it can ask none."""
    found: list[Line] = []
    for probe in probes:
        if probe == "live":
            found.append(_folder(looked.settings))
        else:
            from defiyield_assets.cli import health_checks

            found += health_checks.look(probe, looked)
    return found


def _folder(settings: Settings) -> Line:
    """The program started, and its state folder is there: what else is wrong another start would not mend."""
    place = settings.state_path.resolve()
    if place.is_dir():
        return Line("live", "program", is_well=True, what=f"settings can be read, state is kept in {place}")
    advice = "mount it, or name it with DEFIYIELD_STATE_DIR"
    return Line("live", "program", is_well=False, what=f"no state folder at {place}", advice=advice)
