"""`defiyield simulator serve`: the simulated or recorded market as an HTTP server that speaks for all vendors.

Lives here: what it prints, its life until Ctrl-C. Not here: its options (simulator_arguments.py), the server
(simulator/server.py).
"""

import argparse
import asyncio
import re
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from defiyield_assets.cli.output import write_json
from defiyield_assets.errors import ConfigurationError

if TYPE_CHECKING:
    from defiyield_assets.simulator.server import RateLimit, VendorServer

_LIMIT = re.compile(r"(?P<host>[^=/]+)=(?P<calls>\d{1,9})/(?P<seconds>\d{1,6}(\.\d+)?)")


def parse_rate_limits(words: Sequence[str]) -> "dict[str, RateLimit]":
    """Vendor host -> limit, from `HOST=N/SECONDS`; ConfigurationError says what would be right."""
    from defiyield_assets.simulator.server import RateLimit

    limits = {}
    for text in words:
        found = _LIMIT.fullmatch(text.strip())
        if found is None or not int(found["calls"]) or not float(found["seconds"]):
            raise ConfigurationError(f"rate limit {text!r}: write HOST=N/SECONDS, such as yields.llama.fi=300/60")
        limits[found["host"].lower()] = RateLimit(int(found["calls"]), float(found["seconds"]))
    return limits


def build_server(arguments: argparse.Namespace) -> "VendorServer":
    """The server that the options ask for; faults of DEFIYIELD_SIMULATED_FAULTS count too."""
    from defiyield_assets.definitions import build_resources
    from defiyield_assets.settings import load_settings
    from defiyield_assets.simulator.faults import fault_from_words, parse_fault_rules
    from defiyield_assets.simulator.server import VendorServer

    settings = load_settings()
    simulation = build_resources(settings)["market"].simulation
    if simulation is None:
        raise ConfigurationError("the live market cannot be served; give --market simulated or recorded")
    rules = [
        *(parse_fault_rules(settings.simulated_faults) if settings.simulated_faults else ()),
        *(fault_from_words(words) for words in arguments.fault),
    ]
    limits = parse_rate_limits(arguments.rate_limit)
    try:
        return VendorServer(simulation, day=arguments.day, rules=rules, limits=limits)
    except ConfigurationError as error:
        if arguments.day is None:
            raise ConfigurationError(f"{error}: give one of them with --day") from error
        raise


def serve(arguments: argparse.Namespace, console: Console) -> int:
    """Serve until Ctrl-C or SIGTERM; returns the exit code."""
    server = build_server(arguments)
    return asyncio.run(_serve(server, arguments, console))


async def _serve(server: "VendorServer", arguments: argparse.Namespace, console: Console) -> int:
    from defiyield_assets.simulator.server import LOOPBACK
    from defiyield_assets.simulator.wire import vendor_hosts

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    address = await server.start(arguments.host, arguments.port, is_public=arguments.public)
    if arguments.host not in LOOPBACK:
        console.print(f"[bold red]warning:[/] {arguments.host} is open to other machines, without any login")
    if arguments.json:
        write_json({"address": address, "day": server.day, "hosts": list(vendor_hosts())}, is_line=True)
    else:
        _print_start(server, address, console)
    try:
        await ended.wait()
    finally:
        await server.stop()
    if arguments.json:
        write_json({"requests": server.requests.total()}, is_line=True)
    else:
        console.print(f"stopped after {server.requests.total()} requests")
    return 0


def _print_start(server: "VendorServer", address: str, console: Console) -> None:
    """Where it listens, what it answers and what to run next."""
    from defiyield_assets.simulator.wire import vendor_hosts

    when = f"{server.day}, every answer stamped {server.present:%Y-%m-%d %H:%M} UTC" if server.day else "the present"
    console.print(f"[bold]defiyield[/] simulated vendors on {address}, as of {when}")
    for host in vendor_hosts():
        console.print(f"  {address}/{host}/", soft_wrap=True)
    for rule in server.faults.rules:
        console.print(f"  fault: {rule.kind} on {rule.host}{rule.path}, rate {rule.rate:g}", soft_wrap=True)
    console.print("\nIn another terminal:")
    console.print(f"  export DEFIYIELD_VENDOR_SERVER={address}", soft_wrap=True)
    console.print(f"  defiyield run --market live{f' --date {server.day}' if server.day else ''}")
    console.print("\nCtrl-C ends it.")
