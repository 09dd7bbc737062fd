"""The console's server: what the console stands on, put together from settings.

Lives here: the desk with everything that needs Dagster's room, the checks before binding, uvicorn. Not here: pages and
their safety (console/), options (console_arguments.py).
"""

import argparse
import secrets
import signal
from functools import cache
from ipaddress import ip_address
from pathlib import Path

import sqlalchemy as sa
import uvicorn
from rich.console import Console

from defiyield_assets.cli.output import write_json
from defiyield_assets.config.changed_files import named_folder
from defiyield_assets.console.app import WARMED, build_app
from defiyield_assets.console.desk import Desk
from defiyield_assets.console.makers import Makers
from defiyield_assets.console.serving import Console as PageServer
from defiyield_assets.domain.policy_preview import PolicyPreview
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.observability.logs import configure_logging
from defiyield_assets.observability.warehouse import open_for_reading
from defiyield_assets.orchestration.report_inputs import read_report_inputs
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.settings import Settings, load_settings

LEAST_TOKEN = 16
"""Characters: a shorter token could be guessed."""


def serve(arguments: argparse.Namespace, console: Console) -> int:
    """Serve until Ctrl-C or SIGTERM; 0."""
    settings = load_settings()
    require_safe(arguments, settings)
    named_folder(settings)
    WarehouseResource(url=settings.warehouse_url, market=settings.warehouse_market).engine.dispose()
    configure_logging()
    # what signs sessions is made anew at every start, so that they end with the server
    desk = build_desk(settings, secrets.token_urlsafe(32), is_https=_is_https(arguments, settings))
    makers = Makers(arguments.workers, build_maker) if arguments.workers > 1 else None
    address = f"{'https' if arguments.certificate else 'http'}://{arguments.host}:{arguments.port}/"
    if arguments.json:
        write_json({"address": address}, is_line=True)
    else:
        console.print(f"console: {address}")
        if is_in_clear(arguments, settings):
            console.print("tokens and sessions go over the network in clear: give --certificate and --key")
    # uvicorn ends whole, then raises the signal again: by itself SIGTERM would end this process before it cleans up
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    uvicorn.run(
        build_app(desk, makers),
        host=arguments.host,
        port=arguments.port,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=arguments.behind_proxy is not None,
        forwarded_allow_ips=arguments.behind_proxy or "",
        ssl_certfile=arguments.certificate,
        ssl_keyfile=arguments.key,
        timeout_keep_alive=15,
        limit_concurrency=256,
    )
    return 0


def require_safe(arguments: argparse.Namespace, settings: Settings) -> None:
    """ConfigurationError where the server would be open to others without a login, or a file is missing."""
    if (arguments.certificate is None) != (arguments.key is None):
        raise ConfigurationError("--certificate and --key belong together: give both, or neither")
    for path in (arguments.certificate, arguments.key):
        if path is not None and not path.is_file():
            raise ConfigurationError(f"{path} is not a file: right would be a PEM file")
    if not 1 <= arguments.port <= 65_535 or not 1 <= arguments.workers <= 64:
        raise ConfigurationError("--port is from 1 to 65535, --workers from 1 to 64")
    if (opening := _opening(arguments, settings)) and not people_of(settings):
        raise ConfigurationError(
            f"{opening} opens the console to other machines, so that a login is needed: set "
            f"DEFIYIELD_CONSOLE_TOKENS=name:token (or DEFIYIELD_CONSOLE_TOKENS_FILE), or do without it on 127.0.0.1"
        )


def _opening(arguments: argparse.Namespace, settings: Settings) -> str:
    """What lets other machines in: the address, or what is only said where a proxy passes them on; "" for nothing."""
    if not is_loopback(arguments.host):
        return f"--host {arguments.host}"
    if arguments.behind_proxy is not None:
        return "--behind-proxy"
    if _hosts(settings):
        return "DEFIYIELD_CONSOLE_HOSTS"
    return "DEFIYIELD_CONSOLE_IS_HTTPS" if settings.console_is_https else ""


def is_in_clear(arguments: argparse.Namespace, settings: Settings) -> bool:
    """Whether others could read along: open to other machines, without HTTPS of its own or of a proxy."""
    return not _is_https(arguments, settings) and not is_loopback(arguments.host)


def _is_https(arguments: argparse.Namespace, settings: Settings) -> bool:
    """Whether browsers come by HTTPS: the server's own, or a proxy's."""
    return arguments.certificate is not None or settings.console_is_https


def is_loopback(host: str) -> bool:
    """Whether only this machine gets there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def people_of(settings: Settings) -> dict[str, str]:
    """Names and tokens; ConfigurationError where one cannot be read, without repeating any token."""
    if settings.console_tokens is None:
        return {}
    people: dict[str, str] = {}
    for number, item in enumerate(settings.console_tokens.get_secret_value().replace("\n", ",").split(","), start=1):
        if not item.strip():
            continue
        name, found, token = (part.strip() for part in item.partition(":"))
        if not found or not name or not name.isprintable() or len(token) < LEAST_TOKEN:
            raise ConfigurationError(
                f"DEFIYIELD_CONSOLE_TOKENS: entry {number} is not name:token with a token of at least {LEAST_TOKEN} "
                f"characters (`openssl rand -hex 24` makes one)"
            )
        if name in people or token in people.values():
            raise ConfigurationError(
                f"DEFIYIELD_CONSOLE_TOKENS: entry {number} has a name or token that is there twice"
            )
        people[name] = token
    return people


def build_maker() -> PageServer:
    """What a process that only makes pages makes them with: it has read what they share, and signs no session."""
    configure_logging()
    console = PageServer(build_desk(load_settings(), ""))
    console.warm(WARMED)
    return console


def build_desk(settings: Settings, secret: str, *, is_https: bool = False) -> Desk:
    """The desk over the warehouse that settings name; `secret` signs sessions."""

    warehouse = WarehouseResource(url=settings.warehouse_url, market=settings.warehouse_market)

    @cache
    def writer() -> sa.Engine:
        return warehouse.engine

    def preview(changed: Path) -> PolicyPreview:
        from defiyield_assets.definitions import build_resources
        from defiyield_assets.orchestration.policy_previews import preview_change

        market = build_resources(settings)["market"]
        return preview_change(warehouse, market, in_force=settings.config_path, changed=changed)

    url = settings.console_database_url
    return Desk(
        engine=open_for_reading(settings.warehouse_url if url is None else url.get_secret_value()),
        market=settings.warehouse_market,
        writer=writer,
        report_inputs=read_report_inputs,
        preview=preview,
        config_folder=lambda: settings.config_path,
        own_folder=named_folder(settings),
        dagster_url=settings.console_dagster_url,
        docs_url=settings.docs_url,
        secret=secret,
        people=people_of(settings),
        hosts=("127.0.0.1", "localhost", "::1", *_hosts(settings)),
        is_https=is_https,
        is_warmed=True,
    )


def _hosts(settings: Settings) -> list[str]:
    return [name.strip() for name in settings.console_hosts.split(",") if name.strip()]
