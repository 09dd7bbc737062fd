"""A local server that is as strict as Slack: webhooks and the Web API on 127.0.0.1, with faults on request.

Lives here: Slack's limits and answers as published (Block Kit reference, chat.postMessage, chat.update, rate limits).
Not here: our own limits (domain/reporting/slack.py), on purpose: two readings of the reference check each other.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

HOOK = "/services/AAA/BBB/a-secret-of-the-team"
TOKEN = "bot-token-of-the-test"
CHANNEL = "C0TREASURY"
TEXT, BLOCKS, SECTION, FIELDS, FIELD, HEADER, ELEMENTS = 40_000, 50, 3_000, 10, 2_000, 150, 10
STYLES = {"plain_text": {"type", "text", "emoji"}, "mrkdwn": {"type", "text", "verbatim"}}


class Fault(NamedTuple):
    """What the next request gets instead of an answer. `after`: the message is in the channel nevertheless."""

    kind: str
    after: bool = False
    retry_after: str = "1"


@dataclass
class Message:
    """A message in the channel."""

    ts: str
    text: str
    blocks: list[dict[str, Any]]
    thread: str | None = None
    is_shown_in_channel: bool = False
    edits: int = 0


def units(text: str) -> int:
    """Characters as JavaScript counts them."""
    return len(text.encode("utf-16-le", errors="surrogatepass")) // 2


def text_problem(text: object, limit: int, kinds: tuple[str, ...]) -> str | None:
    """What is wrong with a text object."""
    if not isinstance(text, dict) or text.get("type") not in kinds:
        return f"must be one of {kinds}"
    if set(text) - STYLES[text["type"]]:
        return f"unknown keys in {sorted(text)}"
    said = text.get("text")
    if not isinstance(said, str) or not said:
        return "must be text of one character or more"
    return f"must be less than {limit + 1} characters" if units(said) > limit else None


def block_problem(block: dict[str, Any]) -> str | None:
    """What is wrong with a block."""
    both = ("plain_text", "mrkdwn")
    match block.get("type"):
        case "header":
            return text_problem(block.get("text"), HEADER, ("plain_text",))
        case "section":
            if "text" not in block and "fields" not in block:
                return "needs text or fields"
            fields = block.get("fields", [])
            if "fields" in block and not 1 <= len(fields) <= FIELDS:
                return f"no more than {FIELDS} fields"
            problems = [text_problem(one, FIELD, both) for one in fields]
            if "text" in block:
                problems.append(text_problem(block["text"], SECTION, both))
            return next((problem for problem in problems if problem), None)
        case "context":
            elements = block.get("elements", [])
            if not 1 <= len(elements) <= ELEMENTS:
                return f"1 to {ELEMENTS} elements"
            return next((one for one in (text_problem(part, SECTION, both) for part in elements) if one), None)
        case "divider":
            return None
        case other:
            return f"unsupported type {other}"


def problem_of(payload: dict[str, Any]) -> str | None:
    """Slack's word for what is wrong with a message, or None."""
    text, blocks = payload.get("text"), payload.get("blocks", [])
    if not text and not blocks:
        return "no_text"
    if not isinstance(text, str | None) or (text and units(text) > TEXT):
        return "msg_too_long"
    if not isinstance(blocks, list) or len(blocks) > BLOCKS or any(block_problem(block) for block in blocks):
        return "invalid_blocks"
    return None


@dataclass
class SlackServer:
    """The channel behind the server, the requests that it got, and the faults of the next ones.

    With a `clock` no two messages may come within a second (429 otherwise).
    """

    port: int = 0
    clock: Callable[[], float] | None = None
    messages: list[Message] = field(default_factory=list)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    during: Callable[[], None] | None = None
    hanging: threading.Event = field(default_factory=threading.Event)
    _last: float | None = None

    @property
    def hook_url(self) -> str:
        """The webhook's address."""
        return f"http://127.0.0.1:{self.port}{HOOK}"

    @property
    def api_url(self) -> str:
        """The Web API's address."""
        return f"http://127.0.0.1:{self.port}/api/"

    def place(self, payload: dict[str, Any]) -> Message:
        """A message that is in the channel now."""
        thread = payload.get("thread_ts")
        found = Message(
            f"1700000000.{len(self.messages):06d}",
            payload.get("text") or "",
            payload.get("blocks", []),
            thread,
            bool(payload.get("reply_broadcast")),
        )
        self.messages.append(found)
        return found

    def is_too_fast(self) -> bool:
        """Whether the last message came less than a second ago."""
        if self.clock is None:
            return False
        now, last = self.clock(), self._last
        if last is not None and now - last < 1.0:
            return True
        self._last = now
        return False

    def webhook(self, payload: dict[str, Any]) -> tuple[int, str]:
        """Status and word of a webhook."""
        problem = problem_of(payload)
        if problem is None:
            self.place(payload)
        return (200, "ok") if problem is None else (400, problem)

    def method(self, name: str, payload: dict[str, Any], token: str) -> dict[str, Any]:
        """Answer of a method of the Web API."""
        if token != f"Bearer {TOKEN}":
            return {"ok": False, "error": "invalid_auth"}
        if payload.get("channel") not in (CHANNEL, "#treasury"):
            return {"ok": False, "error": "channel_not_found"}
        problem = problem_of(payload)
        if problem is not None:
            return {"ok": False, "error": problem}
        if name == "chat.postMessage":
            thread = payload.get("thread_ts")
            if thread is not None and thread not in {one.ts for one in self.messages}:
                return {"ok": False, "error": "thread_not_found"}
            return {"ok": True, "channel": CHANNEL, "ts": self.place(payload).ts}
        found = next((one for one in self.messages if one.ts == payload.get("ts")), None)
        if found is None or payload["channel"] != CHANNEL:
            return {"ok": False, "error": "message_not_found"}
        found.text, found.blocks, found.edits = payload["text"], payload["blocks"], found.edits + 1
        return {"ok": True, "channel": CHANNEL, "ts": found.ts}


class _Handler(BaseHTTPRequestHandler):
    slack: SlackServer

    def do_POST(self) -> None:
        slack, body = self.slack, self.rfile.read(int(self.headers["Content-Length"]))
        payload = json.loads(body)
        slack.requests.append((self.path, payload))
        if slack.during is not None:
            slack.during()
        fault = slack.faults.pop(0) if slack.faults else None
        if fault is not None:
            if fault.after:
                slack.place(payload)
            self._fail(fault)
        elif slack.is_too_fast():
            self._fail(Fault("throttle"))
        elif self.path == HOOK:
            self._say(*slack.webhook(payload))
        elif self.path.startswith("/api/"):
            name = self.path.removeprefix("/api/")
            self._answer(slack.method(name, payload, self.headers.get("Authorization", "")))
        else:
            self._say(404, "no_service")

    def _fail(self, fault: Fault) -> None:
        """Answer as the fault says: an HTTP status, no answer at all, silence, or Slack's word for an error."""
        match fault.kind:
            case "throttle":
                self._say(429, "ratelimited", {"Retry-After": fault.retry_after})
            case "500":
                self._say(500, "internal_error")
            case "drop":
                self.close_connection = True
            case "hang":
                self.slack.hanging.wait(30)
                self.close_connection = True
            case "truncated":
                body = b'{"ok": true, "channel": "'
                self.send_response(200)
                self.send_header("Content-Length", str(len(body) + 100))
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = True
            case "no http":
                self.wfile.write(b"hello, here is no HTTP\r\n\r\n")
                self.close_connection = True
            case "garbage":
                self._say(200, "<html>a proxy says hello</html>")
            case word if self.path == HOOK:
                self._say(400, word)
            case word:
                self._answer({"ok": False, "error": word})

    def _answer(self, document: dict[str, Any]) -> None:
        if not document["ok"]:
            self.slack.refusals.append(document["error"])
        self._say(200, json.dumps(document), {"Content-Type": "application/json"})

    def _say(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        if status != 200:
            self.slack.refusals.append(f"{status} {text}")
        body = text.encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the library calls it
        """Nothing: tests are quiet."""


@contextmanager
def slack_server(clock: Callable[[], float] | None = None) -> Iterator[SlackServer]:
    """The server while the block runs."""
    slack = SlackServer(clock=clock)
    handler = type("Handler", (_Handler,), {"slack": slack})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        http.daemon_threads = True
        slack.port = http.server_address[1]
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield slack
        finally:
            slack.hanging.set()
            http.shutdown()
            thread.join()
