"""`defiyield config show`, `validate` and `init`: settings in force, what is wrong with them, files of one's own.

Lives here: where a setting comes from, secrets hidden, every configuration file checked by itself. Not here: changing
rows (config_edit.py), settings and their defaults (settings.py), the rules of a file (config/).
"""

import argparse
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic_core import PydanticUndefined
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from defiyield_assets.addresses import HIDDEN, without_secrets
from defiyield_assets.cli.output import write_json
from defiyield_assets.config.csv_sources import load_csv_sources
from defiyield_assets.config.instruments import load_instruments
from defiyield_assets.config.loader import POLICY_FILES, load_policy
from defiyield_assets.config.models import load_models
from defiyield_assets.config.news_lexicon import load_news_lexicon
from defiyield_assets.config.paper import load_paper
from defiyield_assets.config.reading import SHIPPED
from defiyield_assets.config.scenarios import load_scenarios
from defiyield_assets.config.strategy_files import load_strategies
from defiyield_assets.domain.reporting.formats import clean
from defiyield_assets.errors import ConfigurationError, DefiYieldError
from defiyield_assets.observability.secrets import SECRET_NAME
from defiyield_assets.secret_files import PREFIX, SUFFIX
from defiyield_assets.settings import Settings, load_settings, secret_fields

OPTIONS = {"market": "--market", "recorded_data": "--recorded-data", "state_dir": "--state-dir"}
PRIVATE = ("accounts.yaml",)
READ_BY_OTHERS = tuple(f"{PREFIX}{name}" for name in ("TEST_", "REQUIRE_", "DAGSTER_PG_", "CODE_HOST"))
"""Beginnings of variables that are no settings: of tests, of the dagster.yaml and workspace.yaml in deploy/."""


@dataclass(frozen=True)
class Told:
    """One setting: variable, value as it may be shown, where it comes from, what it means, what is wrong with it."""

    variable: str
    value: Any
    source: str
    description: str
    error: str | None = None


@dataclass(frozen=True)
class Checked:
    """One file, or the settings: what was read, and what is wrong or doubtful."""

    name: str
    source: str
    error: str | None
    warnings: tuple[str, ...] = ()


def shown(name: str, value: Any) -> Any:
    """A setting's value as it may be shown to anybody."""
    if value is None:
        return None
    if isinstance(value, SecretStr) or SECRET_NAME.search(name.upper()):
        return HIDDEN
    if name == "vendors":
        return {vendor: _override(vendor, override) for vendor, override in value.items()}
    if isinstance(value, str) and ("://" in value or name.endswith(("_url", "_server"))):
        return without_secrets(value)
    return value


def _override(vendor: str, override: Any) -> dict[str, Any]:
    """Own limits of a vendor; its address only where it cannot be a secret."""
    told: dict[str, Any] = override.model_dump(exclude_none=True)
    if "base_url" in told:
        told["base_url"] = HIDDEN if vendor == "ethereum_node" else without_secrets(str(told["base_url"]))
    return told


def effective(arguments: argparse.Namespace | None = None) -> list[Told]:
    """Every setting in force and where it comes from; where settings cannot be read, what was said and is wrong."""
    try:
        settings: Settings | None = load_settings()
        problems: dict[str, str] = {}
    except ConfigurationError as error:
        settings, problems = None, _problems(str(error))
    said = {name.upper(): value for name, value in os.environ.items() if value and name.upper().startswith(PREFIX)}
    files = {f"{PREFIX}{name.upper()}{SUFFIX}" for name in secret_fields()} & set(said)
    told = []
    for name, field in Settings.model_fields.items():
        variable = f"{PREFIX}{name.upper()}"
        if variable in said:
            by_option = arguments is not None and getattr(arguments, name, None) and name in OPTIONS
            source = OPTIONS[name] if by_option else "environment"
        elif variable + SUFFIX in files:
            source = f"file {said[variable + SUFFIX]}"
        else:
            source = "default"
        if settings is not None:
            value = shown(name, getattr(settings, name))
        elif variable + SUFFIX in files:
            value = HIDDEN
        elif variable in said:
            value = HIDDEN if _may_be_secret(name) else clean(said[variable], 200)
        else:
            value = None if field.default is PydanticUndefined else shown(name, field.default)
        wrong = problems.get(variable, problems.get(variable + SUFFIX))
        told.append(Told(variable, value, source, field.description or "", wrong))
    known = {item.variable for item in told}
    told += [
        Told(name, HIDDEN, "environment", "no setting of this name: nothing reads it", "unknown name")
        for name in sorted(set(said) - known - files)
        if not name.startswith(READ_BY_OTHERS)
    ]
    return told


def _may_be_secret(name: str) -> bool:
    return bool(SECRET_NAME.search(name.upper())) or name.endswith(("_url", "_server")) or name == "vendors"


def _problems(message: str) -> dict[str, str]:
    """What the error of the settings says of each variable."""
    found = {}
    for part in message.removeprefix("environment: ").split("; DEFIYIELD_"):
        name, _, words = part.removeprefix("DEFIYIELD_").partition(": ")
        found[f"{PREFIX}{name.split('.')[0]}"] = words
    return found


def files_in_force(folder: Path | None) -> dict[str, str]:
    """Which file of each name counts: the user's, or the shipped one."""
    return {
        path.name: str(folder / path.name) if folder is not None and (folder / path.name).is_file() else "shipped"
        for path in sorted(SHIPPED.glob("*.yaml"))
    }


def show_settings(arguments: argparse.Namespace, console: Console) -> int:
    """Print the settings; 0, or 2 when they cannot be read."""
    told = effective(arguments)
    is_right = not any(item.error for item in told if item.error != "unknown name")
    try:
        settings: Settings | None = load_settings()
    except ConfigurationError:
        settings = None
    places: Mapping[str, Any] = {}
    if settings is not None:
        places = {
            "state": settings.state_path.resolve(),
            "warehouse": without_secrets(settings.warehouse_url),
            "reports": settings.reports_path.resolve(),
            "configuration": _folder_words(settings),
        }
    files = files_in_force(settings.config_path if settings is not None else None)
    if arguments.json:
        write_json({"settings": told, "places": places, "files": files})
        return 0 if is_right else 2
    table = Table(title="Settings", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("variable", "value", "from"):
        table.add_column(name, overflow="fold")
    for item in told:
        value = "" if item.value is None else str(item.value)
        wrong = f"  wrong: {item.error}" if item.error else ""
        table.add_row(Text(item.variable), Text(value).append(wrong, style="red"), Text(item.source), style=_dim(item))
    console.print(table)
    for title, facts in (("Places", places), ("Files", files)):
        drawn = Table(
            title=title, title_justify="left", title_style="bold", box=None, show_header=False, pad_edge=False
        )
        for name, fact in facts.items():
            drawn.add_row(Text(name, style="dim"), Text(str(fact), overflow="fold"))
        console.print(drawn)
    return 0 if is_right else 2


def _folder_words(settings: Settings) -> str:
    """The folder whose files are in force, and why it is that one."""
    if settings.config_path is None:
        return "the shipped files"
    why = "the state folder's own" if settings.config_dir is None else "DEFIYIELD_CONFIG_DIR"
    return f"{settings.config_path.resolve()} ({why})"


def _dim(item: Told) -> str:
    return "dim" if item.source == "default" and item.value is None else ""


def checks_of_files(folder: Path | None, day: date) -> list[Checked]:
    """Every configuration file by itself, so that one that is wrong hides no other."""
    warnings: list[str] = []

    def policy() -> None:
        warnings.extend(load_policy(day, folder).warnings)

    def paper() -> None:
        load_paper(folder, load_strategies(folder))

    readers: Mapping[str, Callable[[], Any]] = {
        ", ".join(POLICY_FILES): policy,
        "instruments.yaml": lambda: load_instruments(folder),
        "csv_sources.yaml": lambda: load_csv_sources(folder),
        "models.yaml": lambda: load_models(folder),
        "news_lexicon.yaml": lambda: load_news_lexicon(folder),
        "scenarios.yaml": lambda: load_scenarios(folder),
        "strategies": lambda: load_strategies(folder),
        "paper.yaml": paper,
    }
    files, found = files_in_force(folder), []
    for name, read in readers.items():
        own = [files[part] for part in name.split(", ") if files.get(part, "shipped") != "shipped"]
        source = ", ".join(own) or "shipped"
        try:
            read()
            error = None
        except DefiYieldError as problem:
            error = str(problem)
        except Exception as problem:  # noqa: BLE001 - whatever a file holds, the others are told of too
            error = f"{type(problem).__name__}: {problem}"
        found.append(Checked(name, source, error, tuple(warnings) if read is policy else ()))
    return found


def check_all(day: date) -> list[Checked]:
    """Settings first, then every file; without settings the shipped files cannot be told from the user's."""
    try:
        settings = load_settings()
    except ConfigurationError as error:
        return [Checked("settings", "environment", str(error))]
    unknown = tuple(
        f"{item.variable} is set, but no setting has that name" for item in effective() if item.error == "unknown name"
    )
    return [Checked("settings", "environment", None, unknown), *checks_of_files(settings.config_path, day)]


def validate(day: date | None, console: Console, *, is_json: bool) -> int:
    """Tell all that is wrong; 0 when nothing is, 2 otherwise."""
    found = check_all(day or datetime.now(UTC).date())
    is_right = not any(item.error for item in found)
    if is_json:
        write_json({"is_right": is_right, "checked": found})
        return 0 if is_right else 2
    for item in found:
        state = Text("wrong ", style="red") if item.error else Text("right ", style="green")
        console.print(state.append(item.name, style="bold").append(f"  ({item.source})", style="dim"), soft_wrap=True)
        for line in (item.error or "").splitlines():
            console.print(Text(f"  {clean(line, 1_000)}"), soft_wrap=True)
        for warning in item.warnings:
            console.print(Text(f"  {clean(warning, 1_000)}", style="yellow"), soft_wrap=True)
    return 0 if is_right else 2


def copy_shipped(folder: Path | None, console: Console, *, is_all: bool, is_json: bool) -> int:
    """Copy the shipped files into the user's folder; what is there stays as it is."""
    try:
        configured = load_settings().config_dir
    except ConfigurationError:
        configured = None
    target = folder or configured
    if target is None:
        raise ConfigurationError("say where: `defiyield config init FOLDER`, or set DEFIYIELD_CONFIG_DIR")
    if target.resolve().is_relative_to(SHIPPED.resolve()):
        raise ConfigurationError(f"{target} belongs to the program: name another folder")
    names = [path.name for path in sorted(SHIPPED.glob("*.yaml"))] if is_all else list(POLICY_FILES)
    copied, kept = [], []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            path = target / name
            if path.exists():
                kept.append(name)
                continue
            with path.open("xb") as file, (SHIPPED / name).open("rb") as shipped:
                path.chmod(0o600 if name in PRIVATE else 0o644)
                shutil.copyfileobj(shipped, file)
            copied.append(name)
    except OSError as error:
        raise ConfigurationError(f"{target} cannot be written: {error.strerror}") from error
    if is_json:
        write_json({"folder": target.resolve(), "copied": copied, "kept": kept})
        return 0
    console.print(Text(f"{target}: copied {', '.join(copied) or 'nothing'}"), soft_wrap=True)
    if kept:
        console.print(Text(f"left as they are: {', '.join(kept)}"), soft_wrap=True)
    if configured is None or configured.resolve() != target.resolve():
        console.print(Text(f"now set DEFIYIELD_CONFIG_DIR={target.resolve()}"), soft_wrap=True)
    return 0
