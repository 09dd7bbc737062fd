"""The audit log as a page: its rows, its filters, its pages, and strangers' words in it.

Not here: what is written down when (test_settings.py, test_security.py), the table (store/test_console_audit.py), real
browsers (test_browser.py).
"""

import html
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from defiyield_assets.console.pages import settings_audit
from defiyield_assets.store import schema
from defiyield_assets.store.console_audit import LOGIN, WRITE, Deed, record_deed
from defiyield_assets_tests.console.desks import NOW, client_of, desk_over
from defiyield_assets_tests.console.lab_states import HOSTILE, require_harmless, words_of

TOKEN = "correct horse battery staple"
DEEDS = (
    Deed("Ada", "127.0.0.1", WRITE, "min_pools set to 7", "done", "version 2 recorded"),
    Deed("", "192.0.2.9", LOGIN, "console", "refused", "a token that nobody has"),
    Deed("Eve", "192.0.2.7", WRITE, "min_pools set to 8", "refused", "version 2 by Ada was written meanwhile"),
    Deed("Ada", "127.0.0.1", LOGIN, "console", "done"),
)
"""The oldest first, a minute apart."""


@pytest.fixture
def engine(sqlite_warehouse: sa.Engine) -> sa.Engine:
    """A warehouse with some rows in its audit log."""
    for minutes, deed in enumerate(DEEDS):
        record_deed(sqlite_warehouse, deed, NOW + timedelta(minutes=minutes))
    return sqlite_warehouse


@pytest.fixture
def client(engine: sa.Engine, tmp_path: Path) -> Iterator[TestClient]:
    """A browser without a script."""
    with client_of(desk_over(engine, tmp_path)) as found:
        yield found


def rows_of(client: TestClient, **asked: str) -> list[list[str]]:
    """The cells of the table, row by row."""
    page = client.get("/settings/audit", params=asked)
    assert page.status_code == 200, page.text
    found = re.findall(r'<tr role="row">(.*?)</tr>', page.text, re.DOTALL)
    cells = [re.findall(r"<t[hd] role=\"(?:rowheader|cell)\"[^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in found]
    return [[words_of(cell) for cell in row] for row in cells if row]


def test_the_newest_stands_first_with_all_that_was_written_down(client: TestClient) -> None:
    assert rows_of(client) == [
        ["2025-06-08 09:03:00", "Ada", "127.0.0.1", "log in", "done", "", ""],
        [
            "2025-06-08 09:02:00",
            "Eve",
            "192.0.2.7",
            "write a version: min_pools set to 8",
            "refused",
            "",
            "version 2 by Ada was written meanwhile",
        ],
        ["2025-06-08 09:01:00", "nobody", "192.0.2.9", "log in", "refused", "", "a token that nobody has"],
        [
            "2025-06-08 09:00:00",
            "Ada",
            "127.0.0.1",
            "write a version: min_pools set to 7",
            "done",
            "2",
            "version 2 recorded",
        ],
    ]
    page = client.get("/settings/audit").text
    assert 'href="/settings/versions/2"' in page
    assert 'href="/settings/audit?person=Eve"' in page
    assert "4 rows of the audit log" in page
    assert 'href="/settings/audit"' in client.get("/settings").text


@pytest.mark.parametrize(
    ("asked", "minutes"),
    [
        ({"person": "Ada"}, [3, 0]),
        ({"kind": "write_version"}, [2, 0]),
        ({"outcome": "refused"}, [2, 1]),
        ({"person": " Ada ", "kind": "login", "outcome": "done"}, [3]),
        ({"person": "ada"}, []),
        ({"person": "' OR 1=1 --"}, []),
        ({"person": "", "kind": "", "outcome": ""}, [3, 2, 1, 0]),
    ],
)
def test_rows_are_chosen_by_person_kind_and_outcome(
    client: TestClient, asked: dict[str, str], minutes: list[int]
) -> None:
    assert [row[0] for row in rows_of(client, **asked)] == [f"2025-06-08 09:0{minute}:00" for minute in minutes]


def test_a_choice_stays_while_pages_are_turned(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_audit, "MOST", 1)
    page = client.get("/settings/audit", params={"person": "Ada"})
    assert "2 rows of the audit log are like that" in page.text
    assert "Rows 1 to 1 of 2, page 1 of 2" in page.text
    older = re.search(r'<a href="([^"]*)" rel="next">', page.text)
    assert older is not None
    answer = client.get(html.unescape(older[1]))
    assert "version 2 recorded" in answer.text
    assert 'value="Ada"' in answer.text
    assert 'rel="next"' not in answer.text


@pytest.mark.parametrize(
    "asked", [{"kind": "x"}, {"outcome": "x"}, {"page": "2"}, {"page": "x"}, {"person": "x" * 201}]
)
def test_what_there_is_not_is_told(client: TestClient, asked: dict[str, str]) -> None:
    assert client.get("/settings/audit", params=asked).status_code == 400


def test_an_empty_log_says_so(sqlite_warehouse: sa.Engine, tmp_path: Path) -> None:
    with client_of(desk_over(sqlite_warehouse, tmp_path)) as client:
        assert "There is no such row." in client.get("/settings/audit").text


def test_strangers_words_stay_words(engine: sa.Engine, tmp_path: Path) -> None:
    """Rows as no program of ours writes them, too."""
    names = ("author", "remote", "action", "subject", "detail")
    made: list[dict[str, Any]] = [
        {"audit_id": f"{place}", "at": NOW, "outcome": "done", **dict.fromkeys(names, text)}
        for place, text in enumerate(HOSTILE)
    ]
    with engine.connect().execution_options(defiyield_write=True) as connection, connection.begin():
        connection.execute(sa.insert(schema.console_audit), made)
    with client_of(desk_over(engine, tmp_path)) as client:
        page = client.get("/settings/audit")
        assert page.status_code == 200
        require_harmless(page.text)
        assert page.text.count(html.escape(HOSTILE[0])) >= len(names)
        for text in HOSTILE:
            answer = client.get("/settings/audit", params={"person": text[:200]})
            assert answer.status_code == 200
            require_harmless(answer.text)


def test_only_who_is_logged_in_sees_it_and_no_token_is_ever_shown(engine: sa.Engine, tmp_path: Path) -> None:
    wrong = "a wrong token that might be the right one elsewhere"
    with client_of(desk_over(engine, tmp_path, {"ann": TOKEN})) as client:
        assert client.get("/settings/audit").headers["location"] == "/login?next=%2Fsettings%2Faudit"
        for token in (wrong, TOKEN):
            csrf = re.search(r'name="csrf" value="([^"]+)"', client.get("/login").text)
            assert csrf is not None
            client.post("/login", data={"csrf": csrf[1], "token": token})
        page = client.get("/settings/audit")
    assert page.status_code == 200
    assert rows_of_login(page.text) == {("ann", "done"), ("nobody", "refused"), ("Ada", "done")}
    assert wrong not in page.text
    assert TOKEN not in page.text


def rows_of_login(page: str) -> set[tuple[str, str]]:
    """Who logged in, and what became of it."""
    found = re.findall(r'<tr role="row">(.*?)</tr>', page, re.DOTALL)
    told = [words_of(row) for row in found if ">log in<" in row]
    return {(words.split()[2], "done" if " done" in words else "refused") for words in told}
