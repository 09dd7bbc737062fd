"""The collector: a short memory, groups that fail or hang take no other down, scrapes at the same time."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from defiyield_assets.observability.collector import FigureCollector, Reading
from defiyield_assets.observability.families import FAMILIES, Sample, by_subject, require_known
from defiyield_assets_tests.observability.exposition import promtool, read_text

LONG = 60.0


class Clock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Source:
    """A group that counts how often it is read."""

    def __init__(self) -> None:
        self.reads = 0
        self.error: Exception | None = None

    def __call__(self) -> Sequence[Sample]:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return [Sample("nav_usd", float(self.reads))]


@contextmanager
def collecting(
    *readings: Reading, patience: float = LONG, clock: Callable[[], float] | None = None
) -> Iterator[Callable[[], dict[str, dict[tuple[tuple[str, str], ...], float]]]]:
    """A collector's scrape, as a function."""
    collector = FigureCollector(readings, patience_seconds=patience, clock=clock or Clock())
    registry = CollectorRegistry()
    registry.register(collector)
    try:
        yield lambda: read_text(generate_latest(registry).decode())
    finally:
        collector.close()


def test_figures_are_kept_for_a_while_and_then_read_again() -> None:
    clock, source = Clock(), Source()
    with collecting(Reading("one", source, keep_seconds=15.0), clock=clock) as scrape:
        assert scrape()["defiyield_nav_usd"] == {(): 1.0}
        clock.now = 14.9
        assert scrape()["defiyield_nav_usd"] == {(): 1.0}
        clock.now = 15.0
        assert scrape()["defiyield_nav_usd"] == {(): 2.0}
    assert source.reads == 2


def test_a_group_that_fails_is_told_of_and_tried_again_and_others_have_their_figures() -> None:
    broken, whole = Source(), Source()
    broken.error = RuntimeError("gone")
    readings = Reading("broken", broken, store="warehouse"), Reading("whole", whole)
    with collecting(*readings) as scrape:
        told = scrape()
        assert told["defiyield_up"] == {(("store", "warehouse"),): 0.0}
        assert told["defiyield_nav_usd"] == {(): 1.0}
        success = {"broken": 0.0, "whole": 1.0}
        assert told["defiyield_reading_success"] == {(("reading", name),): value for name, value in success.items()}
        broken.error = None
        assert "defiyield_up" not in scrape()
        assert broken.reads == 2


def test_old_figures_never_pass_for_new_ones() -> None:
    clock, source = Clock(), Source()
    with collecting(Reading("one", source), clock=clock) as scrape:
        assert "defiyield_nav_usd" in scrape()
        clock.now, source.error = 100.0, OSError("gone")
        assert "defiyield_nav_usd" not in scrape()


def test_a_group_that_hangs_is_not_waited_for_nor_asked_twice() -> None:
    go_on, reads = threading.Event(), []

    def hang() -> Sequence[Sample]:
        reads.append(1)
        go_on.wait(LONG)
        return [Sample("nav_usd", 7.0)]

    with collecting(Reading("hangs", hang, store="warehouse"), patience=0.01) as scrape:
        told = [scrape() for _ in range(3)]
        assert all(one["defiyield_up"] == {(("store", "warehouse"),): 0.0} for one in told)
        go_on.set()
    assert len(reads) == 1


def test_figures_that_are_being_read_again_are_not_told_as_they_were() -> None:
    clock, go_on, values = Clock(), threading.Event(), iter([1.0, 2.0])

    def hang_later() -> Sequence[Sample]:
        value = next(values)
        if value > 1.0:
            go_on.wait(LONG)
        return [Sample("nav_usd", value)]

    collector = FigureCollector([Reading("one", hang_later)], patience_seconds=LONG, clock=clock)
    registry = CollectorRegistry()
    registry.register(collector)
    assert "defiyield_nav_usd 1.0" in generate_latest(registry).decode()
    clock.now, collector._patience = 100.0, 0.01
    assert "defiyield_nav_usd" not in generate_latest(registry).decode()
    go_on.set()
    collector.close()


def test_many_scrapes_at_once_read_once() -> None:
    everybody = threading.Barrier(8)
    source = Source()
    with collecting(Reading("one", source)) as scrape, ThreadPoolExecutor(8) as pool:

        def together(_: int) -> float:
            everybody.wait(LONG)
            return scrape()["defiyield_nav_usd"][()]

        assert set(pool.map(together, range(8))) == {1.0}
    assert source.reads == 1


@pytest.mark.parametrize(
    ("sample", "error"),
    [(Sample("nav_eur", 1.0), LookupError), (Sample("nav_usd", 1.0, ("pool",)), ValueError)],
)
def test_only_declared_figures_with_their_labels_are_told(sample: Sample, error: type[Exception]) -> None:
    with pytest.raises(error):
        require_known([sample])
    with collecting(Reading("one", lambda: [sample])) as scrape:
        assert scrape()["defiyield_reading_success"] == {(("reading", "one"),): 0.0}


def test_the_catalogue_keeps_to_the_conventions_of_prometheus() -> None:
    assert {family.name for group in by_subject().values() for family in group} == set(FAMILIES)
    for family in FAMILIES.values():
        assert family.help.strip()
        assert not family.help.endswith(".")
        assert not family.name.endswith("_total")
        assert "usd" not in family.name or family.name.endswith("_usd"), family.name
        assert ("float64" in family.help) == family.name.endswith("_usd"), family.name


def test_promtool_finds_nothing_to_say_of_any_family() -> None:
    every = [Sample(name, 1.0, tuple("x" for _ in family.labels)) for name, family in FAMILIES.items()]
    kept = [one for one in every if not one.family.startswith("reading_")]
    collector = FigureCollector([Reading("all", lambda: kept)], clock=Clock())
    registry = CollectorRegistry()
    registry.register(collector)
    text = generate_latest(registry).decode()
    collector.close()
    assert {name.removeprefix("defiyield_") for name in read_text(text)} == set(FAMILIES)
    assert promtool("check", "metrics", stdin=text) == ""
