"""Processes that make pages, so that every core makes some, and whoever asks is served by the first that is free.

Lives here: starting them, handing work to them, replacing those that died. Not here: what they make (serving.py), who
listens to readers (cli/console.py): sharing a port instead would leave to chance which process gets how many readers.
"""

import gc
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Semaphore
from time import monotonic
from typing import Any, TypeVar

from defiyield_assets.console.questions import QuestionError
from defiyield_assets.errors import ConfigurationError, DefiYieldError, NotFound, TransientError

logger = logging.getLogger(__name__)
START_SECONDS = 120.0
"""For which processes may import and read what they need before they make anything."""
END_SECONDS = 10.0
"""For which what is being made may be ended."""
PAUSE = 10.0
"""Seconds after a start that failed until the next one."""
SENT = (QuestionError, NotFound, ConfigurationError, TransientError, DefiYieldError)
"""Errors that readers are told of, as whose nearest one each is raised in the server."""
T = TypeVar("T")


class NobodyMakes(TransientError):  # noqa: N818 - it tells whom a page waits for
    """The processes that make pages are not there, or died over the page."""


@dataclass(frozen=True)
class _Pool:
    """An executor and its processes, whose ends it does not see to by itself once one of them has died."""

    executor: ProcessPoolExecutor
    processes: Sequence[BaseProcess]

    @property
    def has_died(self) -> bool:
        """Whether one of them has. Sentinels tell: a process whose end another thread is just taking note of still
        counts as alive."""
        return bool(connection.wait([one.sentinel for one in self.processes], 0))

    def end(self, patience: float) -> None:
        """End all of them, those that do not end in time by force."""
        self.executor.shutdown(wait=False, cancel_futures=True)
        until, left = monotonic() + patience, {one.sentinel for one in self.processes}
        while left and monotonic() < until:
            left -= set(connection.wait(left, until - monotonic()))
        for one in self.processes:
            one.kill()


class Makers:
    """`number` processes, each with a tool of its own, which `build` makes in it; `build` is a module's function."""

    def __init__(self, number: int, build: Callable[[], Any]) -> None:
        self._number, self._build = number, build
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._pool: _Pool | None = None
        self._apart: _Pool | None = None
        self._n_apart = 0
        self._is_ended = threading.Event()
        self._not_before = 0.0

    def start(self) -> None:
        """Start all and wait until each is ready; NobodyMakes where one is not."""
        with self._lock:
            self._pool = self._started(self._number)

    def run(self, call: Callable[..., T], *what: Any) -> T:
        """`call(tool, *what)` in the first process that is free; errors of SENT are raised here, others as RuntimeError
        with their words.

        `call` is a module's function or a class's, `what` and the answer can be pickled. Where a process dies all are
        replaced, and what they were making or would have made is made one after the other in a process apart, so that
        what kills takes nothing else with it; NobodyMakes where that process dies as well.
        """
        pool = self._pool
        if pool is None:
            raise NobodyMakes("the processes that make pages are not there")
        try:
            return pool.executor.submit(_made, call, what).result()
        except BrokenProcessPool:
            logger.warning("a process that makes pages died: all are started anew")
        self._replace(pool)
        return self._made_apart(call, what)

    def close(self) -> None:
        """End them, once they have made what they are making."""
        self._is_ended.set()
        with self._lock:
            pools = [pool for pool in (self._pool, self._apart) if pool is not None]
            self._pool = self._apart = None
        for pool in pools:
            pool.end(0.0 if pool.has_died else END_SECONDS)  # what one took with it is made no more

    def _made_apart(self, call: Callable[..., T], what: tuple[Any, ...]) -> T:
        """What a process makes of it that makes nothing else meanwhile, and ends with the last who waits for it."""
        with self._lock:
            self._n_apart += 1
        try:
            with self._turn:
                return self._process_apart().executor.submit(_made, call, what).result()
        except BrokenProcessPool:
            raise NobodyMakes("a process that makes pages died twice over this one") from None
        finally:
            self._leave()

    def _leave(self) -> None:
        """Wait no longer for the process apart."""
        with self._lock:
            self._n_apart -= 1
            if self._n_apart or self._apart is None:
                return
            ended, self._apart = self._apart, None
        ended.end(0.0)

    def _process_apart(self) -> _Pool:
        """The process apart, another one where the last died."""
        with self._lock:
            if self._is_ended.is_set():
                raise NobodyMakes("the processes that make pages are not there")
            if self._apart is not None and self._apart.has_died:
                self._apart.end(0.0)
                self._apart = None
            if self._apart is None:
                self._apart = self._started(1)
            return self._apart

    def _replace(self, broken: _Pool) -> None:
        with self._lock:
            if self._pool is not broken:
                return
            broken.end(0.0)
            if monotonic() < self._not_before:
                raise NobodyMakes("the processes that make pages could not be started anew: the log says why")
            try:
                self._pool = self._started(self._number)
            except NobodyMakes:
                self._not_before = monotonic() + PAUSE
                raise

    def _started(self, number: int) -> _Pool:
        context = multiprocessing.get_context("spawn")  # a fork would share connections and locks
        ready, before = context.Semaphore(0), multiprocessing.active_children()
        executor = ProcessPoolExecutor(number, context, initializer=_begin, initargs=(self._build, ready))
        for _ in range(number):  # one is started for each
            executor.submit(_nothing)
        pool = _Pool(executor, [one for one in multiprocessing.active_children() if one not in before])
        until = monotonic() + START_SECONDS
        for _ in pool.processes:
            while not ready.acquire(timeout=0.25):
                if pool.has_died or self._is_ended.is_set() or monotonic() > until:
                    pool.end(0.0)
                    raise NobodyMakes("a process that makes pages did not start: the log says why")
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
    """What the call makes. Of an error only its words are sent: what the server cannot read breaks the way to all."""
    try:
        return call(_tools[0], *what)
    except SENT as error:
        raise next(kind for kind in SENT if isinstance(error, kind))(str(error)) from None
    except Exception as error:
        logger.exception("%s", call)
        raise RuntimeError(f"{type(error).__name__}: {error}") from None
