"""Many questions of one kind side by side, a bounded number at a time, answers as they come.

Lives here: keeping a vendor's lane full without holding all answers. Not here: pacing (pacing.py), what is done with
the answers (orchestration/fan_out.py).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from itertools import islice
from typing import TypeVar

from defiyield_assets.errors import VendorError

T = TypeVar("T")

WIDTH = 64
"""Questions under way at once: more than any vendor's concurrency, so that its lane never waits for us."""


async def answers_as_they_come(
    names: Iterable[str], ask: Callable[[str], Awaitable[T]], width: int = WIDTH
) -> AsyncIterator[tuple[str, T | VendorError]]:
    """Each distinct name with its answer, or with the `VendorError` that it ended in; in the order of arrival.

    Any other error ends the iteration. Whoever stops early cancels what is under way.
    """

    async def one(name: str) -> tuple[str, T | VendorError]:
        try:
            return name, await ask(name)
        except VendorError as error:
            return name, error

    waiting = iter(dict.fromkeys(names))
    running: set[asyncio.Task[tuple[str, T | VendorError]]] = set()
    try:
        while True:
            running |= {asyncio.create_task(one(name)) for name in islice(waiting, width - len(running))}
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
