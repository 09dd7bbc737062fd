"""A real browser for tests: it opens a page and tells what its console said, whom it asked and what is drawn.

Lives here: a headless Chromium spoken to by its DevTools protocol. Not here: tests.
"""

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from defiyield_assets_tests.programs import find_program

PATIENCE = 60.0
"""Seconds after which a browser that does not answer is given up."""
COMPLAINTS = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")


@dataclass
class Visit:
    """A page that was opened: what was complained of, addresses that were asked for, and the value of the script."""

    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    value: Any = None


def chromium() -> str:
    """The browser's command."""
    return find_program("chromium", "chromium", "chromium-browser", "google-chrome")


@contextmanager
def browser(profile: Path) -> Iterator[str]:
    """A browser of its own; the address under which its DevTools are spoken to. It ends with the block."""
    profile.mkdir(parents=True, exist_ok=True)
    (profile / "DevToolsActivePort").unlink(missing_ok=True)  # of a browser that had this profile before
    command = [chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += ["--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://127.0.0.1:{_port(profile / 'DevToolsActivePort', process)}"
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _port(told: Path, process: "subprocess.Popen[bytes]") -> int:
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline and process.poll() is None:
        if told.is_file() and (lines := told.read_text().splitlines()):
            return int(lines[0])
        sleep(0.05)
    raise AssertionError(f"the browser did not start (exit code {process.poll()})")


def visit(
    address: str, page: Path, script: str = "document.title", *, width: int = 1280, png: Path | None = None
) -> Visit:
    """Open a file, wait until it is loaded, evaluate a script; with `png`, draw what the window shows."""
    target = httpx.put(f"{address}/json/new?about:blank", timeout=PATIENCE).json()
    found = Visit()
    with connect(target["webSocketDebuggerUrl"], max_size=None) as socket:
        for number, method in enumerate(("Runtime.enable", "Log.enable", "Network.enable", "Page.enable")):
            _ask(socket, found, number, method)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        _ask(socket, found, 10, "Emulation.setDeviceMetricsOverride", **size)
        _ask(socket, found, 11, "Page.navigate", url=page.resolve().as_uri())
        _until(socket, found, lambda message: message.get("method") == "Page.loadEventFired")
        answer = _ask(socket, found, 12, "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        found.value = answer["result"]["result"].get("value")
        if png is not None:
            drawn = _ask(socket, found, 13, "Page.captureScreenshot", format="png")
            png.write_bytes(base64.b64decode(drawn["result"]["data"]))
    return found


def _ask(socket: ClientConnection, found: Visit, number: int, method: str, **params: Any) -> dict[str, Any]:
    socket.send(json.dumps({"id": number, "method": method, "params": params}))
    return _until(socket, found, lambda message: message.get("id") == number)


def _until(socket: ClientConnection, found: Visit, is_it: Any) -> dict[str, Any]:
    """The first message that is it; what is said before is remembered."""
    while True:
        message: dict[str, Any] = json.loads(socket.recv(PATIENCE))
        params = message.get("params", {})
        if message.get("method") in COMPLAINTS:
            found.complaints.append(json.dumps(params)[:500])
        if message.get("method") == "Network.requestWillBeSent":
            found.requests.append(params["request"]["url"])
        if is_it(message):
            return message
