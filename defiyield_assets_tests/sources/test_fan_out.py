"""Many questions side by side: bounded, as they come, one failure costs no other, and stopping early stops all."""

import asyncio

import pytest

from defiyield_assets.errors import NotRecoverable, VendorNotFound
from defiyield_assets.sources.fan_out import answers_as_they_come


def test_no_more_questions_are_under_way_than_allowed_and_each_is_asked_once() -> None:
    under_way, most, asked = 0, 0, []

    async def ask(name: str) -> str:
        nonlocal under_way, most
        asked.append(name)
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        if name == "n3":
            raise VendorNotFound("gone")
        return name.upper()

    async def run() -> dict[str, object]:
        names = [f"n{number}" for number in range(20)]
        return {name: answer async for name, answer in answers_as_they_come([*names, "n1"], ask, width=4)}

    answers = asyncio.run(run())
    assert sorted(asked) == sorted(answers)
    assert len(answers) == 20
    assert most == 4
    assert isinstance(answers.pop("n3"), VendorNotFound)
    assert all(answer == name.upper() for name, answer in answers.items())


def test_whoever_was_answered_first_comes_first() -> None:
    async def run() -> list[str]:
        gate = asyncio.Event()

        async def ask(name: str) -> str:
            if name == "slow":
                await gate.wait()
            return name

        order = []
        async for name, _answer in answers_as_they_come(["slow", "a", "b", "c"], ask, width=2):
            order.append(name)
            if name == "c":
                gate.set()
        return order

    assert asyncio.run(run()) == ["a", "b", "c", "slow"]


def test_stopping_early_and_errors_that_are_no_vendors_cancel_what_is_under_way() -> None:
    cancelled = []

    async def ask(name: str) -> str:
        if name == "quick":
            return name
        if name == "lost":
            raise NotRecoverable("chart", [])
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(name)
            raise
        return name

    async def stop_early() -> None:
        answers = answers_as_they_come(["a", "quick", "b"], ask)
        async for _ in answers:
            break
        await answers.aclose()  # type: ignore[attr-defined]

    asyncio.run(stop_early())
    assert sorted(cancelled) == ["a", "b"]
    cancelled.clear()

    async def fail() -> None:
        async for _ in answers_as_they_come(["a", "lost"], ask):
            pass

    with pytest.raises(NotRecoverable):
        asyncio.run(fail())
    assert cancelled == ["a"]
