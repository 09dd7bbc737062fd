"""Answers that are kept for as long as the warehouse stays as it is.

Lives here: what is kept, how long, and that nobody makes the same thing twice at once. Not here: how one knows that
the warehouse has changed (freshness.py), what is made (app.py, pages/).
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

T = TypeVar("T")
DEAR = 10.0
"""While somebody writes, what took a second to make is kept for ten: making things anew takes a tenth of the time."""


@dataclass
class _Kept:
    value: Any
    version: Hashable
    until: float
    weight: int


class Remembered:
    """The newest answers by key. `version` tells the state of the warehouse; `most` bounds the sum of all weights."""

    def __init__(
        self,
        version: Callable[[], Hashable],
        most: int,
        weigh: Callable[[Any], int] = lambda _value: 1,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._version, self._most, self._weigh, self._clock = version, most, weigh, clock
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()
        self._weight = 0

    def known(self, key: Hashable) -> Any | None:
        """What is kept and still true, or None."""
        version = self._version()
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or (kept.version != version and self._clock() >= kept.until):
                return None
            self._kept.move_to_end(key)
            return kept.value

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What is kept, or what `make` returns; whoever asks meanwhile waits for it. What raises is not kept."""
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            try:
                found = self.known(key)
                if found is None:
                    found = self._made(key, make)
                value: T = found
                return value
            finally:
                with self._lock:
                    self._making.pop(key, None)

    def _made(self, key: Hashable, make: Callable[[], Any]) -> Any:
        version, began = self._version(), self._clock()
        value = make()
        ended = self._clock()
        kept = _Kept(value, version, ended + DEAR * (ended - began), self._weigh(value))
        with self._lock:
            before = self._kept.pop(key, None)
            self._weight += kept.weight - (0 if before is None else before.weight)
            self._kept[key] = kept
            while self._weight > self._most and len(self._kept) > 1:
                self._weight -= self._kept.popitem(last=False)[1].weight
        return value
