"""`defiyield strategies …`: which there are, whether a file is one, and the schema that editors complete by.

Lives here: what is printed. Not here: arguments (lab_arguments.py), the language (domain/strategies), reading files
(config/strategy_files.py), running one (strategy_backtest.py).
"""

import json
import sys
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from defiyield_assets.cli import show
from defiyield_assets.cli.output import write_json
from defiyield_assets.cli.tables import print_table
from defiyield_assets.config.models import load_models
from defiyield_assets.config.reading import listed, read_file
from defiyield_assets.config.strategy_files import known_universes, load_strategies, parsed, told_problems
from defiyield_assets.domain.strategies.checking import Known
from defiyield_assets.domain.strategies.columns import known_columns, nearest
from defiyield_assets.domain.strategies.language import CompositeStrategy
from defiyield_assets.domain.strategies.strategy import Strategy, json_schema
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.settings import load_settings


def list_strategies(console: Console, *, is_json: bool) -> int:
    """Every strategy that an assessment would try: the shipped ones and those of the configuration folder."""
    strategies = load_strategies(load_settings().config_path)
    facts = [_facts(strategy) for strategy in strategies.values()]
    if is_json:
        write_json(facts)
        return 0
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("strategy", "type", "universe", "what it does", "columns"):
        table.add_column(name, overflow="fold")
    table.add_column("warm-up", justify="right")
    for one in facts:
        words = (one["strategy_id"], one["type"], one["universe"], one["description"], ", ".join(one["columns"]))
        table.add_row(*(show.plain(str(word)) for word in words), f"{one['warm_up_bars']}")
    print_table(table, console)
    return 0


def check_strategy(path: Path, console: Console, *, is_json: bool) -> int:
    """Read a file as an assessment would; an error names file, line, what is wrong and what would be right."""
    strategy = strategy_of_file(path)
    facts = _facts(strategy)
    if is_json:
        write_json(facts)
        return 0
    name = f"[green]{show.plain(path.name)}[/] is a strategy: [bold]{show.plain(strategy.strategy_id)}[/]"
    console.print(name, soft_wrap=True)
    told = {**facts, "columns": ", ".join(facts["columns"])}
    for key in ("type", "universe", "warm_up_bars", "columns", "content_hash"):
        console.print(show.plain(f"  {key.replace('_', ' ')}: {told[key]}"), soft_wrap=True)
    return 0


def write_schema(path: Path | None, console: Console, *, is_json: bool) -> int:
    """Print the JSON Schema of a strategy's file, or write it where an editor looks for it."""
    text = json.dumps(json_schema(), indent=1) + "\n"
    if path is None:
        sys.stdout.write(text)
        return 0
    if not path.parent.is_dir():
        raise ConfigurationError(f"{path.parent} is no folder; create it or name another file")
    path.write_text(text, encoding="utf-8")
    if is_json:
        write_json({"path": path})
        return 0
    console.print(show.plain(f"schema written to {path}; name it in a file's first line:"), soft_wrap=True)
    console.print(show.plain(f"# yaml-language-server: $schema={path.name}"), soft_wrap=True)
    return 0


def strategy_of_file(path: Path) -> Strategy:
    """The strategy of a file; its members, if it has any, are the strategies that there are."""
    if not path.is_file():
        raise ConfigurationError(f"{path}: there is no such file")
    others = load_strategies(load_settings().config_path)
    source = read_file(path.name, path.parent)
    spec = parsed(source)
    folder = load_settings().config_path
    known = Known(known_columns(), frozenset(others) - {spec.id}, load_models(folder).names())
    found = told_problems(source, spec, known, known_universes(folder))
    if found:
        raise ConfigurationError(listed(found))
    members = spec.members if isinstance(spec, CompositeStrategy) else ()
    return Strategy(spec, tuple(others[one.strategy] for one in members))


def chosen_strategy(name: str) -> Strategy:
    """A strategy by its id, or by its file."""
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return strategy_of_file(Path(name))
    strategies = load_strategies(load_settings().config_path)
    if name not in strategies:
        raise ConfigurationError(f"no strategy is called {name!r}; {nearest(name, strategies)}")
    return strategies[name]


def _facts(strategy: Strategy) -> dict[str, Any]:
    return {
        "strategy_id": strategy.strategy_id,
        "version": strategy.version,
        "type": strategy.spec.type,
        "universe": strategy.spec.universe,
        "description": strategy.spec.description,
        "columns": sorted(strategy.columns),
        "warm_up_bars": strategy.warm_up(known_columns()),
        "content_hash": strategy.content_hash,
    }
