"""Answers that are kept for as long as the warehouse stays as it is.

Lives here: what is kept, how long, and that nobody makes the same thing twice at once. Not here: how one knows in which
state the warehouse is (freshness.py), what is made (serving.py, views.py).
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Made(Generic[T]):
    """An answer, the state of the warehouse that all of it is of, and the seconds that it took, where who made it knows
    them better than who waited for it."""

    value: T
    version: Hashable
    seconds: float | None = None


@dataclass
class _Kept:
    value: Any
    version: Hashable
    until: float
    weight: int


class Remembered:
    """The newest answers by key.

    `most` bounds the sum of all weights. `dear`: for how many times the seconds that an answer took it is given though
    the warehouse has changed; with 10, making things anew takes at most a tenth of the time while somebody writes. Such
    an answer is older than the warehouse, but it is all of one state.
    """

    def __init__(
        self,
        most: int,
        weigh: Callable[[Any], int] = lambda _value: 1,
        *,
        dear: float = 0.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._most, self._weigh, self._dear, self._clock = most, weigh, dear, clock
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()
        self._weight = 0

    def known(self, key: Hashable, version: Hashable) -> Any | None:
        """What is kept and still true of that state of the warehouse, or None."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or (kept.version != version and self._clock() >= kept.until):
                return None
            self._kept.move_to_end(key)
            return kept.value

    def get(self, key: Hashable, version: Callable[[], Hashable], make: Callable[[], Made[T]]) -> T:
        """What is kept, or what `make` makes; whoever asks meanwhile waits for it. What raises is not kept."""
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            try:
                found = self.known(key, version())
                if found is None:
                    found = self._made(key, make)
                value: T = found
                return value
            finally:
                with self._lock:
                    self._making.pop(key, None)

    def _made(self, key: Hashable, make: Callable[[], Made[T]]) -> T:
        began = self._clock()
        made = make()
        ended = self._clock()
        seconds = ended - began if made.seconds is None else made.seconds
        kept = _Kept(made.value, made.version, ended + self._dear * seconds, self._weigh(made.value))
        with self._lock:
            before = self._kept.pop(key, None)
            self._weight += kept.weight - (0 if before is None else before.weight)
            self._kept[key] = kept
            while self._weight > self._most and len(self._kept) > 1:
                self._weight -= self._kept.popitem(last=False)[1].weight
        return made.value
