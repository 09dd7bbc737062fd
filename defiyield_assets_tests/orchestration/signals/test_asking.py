"""The order in which a host is asked, and what becomes of a bar, or of a run, when it does not answer.

Not here: the wire (sources/test_ollama.py), the assets (test_models.py).
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest

from defiyield_assets.config.models import load_models
from defiyield_assets.domain.days import end_of
from defiyield_assets.domain.signals.followed import settled
from defiyield_assets.domain.signals.prompts import PromptBar, Question
from defiyield_assets.errors import SuspiciousDataError, VendorNotFound, VendorUnavailable
from defiyield_assets.orchestration import signal_asking
from defiyield_assets.orchestration.signal_asking import NOT_ASKED, Made, Speaker, model_signals
from defiyield_assets.sources.transport import Gateway
from defiyield_assets.store import schema
from defiyield_assets_tests.ollama_host import DIGEST, reply

FIRST = date(2025, 5, 20)
STAMP = datetime(2025, 6, 4, tzinfo=UTC)


def questions(n: int = 8) -> list[Question]:
    """A question about each of some days."""
    days = [FIRST + timedelta(days=number) for number in range(n)]
    bars = [PromptBar(day, 1.0, 1.0, 1.0, 1.0 + number, None) for number, day in enumerate(days)]
    return [Question("crypto:A", "A", "crypto", (bar,), {}, None, end_of(bar.day), 5) for bar in bars]


class Host:
    """A host in place of the client: `fails` says by the number of the bar which error there is, if any."""

    def __init__(self, fails: Callable[[int], Exception | None], *, is_there: bool = True) -> None:
        self.fails = fails
        self.is_there = is_there
        self.asked: list[int] = []
        self.digest = DIGEST

    async def digest_of(self, _: str) -> str:
        return self.digest

    async def digests(self) -> None:
        if not self.is_there:
            raise VendorUnavailable("nobody there")

    async def chat(self, _: str, __: str, messages: Sequence[dict[str, str]], *___: Any, **____: Any) -> Any:
        close = json.loads(messages[1]["content"])["bars"][-1]["close"]
        number = round(close - 1.0)
        self.asked.append(number)
        error = self.fails(number)
        if error is not None:
            raise error
        return SimpleNamespace(rows=SimpleNamespace(content=reply()), fetched_at=STAMP)


def ask(host: Host, monkeypatch: pytest.MonkeyPatch, stored: pd.DataFrame | None = None) -> Made:
    """One run over all questions."""
    monkeypatch.setattr(signal_asking, "Ollama", lambda _: host)
    models = load_models()
    empty = pd.DataFrame(columns=schema.ai_signals.columns.keys())
    there = empty if stored is None else stored
    speaker = Speaker(models.chosen("llama3.1"), models)
    return asyncio.run(model_signals(cast("Gateway", None), questions(), speaker, there, lambda *_: None))


def statuses(made: Made) -> dict[int, str]:
    return {(row["date"] - FIRST).days: row["status"] for row in made.rows}


def of_bars(*numbers: int, error: Exception | None = None) -> Callable[[int], Exception | None]:
    return lambda number: (error or VendorUnavailable(f"no {number}")) if number in numbers else None


@pytest.mark.parametrize("error", [VendorUnavailable("HTTP 500"), VendorNotFound("too long", status=400)])
def test_a_bar_that_is_not_answered_is_unavailable_alone(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ask(Host(of_bars(2, 4, 5, error=error)), monkeypatch)
    assert statuses(made) == {number: "unavailable" if number in (2, 4, 5) else "ok" for number in range(8)}
    assert made.given_up is None
    assert made.failure == str(error)


def test_a_host_that_is_away_is_not_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(of_bars(*range(3, 8)), is_there=False)
    made = ask(host, monkeypatch)
    assert statuses(made) == {number: "unavailable" if number > 2 else "ok" for number in range(8)}
    assert host.asked == [0, 1, 2, 3]
    assert made.rows[-1]["problem"] == f"{NOT_ASKED}no 3"


def test_bars_that_failed_before_come_last_and_keep_no_other_from_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(of_bars(1, 2, 3))
    made = ask(host, monkeypatch)
    assert host.asked == [0, 1, 2, 3], "after three in a row the host is given up"
    stored = pd.DataFrame(settled([], made.rows).rows)
    host.asked.clear()
    again = ask(host, monkeypatch, stored)
    assert host.asked == [4, 5, 6, 7, 1, 2, 3]
    assert statuses(again) == {number: "unavailable" if number in (1, 2, 3) else "ok" for number in range(8)}


def test_a_host_without_the_model_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VendorNotFound):
        ask(Host(of_bars(2, error=VendorNotFound("no model", status=404))), monkeypatch)


def test_weights_that_change_under_a_run_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(lambda _: None)

    def pulled(_: int) -> None:
        host.digest = "sha256:new"

    host.fails = pulled
    with pytest.raises(SuspiciousDataError, match="were changed while it was asked"):
        ask(host, monkeypatch)
