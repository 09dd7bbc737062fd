"""Processes that make pages, so that every core makes some, and whoever asks is served by the first that is free.

Lives here: starting them, handing work to them, replacing those that died. Not here: what they make (serving.py), who
listens to readers (cli/console.py): sharing a port instead would leave to chance which process gets how many readers.
"""

import gc
import logging
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from copy import copy
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Semaphore
from typing import Any, TypeVar

from defiyield_assets.errors import DefiYieldError, TransientError

logger = logging.getLogger(__name__)
START_SECONDS = 180.0
"""For which a process may import and read what it needs before it makes anything."""
ATTEMPTS = 2
T = TypeVar("T")


class Makers:
    """`number` processes, each with a tool of its own, which `build` makes in it; `build` is a module's function."""

    def __init__(self, number: int, build: Callable[[], Any]) -> None:
        self._number, self._build = number, build
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None

    def start(self) -> None:
        """Start all and wait until each is ready; TransientError where one is not."""
        with self._lock:
            self._pool = self._started()

    def run(self, call: Callable[..., T], *what: Any) -> T:
        """`call(tool, *what)` in the first process that is free; what it raises is raised here.

        `call` is a module's function or a class's, `what` and the answer can be pickled. A process that dies is
        replaced, and its work done once more; TransientError where that dies as well.
        """
        for _ in range(ATTEMPTS):
            pool = self._pool
            if pool is None:
                raise TransientError("the processes that make pages are not there")
            try:
                return pool.submit(_made, call, what).result()
            except BrokenProcessPool:
                logger.warning("a process that makes pages died: all are started anew")
                self._replace(pool)
        raise TransientError("the processes that make pages died twice over this page")

    def close(self) -> None:
        """End them, once they have made what they are making."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(cancel_futures=True)

    def _replace(self, broken: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._pool is broken:
                broken.shutdown(wait=False)
                self._pool = self._started()

    def _started(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")  # a fork would share connections and locks
        ready = context.Semaphore(0)
        pool = ProcessPoolExecutor(self._number, context, initializer=_begin, initargs=(self._build, ready))
        answers = [pool.submit(_nothing) for _ in range(self._number)]
        for _ in answers:
            waited = 0.0
            while not ready.acquire(timeout=0.5):
                waited += 0.5
                if waited > START_SECONDS or any(one.done() and one.exception() for one in answers):
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise TransientError("a process that makes pages did not start: the log says why")
        return pool


_tools: list[Any] = []
"""What this process makes things with: one, once it has begun."""


def _begin(build: Callable[[], Any], ready: Semaphore) -> None:
    """What a process does first: it ends with the server, and not by the signals that tell the server to end."""
    for told in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told, signal.SIG_IGN)
    server = multiprocessing.parent_process()
    if server is not None:
        threading.Thread(target=_end_with, args=(server,), daemon=True).start()
    _tools.append(build())
    gc.collect()
    gc.freeze()  # what is there now stays: looking through it again and again takes a tenth of the time
    ready.release()


def _end_with(server: BaseProcess) -> None:
    server.join()
    os._exit(1)


def _nothing() -> None:
    """What only starts a process."""


def _made(call: Callable[..., T], what: tuple[Any, ...]) -> T:
    try:
        return call(_tools[0], *what)
    except Exception as error:
        if _can_be_sent(error):
            raise
        logger.exception("what went wrong cannot be sent to the server as it is")
        kind = DefiYieldError if isinstance(error, DefiYieldError) else RuntimeError
        raise kind(f"{type(error).__name__}: {error}") from None


def _can_be_sent(error: Exception) -> bool:
    """Whether the server could read it: what it cannot read breaks the way to every process."""
    try:
        pickle.dumps(error)
        return isinstance(copy(error), type(error))  # made as it would be out of what was sent
    except Exception:  # noqa: BLE001 - whatever an error's own way of copying itself raises
        return False
