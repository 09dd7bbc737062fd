"""`defiyield console`: what is refused before anything is bound, tokens, and a server that really answers."""

import argparse
import html
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from defiyield_assets.cli.console import is_in_clear, is_loopback, people_of, require_safe
from defiyield_assets.cli.main import main
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.settings import Settings
from defiyield_assets_tests.databases import fill_empty_tables, url_text
from defiyield_assets_tests.installations import Loop

TOKENS = "ann:0123456789abcdef0123, bob:fedcba9876543210fedc"
PATIENCE = 120.0


def arguments(**more: Any) -> argparse.Namespace:
    """As they are parsed without any option."""
    told = {"host": "127.0.0.1", "port": 3002, "workers": 1, "certificate": None, "key": None, "behind_proxy": None}
    return argparse.Namespace(**{**told, **more})


def settings(tokens: str | None = None) -> Settings:
    return Settings(console_tokens=tokens)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "console.example"])
def test_beyond_loopback_there_has_to_be_a_login(host: str) -> None:
    with pytest.raises(ConfigurationError, match="DEFIYIELD_CONSOLE_TOKENS=name:token"):
        require_safe(arguments(host=host), settings())
    require_safe(arguments(host=host), settings(TOKENS))


@pytest.mark.parametrize(
    ("more", "of_settings", "is_told"),
    [
        ({"host": "192.168.1.7"}, {}, True),
        ({"host": "192.168.1.7", "certificate": Path("cert.pem")}, {}, False),
        ({"host": "192.168.1.7"}, {"console_is_https": True}, False),
        ({}, {}, False),
    ],
)
def test_tokens_in_clear_are_told(more: dict[str, Any], of_settings: dict[str, Any], is_told: bool) -> None:
    assert is_in_clear(arguments(**more), Settings(**of_settings)) is is_told


@pytest.mark.parametrize(
    ("opening", "more", "of_settings"),
    [
        ("--behind-proxy", {"behind_proxy": "127.0.0.1"}, {}),
        ("DEFIYIELD_CONSOLE_HOSTS", {}, {"console_hosts": "treasury.example.com"}),
        ("DEFIYIELD_CONSOLE_IS_HTTPS", {}, {"console_is_https": True}),
    ],
)
def test_behind_a_proxy_there_has_to_be_a_login(
    opening: str, more: dict[str, Any], of_settings: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match=f"{opening} opens the console"):
        require_safe(arguments(**more), Settings(**of_settings))
    require_safe(arguments(**more), Settings(console_tokens=TOKENS, **of_settings))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    assert is_loopback(host)
    require_safe(arguments(host=host), settings())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"certificate": Path(__file__)}, "belong together"),
        ({"certificate": Path("nothing.pem"), "key": Path(__file__)}, "nothing.pem is not a file"),
        ({"port": 0}, "--port is from 1 to 65535"),
        ({"port": 70_000}, "--port is from 1 to 65535"),
        ({"workers": 0}, "--workers from 1 to 64"),
    ],
)
def test_what_cannot_be_served_is_refused(more: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        require_safe(arguments(**more), settings())


def test_tokens_are_names_and_tokens() -> None:
    assert people_of(settings(TOKENS)) == {"ann": "0123456789abcdef0123", "bob": "fedcba9876543210fedc"}
    assert people_of(settings(TOKENS.replace(", ", "\n"))) == people_of(settings(TOKENS))
    assert people_of(settings()) == {}


@pytest.mark.parametrize(
    "tokens",
    [
        *("ann", "ann:", ":0123456789abcdef0123", "ann:short", "an\x07n:0123456789abcdef0123"),
        *(f"{TOKENS},ann:0000000000000000000000", f"{TOKENS},eve:0123456789abcdef0123"),
    ],
)
def test_a_wrong_entry_is_told_by_its_number_and_never_repeated(tokens: str) -> None:
    with pytest.raises(ConfigurationError, match=r"entry \d") as told:
        people_of(settings(tokens))
    assert "0123456789" not in str(told.value)
    assert "short" not in str(told.value)


@pytest.mark.usefixtures("command_line")
def test_without_a_warehouse_one_line_says_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["console", "--state-dir", str(tmp_path / "nothing")]) == 2
    assert "defiyield demo" in capsys.readouterr().err
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_answers_until_it_is_told_to_end(
    first_day: Loop, tmp_path: Path, free_tcp_port: int, workers: int
) -> None:
    state = first_day.installation.copy_to(tmp_path / "state").folder
    _try_server(free_tcp_port, workers, DEFIYIELD_STATE_DIR=str(state))


@pytest.mark.postgres
def test_processes_that_make_pages_read_a_server(
    first_day: Loop, tmp_path: Path, free_tcp_port: int, postgres_warehouse: sa.Engine
) -> None:
    fill_empty_tables(first_day.installation.engine, postgres_warehouse)
    url = url_text(postgres_warehouse.url)
    _try_server(free_tcp_port, 2, DEFIYIELD_STATE_DIR=str(tmp_path / "state"), DEFIYIELD_DATABASE_URL=url)


def _try_server(port: int, workers: int, **own: str) -> None:
    """Start it, log in, read, end it."""
    command = [sys.executable, "-m", "defiyield_assets.cli.main", "console", "--port", str(port)]
    environment = {**os.environ, "DEFIYIELD_CONSOLE_TOKENS": TOKENS, **own}
    with subprocess.Popen(
        [*command, "--workers", str(workers)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        address = f"http://127.0.0.1:{port}"
        try:
            assert _answer(f"{address}/healthz", process) == "ok"
            assert httpx.get(f"{address}/").headers["location"] == "/login?next=%2F"
            with httpx.Client(base_url=address, follow_redirects=True) as client:
                form = client.get("/login").text.split('name="csrf" value="')[1].split('"')[0]
                page = client.post("/login", data={"csrf": form, "token": "0123456789abcdef0123"})
                assert page.status_code == 200
                for _ in range(4 * workers):  # every process knows the session
                    assert "Net asset value" in client.get("/").text
                found = re.findall(r'href="(/pools/[^"]+)"', client.get("/pools?verdict=plan").text)
                assert len(found) > 1
                for path in found:
                    assert "What is expected" in client.get(html.unescape(path)).text
        finally:
            process.send_signal(signal.SIGTERM)
            told, complaints = process.communicate(timeout=PATIENCE)
    assert (process.returncode, address in told, complaints) == (0, True, "")


def _answer(url: str, process: "subprocess.Popen[str]") -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return httpx.get(url).text
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(f"no answer (exit code {process.poll()})")
