"""How pages are kept and sent: again without being made, and as "not changed" where it is so."""

import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from defiyield_assets.console import pool_day, serving
from defiyield_assets.console.desk import Desk
from defiyield_assets.console.freshness import Freshness
from defiyield_assets.console.makers import Makers
from defiyield_assets.console.pages import day_content
from defiyield_assets.errors import TransientError
from defiyield_assets_tests.console.desks import client_of, desk_over


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


def test_what_pages_share_is_made_before_anybody_asks(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with client_of(replace(desk, is_warmed=True)) as warm:
        for name in ("_read", "build_content"):
            module = pool_day if name == "_read" else day_content
            monkeypatch.setattr(module, name, lambda *_what: pytest.fail("made again"))
        assert [warm.get(path).status_code for path in ("/", "/pools", "/pools?q=usdc", "/plan")] == [200] * 4


def test_a_warehouse_without_a_day_keeps_no_console_from_starting(sqlite_warehouse: sa.Engine, tmp_path: Path) -> None:
    with client_of(desk_over(sqlite_warehouse, tmp_path, is_warmed=True)) as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/").status_code == 404


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


class Elsewhere(Makers):
    """What other processes would do, done by another console in this one; `calls` are what it was asked for."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(1, lambda: None)
        self.console, self.calls = serving.Console(desk), list[str]()

    def start(self) -> None:
        """Nothing to start."""

    def run(self, call: Any, *what: Any) -> Any:
        self.calls.append(call.__name__)
        pickle.dumps((call, what))  # as it would be sent
        return pickle.loads(pickle.dumps(call(self.console, *what)))


def test_pages_and_files_that_other_processes_make_are_the_same(desk: Desk, console: TestClient) -> None:
    makers = Elsewhere(desk)
    run = re.findall(r"/runs/([^\"/?]+)", console.get("/runs").text)[0]
    with client_of(desk, makers) as client:
        for path in ("/", "/pools?q=usdc", "/plan?date=2025-06-04", f"/runs/{run}", f"/runs/{run}/plan.csv"):
            for _ in range(2):
                answer = client.get(path)
                assert (answer.status_code, answer.text) == (200, console.get(path).text)
    assert makers.calls == ["html"] * 4 + ["own_file"] * 2, "a page is made once, a file each time it is asked for"


def test_what_other_processes_refuse_is_told_as_ever(desk: Desk, console: TestClient) -> None:
    with client_of(desk, Elsewhere(desk)) as client:
        for path, status in (("/plan?date=tomorrow", 400), ("/pools/nothing", 404), ("/plan?date=2031-01-01", 404)):
            answer = client.get(path)
            assert (answer.status_code, answer.text) == (status, console.get(path).text)


def test_processes_that_died_over_a_page_are_told_and_do_not_last(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    makers = Elsewhere(desk)
    with client_of(desk, makers) as client:
        with monkeypatch.context() as dying:
            dying.setattr(makers, "run", lambda *_what: (_ for _ in ()).throw(TransientError("died twice")))
            assert client.get("/plan").status_code == 503
        assert client.get("/plan").status_code == 200
