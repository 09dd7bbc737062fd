"""An Ollama host of our own on a real socket, that answers as it is told: well, wrongly, late, broken or not at all.

Lives here: the server. Not here: what is tested with it (sources/test_ollama.py, orchestration/signals).
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DIGEST = "sha256:42182419e9508c30c4b1fe55015f06b65f4ca4b9e28a744be55008d21998a093"
LONG_AGO = "Fri, 24 May 2024 21:01:59 GMT"
Body = bytes | dict[str, Any]
Script = Callable[[dict[str, Any]], Body | tuple[int, Body]]
"""Question of `/api/chat` -> body of the answer, or status and body."""


def chat(content: str, model: str = "llama3.1", **more: Any) -> dict[str, Any]:
    """An answer as Ollama gives it."""
    return {
        "model": model,
        "created_at": "2025-06-03T00:30:00.123456Z",
        "message": {"role": "assistant", "content": content},
        "done_reason": "stop",
        "done": True,
        "total_duration": 2685412125,
        "prompt_eval_count": 17,
        "eval_count": 79,
        **more,
    }


def reply(signal: str = "HOLD", **more: Any) -> str:
    """A reply of the schema as text."""
    told = {"signal": signal, "confidence": 0.7, "reasoning": "words", "stop_loss_price": None, "target_price": None}
    return json.dumps({**told, **more})


@dataclass
class OllamaHost:
    """What the host was asked, and what it answers."""

    answer: Script
    models: dict[str, str] = field(default_factory=lambda: {"llama3.1:latest": DIGEST})
    tags: Body | tuple[int, Body] | None = None
    questions: list[dict[str, Any]] = field(default_factory=list)
    n_probes: int = 0
    url: str = ""
    silence: threading.Event = field(default_factory=threading.Event)
    """Set when the test is over: whoever is kept waiting may go."""

    def say_nothing(self, _: dict[str, Any]) -> Body:
        """Answer only when the test is over."""
        self.silence.wait(30)
        return b"{}"


@contextmanager
def ollama_host(answer: Script, **options: Any) -> Iterator[OllamaHost]:
    """Serve a host on a free port of the loopback while the block runs."""
    host = OllamaHost(answer, **options)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _send(self, said: Body | tuple[int, Body]) -> None:
            status, told = said if isinstance(said, tuple) else (200, said)
            body = told if isinstance(told, bytes) else json.dumps(told).encode()
            try:
                self.send_response_only(status)
                self.send_header("Date", LONG_AGO)
                self.send_header("Content-Type", "application/json; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                self.close_connection = True

        def do_GET(self) -> None:
            host.n_probes += 1
            listed = [{"name": name, "model": name, "digest": digest} for name, digest in host.models.items()]
            self._send((404, {"error": "not found"}) if self.path != "/api/tags" else host.tags or {"models": listed})

        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            host.questions.append(told)
            self._send(host.answer(told) if self.path == "/api/chat" else (404, {"error": "not found"}))

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    host.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield host
    finally:
        host.silence.set()
        server.shutdown()
        server.server_close()
        thread.join()
