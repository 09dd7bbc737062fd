"""What the command line says about the vendors' budgets: `defiyield budget`, and the statement before a run.

Lives here: drawing with rich. Not here: the arithmetic (domain/budgets.py), the counters (store/budgets.py).
"""

from collections.abc import Sequence
from datetime import date

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine

from defiyield_assets.cli.output import write_json
from defiyield_assets.cli.tables import print_table
from defiyield_assets.definitions import build_resources
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.calls import askable_vendors, expected_calls
from defiyield_assets.orchestration.resources import (
    MarketResource,
    WarehouseResource,
    configured_vendors,
    live_vendors,
    vendor_standings,
)
from defiyield_assets.settings import KEY_VARIABLES, Settings, load_settings
from defiyield_assets.sources.pacing import gap_seconds


def _resources(settings: Settings) -> tuple[MarketResource, Engine | None]:
    """The market and its warehouse; None where that is not there yet."""
    resources = build_resources(settings)
    market, warehouse = resources["market"], resources["warehouse"]
    if not (isinstance(market, MarketResource) and isinstance(warehouse, WarehouseResource)):
        raise ConfigurationError("the warehouse and market resources were replaced; nobody knows their budgets")
    try:
        return market, warehouse.engine
    except ConfigurationError:
        return market, None


def _key(vendor: str, configured: frozenset[str]) -> Text:
    if vendor in configured:
        return Text("yes", style="green")
    if vendor not in KEY_VARIABLES:
        return Text("none needed", style="dim")
    return Text("public one" if vendor == "ethplorer" else "no", style="yellow")


def show_budgets(console: Console, *, is_json: bool) -> int:
    """Every vendor's limits, what is used and left of them now, and what a missing key would add."""
    settings = load_settings()
    market, engine = _resources(settings)
    configured = configured_vendors(settings)
    if is_json:
        _write_budgets(settings, market, engine, configured)
        return 0
    table = Table(title="Budgets", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("vendor", "key", "a call every", "limit"):
        table.add_column(name, no_wrap=True)
    for name in ("used", "left"):
        table.add_column(name, justify="right", no_wrap=True)
    gaps = {vendor: gap_seconds(of_vendor) for vendor, of_vendor in live_vendors(settings).items()}
    for vendor, stands in vendor_standings(settings, engine, market.wall_clock()).items():
        for row, stand in enumerate(stands):
            who = ("", "", "") if row else (vendor, _key(vendor, configured), f"{gaps[vendor]:.2f} s")
            table.add_row(*who, str(stand.limit), f"{stand.used:,}", f"{stand.left:,}")
    print_table(table, console)
    for vendor, (variable, adds) in KEY_VARIABLES.items():
        if vendor not in configured:
            console.print(Text(f"{variable} would add {adds}"), soft_wrap=True)
    if settings.market != "live":
        console.print(f"These are the limits of a live market; the {settings.market} one counts nothing.")
    elif engine is None:
        console.print("The warehouse is not there yet: nothing is used.")
    return 0


def _write_budgets(
    settings: Settings, market: MarketResource, engine: Engine | None, configured: frozenset[str]
) -> None:
    """The same as one JSON document; no key is in it, only whether there is one."""
    gaps = {vendor: gap_seconds(of_vendor) for vendor, of_vendor in live_vendors(settings).items()}
    vendors = [
        {
            "vendor": vendor,
            "key": _key(vendor, configured).plain,
            "seconds_between_calls": gaps[vendor],
            "limits": [{"limit": str(one.limit), "used": one.used, "left": one.left} for one in stands],
        }
        for vendor, stands in vendor_standings(settings, engine, market.wall_clock()).items()
    ]
    missing = [
        {"vendor": vendor, "variable": variable, "adds": adds}
        for vendor, (variable, adds) in KEY_VARIABLES.items()
        if vendor not in configured
    ]
    is_counted = settings.market == "live" and engine is not None
    write_json({"market": settings.market, "is_counted": is_counted, "vendors": vendors, "missing_keys": missing})


def print_statement(settings: Settings, days: Sequence[date], console: Console) -> None:
    """What the run is going to ask of whom, and what the budgets leave; assets refuse what those cannot carry."""
    market, engine = _resources(settings)
    askable = askable_vendors(settings, configured_vendors(settings))
    expected = expected_calls(engine, len(days), askable)
    statement = market.state(engine, expected.needs)
    if not statement.plans:
        return
    total = sum(plan.need.calls for plan in statement.plans)
    console.print(f"  {total:,} calls to come ({expected.basis})")
    if settings.market != "live":
        return
    for plan in statement.plans:
        if plan.refused_by is None:
            console.print(Text(f"    {plan}"))
        else:
            console.print(Text(f"    {plan}; what needs it will refuse to start", style="yellow"))
