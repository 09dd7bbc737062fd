"""Groups of figures, read side by side with a short memory, as a collector of prometheus_client.

Lives here: when a group is read, how long its figures are kept, what becomes of a scrape when a store does not answer.
Not here: the queries (warehouse.py and its neighbours), the server (server.py).

A scrape always answers, and within PATIENCE_SECONDS: a group that fails or takes longer is told of as such
(`defiyield_reading_success` 0) and has no figures, because old ones would pass for new ones. A group that is still
being read is not asked for twice; scrapes that come meanwhile wait for the same answer.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from defiyield_assets.observability.families import FAMILIES, Sample, require_known

PATIENCE_SECONDS = 8.0
"""Longest wait of a scrape: Prometheus gives up after 10."""
BRIEF_SECONDS, LONG_SECONDS = 15.0, 300.0
"""How long figures are kept: those that queries by key tell, and those that take a pass over a table."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """A group of figures: its name, how it is read, how long what was read is kept, and which store it asks.

    `store`: the store that is down when this group cannot be read; empty when that says nothing of one.
    """

    name: str
    read: Callable[[], Sequence[Sample]]
    keep_seconds: float = BRIEF_SECONDS
    store: str = ""


@dataclass
class _Memory:
    """What was read of a group last, and the reading that is under way."""

    samples: list[Sample] = field(default_factory=list)
    read_at: float | None = None
    seconds: float = 0.0
    under_way: "Future[None] | None" = None


class FigureCollector(Collector):
    """All figures of the catalogue that the readings bring; safe for scrapes at the same time."""

    def __init__(
        self,
        readings: Sequence[Reading],
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._readings = tuple(readings)
        self._patience = patience_seconds
        self._clock = clock
        self._memories = {reading.name: _Memory() for reading in readings}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(max(1, len(readings)), "metrics")

    def close(self) -> None:
        """Let go of readings that have not begun; those under way end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def describe(self) -> list[Metric]:
        """Nothing: registering must not read the stores."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The families that have values now, in the order of the catalogue."""
        values: dict[str, list[Sample]] = {}
        for sample in self._samples():
            values.setdefault(sample.family, []).append(sample)
        for name, family in FAMILIES.items():
            if name in values:
                metric = GaugeMetricFamily(family.full_name, f"{family.help}.", labels=family.labels)
                for sample in values[name]:
                    metric.add_metric(sample.labels, sample.value)
                yield metric

    def _samples(self) -> list[Sample]:
        with self._lock:
            waited = [future for reading in self._readings if (future := self._begin(reading)) is not None]
        wait(waited, timeout=self._patience)
        found: list[Sample] = []
        with self._lock:
            down = set()
            for reading in self._readings:
                memory = self._memories[reading.name]
                is_read = memory.under_way is None and memory.read_at is not None
                found.append(Sample("reading_success", float(is_read), (reading.name,)))
                found.append(Sample("reading_duration_seconds", memory.seconds, (reading.name,)))
                found += memory.samples if is_read else []
                if reading.store and not is_read:
                    down.add(reading.store)
        return [*found, *(Sample("up", 0.0, (store,)) for store in sorted(down))]

    def _begin(self, reading: Reading) -> "Future[None] | None":
        """The reading that is under way, or a new one when nothing young is kept; None when there is something."""
        memory = self._memories[reading.name]
        if memory.under_way is not None:
            return memory.under_way
        if memory.read_at is not None and self._clock() - memory.read_at < reading.keep_seconds:
            return None
        memory.under_way = self._pool.submit(self._read, reading)
        return memory.under_way

    def _read(self, reading: Reading) -> None:
        started = self._clock()
        samples: list[Sample] | None = None
        try:
            samples = require_known(reading.read())
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the others are still told of
            logger.warning("%s could not be read: %s: %s", reading.name, type(error).__name__, error)
        with self._lock:
            memory, now = self._memories[reading.name], self._clock()
            memory.samples, memory.seconds = samples or [], now - started
            memory.read_at = None if samples is None else now
            memory.under_way = None
