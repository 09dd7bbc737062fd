"""How pages are kept and sent: again without being made, and as "not changed" where it is so."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from defiyield_assets.console import serving
from defiyield_assets.console.freshness import Freshness


def test_a_kept_page_is_sent_without_waiting_for_pages_being_made(
    console: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = console.get("/icebox")
    monkeypatch.setattr(Freshness, "is_asked", lambda _self: True)

    async def occupied(*_what: Any) -> Any:
        raise AssertionError("a thread was asked for")

    monkeypatch.setattr(serving, "run_in_threadpool", occupied)
    assert console.get("/icebox").text == first.text


def test_a_page_is_looked_up_by_a_thread_where_the_database_has_to_be_asked(
    console: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    console.get("/icebox")
    monkeypatch.setattr(Freshness, "is_asked", lambda _self: False)
    asked = []

    async def threaded(call: Any, *what: Any) -> Any:
        asked.append(call)
        return call(*what)

    monkeypatch.setattr(serving, "run_in_threadpool", threaded)
    assert console.get("/icebox").status_code == 200
    assert len(asked) == 1


def test_a_browser_that_has_the_page_is_told_so(console: TestClient) -> None:
    first = console.get("/plan")
    again = console.get("/plan", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert console.get("/plan", headers={"if-none-match": '"other"'}).status_code == 200
    assert first.headers["cache-control"] == "private, no-cache"


def test_what_is_asked_for_in_another_order_or_empty_is_one_page(console: TestClient) -> None:
    one = console.get("/pools?q=usdc&sort=apy&group=").headers["etag"]
    assert console.get("/pools?sort=apy&q=usdc").headers["etag"] == one
    assert console.get("/pools?sort=apy&q=dai").headers["etag"] != one


def test_a_day_that_is_yet_to_come_is_named_with_the_newest(console: TestClient) -> None:
    answer = console.get("/plan?date=2031-01-01")
    assert answer.status_code == 404
    assert "the newest day is" in answer.text
