"""The settings: what is shown, and the way of a change from its form over its preview to a version and the audit log.

Not here: when a version is written (config/test_versions.py), days under another policy
(orchestration/test_policy_previews.py), sessions and login (test_security.py), real browsers (test_browser.py).
"""

import errno
import html
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from defiyield_assets.config.changes import KINDS
from defiyield_assets.config.loader import load_policy
from defiyield_assets.config.parameters import parameters
from defiyield_assets.config.reading import SHIPPED
from defiyield_assets.config.row_fields import fields_of
from defiyield_assets.console.desk import Desk
from defiyield_assets.console.pages import settings
from defiyield_assets.console.pages.settings_pages import LISTS
from defiyield_assets.domain.policy_preview import PolicyPreview, compare_days
from defiyield_assets.errors import NotFound, TransientError
from defiyield_assets.store import console_audit, policy_versions, schema
from defiyield_assets.store.policy_versions import list_versions, read_version
from defiyield_assets_tests.console.desks import NOW, client_of, desk_over
from defiyield_assets_tests.domain.test_policy_preview import SAME, judged
from defiyield_assets_tests.store.deeds import deeds

DAY = date(2025, 6, 7)
WHY = {"author": "Ada", "reason": "small pools are thin"}
OF_NOTHING = {"policy_hash": "x", "policy_json": "{}", "n_tokens": 0, "n_protocols": 0, "n_overrides": 0}
HOSTILE = '"><script>alert(1)</script>\x1b[31m'


@pytest.fixture
def previewed() -> list[dict[str, Any]]:
    """What was previewed: the parameters of each folder."""
    return []


@pytest.fixture
def desk(sqlite_warehouse: sa.Engine, tmp_path: Path, previewed: list[dict[str, Any]]) -> Desk:
    """A desk whose previews drop one pool, and say so."""

    def preview(changed: Path) -> PolicyPreview:
        previewed.append(vars(load_policy(NOW.date(), changed).policy.parameters))
        return compare_days(DAY, judged(SAME), judged({**SAME, "b": f"too small {HOSTILE}"}, 0.0421), ("A caveat.",))

    made = desk_over(sqlite_warehouse, tmp_path, preview=preview)
    folder = made.own_folder
    return desk_over(
        sqlite_warehouse, tmp_path, preview=preview, config_folder=lambda: folder if folder.is_dir() else None
    )


@pytest.fixture
def client(desk: Desk) -> Iterator[TestClient]:
    """A browser without a script."""
    with client_of(desk) as found:
        yield found


def forms_of(page: httpx.Response) -> list[tuple[str, dict[str, str]]]:
    """The forms of a page: where each goes, and its hidden fields."""
    found = []
    for form in re.findall(r'<form[^>]*method="post"[^>]*action="([^"]*)"[^>]*>(.*?)</form>', page.text, re.DOTALL):
        pairs = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form[1])
        found.append((form[0], {name: html.unescape(value) for name, value in pairs}))
    return found


def form_of(page: httpx.Response, where: str, **wanted: str) -> dict[str, str]:
    """The fields of the form that leads there and holds these."""
    for action, fields in forms_of(page):
        if action == where and wanted.items() <= fields.items():
            return fields
    raise AssertionError(page.text)


def preview(client: TestClient, path: str, typed: dict[str, str], **wanted: str) -> httpx.Response:
    """Fill in a form and look at the preview."""
    fields = form_of(client.get(path), "/settings/preview", **wanted)
    return client.post("/settings/preview", data={**fields, **typed})


def write(client: TestClient, page: httpx.Response, **typed: str) -> httpx.Response:
    """Write what a preview shows."""
    return client.post("/settings/write", data={**form_of(page, "/settings/write"), **{**WHY, **typed}})


def set_to(client: TestClient, name: str, value: str, **typed: str) -> httpx.Response:
    return write(client, preview(client, f"/settings/parameters/{name}", {"value": value}), **typed)


def test_every_parameter_and_list_is_shown_with_its_way_to_be_changed(client: TestClient) -> None:
    page = client.get("/settings")
    assert page.status_code == 200
    for one in parameters():
        assert f'href="/settings/parameters/{one.name}"' in page.text
        assert one.meaning in html.unescape(page.text)
        assert client.get(f"/settings/parameters/{one.name}").status_code == 200
    for kind, (title, _) in LISTS.items():
        assert title in page.text
        form = client.get(f"/settings/lists/{kind}")
        assert form.status_code == 200
        for name in (*KINDS[kind].keys, *(field.name for field in fields_of(kind))):
            assert re.search(f'<(input|select) name="{name}"', form.text), "whatever a row says can be said"
    assert "no version was written yet" in page.text
    assert "0x66bf5221573f6e094493fe502d96b1f5c63a3950" not in page.text, "wallets are shown nowhere"


def test_a_parameter_is_previewed_and_then_written_with_author_and_reason(
    client: TestClient, desk: Desk, previewed: list[dict[str, Any]]
) -> None:
    shown = preview(client, "/settings/parameters/pool_tvl_min_usd", {"value": "1000000"})
    assert shown.status_code == 200
    assert "This change would drop 1 pool and lower projected APY by 0.30 points" in shown.text
    assert "A caveat." in shown.text
    assert "+  pool_tvl_min_usd: 1000000.0    # observed size" in shown.text
    assert [one["pool_tvl_min_usd"] for one in previewed] == [1_000_000.0]
    assert "<script>alert" not in shown.text
    assert list_versions(desk.engine) == []
    assert deeds(desk.engine) == []
    assert not desk.own_folder.exists()
    answer = write(client, shown)
    assert (answer.status_code, answer.headers["location"]) == (303, "/settings/versions/2")
    one = read_version(desk.engine, 2)
    assert (one.author, one.reason, one.what) == ("Ada", "small pools are thin", "pool_tvl_min_usd set to 1000000.0")
    assert "by Ada: small pools are thin" in one.files["policy.yaml"]
    assert load_policy(DAY, desk.own_folder).policy.parameters.pool_tvl_min_usd == 1_000_000.0
    (deed,) = deeds(desk.engine)
    assert (deed["author"], deed["action"], deed["outcome"]) == ("Ada", "write_version", "done")
    assert (deed["subject"], deed["detail"]) == ("pool_tvl_min_usd set to 1000000.0", "version 2 recorded")
    page = client.get("/settings/versions/2")
    assert "small pools are thin" in page.text
    assert "These files are in force now." in page.text
    assert "version 2 is the newest" in client.get("/settings").text


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("pool_tvl_min_usd", "much", "is no number"),
        ("max_pool_share", "7", "this is not valid: policy.yaml:"),
        ("max_pool_share", "7", "input should be less than or equal to 1"),
        ("min_pools", "5", "nothing would change"),
        ("max_group_share", "1", "4 "),
        ("pair_reserve_ratio_min", "0.9", "the minimum must not exceed the maximum"),
        ("chains", HOSTILE[:20], ""),
    ],
)
def test_what_is_typed_wrongly_comes_back_with_words_and_writes_nothing(
    client: TestClient, desk: Desk, name: str, value: str, words: str
) -> None:
    page = preview(client, f"/settings/parameters/{name}", {"value": value})
    if words:
        assert page.status_code == 422
        assert "nothing was written" not in page.text, "nobody asked for that"
        assert words in html.unescape(page.text)
        assert f'value="{html.escape(value)}"' in page.text, "what was typed is kept"
    assert "<script>" not in page.text
    assert list_versions(desk.engine) == []


def test_rows_are_added_and_ended(client: TestClient, desk: Desk) -> None:
    token = "0x" + "ab" * 20
    typed = {"address": token, "chain": "Ethereum", "symbol": "NEW", "decimals": "6", "issuer": "Acme", "peg": ""}
    page = preview(client, "/settings/lists/token", typed, action="add")
    assert page.status_code == 200
    assert write(client, page).status_code == 303
    held = {one.address: one for one in load_policy(NOW.date(), desk.own_folder).policy.tokens}
    assert (held[token].symbol, held[token].decimals, held[token].peg) == ("NEW", 6, "usd")
    page = preview(client, "/settings/lists/protocol", {}, action="end", slug="goldfinch")
    assert write(client, page).status_code == 303
    assert "goldfinch" not in load_policy(NOW.date(), desk.own_folder).policy.protocols
    page = preview(client, "/settings/lists/protocol-alias", {"old": "older", "new": "aave-v3"}, action="add")
    assert write(client, page).status_code == 303
    page = preview(client, "/settings/lists/icebox", {"address": token, "barred": "true"}, action="add")
    assert write(client, page).status_code == 303
    (word,) = load_policy(NOW.date(), desk.own_folder).policy.icebox_overrides
    assert (word.barred, word.reason) == (True, "small pools are thin (Ada)")
    assert list_versions(desk.engine)[0].what == f"icebox {token} added from 2025-06-08 on"
    assert "NEW" in client.get("/settings/lists/token").text


@pytest.mark.parametrize(
    ("kind", "typed", "words"),
    [
        ("token", {"address": "0x12", "symbol": "A", "decimals": "6", "issuer": "B"}, "40 hexadecimal digits"),
        ("token", {"address": "0x" + "ab" * 20, "symbol": "A", "decimals": "x", "issuer": "B"}, "not a whole number"),
        ("token", {"address": "0x" + "ab" * 20, "symbol": "A", "decimals": "6"}, "issuer is missing"),
        ("protocol", {"slug": "aave-v3"}, "holds aave-v3 already"),
        ("protocol", {"slug": HOSTILE}, "is no slug"),
        ("protocol", {"slug": ""}, "slug must be given"),
        ("override", {"pool_id": "p", "maturity": "tomorrow"}, "is not a day"),
        ("icebox", {"address": "0x" + "ab" * 20, "barred": "true", "expires": "soon"}, "expires: 'soon' is not a day"),
        (
            "icebox",
            {"address": "0x" + "ab" * 20, "barred": "true", "expires": "2025-06-07"},
            "expires: 2025-06-07 is over before the row counts, from 2025-06-08 on",
        ),
        ("alias", {"old_id": "p"}, "old_id and new_id must be given"),
    ],
)
def test_rows_that_cannot_be_are_told_and_write_nothing(
    client: TestClient, desk: Desk, kind: str, typed: dict[str, str], words: str
) -> None:
    page = preview(client, f"/settings/lists/{kind}", typed, action="add")
    assert page.status_code == 422
    assert words in html.unescape(page.text)
    assert "<script>" not in page.text
    assert list_versions(desk.engine) == []


def test_a_word_on_a_token_is_written_with_the_day_on_which_it_ends(client: TestClient, desk: Desk) -> None:
    token = "0x" + "ab" * 20
    assert "expires (last day that counts; empty: no end)" in client.get("/settings/lists/icebox").text
    typed = {"address": token, "barred": "true", "expires": "2025-06-09"}
    page = preview(client, "/settings/lists/icebox", typed, action="add")
    assert "expires: 2025-06-09" in page.text
    assert write(client, page).status_code == 303
    assert list_versions(desk.engine)[0].what == f"icebox {token} added from 2025-06-08 on, through 2025-06-09"
    for day, count in ((date(2025, 6, 8), 1), (date(2025, 6, 9), 1), (date(2025, 6, 10), 0)):
        assert len(load_policy(day, desk.own_folder).policy.icebox_overrides) == count, day
    facts = {"pool_id": "p", "exit_days": "3", "until": "2025-06-08"}
    assert write(client, preview(client, "/settings/lists/override", facts, action="add")).status_code == 303
    assert [one.until for one in load_policy(date(2025, 6, 8), desk.own_folder).policy.pool_overrides] == [
        date(2025, 6, 8)
    ]


def test_the_page_says_where_its_values_come_from_and_which_are_not_the_defaults(
    client: TestClient, desk: Desk
) -> None:
    def asset(path: str) -> bool:
        return bool(re.search(r'class="source">From <a href="[^"]*policy_versions"', client.get(path).text))

    page = html.unescape(client.get("/settings").text)
    assert "policy_snapshot" not in page, "the newest day that was made may have had others"
    assert "Values and rows are from the files in force: those in " in page
    assert "All parameters have their defaults." in page
    assert not asset("/settings/parameters/min_pools")
    set_to(client, "min_pools", "7")
    page = client.get("/settings").text
    assert "Values and rows are from the files in force, those of version 2;" in page
    assert "Other than their defaults: min_pools." in page
    assert "7 (changed)" in page
    assert page.count("(changed)") == 1
    assert asset("/settings")
    assert asset("/settings/parameters/min_pools")
    (desk.own_folder / "policy.yaml").write_text("parameters: {min_pools: 6}\n", encoding="utf-8")
    page = client.get("/settings").text
    assert "which are not those of version 2;" in page
    assert "6 (changed)" in page
    assert not asset("/settings/parameters/min_pools")


def test_a_preview_says_on_which_holdings_it_judges_and_what_becomes_of_held_pools(
    client: TestClient, desk: Desk
) -> None:
    def sold(_changed: Path) -> PolicyPreview:
        now = judged(SAME, actions={"a": "hold", "b": "enter"})
        then = judged({"a": "barred", "b": "barred"}, actions={"a": "decrease", "b": "left_out"})
        return compare_days(DAY, now, then, n_sent=26)

    with client_of(replace(desk, preview=sold)) as other:
        page = preview(other, "/settings/parameters/min_pools", {"value": "7"})
    assert "Of the pools that would drop out 1 is held: with the change the plan reduces 1." in page.text
    assert "Both plans start from the holdings at the close of 2025-06-07, before anything that the plan" in page.text
    assert "It has been carried out since (26 transactions)" in page.text
    row = re.search(r"<tr[^>]*>(?:(?!</tr>).)*/pools/a(?:(?!</tr>).)*</tr>", page.text, re.DOTALL)
    assert row is not None
    cells = [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<t[hd][^>]*>.*?</t[hd]>", row[0], re.DOTALL)]
    assert cells == ["A", "aave-v3", "yes", "keep", "reduce", "barred"]


def test_a_form_without_the_session_s_token_is_not_called_too_old_alone(client: TestClient) -> None:
    client.get("/settings")
    answer = client.post("/settings/preview", data={})
    assert answer.status_code == 403
    assert "The form is too old, or none of this session: nothing was written. Load its page again." in answer.text


@pytest.mark.parametrize(
    ("made", "now", "first"),
    [
        (None, NOW, "2025-06-08"),
        (date(2025, 6, 3), NOW, "2025-06-04"),
        (date(2025, 6, 3), datetime(2026, 11, 23, tzinfo=UTC), "2025-06-04"),
        (date(2025, 6, 7), NOW, "2025-06-08"),
        (date(2025, 6, 20), NOW, "2025-06-08"),
    ],
)
def test_a_row_counts_from_the_next_day_of_the_market_whatever_the_clock_says(
    made: date | None, now: datetime, first: str, desk: Desk
) -> None:
    if made is not None:
        with desk.engine.begin() as connection:
            connection.execute(sa.insert(schema.policy_snapshot).values({**OF_NOTHING, "date": made}))
    with client_of(replace(desk, now=lambda: now)) as client:
        assert f"It counts from {first} on" in client.get("/settings/lists/protocol").text
        page = preview(client, "/settings/lists/protocol", {}, action="end", slug="goldfinch")
        assert f"Written now, it counts from {first} on" in page.text
        assert f"removed_on: {first}" in page.text
        assert write(client, page).status_code == 303
        assert 'value="goldfinch"' not in client.get("/settings/lists/protocol").text
    day = date.fromisoformat(first)
    assert "goldfinch" in load_policy(day - timedelta(days=1), desk.own_folder).policy.protocols
    assert "goldfinch" not in load_policy(day, desk.own_folder).policy.protocols
    assert list_versions(desk.engine)[0].what == f"protocol goldfinch removed from {first} on"


def test_a_token_that_is_barred_by_its_symbol_alone_can_be_freed(client: TestClient, desk: Desk) -> None:
    other = "0x" + "cd" * 20
    desk.own_folder.mkdir()
    (desk.own_folder / "tokens.yaml").write_text(
        (SHIPPED / "tokens.yaml").read_text(encoding="utf-8").split("\nblacklist:")[0]
        + "\nblacklist:\n  - {symbol: SCAM, chain: Ethereum, added_on: 2025-01-01}\n"
        + '  - {symbol: "0xBAD", chain: Ethereum}\n'
        + f'  - {{symbol: SCAM, chain: Ethereum, address: "{other}", added_on: 2025-01-01}}\n',
        encoding="utf-8",
    )
    for symbol in ("SCAM", "0xBAD"):
        page = preview(client, "/settings/lists/blacklist", {}, action="end", address=symbol)
        assert page.status_code == 200, page.text
        assert write(client, page).status_code == 303
    (left,) = load_policy(NOW.date(), desk.own_folder).policy.blacklist
    assert left.address == other


def test_of_two_rows_of_one_name_the_one_whose_button_is_pressed_ends(client: TestClient, desk: Desk) -> None:
    desk.own_folder.mkdir()
    rows = "approved:\n  - {slug: aave-v3, removed_on: 2025-07-01}\n  - {slug: aave-v3, added_on: 2025-08-01}\n"
    (desk.own_folder / "protocols.yaml").write_text(rows, encoding="utf-8")
    page = preview(client, "/settings/lists/protocol", {}, action="end", slug="aave-v3", first_day="")
    assert write(client, page).status_code == 303
    text = (desk.own_folder / "protocols.yaml").read_text(encoding="utf-8")
    assert "{slug: aave-v3, removed_on: 2025-06-08}" in text
    assert "  - {slug: aave-v3, added_on: 2025-08-01}" in text
    page = preview(client, "/settings/lists/protocol", {}, action="end", slug="aave-v3", first_day="2025-08-01")
    assert write(client, page).status_code == 303
    assert "aave-v3" not in load_policy(date(2025, 8, 1), desk.own_folder).policy.protocols
    gone = form_of(client.get("/settings/lists/icebox"), "/settings/preview")
    named = {"action": "end", "kind": "protocol", "slug": "aave-v3", "first_day": "2025-08-01"}
    answer = client.post("/settings/preview", data={**gone, **named})
    assert (answer.status_code, "holds no" in answer.text) == (409, True)


@pytest.mark.parametrize("value", ["nan", "0.5, inf"])
def test_what_is_no_number_is_told_as_that(client: TestClient, value: str) -> None:
    page = preview(client, "/settings/lists/override", {"pool_id": "p", "reserve_shares": value}, action="add")
    assert page.status_code == 422
    assert "is not numbers between commas" in page.text


def test_versions_are_listed_compared_and_restored(client: TestClient, desk: Desk) -> None:
    set_to(client, "min_pools", "7")
    set_to(client, "max_pool_share", "0.1", author="Eve", reason=HOSTILE)
    page = client.get("/settings/versions")
    assert "3 versions of the policy" in page.text
    assert "<script>" not in page.text
    assert "\x1b" not in page.text
    page = client.get("/settings/compare", params={"before": "1", "after": "3"})
    assert "max_pool_share" in page.text
    assert "+  min_pools: 7" in page.text
    assert "no difference" in client.get("/settings/compare", params={"before": "2", "after": "2"}).text
    again = "a row that has ended since is in them without its end"
    assert again in client.get("/settings/versions/1").text
    shown = preview(client, "/settings/versions/1", {}, action="restore")
    assert again in shown.text
    answer = write(client, shown, reason="too strict")
    assert answer.headers["location"] == "/settings/versions/4"
    one = read_version(desk.engine, 4)
    assert (one.origin, one.restored_from, one.reason) == ("restore", 1, "too strict")
    assert load_policy(DAY, desk.own_folder) == load_policy(DAY)
    assert "version 1 restored" in client.get("/settings/versions/4").text


def test_who_comes_second_is_told_and_written_down(client: TestClient, desk: Desk) -> None:
    one = preview(client, "/settings/parameters/min_pools", {"value": "7"})
    other = preview(client, "/settings/parameters/min_pools", {"value": "8"})
    assert write(client, one).status_code == 303
    answer = write(client, other, author="Eve")
    assert answer.status_code == 409
    assert "version 2 by Ada" in answer.text
    assert load_policy(DAY, desk.own_folder).policy.parameters.min_pools == 7
    refused = deeds(desk.engine)
    assert {(deed["author"], deed["outcome"]) for deed in refused} == {("Ada", "done"), ("Eve", "refused")}


@pytest.mark.parametrize(
    ("typed", "code", "author"),
    [
        ({"reason": " "}, 400, "Ada"),
        ({"author": ""}, 400, ""),
        ({"proof": "forged"}, 409, "Ada"),
        ({"csrf": "forged"}, 403, "Ada"),
        ({"csrf": ""}, 403, "Ada"),
    ],
)
def test_a_write_that_is_refused_is_in_the_audit_log(
    client: TestClient, desk: Desk, typed: dict[str, str], code: int, author: str
) -> None:
    page = preview(client, "/settings/parameters/min_pools", {"value": "7"})
    assert write(client, page, **typed).status_code == code
    (deed,) = deeds(desk.engine)
    assert (deed["author"], deed["outcome"], deed["remote"]) == (author, "refused", "testclient")
    assert "min_pools" in deed["subject"]
    assert list_versions(desk.engine) == []
    assert not desk.own_folder.exists()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"reason": " "}, "a version needs a reason, in one line"),
        ({"author": ""}, "a version needs an author, in one line"),
        ({"reason": "x" * 301}, "a reason has at most 300 characters"),
        ({"author": HOSTILE * 4}, "an author has at most 80 characters"),
    ],
)
def test_without_author_or_reason_the_form_comes_back_filled_in(
    client: TestClient, desk: Desk, typed: dict[str, str], words: str
) -> None:
    page = preview(client, "/settings/parameters/min_pools", {"value": "7"})
    again = write(client, page, **typed)
    assert again.status_code == 400
    alert = re.search(r'role="alert">([^<]*)<', again.text)
    assert alert is not None
    assert words in html.unescape(alert[1])
    for name, value in {**WHY, **typed}.items():
        assert f'<input name="{name}" value="{html.escape(value).replace("&quot;", "&#34;")}"' in again.text
    assert "This change would drop 1 pool" in again.text, "what was previewed still stands below"
    assert "<script>" not in again.text
    assert list_versions(desk.engine) == []
    assert write(client, again).status_code == 303


WAYS: list[tuple[str, dict[str, str], dict[str, str]]] = [
    ("/settings/parameters/min_pools", {"value": "8"}, {}),
    ("/settings/lists/protocol-alias", {"old": "older", "new": "aave-v3"}, {"action": "add"}),
    ("/settings/lists/protocol", {}, {"action": "end", "slug": "goldfinch"}),
    ("/settings/versions/1", {}, {"action": "restore"}),
]
"""Every way to a version: page, what is typed, the form that is meant."""


@pytest.mark.parametrize(("path", "typed", "meant"), WAYS)
def test_what_was_never_previewed_is_not_written_and_comes_back_as_its_preview(
    client: TestClient, desk: Desk, path: str, typed: dict[str, str], meant: dict[str, str]
) -> None:
    set_to(client, "min_pools", "7")
    fields = form_of(client.get(path), "/settings/preview", **meant)
    answer = client.post("/settings/write", data={**fields, **typed, **WHY})
    assert answer.status_code == 409
    told = "this change was not previewed as it would be written now: nothing was written"
    assert told in answer.text
    assert "This change would drop 1 pool" in answer.text
    assert len(list_versions(desk.engine)) == 2
    refused = [deed for deed in deeds(desk.engine) if deed["outcome"] == "refused"]
    assert [told in deed["detail"] for deed in refused] == [True]
    assert write(client, answer).headers["location"] == "/settings/versions/3"


def test_a_proof_is_of_one_change_on_one_state_alone(client: TestClient, desk: Desk) -> None:
    fields = form_of(preview(client, "/settings/parameters/min_pools", {"value": "7"}), "/settings/write")
    other = form_of(preview(client, "/settings/parameters/max_pool_share", {"value": "0.1"}), "/settings/write")
    assert fields["proof"] != other["proof"]
    for more in ({"value": "8"}, {"proof": other["proof"]}, {"proof": ""}, {"proof": "\u00e9"}, {"more": "1"}):
        assert client.post("/settings/write", data={**fields, **WHY, **more}).status_code == 409
    set_to(client, "min_pools", "8")
    stamp = form_of(client.get("/settings/parameters/min_pools"), "/settings/preview")["seen"]
    answer = client.post("/settings/write", data={**fields, **WHY, "seen": stamp})
    assert "was not previewed" in answer.text
    assert load_policy(DAY, desk.own_folder).policy.parameters.min_pools == 8
    with client_of(replace(desk, secret="another secret")) as elsewhere:
        foreign = form_of(preview(elsewhere, "/settings/parameters/min_pools", {"value": "9"}), "/settings/write")
    mine = form_of(preview(client, "/settings/parameters/min_pools", {"value": "9"}), "/settings/write")
    assert client.post("/settings/write", data={**mine, **WHY, "proof": foreign["proof"]}).status_code == 409
    assert client.post("/settings/write", data={**mine, **WHY}).status_code == 303


def test_where_a_day_was_made_meanwhile_the_change_is_previewed_again(client: TestClient, desk: Desk) -> None:
    page = preview(client, "/settings/lists/protocol", {}, action="end", slug="goldfinch")
    with desk.engine.begin() as connection:
        connection.execute(sa.insert(schema.policy_snapshot).values({**OF_NOTHING, "date": date(2025, 6, 3)}))
    again = write(client, page)
    assert (again.status_code, "Written now, it counts from 2025-06-04 on" in again.text) == (409, True)
    assert write(client, again).status_code == 303
    assert list_versions(desk.engine)[0].what == "protocol goldfinch removed from 2025-06-04 on"


def test_pages_elsewhere_do_not_fill_the_audit_log_with_their_forms(
    client: TestClient, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "MOST_REFUSED", 3)
    answers = [client.post("/settings/write", data={"csrf": "forged"}).status_code for _ in range(5)]
    assert answers == [403] * 5
    assert len(deeds(desk.engine)) == 3


def test_a_form_of_another_session_previews_nothing(
    client: TestClient, desk: Desk, previewed: list[dict[str, Any]]
) -> None:
    fields = form_of(client.get("/settings/parameters/min_pools"), "/settings/preview")
    with client_of(desk) as stranger:
        stranger.get("/settings")
        answer = stranger.post("/settings/preview", data={**fields, "value": "7"})
    assert answer.status_code == 403
    assert previewed == []


def test_with_a_login_the_author_is_who_is_logged_in(desk: Desk, sqlite_warehouse: sa.Engine, tmp_path: Path) -> None:
    token = "correct horse battery staple"
    closed = desk_over(sqlite_warehouse, tmp_path, {"ann": token}, preview=desk.preview)
    with client_of(closed) as client:
        login = client.get("/login")
        csrf = re.search(r'name="csrf" value="([^"]+)"', login.text)
        assert csrf is not None
        client.post("/login", data={"csrf": csrf[1], "token": token})
        page = preview(client, "/settings/parameters/min_pools", {"value": "7"})
        assert 'name="author"' not in page.text
        assert write(client, page, author="Somebody Else").status_code == 303
    assert read_version(sqlite_warehouse, 2).author == "ann"
    assert deeds(sqlite_warehouse)[0]["author"] == "ann"


def test_without_a_planned_day_a_change_can_be_written_and_the_page_says_that_nothing_was_previewed(
    desk: Desk, sqlite_warehouse: sa.Engine, tmp_path: Path
) -> None:
    def none(_changed: Path) -> PolicyPreview:
        raise NotFound("the warehouse holds no plan yet")

    with client_of(desk_over(sqlite_warehouse, tmp_path, preview=none)) as client:
        page = preview(client, "/settings/parameters/min_pools", {"value": "7"})
        assert "No preview: the warehouse holds no plan yet" in page.text
        assert write(client, page).status_code == 303
    assert desk.own_folder.is_dir()


def test_where_a_preview_breaks_the_change_can_be_written_all_the_same(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_changed: Path) -> PolicyPreview:
        raise KeyError(HOSTILE)

    with client_of(replace(desk, preview=broken)) as client:
        page = preview(client, "/settings/parameters/min_pools", {"value": "7"})
        assert page.status_code == 200
        words = "the preview failed (KeyError); the console&#39;s log says why."
        assert words in page.text
        assert "alert(1)" in caplog.text
        assert write(client, page).status_code == 303


def test_a_version_without_its_line_in_the_audit_log_is_not_written_and_the_same_form_does_it_later(
    client: TestClient, desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    page = preview(client, "/settings/parameters/min_pools", {"value": "7"})
    with monkeypatch.context() as patch:

        def gone(*_: Any) -> None:
            raise TransientError("server closed the connection")

        patch.setattr(policy_versions, "add_deed", gone)
        patch.setattr(console_audit, "add_deed", gone)
        answer = write(client, page)
    assert (answer.status_code, "Try again" in answer.text) == (503, True)
    assert "could not be written into the audit log" in caplog.text
    assert (list_versions(desk.engine), deeds(desk.engine)) == ([], [])
    assert write(client, page).status_code == 303
    assert [deed["outcome"] for deed in deeds(desk.engine)] == ["done"]


def test_a_refusal_is_told_even_where_the_audit_log_cannot_be_written(
    client: TestClient, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = preview(client, "/settings/parameters/min_pools", {"value": "7"})

    def gone(*_: Any) -> None:
        raise TransientError("server closed the connection")

    monkeypatch.setattr(console_audit, "add_deed", gone)
    answer = write(client, page, reason=" ")
    assert (answer.status_code, "a version needs a reason" in answer.text) == (400, True)
    assert write(client, page, csrf="forged").status_code == 403
    assert list_versions(desk.engine) == []


def test_a_version_that_is_not_in_force_is_a_failure_in_the_audit_log(
    client: TestClient, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = preview(client, "/settings/parameters/min_pools", {"value": "7"})

    def busy(_path: Path, _target: Path) -> Path:
        raise OSError(errno.EBUSY, "Device or resource busy")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", busy)
        answer = write(client, page)
    assert (answer.status_code, "version 2 is recorded, but not in force" in answer.text) == (409, True)
    told = {deed["outcome"]: deed["detail"] for deed in deeds(desk.engine)}
    assert told["done"] == "version 2 recorded"
    assert "version 2 is recorded, but not in force" in told["failed"]
    assert set(told) == {"done", "failed"}


def test_files_that_somebody_broke_are_told_and_every_page_still_answers(client: TestClient, desk: Desk) -> None:
    set_to(client, "min_pools", "7")
    (desk.own_folder / "policy.yaml").write_text("parameters: {max_pool_shaer: 1}\n", encoding="utf-8")
    page = client.get("/settings")
    assert page.status_code == 200
    assert "The files in force do not load" in page.text
    assert "did you mean" in page.text
    for path in ("/settings/parameters/min_pools", "/settings/lists/token", "/settings/versions"):
        assert client.get(path).status_code == 200
    assert "not those of version 2" in client.get("/settings/versions").text
    shown = preview(client, "/settings/versions/2", {}, action="restore")
    assert write(client, shown).headers["location"] == "/settings/versions/4"
    assert "The policy in force" in client.get("/settings").text


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/settings/parameters/nothing", 404),
        ("/settings/lists/nothing", 400),
        ("/settings/versions/99", 404),
        ("/settings/versions/0", 400),
        ("/settings/versions/x", 400),
        ("/settings/compare?before=1", 400),
        ("/settings/compare?before=1&after=2", 404),
        ("/settings/preview", 405),
        ("/settings/write", 405),
    ],
)
def test_what_there_is_not_is_told(client: TestClient, path: str, code: int) -> None:
    assert client.get(path).status_code == code


def test_a_form_that_is_none_of_ours_is_refused(client: TestClient, desk: Desk) -> None:
    fields = form_of(client.get("/settings/parameters/min_pools"), "/settings/preview")
    for more in ({"action": "drop"}, {"action": "add", "kind": "x"}, {"action": "restore", "version": "-1"}):
        assert client.post("/settings/write", data={**fields, **more, **WHY}).status_code == 400
    long = {**fields, "value": "x" * 5_000, **WHY}
    assert client.post("/settings/preview", data=long).status_code == 400
    assert {deed["outcome"] for deed in deeds(desk.engine)} == {"refused"}
    assert list_versions(desk.engine) == []
