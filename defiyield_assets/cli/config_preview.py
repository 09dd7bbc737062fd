"""`defiyield config preview`: what other parameters, or other files, would have made of a planned day.

Lives here: which files are meant, and drawing. Not here: the day under another policy
(orchestration/policy_previews.py), the sentence (domain/policy_preview.py), writing the change (config_versions.py).
"""

import argparse
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from defiyield_assets.cli.config_edit import user_of_machine
from defiyield_assets.cli.output import write_json
from defiyield_assets.cli.tables import print_table
from defiyield_assets.config import changed_files, changes
from defiyield_assets.config.parameters import typed_value
from defiyield_assets.config.versions import VERSIONED
from defiyield_assets.domain.policy_preview import PolicyPreview, PoolVerdict
from defiyield_assets.domain.reporting.formats import clean, float_usd, percent
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.policy_previews import preview_change
from defiyield_assets.orchestration.resources import WarehouseResource, market_of
from defiyield_assets.settings import Settings, load_settings

FIGURES = ("projected_apy", "hold_apy", "gain_usd", "gas_usd", "conversion_usd", "n_pools", "n_steps", "status")
LABELS = {
    "projected_apy": "projected APY",
    "hold_apy": "APY of doing nothing",
    "gain_usd": "gain over the horizon",
    "gas_usd": "gas",
    "conversion_usd": "conversions",
    "n_pools": "pools held",
    "n_steps": "transactions",
    "status": "status",
}


def preview(arguments: argparse.Namespace, console: Console) -> int:
    """Print what the change would have done; 0, whatever that is."""
    settings = load_settings()
    changed_files.named_folder(settings)
    texts = changed_texts(settings, arguments.values, arguments.folder)
    changed_files.check(settings.config_path, texts, arguments.date or datetime.now(UTC).date())
    told = previewed(settings, texts, arguments.date)
    if arguments.json:
        write_json({"words": told.words, "basis": told.basis, **asdict(told)})
    else:
        print_preview(told, console)
    return 0


def changed_texts(settings: Settings, values: list[str], folder: Path | None) -> dict[str, str]:
    """Texts by name: the folder's files where one is given, then every `NAME=VALUE`."""
    if not values and folder is None:
        raise argparse.ArgumentTypeError("say what to preview: --set NAME=VALUE, or --folder DIR")
    if folder is not None and not folder.is_dir():
        raise ConfigurationError(f"--folder {folder} is no folder")
    base = folder or changed_files.folder_of_changes(settings)
    texts = {name: changed_files.read_text(base, name)[1] for name in VERSIONED if (base / name).is_file()}
    said = changes.Said(user_of_machine(), "preview", datetime.now(UTC).date())
    for item in values:
        name, found, value = item.partition("=")
        if not found:
            raise argparse.ArgumentTypeError(f"--set {item!r:.80} is not NAME=VALUE")
        text = (
            texts.get("policy.yaml")
            or changed_files.read_text(changed_files.folder_of_changes(settings), "policy.yaml")[1]
        )
        texts["policy.yaml"] = changes.set_parameter(text, name.strip(), typed_value(name.strip(), value), said)
    return texts


def previewed(settings: Settings, texts: dict[str, str], day: date | None) -> PolicyPreview:
    """The preview of the texts on the installation that settings name."""
    warehouse = WarehouseResource(market=settings.warehouse_market)
    with changed_files.trial_folder(settings.config_path, texts) as trial:
        return preview_change(warehouse, market_of(settings), in_force=settings.config_path, changed=trial, day=day)


def print_preview(told: PolicyPreview, console: Console) -> None:
    """Print the sentence, figures, pools and caveats."""
    console.print(Text(told.words, style="bold"), soft_wrap=True)
    for words in filter(None, (told.held_words, told.basis)):
        console.print(Text(words), soft_wrap=True)
    console.print()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("figure", "now", "changed"):
        table.add_column(name, justify="left" if name == "figure" else "right", overflow="fold")
    table.add_row("pools past the pre-filter", f"{told.prefiltered_before:,}", f"{told.prefiltered_after:,}")
    table.add_row("eligible pools", f"{told.eligible_before:,}", f"{told.eligible_after:,}")
    for name in FIGURES:
        table.add_row(LABELS[name], *(_shown(name, getattr(plan, name)) for plan in (told.before, told.after)))
    print_table(table, console)
    for title, pools in (("would drop out", told.dropped), ("would come in", told.let_in)):
        _print_pools(title, pools, console)
    if told.moved:
        console.print(Text("\nholdings that would differ", style="bold"))
        for one in told.moved:
            name = clean(f"{one.symbol} {one.protocol}", 80)
            amounts = " → ".join(float_usd(value) for value in (one.before_usd, one.after_usd))
            console.print(Text(f"  {name}: {amounts}"), soft_wrap=True)
    console.print(Text(f"\nmessage of the plan: {clean(told.after.message, 600)}"), soft_wrap=True)
    for caveat in told.caveats:
        console.print(Text(caveat, style="yellow"), soft_wrap=True)


def _print_pools(title: str, pools: tuple[PoolVerdict, ...], console: Console) -> None:
    if not pools:
        return
    console.print(Text(f"\n{title}", style="bold"))
    for one in pools:
        held = f", held (now: {one.now or 'nothing'}; changed: {one.then or 'nothing'})" if one.is_held else ""
        name = clean(f"{one.symbol} {one.protocol}", 80)
        console.print(Text(f"  {name}{held}: {clean(one.reasons, 300)}"), soft_wrap=True)


def _shown(name: str, value: Any) -> str:
    if name.endswith("_apy"):
        return percent(value)
    return float_usd(value) if name.endswith("_usd") else str(value)
