"""Who gets in, under which name, with which form; what browsers are told; what is written down."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from defiyield_assets.console import security
from defiyield_assets.console.app import PAGES
from defiyield_assets.console.pages.login import LONGEST_TOKEN
from defiyield_assets_tests.console.desks import NOW, client_of, desk_over
from defiyield_assets_tests.store.deeds import deeds

TOKEN, OTHER = "correct horse battery staple", "another token of nobody"
PEOPLE = {"ann": TOKEN, "bob": "the token that bob has got"}
ADDRESSES = [path.replace("{pool_id}", "x").replace("{run_id}", "x").replace("{strategy_id}", "x") for path in PAGES]


@pytest.fixture
def open_console(sqlite_warehouse: sa.Engine, tmp_path: Path) -> Iterator[TestClient]:
    """Without tokens, as on loopback."""
    with client_of(desk_over(sqlite_warehouse, tmp_path)) as client:
        yield client


@pytest.fixture
def closed_console(sqlite_warehouse: sa.Engine, tmp_path: Path) -> Iterator[TestClient]:
    """With tokens."""
    with client_of(desk_over(sqlite_warehouse, tmp_path, PEOPLE)) as client:
        yield client


def csrf_of(page: httpx.Response) -> str:
    """The token of the page's form."""
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


def log_in(client: TestClient, token: str, **more: str) -> httpx.Response:
    """Fill in the form of the login."""
    return client.post("/login", data={"csrf": csrf_of(client.get("/login")), "token": token, **more})


@pytest.mark.parametrize("path", ["/", "/nowhere", "/static/nothing", "/healthz", "/login", "/runs/x/plan.csv"])
def test_every_answer_carries_the_headers(open_console: TestClient, path: str) -> None:
    answer = open_console.get(path)
    for name, value in security.HEADERS.items():
        assert answer.headers[name] == value
    assert "server" not in answer.headers


def test_the_policy_allows_nothing_inline_and_nothing_from_outside() -> None:
    rules = dict(rule.split(" ", 1) for rule in security.POLICY.split("; "))
    assert rules["default-src"] == "'none'"
    assert set(rules.values()) <= {"'none'", "'self'"}
    assert {"base-uri", "frame-ancestors", "form-action"} <= set(rules)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "[::2]", "", "a:b:c"]
)
def test_a_foreign_name_for_this_machine_is_refused(open_console: TestClient, host: str) -> None:
    answer = open_console.get("/healthz", headers={"host": host})
    assert answer.status_code == 421
    assert answer.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("host", ["127.0.0.1:3002", "localhost:3002", "LOCALHOST"])
def test_its_own_names_are_answered(open_console: TestClient, host: str) -> None:
    assert open_console.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("path", ADDRESSES)
def test_without_a_login_there_is_nothing_to_see(closed_console: TestClient, path: str) -> None:
    answer = closed_console.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?next=")
    assert closed_console.post(path).status_code == 401


def test_a_token_opens_a_session_and_leaving_ends_it(closed_console: TestClient, sqlite_warehouse: sa.Engine) -> None:
    answer = log_in(closed_console, TOKEN, next="/plan?date=2025-06-03")
    assert (answer.status_code, answer.headers["location"]) == (303, "/plan?date=2025-06-03")
    assert TOKEN not in answer.headers["set-cookie"]
    assert {"httponly", "samesite=strict"} <= {part.strip().lower() for part in answer.headers["set-cookie"].split(";")}
    account = closed_console.get("/account")
    assert "ann" in account.text
    assert TOKEN not in account.text
    assert closed_console.post("/logout", data={"csrf": "forged"}).status_code == 403
    assert closed_console.get("/account").status_code == 200
    assert closed_console.post("/logout", data={"csrf": csrf_of(account)}).status_code == 303
    assert closed_console.get("/account").status_code == 303
    (deed,) = deeds(sqlite_warehouse)
    assert (deed["author"], deed["action"], deed["outcome"]) == ("ann", "login", "done")


@pytest.mark.parametrize("token", ["", OTHER, TOKEN[:-1], TOKEN + " ", "x" * 10_000, "\x00", "ann", "' OR 1=1 --"])
def test_a_wrong_token_is_refused_and_written_down(
    closed_console: TestClient, sqlite_warehouse: sa.Engine, token: str
) -> None:
    answer = log_in(closed_console, token)
    assert answer.status_code == 403
    assert closed_console.get("/").status_code == 303
    (deed,) = deeds(sqlite_warehouse)
    assert (deed["author"], deed["outcome"]) == ("", "refused")
    assert not token or token not in "".join(map(str, deed.values())) or token == "ann"


def test_after_too_many_wrong_tokens_nobody_is_listened_to(sqlite_warehouse: sa.Engine, tmp_path: Path) -> None:
    now = [NOW]
    with client_of(desk_over(sqlite_warehouse, tmp_path, PEOPLE, now=lambda: now[0])) as client:
        for _ in range(security.WRONG_LOGINS):
            assert log_in(client, OTHER).status_code == 403
        assert log_in(client, TOKEN).status_code == 429
        assert len(deeds(sqlite_warehouse)) == security.WRONG_LOGINS, "the log grows by what is listened to only"
        now[0] += security.LOGIN_WINDOW + timedelta(seconds=1)
        assert log_in(client, TOKEN).status_code == 303


def test_strangers_who_guess_keep_nobody_out_who_has_a_token(
    sqlite_warehouse: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(security, "WRONG_LOGINS_OF_ALL", 3)
    remote = ["stranger"]
    monkeypatch.setattr(security, "remote_of", lambda _request: remote[0])
    with client_of(desk_over(sqlite_warehouse, tmp_path, PEOPLE)) as client:
        assert [log_in(client, OTHER).status_code for _ in range(4)] == [403, 403, 403, 429]
        remote[0] = "ann's"
        assert log_in(client, OTHER).status_code == 429
        assert log_in(client, TOKEN).status_code == 303


def test_a_wrong_token_does_not_forget_where_one_was_going(closed_console: TestClient) -> None:
    wrong = log_in(closed_console, OTHER, next="/plan?date=2025-06-03")
    assert 'value="/plan?date=2025-06-03"' in wrong.text


@pytest.mark.parametrize(
    "following", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "", "/\r\nX: y"]
)
def test_the_login_leads_nowhere_else(closed_console: TestClient, following: str) -> None:
    answer = log_in(closed_console, TOKEN, next=following)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_form_from_elsewhere_is_refused(closed_console: TestClient, headers: dict[str, str]) -> None:
    told = {"csrf": csrf_of(closed_console.get("/login")), "token": TOKEN}
    assert closed_console.post("/login", data=told, headers=headers).status_code == 403
    assert closed_console.post("/login", data={**told, "csrf": ""}).status_code == 403
    assert closed_console.post("/login", data={"token": TOKEN}).status_code == 403
    assert closed_console.post("/login", data=told).status_code == 303


def test_a_token_of_another_session_is_no_token_of_this_one(sqlite_warehouse: sa.Engine, tmp_path: Path) -> None:
    desk = desk_over(sqlite_warehouse, tmp_path, PEOPLE)
    with client_of(desk) as one, client_of(desk) as other:
        other.get("/login")
        told = {"csrf": csrf_of(one.get("/login")), "token": TOKEN}
        assert other.post("/login", data=told).status_code == 403


@pytest.mark.parametrize("people", [{"ann": "a token that was changed"}, {"bob": PEOPLE["bob"]}])
def test_a_token_that_is_changed_or_taken_back_ends_its_sessions(
    sqlite_warehouse: sa.Engine, tmp_path: Path, people: dict[str, str]
) -> None:
    with client_of(desk_over(sqlite_warehouse, tmp_path, PEOPLE)) as client:
        log_in(client, TOKEN)
        cookie = client.cookies[security.COOKIE]
    with client_of(desk_over(sqlite_warehouse, tmp_path, people), cookies={security.COOKIE: cookie}) as client:
        assert client.get("/account").status_code == 303


def test_a_session_signed_by_somebody_else_is_none(sqlite_warehouse: sa.Engine, tmp_path: Path) -> None:
    with client_of(desk_over(sqlite_warehouse, tmp_path, PEOPLE, secret="another secret")) as client:
        log_in(client, TOKEN)
        cookie = client.cookies[security.COOKIE]
    with client_of(desk_over(sqlite_warehouse, tmp_path, PEOPLE), cookies={security.COOKIE: cookie}) as client:
        assert client.get("/account").status_code == 303


def test_over_https_the_cookie_and_the_name_stay_there(sqlite_warehouse: sa.Engine, tmp_path: Path) -> None:
    with client_of(desk_over(sqlite_warehouse, tmp_path, PEOPLE, is_https=True)) as client:
        answer = client.get("/login")
    assert "secure" in answer.headers["set-cookie"].lower()
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")


def test_a_body_that_is_too_long_is_refused_before_it_is_read(closed_console: TestClient) -> None:
    answer = closed_console.post("/login", content=b"x" * (security.LONGEST_BODY + 1))
    assert answer.status_code == 413

    def endless() -> Iterator[bytes]:
        for _ in range(8):
            yield b"token=" + b"x" * (security.LONGEST_BODY // 4)

    kind = {"content-type": "application/x-www-form-urlencoded"}
    answer = closed_console.post("/login", content=endless(), headers=kind)
    assert answer.status_code == 413
    assert closed_console.get("/healthz").text == "ok"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE"])
def test_no_page_can_be_written(open_console: TestClient, method: str) -> None:
    assert open_console.request(method, "/plan").status_code == 405


def test_without_tokens_there_is_no_login(open_console: TestClient) -> None:
    assert open_console.get("/login").status_code == 404


@pytest.mark.parametrize("path", ["/?date=2025-99-99", "/pools?page=-1", "/nowhere/<script>", f"/pools?q={'x' * 500}"])
def test_what_is_wrong_is_told_in_a_page_without_markup_of_strangers(open_console: TestClient, path: str) -> None:
    answer = open_console.get(path)
    assert answer.status_code in (400, 404)
    assert "<script>alert" not in answer.text
    assert "<h1>" in answer.text


@pytest.mark.parametrize(
    "body", [b"\xff\xfe=\x00", b"a=1&" * 200, b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nx']
)
@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"])
def test_rubbish_for_a_form_is_refused_in_words(closed_console: TestClient, body: bytes, kind: str) -> None:
    closed_console.get("/login")
    answer = closed_console.post("/login", content=body, headers={"content-type": kind})
    assert answer.status_code in (400, 403)


def test_a_long_token_is_cut_before_it_is_compared(closed_console: TestClient) -> None:
    assert log_in(closed_console, "x" * (LONGEST_TOKEN * 2)).status_code == 403


def test_a_fault_of_ours_is_told_without_details(
    sqlite_warehouse: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_connection: Any) -> Any:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr("defiyield_assets.console.serving.known_days", fails)
    with client_of(desk_over(sqlite_warehouse, tmp_path), raise_server_exceptions=False) as client:
        answer = client.get("/")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert answer.headers["X-Frame-Options"] == "DENY"
