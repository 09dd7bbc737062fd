"""`defiyield demo`: the demo day with words about what happens, and what to look at afterwards.

Lives here: the words before and after, with the day's own figures. Not here: running the day (run.py) or printing its
plan (show.py).
"""

from datetime import date
from typing import Any

import sqlalchemy as sa
from rich.console import Console
from rich.text import Text

from defiyield_assets.cli import run
from defiyield_assets.cli.explain import engine_of_market
from defiyield_assets.cli.output import write_json
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.reporting.formats import clean, usd
from defiyield_assets.errors import ConfigurationError, DefiYieldError
from defiyield_assets.settings import Settings, load_settings
from defiyield_assets.store import reads, schema

INTRODUCTION = (
    "A treasury of stablecoins in two wallets decides what to do on {day}. The vendors are simulated (or recorded): "
    "they answer like the real ones, nothing leaves this machine, no key is needed. The day goes through six phases:",
    "  1  read the wallets, prices, gas and the list of all pools; every answer is archived before it is understood",
    "  2  drop the pools that the policy forbids, and fetch the histories of the others",
    "  3  judge their data, rate their risk, bar tokens that lost their peg",
    "  4  forecast yields and gas, each with a band, by models that had to prove themselves",
    "  5  find the plan that earns most after all costs within all limits; a second solver has to agree",
    "  6  write the report and the message",
)


def run_demo(day: date, console: Console, *, is_json: bool) -> int:
    """Run the day and tell of it; 0 when all of it went well, 1 otherwise."""
    settings = load_settings()
    if settings.market == "live":
        raise ConfigurationError("the demo runs on the simulated or the recorded market: add --market simulated")
    for line in INTRODUCTION:
        console.print(Text(line.format(day=day)))
    console.print()
    code = run.run_days([day], [], console)
    try:
        told = figures_of(engine_of_market(), day)
    except DefiYieldError:
        if code == 0:
            raise
        told = {}
    if is_json:
        write_json({"date": day, "market": settings.market, "is_complete": code == 0, **told})
        return code
    if told:
        print_figures(told, day, settings, console)
    return code


def figures_of(engine: sa.Engine, day: date) -> dict[str, Any]:
    """How many pools came how far, and what the plan promises; nothing where the day did not come so far."""
    only = DayRange.of(day)
    listed = reads.read_days(engine, schema.prefiltered_pools, only, columns=["pool_id", "is_passed"])
    judged = reads.read_days(engine, schema.eligible_pools, only, columns=["pool_id", "is_passed"])
    runs = reads.read_days(engine, schema.allocation_runs, only)
    held = reads.read_days(engine, schema.allocations, only)
    barred = reads.read_days(engine, schema.icebox, only)
    plan = None if runs.empty else runs.iloc[0]
    names = ("status", "message", "aum_usd", "gain_usd", "gas_usd", "conversion_usd", "projected_apy", "n_steps")
    in_plan = held[(held["share_of_aum"] > 0) & (held["pool_id"] != "IDLE")]
    return {
        "pools_listed": len(listed),
        "pools_prefiltered": int(listed["is_passed"].sum()),
        "pools_eligible": int(judged["is_passed"].sum()),
        "pools_in_plan": int(in_plan["pool_id"].nunique()),
        "largest_pool": None if in_plan.empty else str(in_plan.loc[in_plan["share_of_aum"].idxmax(), "pool_id"]),
        "tokens_in_icebox": sorted(str(symbol) for symbol in barred["symbol"]),
        "plan": None if plan is None else {name: plan[name] for name in names},
    }


def print_figures(told: dict[str, Any], day: date, settings: Settings, console: Console) -> None:
    """What the day came to, and the commands that look further."""
    console.print()
    console.print(Text("What happened", style="bold"))
    console.print(
        f"  {told['pools_listed']:,} pools were listed, {told['pools_prefiltered']:,} passed the policy's lists, "
        f"{told['pools_eligible']:,} may be used, {told['pools_in_plan']} are in the plan"
    )
    if told["tokens_in_icebox"]:
        console.print(Text(f"  barred because they left their peg: {clean(', '.join(told['tokens_in_icebox']), 200)}"))
    plan = told["plan"]
    if plan is not None:
        costs = plan["gas_usd"] + plan["conversion_usd"]
        console.print(
            f"  of {usd(plan['aum_usd'])} the plan earns {plan['projected_apy']:.2%} a year before costs; its "
            f"{plan['n_steps']} steps cost {usd(costs)}"
        )
    state = "" if settings.state_dir is None else f" --state-dir {settings.state_dir}"
    same = f"--market {settings.market}{state}"
    console.print(Text("Look further", style="bold"))
    commands = [(f"defiyield report open --date {day} {same}", "the report in a browser")]
    if told["largest_pool"]:
        commands.append((f"defiyield explain {told['largest_pool'][:8]} {same}", "why the largest pool is in"))
    commands += [
        (f"defiyield forecast show {same}", "what is forecast, and by whom"),
        (f"defiyield plan {same}", "the plan once more"),
        (f"defiyield doctor {same}", "what a live installation would still need"),
    ]
    for typed, words in commands:
        console.print(Text(f"  {typed}").append(f"  # {words}", style="dim"), soft_wrap=True)
