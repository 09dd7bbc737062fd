"""Dagster's home and storage as commands that only look see them: nothing is made that is not there.

Lives here: where the home is, what keeps its storage, opening it. Not here: what is looked at in it (doctor_checks.py,
health_checks.py, metrics.py).
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from defiyield_assets.errors import ConfigurationError
from defiyield_assets.settings import PROJECT_ROOT, Settings

if TYPE_CHECKING:
    import dagster as dg

SQLITE = "sqlite"
CONNECT_SECONDS = "3"
"""How long a server of PostgreSQL may take to let us in; without it libpq waits for as long as the network does."""


def home_folder() -> Path:
    """The folder of dagster.yaml: DAGSTER_HOME, or the checkout."""
    return Path(os.environ.get("DAGSTER_HOME") or PROJECT_ROOT)


def storage_kind(path: Path) -> str:
    """What keeps Dagster's storage by that dagster.yaml, such as sqlite or postgres; errors of YAML and files pass."""
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    storage = content.get("storage", {}) if isinstance(content, dict) else {}
    return ", ".join(storage) if isinstance(storage, dict) and storage else SQLITE


def is_begun(kind: str, settings: Settings) -> bool:
    """Whether there is a storage to look into: opening SQLite's would make it."""
    return kind != SQLITE or (settings.state_path.resolve() / "history").exists()


def name_homes(settings: Settings) -> None:
    """Tell Dagster, which reads the environment, where home and state are."""
    os.environ.setdefault("DEFIYIELD_STATE_DIR", str(settings.state_path.resolve()))
    os.environ.setdefault("DAGSTER_HOME", str(home_folder()))
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("PGCONNECT_TIMEOUT", CONNECT_SECONDS)


def open_instance(settings: Settings) -> "dg.DagsterInstance":
    """Dagster's instance; ConfigurationError where nothing was ever stored."""
    path = home_folder() / "dagster.yaml"
    try:
        kind = storage_kind(path)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    if not is_begun(kind, settings):
        raise ConfigurationError(f"Dagster has stored nothing yet below {settings.state_path.resolve()}")
    name_homes(settings)
    import dagster as dg

    return dg.DagsterInstance.get()


def storage_failure(error: Exception) -> ConfigurationError | None:
    """What to say when Dagster's PostgreSQL did not let us in; None for every other error.

    Dagster tries a few times and then raises an error of its own, from within whatever first asks for its instance.
    """
    storage = sys.modules.get("dagster_postgres.utils")
    if storage is None or not isinstance(error, storage.DagsterPostgresException):
        return None
    words = " ".join(str(getattr(error.__cause__, "orig", None) or error).split())
    return ConfigurationError(
        f"Dagster's storage does not answer: {words}; look at {home_folder() / 'dagster.yaml'} and at what it names "
        f"(DEFIYIELD_DAGSTER_PG_HOST, _USER, _PASSWORD, _DB)"
    )
