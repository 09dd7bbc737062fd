"""Batches of a fan-out: what is stored together, what is said, when it gives up."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from itertools import chain

import dagster as dg
import pytest

from defiyield_assets.errors import VendorError, VendorUnavailable
from defiyield_assets.orchestration.declarations import PROGRESS
from defiyield_assets.orchestration.fan_out import BATCH, HOPELESS, Tally, Teller, store_as_they_come
from defiyield_assets.sources.transport import Fetched

NOW = datetime(2025, 6, 3, tzinfo=UTC)


async def arriving(
    answers: list[tuple[str, Fetched[int] | VendorError]],
) -> AsyncIterator[tuple[str, Fetched[int] | VendorError]]:
    for answer in answers:
        yield answer


def run(
    names: list[str], answers: list[tuple[str, Fetched[int] | VendorError]], *, is_needed: bool = True
) -> tuple[Tally | None, list[list[str]]]:
    """The tally (None: it raised) and the batches that were stored."""
    stored: list[list[str]] = []

    def store(batch: Mapping[str, Fetched[int]]) -> None:
        stored.append(sorted(batch))

    teller = Teller(dg.build_asset_context(), "pool_histories", "charts")
    try:
        tally = asyncio.run(store_as_they_come(names, arriving(answers), store, teller, is_needed=is_needed))
    except VendorError:
        return None, stored
    return tally, stored


def test_batches_do_not_depend_on_who_answered_first() -> None:
    names = [f"n{number:03}" for number in range(2 * BATCH + 3)]
    answers = [(name, Fetched(1, NOW, from_archive=name < "n010")) for name in names]
    tally, forwards = run(names, list(answers))
    _, backwards = run(names, list(reversed(answers)))
    cut = [names[:BATCH], names[BATCH : 2 * BATCH], names[2 * BATCH :]]
    assert forwards == cut
    assert sorted(backwards) == cut
    assert tally is not None
    assert tally.words("charts") == f"{len(names)} of {len(names)} charts, 10 from the archive, 0 failed"
    assert tally.degradation("charts") is None


def test_a_few_failures_degrade_and_what_came_is_stored() -> None:
    names = [f"n{number:03}" for number in range(40)]
    answers = [(name, VendorUnavailable("down") if name in names[:2] else Fetched(1, NOW)) for name in names]
    tally, stored = run(names, answers)
    assert tally is not None
    assert tally.degradation("charts") == "2 of 40 charts failed: n000, n001"
    assert sorted(chain.from_iterable(stored)) == names[2:]


@pytest.mark.parametrize("is_needed", [True, False])
def test_too_many_failures_raise_after_what_came_was_stored_and_a_hopeless_vendor_is_left_alone(
    is_needed: bool,
) -> None:
    names = [f"n{number:03}" for number in range(200)]
    came, lost = names[BATCH : BATCH + 5], [*names[:BATCH], *names[BATCH + 5 :]]
    answers = [*((name, Fetched(1, NOW)) for name in came), *((name, VendorUnavailable("down")) for name in lost)]
    tally, stored = run(names, answers, is_needed=is_needed)
    assert list(chain.from_iterable(stored)) == came
    assert (tally is None) is is_needed
    if tally is not None:
        assert len(tally.failed) == HOPELESS + 1, "the rest is not asked for"
        assert tally.unasked == set(lost) - set(tally.failed)


def test_the_terminal_hears_how_far_it_is() -> None:
    said: list[tuple[str, str]] = []
    token = PROGRESS.set(lambda asset, what, _seconds: said.append((asset, what)))
    try:
        run(["a"], [("a", Fetched(1, NOW))])
    finally:
        PROGRESS.reset(token)
    assert said == [("pool_histories", "1 of 1 charts, 0 from the archive, 0 failed")]
