"""The endpoint that Prometheus scrapes: /metrics and /healthz over HTTP.

Lives here: the two paths and the life of the server. Not here: the figures (collector.py), options (the command line).
/healthz only says that this process answers: whether the stores do is in the figures, because a probe that restarts the
endpoint while a database is away would take the figures away that say so.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from defiyield_assets.errors import ConfigurationError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
CLIENT_SECONDS = 30.0
"""A client that is silent for so long is let go."""
PLAIN = [("Content-Type", "text/plain; charset=utf-8")]
Environ = dict[str, Any]
Start = Callable[..., Any]


class _QuietHandler(WSGIRequestHandler):
    """No line for each scrape; no waiting for ever on a client that says nothing."""

    timeout = CLIENT_SECONDS

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature of http.server
        """Nothing."""


class _Server(ThreadingWSGIServer):
    daemon_threads = True
    request_queue_size = 32


def build_app(registry: CollectorRegistry) -> Callable[[Environ, Start], Iterable[bytes]]:
    """The WSGI application of both paths; others are not found, other methods than GET are refused."""
    metrics = make_wsgi_app(registry)

    def answer(environ: Environ, start: Start) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "GET":
            start("405 Method Not Allowed", [*PLAIN, ("Allow", "GET")])
            return [b"GET only\n"]
        if environ["PATH_INFO"] == "/metrics":
            return metrics(environ, start)  # type: ignore[no-any-return]
        if environ["PATH_INFO"] == "/healthz":
            start("200 OK", PLAIN)
            return [b"ok\n"]
        start("404 Not Found", PLAIN)
        return [b"there are /metrics and /healthz\n"]

    return answer


@contextmanager
def serving(registry: CollectorRegistry, host: str, port: int) -> Iterator[str]:
    """Serve in threads of this process until the block is left; its address. Port 0 takes a free one."""
    try:
        server = make_server(host, port, build_app(registry), server_class=_Server, handler_class=_QuietHandler)
    except OSError as error:
        raise ConfigurationError(
            f"nobody can listen on {host}:{port}: {error.strerror or error}; name another with --host and --port"
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="metrics-server", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
