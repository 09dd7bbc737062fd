"""Every server listens to this machine alone unless somebody says otherwise, by option and in plain words.

Not here: what the servers answer (cli/test_serve.py, observability/test_server.py).
"""

import ast
import re
from pathlib import Path

import pytest
import yaml

from defiyield_assets.cli.main import build_parser

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "defiyield_assets").rglob("*.py"))
LISTENERS = {"TCPSite", "make_server", "start_http_server", "start_wsgi_server", "HTTPServer", "ThreadingHTTPServer"}
KNOWN = {
    ("defiyield_assets/simulator/server.py", "TCPSite"),
    ("defiyield_assets/observability/server.py", "make_server"),
}
"""Who opens a port for others to connect to."""


@pytest.mark.parametrize("words", [["simulator", "serve"], ["metrics", "serve"]])
def test_commands_listen_on_loopback_by_default(words: list[str]) -> None:
    assert build_parser().read(words).host == "127.0.0.1"


def test_nobody_else_opens_a_port() -> None:
    found = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in LISTENERS | {"start_server", "create_server", "bind", "run_app"}:
                    found.add((path.relative_to(ROOT).as_posix(), name))
    assert found == KNOWN


def test_no_module_listens_on_all_interfaces() -> None:
    """The address may stand in the examples of a command's help, where somebody asks for it."""
    lines = [(path.name, line) for path in MODULES for line in path.read_text(encoding="utf-8").splitlines()]
    assert [one for one in lines if re.search(r"0\.0\.0\.0", one[1]) and "examples=" not in one[1]] == []


def test_the_makefile_serves_ui_and_docs_to_this_machine_alone() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"dagster dev .*--host 127\.0\.0\.1", makefile)
    assert re.search(r"http\.server .*--bind 127\.0\.0\.1", makefile)
    assert "0.0.0.0" not in makefile


def test_what_is_published_from_containers_is_published_on_loopback() -> None:
    """Ports of the compose file are those of the host: `127.0.0.1:3000:3000`, never `3000:3000` or a variable."""
    services = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))["services"]
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert "webserver" in published
    for name, ports in published.items():
        assert all(isinstance(one, str) and one.startswith("127.0.0.1:") for one in ports), (name, ports)
    assert [path.name for path in (ROOT / "deploy").rglob("*compose*.y*ml")] == ["compose.yaml"]
